"""A table of runs as the user has it, read into checked float64 columns."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.forms import Law

FEWEST_ROWS = 4
FEWEST_SIZES = 3


class Runs(NamedTuple):
    """Runs in increasing order of size, then loss, so that no result depends on the order of the rows."""

    size: np.ndarray  # (R,)
    loss: np.ndarray  # (R,)
    names: tuple[str, ...]

    @property
    def size_index(self) -> np.ndarray:
        """For every run, which of the distinct sizes it has, (R,)."""
        return np.unique(self.size, return_inverse=True)[1]


def read(table: Mapping[str, Any] | Sequence[Mapping[str, Any]], law: Law) -> Runs:
    """The runs of `table` with the column that `law` needs.

    Args:
      table: a mapping from column to array, or a list of rows; rows may carry a name under `run`.
      law: which column to read beside `loss`.

    Raises:
      InputError: for a missing column, an entry that is not a positive finite number (the row is named), fewer than 4
        rows, or fewer than 3 distinct sizes.
    """
    (column,) = law.columns
    rows = _rows(table, column)
    names = tuple(str(row.get("run", f"row {index}")) for index, row in enumerate(rows))
    size = np.array([_entry(row, index, column, law) for index, row in enumerate(rows)])
    loss = np.array([_entry(row, index, "loss", law) for index, row in enumerate(rows)])
    if len(rows) < FEWEST_ROWS or len(np.unique(size)) < FEWEST_SIZES:
        raise InputError(
            f"{law.formula} has {len(law.parameters)} parameters; the table has {len(rows)} rows with "
            f"{len(np.unique(size))} distinct values of {column}. "
            f"Pass at least {FEWEST_ROWS} rows with {FEWEST_SIZES} distinct values, better 7 over two decades."
        )
    order = np.lexsort((loss, size))
    return Runs(size[order], loss[order], tuple(names[index] for index in order))


def _rows(table, column: str) -> list[Mapping[str, Any]]:
    if not isinstance(table, Mapping):
        return list(table)
    columns = {name: np.asarray(table[name]) for name in (column, "loss", "run") if name in table}
    lengths = {name: values.shape for name, values in columns.items()}
    if len(set(lengths.values())) > 1 or any(len(shape) != 1 for shape in lengths.values()):
        raise InputError(f"the columns of the table have shapes {lengths}. Pass one-dimensional columns of one length.")
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _entry(row: Mapping[str, Any], index: int, column: str, law: Law) -> float:
    where = f"row {index}" + (f" (run {row['run']})" if "run" in row else "")
    if column not in row:
        raise InputError(f"{where} has no column {column!r}; law {law.name!r} needs {', '.join(law.columns)} and loss.")
    try:
        value = float(row[column])
    except (TypeError, ValueError):
        value = float("nan")
    if not (np.isfinite(value) and value > 0):
        raise InputError(f"{column}={row[column]} in {where} is not a positive finite number. Correct or drop the row.")
    return value
