"""Reads what a study left in its folder, and says which file to mend when it cannot.

study = read("runs/text_loss")
study.rows[0]["loss"], study.curves["n=512_seed=0"].losses
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

from jaxscale import files
from jaxscale.errors import InputError

Row = dict[str, Any]

ROW_FIELDS = ("run", "n", "seed", "loss")
VERDICT_FIELDS = ("question", "sentence", "agreement", "dimension", "predicted", "observed")


@dataclasses.dataclass(frozen=True)
class LossCurve:
    """Validation loss of one run: `losses[i]` nats per token after `steps[i]` steps, steps increasing."""

    steps: list[int]
    losses: list[float]


@dataclasses.dataclass(frozen=True)
class FinishedStudy:
    """A finished study: what was asked (`config`), what was run (`rows`, `curves`), what came out (`verdict`)."""

    name: str
    config: dict[str, Any]
    rows: list[Row]  # sorted by n, then seed
    curves: dict[str, LossCurve]  # by run
    verdict: dict[str, Any]


def read(folder: str | os.PathLike[str]) -> FinishedStudy:
    """The study in `folder`.

    Args:
      folder: holds `config.json`, `table.jsonl`, `verdict.json` and `runs/<run>/metrics.jsonl` for each row.

    Raises:
      InputError: if a file is missing, is not JSON or lacks a field the report shows.
    """
    folder = pathlib.Path(folder)
    rows = _rows(folder)
    verdict = _document(folder, "verdict.json")
    _require(verdict, VERDICT_FIELDS, folder / "verdict.json", folder)
    return FinishedStudy(
        name=folder.resolve().name,
        config=_document(folder, "config.json"),
        rows=rows,
        curves={row["run"]: _curve(folder, row["run"]) for row in rows},
        verdict=verdict,
    )


def by_size(rows: list[Row]) -> list[Row]:
    """`rows` in reading order: by n, then seed."""
    return sorted(rows, key=lambda row: (row["n"], row["seed"]))


def _rows(folder: pathlib.Path) -> list[Row]:
    rows = _lines(folder, "table.jsonl")
    if not rows:
        raise InputError(f"{folder / 'table.jsonl'} has no rows: no run has finished. {_remedy(folder)}")
    for row in rows:
        _require(row, ROW_FIELDS, folder / "table.jsonl", folder)
    return by_size(rows)


def _curve(folder: pathlib.Path, run: str) -> LossCurve:
    """A resumed run writes again the steps after its last checkpoint; the later line is the one that counts.

    A log outlives crashes, which may have damaged lines of it: the curve goes without them.
    """
    path = folder / "runs" / run / "metrics.jsonl"
    if not path.is_file():
        raise InputError(f"{path} does not exist. {_remedy(folder)}")
    lines = [line for line in files.read_log(path) if line.get("validation_loss") is not None]
    losses = {line["step"]: line["validation_loss"] for line in lines}
    steps = sorted(losses)
    return LossCurve(steps, [losses[step] for step in steps])


def _document(folder: pathlib.Path, name: str) -> dict[str, Any]:
    return _json(_text(folder, name), folder / name, folder)


def _lines(folder: pathlib.Path, name: str) -> list[dict[str, Any]]:
    lines = enumerate(_text(folder, name).split("\n"), start=1)
    return [_json(line, f"{folder / name}, line {i},", folder) for i, line in lines if line.strip()]


def _text(folder: pathlib.Path, name: str) -> str:
    path = folder / name
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist. {_remedy(folder)}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}). {_remedy(folder)}") from error


def _json(text: str, where: str | pathlib.Path, folder: pathlib.Path) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not valid JSON ({error}). {_remedy(folder)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{where} holds {type(value).__name__}, expected a JSON object. {_remedy(folder)}")
    return value


def _require(values: dict[str, Any], fields: tuple[str, ...], path: pathlib.Path, folder: pathlib.Path) -> None:
    missing = [field for field in fields if field not in values]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}. {_remedy(folder)}")


def _remedy(folder: pathlib.Path) -> str:
    return f"Run the study first: jaxscale study configs/text_loss.py --workdir {folder}"
