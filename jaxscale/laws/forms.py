"""The functional forms that can be fitted, as data: one declaration per law.

    LAWS["data"].formula            # "L(n) = E + A n^-α"

A name that is not among them is answered with the nearest one.
"""

import dataclasses
import difflib
from collections.abc import Callable, Mapping
from typing import Any

from jaxscale.errors import InputError


@dataclasses.dataclass(frozen=True)
class Law:
    """A curve of the loss over the columns of a run table.

    Attributes:
      name: what `laws.fit` is asked for.
      columns: the columns of the table it needs beside `loss`.
      parameters: names of what is fitted.
      formula: the curve for a reader.
      expression: the curve for a program: (parameters by name, *columns) -> loss, broadcasting.
    """

    name: str
    columns: tuple[str, ...]
    parameters: tuple[str, ...]
    formula: str
    expression: Callable[..., Any]


def floor_and_power(parameters: Mapping[str, Any], size):
    """E + A size^-α: the irreducible loss and one power above it."""
    return parameters["irreducible_loss"] + parameters["scale"] * size ** -parameters["exponent"]


LAWS = {
    law.name: law
    for law in (
        Law("data", ("n",), ("irreducible_loss", "scale", "exponent"), "L(n) = E + A n^-α", floor_and_power),
        Law("model", ("N",), ("irreducible_loss", "scale", "exponent"), "L(N) = E + A N^-α", floor_and_power),
    )
}


def named(name: str) -> Law:
    """The law of that name, or an InputError that offers the nearest one."""
    if name in LAWS:
        return LAWS[name]
    nearest = difflib.get_close_matches(str(name), LAWS, n=1, cutoff=0.0)[0]
    raise InputError(f"law={name!r} is unknown; did you mean {nearest!r}? Known laws: {', '.join(LAWS)}.")
