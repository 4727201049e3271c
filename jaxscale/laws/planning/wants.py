"""What is to be known of a law, and how narrowly.

checked({"alpha_C": 0.01, "loss@N=7e9,D=2e12": 0.02}, laws.named("chinchilla"), 0.95)
"""

import dataclasses
import operator
import re
from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import Any

import numpy as np

from jaxscale import arguments, theory
from jaxscale.errors import InputError
from jaxscale.laws.law import Law, Values

POWER = "power"
_FORECAST = re.compile(r"loss@(?P<point>.+)")
_DATA_COLUMNS = ("n", "D")


@dataclasses.dataclass(frozen=True)
class Want:
    """A quantity, and the width wanted of its interval.

    Attributes:
      name: as it was asked for.
      of: the quantity at parameters by name, which may be arrays.
      width: upper less lower end of the interval; for a power, that at which intervals have it.
      power: the wanted probability that the interval excludes `excluded` while the parameter is `true`; None otherwise.
      parameter, true, excluded: of a power, the exponent, and what theory predicts of it at d and at twice d.
    """

    name: str
    of: Callable[[Values], Any]
    width: float
    power: float | None = None
    parameter: str = ""
    true: float = np.nan
    excluded: float = np.nan


def checked(
    want: Mapping[str, float], law: Law, level: float, d: float | None = None, beta: float = 1.0
) -> tuple[Want, ...]:
    """The quantities asked for.

    Args:
      want: the width of the interval by quantity: a parameter of the law; with terms in N and D "alpha_C" and
        "size_exponent", the powers of C of the best loss and model size; "loss@N=7e9,D=2e12", the expected loss of a
        run. Or "power", the probability of telling d from twice d by the exponent of the data.
      law, level: of the fit to come.
      d, beta: intrinsic dimension and smoothness, for "power".

    Raises:
      InputError: for a quantity that the law does not have, those it has are named; or a width out of range.
    """
    if not isinstance(want, Mapping) or not want:
        raise InputError(f"want={want!r} must name a quantity and the width of its interval. Pass {{'alpha': 0.05}}.")
    known = _quantities(law)
    return tuple(_want(name, width, known, law, level, d, beta) for name, width in want.items())


def _want(
    name: str,
    width: float,
    known: Mapping[str, Callable[[Values], Any]],
    law: Law,
    level: float,
    d: float | None,
    beta: float,
) -> Want:
    width = arguments.real(f"want[{name!r}]", width, 0.05)
    if not (np.isfinite(width) and width > 0):
        raise InputError(f"want[{name!r}]={width!r} must be a positive width of the interval. Pass for example 0.05.")
    if name == POWER:
        return _power(width, law, level, d, beta)
    if isinstance(name, str) and (match := _FORECAST.fullmatch(name)):
        return Want(name, _forecast(name, match["point"], law), width)
    if name not in known:
        columns = ",".join(f"{column}=…" for column in law.columns)
        raise InputError(
            f"want={name!r} is no quantity of law {law.name!r}. Ask for one of {', '.join(known)}, loss@{columns}"
            + (", power." if _data_exponent(law) else ".")
        )
    return Want(name, known[name], width)


def _quantities(law: Law) -> dict[str, Callable[[Values], Any]]:
    known: dict[str, Callable[[Values], Any]] = {name: operator.itemgetter(name) for name in law.parameters}
    size, data = law.exponents.get("N"), law.exponents.get("D")
    # Only of a sum of two powers are these powers of C at any C (Hoffmann et al. 2022, equation 4).
    if size and data and sorted(law.columns) == ["D", "N"] and set(law.nonlinear) == {size, data}:
        known["alpha_C"] = lambda p: p[size] * p[data] / (p[size] + p[data])
        if size != data:
            known["size_exponent"] = lambda p: p[data] / (p[size] + p[data])
    return known


def _forecast(name: str, point: str, law: Law) -> Callable[[Values], Any]:
    columns = {}
    for entry in point.split(","):
        column, _, value = entry.partition("=")
        try:
            columns[column.strip()] = float(value)
        except ValueError:
            columns[column.strip()] = np.nan
    if sorted(columns) != sorted(law.columns) or not all(np.isfinite(x) and x > 0 for x in columns.values()):
        example = ",".join(f"{column}=1e9" for column in law.columns)
        raise InputError(
            f"want={name!r} must give positive {', '.join(law.columns)}. Write for example loss@{example}."
        )
    values = [columns[column] for column in law.columns]
    return lambda p: law.losses(p, *values)


def _data_exponent(law: Law) -> str | None:
    """The exponent of the data, for a law with a floor."""
    named = [law.exponents[column] for column in _DATA_COLUMNS if column in law.exponents]
    return named[0] if named and law.has_floor else None


def _power(power: float, law: Law, level: float, d: float | None, beta: float) -> Want:
    parameter = _data_exponent(law)
    if parameter is None:
        raise InputError(
            f"want='power' needs a law with a floor E and an exponent of n or D, which {law.name!r} does not have. Fit "
            "for example 'data' or 'chinchilla'."
        )
    if d is None:
        raise InputError("want='power' asks to tell d from twice d. Pass d, the intrinsic dimension, such as d=8.0.")
    if not 0 < power < 1:
        raise InputError(f"want['power']={power} is no probability. Pass for example 0.8.")
    true, excluded = (float(theory.data_exponent(factor * d, beta)) for factor in (1.0, 2.0))
    normal = NormalDist()
    critical = normal.inv_cdf((1 + level) / 2)
    if critical + normal.inv_cdf(power) <= 0:
        raise InputError(f"want['power']={power} is less than chance at level {level}. Pass for example 0.8.")
    width = 2 * critical * (true - excluded) / (critical + normal.inv_cdf(power))
    return Want(POWER, operator.itemgetter(parameter), width, power, parameter, true, excluded)
