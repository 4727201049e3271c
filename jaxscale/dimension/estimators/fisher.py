"""Intrinsic dimension from how rarely one point hides another from a linear discriminant: Fisher separability.

est = fisher_separability(x)                      # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local      # scalar, scalar, (n,)
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.dimension.eigenvalues import eigh
from jaxscale.dimension.estimate import Estimate, known_error
from jaxscale.dimension.estimators.pairs import pair_counts, pair_mean_variances, share_of_pairs
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, distinct_points, vectors
from jaxscale.dimension.points import Metric, replicated
from jaxscale.errors import InputError

ALPHAS = tuple(round(0.6 + 0.02 * step, 2) for step in range(20))


def fisher_separability(
    x: jax.typing.ArrayLike | Neighborhoods,
    condition_number: float = 10.0,
    alphas: Sequence[float] = ALPHAS,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Dimension of the sphere whose points are as hard to tell apart as those of `x` (Albergante et al. 2019).

    The points are centered, projected on the principal components with variance above the largest one over
    `condition_number`, scaled to unit variance along each, and projected on the unit sphere. A point z is inseparable
    from y at α if <z, y> > α <y, y>; p_α(y) is the share of the other points that are, p_α its mean. On the sphere of
    n dimensions p_α = (1 - α²)^((n-1)/2) / (α √(2πn)) for large n, hence

        n_α = W(-ln(1 - α²) / (2π p_α² α² (1 - α²))) / -ln(1 - α²)

    with Lambert's W. The dimension is n_α at the α nearest to 0.9 times the largest α with inseparable pairs, of two as
    near the smaller; the local dimension is the same of p_α(y) at that α.

    This speaks of the whole cloud, not of small neighborhoods: it is a dimension of the linear hull with account of its
    clusters and bends, not that of a manifold of little volume.

    All pairs are compared, n²D/2 multiplications, a tile at a time. Point y has influence 2 (p_α(y) - p_α) dn/dp, the
    Hájek projection of the U-statistic p_α; see `pair_mean_variances`. The components and α are taken for given. The
    analytic standard error takes pairs for independent.

    Args:
      x: (n, D) points, or their `Neighborhoods`, of which the points alone are read. May be sharded.
      condition_number: largest variance over the least that is kept; above 1. Static.
      alphas: the grid of α, ascending, within (0, 1). Static. A cloud of high dimension needs smaller ones.
      metric: "euclidean", or "cosine", under which the directions of rows are the points. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; `local` is infinite for a point from which all others are separable. Its scale is the α that was
        chosen. nan where no pair is inseparable at any α. Taking the gradient in `x` raises `InputError`: it counts.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or there are not two distinct ones.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Albergante, Bac & Zinovyev, Estimating the effective dimension of large biological datasets using Fisher
      separability analysis, IJCNN, 2019.
    """
    grid = tuple(float(alpha) for alpha in alphas)
    if not grid or min(grid) <= 0 or max(grid) >= 1 or list(grid) != sorted(set(grid)):
        raise InputError(f"alphas must ascend between 0 and 1; they are {alphas}.")
    if not condition_number > 1:
        raise InputError(f"condition_number must be above 1; it is {condition_number}.")
    hoods = distinct_points(x, metric, nonfinite, duplicates)
    estimate = _fisher_separability(hoods, float(condition_number), grid)
    return without_gradient(estimate, hoods, "fisher_separability counts pairs", "Use pca or mle")


@functools.partial(jax.jit, static_argnames=("condition_number", "alphas"))
def _fisher_separability(hoods: Neighborhoods, condition_number: float, alphas: tuple[float, ...]) -> Estimate:
    used, count = hoods.used, jnp.sum(hoods.used)
    directions_NxD = _whitened_directions(
        lax.stop_gradient(replicated(vectors(hoods, "fisher_separability"))), used, condition_number
    )

    def cosines(points_BxD: jax.Array, others_CxD: jax.Array, used_B: jax.Array, used_C: jax.Array) -> jax.Array:
        return jnp.matmul(points_BxD, others_CxD.T, precision=lax.Precision.HIGHEST)

    alphas_A = jnp.asarray(alphas, directions_NxD.dtype)
    counts_NxA = pair_counts(cosines, directions_NxD, used, alphas_A)
    shares_A = share_of_pairs(counts_NxA, used)
    largest = jnp.sum(shares_A > 0) - 1
    chosen = jnp.asarray(_reference(alphas))[largest]
    share, alpha = shares_A[chosen], alphas_A[chosen]
    shares_N = counts_NxA[:, chosen] / (count - 1)
    sound = hoods.sound & (largest >= 0)
    dimension, slope = _dimension_of_share(share, alpha)
    influence = jnp.where(used & sound, 2 * slope * (shares_N - share), 0)
    variance, of_pairs = pair_mean_variances(influence, slope**2 * share * (1 - share), count)
    local, _ = _dimension_of_share(shares_N, alpha)
    return Estimate(
        dimension=jnp.where(sound, dimension, jnp.nan),
        standard_error=jnp.where(sound, known_error(variance), jnp.nan),
        analytic_standard_error=jnp.where(sound, jnp.sqrt(of_pairs), jnp.nan),
        local=jnp.where(used & sound, local, jnp.nan),
        influence=influence,
        scale=jnp.where(sound, alpha, jnp.nan),
        points_used=count.astype(jnp.int32),
        duplicates_collapsed=hoods.duplicates_collapsed,
        zero_distances=hoods.zero_distances,
        nonfinite_dropped=hoods.nonfinite_dropped,
        rounding_collapsed=hoods.rounding_collapsed,
        estimator="fisher_separability",
    )


def _whitened_directions(points_NxD: jax.Array, used_N: jax.Array, condition_number: float) -> jax.Array:
    """Points on the unit sphere of the components kept, in D columns of which the others are zero."""
    weights_Nx1 = used_N[:, None].astype(points_NxD.dtype)
    count = jnp.sum(weights_Nx1)
    largest = jnp.max(jnp.abs(points_NxD) * weights_Nx1)
    points_NxD = points_NxD * weights_Nx1 / jnp.where(largest > 0, largest, 1)
    for _ in range(2):  # the second mean takes off what rounding left by the first
        points_NxD = (points_NxD - jnp.sum(points_NxD, axis=0) / count) * weights_Nx1
    covariance_DxD = jnp.matmul(points_NxD.T, points_NxD, precision=lax.Precision.HIGHEST) / (count - 1)
    variances_D, axes_DxD = eigh(covariance_DxD)
    kept_D = variances_D * condition_number > variances_D[-1]
    scales_D = jnp.where(kept_D, lax.rsqrt(jnp.where(kept_D, variances_D, 1)), 0)
    white_NxD = jnp.matmul(points_NxD, axes_DxD, precision=lax.Precision.HIGHEST) * scales_D
    lengths_Nx1 = jnp.linalg.norm(white_NxD, axis=1, keepdims=True)
    # A point in the very center has no direction, and hides no other.
    return white_NxD / jnp.where(lengths_Nx1 > 0, lengths_Nx1, 1)


def _reference(alphas: Sequence[float]) -> list[int]:
    """For each α, were it the largest with inseparable pairs, the place of the one nearest to 0.9 times it."""
    return [
        min(range(len(alphas)), key=lambda place: (round(abs(alphas[place] - 0.9 * top), 9), place)) for top in alphas
    ]


def _dimension_of_share(share: jax.Array, alpha: jax.Array) -> tuple[jax.Array, jax.Array]:
    """n_α of the share p_α of inseparable pairs, and its derivative in the share; infinite where the share is zero."""
    rate = -jnp.log1p(-(alpha**2))
    some = share > 0
    safe = jnp.where(some, share, 0.5)
    log_argument = jnp.log(rate) - jnp.log(2 * np.pi) - 2 * jnp.log(safe * alpha) + rate
    w = _lambert_w_of_exp(log_argument)
    # d ln W(z) / d ln z = 1 / (1 + W), and z goes with p^-2.
    slope = -2 * w / (rate * safe * (1 + w))
    return jnp.where(some, w / rate, jnp.inf), jnp.where(some, slope, 0)


def _lambert_w_of_exp(log_z: jax.Array) -> jax.Array:
    """W_0(e^log_z) for any log_z, which overflows nowhere: the root of w + ln w = log_z, by Newton's steps on w."""
    # The left side is concave: the first step lands below the root, later ones climb to it, squaring the error.
    w = jnp.where(log_z > 1, log_z - jnp.log(jnp.maximum(log_z, 1)), jnp.exp(jnp.minimum(log_z, 1)) / 2)
    for _ in range(6):
        w = w * (1 + log_z - jnp.log(w)) / (1 + w)
    return w
