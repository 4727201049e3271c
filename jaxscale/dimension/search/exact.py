"""Exact nearest neighbors of concrete or traced points: candidates by matmul, proven complete or searched again.

squared, indices = nearest_squared(points, None, mask, own, scale, k)   # (n, k) each, nearest first

The result is a function of the points alone. Candidates, and the precision and tiling that found them, decide only how
much has to be searched again.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Literal, Self

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.points import is_finite
from jaxscale.dimension.search.candidates import (
    MISSES,
    TilePlan,
    among_themselves,
    deflated_half_norms,
    of_queries,
    plan,
    products,
)
from jaxscale.dimension.search.selection import NONE, no_pairs, smallest_pairs

Precision = Literal["float32", "bfloat16"]
# Candidates kept beyond k by the matmul, whose rounding may misplace a few ranks around the k-th.
SLACK = {"float32": 7, "bfloat16": 40}
# Of those, the ones measured by direct differences.
SPARE = {"float32": 6, "bfloat16": 40}
# Points up to which a search sorts: slower to run than insertion, and faster to compile.
SMALL = 2048
# Coordinates of pairs up to which they are all compared by direct differences, which compiles faster still.
FEW = 2**26


@dataclasses.dataclass(frozen=True)
class Effort:
    """How a search goes about it.

    Attributes:
      block: keys of a tile at most.
      precision: of the factors of the matmul, accumulated in float32; it decides the speed, never the result.
      recall: None for all neighbors; otherwise the share of them that is enough, in (0, 1), expected for points in no
        particular arrangement. Nothing is proven or searched again then.
    """

    block: int = 1024
    precision: Precision = "float32"
    recall: float | None = None


EXACT = Effort()


def usual_effort() -> Effort:
    """All neighbors, by the fastest precision of the backend."""
    return Effort(precision="bfloat16" if _on_accelerator() else "float32")


def _on_accelerator() -> bool:
    return jax.default_backend() in ("gpu", "tpu")


def nearest_squared(
    points: jax.Array,
    queries: jax.Array | None,
    mask: jax.Array,
    own: jax.Array,
    scale: jax.Array,
    k: int,
    effort: Effort = EXACT,
) -> tuple[jax.Array, jax.Array]:
    """Squared distances (m, k), times `scale` squared, ascending, and indices; ties by index; infinite and -1 for none.

    Args:
      points: (n, D) floating; rows that are not finite must be masked out.
      queries: (m, D), or None for the points themselves, of which each pair is multiplied once.
      mask: (n,) booleans, the points that may be found.
      own: (m,) the one point that each query may not find, -1 for none.
      scale: see `power_of_two_scale`; the same for all searches whose results are to be compared.
      k: neighbors; static.
      effort: how to go about it; static.
    """
    alone = queries is None
    targets = points if queries is None else queries
    rescore = functools.partial(_rescore, points, targets, own, scale, k)
    by_differences = functools.partial(_by_differences, points, targets, mask, own, scale, min(len(points), k + 4))
    rows = jnp.arange(targets.shape[0])
    if points.size * targets.shape[0] <= FEW:
        candidates = lax.map(by_differences, _tiles(rows, 64))
        return rescore(rows, _untile(candidates, targets.shape[0]))
    cloud = TiledCloud.of(points, mask, scale, k, effort)
    if points.shape[0] <= SMALL:
        candidates, bound = cloud.candidates_by_sorting(targets, cloud.plan.count)
    elif alone:
        candidates, bound = cloud.candidates_of_each()
    else:
        candidates, bound = cloud.candidates(targets)
    squared, indices = rescore(rows, candidates)
    if effort.recall is not None:
        return squared, indices
    return _search_again(cloud, targets, rescore, by_differences, squared, indices, bound)


@dataclasses.dataclass(frozen=True)
class TiledCloud:
    """Points for the matmul: centered, scaled, in random order, tiled; see `TilePlan` and `deflated_half_norms`."""

    tiles_TxBxD: jax.Array
    as_query_TxB: jax.Array
    as_key_TxB: jax.Array
    order_N: jax.Array
    center_D: jax.Array
    scale: jax.Array
    plan: TilePlan
    rescored: int
    precision: Precision

    @classmethod
    def of(cls, points_NxD: jax.Array, mask_N: jax.Array, scale: jax.Array, k: int, effort: Effort) -> Self:
        n = points_NxD.shape[0]
        precision = effort.precision
        misses = MISSES if effort.recall is None else k * (1 - effort.recall)
        plan_ = plan(n, k + 1 + SLACK[precision], effort.block, misses)
        order_N = jax.random.permutation(jax.random.key(0), n)
        source_N = jnp.pad(order_N, (0, plan_.size - n), constant_values=n)
        center_D = _center(points_NxD)
        tiles_TxB = source_N.reshape(plan_.tiles, plan_.tile)
        present_TxB = tiles_TxB < n

        def tile(source_B: jax.Array) -> tuple[jax.Array, jax.Array]:
            source_B, present_B = jnp.minimum(source_B, n - 1), source_B < n
            rows = (points_NxD[source_B] - center_D) * scale
            rows = jnp.where((present_B & is_finite(rows))[:, None], rows, 0)
            rounded = rows.astype(precision)
            return rounded, deflated_half_norms(rows, rounded)

        tiles_TxBxD, half_TxB = lax.map(tile, tiles_TxB)
        found_TxB = present_TxB & mask_N[jnp.minimum(tiles_TxB, n - 1)]
        as_key_TxB = jnp.where(found_TxB, half_TxB, jnp.inf)
        return cls(
            tiles_TxBxD,
            half_TxB,
            as_key_TxB,
            order_N,
            center_D,
            scale,
            plan_,
            min(plan_.count, k + 1 + SPARE[precision]),
            precision,
        )

    def candidates_of_each(self) -> tuple[jax.Array, jax.Array]:
        """Indices (n, count), best first, and the bound (n,) below the points left out."""
        n = self.order_N.shape[0]
        columns, scores, bound = among_themselves(self.tiles_TxBxD, self.as_query_TxB, self.as_key_TxB, self.plan)
        columns = jnp.swapaxes(columns[:, : self.rescored], 1, 2).reshape(-1, self.rescored)[:n]
        back = jnp.argsort(self.order_N)
        return self._named(columns)[back], self._bound(jnp.swapaxes(scores, 0, 1), bound).reshape(-1)[:n][back]

    def candidates(self, queries_MxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The same for other points."""

        def of_tile(queries_BxD: jax.Array) -> tuple[jax.Array, jax.Array]:
            ready_BxD, as_query_B = self.ready(queries_BxD)
            columns, scores, bound = of_queries(ready_BxD, as_query_B, self.tiles_TxBxD, self.as_key_TxB, self.plan)
            return self._named(columns[: self.rescored].T), self._bound(scores, bound)

        candidates, bound = lax.map(of_tile, _tiles(queries_MxD, self.plan.tile))
        return _untile(candidates, queries_MxD.shape[0]), _untile(bound, queries_MxD.shape[0])

    def candidates_by_sorting(self, queries_MxD: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
        """As `candidates`, any number of them, for few queries or points: slower to run and faster to compile."""
        count = min(self.plan.size, count)
        first_T = jnp.arange(self.plan.tiles, dtype=jnp.int32) * self.plan.tile

        def of_tile(queries_BxD: jax.Array) -> tuple[jax.Array, jax.Array]:
            ready_BxD, as_query_B = self.ready(queries_BxD)

            def merge(
                best: tuple[jax.Array, jax.Array], tile: tuple[jax.Array, jax.Array, jax.Array]
            ) -> tuple[tuple[jax.Array, jax.Array], None]:
                best_scores, best_columns = best
                tile_CxD, as_key_C, first = tile
                scores_BxC = jnp.maximum(as_query_B[:, None] + as_key_C - products(ready_BxD, tile_CxD), 0)
                columns_BxC = jnp.broadcast_to(first + jnp.arange(self.plan.tile, dtype=jnp.int32), scores_BxC.shape)
                nearest, where = lax.top_k(-jnp.concatenate([best_scores, scores_BxC], axis=1), count)
                columns = jnp.concatenate([best_columns, columns_BxC], axis=1)
                return (-nearest, jnp.take_along_axis(columns, where, axis=1)), None

            none_yet = jnp.full((queries_BxD.shape[0], count), jnp.inf, jnp.float32)
            start = (none_yet, jnp.full(none_yet.shape, -1, jnp.int32))
            (scores, columns), _ = lax.scan(merge, start, (self.tiles_TxBxD, self.as_key_TxB, first_T))
            # The best of those dropped is no better than the last one kept.
            bound = scores[:, -1] if count < self.plan.size else jnp.full(scores.shape[0], jnp.inf)
            return self._named(jnp.where(scores == jnp.inf, -1, columns)), bound

        candidates, bound = lax.map(of_tile, _tiles(queries_MxD, self.plan.tile))
        return _untile(candidates, queries_MxD.shape[0]), _untile(bound, queries_MxD.shape[0])

    def ready(self, queries_BxD: jax.Array) -> tuple[jax.Array, jax.Array]:
        rows = (queries_BxD - self.center_D) * self.scale
        rounded = rows.astype(self.precision)
        return rounded, deflated_half_norms(rows, rounded)

    def _named(self, columns: jax.Array) -> jax.Array:
        return jnp.where(columns < 0, -1, self.order_N[jnp.maximum(columns, 0)]).astype(jnp.int32)

    def _bound(self, scores_Cx_: jax.Array, dropped_: jax.Array) -> jax.Array:
        """Below all points that are not rescored: those dropped, and the candidates that follow."""
        return dropped_ if self.rescored == self.plan.count else jnp.minimum(dropped_, scores_Cx_[self.rescored])


def _rescore(
    points_NxD: jax.Array,
    queries_MxD: jax.Array,
    own_M: jax.Array,
    scale: jax.Array,
    k: int,
    rows_R: jax.Array,
    candidates_RxC: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Squared distances (R, k) of some queries by direct differences, ascending, and their indices; ties by index."""

    def of_rows(part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        rows_B, candidates_BxC = part
        neighbors_BxCxD = points_NxD[jnp.maximum(candidates_BxC, 0)]
        squared = _squared_norm((queries_MxD[rows_B][:, None] - neighbors_BxCxD) * scale)
        missing = (candidates_BxC < 0) | (candidates_BxC == own_M[rows_B][:, None])
        return jnp.where(missing, jnp.inf, squared).T, jnp.where(missing, NONE, candidates_BxC).T

    # A processor works on what its caches hold; an accelerator wants few and large steps.
    at_once = 512 if _on_accelerator() else 32
    tiles = (_tiles(rows_R, at_once), _tiles(candidates_RxC, at_once, fill=-1))
    squared, indices = (jnp.moveaxis(part, 1, 0).reshape(part.shape[1], -1) for part in lax.map(of_rows, tiles))
    squared, indices = smallest_pairs(squared, indices, best=no_pairs(k, squared, indices))
    squared, indices = squared[:, : rows_R.shape[0]].T, indices[:, : rows_R.shape[0]].T
    return squared, jnp.where(squared == jnp.inf, -1, indices)


def _squared_norm(rows: jax.Array) -> jax.Array:
    """Sums of squares over the last axis, in sixteen partial sums: those vectorize, and they round less than one."""
    lanes = 16
    whole = rows.shape[-1] // lanes * lanes
    partial = rows[..., :whole].reshape(*rows.shape[:-1], -1, lanes)
    return jnp.sum(jnp.sum(partial**2, axis=-2), axis=-1) + jnp.sum(rows[..., whole:] ** 2, axis=-1)


def _is_certain(squared: jax.Array, bound: jax.Array, width: int) -> jax.Array:
    """Whether nothing left out, at half a squared distance of at least `bound`, can be among the neighbors found.

    Squared distances by direct differences are off by a factor within 1 ± (width + 4) 2⁻²³, found and left out alike.
    """
    return (squared[:, -1] * (1 + (width + 4) * 2.0**-21) < 2 * bound) | (bound == jnp.inf)


def _search_again(
    cloud: TiledCloud,
    queries: jax.Array,
    rescore: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]],
    by_differences: Callable[[jax.Array], jax.Array],
    squared: jax.Array,
    indices: jax.Array,
    bound: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The same, with the rows whose neighbors are not certain searched with four times the candidates.

    Those still uncertain, of points that differ by less than the matmul resolves or are equally far, are compared with
    every point by direct differences.
    """
    width = queries.shape[1]

    def all_points(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        return rescore(rows, by_differences(rows))

    def more_candidates(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        candidates, bound = cloud.candidates_by_sorting(queries[rows], 4 * cloud.plan.count)
        squared, indices = rescore(rows, candidates)
        certain = _is_certain(squared, bound, width)
        return _redo(certain, lambda some: all_points(rows[some]), squared, indices, at_once=8)

    certain = _is_certain(squared, bound, width)
    if cloud.order_N.shape[0] <= SMALL:
        return _redo(certain, all_points, squared, indices, at_once=64)
    return _redo(certain, more_candidates, squared, indices, at_once=1024 if _on_accelerator() else 64)


def _redo(
    certain: jax.Array,
    search: Callable[[jax.Array], tuple[jax.Array, jax.Array]],
    squared: jax.Array,
    indices: jax.Array,
    at_once: int,
) -> tuple[jax.Array, jax.Array]:
    """Replaces the rows that are not certain by `search(rows)`, some at a time, as many times as it takes."""
    count = jnp.sum(~certain)
    at_once = min(at_once, certain.shape[0])
    uncertain_first = jnp.argsort(certain, stable=True)

    def unfinished(state: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        return state[0] < count

    def of_some(state: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        done, squared, indices = state
        rows = lax.dynamic_slice(uncertain_first, (done,), (at_once,))
        new_squared, new_indices = search(rows)
        return done + at_once, squared.at[rows].set(new_squared), indices.at[rows].set(new_indices.astype(jnp.int32))

    _, squared, indices = lax.while_loop(unfinished, of_some, (jnp.zeros_like(count), squared, indices))
    return squared, indices


def _by_differences(
    points_NxD: jax.Array,
    queries_MxD: jax.Array,
    mask_N: jax.Array,
    own_M: jax.Array,
    scale: jax.Array,
    count: int,
    rows_B: jax.Array,
) -> jax.Array:
    """The `count` nearest (B, count) of some queries among all points, by direct differences; -1 for none."""
    n = points_NxD.shape[0]
    queries_BxD, own_B = queries_MxD[rows_B], own_M[rows_B]
    at_once = max(count, 64)
    index_N = jnp.arange(n, dtype=jnp.int32)
    tiles = (_tiles(points_NxD, at_once), _tiles(mask_N, at_once, fill=False), _tiles(index_N, at_once, fill=n))

    def merge(
        best: tuple[jax.Array, jax.Array], tile: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[tuple[jax.Array, jax.Array], None]:
        best_squared, best_indices = best
        points_CxD, allowed_C, index_C = tile
        squared_BxC = _squared_norm((queries_BxD[:, None] - points_CxD) * scale)
        squared_BxC = jnp.where(allowed_C & (index_C != own_B[:, None]), squared_BxC, jnp.inf)
        # top_k puts the first of equals first: candidates so far have the lower indices, and stand in front.
        squared = jnp.concatenate([best_squared, squared_BxC], axis=1)
        indices = jnp.concatenate([best_indices, jnp.broadcast_to(index_C, squared_BxC.shape)], axis=1)
        nearest, where = lax.top_k(-squared, count)
        return (-nearest, jnp.take_along_axis(indices, where, axis=1)), None

    none_yet = jnp.full((queries_BxD.shape[0], count), jnp.inf, points_NxD.dtype)
    (squared, indices), _ = lax.scan(merge, (none_yet, jnp.full(none_yet.shape, -1, jnp.int32)), tiles)
    return jnp.where(squared == jnp.inf, -1, indices)


def _center(points_NxD: jax.Array) -> jax.Array:
    """A point in the midst of the cloud, which a few far points cannot pull away: medians of a sample."""
    n = points_NxD.shape[0]
    sample = points_NxD[:: max(1, n // 127)][:127]
    return jnp.median(jnp.where(is_finite(sample)[:, None], sample, 0), axis=0)


def power_of_two_scale(points: jax.Array) -> jax.Array:
    """A power of two that brings the largest entry near one, so that no square overflows and nothing is rounded."""
    largest = jnp.max(jnp.where(jnp.isfinite(points), jnp.abs(points), 0), initial=0)
    _, exponent = jnp.frexp(largest)
    return jnp.ldexp(jnp.ones((), points.dtype), -jnp.clip(exponent, -120, 120))


def _tiles(array: jax.Array, block: int, fill: int = 0) -> jax.Array:
    """(n, ...) as (tiles, rows, ...) of at most `block` rows each, nearly equal, the last one padded with `fill`."""
    count = -(-array.shape[0] // block)
    rows = -(-array.shape[0] // count)
    padding = [(0, count * rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding, constant_values=fill).reshape(count, rows, *array.shape[1:])


def _untile(tiles: jax.Array, n: int) -> jax.Array:
    return tiles.reshape(-1, *tiles.shape[2:])[:n]
