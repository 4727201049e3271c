"""Products of tiles of points that never leave the chip: a GPU kernel that keeps the best two of each group.

What `candidates` does to a pair of tiles in three steps, inner products, keys (`pack`) and the two smallest of each
group (`two_smallest`), is one kernel here. Of a million points with a million, products alone are four terabytes to
write and to read again. Given the same products, the results are those of the three steps bit for bit.

    of_rows, of_columns = best_of_tile(points_TxBxD, as_query_TxB, as_key_TxB, row, first, start, span, group)

A program of the grid owns a block of products: of every group of columns it sees, it sees all members, and of every
group of rows. So nothing is handed from program to program, and one product serves both of its points.

Written in Pallas for Triton. jax.experimental.pallas is loaded on first use: that takes half as long as `import jax`.
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.selection import NONE, with_place

# Rows and columns of a block, at most.
BLOCK = 128
# Of a block, by bytes of a coordinate. As compiled for sm_90a, nothing spills: four warps, with 255 registers a thread,
# reduce bfloat16 with fewest shuffles, and two such blocks share a processor; for float32 four are too few.
WARPS = {2: 4, 4: 8}
# Bytes of a row multiplied at a time: a line of the cache.
LINE = 128

# Keys (2 · groups, span, B) of the best of each group, and the least key (span, B) dropped in their favor.
Found = tuple[jax.Array, jax.Array]


def fits(tile: int, group: int) -> bool:
    """Whether blocks can be cut from such tiles that a matrix unit takes: 16 rows and columns, or more."""
    return group * _side_by_side(tile, group) >= 16


def best_of_tile(
    points_TxBxD: jax.Array,
    as_query_TxB: jax.Array,
    as_key_TxB: jax.Array,
    row: jax.Array | int,
    first: jax.Array | int,
    start: jax.Array | int,
    span: int,
    group: int,
    interpret: bool = False,
) -> tuple[Found, Found]:
    """One tile against each of a span of tiles: for each of its points the best two of each group, and the reverse.

    Args:
      points_TxBxD: tiles, float32 or bfloat16.
      as_query_TxB: half norms; see `deflated_half_norms`.
      as_key_TxB: the same, infinite for points that may not be found.
      row: the one tile.
      first: where the span begins.
      start: tiles at the beginning of the span to pass over; what is found there is `NONE`.
      span: tiles of the span, with those passed over; static.
      group: members of a group; static, see `Plan`.
      interpret: run on any device, slowly.

    Returns:
      For the points of the one tile keys (2 · B // group, span, B), of places in each tile of the span, and the least
      dropped (span, B); then for the points of each tile of the span those of places in the one tile.
    """
    tile = points_TxBxD.shape[1]
    points = (points_TxBxD.reshape(-1, points_TxBxD.shape[2]), as_query_TxB.ravel(), as_key_TxB.ravel())
    cut = (tile, group, group * _side_by_side(tile, group))
    of_rows, dropped_rows, of_columns, dropped_columns = _products(
        (row, first, start), points, points, cut, cut, span, interpret
    )
    return _gathered(of_rows, dropped_rows), _gathered(of_columns, dropped_columns)


def best_of_queries(
    queries_BxD: jax.Array,
    as_query_B: jax.Array,
    points_TxCxD: jax.Array,
    as_key_TxC: jax.Array,
    first: jax.Array | int,
    span: int,
    group: int,
    interpret: bool = False,
) -> Found:
    """Some queries, any number, against each of a span of tiles: as the first result of `best_of_tile`."""
    count, tile = queries_BxD.shape[0], points_TxCxD.shape[1]
    keys, dropped = _products(
        (0, first, 0),
        (queries_BxD, as_query_B),
        (points_TxCxD.reshape(-1, points_TxCxD.shape[2]), as_key_TxC.ravel()),
        (count, 1, BLOCK),
        (tile, group, group * _side_by_side(tile, group)),
        span,
        interpret,
    )
    return _gathered(keys[..., :count], dropped[..., :count])


def _side_by_side(tile, group):
    """Groups of a block: the largest power of two that keeps to its size and divides the groups of a tile."""
    return math.gcd(tile // group, max(1, BLOCK // group))


def _gathered(keys, dropped):
    return keys.reshape(-1, *keys.shape[2:]), jnp.min(dropped, axis=0)


def _products(tiles, rows, columns, row_cut, column_cut, span, interpret):
    """Calls the kernel on (points, as_query[, as_key]) and (points[, as_query], as_key), each cut (tile, group, block).

    Returns keys (2, groups, span, rows) and dropped (blocks of columns, span, rows), then the reverse if there is an
    as_key of rows; rows are padded to whole blocks.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    row_tile, row_group, row_block = row_cut
    tile, group, block = column_cut
    both = len(rows) == 3
    row_blocks, blocks = -(-row_tile // row_block), tile // block
    depth = _depth(rows[0])
    operands = [jnp.stack([jnp.asarray(number, jnp.int32) for number in tiles])]
    operands += [_whole_lines(rows[0], depth), *rows[1:], _whole_lines(columns[0], depth), *columns[1:]]
    shapes = [(2, tile // group, span, row_blocks * row_block), (blocks, span, row_blocks * row_block)]
    if both:
        shapes += [(2, row_tile // row_group, span, tile), (row_blocks, span, tile)]
    return pl.pallas_call(
        functools.partial(_kernel, row_cut, column_cut, depth, both),
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes],
        grid=(row_blocks, blocks, span),
        compiler_params=triton.CompilerParams(num_warps=WARPS[rows[0].dtype.itemsize], num_stages=3),
        interpret=interpret,
        name="two_smallest_products",
    )(*operands)


def _depth(points):
    """Coordinates multiplied at a time."""
    return min(LINE // points.dtype.itemsize, max(16, 1 << (points.shape[1] - 1).bit_length()))


def _whole_lines(points, depth):
    padding = -points.shape[1] % depth
    return jnp.pad(points, ((0, 0), (0, padding))) if padding else points


def _kernel(row_cut, column_cut, depth, both, tiles_ref, rows_ref, row_query_ref, *refs):
    """One block of products: its program's number is (block of rows, block of columns, tile of the span)."""
    from jax.experimental import pallas as pl

    if both:
        row_key_ref, columns_ref, column_query_ref, column_key_ref, *found = refs
    else:
        columns_ref, column_key_ref, *found = refs
    row_block, block, step = (pl.program_id(axis) for axis in range(3))
    row_tile, tile = row_cut[0], column_cut[0]
    row_place_M, place_C = _places(row_block, *row_cut), _places(block, *column_cut)
    # The last block of queries may reach beyond them.
    within_M = row_place_M if row_tile % row_cut[2] == 0 else jnp.minimum(row_place_M, row_tile - 1)
    row_M = tiles_ref[0] * row_tile + within_M
    column_C = (tiles_ref[1] + step) * tile + place_C

    def multiply(i, sums_MxC):
        line = pl.ds(i * depth, depth)
        return sums_MxC + lax.dot_general(
            rows_ref[row_M, line],
            columns_ref[column_C, line],
            (((1,), (1,)), ((), ())),
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )

    def store(refs, best, block, points, axis):
        keys_ref, dropped_ref = refs
        first, second, third = best
        groups = block * first.shape[axis] + jnp.arange(first.shape[axis], dtype=jnp.int32)
        at = (jnp.expand_dims(groups, 1 - axis), step, jnp.expand_dims(points, axis))
        keys_ref[0, *at] = first
        keys_ref[1, *at] = second
        dropped_ref[block, step, points] = jnp.min(third, axis=axis)

    @pl.when(step >= tiles_ref[2])
    def _():
        nothing = jnp.zeros((row_M.shape[0], column_C.shape[0]), jnp.float32)
        products_MxC = lax.fori_loop(0, rows_ref.shape[1] // depth, multiply, nothing)
        scores_MxC = (row_query_ref[row_M][:, None] + column_key_ref[column_C][None, :]) - products_MxC
        best = _two_smallest(with_place(scores_MxC, place_C[None, :], tile), column_cut[1], axis=1)
        store(found[:2], best, block, row_place_M, axis=1)
        if both:
            scores_MxC = (row_key_ref[row_M][:, None] + column_query_ref[column_C][None, :]) - products_MxC
            best = _two_smallest(with_place(scores_MxC, row_place_M[:, None], row_tile), row_cut[1], axis=0)
            store(found[2:], best, row_block, place_C, axis=0)

    @pl.when(step < tiles_ref[2])
    def _():
        nothing = jnp.full((row_M.shape[0], column_cut[2] // column_cut[1]), NONE, jnp.int32)
        store(found[:2], (nothing,) * 3, block, row_place_M, axis=1)
        if both:
            nothing = jnp.full((row_cut[2] // row_cut[1], column_C.shape[0]), NONE, jnp.int32)
            store(found[2:], (nothing,) * 3, row_block, place_C, axis=0)


def _places(block, tile, group, size):
    """Places in a tile of the entries of one of its blocks: groups side by side, their members one after the other."""
    entry, groups = jnp.arange(size, dtype=jnp.int32), size // group
    return entry // groups * (tile // group) + block * groups + entry % groups


def _two_smallest(keys, group, axis):
    """The two smallest of each group along an axis, and the third. No two keys of a group are equal."""
    members = (*keys.shape[:axis], group, -1, *keys.shape[axis + 1 :])
    keys = keys.reshape(members)
    found = []
    for _ in range(3):
        least = jnp.min(keys, axis=axis)
        found.append(least)
        keys = jnp.where(keys == jnp.expand_dims(least, axis), NONE, keys)
    return found
