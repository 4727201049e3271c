"""Dimension against scale, and the range of scales over which it holds still.

profile = by_decimation(x, key=jax.random.key(0))  # n, n/2, n/4, … points, a neighbor search each
profile = by_k(x, estimator="gride")              # 2, 4, 8, … neighbors, one search
plateau(profile).dimension

No cloud has a dimension as such: noise fills the space at the smallest distances, curvature and the ends of the data
are felt at the largest. An estimate can be trusted where it does not depend on the distance at which it was read.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaincc

from jaxscale.arguments import integer, random_key
from jaxscale.dimension.estimate import Estimate, normal_interval
from jaxscale.dimension.estimators.registry import Estimator, at_all_neighbors
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods, vectors
from jaxscale.dimension.points import Metric, replicated
from jaxscale.errors import InputError

# Subsets smaller than this say more about their boundary than about the cloud.
LEAST_POINTS = 250
# Fewer scales than this lie on a level by chance.
LEAST_SCALES = 3


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ScaleProfile:
    """Dimension at S scales, the finest first.

    Attributes:
      scale: (S,) distances at which the dimension was read, the estimator's `Estimate.scale`.
      dimension: (S,).
      standard_error: (S,); scales share points, so their errors are correlated.
      spread: (S,) standard deviation of the dimension between disjoint subsets; nan where there is one cloud alone.
      points: (S,) int32, points used of one cloud or subset, the mean over subsets rounded down.
      k: (S,) int32, neighbors of each point.
      estimator: the name of the estimator; static.
    """

    scale: jax.Array
    dimension: jax.Array
    standard_error: jax.Array
    spread: jax.Array
    points: jax.Array
    k: jax.Array
    estimator: str = dataclasses.field(default="", metadata={"static": True})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Plateau:
    """The widest range of scales over which a dimension is constant. All scalars; nan and -1 where there is none.

    Attributes:
      found: boolean, whether there is one.
      dimension: mean over the range, weighted by inverse variance.
      standard_error: of that mean, as if all its scales erred together, as scales of one cloud nearly do.
      lower, upper: the scales at which the range begins and ends.
      first, last: int32, their places in the profile.
    """

    found: jax.Array
    dimension: jax.Array
    standard_error: jax.Array
    lower: jax.Array
    upper: jax.Array
    first: jax.Array
    last: jax.Array

    def interval(self, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
        """Normal interval of `dimension` at the confidence `level`, for its spread alone."""
        return normal_interval(self.dimension, self.standard_error, level)


def by_k(
    x: jax.typing.ArrayLike | Neighborhoods,
    ks: Sequence[int] = (4, 8, 16, 32, 64),
    estimator: str | Estimator = "mle",
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> ScaleProfile:
    """Dimension of `x` at growing neighborhoods, all from one neighbor search.

    With "gride" and ks = 2, 4, 8, … this is the scale analysis of Denti et al. 2022: k = n2 = 2 n1. With "mle" it is
    the dimension against k of Levina & Bickel 2005 (their Figure 1). The scale grows with k^(1/d) alone: where d is
    ten, a hundred times the neighbors are but half again as far.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least the largest k.
      ks: neighbors per point, ascending; static.
      estimator: a name in `ESTIMATORS`, or a function from `Neighborhoods` to `Estimate` that reads all of their
        neighbors; static.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.

    Returns:
      `ScaleProfile`, in the order of `ks`. Can be used under `jit`, `vmap` and `grad`.

    Raises:
      InputError: if `ks` do not ascend, or as `neighborhoods` and the estimator do.
    """
    ks = tuple(integer("ks", k, 1) for k in ks)
    if not ks or any(later <= earlier for earlier, later in itertools.pairwise(ks)):
        raise InputError(f"ks must be ascending numbers of neighbors; they are {ks}.")
    name, read = at_all_neighbors(estimator)
    hoods = neighborhoods(x, ks[-1], metric, nonfinite, duplicates)
    estimates = [read(hoods.nearest(k)) for k in ks]
    pick: Callable[[str], jax.Array] = lambda field: jnp.stack([getattr(estimate, field) for estimate in estimates])
    return ScaleProfile(
        scale=pick("scale"),
        dimension=pick("dimension"),
        standard_error=pick("standard_error"),
        spread=jnp.full_like(pick("dimension"), jnp.nan),
        points=pick("points_used"),
        k=jnp.asarray(ks, jnp.int32),
        estimator=name,
    )


def by_decimation(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    estimator: str | Estimator = "mle",
    levels: int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
    *,
    key: jax.Array | int,
) -> ScaleProfile:
    """Dimension of random subsets of n, n/2, n/4, … points of `x`, whose neighbors lie ever farther apart.

    The scale analysis of Facco et al. 2017. At level l the points are dealt to 2^l disjoint subsets, the neighbors
    within each are searched anew, and the dimensions are averaged, so no point is wasted and all levels together cost
    as much as two searches of the whole cloud. Duplicates and dropped rows are settled once, on the whole cloud.

    Unlike `by_k` it keeps k, so that a neighborhood is as full at every scale, and the estimator's bias at that k is
    the same; what changes is the distance. At each level the standard error is that of a mean of independent subsets,
    each with its own standard error; `spread` shows whether subsets agree within it.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k.
      k: neighbors per point at every level; static.
      estimator: a name in `ESTIMATORS`, or a function from `Neighborhoods` to `Estimate`; static.
      levels: subset sizes, the whole cloud included; static. By default as many as leave subsets of 250 rows and 5 k.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.
      key: a JAX random key, or an int for `jax.random.key`. It deals the points.

    Returns:
      `ScaleProfile`, the whole cloud first. Can be used under `jit`, `vmap` and `grad`.

    Raises:
      InputError: if `levels` leaves subsets of no more than `k` rows, or as `neighborhoods` and the estimator do.
    """
    k, levels = integer("k", k, 1), None if levels is None else integer("levels", levels)
    key = random_key("key", key)
    name, read = at_all_neighbors(estimator)
    hoods = neighborhoods(x, k, metric, nonfinite, duplicates)
    points_NxD = replicated(vectors(hoods, "by_decimation"))
    n = hoods.used.shape[0]
    if levels is None:
        levels = 1 + max(0, (n // max(LEAST_POINTS, 5 * k)).bit_length() - 1)
    if levels < 1 or n >> (levels - 1) <= k:
        raise InputError(
            f"levels={levels} leaves subsets of {n >> max(levels - 1, 0)} rows of {n}, too few for k={k}. "
            "Pass fewer levels (at least one), or a smaller k."
        )
    rows = [_mean_of_one(read(hoods))]
    # Used points come first, so that each subset gets its share of them, and the last subset is not all left-overs.
    order_N = jnp.argsort(jnp.where(hoods.used, jax.random.uniform(key, (n,)), 2))
    points_NxD = jnp.where(hoods.used[:, None], points_NxD, jnp.nan)
    rows += [_of_subsets(points_NxD, order_N, 2**level, k, hoods.metric, read) for level in range(1, levels)]
    scale, dimension, standard_error, spread, points = (jnp.stack(column) for column in zip(*rows, strict=True))
    return ScaleProfile(
        scale=scale,
        dimension=jnp.where(hoods.sound, dimension, jnp.nan),
        standard_error=jnp.where(hoods.sound, standard_error, jnp.nan),
        spread=spread,
        points=points,
        k=jnp.full(levels, k, jnp.int32),
        estimator=name,
    )


def _mean_of_one(estimate: Estimate) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    nan = jnp.full_like(estimate.dimension, jnp.nan)
    return estimate.scale, estimate.dimension, estimate.standard_error, nan, estimate.points_used


@functools.partial(jax.jit, static_argnames=("subsets", "k", "metric", "read"))
def _of_subsets(
    points_NxD: jax.Array, order_N: jax.Array, subsets: int, k: int, metric: Metric, read: Estimator
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """Means over disjoint subsets: scale, dimension, its standard error and spread, points used."""
    size = len(order_N) // subsets
    rows_SxM = order_N[: size * subsets].reshape(size, subsets).T

    def of_one(rows_M: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        # Rows to leave out are nan by now, and no duplicates are left among the others.
        estimate = read(neighborhoods(points_NxD[rows_M], k, metric, nonfinite="drop", duplicates="keep"))
        return estimate.scale, estimate.dimension, estimate.standard_error, estimate.points_used

    scale, dimension, error, used = lax.map(of_one, rows_SxM)
    return (
        jnp.mean(scale),
        jnp.mean(dimension),
        jnp.sqrt(jnp.sum(error**2)) / subsets,
        jnp.std(dimension, ddof=1),
        jnp.sum(used) // subsets,
    )


def plateau(profile: ScaleProfile, level: float = 0.95, tolerance: float = 0.02) -> Plateau:
    """The widest range of scales of `profile` over which its dimension is constant within its errors.

    For every run of at least three neighboring scales, with errors e_s² = standard_error² + (tolerance · dimension)²,

        d = Σ d_s / e_s² / Σ 1 / e_s²       χ² = Σ (d_s - d)² / e_s²

    The run is level if so large a χ² has a chance of more than 1 - level under its degrees of freedom, one less than it
    has scales, and so has the part of χ² that a straight line over log scale explains, under one: a steady drift hides
    in the sum over many scales. The widest has the largest ratio of scales between its ends; of equals, the finest.

    `tolerance` is the change of dimension that shall not count: large clouds have errors so small that bias alone would
    break every plateau. Errors at neighboring scales agree, for they share points, so both tests are lenient. And being
    level is not being right: an estimator can be too low by the same share at every scale.

    Args:
      profile: from `by_k` or `by_decimation`.
      level: of the χ² test, in (0, 1).
      tolerance: relative; zero for errors alone.

    Returns:
      `Plateau`; `found` is false if no run of three scales is constant. Scales where nothing could be read are in none.

    Raises:
      InputError: if `level` or `tolerance` is out of range.
    """
    if not 0 < level < 1 or not tolerance >= 0:
        raise InputError(f"level must lie in (0, 1), tolerance at 0 or above; they are {level} and {tolerance}.")
    found: Plateau = _plateau(profile, level, tolerance)
    return found


@jax.jit
def _plateau(profile: ScaleProfile, level: jax.Array, tolerance: jax.Array) -> Plateau:
    d_S, error_S = profile.dimension, profile.standard_error
    place = jnp.arange(len(d_S))
    # A run of scales is a row: all runs, of which those too short or broken are ruled out below.
    first_R, last_R = (ends.reshape(-1) for ends in jnp.meshgrid(place, place, indexing="ij"))
    inside_RxS = (first_R[:, None] <= place) & (place <= last_R[:, None])
    # Of a scale without an error, at which every point counts alike, the tolerance alone is known.
    variance_S = jnp.where(jnp.isnan(error_S), 0, error_S**2) + (tolerance * d_S) ** 2
    known_S = jnp.isfinite(d_S) & jnp.isfinite(variance_S) & (variance_S > 0) & (profile.scale > 0)
    weight_RxS = jnp.where(inside_RxS & known_S, 1 / jnp.where(known_S, variance_S, 1), 0)
    total_R = jnp.sum(weight_RxS, axis=1)
    safe_total_R = jnp.where(total_R > 0, total_R, 1)
    mean: Callable[[jax.Array], jax.Array] = lambda values_S: (
        weight_RxS @ jnp.where(known_S, values_S, 0) / safe_total_R
    )
    d_R = mean(d_S)
    away_RxS = jnp.where(known_S, d_S, 0) - d_R[:, None]
    chi2_R = jnp.sum(weight_RxS * away_RxS**2, axis=1)
    log_scale_S = jnp.log(jnp.where(known_S, profile.scale, 1))
    along_RxS = log_scale_S - mean(log_scale_S)[:, None]
    steepness_R = jnp.sum(weight_RxS * along_RxS**2, axis=1)
    line_R = jnp.sum(weight_RxS * along_RxS * away_RxS, axis=1) ** 2 / jnp.where(steepness_R > 0, steepness_R, 1)
    count_R = last_R - first_R + 1
    chance: Callable[[jax.Array, jax.typing.ArrayLike], jax.Array] = lambda chi2, freedom: gammaincc(
        jnp.maximum(freedom, 1) / 2, chi2 / 2
    )
    is_level_R = (chance(chi2_R, count_R - 1) > 1 - level) & (chance(line_R, 1) > 1 - level)
    whole_R = jnp.all(known_S | ~inside_RxS, axis=1)
    seen_R = ~jnp.any(inside_RxS & jnp.isnan(error_S), axis=1)
    is_plateau_R = whole_R & (count_R >= LEAST_SCALES) & is_level_R
    width_R = jnp.log(profile.scale[last_R]) - jnp.log(profile.scale[first_R])
    best = jnp.argmax(jnp.where(is_plateau_R, width_R, -jnp.inf))
    found = is_plateau_R[best]
    given: Callable[[jax.Array], jax.Array] = lambda value: jnp.where(found, value, jnp.nan)
    return Plateau(
        found=found,
        dimension=given(d_R[best]),
        standard_error=given(jnp.where(seen_R, mean(jnp.nan_to_num(error_S)), jnp.nan)[best]),
        lower=given(profile.scale[first_R[best]]),
        upper=given(profile.scale[last_R[best]]),
        first=jnp.where(found, first_R[best], -1),
        last=jnp.where(found, last_R[best], -1),
    )
