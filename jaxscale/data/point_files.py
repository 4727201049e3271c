"""Clouds of points in files, (n, D): .npy, .npz, .safetensors, .pt, .csv and .parquet.

points = open_points("embeddings.npy")                      # memory-mapped: nothing is read yet
points = open_points("model.safetensors", "wte.weight")     # one array of several
points = draw_rows(points, 10_000, key=0)                   # reads these rows alone
layers = open_layers("states.npz")                          # a function that reads it, for each layer
points, sequence = as_rows(layers["layer 3"]())             # (B, T, D) as one cloud, and the B of each row
"""

import contextlib
import csv
import pathlib
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

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
      path: a .npy file, which is memory-mapped; a .npz, .safetensors or .pt file, of which one array is read, the
        last by `torch.load(weights_only=True)`; a .csv file of numbers, with a first line of names or without; or a
        .parquet file: one column whose entries are lists, all of one length, or several columns of numbers.
      array: the array's name in a .npz, .safetensors or .pt file; a column's or several columns', apart by commas, in a
        .csv or .parquet file. Can be left out where there is but one choice: for .parquet, the only column of lists,
        or all columns if all are numbers; for .csv, all columns.

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
    with _readable(path, ending):
        points = READERS[ending](path, array)
    if not _is_real(points.dtype):
        raise InputError(f"file={path!r} holds {points.dtype}. Give one (n, D) array of real numbers.")
    return points


@contextlib.contextmanager
def _readable(path: str, ending: str) -> Iterator[None]:
    """Errors of a file that is not what it is called as `InputError`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # each format has errors of its own for a damaged file
        reason = (
            error.strerror if isinstance(error, OSError) and error.strerror else "it is not such a file, or damaged"
        )
        raise InputError(f"file={path!r} cannot be read as {ending}: {reason}. Give a file of points.") from error


def draw_rows(points: np.ndarray, n: int | None, *, key: "jax.Array | int" = 0) -> np.ndarray:
    """`n` rows drawn without replacement, in their order; all of them if there are no more, or for None.

    Args:
      points: (N, D), on disk or in memory.
      n: rows to draw, at least 1.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: an argument cannot be used.
    """
    rows = drawn_rows(len(points), n, key=key)
    return points if rows is None else points[rows]


def drawn_rows(count: int, n: int | None, *, key: "jax.Array | int" = 0) -> np.ndarray | None:
    """The rows of `count` that `draw_rows` draws, ascending; None for all of them."""
    n = None if n is None else integer("n", n, 1)
    seed = numpy_seed("key", key)
    if n is None or count <= n:
        return None
    return np.sort(np.random.default_rng(seed).choice(count, n, replace=False))


def open_layers(path: str, array: str | None = None) -> dict[str, Callable[[], np.ndarray]]:
    """The layers in a file, in order, each as a function that reads it: (n, D), or (B, T, D) hidden states.

    Args:
      path: a .npz or .pt file of several arrays, in the order in which they were saved; a .safetensors file of several,
        in the order of the numbers in their names, as that format sorts them by spelling; or a file of one array
        (L, n, D) or (L, B, T, D), whose first axis they are. Arrays of less than two axes, such as labels, are none.
      array: names of the arrays that are layers, apart by commas, in order; or of the one that holds all.

    Raises:
      InputError: as `open_points`, or if there are no layers.
    """
    ending = pathlib.Path(path).suffix.lower()
    if ending not in NAMES:
        points = open_points(path, array)
        if points.ndim < 3:
            raise InputError(
                f"file={path!r} holds one cloud of shape {points.shape}, and no layers. Layers are several arrays, or "
                "one of shape (L, n, D) or (L, B, T, D). Leave --by layer out."
            )
        return {f"layer {at}": _one_of(points, at) for at in range(len(points))}
    with _readable(path, ending):
        there = NAMES[ending](path)
    names = [name for name, shape in there.items() if len(shape) >= 2] if array is None else array.split(",")
    for name in names:
        _chosen(path, name, list(there))
    if len(names) == 1 and len(there[names[0]]) >= 3:
        points = open_points(path, names[0])
        return {f"layer {at}": _one_of(points, at) for at in range(len(points))}
    if len(names) < 2:
        raise InputError(
            f"file={path!r} holds {len(names)} array{'s' if len(names) != 1 else ''} of points, and no layers: "
            f"{', '.join(f'{name} {shape}' for name, shape in there.items()) or 'nothing'}. Leave --by layer out."
        )
    return {name: _named_array(path, name) for name in names}


def _one_of(points: np.ndarray, at: int) -> Callable[[], np.ndarray]:
    return lambda: points[at]


def _named_array(path: str, name: str) -> Callable[[], np.ndarray]:
    return lambda: open_points(path, name)


def as_rows(points: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Hidden states (B, T, D) as (B·T, D) rows, and the sequence (B·T,) of each; (n, D) as it is, and None."""
    if points.ndim != 3:
        return points, None
    batch, length, width = points.shape
    return points.reshape(batch * length, width), np.repeat(np.arange(batch, dtype=np.int32), length)


def open_groups(groups: str, path: str, rows: int) -> np.ndarray:
    """The group (rows,) int32 that each row of a file of points is from, counted from zero.

    Args:
      groups: a file of one label per row: .npy, .npz, .safetensors, .pt or .parquet of one array or column, or of any
        other ending a line a label; or the name of an array or column in `path` that holds labels.
      path: the file of points.
      rows: how many there are.

    Raises:
      InputError: if there is neither such a file nor such a name, or labels are not one per row.
    """
    ending = pathlib.Path(groups).suffix.lower()
    if pathlib.Path(groups).is_file():
        with _readable(groups, ending):
            if ending in READERS and ending != ".csv":
                labels = _labels(groups, None)
            else:
                labels = np.array(pathlib.Path(groups).read_text(encoding="utf-8").split("\n"))
                labels = labels[:-1] if len(labels) and labels[-1] == "" else labels
                # A first line that names the column is one too many.
                labels = labels[1:] if len(labels) == rows + 1 else labels
    else:
        with _readable(path, pathlib.Path(path).suffix.lower()):
            labels = _labels(path, groups)
    labels = np.asarray(labels).reshape(-1) if np.ndim(labels) == 2 and 1 in np.shape(labels) else np.asarray(labels)
    if labels.shape != (rows,):
        raise InputError(
            f"groups={groups!r} must hold one label for each of the {rows} rows of {path!r}; "
            f"it has shape {labels.shape}."
        )
    return np.unique(labels, return_inverse=True)[1].astype(np.int32)


def columns_but(path: str, name: str) -> str | None:
    """The columns of a .csv file without `name`, apart by commas; None if it is no such file, or has no such column."""
    if pathlib.Path(path).suffix.lower() != ".csv":
        return None
    with _readable(path, ".csv"):
        names, _ = _csv_cells(path)
    return ",".join(one for one in names if one != name) if name in names else None


def _labels(path: str, name: str | None) -> np.ndarray:
    """One array or column of any type."""
    ending = pathlib.Path(path).suffix.lower()
    if ending == ".parquet":
        arrow = _pyarrow(path)
        there = arrow.parquet.read_schema(path).names
        column: np.ndarray = (
            arrow.parquet.read_table(path, columns=[_group_name(path, name, there)]).column(0).to_numpy()
        )
        return column
    if ending == ".csv":
        names, cells = _csv_cells(path)
        labels: np.ndarray = np.array([row[names.index(_group_name(path, name, names))] for row in cells])
        return labels
    if ending == ".npy":
        if name is not None:
            raise InputError(
                f"groups={name!r} is no file, and file={path!r} is a .npy file, which holds points alone. "
                "Give a file of labels."
            )
        return np.asarray(np.load(path, allow_pickle=False))
    there = list(NAMES[ending](path)) if ending in NAMES else []
    return READERS[ending](path, _group_name(path, name, there))


def _group_name(path: str, name: str | None, there: Sequence[str]) -> str:
    if name is None and len(there) == 1:
        return there[0]
    if name is not None and name in there:
        return name
    raise InputError(
        f"groups={name or path!r} is no file, and no array or column of file={path!r}, which has "
        f"{', '.join(there[:20]) or 'none'}. Give a file with one label per row, or one of these names."
    )


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


def _pt(path: str, array: str | None) -> np.ndarray:
    from jaxscale.dimension.points import as_array

    tensors = _tensors(path)
    chosen = as_array(tensors[_chosen(path, array, list(tensors))])
    return np.asarray(chosen)


def _tensors(path: str) -> dict[str, Any]:
    """The tensors in a .pt file by name: those of a mapping, those of a list by their places, or the only one."""
    open(path, "rb").close()
    try:
        import torch
    except ImportError:
        raise InputError(
            f"file={path!r} needs PyTorch to be read. Install it with: pip install torch; or save its tensors by "
            "safetensors.torch.save_file, or as numpy.savez(..., x=tensor.numpy())."
        ) from None
    # Nothing but tensors: a pickle can run what it likes.
    found = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(found, list | tuple):
        found = {str(place): one for place, one in enumerate(found)}
    if not isinstance(found, dict):
        found = {"tensor": found}
    return {str(name): one for name, one in found.items() if hasattr(one, "detach")}


def _csv(path: str, array: str | None) -> np.ndarray:
    names, cells = _csv_cells(path)
    chosen = (
        range(len(names)) if array is None else [names.index(_chosen(path, one, names)) for one in array.split(",")]
    )
    try:
        return np.array([[float(row[at] or "nan") for at in chosen] for row in cells])
    except ValueError:
        texts = [names[at] for at in chosen if any(not _is_number(row[at]) for row in cells)]
        raise InputError(
            f"file={path!r}: columns {', '.join(texts[:20])} hold no numbers. Name those that do with --array a,b,c."
        ) from None


def _csv_cells(path: str) -> tuple[list[str], list[list[str]]]:
    """Names of the columns, their numbers where the first line holds numbers, and the cells of every row."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        lines = [line for line in csv.reader(file) if line]
    if not lines:
        raise InputError(f"file={path!r} is empty. Give a file of points.")
    has_names = not any(map(_is_number, lines[0]))
    names = [name.strip() for name in lines[0]] if has_names else [str(at) for at in range(len(lines[0]))]
    cells = lines[has_names:]
    for place, row in enumerate(cells, 1 + has_names):
        if len(row) != len(names):
            raise InputError(f"file={path!r}: line {place} has {len(row)} cells, the first {len(names)}. Correct it.")
    return names, cells


def _is_number(cell: str) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _npz_names(path: str) -> dict[str, tuple[int, ...]]:
    """Shapes by name, from the headers alone, in the order in which arrays were saved."""
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shapes[member.removesuffix(".npy")] = read(file)[0]
    return shapes


def _safetensors_names(path: str) -> dict[str, tuple[int, ...]]:
    open(path, "rb").close()
    import safetensors

    with safetensors.safe_open(path, framework="numpy") as tensors:
        shapes = {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    return {name: shapes[name] for name in sorted(shapes, key=_by_numbers)}


def _by_numbers(name: str) -> list[tuple[int, str]]:
    """`layer.2` before `layer.10`."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _pt_names(path: str) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in _tensors(path).items()}


def _pyarrow(path: str) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError(
            f"file={path!r} needs the package 'pyarrow'. Install it with: pip install 'jaxscale[parquet]'."
        ) from None
    return pyarrow


def _parquet(path: str, array: str | None) -> np.ndarray:
    arrow = pyarrow = _pyarrow(path)
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
    ".pt": _pt,
    ".csv": _csv,
    ".parquet": _parquet,
}
# Of those that hold arrays by name: their shapes, in order.
NAMES: dict[str, Callable[[str], dict[str, tuple[int, ...]]]] = {
    ".npz": _npz_names,
    ".safetensors": _safetensors_names,
    ".pt": _pt_names,
}
