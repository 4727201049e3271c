"""Intrinsic dimension by principal components, of each neighborhood or of the whole cloud.

est = local_pca(x, k=100, rule="fo")              # x: (n, D); how many directions the neighbors of a point spread in
est = pca(x, rule="participation_ratio")          # the same of all points at once: the dimension of the linear hull
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.eigenvalues import eigvalsh
from jaxscale.dimension.estimate import Estimate, from_influence, known_error, refuse_if_none_used
from jaxscale.dimension.estimators.neighbor_vectors import complete, gram, map_neighborhoods
from jaxscale.dimension.estimators.spectra import Rule, checked_threshold, dimension_of_spectrum, participation_ratio
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import (
    Duplicates,
    Neighborhoods,
    Nonfinite,
    distinct_points,
    neighborhoods,
    vectors,
)
from jaxscale.dimension.points import Metric, replicated

# Runs of rows that are left out in turn for a standard error.
BLOCKS = 20


def local_pca(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 100,
    rule: Rule = "fo",
    threshold: float | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Mean number of directions in which the neighbors of a point spread (Fukunaga & Olsen 1971).

    The spectrum of a point is that of the covariance of its k nearest neighbors, the point itself not among them, about
    their mean; min(D, k-1) eigenvalues can differ from zero, and the `rule` counts among these; see
    `dimension_of_spectrum` for each. The dimension is the mean over the points. Where k is below D the eigenvalues are
    taken from the k x k matrix of inner products, never from D x D.

    A neighborhood must hold many more points than dimensions, k of several d, or it spans only k-1 of them; and be
    smaller than the radius of curvature, or it bends into further ones.

    The standard error adds the products of influences, local - dimension, over the edges of the neighbor graph; see
    `graph_variance`; the analytic one takes local dimensions for independent. Both measure spread, not bias. Under
    a rule that counts, points that all count alike show no spread, and the standard error is nan: on a Swiss roll, at a
    k that reaches around the bend, every point counts three directions.

    Args:
      x: (n, D) points, or their `Neighborhoods`; integers and half precision are taken as float32. May be sharded.
      k: neighbors per point; static; at least 2.
      rule: how eigenvalues are counted. Static.
      threshold: for "fo" the least share of the largest eigenvalue, 0.05 if None; for "ratio" the share of the variance
        to explain, 0.95 if None; no other rule has one. Static.
      metric: "euclidean", or "cosine" for the angle between rows, whose directions are then the points. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` under "participation_ratio";
        under the other rules, which count, taking the gradient raises `InputError`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Fukunaga & Olsen, An algorithm for finding intrinsic dimensionality of data, IEEE Trans. Computers, 1971.
    """
    threshold = checked_threshold(rule, threshold)
    k = integer("k", k, 2)
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    estimate = refuse_if_none_used(_local_pca(hoods, rule, threshold), k)
    return _counting(estimate, hoods, rule)


def _counting(estimate: Estimate, hoods: Neighborhoods, rule: Rule) -> Estimate:
    """`estimate`, which has no gradient under a rule that counts."""
    if rule == "participation_ratio":
        return estimate
    what = f"{estimate.estimator} under rule={rule!r} counts eigenvalues"
    return without_gradient(estimate, hoods, what, "Use rule='participation_ratio'")


@functools.partial(jax.jit, static_argnames=("rule", "threshold"))
def _local_pca(hoods: Neighborhoods, rule: Rule, threshold: float) -> Estimate:
    k, width = hoods.k, vectors(hoods, "local_pca").shape[1]

    def dimension_of(vectors_kxD: jax.Array) -> jax.Array:
        scatter = gram(vectors_kxD) if k <= width else gram(vectors_kxD.T)
        if rule == "participation_ratio":
            return participation_ratio(jnp.trace(scatter), jnp.sum(scatter**2))
        return dimension_of_spectrum(eigvalsh(scatter)[::-1], min(width, k - 1), rule, threshold)

    local = map_neighborhoods(dimension_of, hoods, "local_pca")
    used = complete(hoods) & ~jnp.isnan(local)
    count = jnp.sum(used)
    local = jnp.where(used & hoods.sound, local, jnp.nan)
    dimension = jnp.sum(jnp.where(used, local, 0)) / count
    influence = jnp.where(used, local - dimension, 0)
    return from_influence("local_pca", hoods, dimension, influence, used, local=local)


def pca(
    x: jax.typing.ArrayLike | Neighborhoods,
    rule: Rule = "participation_ratio",
    threshold: float | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Number of directions in which the whole cloud spreads: the dimension of its linear hull, not of a manifold in it.

    The rule counts among the min(D, N-1) eigenvalues of the covariance of the N distinct points that can differ from
    zero. With rule="participation_ratio" this is the effective dimension often quoted for activations of networks.

    The standard error is the jackknife over 20 runs of successive rows, √((B-1)/B Σ_b (d_b - mean of d_b)²), with d_b
    the dimension without the b-th: it allows for rows that depend on those near them in the array, and takes the runs
    for independent. Where no run moves a count it is nan: nothing is known of it then.

    Args:
      x: (n, D) points, or their `Neighborhoods`, of which the points alone are read. May be sharded.
      rule, threshold, metric, nonfinite, duplicates: see `local_pca`.

    Returns:
      `Estimate` without `local`, `influence` and analytic standard error; its scale is the root of the mean square
        distance from the mean. Differentiable as `local_pca` is. Of rows that repeat another one exact copies alone
        collapse: a point that counts twice moves the covariance little, and to find it takes all pairs.

    Raises:
      InputError: as `local_pca`.
    """
    threshold = checked_threshold(rule, threshold)
    hoods = distinct_points(x, metric, nonfinite, duplicates, up_to_rounding=False)
    return _counting(_pca(hoods, rule, threshold), hoods, rule)


@functools.partial(jax.jit, static_argnames=("rule", "threshold"))
def _pca(hoods: Neighborhoods, rule: Rule, threshold: float) -> Estimate:
    points_NxD = replicated(vectors(hoods, "pca"))
    n, width = points_NxD.shape
    count = jnp.sum(hoods.used)
    points_NxD = jnp.where(hoods.used[:, None], points_NxD, 0)
    # A first mean, to which everything refers; what rounding leaves of it comes off with each second one.
    largest = lax.stop_gradient(jnp.max(jnp.abs(points_NxD)))
    largest = jnp.where(largest > 0, largest, 1)
    points_NxD = points_NxD / largest
    points_NxD = jnp.where(hoods.used[:, None], points_NxD - jnp.sum(points_NxD, axis=0) / count, 0)

    def moments(points_NxD: jax.Array, used_N: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        scatter_DxD = jnp.matmul(points_NxD.T, points_NxD, precision=lax.Precision.HIGHEST)
        return jnp.sum(used_N), jnp.sum(points_NxD, axis=0), scatter_DxD

    def dimension_of(count: jax.Array, sum_D: jax.Array, scatter_DxD: jax.Array) -> jax.Array:
        covariance_DxD = (scatter_DxD - jnp.outer(sum_D, sum_D) / count) / count
        if rule == "participation_ratio":
            return participation_ratio(jnp.trace(covariance_DxD), jnp.sum(covariance_DxD**2))
        eigenvalues_D = eigvalsh(covariance_DxD)[::-1]
        return dimension_of_spectrum(eigenvalues_D, jnp.minimum(width, count - 1), rule, threshold)

    everything = moments(points_NxD, hoods.used)
    blocks = min(BLOCKS, n)
    edges = jnp.round(jnp.linspace(0, n, blocks + 1)).astype(int)
    longest = -(-n // blocks)

    def without(block: jax.Array) -> jax.Array:
        # Blocks differ by a row at most: one that is shorter reads a row of the next, or stops at the end, masked.
        rows = edges[block] + jnp.arange(longest)
        inside = (rows < edges[block + 1]) & (rows < n)
        rows = jnp.minimum(rows, n - 1)
        left_out = moments(jnp.where(inside[:, None], points_NxD[rows], 0), inside & hoods.used[rows])
        return dimension_of(*jax.tree.map(lambda all_of, part: all_of - part, everything, left_out))

    jackknife = lax.map(without, jnp.arange(blocks))
    dimension = jnp.where(hoods.sound, dimension_of(*everything), jnp.nan)
    variance = (blocks - 1) / blocks * jnp.sum((jackknife - jnp.mean(jackknife)) ** 2)
    return Estimate(
        dimension=dimension,
        standard_error=jnp.where(hoods.sound, known_error(variance), jnp.nan),
        analytic_standard_error=jnp.full_like(dimension, jnp.nan),
        local=None,
        influence=None,
        scale=largest * jnp.sqrt(jnp.sum(points_NxD**2) / count),
        points_used=count.astype(jnp.int32),
        duplicates_collapsed=hoods.duplicates_collapsed,
        zero_distances=hoods.zero_distances,
        nonfinite_dropped=hoods.nonfinite_dropped,
        rounding_collapsed=hoods.rounding_collapsed,
        estimator="pca",
    )
