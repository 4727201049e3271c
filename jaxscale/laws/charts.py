"""Tables that hold several runs side by side or several scalars below one another, as a row for each run and step."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jaxscale.laws.cells import MISSING

# What a column of steps may be called, whatever its case, the likeliest first. The others say as well what came last.
STEPS = ("step", "_step", "global_step", "trainer/global_step", "iteration", "iter")
STEPS_OR_TOKENS = (*STEPS, "tokens", "d", "epoch")
_TAGS = ("tag", "metric")
# A run and a metric may both hold hyphens; the last one between spaces stands between them.
_SERIES = re.compile(r"(?P<run>.+) - (?P<metric>.+?)(?P<bound>__MIN|__MAX)?", re.DOTALL)


def step_column(columns: Iterable[str], known: Sequence[str] = STEPS_OR_TOKENS) -> str | None:
    """The column that says which row of a run came later, if there is one."""
    called = {column.lower(): column for column in reversed(list(columns))}
    return next((called[name] for name in known if name in called), None)


def columns_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """The columns of all rows, in the order in which they appear."""
    return list(dict.fromkeys(str(name) for row in rows for name in row))


def side_by_side(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A chart exported from Weights & Biases, which has columns `run - metric`, as a row for each run and step.

    The companions `__MIN` and `__MAX` are left out. An axis of steps becomes `step` beside its own name; other axes
    keep their names alone. Other tables stay as they are.
    """
    columns = columns_of(rows)
    series = {name: match for name in columns if (match := _SERIES.fullmatch(name))}
    axes = [name for name in columns if name not in series]
    axis = "Step" if "Step" in axes else axes[0] if len(axes) == 1 else None
    told = any(match["bound"] for match in series.values()) or len(series) > 1 or axis == "Step"
    if axis is None or not series or not told:
        return rows
    found: list[dict[str, Any]] = []
    for row in rows:
        place = {axis: row.get(axis)} if axis != "Step" else {}
        if axis.lower() in STEPS:
            place["step"] = row.get(axis)
        runs: dict[str, dict[str, Any]] = {}
        for name, match in series.items():
            if not match["bound"] and not _empty(row.get(name)):
                runs.setdefault(match["run"], {"run": match["run"]} | place)[match["metric"]] = row[name]
        found += runs.values()
    return found


def below_one_another(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A long table (run, tag, value[, step]) as a row for each run and step; other tables stay as they are.

    Of a scalar that is written twice at a step the later row counts, as of every other column.
    """
    columns = {name.lower(): name for name in columns_of(rows)}
    tag = next((columns[name] for name in _TAGS if name in columns), None)
    if tag is None or not {"run", "value"} <= columns.keys():
        return rows
    run, value, step = columns["run"], columns["value"], step_column(columns.values(), STEPS)
    places: dict[tuple[Any, Any], dict[str, Any]] = {}
    for row in rows:
        at = row.get(step) if step else None
        place = places.setdefault((row.get(run), at), {"run": row.get(run)} | ({"step": at} if step else {}))
        place |= {name: cell for name, cell in row.items() if name not in (run, tag, value, step)}
        place[str(row.get(tag))] = row.get(value)
    return list(places.values())


def of_tensorboard(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """A scalar that TensorBoard wrote to a file as CSV, as a long table; `name` is that of the file."""
    if set(columns_of(rows)) != {"Wall time", "Step", "Value"}:
        return rows
    match = re.fullmatch(r"run-(?P<run>.+)-tag-(?P<tag>.+)", name)
    run, tag = (match["run"], match["tag"]) if match else (name, "value")
    return [{"run": run, "step": row["Step"], "tag": tag, "value": row["Value"]} for row in rows]


def _empty(cell: Any) -> bool:
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in MISSING)
