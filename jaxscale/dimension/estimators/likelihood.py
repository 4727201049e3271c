"""Maximum likelihood intrinsic dimension from distances to nearest neighbors, with error bars.

est = mle(x, k=20)                                # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local      # scalar, scalar, (n,)
mle(x, k=(10, 20))                                # the mean over a range of k
mle_radius(x, radius=0.5, noise=0.05)             # at a distance, deaf to what lies below the noise
"""

import functools
from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods
from jaxscale.dimension.points import Metric, check_choice, is_traced
from jaxscale.errors import InputError

Pooling = Literal["harmonic", "arithmetic"]
Normalization = Literal["k-2", "k-1"]


def mle(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int | tuple[int, int] = 20,
    metric: Metric = "euclidean",
    pooling: Pooling = "harmonic",
    normalization: Normalization = "k-2",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Maximum likelihood intrinsic dimension of the points `x` (Levina & Bickel 2005).

    With T_j the distance from point i to its j-th nearest neighbor, the sum S_i = Σ_{j<k} log(T_k / T_j) is that of k-1
    exponentials of rate d, where the density is constant across the neighborhood. Hence, over N points:

        normalization   local          pooling="arithmetic"   pooling="harmonic"
        "k-2"           (k-2) / S_i    mean of local          (N(k-1) - 1) / Σ S_i
        "k-1"           (k-1) / S_i    mean of local          N(k-1) / Σ S_i

    "k-1" is maximum likelihood at each level: harmonic pooling is then exactly the inverse of the mean of the inverses
    (MacKay & Ghahramani 2005), while the arithmetic mean (Levina & Bickel 2005) is too large by (k-1)/(k-2). "k-2"
    corrects each level to be unbiased under the model above, were the S_i independent; for harmonic pooling the
    correction is one part in N(k-1). The inverse of the mean of the inverses of (k-2)/S_i, which is too small by
    (k-2)/(k-1), is not offered.

    For a range k = (k1, k2) the estimates for each k from k1 to k2 are averaged, of the cloud and of each point alike
    (Levina & Bickel 2005, eq. 12). Their errors are all but the same, and the standard error knows it.

    Exact duplicates collapse to one point before neighbors are counted. Distinct points at computed distance zero enter
    as censored, at the smallest positive distance of their neighborhood, and do not count as terms of S_i.

    The standard error is read off halves of the cloud, which share no neighbors; see `half_sample_variance`. It
    measures spread, not bias: curvature, boundaries and a varying density lower the estimate, more so for d above ten;
    see `calibrate`.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point, at least 3, or 2 with normalization="k-1"; or the pair (k1, k2) of the first and the last
        of a range. Static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      pooling: "harmonic" or "arithmetic", as above. Static.
      normalization: "k-2" or "k-1", as above. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor, the mean over a range. Differentiable in `x` wherever
        distances are distinct and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Levina & Bickel, Maximum likelihood estimation of intrinsic dimension, NeurIPS 2004 (2005).
      MacKay & Ghahramani, Comments on "Maximum likelihood estimation of intrinsic dimension", 2005.
    """
    check_choice("pooling", pooling, Pooling)
    check_choice("normalization", normalization, Normalization)
    ends = tuple(k) if isinstance(k, tuple | list) else (k, k)
    if len(ends) != 2:
        raise InputError(f"k must be a number of neighbors, or the first and the last of a range; it is {k}.")
    first, last = (integer("k", end) for end in ends)
    least = 3 if normalization == "k-2" else 2
    if first < least:
        raise InputError(f"normalization={normalization!r} needs k of at least {least}; k={k}. Pass a larger k.")
    if last < first:
        raise InputError(f"k must be a number or a range from small to large; it is {k}.")
    estimate = _mle(neighborhoods(x, last, metric, nonfinite, duplicates), first, pooling, normalization)
    return refuse_if_none_used(estimate, first)


def mle_radius(
    x: jax.typing.ArrayLike | Neighborhoods,
    radius: float | jax.Array,
    noise: float | jax.Array = 0.0,
    k: int = 50,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Maximum likelihood intrinsic dimension from the neighbors within `radius` (Levina & Bickel 2005, eq. 7).

    Where the density is constant within R of a point, the distance of a neighbor has density d t^(d-1) / R^d up to R,
    and is truncated there. The N(R) neighbors of point i have S_i = Σ log(R / T_j), and the estimate pools them all,

        (M - 1) / Σ S_i,    M = Σ N_i(R),

    unbiased given the counts, were neighborhoods independent. R is the same for all points, or T_k where more than `k`
    neighbors lie within `radius`; the k-th then sets the scale and is not counted (their eq. 8, `mle`).

    Distances up to `noise` are censored on the left: such a neighbor is known to be that near, but not how near. Its
    probability (noise / R)^d adds log(R / noise) to S_i and nothing to M. Taken as they are, such distances would let
    the noise speak, which fills all dimensions of the space.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      radius: R, in the units of `x` (radians under "cosine"); positive; may be traced.
      noise: distance below which neighbors are only known to be near, less than `radius`; may be traced.
      k: most neighbors of a point that are looked at; static.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the radius that applied, min(R, T_k), and its points used have a neighbor within. `local`
        is (M_i - 1) / S_i, nan for points with fewer than two neighbors beyond `noise`.

    Raises:
      InputError: if an argument cannot be used, no point has a neighbor in reach, or concrete points are not finite or
        not more than `k` when distinct.

    References:
      Levina & Bickel, Maximum likelihood estimation of intrinsic dimension, NeurIPS 2004 (2005).
    """
    k = integer("k", k, 1)
    if not is_traced(radius, noise) and not 0 <= noise < radius:
        raise InputError(f"noise must be at least 0 and less than radius; they are noise={noise}, radius={radius}.")
    estimate: Estimate = _mle_radius(neighborhoods(x, k, metric, nonfinite, duplicates), radius, noise)
    if not is_traced(estimate.points_used) and int(estimate.points_used) == 0:
        raise InputError(f"no point of x has a neighbor between {noise} and radius={radius}. Pass a larger radius.")
    return estimate


@functools.partial(jax.jit, static_argnames=("first", "pooling", "normalization"))
def _mle(hoods: Neighborhoods, first: int, pooling: Pooling, normalization: Normalization) -> Estimate:
    used_N, local_NxM, dimension_M, influence_NxM, variance_M = _at_each_k(hoods, first, pooling, normalization)
    return from_influence(
        "mle",
        hoods,
        jnp.mean(dimension_M),
        jnp.mean(influence_NxM, axis=1),
        used_N,
        _variance_of_mean_over_k(variance_M),
        scale=jnp.mean(hoods.distances[:, first - 1 :], axis=1),
        local=jnp.mean(local_NxM, axis=1),
        read=lambda part: jnp.mean(_at_each_k(part, first, pooling, normalization)[2]),
    )


def _at_each_k(
    hoods: Neighborhoods, first: int, pooling: Pooling, normalization: Normalization
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Points used, and for each k from `first` on: local and pooled dimension, influences and variance."""
    log_sums_NxM, terms_NxM = _log_ratio_sums(hoods.distances, first)
    log_sums_NxM = jnp.where(hoods.sound, log_sums_NxM, jnp.nan)
    correction = 1 if normalization == "k-2" else 0
    # Terms only grow with k, so points with enough of them at the first k have enough at every k.
    used_N = hoods.used & jnp.all(terms_NxM > correction, axis=1)
    pool = _pool_harmonic if pooling == "harmonic" else _pool_arithmetic

    def of_one_k(log_sums_N: jax.Array, terms_N: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        local_N = _local(log_sums_N, terms_N - correction, used_N)
        return local_N, *pool(log_sums_N, terms_N, local_N, used_N, correction)

    return used_N, *jax.vmap(of_one_k, in_axes=1, out_axes=(1, 0, 1, 0))(log_sums_NxM, terms_NxM)


@jax.jit
def _mle_radius(hoods: Neighborhoods, radius: jax.Array, noise: jax.Array) -> Estimate:
    distances_Nxk = hoods.distances
    radius_Nx1 = jnp.minimum(radius, distances_Nxk[:, -1:])
    # At the radius itself stands only the k-th neighbor that set it, at a logarithm of zero.
    within_Nxk = (distances_Nxk < radius_Nx1) & (radius_Nx1 > noise) & hoods.used[:, None]
    seen_Nxk = within_Nxk & (distances_Nxk > noise)
    terms_N = jnp.sum(seen_Nxk, axis=1)
    # Without a noise level, zeros are censored at the nearest distance that is not zero, or left out if there is none.
    nearest_seen_Nx1 = jnp.min(jnp.where(seen_Nxk, distances_Nxk, jnp.inf), axis=1, keepdims=True)
    floor_Nx1 = jnp.where(noise > 0, noise, nearest_seen_Nx1)
    counted_Nxk = within_Nxk & (floor_Nx1 < jnp.inf)
    logs_Nxk = jnp.log(jnp.where(counted_Nxk, radius_Nx1, 1)) - jnp.log(
        jnp.where(counted_Nxk, jnp.maximum(distances_Nxk, floor_Nx1), 1)
    )
    log_sums_N = jnp.where(hoods.sound, jnp.sum(logs_Nxk, axis=1), jnp.nan)
    used_N = jnp.any(counted_Nxk, axis=1)
    local_N = _local(log_sums_N, terms_N - 1, terms_N > 1)
    dimension, influence_N, variance = _pool_harmonic(log_sums_N, terms_N, local_N, used_N, correction=1)
    return from_influence(
        "mle_radius", hoods, dimension, influence_N, used_N, variance, scale=radius_Nx1[:, 0], local=local_N
    )


def _log_ratio_sums(distances_Nxk: jax.Array, first: int) -> tuple[jax.Array, jax.Array]:
    """S_i = Σ_{j<k} log(T_k / T_j) and the number of its terms, for each k from `first` on, (N, M) both.

    No terms where T_k is zero or there are no k neighbors. A zero T_j is only known to lie below the smallest positive
    one, T_s. Taking T_s in its place without counting the term is maximum likelihood under censoring, and leaves S_i a
    sum of as many exponentials as are counted. As S_i = Σ_{j<k} j log(T_{j+1} / T_j), a running sum yields every k.
    """
    finite_Nxk = distances_Nxk < jnp.inf
    positive_Nxk = (distances_Nxk > 0) & finite_Nxk
    smallest_Nx1 = jnp.min(jnp.where(positive_Nxk, distances_Nxk, jnp.inf), axis=1, keepdims=True)
    censored_Nxk = jnp.where(
        positive_Nxk, distances_Nxk, jnp.where(finite_Nxk & (smallest_Nx1 < jnp.inf), smallest_Nx1, 1)
    )
    logs_Nxk = jnp.log(censored_Nxk)
    order = jnp.arange(1, distances_Nxk.shape[1])
    log_sums_NxM = jnp.cumsum(order * (logs_Nxk[:, 1:] - logs_Nxk[:, :-1]), axis=1)[:, first - 2 :]
    terms_NxM = jnp.cumsum(positive_Nxk[:, :-1], axis=1)[:, first - 2 :]
    return log_sums_NxM, jnp.where(positive_Nxk[:, first - 1 :], terms_NxM, 0)


def _variance_of_mean_over_k(variance_M: jax.Array) -> jax.Array:
    """Variance of the mean of estimates at successive k, each of variance v_k.

    S_i(k) is a running sum of independent exponentials, hence the covariance of the estimates at k and l > k is v_l:
    what l knows, k knows less well. Of the pairs of M successive k, 2r-1 have the r-th as the larger one.
    """
    order = jnp.arange(1, len(variance_M) + 1)
    return jnp.sum((2 * order - 1) * variance_M) / len(variance_M) ** 2


def _local(log_sums: jax.Array, numerators: jax.Array, used: jax.Array) -> jax.Array:
    """numerators / S_i; infinite where all k neighbors are equally far, nan where the point is not used."""
    spread = used & (log_sums != 0)
    local = jnp.where(spread, numerators / jnp.where(spread, log_sums, 1), jnp.inf)
    return jnp.where(used, local, jnp.nan)


def _pool_harmonic(
    log_sums: jax.Array, terms: jax.Array, local: jax.Array, used: jax.Array, correction: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The dimension that is likeliest for all neighborhoods at once, its influences and its Fisher variance."""
    total_terms = jnp.sum(jnp.where(used, terms, 0))
    total = jnp.where(total_terms > 0, jnp.sum(jnp.where(used, log_sums, 0)), jnp.nan)
    dimension = (total_terms - correction) / total
    influence = jnp.where(used, (terms - dimension * log_sums) * jnp.sum(used) / total, 0)
    return dimension, influence, dimension**2 / total_terms


def _pool_arithmetic(
    log_sums: jax.Array, terms: jax.Array, local: jax.Array, used: jax.Array, correction: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The mean local dimension, its influences and its variance.

    1/S_i is inverse gamma, so a local dimension from m terms has variance d²/(m-2): infinite for m = 2, that is k = 3.
    """
    count = jnp.sum(used)
    dimension = jnp.sum(jnp.where(used, local, 0)) / count
    influence = jnp.where(used, local - dimension, 0)
    relative_variance = jnp.where(terms > 2, 1 / jnp.maximum(terms - 2, 1), jnp.inf)
    return dimension, influence, dimension**2 * jnp.sum(jnp.where(used, relative_variance, 0)) / count**2
