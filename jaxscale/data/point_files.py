"""Clouds of points in files, (n, D): .npy, .npz, .safetensors and .parquet.

points = open_points("embeddings.npy")                      # memory-mapped: nothing is read yet
points = open_points("model.safetensors", "wte.weight")     # one array of several
points = draw_rows(points, 10_000, key=0)                   # reads these rows alone
"""

import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxscale.arguments import integer, numpy_seed
from jaxscale.errors import InputError

if TYPE_CHECKING:
    import jax
    import pyarrow

# Rows looked at in one step.
ROWS_AT_ONCE = 1 << 14


def open_points(path: str, array: str | None = None) -> np.ndarray:
    """The array in a file, its kind told by the ending of its name.

    Args:
      path: a .npy file, which is memory-mapped; a .npz or .safetensors file, of which one array is read; or a .parquet
        file: one column whose entries are lists, all of one length, or several columns of numbers.
      array: the array's name in a .npz or .safetensors file, a column's or several columns', apart by commas, in a
        .parquet file. Can be left out where there is but one choice: for .parquet, the only column of lists, or all
        columns if all are numbers.

    Returns:
      An array of real numbers of the type in the file, bfloat16 included; missing entries of columns are nan.

    Raises:
      InputError: if the file cannot be read, does not hold `array`, leaves a choice, or holds no real numbers.
    """
    ending = pathlib.Path(path).suffix.lower()
    if ending not in READERS:
        raise InputError(
            f"file={path!r} must end in {', '.join(READERS)}, which says how to read it. Rename or convert it."
        )
    try:
        points = READERS[ending](path, array)
    except InputError:
        raise
    except Exception as error:  # each format has errors of its own for a damaged file
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else "it is not such a file, or damaged"
        )
        raise InputError(f"file={path!r} cannot be read as {ending}: {reason}. Give a file of points.") from error
    if not _is_real(points.dtype):
        raise InputError(f"file={path!r} holds {points.dtype}. Give one (n, D) array of real numbers.")
    return points


def draw_rows(points: np.ndarray, n: int | None, *, key: "jax.Array | int" = 0) -> np.ndarray:
    """`n` rows drawn without replacement, in their order; all of them if there are no more, or for None.

    Args:
      points: (N, D), on disk or in memory.
      n: rows to draw, at least 1.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: an argument cannot be used.
    """
    n = None if n is None else integer("n", n, 1)
    seed = numpy_seed("key", key)
    if n is None or len(points) <= n:
        return points
    drawn = np.random.default_rng(seed).choice(len(points), n, replace=False)
    return points[np.sort(drawn)]


def check_points(points: np.ndarray, k: int, metric: str = "euclidean", nonfinite: str = "raise") -> None:
    """Raises InputError, as measuring would, if `points` are no cloud of more than `k` points that can be used.

    Rows are read a few at a time. Whether there are enough distinct ones is not looked at.
    """
    from jaxscale.dimension.points import check_cloud, refuse_rows

    check_cloud(points, "x")
    if len(points) <= k:
        raise InputError(
            f"k={k} needs more than {k} points; x has shape {points.shape}. Pass a smaller k or more points."
        )
    if nonfinite == "drop":
        return
    finite, zero = np.ones(len(points), bool), np.zeros(len(points), bool)
    for first in range(0, len(points), ROWS_AT_ONCE):
        rows = slice(first, first + ROWS_AT_ONCE)
        part = np.asarray(points[rows])
        finite[rows], zero[rows] = np.all(np.isfinite(part), axis=1), ~np.any(part != 0, axis=1)
    refuse_rows(~finite, "x", "with nan or infinity", "Clean them, or pass nonfinite='drop'.")
    if metric == "cosine":
        refuse_rows(zero, "x", "of zeros, which have no direction", "Drop them, or pass nonfinite='drop'.")


def _npy(path: str, array: str | None) -> np.ndarray:
    if array is not None:
        raise InputError(
            f"array={array!r} cannot be chosen: file={path!r} is a .npy file, which holds one. Leave it out."
        )
    points = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(points, np.ndarray):
        raise InputError(f"file={path!r} holds an archive of arrays. Name it .npz.")
    return points


def _npz(path: str, array: str | None) -> np.ndarray:
    if not zipfile.is_zipfile(path):
        open(path, "rb").close()  # a file that is not there says so itself
        raise ValueError("not an archive")
    with np.load(path, allow_pickle=False) as arrays:
        chosen: np.ndarray = arrays[_chosen(path, array, arrays.files)]
        return chosen


def _safetensors(path: str, array: str | None) -> np.ndarray:
    open(path, "rb").close()
    import ml_dtypes  # noqa: F401  teaches NumPy bfloat16
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as tensors:
        chosen: np.ndarray = tensors.get_tensor(_chosen(path, array, list(tensors.keys())))
        return chosen


def _parquet(path: str, array: str | None) -> np.ndarray:
    try:
        import pyarrow as arrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"file={path!r} needs the package 'pyarrow'. Install it with: pip install 'jaxscale[parquet]'."
        ) from None

    schema = pyarrow.parquet.read_schema(path)
    kinds = {name: schema.field(name).type for name in schema.names}
    is_list: Callable[[str], bool] = lambda name: any(
        test(kinds[name]) for test in (arrow.types.is_list, arrow.types.is_large_list, arrow.types.is_fixed_size_list)
    )
    is_number: Callable[[str], bool] = lambda name: (
        arrow.types.is_floating(kinds[name]) or arrow.types.is_integer(kinds[name])
    )
    lists = list(filter(is_list, kinds))
    if array is not None:
        names = [_chosen(path, name, schema.names) for name in array.split(",")]
    elif len(lists) == 1:
        names = lists
    elif kinds and all(map(is_number, kinds)):
        names = schema.names
    else:
        names = [_chosen(path, None, schema.names)]
    table = pyarrow.parquet.read_table(path, columns=names)
    if len(names) == 1 and is_list(names[0]):
        return _stacked(path, names[0], table.column(0).combine_chunks())
    other = [name for name in names if not is_number(name)]
    if other:
        raise InputError(
            f"file={path!r}: columns {', '.join(other)} hold no numbers. "
            "Choose one column of lists, or columns of numbers."
        )
    return np.column_stack([table.column(name).to_numpy() for name in names])


def _stacked(path: str, name: str, column: "pyarrow.ListArray") -> np.ndarray:
    """The rows of a column of lists, which must be of one length."""
    import pyarrow.compute

    lengths = pyarrow.compute.list_value_length(column)
    shortest, longest = pyarrow.compute.min_max(lengths).as_py().values()
    if column.null_count or shortest != longest:
        missing = f"{column.null_count} rows have none, the others" if column.null_count else "they"
        raise InputError(
            f"file={path!r}: the lists of column {name!r} must be of one length; "
            f"{missing} have {shortest} to {longest} "
            "entries. Choose another column."
        )
    rows: np.ndarray = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
    return rows


def _chosen(path: str, array: str | None, names: Sequence[str]) -> str:
    if array is None and len(names) == 1:
        return names[0]
    if array is not None and array in names:
        return array
    has = f"it has {', '.join(names[:20])}{', …' if len(names) > 20 else ''}" if names else "it is empty"
    wrong = f"array={array!r} is not in file={path!r}" if array is not None else f"file={path!r} leaves a choice"
    raise InputError(f"{wrong}: {has}. Name one with --array.")


def _is_real(dtype: np.dtype) -> bool:
    import jax.numpy as jnp

    return any(jnp.issubdtype(dtype, kind) for kind in (jnp.floating, jnp.integer, jnp.bool_))


READERS: dict[str, Callable[[str, str | None], np.ndarray]] = {
    ".npy": _npy,
    ".npz": _npz,
    ".safetensors": _safetensors,
    ".parquet": _parquet,
}
