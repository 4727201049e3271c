"""Exact nearest neighbors, tile by tile: the memory of one tile of scores, never of all pairs.

near = neighbors(x, k=20)            # x: (n, D)
near.distances, near.indices         # (n, 20) each, nearest first
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxscale.arguments import integer
from jaxscale.dimension.points import (
    Metric,
    as_array,
    as_points,
    central_row,
    check_choice,
    check_cloud,
    directions,
    has_direction,
    is_cut,
    is_finite,
    is_traced,
    refuse_rows,
    replicated,
    row_sharding,
)
from jaxscale.dimension.search.exact import (
    EXACT,
    Effort,
    Precision,
    nearest_squared,
    power_of_two_scale,
    usual_effort,
)
from jaxscale.dimension.search.ring import nearest_squared_in_ring, on_shards, without_filling
from jaxscale.dimension.search.streaming import nearest_squared_in_blocks
from jaxscale.errors import InputError


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
    precision: Precision | None = None,
    approximate: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Neighbors:
    """The `k` points of `x` nearest to each query.

    Equal to sorting the full matrix of distances row by row, at the memory of `block`² of them. Candidates are ranked
    by a matmul on centered data, of which each pair is multiplied once, and the best are measured again by direct
    differences, because |x|² + |y|² - 2xy keeps no digits where norms are large and neighbors close. A bound on the
    rounding then proves, row by row, that no other point is nearer; rows without proof are searched again, with more
    candidates and in the end by differences alone. Differentiable in `x` and `queries`.

    Points whose rows are seen to lie on several devices stay there: shards travel around, the result lies like the
    points, and queries are spread over the same devices. Concrete arrays show where they lie, and traced ones do along
    explicit axes. Under `jit` with automatic axes nothing is seen, and the compiler copies the points to every device,
    as the derivative does in either case.

    A `numpy.memmap`, and no other array, stays on the host: blocks of rows pass through the device, which never holds
    more than a few of them, whatever the size of the file. The result is on the device.

    Args:
      x: (n, D) points; integers and half precision are taken as float32. May be sharded over a mesh,
        or a `numpy.memmap`. Numbers of NumPy that jax would cut, as float64, are centered first; see `neighborhoods`.
      k: neighbors per query; static.
      queries: (m, D) points to find neighbors of, of any kind; the points of `x` themselves if None.
      metric: "euclidean", or "cosine" for the angle between rows in radians. The usual 1 - cos is half the *square* of
        the chord between directions, and an estimator fed with squared distances reads half the dimension. Static.
      exclude_self: leave each point out of its own list; without effect when `queries` are given. Static.
      block: rows and columns of a tile; static.
      mask: (n,) booleans, the points that may be neighbors; all if None. Points masked out still get neighbors.
      precision: "float32" or "bfloat16", the factors of the matmul, accumulated in float32. It decides how fast the
        result is found, not what it is. None is "bfloat16" on GPU and TPU, "float32" elsewhere. Static.
      approximate: None for all neighbors. Otherwise the share of them that is enough, in (0, 1), expected of points
        whose order says nothing of their place; nothing is proven or searched again then. Static.
      progress: called with the blocks done and their number, while a `numpy.memmap` passes through the device.

    Returns:
      `Neighbors` with one row per query.

    Raises:
      InputError: if a shape, `k`, `metric` or `block` cannot be used, or if concrete points have rows with nan,
        infinity or (under "cosine") only zeros that are not masked out. Traced values are not checked and yield nan.
    """
    k, block = integer("k", k, 1), integer("block", block, 1)
    effort = _checked_effort(block, precision, approximate)
    check_choice("metric", metric, Metric)
    if isinstance(x, np.memmap):
        return _neighbors_on_host(x, queries, mask, k, metric, exclude_self, effort, progress)
    x = as_array(x)
    center = _common_center(x, metric)
    points = as_points(x, "x", center)
    if queries is None:
        others = None
    else:
        fits = np.shape(queries)[1:] == points.shape[1:]  # if not, `_check_shapes` says so
        others = as_points(queries, "queries", center if fits else None).astype(points.dtype)
    rows = row_sharding(points)
    allowed = jnp.ones(points.shape[0], bool) if mask is None else replicated(jnp.asarray(mask, bool))
    exclude_self = exclude_self and others is None
    _check_shapes(points, others, allowed, k, exclude_self)
    _check_values(points, allowed, metric, "x", "Drop them, or mask them out with mask=.")
    if others is not None:
        _check_values(others, jnp.ones(others.shape[0], bool), metric, "queries", "Drop them.")
    others = others if others is None or rows is not None else replicated(others)
    found: Neighbors = find_neighbors(points, others, allowed, k, metric, exclude_self, effort, rows)
    return found


def _common_center(x: jax.Array | np.ndarray, metric: Metric) -> np.ndarray | None:
    """What to take off points and queries alike where the device cannot hold them as they are; None if it can."""
    check_cloud(x, "x")
    return central_row(x) if isinstance(x, np.ndarray) and metric == "euclidean" and is_cut(x.dtype) else None


def _neighbors_on_host(
    points: np.ndarray,
    queries: jax.typing.ArrayLike | None,
    mask: jax.typing.ArrayLike | None,
    k: int,
    metric: Metric,
    exclude_self: bool,
    effort: Effort,
    progress: Callable[[int, int], None] | None,
) -> Neighbors:
    allowed = np.ones(points.shape[0], bool) if mask is None else np.asarray(mask, bool)
    others = None if queries is None else np.asanyarray(as_array(queries, "queries"))
    exclude_self = exclude_self and others is None
    check_cloud(points, "x")
    if others is not None:
        check_cloud(others, "queries")
    _check_shapes(points, others, allowed, k, exclude_self)
    squared, indices, scale = nearest_squared_in_blocks(
        points, others, allowed, k, metric, exclude_self, effort, progress, _common_center(points, metric)
    )
    distances = jnp.sqrt(squared) / scale
    return Neighbors(angle_of_chord(distances) if metric == "cosine" else distances, indices)


def _checked_effort(block: int, precision: Precision | None, approximate: float | None) -> Effort:
    precision = precision or usual_effort().precision
    check_choice("precision", precision, Precision)
    if approximate is not None and not 0 < approximate < 1:
        raise InputError(f"approximate={approximate} must lie between 0 and 1: the share of neighbors that is enough.")
    return Effort(block, precision, approximate)


def _check_shapes(
    points: jax.Array | np.ndarray,
    others: jax.Array | np.ndarray | None,
    allowed: jax.Array | np.ndarray,
    k: int,
    exclude_self: bool,
) -> None:
    n, width = points.shape
    if k > n - exclude_self:
        relation = f"more than {k}" if exclude_self else f"at least {k}"
        raise InputError(f"k={k} needs {relation} points; x has shape {points.shape}. Pass a smaller k or more points.")
    if others is not None and (others.shape[0] == 0 or others.shape[1] != width):
        raise InputError(
            f"queries must have at least one row, and the {width} columns of x; they have shape {others.shape}."
        )
    if allowed.shape != (n,):
        raise InputError(f"mask must have shape ({n},), one entry per row of x; it has shape {allowed.shape}.")


def _check_values(points: jax.Array, allowed: jax.Array, metric: Metric, name: str, remedy: str) -> None:
    if is_traced(points, allowed):
        return
    refuse_rows(allowed & ~is_finite(points), name, "with nan or infinity", remedy)
    if metric == "cosine":
        refuse_rows(allowed & ~has_direction(points), name, "of zeros, which have no direction", remedy)


@functools.partial(jax.jit, static_argnames=("k", "metric", "exclude_self", "effort", "rows"))
def find_neighbors(
    points: jax.Array,
    queries: jax.Array | None,
    mask: jax.Array,
    k: int,
    metric: Metric = "euclidean",
    exclude_self: bool = True,
    effort: Effort = EXACT,
    rows: NamedSharding | None = None,
) -> Neighbors:
    """`neighbors` of floating points, unchecked, whose `row_sharding` is told; so under `jit` of automatic axes too."""
    if metric == "cosine":
        points = directions(points)
        queries = None if queries is None else directions(queries)
    distances, indices = _nearest(points, queries, mask, k, exclude_self, effort, rows)
    return Neighbors(angle_of_chord(distances) if metric == "cosine" else distances, indices)


def search_without_derivative(
    points: jax.Array,
    queries: jax.Array | None,
    mask: jax.Array,
    k: int,
    exclude_self: bool,
    effort: Effort,
    rows: NamedSharding | None,
) -> tuple[jax.Array, jax.Array]:
    """Distances and indices (m, k); see `find_neighbors`."""
    if rows is not None:
        squared, indices, scale = nearest_squared_in_ring(points, queries, mask, rows, k, exclude_self, effort)
        return jnp.sqrt(squared) / scale, indices
    scale = power_of_two_scale(points)
    scale = scale if queries is None else jnp.minimum(scale, power_of_two_scale(queries))
    targets = jnp.arange((points if queries is None else queries).shape[0])
    own = targets if queries is None and exclude_self else jnp.full_like(targets, -1)
    squared, indices = nearest_squared(points, queries, mask, own, scale, k, effort)
    return jnp.sqrt(squared) / scale, indices


# Its derivative is that of the distances to the neighbors found.
_nearest = jax.custom_jvp(search_without_derivative, nondiff_argnums=(3, 4, 5, 6))


@_nearest.defjvp
def _nearest_jvp(
    k: int,
    exclude_self: bool,
    effort: Effort,
    rows: NamedSharding | None,
    primals: tuple[jax.Array, jax.Array | None, jax.Array],
    tangents: tuple[jax.Array, jax.Array | None, jax.Array],
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, Any]]:
    points, queries, _ = primals
    distances, indices = _nearest(*primals, k, exclude_self, effort, rows)
    d_points, d_queries, _ = tangents
    d_distances = change_of_distances(points, d_points, queries, d_queries, distances, indices, rows)
    return (distances, indices), (d_distances, np.zeros(indices.shape, jax.dtypes.float0))


def change_of_distances(
    points: jax.Array,
    d_points: jax.Array,
    queries: jax.Array | None,
    d_queries: jax.Array | None,
    distances: jax.Array,
    indices: jax.Array,
    rows: NamedSharding | None,
) -> jax.Array:
    """The tangent (m, k) of `distances` to the neighbors at `indices`, from those of the points."""
    if queries is None or d_queries is None:
        queries, d_queries = points, d_points
    if rows is None:
        return _change_of_distances(points, d_points, queries, d_queries, distances, indices)
    axes = rows.spec[0]

    def of_shard(points: jax.Array, d_points: jax.Array, *of_queries: jax.Array) -> jax.Array:
        everywhere = (lax.all_gather(array, axes, tiled=True) for array in (points, d_points))
        return _change_of_distances(*everywhere, *of_queries)

    arrays: Any = (points, d_points, queries, d_queries, distances, indices)
    return without_filling(on_shards(of_shard, rows, arrays, PartitionSpec(axes)), distances.shape[0])


def _change_of_distances(
    points: jax.Array,
    d_points: jax.Array,
    queries: jax.Array,
    d_queries: jax.Array,
    distances: jax.Array,
    indices: jax.Array,
) -> jax.Array:
    """d|x - y| = <x - y, dx - dy> / |x - y|, and zero where the distance is zero or there is no neighbor."""
    regular = (distances > 0) & (distances < jnp.inf)

    # Without checkpoint the gradient would keep the differences of all pairs.
    @jax.checkpoint
    def of_column(column: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        neighbor, distance, regular = column
        apart = (queries - points[neighbor]) / jnp.where(regular, distance, 1)[:, None]
        apart = jnp.where(regular[:, None], apart, 0)
        return jnp.sum(apart * (d_queries - d_points[neighbor]), axis=1)

    by_column: jax.Array = lax.map(of_column, (indices.T, distances.T, regular.T))
    return by_column.T


def angle_of_chord(chord: jax.Array) -> jax.Array:
    """The angle between two directions whose difference has length `chord`."""
    missing = jnp.isinf(chord)
    return jnp.where(missing, chord, 2 * jnp.arcsin(jnp.minimum(jnp.where(missing, 0, chord) / 2, 1)))
