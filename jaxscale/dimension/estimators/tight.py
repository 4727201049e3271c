"""Intrinsic dimension from all distances within small neighborhoods, not only those to their centers.

est = tle(x, k=20)
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.estimators.likelihood import Pooling
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, graph, neighborhoods, vectors
from jaxscale.dimension.points import Metric, check_choice, replicated

# Floats of working memory for a tile of neighborhoods.
TILE_SIZE = 2**22


def tle(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    metric: Metric = "euclidean",
    pooling: Pooling = "harmonic",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Tight local intrinsic dimensionality (TLE; Amsaleg et al. 2019, 2022).

    Each ordered pair (v, w) of the k neighbors of a point q is taken for a measurement too. So that no ball around v
    reaches out of the neighborhood, of radius r = T_k, balls shrink from that one down to v: of radius s, around the
    point (v-q) (1 - s/r) from q. The distance from v to w is the radius of the ball that has w on its surface,

        s(v, w) = r (√(A² + 4 |v-w|² B) - A) / 2B,    A = |v-q|² + |v-w|² - |w-q|²,  B = r² - |v-q|²,

    and t(v, w) is the same from 2q - v, the mirror image of v, to w. With u = s or t, and u = |w-q| itself for v = q,
    twice as it is its own image, the local dimension is the number M_i of measurements by S_i = Σ log(r / u):

        pooling="harmonic"     Σ M_i / Σ S_i
        pooling="arithmetic"   mean of M_i / S_i, as published

    scikit-dimension has k = 20 too, and "arithmetic". It drops measurements below epsilon = 1e-4 in the unit of the
    points, and so reads a cloud of size 1e-4 as 0; here nothing depends on the unit.

    A pair at distance zero in this precision, or the mirror image of such a pair, drops out with its image. The k-th
    neighbor counts as a measurement at log(r / r) = 0, as published, which makes the estimate larger by about 1/k. The
    measurements of a neighborhood are far from independent, which the analytic standard error allows for, while taking
    points for independent; the standard error adds the products of influences over the edges of the neighbor graph.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point, at least 3; static.
      metric: "euclidean", or "cosine" for neighborhoods by angle, within which distances are chords. Static.
      pooling: "harmonic" or "arithmetic", as above. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` wherever distances are distinct
        and positive.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Amsaleg, Chelly, Houle, Kawarabayashi, Radovanović & Treeratanajaru, Intrinsic dimensionality estimation within
        tight localities, SIAM International Conference on Data Mining 2019; and arXiv:2209.14475, 2022.
    """
    check_choice("pooling", pooling, Pooling)
    k = integer("k", k, 3)
    return refuse_if_none_used(_tle(neighborhoods(x, k, metric, nonfinite, duplicates), pooling), k)


@functools.partial(jax.jit, static_argnames="pooling")
def _tle(hoods: Neighborhoods, pooling: Pooling) -> Estimate:
    farthest_N = hoods.distances[:, -1]
    regular_N = hoods.used & (farthest_N > 0) & (farthest_N < jnp.inf)
    log_sums_N, measurements_N = _measurements(hoods, regular_N)
    used_N = regular_N & (measurements_N > 0)
    log_sums_N = jnp.where(hoods.sound, log_sums_N, jnp.nan)
    count = jnp.sum(used_N)
    spread_N = used_N & (log_sums_N != 0)
    local_N = jnp.where(spread_N, measurements_N / jnp.where(spread_N, log_sums_N, 1), jnp.inf)
    if pooling == "harmonic":
        total = jnp.where(count > 0, jnp.sum(jnp.where(used_N, log_sums_N, 0)), jnp.nan)
        dimension = jnp.sum(jnp.where(used_N, measurements_N, 0)) / total
        influence_N = (measurements_N - dimension * log_sums_N) * count / total
    else:
        dimension = jnp.sum(jnp.where(used_N, local_N, 0)) / count
        influence_N = local_N - dimension
    influence_N = jnp.where(used_N, influence_N, 0)
    return from_influence(
        "tle",
        hoods,
        dimension,
        influence_N,
        used_N,
        local=jnp.where(used_N, local_N, jnp.nan),
    )


def _measurements(hoods: Neighborhoods, regular_N: jax.Array) -> tuple[jax.Array, jax.Array]:
    """S_i = Σ log(r / u) over the measurements of each neighborhood, and their number; tile by tile."""
    points_NxD = replicated(vectors(hoods, "tle"))
    n, width = points_NxD.shape
    # Without checkpoint the gradient would keep the differences and the pairs of all neighborhoods.
    of_point = jax.checkpoint(functools.partial(_measurements_of_point, points_NxD))
    rows_in_a_tile = max(1, TILE_SIZE // (hoods.k * (width + 8 * hoods.k)))
    rows = (points_NxD, graph(hoods, "tle"), regular_N)
    measurements: tuple[jax.Array, jax.Array] = lax.map(
        lambda row: of_point(*row), rows, batch_size=min(n, rows_in_a_tile)
    )
    return measurements


def _measurements_of_point(
    points_NxD: jax.Array, center_D: jax.Array, indices_k: jax.Array, regular: jax.Array
) -> tuple[jax.Array, jax.Array]:
    from_center_kxD = jnp.where(regular, points_NxD[indices_k] - center_D, jnp.eye(len(indices_k), len(center_D)))
    # The unit of length is r, taken from the differences: under "cosine" the distances to neighbors are angles.
    radius = jnp.sqrt(jnp.max(jnp.sum(from_center_kxD**2, axis=1)))
    from_center_kxD = from_center_kxD / radius
    gram_kxk = jnp.matmul(from_center_kxD, from_center_kxD.T, precision=lax.Precision.HIGHEST)
    square_k = jnp.minimum(jnp.diagonal(gram_kxk), 1)
    sum_kxk = square_k[:, None] + square_k
    between_kxk, mirrored_kxk = sum_kxk - 2 * gram_kxk, sum_kxk + 2 * gram_kxk
    # Below this the difference of squares is rounding.
    resolved_kxk = jnp.minimum(between_kxk, mirrored_kxk) > 8 * jnp.finfo(points_NxD.dtype).eps * sum_kxk
    pairs_kxk = resolved_kxk & ~jnp.eye(len(indices_k), dtype=bool)
    positive_k = square_k > 0

    def log_measurements(square_kxk: jax.Array) -> jax.Array:
        return jnp.log(_shrunk(jnp.where(pairs_kxk, square_kxk, 1), square_k[:, None], square_k))

    log_pairs = jnp.sum(jnp.where(pairs_kxk, log_measurements(between_kxk) + log_measurements(mirrored_kxk), 0))
    log_center = jnp.sum(jnp.log(jnp.where(positive_k, square_k, 1)))  # twice log |w-q|
    return -log_pairs - log_center, 2 * (jnp.sum(pairs_kxk) + jnp.sum(positive_k))


def _shrunk(between: jax.Array, from_center: jax.Array, to_center: jax.Array) -> jax.Array:
    """s(v, w) for r = 1 from the squares of |v-w|, |v-q| and |w-q|.

    Of its two forms, equal by (root - A)(root + A) = 4 |v-w|² B, the one that does not cancel: where A > 0, B may be 0.
    """
    a, b = from_center + between - to_center, 1 - from_center
    root = jnp.sqrt(a**2 + 4 * between * b)
    ahead = a > 0
    return jnp.where(ahead, 2 * between / (root + jnp.where(ahead, a, 1)), (root - a) / (2 * jnp.where(ahead, 1, b)))
