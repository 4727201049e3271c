"""The correlation dimension: how the share of pairs closer than r grows with r.

est = correlation_dimension(x)                    # x: (n, D), sharded or not
est.dimension, est.standard_error
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, known_error
from jaxscale.dimension.estimators.pairs import pair_counts, pair_mean_variances, share_of_pairs
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import (
    Duplicates,
    Neighborhoods,
    Nonfinite,
    distinct_points,
    neighborhoods,
    vectors,
)
from jaxscale.dimension.points import Metric, is_traced, replicated
from jaxscale.errors import InputError


def correlation_dimension(
    x: jax.typing.ArrayLike | Neighborhoods,
    k1: int = 10,
    k2: int = 20,
    radii: int | jax.typing.ArrayLike = 2,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Slope of log C(r) against log r, with C(r) the share of pairs closer than r (Grassberger & Procaccia 1983).

    The line is fitted by least squares through the given number of radii, in equal steps of log r from the median
    distance to the k1-th neighbor to that to the k2-th; two radii give the slope between them. Or `radii` are given
    as they are, and no neighbors are looked for.

    All pairs are counted, n²D/2 multiplications, a tile at a time. Distances come from inner products; a pair whose
    distance these leave in doubt at one of the radii is measured again by direct differences, so that counts are those
    of float32 distances, whatever the norms; where norms are large and distances small, this is most of the work.

    With c_i(r) the number of points closer than r to point i and w_r the weights of the fit, Σ_r w_r log C(r), point i
    has influence 2 Σ_r w_r (c_i(r) / ((N-1) C(r)) - 1), the Hájek projection of the U-statistics C(r). Points are
    taken for independent, overlap is in the projection, and the radii for given; see `pair_mean_variances`. The
    analytic standard error takes pairs for independent.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k1, k2: neighbors whose median distances are the smallest and the largest radius; static; k1 < k2.
      radii: how many radii, at least 2, static; or the radii (R,), positive and ascending; under "cosine" angles.
      metric: "euclidean", or "cosine" for the angle between rows in radians. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate` without `local`; its scale is the largest radius. nan where no pair is closer than the smallest one.
        Taking the gradient in `x` raises `InputError`: it counts.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k2` when distinct,
        or half of them are at distance zero from their `k1`-th neighbor. Traced values are not checked: too few points
        yield nan, as do rows that are not finite under "raise".

    References:
      Grassberger & Procaccia, Measuring the strangeness of strange attractors, Physica D, 1983.
    """
    if np.ndim(radii) == 0:
        k1, k2, radii = integer("k1", k1, 1), integer("k2", k2), integer("radii", radii, 2)
        if k2 <= k1:
            raise InputError(f"k2 must be above k1; they are k1={k1} and k2={k2}.")
        hoods = neighborhoods(x, k2, metric, nonfinite, duplicates)
        ascending = _median_radii(hoods, k1, radii)
        if not is_traced(ascending) and not ascending[0] > 0:
            raise InputError(
                f"half of the points of x are at distance zero from their k1={k1} nearest, in {ascending.dtype}. "
                "Pass a larger k1, or points of which fewer coincide."
            )
    else:
        hoods = distinct_points(x, metric, nonfinite, duplicates)
        ascending = _checked_radii(radii).astype(vectors(hoods, "correlation_dimension").dtype)
    estimate = _correlation_dimension(hoods.nearest(0), ascending, hoods.zero_distances)
    return without_gradient(estimate, hoods, "correlation_dimension counts pairs", "Use mle or gride")


def _checked_radii(radii: jax.typing.ArrayLike) -> jax.Array:
    radii = jnp.asarray(radii)
    if radii.ndim != 1 or radii.shape[0] < 2:
        raise InputError(f"radii must be a number, or at least two in an array (R,); their shape is {radii.shape}.")
    if not is_traced(radii) and not (np.all(np.diff(radii) > 0) and radii[0] > 0):
        raise InputError(f"radii must be positive and ascend; they are {np.asarray(radii)}.")
    return radii


@functools.partial(jax.jit, static_argnames=("k1", "radii"))
def _median_radii(hoods: Neighborhoods, k1: int, radii: int) -> jax.Array:
    ends = hoods.distances[:, jnp.array([k1 - 1, hoods.k - 1])]
    ends = jnp.nanmedian(jnp.where(hoods.used[:, None], ends, jnp.nan), axis=0)
    return ends[0] * (ends[1] / ends[0]) ** jnp.linspace(0, 1, radii, dtype=ends.dtype)


@jax.jit
def _correlation_dimension(hoods: Neighborhoods, radii: jax.Array, zero_distances: jax.Array) -> Estimate:
    used, count = hoods.used, jnp.sum(hoods.used)
    # Angles are counted as chords between directions.
    lengths = 2 * jnp.sin(jnp.minimum(radii, jnp.pi) / 2) if hoods.metric == "cosine" else radii
    counts_NxR = _counts_within(
        lax.stop_gradient(replicated(vectors(hoods, "correlation_dimension"))), used, lax.stop_gradient(lengths)
    )
    share_R = share_of_pairs(counts_NxR, used)
    steps_R = jnp.log(radii) - jnp.mean(jnp.log(radii))
    weights_R = steps_R / jnp.sum(steps_R**2)
    dimension = jnp.where(hoods.sound & (share_R[0] > 0), jnp.sum(weights_R * jnp.log(share_R)), jnp.nan)
    projections_NxR = counts_NxR / ((count - 1) * share_R) - 1
    influence = jnp.where(used, 2 * projections_NxR @ weights_R, 0)
    # h = Σ_r w_r [closer than r] / C(r) has mean Σ w_r = 0, and a pair is within two radii if within the smaller.
    place = jnp.arange(radii.shape[0])
    joint_RxR = 1 / share_R[jnp.maximum(place[:, None], place)]
    variance, of_pairs = pair_mean_variances(influence, weights_R @ joint_RxR @ weights_R, count)
    return Estimate(
        dimension=dimension,
        standard_error=jnp.where(jnp.isnan(dimension), jnp.nan, known_error(variance)),
        analytic_standard_error=jnp.where(jnp.isnan(dimension), jnp.nan, jnp.sqrt(of_pairs)),
        local=None,
        influence=influence,
        scale=radii[-1],
        points_used=count.astype(jnp.int32),
        duplicates_collapsed=hoods.duplicates_collapsed,
        zero_distances=zero_distances,
        nonfinite_dropped=hoods.nonfinite_dropped,
        rounding_collapsed=hoods.rounding_collapsed,
        estimator="correlation_dimension",
    )


def _counts_within(points_NxD: jax.Array, used_N: jax.Array, radii_R: jax.Array) -> jax.Array:
    """(N, R) int32: how many others are closer to each point than each radius."""
    # In units of a power of two near the largest radius squares neither overflow nor vanish, and nothing is rounded.
    _, exponent = jnp.frexp(radii_R[-1])
    unit = jnp.ldexp(jnp.ones((), points_NxD.dtype), -jnp.clip(exponent, -120, 120))
    points_NxD, squared_R = points_NxD * unit, (radii_R * unit) ** 2
    center_D = _center(points_NxD, used_N)

    def score(points_BxD: jax.Array, others_CxD: jax.Array, used_B: jax.Array, used_C: jax.Array) -> jax.Array:
        valid_BxC = used_B[:, None] & used_C
        return -_squared_distances(points_BxD, others_CxD, valid_BxC, center_D, squared_R)

    return pair_counts(score, points_NxD, used_N, -squared_R)


def _squared_distances(
    points_BxD: jax.Array, others_CxD: jax.Array, valid_BxC: jax.Array, center_D: jax.Array, squared_R: jax.Array
) -> jax.Array:
    """Squared distances (B, C), on the right side of each of `squared_R` wherever direct differences are."""
    keys_BxD, keys_CxD = points_BxD - center_D, others_CxD - center_D
    norms_BxC = jnp.sum(keys_BxD**2, axis=1)[:, None] + jnp.sum(keys_CxD**2, axis=1)
    coarse_BxC = norms_BxC - 2 * jnp.matmul(keys_BxD, keys_CxD.T, precision=lax.Precision.HIGHEST)
    # A sum of D rounded products errs by at most D roundings of the sum of their sizes; norms and centring add a few.
    error_BxC = (points_BxD.shape[1] + 8) * jnp.finfo(norms_BxC.dtype).eps * norms_BxC
    doubtful_BxC = jnp.zeros_like(valid_BxC)
    for squared in squared_R:
        doubtful_BxC |= ~(jnp.abs(coarse_BxC - squared) > error_BxC)  # also where overflow left no number
    doubtful_B = jnp.any(doubtful_BxC & valid_BxC, axis=1)
    doubtful_first_B = jnp.argsort(~doubtful_B)

    def measure(place: jax.Array, squared_BxC: jax.Array) -> jax.Array:
        row = doubtful_first_B[place]
        return squared_BxC.at[row].set(jnp.sum((points_BxD[row] - others_CxD) ** 2, axis=1))

    squared_BxC: jax.Array = lax.fori_loop(0, jnp.sum(doubtful_B), measure, coarse_BxC)
    return squared_BxC


def _center(points_NxD: jax.Array, used_N: jax.Array) -> jax.Array:
    """A point in the middle: the mean, brought back by two steps of Weiszfeld's from where far outliers dragged it."""
    weights_N = used_N.astype(points_NxD.dtype)
    center_D = weights_N @ points_NxD / jnp.sum(weights_N)
    for _ in range(2):
        away_N = jnp.sqrt(jnp.sum((points_NxD - center_D) ** 2, axis=1))
        near_N = used_N / jnp.maximum(away_N, jnp.finfo(away_N.dtype).tiny)
        center_D = near_N @ points_NxD / jnp.sum(near_N)
    return center_D
