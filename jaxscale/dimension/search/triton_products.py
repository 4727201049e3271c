"""The kernel of `fused_products` in Pallas for Triton: float32 and bfloat16, on any NVIDIA GPU that Triton knows.

jax deprecates its Triton backend; a version without it is one where this kernel does not serve.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.search.fused_products import line, whole_lines
from jaxscale.dimension.search.selection import NONE, with_place

# Rows and columns of a block, at most.
BLOCK = 128
# Of a block, by bytes of a coordinate. As compiled for sm_90a, nothing spills: four warps, with 255 registers a thread,
# reduce bfloat16 with fewest shuffles, and two such blocks share a processor; for float32 four are too few.
WARPS = {2: 4, 4: 8}


def fits(dtype: jnp.dtype, tile: int, group: int, capabilities: tuple[str, ...] = ()) -> bool:
    """Whether blocks can be cut from such tiles that a matrix unit takes: 16 rows and columns, or more."""
    del dtype, capabilities
    return group * _side_by_side(tile, group) >= 16


def check(dtype: jnp.dtype, group: int) -> None:
    """Raises ImportError where jax has no Triton backend."""
    del dtype, group
    import jax.experimental.pallas.triton  # noqa: F401


def products(
    tiles: Sequence[jax.Array | int],
    rows: Sequence[jax.Array],
    columns: Sequence[jax.Array],
    row_groups: tuple[int, int],
    column_groups: tuple[int, int],
    span: int,
    interpret: bool,
) -> Sequence[jax.Array]:
    """As `fused_products._products` says, on blocks of (tile, group, block)."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas.triton import CompilerParams

    both = len(rows) == 3
    (row_tile, row_group), (tile, group) = row_groups, column_groups
    row_block = row_group * _side_by_side(row_tile, row_group) if both else BLOCK
    block = group * _side_by_side(tile, group)
    row_cut, column_cut = (row_tile, row_group, row_block), (tile, group, block)
    row_blocks, blocks = -(-row_tile // row_block), tile // block
    depth = line(rows[0])
    operands = [jnp.stack([jnp.asarray(number, jnp.int32) for number in tiles])]
    operands += [whole_lines(rows[0]), *rows[1:], whole_lines(columns[0]), *columns[1:]]
    shapes = [(2, tile // group, span, row_blocks * row_block), (blocks, span, row_blocks * row_block)]
    if both:
        shapes += [(2, row_tile // row_group, span, tile), (row_blocks, span, tile)]
    products: Sequence[jax.Array] = pl.pallas_call(
        functools.partial(_kernel, row_cut, column_cut, depth, both),
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes],
        grid=(row_blocks, blocks, span),
        compiler_params=CompilerParams(num_warps=WARPS[rows[0].dtype.itemsize], num_stages=3),
        interpret=interpret,
        name="two_smallest_products",
    )(*operands)
    return products


def _side_by_side(tile: int, group: int) -> int:
    """Groups of a block: the largest power of two that keeps to its size and divides the groups of a tile."""
    return math.gcd(tile // group, max(1, BLOCK // group))


def _kernel(
    row_cut: tuple[int, int, int],
    column_cut: tuple[int, int, int],
    depth: int,
    both: bool,
    tiles_ref: jax.Ref,
    rows_ref: jax.Ref,
    row_query_ref: jax.Ref,
    *refs: jax.Ref,
) -> None:
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

    def multiply(i: jax.Array, sums_MxC: jax.Array) -> jax.Array:
        line = pl.ds(i * depth, depth)
        return sums_MxC + lax.dot_general(
            rows_ref[row_M, line],
            columns_ref[column_C, line],
            (((1,), (1,)), ((), ())),
            precision=lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )

    def store(
        refs: Sequence[jax.Ref], best: Sequence[jax.Array], block: jax.Array, points: jax.Array, axis: int
    ) -> None:
        keys_ref, dropped_ref = refs
        first, second, third = best
        groups = block * first.shape[axis] + jnp.arange(first.shape[axis], dtype=jnp.int32)
        at = (jnp.expand_dims(groups, 1 - axis), step, jnp.expand_dims(points, axis))
        keys_ref[0, *at] = first
        keys_ref[1, *at] = second
        dropped_ref[block, step, points] = jnp.min(third, axis=axis)

    @pl.when(step >= tiles_ref[2])
    def _() -> None:
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
    def _() -> None:
        nothing = jnp.full((row_M.shape[0], column_cut[2] // column_cut[1]), NONE, jnp.int32)
        store(found[:2], (nothing,) * 3, block, row_place_M, axis=1)
        if both:
            nothing = jnp.full((row_cut[2] // row_cut[1], column_C.shape[0]), NONE, jnp.int32)
            store(found[2:], (nothing,) * 3, row_block, place_C, axis=0)


def _places(block: jax.Array, tile: int, group: int, size: int) -> jax.Array:
    """Places in a tile of the entries of one of its blocks: groups side by side, their members one after the other."""
    entry, groups = jnp.arange(size, dtype=jnp.int32), size // group
    return entry // groups * (tile // group) + block * groups + entry % groups


def _two_smallest(keys: jax.Array, group: int, axis: int) -> list[jax.Array]:
    """The two smallest of each group along an axis, and the third. No two keys of a group are equal."""
    members = (*keys.shape[:axis], group, -1, *keys.shape[axis + 1 :])
    keys = keys.reshape(members)
    found = []
    for _ in range(3):
        least = jnp.min(keys, axis=axis)
        found.append(least)
        keys = jnp.where(keys == jnp.expand_dims(least, axis), NONE, keys)
    return found
