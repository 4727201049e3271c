"""The difference between the dimensions of two clouds, whose rows may be the same tokens in two layers or two models.

difference(layers[6], layers[3]).interval()
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import cast

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer
from jaxscale.dimension.estimate import Estimate, normal_interval
from jaxscale.dimension.estimators.registry import Estimator, at_all_neighbors
from jaxscale.dimension.half_samples import SPLITS, at_rows, deep_lists, most_points, splits, within_sides
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods, vectors
from jaxscale.dimension.points import Metric, replicated
from jaxscale.dimension.standard_errors import neighbor_products, number_of_labels
from jaxscale.errors import InputError


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Difference:
    """How much larger the dimension of a first cloud is than that of a second.

    Attributes:
      difference: scalar, the first less the second.
      standard_error: scalar; it measures spread, not bias. A bias that both share falls out.
      first, second: scalars, the dimensions.
      correlation: scalar, between the readings of halves of the two clouds; zero where rows are not paired.
    """

    difference: jax.Array
    standard_error: jax.Array
    first: jax.Array
    second: jax.Array
    correlation: jax.Array

    def interval(self, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
        """Normal interval of `difference` at the confidence `level`, for its spread alone."""
        return normal_interval(self.difference, self.standard_error, level)


def difference(
    a: jax.typing.ArrayLike | Neighborhoods,
    b: jax.typing.ArrayLike | Neighborhoods,
    k: int = 20,
    estimator: str | Estimator = "mle",
    paired: bool = True,
    clusters: jax.typing.ArrayLike | None = None,
    num_clusters: int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Difference:
    """The dimension of `a` less that of `b`, with an error that knows whether their rows are the same tokens.

    Tokens drawn once and seen by two layers err together: where a neighborhood happens to be sparse in one it often is
    in the other, and the difference is known better than the two errors say. So both clouds are split in the same
    halves A and B, 64 times, and both are read within each:

        variance = mean of (D_A - D_B)² / 4,    D the difference of the readings in a half,

    as in `half_sample_variance`. With `clusters` the halves are of documents, whose tokens may depend on each other in
    any way. What tells two layers apart can weigh less in a half, whose neighbors are farther apart: where paired
    estimates have influences, the variance is no less than that of the mean of their differences, over the edges of
    both neighbor graphs (`graph_variance`) and over `clusters`. A bootstrap of rows is no alternative: rows drawn twice
    are neighbors at distance zero, which nearest neighbors see and averages do not.

    Args:
      a, b: (n, D) and (n, E) points, or their `Neighborhoods` of at least `k`, with vectors.
      k: neighbors per point; static.
      estimator: a name in `ESTIMATORS`, or a function from `Neighborhoods` to `Estimate`; static.
      paired: whether row i of both is the same token; static. If not, the clouds may differ in n, and each is split by
        itself.
      clusters: (n,) integers in [0, num_clusters), the documents of the tokens; for paired rows. None for independent
        points. Trust it from about thirty on.
      num_clusters: static; needed under `jit`, otherwise read from `clusters`.
      metric, nonfinite, duplicates: see `neighborhoods`. Static.

    Returns:
      `Difference`. Can be used under `jit`; its error has no derivative.

    Raises:
      InputError: if paired clouds differ in their number of rows or halves are too small for `k`; if `clusters` do not
        fit; or as `neighborhoods` and the estimator do.
    """
    k = integer("k", k, 1)
    _, read = at_all_neighbors(estimator)
    first, second = (neighborhoods(x, k, metric, nonfinite, duplicates) for x in (a, b))
    counts = [hoods.used.shape[0] for hoods in (first, second)]
    if paired and counts[0] != counts[1]:
        raise InputError(
            f"a and b have {counts[0]} and {counts[1]} rows, which cannot be the same tokens. Pass paired=False."
        )
    if min(counts) < 4 * k:
        raise InputError(f"k={k} is too many for halves of {min(counts)} points. Pass k={max(1, min(counts) // 8)}.")
    cluster_of = None if clusters is None else jnp.asarray(clusters)
    if cluster_of is not None:
        if not paired:
            raise InputError("clusters are of paired rows; with paired=False there are two clouds. Leave them out.")
        num_clusters = number_of_labels("clusters", cluster_of, num_clusters, first.used.shape)
    for hoods in (first, second):
        vectors(hoods, "difference")
    found: Difference = _difference(first, second, cluster_of, k, read, paired, num_clusters)
    return found


@functools.partial(jax.jit, static_argnames=("k", "read", "paired", "num_clusters"))
def _difference(
    first: Neighborhoods,
    second: Neighborhoods,
    cluster_of: jax.Array | None,
    k: int,
    read: Estimator,
    paired: bool,
    num_clusters: int | None,
) -> Difference:
    whole = [read(hoods) for hoods in (first, second)]
    clouds = [lax.stop_gradient(hoods) for hoods in (first, second)]
    if paired:
        rows = _rows(clouds[0].used & clouds[1].used, cluster_of, k, num_clusters)
        parts = [at_rows(hoods, rows) for hoods in clouds]
        if cluster_of is None:
            sides = jnp.asarray(splits(len(rows)))
        else:
            sides = jnp.asarray(splits(cast(int, num_clusters)))[:, cluster_of[rows]]
        sides_of = [sides, sides]
    else:
        parts = [at_rows(hoods, _rows(hoods.used, None, k, None)) for hoods in clouds]
        sides_of = [
            jnp.asarray(splits(part.used.shape[0]))[::order] for part, order in zip(parts, (1, -1), strict=True)
        ]
    # (S,) the reading of one half less that of the other, scaled to the error of the whole cloud.
    errors_2xS = jnp.stack(
        [
            _half_differences(part, side_SxN, k, read) * jnp.sqrt(jnp.sum(part.used) / estimate.points_used) / 2
            for part, side_SxN, estimate in zip(parts, sides_of, whole, strict=True)
        ]
    )
    together_S = errors_2xS[0] - errors_2xS[1]
    squares_2 = jnp.mean(errors_2xS**2, axis=1)
    # As for halves of one cloud, the variance is that of Student's t.
    variance = (jnp.mean(together_S**2) if paired else jnp.sum(squares_2)) * SPLITS / (SPLITS - 2)
    if paired:
        variance = jnp.maximum(variance, _influence_variance(first, second, whole, cluster_of, num_clusters))
    correlation = jnp.mean(errors_2xS[0] * errors_2xS[1]) / jnp.sqrt(squares_2[0] * squares_2[1])
    value = whole[0].dimension - whole[1].dimension
    return Difference(
        difference=value,
        standard_error=jnp.sqrt(variance),
        first=whole[0].dimension,
        second=whole[1].dimension,
        correlation=correlation if paired else jnp.zeros_like(correlation),
    )


def _influence_variance(
    first: Neighborhoods,
    second: Neighborhoods,
    whole: Sequence[Estimate],
    cluster_of: jax.Array | None,
    num_clusters: int | None,
) -> jax.Array:
    """Variance of the mean of the differences of influences, the larger of two ways to depend; zero without them."""
    shares = [one.influence / one.points_used for one in whole if one.influence is not None]
    if len(shares) < 2 or first.indices is None or second.indices is None:
        return jnp.zeros(())
    share_N = shares[0] - shares[1]
    # An edge that is in both graphs counts once.
    in_both_Nxk = jnp.any(second.indices[:, :, None] == first.indices[:, None, :], axis=2)
    edges = jnp.concatenate([first.indices, jnp.where(in_both_Nxk, -1, second.indices)], axis=1)
    variance = jnp.sum(share_N**2) + jnp.sum(neighbor_products(share_N, edges))
    if cluster_of is None:
        return variance
    count = cast(int, num_clusters)
    sums_C = jax.ops.segment_sum(share_N, cluster_of, count)
    present = jnp.sum(jax.ops.segment_max(first.used.astype(jnp.int32), cluster_of, count) > 0)
    return jnp.maximum(variance, jnp.sum(sums_C**2) * present / jnp.maximum(present - 1, 1))


def _rows(used_N: jax.Array, cluster_of: jax.Array | None, k: int, num_clusters: int | None) -> jax.Array:
    """All rows, or those of a random choice of points, or of clusters, that is large enough."""
    n = used_N.shape[0]
    if n <= most_points(k):
        return jnp.arange(n)
    chance_N = jax.random.uniform(jax.random.key(0), (n,))
    if cluster_of is not None:
        chance_N = jax.random.uniform(jax.random.key(0), (cast(int, num_clusters),))[cluster_of]
    return jnp.argsort(jnp.where(used_N, chance_N, 2))[: most_points(k)]


def _half_differences(part: Neighborhoods, side_SxN: jax.Array, k: int, read: Estimator) -> jax.Array:
    """The reading within one half less that within the other, (S,)."""
    part = dataclasses.replace(part, points=replicated(vectors(part, "difference")))
    lists = deep_lists(part, k)

    def of_split(side_N: jax.Array) -> jax.Array:
        within = within_sides(part, lists, side_N, side_N, k)
        halves = (dataclasses.replace(within, used=within.used & side) for side in (side_N, ~side_N))
        one, other = (read(half).dimension for half in halves)
        return one - other

    differences: jax.Array = lax.map(of_split, side_SxN)
    return differences
