"""What every configuration of a command is: values of declared types that can check one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from jaxscale.config.types import Values, check_types
from jaxscale.errors import InputError

if TYPE_CHECKING:
    from jaxscale.config.fields import Run


class Configuration(Values):
    """Base of the frozen dataclasses that a command takes; `config.json` holds one with its `kind`.

    Attributes:
      kind: names the class in files.
      command: the command of `jaxscale` that takes it.
    """

    kind: ClassVar[str]
    command: ClassVar[str] = "study"

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""

    def as_run(self) -> Run | None:
        """The one training run that stands for it where `jaxscale train` is given it, or None."""
        return None


def validate(config: Configuration) -> None:
    """Raises InputError, naming field, value and remedy, for values of a wrong type, out of range or contradictory."""
    if not isinstance(config, Configuration):
        raise InputError(
            f"config={config!r:.80} must be a jaxscale.config.Run or a study of jaxscale.studies, not a "
            f"{type(config).__name__}. Give Run(...), with the fields that differ from its defaults."
        )
    check_types(config)
    config.check()
