"""Clouds sharded by rows: whatever every pair of points needs, without ever gathering the cloud.

Each device keeps its own rows, while the shards of all travel around the devices, a step at a time. The next shard is
on its way while the present one is worked on: a device holds its own, the present one and the next.

squared, indices, scale = nearest_squared_in_ring(points, None, mask, row_sharding(points), k, exclude_self=True)
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

from jaxscale.dimension.points import along, replicated, shard_count
from jaxscale.dimension.search.exact import EXACT, Effort, power_of_two_scale
from jaxscale.dimension.search.parts import Best, merged, nearest_in_part, unpacked


def nearest_squared_in_ring(
    points: jax.Array,
    queries: jax.Array | None,
    mask: jax.Array,
    rows: NamedSharding,
    k: int,
    exclude_self: bool,
    effort: Effort = EXACT,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`nearest_squared` over the devices of `rows`: squared distances times `scale` squared, indices, and `scale`.

    A device searches its own shard with each pair multiplied once, and those of others with its rows as queries. Each
    search is exact, so that merging them by squared distance and index gives what one device finds.

    Args:
      points: (n, D) floating; rows that are not finite must be masked out.
      queries: (m, D), or None for the points themselves. Each device takes an equal part of them.
      mask: (n,) booleans, the points that may be found.
      rows: how points lie along devices; see `row_sharding`. Static.
      k: neighbors; static.
      exclude_self: leave each point out of its own list; without effect when `queries` are given. Static.
      effort: of each search; static.

    Returns:
      (m, k) twice, sharded like the points where the devices divide m, and a scalar.
    """
    axes = rows.spec[0]
    alone = queries is None
    targets = points if queries is None else queries

    def of_shard(
        points_NxD: jax.Array, queries_MxD: jax.Array, mask_N: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        scale = lax.pmin(jnp.minimum(power_of_two_scale(points_NxD), power_of_two_scale(queries_MxD)), axes)

        def search(queries: jax.Array | None, shard: tuple[jax.Array, jax.Array], owner: jax.Array) -> Best:
            first = owner * points_NxD.shape[0]
            return nearest_in_part(shard[0], queries, shard[1], first, scale, k, exclude_self, effort)

        start = functools.partial(search, None if alone else queries_MxD)
        visit = lambda best, shard, owner: merged(best, search(queries_MxD, shard, owner))
        best = over_all_shards(start, visit, (points_NxD, mask_N), axes)
        return *unpacked(best), scale

    specs = (PartitionSpec(axes), PartitionSpec(axes), PartitionSpec())
    squared, indices, scale = on_shards(of_shard, rows, (points, targets, mask), specs)
    return without_filling(squared, targets.shape[0]), without_filling(indices, targets.shape[0]), scale


def equal_rows_in_ring(
    points: jax.Array,
    others: jax.Array,
    rows: NamedSharding,
    rounding: tuple[jax.Array, ...] = (),
) -> jax.Array:
    """`equal_rows(points, points, others, rounding)` over the devices of `rows`."""

    def of_shard(points_NxD: jax.Array, others_N: jax.Array, *rounding: jax.Array) -> jax.Array:
        def visit(equal_N: jax.Array, shard_NxD: jax.Array, owner: jax.Array) -> jax.Array:
            place_N = others_N - owner * shard_NxD.shape[0]
            here_N = (others_N >= 0) & (place_N >= 0) & (place_N < shard_NxD.shape[0])
            others_here_N = jnp.where(here_N, place_N, -1)
            return equal_N | equal_rows(points_NxD, shard_NxD, others_here_N, rounding)

        start = lambda shard_NxD, owner: visit(jnp.zeros(points_NxD.shape[0], bool), shard_NxD, owner)
        equal_N: jax.Array = over_all_shards(start, visit, points_NxD, rows.spec[0])
        return equal_N

    equal = on_shards(of_shard, rows, (points, others), PartitionSpec(rows.spec[0]), whole=rounding)
    return without_filling(equal, points.shape[0])


def equal_rows(
    points: jax.Array,
    among: jax.Array,
    others: jax.Array,
    rounding: tuple[jax.Array, ...] = (),
) -> jax.Array:
    """Which points (n,) equal, in every column, the row of `among` that `others` (n,) names; -1 equals none.

    A nan equals a nan. With `rounding` = (unit, center, usual), a scalar and (D,) twice, entries a and b are equal if
    they differ by no more than a rounding of each: by unit · max(|a + center|, |b + center|, usual), as they came in,
    and eps · max(|a|, |b|), as they are.
    """

    def of_rows(points_BxD: jax.Array, others_B: jax.Array) -> jax.Array:
        others_BxD = among[jnp.maximum(others_B, 0)]
        same_BxD = (points_BxD == others_BxD) | (jnp.isnan(points_BxD) & jnp.isnan(others_BxD))
        if rounding:
            same_BxD |= jnp.abs(points_BxD - others_BxD) <= _roundings(points_BxD, others_BxD, *rounding)
        return (others_B >= 0) & jnp.all(same_BxD, axis=1)

    equal_N: jax.Array = map_tiles(of_rows, points, others)
    return equal_N


def _roundings(
    points_BxD: jax.Array, others_BxD: jax.Array, unit: jax.Array, center_D: jax.Array, usual_D: jax.Array
) -> jax.Array:
    larger: Callable[[jax.typing.ArrayLike], jax.Array] = lambda offset: jnp.maximum(
        jnp.abs(points_BxD + offset), jnp.abs(others_BxD + offset)
    )
    return unit * jnp.maximum(larger(center_D), usual_D) + jnp.finfo(points_BxD.dtype).eps * larger(0)


def map_tiles(function: Callable[..., Any], *arrays: jax.Array, rows: int = 1024) -> Any:
    """`function(*arrays)`, which works row by row, a few rows at a time: what it makes of all might fill the memory.

    `lax.map` would copy the arrays first, to divide them.
    """
    n = arrays[0].shape[0]
    rows = min(rows, n)
    # The last tile takes up some rows of the one before.
    starts_T = jnp.minimum(jnp.arange(-(-n // rows)) * rows, n - rows)
    tiles = lax.map(lambda start: function(*(lax.dynamic_slice_in_dim(a, start, rows) for a in arrays)), starts_T)
    place_TxB = starts_T[:, None] + jnp.arange(rows)
    return jax.tree.map(lambda part: jnp.zeros((n, *part.shape[2:]), part.dtype).at[place_TxB].set(part), tiles)


def over_all_shards(
    start: Callable[[Any, jax.Array], Any], visit: Callable[[Any, Any, jax.Array], Any], shard: Any, axes: Any
) -> Any:
    """`result = start(shard, owner)` for the own shard, `result = visit(result, shard, owner)` for each of the others.

    For use on one shard, within `on_shards`. The owner is its number along `axes`.
    """
    count, number = lax.axis_size(axes), lax.axis_index(axes)
    to_next = [(device, (device + 1) % count) for device in range(count)]

    def send(shard: Any) -> Any:
        return jax.tree.map(lambda leaf: lax.ppermute(leaf, axes, to_next), shard)

    def step(i: jax.Array, state: tuple[Any, Any]) -> tuple[Any, Any]:
        present, result = state
        # What is sent waits for no result. The last step sends each shard home, for nothing, and compiles nothing more.
        return send(present), visit(result, present, (number - i) % count)

    coming = send(shard)
    _, result = lax.fori_loop(1, count, step, (coming, start(shard, number)))
    return result


def on_shards(
    function: Callable[..., Any],
    rows: NamedSharding,
    arrays: tuple[jax.Array, ...],
    out_specs: Any,
    whole: tuple[jax.Array, ...] = (),
) -> Any:
    """`function` of the shards of `arrays` and of the `whole` arrays on each device.

    Rows of zeros or False fill up those arrays that do not divide.
    """
    filled = [along(_filled(array, shard_count(rows)), rows) for array in arrays]
    specs = (PartitionSpec(rows.spec[0]),) * len(filled) + (PartitionSpec(),) * len(whole)
    # Values start out the same on all devices and end up different: loops that do so are refused when checked.
    return jax.shard_map(function, mesh=rows.mesh, in_specs=specs, out_specs=out_specs, check_vma=False)(
        *filled, *whole
    )


def without_filling(array: jax.Array, n: int) -> jax.Array:
    """The first `n` rows, which may no longer divide among devices."""
    return array if array.shape[0] == n else replicated(array)[:n]


def _filled(array: jax.Array, shards: int) -> jax.Array:
    missing = -array.shape[0] % shards
    return jnp.pad(array, [(0, missing)] + [(0, 0)] * (array.ndim - 1)) if missing else array
