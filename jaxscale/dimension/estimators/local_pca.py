"""Intrinsic dimension by principal components, of each neighborhood or of the whole cloud.

est = local_pca(x, k=100, rule="fo")              # x: (n, D); how many directions the neighbors of a point spread in
est = pca(x, rule="participation_ratio")          # the same of all points at once: the dimension of the linear hull
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer, random_key, real
from jaxscale.dimension.eigenvalues import eigvalsh
from jaxscale.dimension.estimate import Estimate, from_influence, known_error, refuse_if_none_used
from jaxscale.dimension.estimators.neighbor_vectors import complete, gram, map_neighborhoods
from jaxscale.dimension.estimators.signal_rank import OF_KNOWN_NOISE, noise_levels
from jaxscale.dimension.estimators.spectra import (
    SMOOTH,
    Rule,
    checked_threshold,
    corrected_participation_ratio,
    dimension_of_spectrum,
    knows_noise,
    participation_ratio,
)
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
    key: jax.Array | int | None = None,
) -> Estimate:
    """Mean number of directions in which the neighbors of a point spread (Fukunaga & Olsen 1971).

    The spectrum of a point is that of the covariance of its k nearest neighbors, the point itself not among them, about
    their mean; min(D, k-1) eigenvalues can differ from zero, and the `rule` counts among these. The dimension is the
    mean over the points. Where k is below D the k x k matrix of inner products is read, never D x D.

        "fo"                   λ above `threshold` times the largest (Fukunaga & Olsen 1971)
        "ratio"                the fewest that carry the share `threshold` of the variance
        "participation_ratio"  (Σ λ)² / Σ λ²
        "participation_ratio_corrected"    the same without the bias of few points; see `corrected_participation_ratio`
        "marchenko_pastur", "gavish_donoho", "horn"    λ above those of noise; see `noise_levels`
        "minka"                the number of greatest evidence, at least 1; see `minka`

    A neighborhood must hold many more points than dimensions, k of several d, or it spans only k-1 of them;
    "participation_ratio_corrected" alone does with fewer, d ten times k even. And it must be smaller than the radius of
    curvature, or it bends into further ones.

    The last four rules take what is not signal for noise of one variance in all D columns, and columns of zeros for
    such without any. The noise is that of the median eigenvalue, so that fewer than half of the min(D, k-1) must be
    signal; where there is no noise the count is the rank. They say 0 (Minka's 1) where all directions are alike. Of
    noise alone "marchenko_pastur" counts a direction in one of six samples, "horn" in one of twenty. "horn" compares
    shares of the whole variance, of which strong directions leave little to weak ones, and misses those.

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
      key: a JAX random key, or an int for `jax.random.key`. Of the noise that "horn" draws; 0 if None.

    Returns:
      `Estimate`; its scale is the distance to the k-th neighbor. Differentiable in `x` under "participation_ratio" and
        "participation_ratio_corrected"; under the other rules, which count, taking the gradient raises `InputError`.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than `k` when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Fukunaga & Olsen, An algorithm for finding intrinsic dimensionality of data, IEEE Trans. Computers, 1971.
    """
    threshold = checked_threshold(rule, threshold)
    k = integer("k", k, 2)
    _check_count(rule, "k", k)
    key = random_key("key", 0 if key is None else key)
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    estimate = refuse_if_none_used(_local_pca(hoods, key, rule, threshold), k)
    return _counting(estimate, hoods, rule)


def _check_count(rule: Rule, name: str, points: int) -> None:
    if rule == "participation_ratio_corrected" and points < 4:
        raise InputError(f"rule={rule!r} compares four points; {name}={points}. Pass at least 4.")


def _counting(estimate: Estimate, hoods: Neighborhoods, rule: Rule) -> Estimate:
    """`estimate`, which has no gradient under a rule that counts."""
    if rule in SMOOTH:
        return estimate
    what = f"{estimate.estimator} under rule={rule!r} counts eigenvalues"
    return without_gradient(estimate, hoods, what, "Use rule='participation_ratio'")


class _ReadScatter(NamedTuple):
    """How a rule reads a matrix of scatter: what it compares with, which is the same for many matrices.

    Attributes:
      rule: see `local_pca`.
      threshold: scalar, or (m,) for "horn".
      width: D.
      known_noise: whether the threshold is in the unit of the eigenvalues.
    """

    rule: Rule
    threshold: jax.Array
    width: int
    known_noise: bool = False

    def __call__(self, scatter_mxm: jax.Array, fourth: jax.Array | None, count: jax.Array | int) -> jax.Array:
        """The dimension of `count` points from their scatter, D x D or their inner products, and Σ |x_i - x̄|⁴."""
        if self.rule in SMOOTH:
            total, squares = jnp.trace(scatter_mxm), jnp.sum(scatter_mxm**2)
            if fourth is None:
                return participation_ratio(total, squares)
            return corrected_participation_ratio(total, squares, fourth, count)
        eigenvalues_m = eigvalsh(scatter_mxm)[::-1]
        rank = jnp.minimum(self.width, count - 1)
        return dimension_of_spectrum(
            eigenvalues_m, rank, self.rule, self.threshold, count, self.width, self.known_noise
        )


@functools.partial(jax.jit, static_argnames=("rule", "threshold"))
def _local_pca(hoods: Neighborhoods, key: jax.Array, rule: Rule, threshold: float) -> Estimate:
    k, width = hoods.k, vectors(hoods, "local_pca").shape[1]
    levels = jnp.asarray(threshold)
    if knows_noise(rule):
        levels = noise_levels(rule, min(k, width), k - 1, width, key=key)
    dimension_of = _ReadScatter(rule, levels, width)

    def of_neighborhood(vectors_kxD: jax.Array) -> jax.Array:
        fourth = jnp.sum(jnp.sum(vectors_kxD**2, axis=1) ** 2) if rule == "participation_ratio_corrected" else None
        return dimension_of(gram(vectors_kxD) if k <= width else gram(vectors_kxD.T), fourth, k)

    local = map_neighborhoods(of_neighborhood, hoods, "local_pca")
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
    noise: float | None = None,
    key: jax.Array | int | None = None,
) -> Estimate:
    """Number of directions in which the whole cloud spreads: the dimension of its linear hull, not of a manifold in it.

    The rule counts among the min(D, N-1) eigenvalues of the covariance of the N distinct points that can differ from
    zero. With rule="participation_ratio" this is the effective dimension often quoted for activations of networks. It
    grows with N, as 1 / (1/d + 1/N) where d is its limit; "participation_ratio_corrected" is without that bias: 50
    normal points in 200 independent columns read 39 by the first and 200 by the second. Where N is below D the N x N
    matrix of inner products is read, never D x D.

    The standard error is the jackknife over 20 runs of successive rows, √((B-1)/B Σ_b (d_b - mean of d_b)²), with d_b
    the dimension without the b-th: it allows for rows that depend on those near them in the array, and takes the runs
    for independent. Where no run moves a count it is nan: nothing is known of it then.

    Args:
      x: (n, D) points, or their `Neighborhoods`, of which the points alone are read. May be sharded.
      rule, threshold, metric, nonfinite, duplicates: see `local_pca`.
      noise: standard deviation of the noise in each column, in the unit of `x`, where it is known: of
        "marchenko_pastur" and "gavish_donoho", which otherwise take it from the median eigenvalue. May be traced.
      key: a JAX random key, or an int for `jax.random.key`. Of the noise that "horn" draws; 0 if None.

    Returns:
      `Estimate` without `local`, `influence` and analytic standard error; its scale is the root of the mean square
        distance from the mean. Differentiable as `local_pca` is. Of rows that repeat another one exact copies alone
        collapse: a point that counts twice moves the covariance little, and to find it takes all pairs.

    Raises:
      InputError: as `local_pca`.
    """
    threshold = checked_threshold(rule, threshold)
    if noise is not None:
        if rule not in OF_KNOWN_NOISE:
            raise InputError(f"rule={rule!r} takes no noise; noise={noise}. Leave it out.")
        if not is_traced(noise) and not real("noise", noise, 0.1) > 0:
            raise InputError(f"noise is a standard deviation, above 0; it is {noise}.")
    key = random_key("key", 0 if key is None else key)
    hoods = distinct_points(x, metric, nonfinite, duplicates, up_to_rounding=False)
    if not is_traced(hoods.used):
        _check_count(rule, "distinct points", int(jnp.sum(hoods.used)))
    return _counting(_pca(hoods, noise, key, rule, threshold), hoods, rule)


@functools.partial(jax.jit, static_argnames=("rule", "threshold"))
def _pca(hoods: Neighborhoods, noise: float | None, key: jax.Array, rule: Rule, threshold: float) -> Estimate:
    points_NxD = replicated(vectors(hoods, "pca"))
    n, width = points_NxD.shape
    count = jnp.sum(hoods.used)
    points_NxD = jnp.where(hoods.used[:, None], points_NxD, 0)
    # A first mean, to which everything refers; what rounding leaves of it comes off with each second one.
    largest = lax.stop_gradient(jnp.max(jnp.abs(points_NxD)))
    largest = jnp.where(largest > 0, largest, 1)
    points_NxD = points_NxD / largest
    points_NxD = jnp.where(hoods.used[:, None], points_NxD - jnp.sum(points_NxD, axis=0) / count, 0)

    levels = jnp.asarray(threshold)
    if knows_noise(rule):
        # For the points without a block too, whose levels are hardly others: what all blocks share is no spread.
        levels = noise_levels(rule, min(n, width), count - 1, width, noise is not None, key)
        if noise is not None:
            levels = levels * (noise / largest) ** 2 / count
    dimension_of = _ReadScatter(rule, levels, width, noise is not None)
    of_rows = _by_moments if width <= n else _by_inner_products
    dimension_without = of_rows(points_NxD, hoods.used, dimension_of)

    blocks = min(BLOCKS, n)
    edges = jnp.round(jnp.linspace(0, n, blocks + 1)).astype(int)
    longest = -(-n // blocks)

    def without(block: jax.Array) -> jax.Array:
        # Blocks differ by a row at most: one that is shorter reads a row of the next, or stops at the end, masked.
        rows = edges[block] + jnp.arange(longest)
        inside = (rows < edges[block + 1]) & (rows < n)
        return dimension_without(jnp.minimum(rows, n - 1), inside)

    jackknife = lax.map(without, jnp.arange(blocks))
    all_rows = dimension_without(jnp.zeros(1, int), jnp.zeros(1, bool))
    dimension = jnp.where(hoods.sound, all_rows, jnp.nan)
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


DimensionWithout = Callable[[jax.Array, jax.Array], jax.Array]


def _by_moments(points_NxD: jax.Array, used_N: jax.Array, dimension_of: _ReadScatter) -> DimensionWithout:
    """The dimension without some rows (R,), of those that are not masked out (R,): by moments, which add up."""

    def moments(points_RxD: jax.Array, used_R: jax.Array) -> tuple[jax.Array, ...]:
        scatter_DxD = jnp.matmul(points_RxD.T, points_RxD, precision=lax.Precision.HIGHEST)
        square_R = jnp.sum(points_RxD**2, axis=1)
        cubic_D = jnp.matmul(square_R, points_RxD, precision=lax.Precision.HIGHEST)
        return jnp.sum(used_R), jnp.sum(points_RxD, axis=0), scatter_DxD, cubic_D, jnp.sum(square_R**2)

    everything = moments(points_NxD, used_N)

    def without(rows_R: jax.Array, out_R: jax.Array) -> jax.Array:
        out_R = out_R & used_N[rows_R]
        left_out = moments(jnp.where(out_R[:, None], points_NxD[rows_R], 0), out_R)
        count, sum_D, scatter_DxD, cubic_D, quartic = jax.tree.map(lambda a, part: a - part, everything, left_out)
        mean_D = sum_D / count
        centered_DxD = (scatter_DxD - jnp.outer(sum_D, mean_D)) / count
        fourth = None
        if dimension_of.rule == "participation_ratio_corrected":
            # Σ |x - m|⁴ of |x - m|² = |x|² - 2 x·m + |m|²; the mean is small, as points have been centered.
            square = jnp.sum(mean_D**2)
            across = jnp.vdot(mean_D, jnp.matmul(scatter_DxD, mean_D, precision=lax.Precision.HIGHEST))
            fourth = quartic - 4 * jnp.vdot(mean_D, cubic_D) + 2 * square * jnp.trace(scatter_DxD)
            fourth = (fourth + 4 * across - 3 * count * square**2) / count**2
        return dimension_of(centered_DxD, fourth, count)

    return without


def _by_inner_products(points_NxD: jax.Array, used_N: jax.Array, dimension_of: _ReadScatter) -> DimensionWithout:
    """The same by the N x N inner products, where there are fewer points than columns."""
    products_NxN = gram(points_NxD)

    def without(rows_R: jax.Array, out_R: jax.Array) -> jax.Array:
        kept_N = used_N & ~jnp.zeros(len(used_N), bool).at[rows_R].max(out_R)
        count = jnp.sum(kept_N)
        both_NxN = kept_N[:, None] & kept_N
        kept_NxN = jnp.where(both_NxN, products_NxN, 0)
        mean_N = jnp.sum(kept_NxN, axis=1) / count
        centered_NxN = kept_NxN - mean_N[:, None] - mean_N + jnp.sum(mean_N) / count
        centered_NxN = jnp.where(both_NxN, centered_NxN, 0) / count
        corrected = dimension_of.rule == "participation_ratio_corrected"
        return dimension_of(centered_NxN, jnp.sum(jnp.diagonal(centered_NxN) ** 2) if corrected else None, count)

    return without
