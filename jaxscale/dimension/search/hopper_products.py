"""The kernel of `fused_products` in Pallas for Mosaic GPU: bfloat16, on the matrix units of compute capability 9.0.

Three warpgroups share a block of 128 rows and 256 columns. One fetches their coordinates, a line of the cache at a
time; the other two multiply, each for 64 of the rows. A warpgroup's matrix unit leaves a row's products of columns that
are a multiple of 8 apart with the same thread. So the columns are laid out with the members of a group that far apart,
and the best of each group of columns are found without a word between threads. For groups of rows the keys go through
shared memory once, half the columns at a time.

Operands and results are in the order of blocks: (blocks, members of a group, groups of a block). Points of columns come
from where they are: what is fetched at a time is eight or more neighboring points of each member.

float32 has no such products: the matrix unit rounds its factors to 11 bits. Mosaic GPU's interface here is that of jax
0.12; older versions have a Triton backend that is not deprecated.
"""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.dimension.search.fused_products import line, whole_lines
from jaxscale.dimension.search.selection import NONE, three_smallest, with_place

ROWS, COLUMNS = 128, 256
# Rows of a warpgroup's matrix unit, and warpgroups that multiply.
OWN, MULTIPLIERS = 64, 2
# Columns whose keys are in shared memory at a time, and columns of padding: rows then begin in different banks.
PART, PADDING = 128, 8
# Blocks of coordinates in flight: with the keys they fill the shared memory of a processor.
STAGES = 3


def fits(dtype: jnp.dtype, tile: int, group: int, capabilities: tuple[str, ...]) -> bool:
    """Whether the kernel is meant for such points, on GPUs of these compute capabilities."""
    # Of smaller groups a block holds more, and their best do not fit the registers.
    return (
        jax.__version_info__ >= (0, 12)
        and dtype == jnp.bfloat16
        and tile % COLUMNS == 0
        and group in (8, 16, 32)
        and capabilities == ("9.0",)
    )


def check(dtype: jnp.dtype, group: int) -> None:
    """Compiles the kernel for one tile; raises whatever keeps it from compiling."""
    points = jax.ShapeDtypeStruct((COLUMNS, 64), dtype)
    half_norms = jax.ShapeDtypeStruct((COLUMNS,), jnp.float32)

    def one_tile(points: jax.Array, as_query: jax.Array, as_key: jax.Array) -> tuple[jax.Array, ...]:
        rows, groups = (points, as_query, as_key), (COLUMNS, group)
        return products((0, 0, 0), rows, rows, groups, groups, span=1, interpret=False)

    jax.jit(one_tile).lower(points, half_norms, half_norms).compile()


def products(
    tiles: Sequence[jax.Array | int],
    rows: Sequence[jax.Array],
    columns: Sequence[jax.Array],
    row_groups: tuple[int, int],
    column_groups: tuple[int, int],
    span: int,
    interpret: bool,
) -> tuple[jax.Array, ...]:
    """As `fused_products._products` says."""
    plgpu = _mosaic_gpu()

    both = len(rows) == 3
    (row_tile, row_group), (tile, group) = row_groups, column_groups
    row, first, start = (jnp.asarray(number, jnp.int32) for number in tiles)
    depth = line(rows[0])
    # Rows, of one tile, are few: they are copied into the order of blocks, and queries filled up to whole ones.
    row_blocks = -(-row_tile // ROWS)
    by_rows: Callable[[jax.Array], jax.Array] = lambda x: _exchanged(
        _filled(x, -row_tile % ROWS), 0, row_group, row_blocks
    )
    of_row = [lax.dynamic_slice_in_dim(x, row * row_tile, row_tile) for x in rows]
    of_row = [by_rows(x) for x in (whole_lines(of_row[0]), *of_row[1:], jnp.arange(row_tile, dtype=jnp.int32))]
    # Half norms (span, tile) of the columns as well; their points (tiles · group, tile // group, D) are not.
    blocks = tile // COLUMNS
    by_columns: Callable[[jax.Array], jax.Array] = lambda x: _exchanged(x.reshape(-1, tile), 1, group, blocks)
    of_span = [by_columns(lax.dynamic_slice_in_dim(x, first * tile, span * tile)) for x in columns[1:]]
    of_span.append(by_columns(jnp.arange(tile, dtype=jnp.int32))[0])
    points = whole_lines(columns[0])
    operands = [jnp.stack([first, start]), *of_row, points.reshape(-1, tile // group, points.shape[1]), *of_span]

    whole = row_blocks * ROWS
    shapes = [(2, span, whole, tile // group), (blocks, span, whole)]
    scratch = []
    if both:
        shapes += [(2, span, row_tile // row_group, tile), (row_blocks * MULTIPLIERS, span, tile)]
        scratch = [plgpu.SMEM((ROWS, PART + PADDING), jnp.int32), plgpu.Barrier(num_arrivals=MULTIPLIERS)]
    found = plgpu.kernel(
        functools.partial(_kernel, row_groups, column_groups, depth, both, bool(interpret)),
        out_type=[jax.ShapeDtypeStruct(shape, jnp.int32) for shape in shapes],
        scratch_types=scratch,
        # Blocks of rows that meet the same columns run side by side.
        grid=(span, blocks, row_blocks),
        grid_names=("step", "block", "row_block"),
        num_threads=MULTIPLIERS + 1,
        thread_name="warpgroup",
        compiler_params=plgpu.CompilerParams(lowering_semantics=plgpu.LoweringSemantics.Lane),
        interpret=plgpu.InterpretGPUParams(detect_races=True) if interpret else None,
        kernel_name="two_smallest_products",
    )(*operands)
    passed_over = (jnp.arange(span) < start)[:, None]
    found = [jnp.where(passed_over if x.ndim == 3 else passed_over[..., None], NONE, x) for x in found]
    keys, dropped = (_exchanged(x, 2, row_blocks, row_group) for x in found[:2])
    back = [_exchanged(x, x.ndim - 1, blocks, group) for x in found[2:]]
    # (2, span, rows, groups) and, of columns, (2, span, groups, columns).
    return (jnp.moveaxis(keys, 3, 1), dropped, *(jnp.moveaxis(x, 2, 1) if x.ndim == 4 else x for x in back))


def _mosaic_gpu() -> Any:
    # Not imported by name: a type checker would judge the calls by the jax it sees, which may be an older one.
    return importlib.import_module("jax.experimental.pallas.mosaic_gpu")


def _exchanged(x: jax.Array, axis: int, outer: int, inner: int) -> jax.Array:
    """An axis of (outer, inner, rest) entries as one of (inner, outer, rest)."""
    parts = x.reshape(*x.shape[:axis], outer, inner, -1, *x.shape[axis + 1 :])
    return jnp.swapaxes(parts, axis, axis + 1).reshape(x.shape)


def _filled(x: jax.Array, more: int) -> jax.Array:
    return jnp.pad(x, ((0, more), *((0, 0),) * (x.ndim - 1))) if more else x


def _kernel(
    row_groups: tuple[int, int],
    column_groups: tuple[int, int],
    depth: int,
    both: bool,
    interpret: bool,
    start_ref: jax.Ref,
    rows_ref: jax.Ref,
    *refs: jax.Ref,
) -> None:
    """One block of products, unless its tile of the span is passed over."""
    from jax.experimental import pallas as pl

    plgpu = _mosaic_gpu()

    if both:
        row_query_ref, row_key_ref, row_place_ref, columns_ref, column_query_ref, column_key_ref, *rest = refs
        place_ref, keys_ref, dropped_ref, back_ref, back_dropped_ref, exchange_ref, full_ref = rest
    else:
        row_query_ref, row_place_ref, columns_ref, column_key_ref, place_ref, keys_ref, dropped_ref = refs
    (row_tile, row_group), (tile, group) = row_groups, column_groups
    # Groups of a block, side by side.
    side, row_side = COLUMNS // group, ROWS // row_group
    step, block, row_block = (lax.axis_index(name) for name in ("step", "block", "row_block"))
    warpgroup = lax.axis_index("warpgroup")
    own = pl.ds(row_block * ROWS + warpgroup * OWN, OWN)
    wgmma, strided = plgpu.Layout.WGMMA, plgpu.Layout.WG_STRIDED((PART,), vec_size=1)

    def along_rows(ref: jax.Ref, width: int) -> jax.Array:
        values = plgpu.load(ref.at[own], layout=wgmma.reduce(1), optimized=False)
        return lax.broadcast_in_dim(values, (OWN, width), (0,))

    def along_columns(ref: jax.Ref, begin: int, width: int) -> jax.Array:
        values = plgpu.load(ref.at[pl.ds(block * COLUMNS + begin, width)], layout=wgmma.reduce(0), optimized=False)
        return lax.broadcast_in_dim(values, (OWN, width), (1,))

    def nothing(shape: tuple[int, ...], layout: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        return (plgpu.layout_cast(jnp.full(shape, NONE, jnp.int32), layout),) * 3

    def store(ref: jax.Ref, values: jax.Array) -> None:
        plgpu.store(ref, values, optimized=False)

    def best_of_rows(products_MxC: jax.Array) -> None:
        of_rows = along_rows(row_query_ref, side)
        best = nothing((OWN, side), wgmma)
        for member in range(group):
            begin = member * side
            half_norms = of_rows + along_columns(column_key_ref.at[step], begin, side)
            scores = half_norms - products_MxC[:, begin : begin + side]
            best = three_smallest(best, with_place(scores, along_columns(place_ref, begin, side), tile))
        store(keys_ref.at[0, step, own, pl.ds(block * side, side)], best[0])
        store(keys_ref.at[1, step, own, pl.ds(block * side, side)], best[1])
        store(dropped_ref.at[block, step, own], jnp.min(best[2], axis=1))

    def best_of_columns(products_MxC: jax.Array) -> None:
        of_rows, row_places = along_rows(row_key_ref, PART), along_rows(row_place_ref, PART)
        for begin in range(0, COLUMNS, PART):
            half_norms = of_rows + along_columns(column_query_ref.at[step], begin, PART)
            scores = half_norms - products_MxC[:, begin : begin + PART]
            mine = exchange_ref.at[pl.ds(warpgroup * OWN, OWN), pl.ds(0, PART)]
            plgpu.store(mine, with_place(scores, row_places, row_tile))
            meet()
            at = pl.ds(block * COLUMNS + begin, PART)
            dropped = nothing((PART,), strided)[0]
            for i in range(row_side // MULTIPLIERS):
                one = warpgroup * (row_side // MULTIPLIERS) + i
                best = nothing((PART,), strided)
                for member in range(row_group):
                    keys = plgpu.load(exchange_ref.at[member * row_side + one, pl.ds(0, PART)], layout=strided)
                    best = three_smallest(best, keys)
                store(back_ref.at[0, step, row_block * row_side + one, at], best[0])
                store(back_ref.at[1, step, row_block * row_side + one, at], best[1])
                dropped = jnp.minimum(dropped, best[2])
            store(back_dropped_ref.at[row_block * MULTIPLIERS + warpgroup, step, at], dropped)
            meet()

    def meet() -> None:
        # Both warpgroups have written what the other reads; have read what the other overwrites.
        plgpu.barrier_arrive(full_ref)
        plgpu.barrier_wait(full_ref)

    def multiply(_: tuple[jax.Array, ...], rows_smem: jax.Ref, columns_smem: Any, sums_ref: jax.Ref) -> jax.Ref:
        rows = rows_smem.at[pl.ds(warpgroup * OWN, OWN)]
        if interpret:
            # The interpreter reshapes nothing.
            for member in range(group):
                part = sums_ref.at[:, pl.ds(member * side, side)]
                plgpu.wgmma(part, rows, columns_smem.at[member].transpose((1, 0)))
        else:
            plgpu.wgmma(sums_ref, rows, columns_smem.reshape(COLUMNS, depth).transpose((1, 0)))
        plgpu.wgmma_wait(0)
        return sums_ref

    def reduce(run: Callable[[jax.Ref], object]) -> None:
        def sums(sums_ref: jax.Ref) -> jax.Array:
            run(sums_ref)
            sums_MxC: jax.Array = sums_ref[...]
            return sums_MxC

        products_MxC = pl.run_scoped(sums, plgpu.ACC((OWN, COLUMNS), jnp.float32))
        best_of_rows(products_MxC)
        if both:
            best_of_columns(products_MxC)

    def operand(shape: tuple[int, ...], tiling: tuple[int, ...]) -> Any:
        transforms = (plgpu.TilingTransform(tiling), plgpu.SwizzleTransform(2 * depth))
        return plgpu.BlockSpec(shape, lambda i: (0,) * (len(shape) - 1) + (i,), transforms=transforms)

    @pl.when(step >= start_ref[1])
    def _() -> None:
        plgpu.emit_pipeline_warp_specialized(
            multiply,
            grid=(rows_ref.shape[1] // depth,),
            memory_registers=40,
            in_specs=[operand((ROWS, depth), (8, depth)), operand((group, side, depth), (1, 8, depth))],
            wg_axis="warpgroup",
            num_compute_wgs=MULTIPLIERS,
            max_concurrent_steps=STAGES,
            compute_context=reduce,
        )(
            rows_ref.at[pl.ds(row_block * ROWS, ROWS)],
            columns_ref.at[pl.ds((start_ref[0] + step) * group, group), pl.ds(block * side, side)],
        )
