"""Types of fields: NumPy's numbers and lists become Python's own; a wrong type is told with field, value and remedy."""

import dataclasses
import math
import types
import typing

from jaxscale.errors import InputError

NAMES = {int: "an integer", float: "a finite number", str: "a string", bool: "True or False"}
PLURALS = {int: "integers", float: "finite numbers", str: "strings"}
# Characters of a value that a message shows.
SHOWN = 80


class Values:
    """Base of configurations. NumPy's numbers become Python's own, and lists and arrays tuples, when one is made."""

    # Only declared: every subclass is a dataclass, and this is how type checkers know one.
    __dataclass_fields__: typing.ClassVar[dict[str, dataclasses.Field[typing.Any]]]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))


def check_types(config: Values, prefix: str = "") -> None:
    """Raises InputError if a field of a configuration, at any depth, is not of its declared type.

    An integer will do for a float; floats must be finite.
    """
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        name, hint, value = prefix + field.name, hints[field.name], getattr(config, field.name)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            require(value, hint, name)
            check_types(value, f"{name}.")
        elif not _fits(value, hint):
            raise InputError(f"{name}={_shown(value)} must be {_wanted(hint)}. {_remedy(value, hint)}")


def require(value: object, kind: type, name: str) -> None:
    """Raises InputError unless `value` is a `kind`, a class of configurations."""
    if not isinstance(value, kind):
        was = f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
        home = ".".join(kind.__module__.split(".")[:2])  # jaxscale.config, jaxscale.studies
        raise InputError(
            f"{name}={_shown(value)} must be a {home}.{kind.__name__}, not {was}. "
            f"Give {kind.__name__}(...), with the fields that differ from its defaults."
        )


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if hasattr(value, "dtype") and hasattr(value, "tolist"):  # NumPy's and JAX's arrays and numbers
        return _plain(value.tolist())
    return value


def _fits(value: object, hint: typing.Any) -> bool:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return any(_fits(value, one) for one in arguments)
    if origin is typing.Literal:
        return any(type(value) is type(one) and value == one for one in arguments)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(one, arguments[0]) for one in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _wanted(hint: typing.Any) -> str:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        return " or ".join(_wanted(one) for one in arguments)
    if origin is typing.Literal:
        return f"one of {', '.join(map(repr, arguments))}"
    if origin is tuple:
        return f"a tuple of {PLURALS.get(arguments[0]) or f'values, each {_wanted(arguments[0])}'}"
    return "None" if hint is type(None) else NAMES.get(hint, f"a {hint.__name__}")


def _remedy(value: object, hint: typing.Any) -> str:
    """What to write instead, where that can be guessed from the value."""
    if typing.get_origin(hint) is tuple:
        return f"Write ({_shown(value)},)." if _fits(value, typing.get_args(hint)[0]) else "Change it."
    kinds = typing.get_args(hint) if typing.get_origin(hint) is types.UnionType else (hint,)
    for kind in kinds:
        guess: str | float | None = None
        if kind is str and hasattr(value, "__fspath__"):
            guess = str(value)
        elif kind in (int, float) and isinstance(value, str | float):
            guess = _number(value, kind)
        if guess is not None:
            return f"Write {guess!r}."
    return "Change it."


def _number(value: str | float, kind: type[int] | type[float]) -> float | None:
    try:
        number = kind(float(value))
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
