"""Products of tiles of points that never leave the chip: a GPU kernel that keeps the best two of each group.

What `candidates` does to a pair of tiles in three steps, inner products, keys (`pack`) and the two smallest of each
group (`two_smallest`), is one kernel here. Of a million points with a million, products alone are four terabytes to
write and to read again. Given the same products, the results are those of the three steps bit for bit.

    of_rows, of_columns = best_of_tile(points_TxBxD, as_query_TxB, as_key_TxB, row, first, start, span, group)

A program of the grid owns a block of products: of every group of columns it sees, it sees all members, and of every
group of rows. So nothing is handed from program to program, and one product serves both of its points.

The kernel is written twice, in what Pallas compiles for GPUs: for Mosaic GPU (`hopper_products`) and for Triton
(`triton_products`). `kernel_for` chooses. Pallas is loaded on first use: that takes half as long as `import jax`.
"""

import functools
import importlib
import logging
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Literal, cast

import jax
import jax.numpy as jnp

Kernel = Literal["mosaic", "triton"]
# The module of each, best first.
KERNELS: dict[Kernel, str] = {"mosaic": "hopper_products", "triton": "triton_products"}

# Bytes of a row that a kernel multiplies at a time: a line of the cache.
LINE = 128

# Keys (2 · groups, span, B) of the best of each group, and the least key (span, B) dropped in their favor.
Found = tuple[jax.Array, jax.Array]


def kernel_for(dtype: jnp.dtype, tile: int, group: int) -> Kernel | None:
    """The kernel that the GPUs at hand run for points of a type, in tiles cut into groups of such a size.

    The first of: Mosaic GPU, on GPUs of compute capability 9.0, for bfloat16 and tiles of 256 points or a multiple;
    Triton; None, where the ordinary program has to do. A kernel that does not compile, or whose backend the installed
    jax lacks, is passed over with a warning that says why.
    """
    if jax.default_backend() != "gpu":
        return None
    dtype, capabilities = jnp.dtype(dtype), _capabilities()
    for kernel in KERNELS:
        if _module(kernel).fits(dtype, tile, group, capabilities) and _compiles(kernel, dtype, group):
            return kernel
    return None


def _capabilities() -> tuple[str, ...]:
    # Of all processes: their programs have to be the same.
    return tuple(sorted({str(getattr(device, "compute_capability", "")) for device in jax.devices()}))


@functools.cache
def _compiles(kernel: Kernel, dtype: jnp.dtype, group: int) -> bool:
    try:
        _module(kernel).check(dtype, group)
    # Whatever goes wrong in a compiler, there is another way.
    except Exception as error:
        logging.getLogger(__name__).warning(
            "The %s kernel of nearest neighbors does not compile here; another program takes its place: %s",
            kernel,
            f"{type(error).__name__}: {error}".splitlines()[0],
        )
        return False
    return True


def _module(kernel: Kernel) -> ModuleType:
    return importlib.import_module(f"jaxscale.dimension.search.{KERNELS[kernel]}")


def line(points: jax.Array) -> int:
    """Coordinates that a kernel multiplies at a time: a line of the cache, or less where points are shorter."""
    return min(LINE // points.dtype.itemsize, max(16, 1 << (points.shape[-1] - 1).bit_length()))


def whole_lines(points: jax.Array) -> jax.Array:
    """Points (..., D) with zeros appended up to whole lines, which change no product.

    The kernels do it themselves. A caller that runs one in a loop does it once, before the loop: XLA does not move it.
    """
    missing = -points.shape[-1] % line(points)
    return jnp.pad(points, ((0, 0),) * (points.ndim - 1) + ((0, missing),)) if missing else points


def best_of_tile(
    points_TxBxD: jax.Array,
    as_query_TxB: jax.Array,
    as_key_TxB: jax.Array,
    row: jax.Array | int,
    first: jax.Array | int,
    start: jax.Array | int,
    span: int,
    group: int,
    kernel: Kernel | None = None,
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
      kernel: "mosaic" or "triton"; None is that of `kernel_for`, which must not be None.
      interpret: run on any device, slowly.

    Returns:
      For the points of the one tile keys (2 · B // group, span, B), of places in each tile of the span, and the least
      dropped (span, B); then for the points of each tile of the span those of places in the one tile.
    """
    tile = points_TxBxD.shape[1]
    points = (points_TxBxD.reshape(-1, points_TxBxD.shape[2]), as_query_TxB.ravel(), as_key_TxB.ravel())
    of_rows, dropped_rows, of_columns, dropped_columns = _products(kernel, points[0].dtype, tile, group)(
        (row, first, start), points, points, (tile, group), (tile, group), span, interpret
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
    kernel: Kernel | None = None,
    interpret: bool = False,
) -> Found:
    """Some queries, any number, against each of a span of tiles: as the first result of `best_of_tile`."""
    count, tile = queries_BxD.shape[0], points_TxCxD.shape[1]
    points = (points_TxCxD.reshape(-1, points_TxCxD.shape[2]), as_key_TxC.ravel())
    keys, dropped = _products(kernel, queries_BxD.dtype, tile, group)(
        (0, first, 0), (queries_BxD, as_query_B), points, (count, 1), (tile, group), span, interpret
    )
    return _gathered(keys[..., :count], dropped[..., :count])


def _products(kernel: Kernel | None, dtype: jnp.dtype, tile: int, group: int) -> Callable[..., Sequence[jax.Array]]:
    """Products of rows and columns, (points, as_query[, as_key]) and (points[, as_query], as_key), as one kernel.

    It takes the row, the first tile and the tiles to pass over; rows; columns; (tile, group) of each; the span; and
    whether to interpret. It returns keys (2, groups, span, rows) and dropped (parts, span, rows), where rows may be
    padded, then the reverse if there is an as_key of rows.
    """
    products: Callable[..., Sequence[jax.Array]] = _module(
        cast(Kernel, kernel or kernel_for(dtype, tile, group))
    ).products
    return products


def _gathered(keys: jax.Array, dropped: jax.Array) -> Found:
    return keys.reshape(-1, *keys.shape[2:]), jnp.min(dropped, axis=0)
