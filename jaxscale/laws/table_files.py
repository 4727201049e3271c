"""Tables of runs as they lie on disk: CSV, JSON lines, Parquet, and exports of TensorBoard and Weights & Biases.

read_table("runs.csv", ["N=params", "D=step*491520", "loss=val/loss"])
"""

import csv
import json
import os
import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

from jaxscale.errors import InputError
from jaxscale.laws import event_files

_MAPPED = re.compile(r"^(?P<column>[^=]+)=(?P<source>.+?)(?:\*(?P<factor>[0-9.eE+]+))?$")
_WANDB_SERIES = re.compile(r"^(?P<run>.+) - (?P<metric>[^-]+?)(?P<bound>__MIN|__MAX)?$")


def read_table(path: str | pathlib.Path, mapping: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Rows of a table of runs, by column.

    A folder is searched for TensorBoard runs: each folder of event files is a row named after it, with the last value
    of every scalar and, as `tag:min`, the least. `step` is the one at which the loss was written, that is the scalar
    that is mapped to `loss` or called so; those of others are `tag:step` and `tag:min:step`. Of a run that was started
    again, what was written after the step it went back to does not count. A chart exported from Weights & Biases, with
    a column for every run, becomes a row for every run and step.

    Args:
      path: .csv, .tsv, .json, .jsonl, .parquet, or a folder.
      mapping: "column=source" or "column=source*factor": what to call a column of the file, and what to multiply it by.

    Raises:
      InputError: if the file cannot be read, or a mapping names a column it does not have.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path={path!r} is not a path. Pass the name of a file or a folder, such as 'runs.csv'.")
    mapping = [mapping] if isinstance(mapping, str) else mapping
    if not isinstance(mapping, Sequence) or not all(isinstance(entry, str) for entry in mapping):
        raise InputError(f"mapping={mapping!r} must be a list of texts COLUMN=SOURCE. Pass for example ['N=params'].")
    path = pathlib.Path(path)
    try:
        rows = _reader(path)(path)
    except InputError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"file={str(path)!r} cannot be read as a table: {reason}. Give .csv with a header, .jsonl, .parquet or a "
            "folder of TensorBoard runs."
        ) from None
    if not rows:
        raise InputError(f"file={str(path)!r} holds no rows. Give a table with a row for every run.")
    if path.is_dir():
        rows = event_files.step_of(rows, _source_of("loss", mapping))
    return _mapped(_long(rows), mapping)


def _reader(path: pathlib.Path) -> Callable[[pathlib.Path], list[dict[str, Any]]]:
    if path.is_dir():
        return event_files.rows
    readers = {".csv": _csv, ".tsv": _csv, ".json": _json, ".jsonl": _json_lines, ".parquet": _parquet}
    if path.suffix not in readers:
        raise InputError(f"file={str(path)!r} is of no known kind. Give {', '.join(readers)} or a folder of runs.")
    return readers[path.suffix]


def _csv(path: pathlib.Path) -> list[dict[str, Any]]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file, delimiter="\t" if path.suffix == ".tsv" else ",")
        return [{str(column).strip(): _number(value) for column, value in row.items()} for row in rows]


def _json_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line is not a JSON object")
    return rows


def _json(path: pathlib.Path) -> list[dict[str, Any]]:
    rows = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it is not a list of objects")
    return rows


def _parquet(path: pathlib.Path) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"file={str(path)!r} needs the package 'pyarrow'. Install it with: pip install 'jaxscale[parquet]'."
        ) from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    except pyarrow.ArrowException as error:
        raise ValueError(str(error).split("\n")[0]) from None


def _long(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A chart of Weights & Biases, one column for each run, as one row for each run and step; others as they are."""
    series = {name: match for name in rows[0] if (match := _WANDB_SERIES.match(str(name)))}
    if "Step" not in rows[0] or not series:
        return rows
    return [
        {"run": match["run"], "step": row["Step"], match["metric"]: row[name]}
        for row in rows
        for name, match in series.items()
        if not match["bound"] and row[name] not in ("", None)
    ]


def _source_of(column: str, mapping: Sequence[str]) -> str:
    """What a column is called in the file."""
    named = {match["column"].strip(): match["source"].strip() for match in map(_MAPPED.match, mapping) if match}
    return named.get(column, column)


def _mapped(rows: list[dict[str, Any]], mapping: Sequence[str]) -> list[dict[str, Any]]:
    for entry in mapping:
        match = _MAPPED.match(entry)
        if not match:
            raise InputError(f"map={entry!r} is not COLUMN=SOURCE or COLUMN=SOURCE*FACTOR. Write for example N=params.")
        source, column = match["source"].strip(), match["column"].strip()
        if not any(source in row for row in rows):
            raise InputError(f"map={entry!r}: the table has no column {source!r}. It has {', '.join(rows[0])}.")
        factor = _factor(match["factor"], entry)
        rows = [row | {column: _times(row.get(source), factor)} for row in rows]
    return rows


def _factor(text: str | None, entry: str) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        raise InputError(f"map={entry!r}: {text!r} is not a number. Write for example D=step*491520.") from None


def _times(value: Any, factor: float | None) -> Any:
    """`value` times the factor where it is a number; a cell that is not is left for the fit to name."""
    return value * factor if factor is not None and isinstance(value, (int, float)) else value


def _number(text: Any) -> Any:
    """A cell as a number where it is one."""
    try:
        return float(text)
    except (TypeError, ValueError):
        return text
