"""The best settings of a sweep: one row for each cell, such as each model size and number of tokens.

best = best_settings(table, "lr", by=("N", "D"))     # N, D, lr and loss, a row for each N and D
fit(best, "product:N,D", target="lr", key=key)       # lr = c N^α D^β
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.cells import sure
from jaxscale.laws.runs import (
    LOSS,
    Finding,
    Table,
    TableRows,
    columns_of,
    equal_sizes,
    is_missing,
    losses_or_diverged,
    numbers,
)

_PARABOLA = 3  # runs it goes through
_NAMED = 3  # cells in a sentence


class _Best(NamedTuple):
    """The best of one cell: its settings and loss, or what lies at an end."""

    settings: dict[str, float]
    loss: float
    at_end: tuple[str, ...]


def best_settings(table: Table, settings: str | Sequence[str], by: str | Sequence[str]) -> TableRows:
    """The settings of the lowest loss in every cell of a sweep, as a table to fit.

    Where a single setting varies in a cell, its best value is the bottom of the parabola through the three lowest
    losses in the logarithm of the setting, if that lies between the neighbors of the lowest; else, and where several
    vary, the best that was tried. Runs of equal settings count by their mean loss. A loss that is NaN or infinite is a
    run that diverged, worse than any; a row without a loss does not count.

    A best setting at an end of those that were tried is not the best there is. Such cells are left out, and the
    finding `best_at_end` of the result says how many and which.

    Args:
      table: as `laws.fit` takes it, with a row for each run, its `loss` and settings.
      settings: one or more columns of positive numbers, such as "lr" or ("lr", "batch").
      by: the columns whose values make a cell, ("N", "D"): numbers, computed from others as in a fit, or words.

    Returns:
      A row for each cell: `run`, a name of it, the columns of `by` and `settings`, `loss`, and whatever other columns
      are the same in all its rows.

    Raises:
      InputError: for a missing column, a setting that is no positive number, or where no cell has a best setting.
    """
    settings, by = _names("settings", settings, "lr"), _names("by", by, "N")
    both = sorted(set(settings) & {*by, LOSS} | ({LOSS} & set(by)))
    if both:
        raise InputError(f"settings={settings} and by={by} share {', '.join(both)}, or name the loss. Name others.")
    cells = columns_of(table, (*settings, LOSS))
    kept = np.array([place for place, cell in enumerate(cells[LOSS]) if not is_missing(cell)], int)
    cells = {name: values[kept] for name, values in cells.items()}
    loss = losses_or_diverged(cells[LOSS], kept)
    values = numbers(cells, settings, rows=kept)
    keys = {name: _key(cells, name, kept) for name in by}
    cell = np.unique(np.stack([equal_sizes(key) for key in keys.values()]), axis=1, return_inverse=True)[1].ravel()
    rows: list[dict[str, Any]] = []
    ends: list[tuple[str, tuple[str, ...]]] = []
    for number in range(cell.max(initial=-1) + 1):
        own = np.flatnonzero(cell == number)
        place = {name: key[own[0]] for name, key in keys.items()}
        found = _best({name: x[own] for name, x in values.items()}, loss[own])
        called = _called(place, 4)
        if found.at_end:
            ends.append((called, found.at_end))
            continue
        rows.append(_constant(cells, own) | place | found.settings | {LOSS: found.loss})
    if not rows:
        raise InputError(
            f"settings={', '.join(settings)}: in none of the {len(ends)} cells by {', '.join(by)} does the best lie "
            "between others that were tried. Try settings to both sides of it, or name other columns of cells."
        )
    names = [_called({name: row[name] for name in by}, 4) for row in rows]
    if len(set(names)) < len(names):
        names = [_called({name: row[name] for name in by}, 12) for row in rows]
    findings = table.findings if isinstance(table, TableRows) else ()
    return TableRows(
        [{"run": name} | row for name, row in zip(names, rows, strict=True)], (*findings, *_at_end(ends, len(rows)))
    )


def _names(argument: str, given: Any, example: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if (
        not isinstance(names, Sequence)
        or not names
        or not all(isinstance(name, str) and name for name in names)
        or len(set(names)) < len(names)
    ):
        raise InputError(f"{argument}={given!r} must be different names of columns. Pass for example ({example!r},).")
    return tuple(names)


def _key(cells: Mapping[str, np.ndarray], name: str, rows: np.ndarray) -> np.ndarray:
    """A column of cells as numbers, or as words where it holds any."""
    own = cells.get(name, np.array([]))
    if any(isinstance(value, (str, np.str_)) and sure(str(value)) is None for value in own):
        return np.array([str(value) for value in own])
    return numbers(cells, (name,), rows=rows)[name]


def _called(place: Mapping[str, Any], digits: int) -> str:
    """A cell by its columns: N=4.6e+07, D=1.28e+08."""
    written = (f"{name}={value if isinstance(value, str) else f'{value:.{digits}g}'}" for name, value in place.items())
    return ", ".join(written)


def _constant(cells: Mapping[str, np.ndarray], own: np.ndarray) -> dict[str, Any]:
    """The columns that are the same in all of these rows, but for names of runs."""
    return {
        name: values[own[0]] for name, values in cells.items() if name != "run" and len({*map(str, values[own])}) == 1
    }


def _best(settings: Mapping[str, np.ndarray], loss: np.ndarray) -> _Best:
    """The best of one cell, of settings (n,) each and losses (n,), infinite for runs that diverged."""
    index = np.stack([equal_sizes(values) for values in settings.values()])
    combinations, first, which = np.unique(index, axis=1, return_index=True, return_inverse=True)
    mean = np.bincount(which.ravel(), loss) / np.bincount(which.ravel())
    best = int(np.argmin(mean))
    varying = {name: place for place, name in enumerate(settings) if len(set(combinations[place])) > 1}
    ends = [name for name, place in varying.items() if _is_end(combinations, best, place)]
    if not varying or not np.isfinite(mean[best]):
        ends = list(settings)
    tried = {name: values[first] for name, values in settings.items()}
    found = {name: float(values[best]) for name, values in tried.items()}
    if ends or len(varying) > 1:
        return _Best(found, float(mean[best]), tuple(ends))
    (name,) = varying
    bottom = _bottom(np.log(tried[name]), mean, best)
    return (
        _Best(found | {name: float(np.exp(bottom[0]))}, bottom[1], ())
        if bottom
        else _Best(found, float(mean[best]), ())
    )


def _is_end(combinations: np.ndarray, best: int, place: int) -> bool:
    """Whether one setting of the best is the least or greatest tried, in all or with the other settings as they are."""
    own = combinations[place]
    others = np.delete(combinations, place, axis=0)
    beside = own[np.all(others == others[:, [best]], axis=0)]
    return any(len(set(some)) > 1 and own[best] in (some.min(), some.max()) for some in (own, beside))


def _bottom(x: np.ndarray, loss: np.ndarray, best: int) -> tuple[float, float] | None:
    """Where the parabola through the three lowest losses is lowest, and its loss; None for a bottom elsewhere."""
    lowest = np.argsort(loss, kind="stable")[:_PARABOLA]
    if len(lowest) < _PARABOLA or not np.isfinite(loss[lowest]).all():
        return None
    square, slope, height = np.polyfit(x[lowest] - x[best], loss[lowest], 2)
    if square <= 0:
        return None
    bottom = x[best] - slope / (2 * square)
    if not x[x < x[best]].max() < bottom < x[x > x[best]].min():
        return None
    return float(bottom), float(height - slope**2 / (4 * square))


def _at_end(ends: Sequence[tuple[str, tuple[str, ...]]], kept: int) -> Iterator[Finding]:
    if not ends:
        return
    listed = "; ".join(f"{called} ({', '.join(names)})" for called, names in ends[:_NAMED])
    more = f" and {len(ends) - _NAMED} more" if len(ends) > _NAMED else ""
    yield (
        "best_at_end",
        f"In {len(ends)} of {len(ends) + kept} cells the best lies at an end of the settings that were tried, so it "
        f"need not be the best there is; left out: {listed}{more}. Try settings beyond.",
    )
