"""Exact nearest neighbors, tile by tile: the memory of one tile of scores, never of all pairs.

near = neighbors(x, k=20)            # x: (n, D)
near.distances, near.indices         # (n, 20) each, nearest first
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.points import (
    Metric,
    as_points,
    check_choice,
    directions,
    has_direction,
    is_finite,
    is_traced,
    refuse_rows,
    replicated,
)
from jaxscale.errors import InputError

# Candidates kept beyond k by the matmul, whose rounding may misplace a few ranks around the k-th.
SLACK = 8


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Neighbors:
    """The k nearest points of each query, nearest first.

    Attributes:
      distances: (n, k), ascending; infinite where fewer than k points may be neighbors.
      indices: (n, k) int32, rows of `x`; equal distances are ordered by index; -1 where the distance is infinite.
    """

    distances: jax.Array
    indices: jax.Array


def neighbors(
    x: jax.typing.ArrayLike,
    k: int,
    queries: jax.typing.ArrayLike | None = None,
    metric: Metric = "euclidean",
    exclude_self: bool = True,
    block: int = 1024,
    mask: jax.typing.ArrayLike | None = None,
) -> Neighbors:
    """The `k` points of `x` nearest to each query.

    Equal to sorting the full matrix of distances row by row, at the memory of `block`² of them. Candidates are ranked
    by a float32 matmul on centred data; the k winners and a few spare are measured again by direct differences, because
    |x|² + |y|² - 2xy keeps no digits where norms are large and neighbors close. The spare ones are a margin, not a
    proof: a cloud of tight clusters far apart, within the matmul's rounding of each other, can lose a neighbor.
    Differentiable in `x` and `queries`.

    Args:
      x: (n, D) points; integers and half precision are taken as float32. May be sharded over a mesh.
      k: neighbors per query; static.
      queries: (m, D) points to find neighbors of; the points of `x` themselves if None.
      metric: "euclidean", or "cosine" for the angle between rows in radians. The usual 1 - cos is half the *square* of
        the chord between directions, and an estimator fed with squared distances reads half the dimension. Static.
      exclude_self: leave each point out of its own list; without effect when `queries` are given. Static.
      block: rows and columns of a tile; static.
      mask: (n,) booleans, the points that may be neighbors; all if None. Points masked out still get neighbors.

    Returns:
      `Neighbors` with one row per query.

    Raises:
      InputError: if a shape, `k`, `metric` or `block` cannot be used, or if concrete points have rows with nan,
        infinity or (under "cosine") only zeros that are not masked out. Traced values are not checked and yield nan.
    """
    points = as_points(x)
    others = None if queries is None else as_points(queries, "queries").astype(points.dtype)
    allowed = jnp.ones(points.shape[0], bool) if mask is None else replicated(jnp.asarray(mask, bool))
    exclude_self = exclude_self and others is None
    check_choice("metric", metric, Metric)
    _check_shapes(points, others, allowed, k, exclude_self, block)
    _check_values(points, allowed, metric, "x", "Drop them, or mask them out with mask=.")
    if others is not None:
        _check_values(others, jnp.ones(others.shape[0], bool), metric, "queries", "Drop them.")
    return _neighbors(points, others, allowed, k, metric, exclude_self, block)


def _check_shapes(points, others, allowed, k, exclude_self, block):
    n, width = points.shape
    if k < 1 or block < 1:
        raise InputError(f"k and block must be at least 1; they are k={k} and block={block}.")
    if k > n - exclude_self:
        relation = f"more than {k}" if exclude_self else f"at least {k}"
        raise InputError(f"k={k} needs {relation} points; x has shape {points.shape}. Pass a smaller k or more points.")
    if others is not None and (others.shape[0] == 0 or others.shape[1] != width):
        raise InputError(
            f"queries must have at least one row, and the {width} columns of x; they have shape {others.shape}."
        )
    if allowed.shape != (n,):
        raise InputError(f"mask must have shape ({n},), one entry per row of x; it has shape {allowed.shape}.")


def _check_values(points, allowed, metric, name, remedy):
    if is_traced(points, allowed):
        return
    refuse_rows(allowed & ~is_finite(points), name, "with nan or infinity", remedy)
    if metric == "cosine":
        refuse_rows(allowed & ~has_direction(points), name, "of zeros, which have no direction", remedy)


@functools.partial(jax.jit, static_argnames=("k", "metric", "exclude_self", "block"))
def _neighbors(points, queries, mask, k, metric, exclude_self, block):
    if metric == "cosine":
        points = directions(points)
        queries = None if queries is None else directions(queries)
    queries = points if queries is None else queries
    points = jnp.where(mask[:, None], points, 0)
    scale = _power_of_two_scale(points, queries)
    points, queries = points * scale, queries * scale
    own = jnp.arange(queries.shape[0]) if exclude_self else jnp.full(queries.shape[0], -1)
    candidates = _candidates(
        lax.stop_gradient(points), lax.stop_gradient(queries), mask, own, min(k + SLACK, points.shape[0]), block
    )
    squared, indices = _rescore(points, queries, candidates, k, block)
    distances = _root(squared) / scale
    return Neighbors(_angle(distances) if metric == "cosine" else distances, indices.astype(jnp.int32))


def _candidates(points_NxD, queries_MxD, mask_N, own_M, count, block):
    """Indices (M, count) of the points with the best scores <q, y> - |y|²/2, so the least |q - y|²; -1 for none."""
    centre_D = _centre(points_NxD, mask_N)
    keys_NxD = points_NxD - centre_D
    penalty_N = jnp.where(mask_N, jnp.sum(keys_NxD**2, axis=1) / 2, jnp.inf)
    keys_TxCxD, penalty_TxC = _tiles(keys_NxD, block), _tiles(penalty_N, block, fill=jnp.inf)
    first_index_T = jnp.arange(penalty_TxC.shape[0]) * penalty_TxC.shape[1]

    def of_rows(rows):
        queries_BxD, own_B = rows

        def merge(best, tile):
            best_scores, best_indices = best
            keys_CxD, penalty_C, first_index = tile
            scores_BxC = jnp.matmul(queries_BxD, keys_CxD.T, precision=lax.Precision.HIGHEST) - penalty_C
            is_own_BxC = first_index + jnp.arange(penalty_C.shape[0]) == own_B[:, None]
            scores_BxC = jnp.where(is_own_BxC, -jnp.inf, scores_BxC)
            # top_k puts the first of equals first: candidates so far have the lower indices, and stand in front.
            scores, place = lax.top_k(jnp.concatenate([best_scores, scores_BxC], axis=1), count)
            known = jnp.take_along_axis(best_indices, jnp.minimum(place, count - 1), axis=1)
            return (scores, jnp.where(place < count, known, first_index + place - count)), None

        none_yet = jnp.full((queries_BxD.shape[0], count), -jnp.inf, queries_BxD.dtype)
        start = (none_yet, jnp.full(none_yet.shape, -1, first_index_T.dtype))
        (scores, indices), _ = lax.scan(merge, start, (keys_TxCxD, penalty_TxC, first_index_T))
        return jnp.where(scores == -jnp.inf, -1, indices)

    rows = (_tiles(queries_MxD - centre_D, block), _tiles(own_M, block))
    return _untile(lax.map(of_rows, rows), queries_MxD.shape[0])


def _rescore(points_NxD, queries_MxD, candidates_MxC, k, block):
    """Squared distances (M, k) by direct differences, ascending, and their indices; ties by index."""
    rows_in_a_tile = max(1, block * block // (candidates_MxC.shape[1] * points_NxD.shape[1]))

    # Without checkpoint the gradient would keep all M x C x D differences.
    @jax.checkpoint
    def of_rows(rows):
        queries_BxD, candidates_BxC = rows
        squared_BxC = jnp.sum((queries_BxD[:, None] - points_NxD[candidates_BxC]) ** 2, axis=-1)
        squared_BxC = jnp.where(candidates_BxC < 0, jnp.inf, squared_BxC)
        squared_BxC, indices_BxC = lax.sort((squared_BxC, candidates_BxC), num_keys=2)
        return squared_BxC[:, :k], indices_BxC[:, :k]

    tiles = (_tiles(queries_MxD, rows_in_a_tile), _tiles(candidates_MxC, rows_in_a_tile))
    squared, indices = lax.map(of_rows, tiles)
    return _untile(squared, queries_MxD.shape[0]), _untile(indices, queries_MxD.shape[0])


def _power_of_two_scale(points, queries):
    """A power of two that brings the largest entry near one, so that no square overflows and nothing is rounded."""

    def largest(entries):
        return jnp.max(jnp.where(jnp.isfinite(entries), jnp.abs(entries), 0), initial=0)

    _, exponent = jnp.frexp(lax.stop_gradient(jnp.maximum(largest(points), largest(queries))))
    return jnp.ldexp(jnp.ones((), points.dtype), -jnp.clip(exponent, -120, 120))


def _centre(points_NxD, mask_N):
    """The mean of the points, rounded in each column to a power of two no coarser than the spread.

    On that grid the subtraction is exact for integers and other lattices, so that equal distances keep equal scores,
    and the last digits of the sum, which depend on how the points are sharded, do not matter.
    """
    count = jnp.maximum(jnp.sum(mask_N), 1)
    mean_D = jnp.sum(points_NxD * mask_N[:, None], axis=0) / count
    spread_D = jnp.sqrt(jnp.sum((points_NxD - mean_D) ** 2 * mask_N[:, None], axis=0) / count)
    _, exponent_D = jnp.frexp(spread_D)
    step_D = jnp.ldexp(jnp.ones_like(mean_D), exponent_D - 1)
    return jnp.where(spread_D > 0, jnp.round(mean_D / step_D) * step_D, mean_D)


def _root(squared):
    """√, with derivative zero instead of infinite where the distance is zero, and none where it is infinite."""
    regular = (squared > 0) & (squared < jnp.inf)
    return jnp.where(regular, jnp.sqrt(jnp.where(regular, squared, 1)), squared)


def _angle(chord):
    """The angle between two directions whose difference has length `chord`."""
    missing = jnp.isinf(chord)
    return jnp.where(missing, chord, 2 * jnp.arcsin(jnp.minimum(jnp.where(missing, 0, chord) / 2, 1)))


def _tiles(array, block, fill=0):
    """(n, ...) as (tiles, rows, ...) of at most `block` rows each, nearly equal, the last one padded with `fill`."""
    count = -(-array.shape[0] // block)
    rows = -(-array.shape[0] // count)
    padding = [(0, count * rows - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    return jnp.pad(array, padding, constant_values=fill).reshape(count, rows, *array.shape[1:])


def _untile(tiles, n):
    return tiles.reshape(-1, *tiles.shape[2:])[:n]
