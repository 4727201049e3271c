"""A table of runs as the user has it, read into checked float64 columns, with what its rows share."""

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.law import Law

# A code and a sentence.
Finding = tuple[str, str]


class DataFrame(Protocol):
    """What is asked of a data frame, such as one of pandas: columns by name."""

    @property
    def columns(self) -> Any: ...

    def __getitem__(self, name: str, /) -> Any: ...


# Columns by name, rows, or a data frame.
Table = Mapping[str, np.typing.ArrayLike] | Sequence[Mapping[str, Any]] | DataFrame

# What follows from other columns where it is not in the table: C = 6 N D (Kaplan et al. 2020), tokens per parameter.
_DERIVED: dict[str, tuple[tuple[str, str], str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "C": (("N", "D"), "6 N D", lambda N, D: 6 * N * D),
    "D": (("N", "C"), "C / (6 N)", lambda N, C: C / (6 * N)),
    "N": (("D", "C"), "C / (6 D)", lambda D, C: C / (6 * D)),
    "M": (("N", "D"), "D / N", lambda N, D: D / N),
}
_GROUP_COLUMNS = ("curve", "group")  # asked for by their names
SAME_SIZE = 1e-6  # sizes that differ by less, relatively, are one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs in the order of their columns, then of their losses, so that no result depends on the order of the rows.

    Attributes:
      columns: (R,) values of every column the law reads.
      loss: (R,).
      weight: (R,) of each run in the objective.
      names: of the runs.
      group: (R,) which group each run is in, or None where runs are taken as independent.
      group_by: what a group is, in words.
      findings: what the table itself gives reason to doubt.
    """

    columns: dict[str, np.ndarray]
    loss: np.ndarray
    weight: np.ndarray
    group: np.ndarray | None
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    group_by: str = dataclasses.field(metadata={"static": True})
    findings: tuple[Finding, ...] = dataclasses.field(metadata={"static": True})

    def __len__(self) -> int:
        return len(self.loss)

    @property
    def values(self) -> tuple[np.ndarray, ...]:
        """The columns in the order of the law."""
        return tuple(self.columns.values())

    @property
    def groups(self) -> int:
        """How many groups there are; the runs themselves where they are independent."""
        return len(self) if self.group is None else int(self.group.max()) + 1

    def size_index(self, column: str) -> np.ndarray:
        """For every run, which of the distinct values of `column` it has, (R,)."""
        return _index(self.columns[column])


def read(
    table: Table, law: Law, weights: str | None = None, groups: str | None = "auto", free: int | None = None
) -> Runs:
    """The runs of `table` with the columns that `law` needs.

    Args:
      table: a mapping from column to array, a list of rows, or a data frame. Needs `loss` and the law's columns; C, D,
        N and M = D/N are computed from one another where they are not there. Rows may be named under `run`.
      law: which columns to read beside `loss`.
      weights: the column of weights, if any.
      groups: the column whose equal values mark runs that err together; None for none; "auto" for the first of: a run
        named in several rows (a learning curve), a column `curve` or `group`, a column of the law with repeated values.
      free: how many parameters are to be fitted; all of the law where None.

    Raises:
      InputError: for a missing column, an entry that is not a positive finite number (the row is named), fewer rows or
        points than parameters, or a column that never varies.
    """
    cells = _cells(table)
    rows = len(next(iter(cells.values()), ()))
    names = tuple(str(name) for name in cells["run"]) if "run" in cells else tuple(f"row {i}" for i in range(rows))
    place = lambda row: f"row {row} (run {names[row]})" if "run" in cells else f"row {row}"
    needed = (*law.columns, "loss")
    columns, findings = {}, []
    for column in law.columns:
        columns[column], derived = _column(cells, column, needed, place)
        findings += derived
    loss = _numbers(_found(cells, "loss", needed), "loss", place)
    weight = np.ones(rows) if weights is None else _numbers(_found(cells, weights, needed), weights, place)
    free = len(law.coordinates) if free is None else free
    _refuse_too_few(columns, loss, law, free)
    group, group_by = _groups(cells, columns, groups)
    if group is not None and group.max() + 1 <= free:
        findings.append(
            (
                "few_groups",
                f"{group.max() + 1} groups by {group_by} are no more than the {free} parameters, so "
                "the error they share cannot be seen: runs are taken as independent, and intervals may be too narrow.",
            )
        )
        group = None
    order = np.lexsort((loss, *reversed(columns.values())))
    findings += _duplicates(columns, loss, names)
    return Runs(
        columns={name: values[order] for name, values in columns.items()},
        loss=loss[order],
        weight=weight[order],
        names=tuple(names[i] for i in order),
        group=None if group is None else _index_of(group[order]),
        group_by=group_by if group is not None else "",
        findings=tuple(findings),
    )


def _cells(table: Table) -> dict[str, np.ndarray]:
    """Columns of whatever the table is; a cell a row lacks is None."""
    if isinstance(table, Mapping) or hasattr(table, "columns"):
        source = table if isinstance(table, Mapping) else {name: table[name] for name in table.columns}
        cells = {str(name): np.asarray(values) for name, values in source.items()}
        shapes = {name: values.shape for name, values in cells.items()}
        if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
            raise InputError(
                f"the columns of the table have shapes {shapes}. Pass one-dimensional columns of one length."
            )
        return cells
    if isinstance(table, (str, bytes)) or not isinstance(table, Sequence):
        raise InputError(
            f"table is a {type(table).__name__}. Pass a mapping of columns, a list of rows or a data frame."
        )
    if not all(isinstance(row, Mapping) for row in table):
        odd = next(row for row in table if not isinstance(row, Mapping))
        raise InputError(f"table holds {odd!r}, which is no row. Pass rows as mappings from column to value.")
    names = dict.fromkeys(name for row in table for name in row)
    return {name: np.array([row.get(name) for row in table], dtype=object) for name in names}


def sources_of(column: str) -> tuple[str, ...]:
    """The columns that a column may be computed from."""
    return _DERIVED[column][0] if column in _DERIVED else ()


def derived(column: str, given: Mapping[str, float]) -> float | None:
    """A column computed from numbers of others as `read` does; None where it cannot be."""
    if column not in _DERIVED or not all(source in given for source in sources_of(column)):
        return None
    _, _, compute = _DERIVED[column]
    return float(compute(*(np.asarray(given[source], float) for source in sources_of(column))))


def columns_of(table: Table) -> dict[str, np.ndarray]:
    """Columns of a table of any kind, cells as they are."""
    return _cells(table)


def numbers(table: Table, columns: Sequence[str], labels: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """Columns of a table of any kind: positive numbers, computed from others as `read` does, and labels as text.

    Raises:
      InputError: for a missing column or an entry that is not a positive finite number.
    """
    cells = _cells(table)
    found = {name: np.array([str(label) for label in _found(cells, name, (*columns, *labels))]) for name in labels}
    place = lambda row: f"row {row}"
    return found | {name: _column(cells, name, columns, place)[0] for name in columns}


def _found(cells: Mapping[str, np.ndarray], column: str, needed: Sequence[str]) -> np.ndarray:
    if not isinstance(column, str):
        raise InputError(f"{column!r} is not the name of a column. Name one of {', '.join(cells)}.")
    if column in cells:
        return cells[column]
    near = difflib.get_close_matches(column, cells, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(
        f"the table has no column {column!r}{hint} Needed: {', '.join(needed)}; "
        f"the table has {', '.join(cells) or 'none'}."
    )


def _column(
    cells: Mapping[str, np.ndarray], column: str, needed: Sequence[str], place: Callable[[int], str]
) -> tuple[np.ndarray, list[Finding]]:
    if column in cells or column not in _DERIVED or not all(name in cells for name in _DERIVED[column][0]):
        return _numbers(_found(cells, column, needed), column, place), []
    sources, formula, compute = _DERIVED[column]
    values = compute(*(_numbers(cells[name], name, place) for name in sources))
    return values, [("derived_column", f"The table has no column {column}; it was computed as {formula}.")]


def _numbers(values: np.ndarray, column: str, place: Callable[[int], str]) -> np.ndarray:
    """Positive finite numbers, or an error that names the first cell that is not one."""
    numbers = np.full(len(values), np.nan)
    for row, cell in enumerate(values):
        with contextlib.suppress(TypeError, ValueError):
            numbers[row] = float(cell)
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    if bad.any():
        row = int(np.argmax(bad))
        others = f" So are {bad.sum() - 1} more cells of {column}." if bad.sum() > 1 else ""
        raise InputError(
            f"{column}={values[row]} in {place(row)} is not a positive finite number. Correct or drop the row.{others}"
        )
    return numbers


def _refuse_too_few(columns: Mapping[str, np.ndarray], loss: np.ndarray, law: Law, needed: int) -> None:
    points = np.unique(np.stack(list(columns.values())), axis=1).shape[1]
    if len(loss) <= needed or points < needed:
        raise InputError(
            f"{law.formula} has {needed} parameters; the table has {len(loss)} rows at {points} distinct points. "
            f"Pass at least {needed + 1} rows at {needed} points, better many more over two decades."
        )
    for column, values in columns.items():
        if _index(values).max() == 0:
            raise InputError(
                f"all {len(values)} runs have {column}={values[0]:g}; nothing can be fitted along a column that never "
                "varies. Add runs of other sizes, or choose a law without it."
            )


def _groups(
    cells: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray], groups: str | None
) -> tuple[np.ndarray | None, str]:
    """Which rows err together, and what the groups are."""
    if groups is None:
        return None, ""
    if not isinstance(groups, str) or groups != "auto":
        return _index_of(_found(cells, groups, (groups,))), str(groups)
    for name in ("run", *_GROUP_COLUMNS):
        if name in cells and (index := _index_of(cells[name])).max() + 1 < len(index):
            return index, name
    for name, values in columns.items():
        if (index := _index(values)).max() + 1 < len(index):
            return index, name
    return None, ""


def _index(values: np.ndarray) -> np.ndarray:
    """Which of the distinct values each is, (R,); values closer than rounding are one."""
    order = np.argsort(values)
    steps = np.diff(values[order]) > SAME_SIZE * values[order][1:]
    index = np.empty(len(values), int)
    index[order] = np.concatenate([[0], np.cumsum(steps)])
    return index


def _index_of(labels: np.ndarray) -> np.ndarray:
    """Numbers of labels of any kind, in the order in which they appear."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(str(label), len(seen)) for label in labels])


def _duplicates(columns: Mapping[str, np.ndarray], loss: np.ndarray, names: Sequence[str]) -> list[Finding]:
    """Rows that repeat another in every number."""
    seen: dict[tuple[Any, ...], int] = {}
    repeated = []
    for row, key in enumerate(zip(*columns.values(), loss, strict=True)):
        if seen.setdefault(key, row) != row:
            repeated.append((seen[key], row))
    if not repeated:
        return []
    first, second = repeated[0]
    return [
        (
            "duplicate_runs",
            f"{len(repeated)} rows repeat another in sizes and loss, such as {names[second]} and {names[first]}. They "
            "count twice; drop them unless they are separate runs.",
        )
    ]
