"""Candidates for the nearest neighbors by matmul, tile by tile, with a bound below every point not among them.

A score is a *lower bound* of half the squared distance, |x - y|²/2 = |x|²/2 + |y|²/2 - <x, y>: each half norm is
deflated by what rounding may add (`deflated_half_norms`). A point that is not a candidate is then no closer than the
least score dropped, whatever the precision of the matmul, and a search that finds k candidates closer than that has
proven itself exact.

Points must come in random order: the neighbors of a point then fall on tiles, and on the groups of columns within a
tile, like a Poisson process, which says how many each of them must keep.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.search.fused_products import best_of_queries, best_of_tile, kernel_for, whole_lines
from jaxscale.dimension.search.selection import (
    NONE,
    pack,
    place,
    smallest,
    smallest_pairs,
    two_smallest,
    without_place,
)

# Candidates dropped somewhere, expected per point; points that miss one are searched again.
MISSES = 0.03


@dataclasses.dataclass(frozen=True)
class TilePlan:
    """How n keys are cut up to find `count` candidates among them.

    Attributes:
      count: candidates of a query.
      tile: keys of a tile, a multiple of `group`.
      tiles: tiles, a multiple of `span`; the last ones may hold padding.
      group: columns of a tile of which the two best are looked at.
      keep: candidates of a query in a tile.
      span: tiles whose candidates are merged at once.
    """

    count: int
    tile: int
    tiles: int
    group: int
    keep: int
    span: int

    @property
    def size(self) -> int:
        """Keys, with padding."""
        return self.tile * self.tiles


def plan(n: int, count: int, largest_tile: int = 1024, misses: float = MISSES, largest_span: int = 32) -> TilePlan:
    """The plan for `n` keys: tiles that waste little padding, groups and lists that drop at most `misses` candidates.

    Those are expected numbers, per point, of the best `count`.
    """
    group = 2
    while 2 * group <= min(32, largest_tile) and n / (2 * group) * _excess(2 * count * group / n, 2) < misses / 2:
        group *= 2
    # Whole vector registers of groups side by side.
    step = 256 if largest_tile >= 512 and n > largest_tile else group

    def padded(width: int) -> int:
        tiles = -(-n // width)
        span = -(-tiles // -(-tiles // largest_span))
        return -(-tiles // span) * span * width

    largest = largest_tile // step * step
    tile = min(range(largest, largest // 2, -step), key=padded) if n > largest else -(-n // step) * step
    tiles = -(-n // tile)
    span = -(-tiles // -(-tiles // largest_span))
    tiles = -(-tiles // span) * span
    keep = 2
    while keep < count and tiles * _excess(count * tile / n, keep) > misses / 2:
        keep += 1
    return TilePlan(count, tile, tiles, group, keep, span)


def _excess(mean: float, most: int) -> float:
    """How many a Poisson variable exceeds `most` by, expected."""
    chances = [math.exp(m * math.log(mean) - mean - math.lgamma(m + 1)) for m in range(most + 1)]
    return mean - most + sum((most - m) * chance for m, chance in enumerate(chances))


def deflated_half_norms(exact: jax.Array, rounded: jax.Array) -> jax.Array:
    """w (n,) such that w_i + w_j - m_ij ≤ |x_i - x_j|²/2, with m_ij the float32 product of *rounded* rows.

    With x = h + l, h the rounded row: <x_i, x_j> - <h_i, h_j> = <l_i, x_j> + <h_i, l_j>, at most
    |l_i||x_j| + |h_i||l_j|; and b_i a_j ≤ (r a_j² + b_i²/r)/2 splits each product into a term of i and one of j, for
    any r > 0 that all points share: here the unit roundoff. Summing D products and norms in float32, in any order, adds
    at most γ|h_i||h_j| and γ|x|²/2 with γ = (D + 4) 2⁻²³, and four times that for bfloat16.

    Args:
      exact: (n, D) floating rows.
      rounded: (n, D) the same as they enter the matmul.
    """
    # Matrix units that take half precision may truncate as they add, with few guard bits: four times as much.
    gamma = (exact.shape[1] + 4) * (2.0**-21 if rounded.dtype == jnp.bfloat16 else 2.0**-23)
    # |h| ≤ |x| + |l|; squares of both sums.
    whole = jnp.sum(exact**2, axis=1)
    if rounded.dtype == exact.dtype:
        return ((1 - gamma) * whole / 2 - gamma * whole).astype(jnp.float32)
    lost = jnp.sum((exact - rounded.astype(exact.dtype)) ** 2, axis=1)
    reach = (jnp.sqrt(whole) + jnp.sqrt(lost)) ** 2
    roundoff = float(jnp.finfo(rounded.dtype).eps) / 2
    rounding = (roundoff * reach + lost / roundoff) / 2
    return ((1 - gamma) * whole / 2 - gamma * reach - rounding).astype(jnp.float32)


def among_themselves(
    points_TxBxD: jax.Array, as_query_TxB: jax.Array, as_key_TxB: jax.Array, plan: TilePlan
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Candidates of each point among all points, itself included; each pair of tiles is multiplied once.

    Args:
      points_TxBxD: tiles of a cloud in random order.
      as_query_TxB: deflated half norms.
      as_key_TxB: the same, infinite for points that may not be found.
      plan: of the cloud; static.

    Returns:
      columns (T, count, B) with the best first, scores (T, count, B), and bound (T, B): no point that is not a
      candidate has a lower score.
    """
    points_TxBxD = _as_multiplied(points_TxBxD, plan)
    tiles, span = plan.tiles, plan.span
    pairs = jnp.array([(a, b) for a in range(tiles // span) for b in range(a, tiles // span)], jnp.int32)
    nothing = (
        jnp.full((2, span, span, plan.keep, plan.tile), NONE, jnp.int32),
        jnp.full((2, span, plan.tile), NONE, jnp.int32),
    )

    def of_spans(
        step: jax.Array, best: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        # Lists [0, i, j] are those of tile i of the first span from tile j of the second; [1, j, i] the reverse.
        first, second = pairs[step]
        alone = first == second
        other_side = jnp.where(alone, 0, 1)

        def by_tiles(i: jax.Array, start: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            row = first * span + i
            rows_BxD, query_B, key_B = points_TxBxD[row], as_query_TxB[row], as_key_TxB[row]

            def of_tile(j: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
                column = second * span + j
                inner = products(rows_BxD, points_TxBxD[column])
                kept = _keep(kept, (0, i, j), _best_of_rows(inner, query_B, as_key_TxB[column], plan))
                return _keep(kept, (other_side, j, i), _best_of_columns(inner, key_B, as_query_TxB[column], plan))

            kept_of_row: tuple[jax.Array, jax.Array] = lax.fori_loop(start, span, of_tile, kept)
            return kept_of_row

        def fused(i: jax.Array, start: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            lists, bounds = kept
            row, tiles = first * span + i, (points_TxBxD, as_query_TxB, as_key_TxB)
            of_rows, of_columns = best_of_tile(*tiles, row, second * span, start, span, plan.group)
            new = (jnp.arange(span) >= start)[:, None, None]
            best, dropped = _best_of_span(*of_rows, plan)
            lists = lists.at[0, i].set(jnp.where(new, best, lists[0, i]))
            bounds = bounds.at[0, i].min(jnp.min(dropped, axis=0))
            best, dropped = _best_of_span(*of_columns, plan)
            lists = lists.at[other_side, :, i].set(jnp.where(new, best, lists[other_side, :, i]))
            return lists, bounds.at[other_side].min(dropped)

        def of_row(i: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            return _by_platform(fused, by_tiles, points_TxBxD.dtype, plan)(i, jnp.where(alone, i, 0), kept)

        lists, bounds = lax.fori_loop(0, span, of_row, nothing)

        def settle(
            step: jax.Array, best: tuple[jax.Array, jax.Array, jax.Array]
        ) -> tuple[jax.Array, jax.Array, jax.Array]:
            side, i = step // span, step % span
            tile, others = jnp.where(side == 0, first, second) * span + i, jnp.where(side == 0, second, first) * span
            return _replace(best, tile, _with_span(_at(best, tile), lists[side, i], bounds[side, i], others, plan))

        settled: tuple[jax.Array, jax.Array, jax.Array] = lax.fori_loop(
            0, jnp.where(alone, span, 2 * span), settle, best
        )
        return settled

    best = lax.fori_loop(0, len(pairs), of_spans, _no_candidates((tiles,), plan.tile, plan))
    return _unpacked(best)


def _keep(
    kept: tuple[jax.Array, jax.Array],
    place: tuple[jax.Array | int, jax.Array, jax.Array],
    found: tuple[jax.Array, jax.Array],
) -> tuple[jax.Array, jax.Array]:
    """Lists and bounds of the pairs of tiles so far, with those of one more."""
    lists, bounds = kept
    best, dropped = found
    side, own, _ = place
    dropped = jnp.minimum(dropped, bounds[side, own])
    return (
        lax.dynamic_update_slice(lists, best[None, None, None], (*place, 0, 0)),
        lax.dynamic_update_slice(bounds, dropped[None, None], (side, own, 0)),
    )


def of_queries(
    queries_BxD: jax.Array, as_query_B: jax.Array, points_TxBxD: jax.Array, as_key_TxB: jax.Array, plan: TilePlan
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Candidates of each of a tile of queries among all points; as `among_themselves`, for (count, B) and (B,)."""
    queries_BxD, points_TxBxD = _as_multiplied(queries_BxD, plan), _as_multiplied(points_TxBxD, plan)
    rows = queries_BxD.shape[0]
    span = plan.span

    def by_tiles(step: jax.Array) -> tuple[jax.Array, jax.Array]:
        def of_tile(j: jax.Array, kept: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            lists, bound = kept
            column = step * span + j
            inner = products(queries_BxD, points_TxBxD[column])
            new_list, new_bound = _best_of_rows(inner, as_query_B, as_key_TxB[column], plan)
            return lax.dynamic_update_slice(lists, new_list[None], (j, 0, 0)), jnp.minimum(bound, new_bound)

        nothing = (jnp.full((span, plan.keep, rows), NONE, jnp.int32), jnp.full(rows, NONE, jnp.int32))
        found: tuple[jax.Array, jax.Array] = lax.fori_loop(0, span, of_tile, nothing)
        return found

    def fused(step: jax.Array) -> tuple[jax.Array, jax.Array]:
        found = best_of_queries(queries_BxD, as_query_B, points_TxBxD, as_key_TxB, step * span, span, plan.group)
        lists, dropped = _best_of_span(*found, plan)
        return lists, jnp.min(dropped, axis=0)

    def of_span(
        step: jax.Array, best: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        lists, bound = _by_platform(fused, by_tiles, points_TxBxD.dtype, plan)(step)
        return _with_span(best, lists, bound, step * span, plan)

    best = lax.fori_loop(0, plan.tiles // span, of_span, _no_candidates((), rows, plan))
    return _unpacked(best)


def _by_platform(
    fused: Callable[..., tuple[jax.Array, jax.Array]],
    by_tiles: Callable[..., tuple[jax.Array, jax.Array]],
    dtype: jnp.dtype,
    plan: TilePlan,
) -> Callable[..., tuple[jax.Array, jax.Array]]:
    """One kernel for a span of tiles on an NVIDIA GPU; tile by tile elsewhere, where the kernel is not even traced."""
    if kernel_for(dtype, plan.tile, plan.group) is None:
        return by_tiles
    return functools.partial(lax.platform_dependent, cuda=fused, default=by_tiles)


def _as_multiplied(points: jax.Array, plan: TilePlan) -> jax.Array:
    """Points with coordinates as the kernel takes them, where there is one: before a loop, not in each of its steps."""
    return points if kernel_for(points.dtype, plan.tile, plan.group) is None else whole_lines(points)


def _best_of_span(keys_ExSxB: jax.Array, dropped_SxB: jax.Array, plan: TilePlan) -> tuple[jax.Array, jax.Array]:
    """Lists (S, keep, B) and the least dropped (S, B) of each tile of a span, from the best of its groups."""
    best, dropped = smallest(keys_ExSxB, plan.keep)
    return jnp.moveaxis(best, 0, 1), jnp.minimum(dropped, dropped_SxB)


def products(queries_BxD: jax.Array, keys_CxD: jax.Array) -> jax.Array:
    """<x, y> accumulated in float32; float32 factors are not rounded further, bfloat16 ones are multiplied exactly."""
    return lax.dot_general(
        queries_BxD,
        keys_CxD,
        (((1,), (1,)), ((), ())),
        precision=lax.Precision.HIGHEST,
        preferred_element_type=jnp.float32,
    )


def _best_of_rows(
    products_BxC: jax.Array, half_B: jax.Array, half_C: jax.Array, plan: TilePlan
) -> tuple[jax.Array, jax.Array]:
    """For each row the keys (keep, B) of its best columns, and the least key dropped (B,)."""
    width = products_BxC.shape[1] // plan.group

    def part(i: jax.Array) -> jax.Array:
        products = lax.dynamic_slice_in_dim(products_BxC, i * width, width, axis=1)
        scores = (half_B[:, None] + lax.dynamic_slice_in_dim(half_C, i * width, width)) - products
        return pack(scores, axis=1, start=i * width, size=plan.tile)

    first, second, third = two_smallest(part, plan.group)
    best, dropped = smallest(jnp.concatenate([first.T, second.T]), plan.keep)
    return best, jnp.minimum(dropped, jnp.min(third, axis=1))


def _best_of_columns(
    products_CxB: jax.Array, half_C: jax.Array, half_B: jax.Array, plan: TilePlan
) -> tuple[jax.Array, jax.Array]:
    """For each column the keys (keep, B) of its best rows, and the least key dropped (B,)."""
    height = products_CxB.shape[0] // plan.group

    def part(i: jax.Array) -> jax.Array:
        products = lax.dynamic_slice_in_dim(products_CxB, i * height, height)
        scores = (lax.dynamic_slice_in_dim(half_C, i * height, height)[:, None] + half_B) - products
        return pack(scores, axis=0, start=i * height, size=plan.tile)

    first, second, third = two_smallest(part, plan.group)
    best, dropped = smallest(jnp.concatenate([first, second]), plan.keep)
    return best, jnp.minimum(dropped, jnp.min(third, axis=0))


# Candidates so far are (keys, columns), (count + 1, B) each with tiles of queries in front, the last one the first that
# was dropped in their favor, and the least key (B,) dropped before they were compared.


def _no_candidates(front: tuple[int, ...], rows: int, plan: TilePlan) -> tuple[jax.Array, jax.Array, jax.Array]:
    empty = jnp.full((*front, plan.count + 1, rows), NONE, jnp.int32)
    return empty, empty, jnp.full((*front, rows), NONE, jnp.int32)


def _with_span(
    best: tuple[jax.Array, jax.Array, jax.Array],
    lists_SxKxB: jax.Array,
    dropped_B: jax.Array,
    first_tile: jax.Array,
    plan: TilePlan,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The candidates so far with those of a span of tiles, from the lists of each."""
    best_keys, best_columns, best_dropped = best
    tile_of_list = first_tile + jnp.arange(lists_SxKxB.shape[0], dtype=jnp.int32)
    columns = tile_of_list[:, None, None] * plan.tile + place(lists_SxKxB, plan.tile)
    # A key now stands for the least score it may have had, so that keys of all tiles compare.
    keys = without_place(lists_SxKxB, plan.tile)
    rows = keys.shape[-1]
    best_keys, best_columns = smallest_pairs(
        keys.reshape(-1, rows), columns.astype(jnp.int32).reshape(-1, rows), (best_keys, best_columns)
    )
    return best_keys, best_columns, jnp.minimum(best_dropped, without_place(dropped_B, plan.tile))


def _at(best: tuple[jax.Array, jax.Array, jax.Array], tile: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    of_tile: tuple[jax.Array, jax.Array, jax.Array] = jax.tree.map(lambda leaf: leaf[tile], best)
    return of_tile


def _replace(
    best: tuple[jax.Array, jax.Array, jax.Array], tile: jax.Array, new: tuple[jax.Array, jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array]:
    replaced: tuple[jax.Array, jax.Array, jax.Array] = jax.tree.map(
        lambda leaf, part: lax.dynamic_update_index_in_dim(leaf, part, tile, 0), best, new
    )
    return replaced


def _unpacked(best: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
    keys, columns, dropped = best
    scores = jnp.where(keys == NONE, jnp.inf, lax.bitcast_convert_type(keys, jnp.float32))
    bound = jnp.where(dropped == NONE, jnp.inf, lax.bitcast_convert_type(dropped, jnp.float32))
    columns = jnp.where(scores == jnp.inf, -1, columns)
    return columns[..., :-1, :], scores[..., :-1, :], jnp.minimum(bound, scores[..., -1, :])
