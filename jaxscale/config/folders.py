"""A folder belongs to one configuration, the one in its `config.json`."""

import dataclasses
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from jaxscale import files
from jaxscale.config.configuration import Configuration
from jaxscale.config.loading import from_json, to_json
from jaxscale.errors import InputError

C = TypeVar("C", bound=Configuration)


def claim(folder: str | os.PathLike[str], config: Configuration) -> None:
    """Makes `folder` the folder of `config`: writes `config.json` there, or checks the one it holds.

    Raises:
      InputError: the folder holds another configuration (the differing fields are named).
    """
    refuse_other(folder, config)
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file() or kind_of_folder(folder) is None:  # before kinds were named
        files.write_text(path, to_json(config))


def refuse_other(folder: str | os.PathLike[str], config: Configuration) -> None:
    """Raises InputError, naming the fields that differ, if `folder` holds another configuration than `config`."""
    path = pathlib.Path(folder) / "config.json"
    if path.is_file():
        try:
            there = dataclasses.asdict(from_json(path.read_text(encoding="utf-8"), type(config)))
        except (InputError, OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{str(path)!r} is no {type(config).__name__}: {_said(error)} Use another folder."
            ) from None
        changed = [f"{name}={b!r} (there: {a!r})" for name, a, b in differences(there, dataclasses.asdict(config))]
        if changed:
            raise InputError(
                f"workdir={str(folder)!r} holds another configuration: {'; '.join(changed[:5])}. "
                "Use another folder, or delete this one."
            )


def of_folder(folder: str | os.PathLike[str], kind: type[C]) -> C:
    """The configuration, a `kind`, of a folder. Raises InputError, naming the file, if it holds none."""
    path = pathlib.Path(folder) / "config.json"
    try:
        return from_json(path.read_text(encoding="utf-8"), kind)
    except (InputError, OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{str(path)!r} cannot be read as a {kind.__name__}: {_said(error)} Give the folder of one, or restore the "
            "file from a copy."
        ) from None


def kind_of_folder(folder: str | os.PathLike[str]) -> str | None:
    """The `kind` that a folder's `config.json` names; None if it names none, as before kinds were stored.

    Raises InputError if there is no such file, or it cannot be read.
    """
    path = pathlib.Path(folder) / "config.json"
    if not path.is_file():
        raise InputError(f"{str(folder)!r} has no config.json: no run or study began there. Give the folder of one.")
    config = files.read_json(path)
    return config.get("kind") if isinstance(config, dict) else None


def _said(error: Exception) -> str:
    """A sentence, with its period."""
    return f"{(getattr(error, 'strerror', None) or str(error)).rstrip('.')}."


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Names, with both values, of the fields in which two configurations (as nested mappings) differ."""
    for name in sorted(set(old) | set(new)):
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            yield from differences(a, b, f"{prefix}{name}.")
        elif a != b:
            yield f"{prefix}{name}", a, b
