"""The minimum spanning tree of points, dense and exact, in a few passes over all pairs.

lengths = spanning_tree(points)                   # points: (n, D); lengths: (n-1,)
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jax import lax


@functools.partial(jax.jit, static_argnames="block")
def spanning_tree(points: jax.Array, size: jax.typing.ArrayLike | None = None, block: int = 512) -> jax.Array:
    """Lengths of the edges of the Euclidean minimum spanning tree of the first `size` points.

    Borůvka's algorithm: every tree of a forest, at first each point, is joined by its shortest edge to another tree,
    until one is left. Trees at least halve in number each time; three to five passes do for ten thousand points. A pass
    is a matmul tile by tile, with the memory of one tile, where Prim's algorithm walks n steps one after another. On a
    CPU both take the same time in twenty dimensions, and Borůvka's an order less in 768.

    Each point's nearest in another tree is chosen by matmul, and its distance found by direct differences. So lengths
    are right to the last digits, but between candidates within the matmul's rounding of each other, 1e-7 of the squared
    radius of the cloud, the longer may be taken, and the tree be that much too long.

    Args:
      points: (n, D), floating and finite.
      size: how many of the points count; all if None. May be traced: work is in proportion to its square.
      block: rows and columns of a tile; static.

    Returns:
      (n-1,), in no order, zeros beyond the first size-1. Their derivative in the points is that of the distances
        between the ends of the edges: where no other tree is as short, a small move of the points changes no edge.
    """
    ends_Ex2 = edges(lax.stop_gradient(points), size, block)
    lengths_E: jax.Array = edge_lengths(points, ends_Ex2)
    return lengths_E


@jax.checkpoint  # or the gradient would keep the vectors of all edges
def edge_lengths(points: jax.Array, ends_Ex2: jax.Array) -> jax.Array:
    """Distances (E,) between the points that `ends_Ex2` names, zero where it names one point twice."""
    apart_ExD = points[ends_Ex2[:, 0]] - points[ends_Ex2[:, 1]]
    # The largest entry is divided out first, so that no square overflows or vanishes.
    largest_Ex1 = lax.stop_gradient(jnp.max(jnp.abs(apart_ExD), axis=1, keepdims=True))
    some_E = largest_Ex1[:, 0] > 0
    apart_ExD = jnp.where(some_E[:, None], apart_ExD / jnp.where(some_E[:, None], largest_Ex1, 1), 1)
    return jnp.where(some_E, largest_Ex1[:, 0] * jnp.sqrt(jnp.sum(apart_ExD**2, axis=1)), 0)


def edges(points: jax.Array, size: jax.typing.ArrayLike | None = None, block: int = 512) -> jax.Array:
    """The ends (n-1, 2) of the edges of `spanning_tree`; rows beyond the first size-1 name point 0 twice."""
    n = points.shape[0]
    size = jnp.asarray(n if size is None else size, jnp.int32)
    ids_N = jnp.arange(n, dtype=jnp.int32)
    counts_N = ids_N < size
    scale = _power_of_two_scale(points, counts_N)
    points_NxD = jnp.where(counts_N[:, None], points * scale, 0)
    centered_NxD = jnp.where(counts_N[:, None], points_NxD - jnp.sum(points_NxD, axis=0) / size, 0)
    penalty_N = jnp.where(counts_N, jnp.sum(centered_NxD**2, axis=1) / 2, jnp.inf)
    keys_TxBxD, penalty_TxB = _tiles(centered_NxD, penalty_N, block)

    def unfinished(forest: tuple[jax.Array, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        _, _, joined, progress = forest
        return progress & (joined < size - 1)

    def join(
        forest: tuple[jax.Array, jax.Array, jax.Array, jax.Array],
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        tree_N, ends_Ex2, joined, _ = forest
        other_N = _nearest_in_another_tree(keys_TxBxD, penalty_TxB, tree_N, size)
        length_N = jnp.where(counts_N, jnp.sum((points_NxD - points_NxD[other_N]) ** 2, axis=1), jnp.inf)
        # Stored before it is compared with itself: computed twice, it might differ in the last digit.
        length_N = lax.optimization_barrier(length_N)
        least_N = jax.ops.segment_min(length_N, tree_N, n)
        tip_N = jax.ops.segment_min(jnp.where(length_N == least_N[tree_N], ids_N, n), tree_N, n)
        alive_N = (tip_N < n) & (least_N < jnp.inf)
        toward_N = jnp.where(alive_N, tree_N[other_N[jnp.minimum(tip_N, n - 1)]], ids_N)
        root_N = _roots(toward_N)
        # One edge less than trees in each group that grows together: that of the root closes a cycle.
        kept_N = alive_N & (root_N != ids_N)
        place_N = jnp.where(kept_N, joined + jnp.cumsum(kept_N) - 1, n)
        tip_N = jnp.minimum(tip_N, n - 1)
        ends_Ex2 = ends_Ex2.at[place_N].set(jnp.stack([tip_N, other_N[tip_N]], axis=1), mode="drop")
        return root_N[tree_N], ends_Ex2, joined + jnp.sum(kept_N, dtype=jnp.int32), jnp.any(kept_N)

    start = (ids_N, jnp.zeros((n - 1, 2), jnp.int32), jnp.zeros((), jnp.int32), jnp.array(True))
    _, ends_Ex2, _, _ = lax.while_loop(unfinished, join, start)
    return ends_Ex2


def _roots(toward_N: jax.Array) -> jax.Array:
    """For each node of a graph with one edge from each, the least node of the cycle that its path ends in.

    Two trees that choose the same edge are a cycle of two. Ties and rounding can make longer ones.
    """

    def double(_: jax.Array, walk: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        after_N, least_N = walk
        return after_N[after_N], jnp.minimum(least_N, least_N[after_N])

    n = len(toward_N)
    after_N, least_N = lax.fori_loop(0, n.bit_length(), double, (toward_N, jnp.arange(n, dtype=toward_N.dtype)))
    # After n steps or more the path is on its cycle, and n steps from there have seen all of it.
    least_of_cycle_N: jax.Array = least_N[after_N]
    return least_of_cycle_N


def _nearest_in_another_tree(
    keys_TxBxD: jax.Array, penalty_TxB: jax.Array, tree_N: jax.Array, size: jax.Array
) -> jax.Array:
    """For each point the index (n,) of the one with the least |y|²/2 - <x, y> among those of other trees."""
    block = penalty_TxB.shape[1]
    tree_TxB = jnp.pad(tree_N, (0, penalty_TxB.size - len(tree_N))).reshape(penalty_TxB.shape)
    used_tiles = (size + block - 1) // block

    def of_rows(i: jax.Array, nearest_TxB: jax.Array) -> jax.Array:
        def merge(j: jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            least_B, nearest_B = best
            score_BxB = penalty_TxB[j] - jnp.matmul(keys_TxBxD[i], keys_TxBxD[j].T, precision=lax.Precision.HIGHEST)
            score_BxB = jnp.where(tree_TxB[i][:, None] == tree_TxB[j], jnp.inf, score_BxB)
            tile_least_B = jnp.min(score_BxB, axis=1)
            tile_nearest_B = (j * block + jnp.argmin(score_BxB, axis=1)).astype(jnp.int32)
            closer_B = tile_least_B < least_B
            return jnp.where(closer_B, tile_least_B, least_B), jnp.where(closer_B, tile_nearest_B, nearest_B)

        nothing = (jnp.full(block, jnp.inf, penalty_TxB.dtype), jnp.zeros(block, jnp.int32))
        return nearest_TxB.at[i].set(lax.fori_loop(0, used_tiles, merge, nothing)[1])

    nearest_TxB: jax.Array = lax.fori_loop(0, used_tiles, of_rows, jnp.zeros(penalty_TxB.shape, jnp.int32))
    return nearest_TxB.reshape(-1)[: len(tree_N)]


def _tiles(points_NxD: jax.Array, penalty_N: jax.Array, block: int) -> tuple[jax.Array, jax.Array]:
    n, width = points_NxD.shape
    # Small ones for few points, as the first `size` of them may be fewer still.
    block = min(block, max(64, n // 8))
    padding = -n % block
    points_NxD = jnp.pad(points_NxD, ((0, padding), (0, 0)))
    penalty_N = jnp.pad(penalty_N, (0, padding), constant_values=jnp.inf)
    return points_NxD.reshape(-1, block, width), penalty_N.reshape(-1, block)


def _power_of_two_scale(points: jax.Array, counts_N: jax.Array) -> jax.Array:
    """A power of two that brings the largest entry that counts near one: no square overflows, nothing is rounded."""
    _, exponent = jnp.frexp(jnp.max(jnp.where(counts_N[:, None], jnp.abs(points), 0)))
    return jnp.ldexp(jnp.ones((), points.dtype), -jnp.clip(exponent, -120, 120))
