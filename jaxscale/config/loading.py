"""A configuration from a Python file and flags, to and from JSON; a misspelt field is told the nearest valid one."""

from __future__ import annotations

import dataclasses
import difflib
import importlib.util
import json
import os
import pathlib
import re
import typing
from collections.abc import Iterator, Sequence

from jaxscale.config.configuration import Configuration, validate
from jaxscale.config.fields import Run
from jaxscale.config.types import Values
from jaxscale.errors import InputError

if typing.TYPE_CHECKING:
    import pydantic

C = typing.TypeVar("C", bound=Configuration)


@typing.overload
def load(path: str | os.PathLike[str], overrides: Sequence[str] = (), *, prog: str | None = None) -> Configuration: ...


@typing.overload
def load(
    path: str | os.PathLike[str], overrides: Sequence[str], kind: type[C] | tuple[type[C], ...], prog: str | None = None
) -> C: ...


def load(
    path: str | os.PathLike[str],
    overrides: Sequence[str] = (),
    kind: type[Configuration] | tuple[type[Configuration], ...] = Configuration,
    prog: str | None = None,
) -> Configuration:
    """The configuration that a file binds to `config`, with command-line overrides applied, checked.

    Args:
      path: a Python file.
      overrides: flags such as `["--run.training.steps", "200"]`; `--help` prints every field and default and exits.
      kind: a subclass of `Configuration`, or a tuple of such. Where it is `Run`, a study that is made of runs serves
        too: it stands for its largest, first-seed run.
      prog: name of the command in help and error texts.

    Returns:
      A frozen dataclass.

    Raises:
      InputError: no such file, the file fails, unknown or ill-typed fields (with the nearest valid name), values that
        contradict each other.
      SystemExit: with code 2 for bad flags, which are explained on standard error; with 0 after `--help`.
    """
    import tyro

    config = _from_file(pathlib.Path(path), kind)
    validate(config)
    if kind is Run:
        config = config.as_run() or config
    if not isinstance(config, kind):
        raise InputError(
            f"config={str(path)!r} holds a {type(config).__name__}; this command needs a {_names(kind)}. "
            f"Use `jaxscale {config.command}` for it."
        )
    config = tyro.cli(type(config), default=config, args=list(overrides), prog=prog or f"… {path}")
    validate(config)
    return config


def to_json(config: Configuration) -> str:
    """The configuration as indented JSON text, the content of `config.json`."""
    return json.dumps({"kind": config.kind} | dataclasses.asdict(config), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str, kind: type[C]) -> C:
    """The `kind` (`Run`, `studies.DataScaling`, …) that `to_json` wrote, of before kinds were named too.

    Raises InputError for a text it did not write.
    """
    import pydantic

    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"not JSON ({error}).") from None
    if isinstance(values, dict) and values.pop("kind", kind.kind) != kind.kind:
        raise InputError(f"it holds a configuration of another kind, {json.loads(text)['kind']!r}.")
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(values))
    except pydantic.ValidationError as error:
        raise InputError(_explain(error, kind)) from None


def _from_file(path: pathlib.Path, kind: type[Configuration] | tuple[type[Configuration], ...]) -> Configuration:
    if not path.is_file():
        folder = path.parent if path.parent.is_dir() else pathlib.Path("configs")
        near = difflib.get_close_matches(path.name, [p.name for p in folder.glob("*.py") if p.is_file()], n=1)
        hint = f" Did you mean {folder / near[0]}?" if near else " Give the path of a config file."
        raise InputError(f"config={str(path)!r}: no such file.{hint}")
    spec = importlib.util.spec_from_file_location(f"jaxscale_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"config={str(path)!r} is not a Python file. Give a file ending in .py that binds `config`.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # whatever a user's file raises is told as its fault, with the cause
        raise InputError(f"config={str(path)!r} fails: {_nearest_field(error)}") from error
    config = getattr(module, "config", None)
    if not isinstance(config, Configuration):
        raise InputError(f"config={str(path)!r} must bind `config` to a {_names(kind)}, not {type(config).__name__}.")
    return config


def _nearest_field(error: BaseException) -> str:
    """The text of `error`; for a misspelt field of a config class, with the name that was probably meant."""
    match: typing.Any = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(error))
    kind = match and next((one for one in _classes(Values) if one.__name__ == match[1]), None)
    return _unknown_field(kind, match[2]) if kind else f"{type(error).__name__}: {error}"


def _classes(base: type[Values]) -> Iterator[type[Values]]:
    for one in base.__subclasses__():
        yield one
        yield from _classes(one)


def _names(kind: type | tuple[type, ...]) -> str:
    return " or a ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))


def _unknown_field(kind: type[Values], name: str) -> str:
    names = [f.name for f in dataclasses.fields(kind)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.4)
    hint = f"Did you mean {near[0]!r}?" if near else f"It has {', '.join(names)}."
    return f"{kind.__name__} has no field {name!r}. {hint}"


def _explain(error: pydantic.ValidationError, kind: type[Values]) -> str:
    first = error.errors()[0]
    names = [part for part in first["loc"] if isinstance(part, str) and part.isidentifier()]
    if first["type"] == "unexpected_keyword_argument":
        for name in names[:-1]:
            kind = typing.cast("type[Values]", next(f.type for f in dataclasses.fields(kind) if f.name == name))
        return _unknown_field(kind, names[-1])
    field = ".".join(names)
    if not field:
        return f"{first['msg'][0].lower()}{first['msg'][1:]}."
    return (
        f"{field}={first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}. Change the field in the config file."
    )
