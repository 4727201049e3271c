"""Tables of runs as they lie on disk: delimited text, JSON, Parquet, and exports of TensorBoard and Weights & Biases.

read_table("runs.csv", ["N=params", "D=step*491520", "loss=val/loss"])
"""

import difflib
import functools
import json
import os
import pathlib
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws import cells, charts, conditions, decoding, delimited, event_files
from jaxscale.laws.decoding import Unreadable
from jaxscale.laws.runs import Finding, TableRows

_MAPPED = re.compile(r"^(?P<column>[^=]+)=(?P<source>.+?)(?:\*(?P<factor>[0-9.eE+-]+))?$")
_KINDS = "Give text with a delimiter and a header, JSON, Parquet, or a folder of such files or of TensorBoard runs."
_LINES = (".jsonl", ".ndjson")
# What a folder is searched for, by the ending of a file: the first kind that is there.
_IN_FOLDERS = ((".csv", ".tsv"), (".json", *_LINES), (".parquet",), (".txt", ".dat"))

_Path = str | os.PathLike[str]


def read_table(
    path: _Path | Sequence[_Path],
    mapping: Sequence[str] = (),
    *,
    where: str | None = None,
    last: bool = False,
    after_warmup: float | None = None,
    decimal: cells.Decimal = "auto",
    delimiter: str | None = None,
) -> TableRows:
    """Rows of a table of runs, by column.

    What a file holds is told by its content. Text has columns apart by commas, semicolons, tabs, vertical bars or
    spaces, and numbers as people write them: 1,234,567, 3,25, 70M (K, M, B or G, and T are powers of 1000). JSON is a
    list of objects, an object of columns, or an object on each line; what lies deeper is a dotted column, such as
    `config.params`. All of it may be compressed by gzip, bzip2, xz or zstd, and be UTF-8, or UTF-16 and UTF-32 with
    their byte-order mark.

    A folder is searched for TensorBoard runs: each folder of event files is a row named after it, with the last value
    of every scalar and, as `tag:min`, the least. `step` is the one at which the loss was written, that is the scalar
    that is mapped to `loss` or called so; those of others are `tag:step` and `tag:min:step`. Of a run that was started
    again, what was written after the step it went back to does not count. Any other folder is read as a table for each
    run: the name of a file, without its ending, becomes `run`, unless there is a column of that name. So it does where
    several files are given that are each a learning curve, with a column of steps, or a single row; of other files the
    name becomes the column `file`.

    A chart exported from Weights & Biases, with a column for every run, becomes a row for every run and step, and so
    does a long table: run, tag, value and, where there are several, step.

    Args:
      path: a file or a folder, or several.
      mapping: "column=source" or "column=source*factor": what to call a column of the file, and what to multiply it by.
      where: conditions on the columns, joined by `and`: "dataset == 'c4' and N > 1e8". Other rows are left out.
      last: whether to keep only the last row of each run that has a loss.
      after_warmup: the step up to which rows are left out.
      decimal: what decimals are written with, "comma" or "point"; "auto" to tell by each column.
      delimiter: "comma", "semicolon", "tab", "bar" or "spaces"; None to tell by the rows.

    Returns:
      A list of rows, each a mapping from column to cell, with what is to be known of them as `findings`.

    Raises:
      InputError: if a file cannot be read, a mapping or condition names a column that there is not, or no row is left.
    """
    paths = _paths(path)
    mapping = [mapping] if isinstance(mapping, str) else mapping
    if not isinstance(mapping, Sequence) or not all(isinstance(entry, str) for entry in mapping):
        raise InputError(f"mapping={mapping!r} must be a list of texts COLUMN=SOURCE. Pass for example ['N=params'].")
    arguments.choice("decimal", decimal, cells.DECIMALS)
    if delimiter is not None:
        delimiter = delimited.DELIMITERS[arguments.choice("delimiter", delimiter, delimited.DELIMITERS)]
    texts = {"run", _source_of("run", mapping)}
    read = lambda file: _read(file, lambda: _rows_of(file, delimiter, decimal, texts))
    rows, findings = _gathered(paths, read, mapping)
    rows = _mapped(charts.below_one_another(rows), mapping)
    if where is not None:
        rows = conditions.fulfilled(rows, where)
    if after_warmup is not None:
        rows = _after(rows, arguments.real("after_warmup", after_warmup, 1000.0))
    return TableRows(_last(rows) if last else rows, findings)


def _paths(path: _Path | Sequence[_Path]) -> list[pathlib.Path]:
    given = [path] if isinstance(path, (str, os.PathLike)) else path
    if isinstance(given, bytes) or not isinstance(given, Sequence) or not given:
        raise InputError(f"path={path!r} is not a path. Pass the name of a file or a folder, such as 'runs.csv'.")
    for one in given:
        if not isinstance(one, (str, os.PathLike)):
            raise InputError(f"path={one!r} is not a path. Pass the name of a file or a folder, such as 'runs.csv'.")
    return [pathlib.Path(one) for one in given]


def _read(path: pathlib.Path, read: Callable[[], Any]) -> Any:
    """What `read` reads, its errors with the name of the file."""
    try:
        return read()
    except Unreadable as error:
        raise InputError(f"file={str(path)!r} cannot be read as a table: {error}. {error.remedy}") from None
    except InputError as error:
        raise InputError(f"file={str(path)!r}: {error}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"file={str(path)!r} cannot be read as a table: {reason}. {_KINDS}") from None


def _gathered(
    paths: Sequence[pathlib.Path], read: Callable[[pathlib.Path], list[dict[str, Any]]], mapping: Sequence[str]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The rows of all files and folders, and what is to be known of them."""
    rows: list[dict[str, Any]] = []
    findings: list[Finding] = []
    files = [path for path in paths if not path.is_dir()]
    names = dict(zip(files, _names(files), strict=True))
    for path in paths:
        if path.is_dir() and (runs := event_files.runs(path)):
            found, said = _read(path, functools.partial(event_files.rows, path, runs))
            rows += event_files.step_of(found, _source_of("loss", mapping))
            findings += said
        elif path.is_dir():
            of_folder, said = _folder(path, read)
            rows += of_folder
            findings += said
        elif not (found := charts.side_by_side(charts.of_tensorboard(read(path), decoding.bare(path).stem))):
            raise InputError(f"file={str(path)!r} holds no rows. Give a table with a row for every run.")
        else:
            rows += _named(found, names[path]) if len(paths) > 1 else found
    return rows, findings


def _folder(
    folder: pathlib.Path, read: Callable[[pathlib.Path], list[dict[str, Any]]]
) -> tuple[list[dict[str, Any]], list[Finding]]:
    """The rows of all tables in a folder, each file a run."""
    there = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    kinds = ([path for path in there if decoding.bare(path).suffix.lower() in endings] for endings in _IN_FOLDERS)
    files = next((found for found in kinds if found), [])
    if not files:
        raise InputError(
            f"file={str(folder)!r} cannot be read as a table: the folder holds neither TensorBoard event files nor "
            f"tables. Name the tables themselves, for example {folder}/*/metrics.csv."
        )
    rows: list[dict[str, Any]] = []
    empty = []
    for path, name in zip(files, _names(files), strict=True):
        found = charts.side_by_side(charts.of_tensorboard(read(path), decoding.bare(path).stem))
        empty += [] if found else [path.name]
        rows += [{"run": name} | row for row in found]
    if not rows:
        raise InputError(f"file={str(folder)!r} holds no rows in {len(files)} tables. Give a table for every run.")
    said = f"Of {len(files)} files {len(empty)} hold no rows and are left out, such as {', '.join(empty[:3])}."
    return rows, [("empty_files", said)] if empty else []


def _names(files: Sequence[pathlib.Path]) -> list[str]:
    """Files by their names without endings, and by as many of their folders as tell them apart."""
    bare = [decoding.bare(path).with_suffix("") for path in files]
    for parts in range(1, max((len(path.parts) for path in bare), default=0) + 1):
        names = ["/".join(path.parts[-parts:]) for path in bare]
        if len(set(names)) == len(set(files)):
            break
    else:
        names = [str(path) for path in files]
    return names


def _named(rows: list[dict[str, Any]], name: str) -> list[dict[str, Any]]:
    """Rows of one of several files, under its name: as a run where they are one, else as those of a file."""
    step = charts.step_column(charts.columns_of(rows), charts.STEPS)
    one = len(rows) == 1 or (step is not None and len({str(row.get(step)) for row in rows}) == len(rows))
    return [{"run" if one else "file": name} | row for row in rows]


def _rows_of(
    path: pathlib.Path, delimiter: str | None, decimal: cells.Decimal, texts: Collection[str]
) -> list[dict[str, Any]]:
    data, ending = decoding.content(path), decoding.bare(path).suffix.lower()
    if data.startswith(b"PAR1"):
        return cells.convert([_flat(row) for row in _parquet(data)], ",", decimal, texts)
    text = decoding.text(data)
    if ending in (".json", *_LINES) or (text.lstrip()[:1] in ("{", "[") and delimiter is None):
        return cells.convert([_flat(row) for row in _json(text, ending)], ",", decimal, texts)
    rows, found = delimited.rows(text, delimiter)
    return cells.convert(rows, found, decimal, texts)


def _json(text: str, ending: str) -> list[dict[str, Any]]:
    """Objects of a list or on lines, whichever a file holds, or of columns."""
    if not text.strip():
        return []
    readers = [_json_whole, _json_lines]
    first, second = reversed(readers) if ending in _LINES else readers
    try:
        return first(text)
    except json.JSONDecodeError as error:
        try:
            return second(text)
        except ValueError:
            raise Unreadable(f"it is no JSON ({error})", "Correct that line.") from None


def _json_lines(text: str) -> list[dict[str, Any]]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        try:
            rows += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise json.JSONDecodeError(f"in line {number}: {error.msg}", error.doc, error.pos) from None
    if not all(isinstance(row, dict) for row in rows):
        raise Unreadable("a line is not a JSON object", "Write an object on every line, or a list of objects.")
    return rows


def _json_whole(text: str) -> list[dict[str, Any]]:
    whole = json.loads(text)
    if isinstance(whole, dict):
        return _of_columns(whole)
    if not isinstance(whole, list) or not all(isinstance(row, dict) for row in whole):
        raise Unreadable(
            "it is neither a list of objects nor an object of columns", "Write [{…}, {…}] or {column: […], …}."
        )
    return whole


def _of_columns(whole: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an object: columns, as lists or as pandas writes them, runs by their names, or a single run."""
    objects = [value for value in whole.values() if isinstance(value, dict)]
    if len(objects) == len(whole) > 1 and all(inner.keys() == objects[0].keys() for inner in objects):
        if all(str(key).isdigit() for key in objects[0]):
            return [{name: values[key] for name, values in whole.items()} for key in objects[0]]
        return [{"run": name} | row for name, row in whole.items()]
    flat = _flat(whole)
    lists = {name: value for name, value in flat.items() if isinstance(value, list)}
    if not flat or (lists.keys() != flat.keys() and len(lists) < 2):
        return [flat] if flat else []
    lengths = {name: len(values) for name, values in lists.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise Unreadable(
            f"its columns have different lengths: {told}", "Give columns of one length, or a row for each run."
        )
    return [
        {name: value[i] if name in lists else value for name, value in flat.items()}
        for i in range(max(lengths.values()))
    ]


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A row in which what lies deeper has a dotted name."""
    found: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and value:
            found |= _flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found


def _parquet(data: bytes) -> list[dict[str, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            "Parquet needs the package 'pyarrow'. Install it with: pip install 'jaxscale[parquet]'"
        ) from None
    try:
        rows: list[dict[str, Any]] = parquet.read_table(pyarrow.BufferReader(data)).to_pylist()
        return rows
    except pyarrow.ArrowException as error:
        raise ValueError(str(error).split("\n")[0]) from None


def _after(rows: list[dict[str, Any]], warmup: float) -> list[dict[str, Any]]:
    """The rows after a step."""
    step = _steps(rows, "--after-warmup", charts.STEPS)
    found = [row for row in rows if (at := _step(row, step)) is not None and at > warmup]
    if not found:
        latest = max((at for row in rows if (at := _step(row, step)) is not None), default=None)
        told = f"the last is {latest:g}" if latest is not None else "none has a step"
        raise InputError(
            f"after_warmup={warmup:g} leaves none of the {len(rows)} rows: {told}. Give less: --after-warmup 0"
        )
    return found


def _last(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last row of every run that has a loss; rows of a run without any are left for the fit to name."""
    if not any(row.get("run") is not None for row in rows):
        raise InputError(
            f"last=True needs to know the runs, and the table has no column 'run'. It has {_listed(rows)}. "
            "Name it: --map run=COLUMN"
        )
    if len({str(row.get("run")) for row in rows}) == len(rows):
        return rows
    step = _steps(rows, "--last", charts.STEPS_OR_TOKENS)
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        name, at = str(row.get("run")), _step(row, step)
        before = found.get(name)
        if before is None or _rank(row, at) >= _rank(before, _step(before, step)):
            found[name] = row
    return list(found.values())


def _rank(row: dict[str, Any], step: float | None) -> tuple[bool, float]:
    loss = row.get("loss")
    has_loss = loss is not None and not (isinstance(loss, str) and loss.strip().lower() in cells.MISSING)
    return has_loss, float("-inf") if step is None else step


def _steps(rows: list[dict[str, Any]], flag: str, known: Sequence[str]) -> str:
    found = charts.step_column(charts.columns_of(rows), known)
    if found is None:
        raise InputError(
            f"{flag} needs to know the steps, and the table has no column 'step'. It has {_listed(rows)}. "
            "Name it: --map step=COLUMN"
        )
    return found


def _step(row: dict[str, Any], column: str) -> float | None:
    """Where in its run a row was written, or None where that is no number."""
    cell = row.get(column)
    if isinstance(cell, cells.Undecided):
        raise InputError(f"{column}={str(cell)!r} {cell.why}")
    if isinstance(cell, str):
        return cells.sure(cell)
    try:
        return None if cell is None or cell != cell else float(cell)
    except (TypeError, ValueError):
        return None


def _listed(rows: list[dict[str, Any]]) -> str:
    return ", ".join(charts.columns_of(rows))


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
            columns = charts.columns_of(rows)
            near = [name for name in columns if name.lower() == source.lower()]
            near = near or difflib.get_close_matches(source, columns, n=1)
            raise InputError(
                f"map={entry!r}: the table has no column {source!r}. It has {_listed(rows)}. "
                f"Name one of them: --map {column}={near[0] if near else 'COLUMN'}"
            )
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
