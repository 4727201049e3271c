"""A condition on a configuration, and the sentence that names the field, its value and the remedy where it fails."""

from typing import Protocol

from jaxscale.config.types import Values
from jaxscale.errors import InputError


class Resampled(Protocol):
    """A study whose intervals are resampled over its seeds."""

    @property
    def level(self) -> float: ...
    @property
    def resamples(self) -> int: ...
    @property
    def seeds(self) -> tuple[int, ...]: ...


def need(condition: object, field: str, value: object, sentence: str) -> None:
    """Raises InputError unless `condition`."""
    if not condition:
        raise InputError(f"{field}={value!r} {sentence}")


def positive(config: Values, prefix: str, names: str) -> None:
    """Raises InputError unless every field of `config` in `names`, apart by spaces, is positive."""
    for name in names.split():
        value = getattr(config, name)
        need(value > 0, f"{prefix}{name}", value, "must be positive. Give a larger value.")


def distinct(config: Values, *names: str) -> None:
    """Raises InputError unless each of these fields of `config` holds values, none twice."""
    for name in names:
        values = getattr(config, name)
        need(len(set(values)) == len(values) and values, name, values, "needs at least one value, none twice.")


def resampled(study: Resampled) -> None:
    """Raises InputError unless the intervals of a study, resampled over its `seeds`, have a level and enough draws."""
    need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    for seed in study.seeds:
        need(0 <= seed < 2**31, "seeds", study.seeds, "must lie between 0 and 2**31.")
