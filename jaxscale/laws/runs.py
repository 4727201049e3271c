"""A table of runs as the user has it, read into checked float64 columns, with what its rows share."""

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import jax
import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.cells import MISSING, Undecided, sure
from jaxscale.laws.charts import STEPS_OR_TOKENS, step_column
from jaxscale.laws.law import Law

LOSS = "loss"  # what is fitted where nothing else is asked for
# A code and a sentence.
Finding = tuple[str, str]


class DataFrame(Protocol):
    """What is asked of a data frame, such as one of pandas: columns by name."""

    @property
    def columns(self) -> Any: ...

    def __getitem__(self, name: str, /) -> Any: ...


class TableRows(list[dict[str, Any]]):
    """Rows by column, as a table of files is read.

    Attributes:
      findings: what there is to know of how they were read.
    """

    def __init__(self, rows: Iterable[dict[str, Any]] = (), findings: Iterable[Finding] = ()) -> None:
        super().__init__(rows)
        self.findings = tuple(findings)


# Columns by name, rows, or a data frame.
Table = Mapping[str, np.typing.ArrayLike] | Sequence[Mapping[str, Any]] | DataFrame

# What follows from other columns where it is not in the table: C = 6 N D (Kaplan et al. 2020), tokens per parameter.
_DERIVED: dict[str, tuple[tuple[str, str], str, Callable[[np.ndarray, np.ndarray], np.ndarray]]] = {
    "C": (("N", "D"), "6 N D", lambda N, D: 6 * N * D),
    "D": (("N", "C"), "C / (6 N)", lambda N, C: C / (6 * N)),
    "N": (("D", "C"), "C / (6 D)", lambda D, C: C / (6 * D)),
    "M": (("N", "D"), "D / N", lambda N, D: D / N),
}
# What else people call a column, by what laws call it; for a hint alone.
_ALSO = {
    "N": ("params", "parameters", "n_params", "num_params", "model_size", "size"),
    "D": ("tokens", "n_tokens", "num_tokens", "train_tokens", "tokens_seen", "data"),
    "C": ("flops", "flop", "compute", "training_flops"),
    "n": ("samples", "examples", "n_samples", "tokens", "n_tokens", "d", "data", "size"),
    "loss": ("val_loss", "val/loss", "valid_loss", "eval_loss", "eval/loss", "test_loss", "final_loss", "train/loss"),
}
_LARGEST = 1e100  # of a size or loss, and one over the smallest: products of a few of them stay numbers
_FEWEST_STEPS = 3  # of a run in a table make it a learning curve
_GROUP_COLUMNS = ("curve", "group")  # asked for by their names
_MOST_WORDS, _FEWEST_RUNS_OF_WORD = 12, 3  # of a column of labels
SAME_SIZE = 1e-6  # sizes that differ by less, relatively, are one


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Runs:
    """Runs in the order of their columns, then of their losses, so that no result depends on the order of the rows.

    Attributes:
      columns: (R,) values of every column the law reads.
      loss: (R,), or the values of another column that is fitted in its place.
      weight: (R,) of each run in the objective.
      names: of the runs.
      group: (R,) which group each run is in, or None where runs are taken as independent.
      group_by: what a group is, in words.
      findings: what the table itself gives reason to doubt.
      labels: columns of words beside those that were read, (R,) integers from 0 in the order of the words.
      target: the column that is fitted.
    """

    columns: dict[str, np.ndarray]
    loss: np.ndarray
    weight: np.ndarray
    group: np.ndarray | None
    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    group_by: str = dataclasses.field(metadata={"static": True})
    findings: tuple[Finding, ...] = dataclasses.field(metadata={"static": True})
    labels: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    target: str = dataclasses.field(default=LOSS, metadata={"static": True})

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
    table: Table,
    law: Law,
    weights: str | None = None,
    groups: str | None = "auto",
    free: int | None = None,
    target: str = LOSS,
) -> Runs:
    """The runs of `table` with the columns that `law` needs.

    Args:
      table: a mapping from column to array, a list of rows, or a data frame. Needs `target` and the law's columns; C,
        D, N and M = D/N are computed from one another where they are not there. Rows may be named under `run`.
      law: which columns to read beside that.
      weights: the column of weights, if any.
      groups: the column whose equal values mark runs that err together; None for none; "auto" for the first of: a run
        named in several rows (a learning curve), a column `curve` or `group`, a column of the law with repeated values.
      free: how many parameters are to be fitted; all of the law where None.
      target: the column that is fitted: the loss, or another one of positive numbers, such as the best learning rate.

    Rows without one, that is where it is missing or NaN, are left out, and `findings` says so.

    Raises:
      InputError: for a missing column, an entry that is not a positive finite number (the row is named), fewer rows or
        points than parameters, or a column that never varies.
    """
    if isinstance(target, str) and target in law.columns:
        raise InputError(
            f"target={target!r} is a column that law {law.name!r} reads, and cannot be fitted by itself. Pass another."
        )
    needed = (*law.columns, target)
    cells, kept, dropped = _with_target(_cells(table), target)
    rows = len(kept)
    names = tuple(str(name) for name in cells["run"]) if "run" in cells else tuple(f"row {i}" for i in kept)
    place = lambda row: f"row {kept[row]} (run {names[row]})" if "run" in cells else f"row {kept[row]}"
    columns, findings = {}, [*(table.findings if isinstance(table, TableRows) else ()), *dropped]
    for column in law.columns:
        columns[column], derived = _column(cells, column, needed, place)
        findings += derived
    loss = _numbers(_found(cells, target, needed), target, place)
    weight = np.ones(rows) if weights is None else _numbers(_found(cells, weights, needed), weights, place)
    free = law.free() if free is None else free
    _refuse_too_few(columns, loss, law, free)
    group, group_by = _groups(cells, columns, groups)
    if group is not None and group.max() + 1 <= free:
        findings.append(
            (
                "few_groups",
                f"{group.max() + 1} groups by {group_by} are no more than the {free} parameters, so "
                "little is known of the error that runs of a group share, and intervals are wide for it. Add groups, "
                "or take runs as independent, if they are.",
            )
        )
    order = np.lexsort((loss, *reversed(columns.values())))
    findings += _duplicates(columns, loss, names, target)
    findings += _learning_curves(cells, columns) if target == LOSS else []
    return Runs(
        columns={name: values[order] for name, values in columns.items()},
        loss=loss[order],
        weight=weight[order],
        names=tuple(names[i] for i in order),
        group=None if group is None else _index_of(group[order]),
        group_by=group_by if group is not None else "",
        findings=tuple(findings),
        labels={name: index[order] for name, index in _labels(cells, group_by).items()},
        target=target,
    )


def _labels(cells: Mapping[str, np.ndarray], group_by: str) -> dict[str, np.ndarray]:
    """Columns of a few words that may part the runs, other than their names and groups."""
    found = {}
    for name, values in cells.items():
        if name in ("run", group_by, *_GROUP_COLUMNS) or not all(isinstance(value, (str, np.str_)) for value in values):
            continue
        words = sorted(set(map(str, values)))
        if 2 <= len(words) <= min(_MOST_WORDS, len(values) // _FEWEST_RUNS_OF_WORD):
            found[name] = np.array([words.index(str(value)) for value in values])
    return found


def columns_of(table: Table, needed: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """The columns of a table of any kind, its cells as they are.

    Raises:
      InputError: for what is no table, or one without a column that is needed.
    """
    cells = _cells(table)
    for name in needed:
        _found(cells, name, needed)
    return cells


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


def _with_target(
    cells: Mapping[str, np.ndarray], target: str
) -> tuple[dict[str, np.ndarray], np.ndarray, list[Finding]]:
    """The rows that have a loss, or what is fitted, which of all they are, and what is to be said of the others."""
    every = np.arange(len(next(iter(cells.values()), ())))
    # A table without that column is refused where the others are sought.
    loss = cells.get(target, every) if isinstance(target, str) else every
    kept = np.array([i for i, cell in enumerate(loss) if not _no_reading(cell)], int)
    if len(kept) == len(every):
        return dict(cells), every, []
    dropped = np.setdiff1d(every, kept)
    first = f"row {dropped[0]}" + (f" (run {cells['run'][dropped[0]]})" if "run" in cells else "")
    if not len(kept):
        raise InputError(
            f"none of the {len(loss)} rows has a {target}: it is empty or NaN in all. "
            f"Take it from another column: --map {target}={_called(target, [n for n in cells if n != target])}"
        )
    what = "One row has" if len(dropped) == 1 else f"{len(dropped)} rows have"
    said = f"{what} no {target} (empty or NaN) and {'is' if len(dropped) == 1 else 'are'} left out, the first {first}."
    return {name: values[kept] for name, values in cells.items()}, kept, [("rows_dropped", said)]


def _no_reading(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip().lower() in (*MISSING, "nan")
    try:
        return cell is None or bool(np.isnan(cell))
    except TypeError:
        return False


def is_missing(cell: Any) -> bool:
    """Whether a cell is empty, rather than NaN."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)


def losses_or_diverged(values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Losses as numbers, of `rows` of a table; infinite for those of runs that diverged: NaN or infinite.

    Raises:
      InputError: for what is no loss.
    """
    found = np.array([np.inf if _no_reading(cell) or _infinite(cell) else 0.0 for cell in values])
    sane = np.flatnonzero(found == 0)
    found[sane] = _numbers(values[sane], LOSS, lambda row: f"row {rows[sane[row]]}")
    return found


def _infinite(cell: Any) -> bool:
    with contextlib.suppress(TypeError, ValueError):
        return bool(np.isinf(float(cell)))
    return False


def equal_sizes(values: np.ndarray) -> np.ndarray:
    """Which of the distinct values each is, (R,); numbers that are one but for rounding are one."""
    return _index(values) if values.dtype.kind == "f" else np.unique(values, return_inverse=True)[1].ravel()


def numbers(
    table: Table, columns: Sequence[str], labels: Sequence[str] = (), rows: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Columns of a table of any kind: positive numbers, computed from others as `read` does, and labels as text.

    Errors name a row by its place, or by its place among `rows` where these are what is left of a larger table.

    Raises:
      InputError: for a missing column or an entry that is not a positive finite number.
    """
    cells = _cells(table)
    found = {name: np.array([str(label) for label in _found(cells, name, (*columns, *labels))]) for name in labels}
    place = lambda row: f"row {row if rows is None else rows[row]}"
    return found | {name: _column(cells, name, columns, place)[0] for name in columns}


def _found(cells: Mapping[str, np.ndarray], column: str, needed: Sequence[str]) -> np.ndarray:
    if not isinstance(column, str):
        raise InputError(f"{column!r} is not the name of a column. Name one of {', '.join(cells)}.")
    if column in cells:
        return cells[column]
    first = f"{column}:1"  # of several columns of that name
    near = [first] if first in cells else difflib.get_close_matches(column, cells, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    raise InputError(
        f"the table has no column {column!r}{hint} Needed: {', '.join(needed)}; "
        f"the table has {', '.join(cells) or 'none'}. Say which it is: --map {column}={_called(column, cells)}"
    )


def _called(column: str, names: Iterable[str]) -> str:
    """What a table most likely calls a column, or COLUMN."""
    known = {name.lower(): name for name in names}
    own = column.lower()
    likely = (own, f"{own}:1", *_ALSO.get(column, ()), *difflib.get_close_matches(own, known, n=1))
    return next((known[name] for name in likely if name in known), "COLUMN")


def _column(
    cells: Mapping[str, np.ndarray], column: str, needed: Sequence[str], place: Callable[[int], str]
) -> tuple[np.ndarray, list[Finding]]:
    if column in cells or column not in _DERIVED or not all(name in cells for name in _DERIVED[column][0]):
        return _numbers(_found(cells, column, needed), column, place), []
    sources, formula, compute = _DERIVED[column]
    with np.errstate(over="ignore", under="ignore"):  # said of the cell
        values = compute(*(_numbers(cells[name], name, place) for name in sources))
    said = ("derived_column", f"The table has no column {column}; it was computed as {formula}.")
    return _numbers(values, column, place), [said]


def _numbers(values: np.ndarray, column: str, place: Callable[[int], str]) -> np.ndarray:
    """Positive finite numbers, or an error that names the first cell that is not one."""
    numbers = np.full(len(values), np.nan)
    for row, cell in enumerate(values):
        if isinstance(cell, Undecided):
            raise InputError(f"{column}={str(cell)!r} in {place(row)} {cell.why}")
        with contextlib.suppress(TypeError, ValueError):
            found = sure(cell) if isinstance(cell, str) else float(cell)
            numbers[row] = np.nan if found is None else found
    bad = ~(np.isfinite(numbers) & (numbers > 0))
    if bad.any():
        row = int(np.argmax(bad))
        others = f" So are {bad.sum() - 1} more cells of {column}." if bad.sum() > 1 else ""
        condition = f"{column} < {_LARGEST:g}" if numbers[row] == np.inf else f"{column} > 0"
        raise InputError(
            f"{column}={values[row]} in {place(row)} is not a positive finite number.{others} "
            f'Correct it, or leave such rows out: --where "{condition}"'
        )
    far = np.flatnonzero((numbers > _LARGEST) | (numbers < 1 / _LARGEST))
    if len(far):
        condition = f"{column} < {_LARGEST:g}" if numbers[far[0]] > 1 else f"{column} > {1 / _LARGEST:g}"
        raise InputError(
            f"{column}={values[far[0]]} in {place(far[0])} is beyond what can be fitted. Give {column} in another "
            f'unit, or leave such rows out: --where "{condition}"'
        )
    return numbers


def _refuse_too_few(columns: Mapping[str, np.ndarray], loss: np.ndarray, law: Law, needed: int) -> None:
    points = np.unique(np.stack(list(columns.values())), axis=1).shape[1]
    # Another law of the same kind: of best settings, which may rise or fall, or of losses.
    fewest, without = ("product", "product") if law.name.startswith("product") else ("power", "data")
    power = f"{fewest}:{_other('', columns, law.columns[0])}"
    fewer = f", or choose a law with fewer parameters: --law {power}" if needed > 2 else "."
    if len(loss) <= needed or points < needed:
        raise InputError(
            f"{law.formula} has {needed} parameters; the table has {len(loss)} rows at {points} distinct points. "
            f"Pass at least {needed + 1} rows at {needed} points, better many more over two decades{fewer}"
        )
    for column, values in columns.items():
        if _index(values).max() == 0:
            other = _other(column, columns, "COLUMN")
            raise InputError(
                f"all {len(values)} runs have {column}={values[0]:g}; nothing can be fitted along a column that never "
                f"varies. Add runs of other sizes, or choose a law without it: --law {without}:{other}"
            )


def _other(column: str, columns: Mapping[str, np.ndarray], default: str) -> str:
    """Another column, one that varies, or `default` where there is none."""
    return next((name for name, values in columns.items() if name != column and len(set(values)) > 1), default)


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


def _duplicates(
    columns: Mapping[str, np.ndarray], loss: np.ndarray, names: Sequence[str], target: str
) -> list[Finding]:
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
            f"{len(repeated)} rows repeat another in sizes and {target}, such as {names[second]} and {names[first]}. "
            "They count twice; drop them unless they are separate runs.",
        )
    ]


def _learning_curves(cells: Mapping[str, np.ndarray], columns: Mapping[str, np.ndarray]) -> list[Finding]:
    """Whether rows are steps of runs rather than runs."""
    if "run" not in cells:
        return []
    run, step = _index_of(cells["run"]), step_column(cells, STEPS_OR_TOKENS)
    index = np.stack([_index(values) for values in columns.values()]) if step is None else _index_of(cells[step])[None]
    steps = np.bincount(np.unique(np.vstack([run, index]), axis=1)[0])
    curves = np.flatnonzero(steps >= _FEWEST_STEPS)
    if not len(curves):
        return []
    what = "one run" if len(curves) == 1 else f"{len(curves)} runs"
    return [
        (
            "learning_curve_rows",
            f"{int(np.isin(run, curves).sum())} rows are steps of {what}, each fitted as if a run had ended there. "
            "Before its learning rate has come down a run has a higher loss than one that ends. Keep the last row of "
            "each run: --last.",
        )
    ]
