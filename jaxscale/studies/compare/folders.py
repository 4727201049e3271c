"""What a comparison reads of the folder of a study."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxscale import files
from jaxscale.errors import InputError

FILES = ("config.json", "table.jsonl", "verdict.json")


class StoredStudy(NamedTuple):
    """A finished study."""

    name: str  # of its folder
    config: Mapping[str, Any]  # the content of `config.json`
    rows: list[dict[str, Any]]  # of `table.jsonl`
    verdict: dict[str, Any]  # the content of `verdict.json`


def kind(folder: pathlib.Path) -> str:
    """The kind of the finished study in a folder. Those on manifolds of version 0.1 stored none.

    Raises:
      InputError: a file of a finished study is missing, or cannot be read.
    """
    _refuse_unfinished(folder)
    found: str = files.read_json(folder / "verdict.json", ()).get("kind", "manifolds")
    return found


def read(folder: pathlib.Path) -> StoredStudy:
    """The finished study in a folder.

    Raises:
      InputError: a file of it is missing, or cannot be read.
    """
    _refuse_unfinished(folder)
    config, verdict = (files.read_json(folder / name) for name in ("config.json", "verdict.json"))
    return StoredStudy(folder.resolve().name, config, files.read_json_lines(folder / "table.jsonl"), verdict)


def _refuse_unfinished(folder: pathlib.Path) -> None:
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} has no {missing[0]}: no finished study. Run jaxscale study with --workdir {folder}."
        )
