"""The runs that a plan chooses from, and what each of them costs."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.flops import FLOPS
from jaxscale.laws.law import Law
from jaxscale.laws.runs import Table, numbers

_BEYOND = 10.0  # times the largest of the pilot
# Values of each column by the number of columns, and of tokens per parameter.
_POINTS = {1: 25, 2: 14, 3: 7, 4: 4}
_RATIOS = 9
_DIGITS = 3  # significant, of sizes

Ranges = dict[str, tuple[float, float]]
Price = Callable[[Mapping[str, np.ndarray]], np.ndarray]


class Choices(NamedTuple):
    """K runs to choose from.

    Attributes:
      columns: by name, (K,).
      cost: (K,).
      unit: of the cost: "FLOP", or what else is counted.
    """

    columns: dict[str, np.ndarray]
    cost: np.ndarray
    unit: str


def checked_ranges(ranges: Mapping[str, Sequence[float]] | None, law: Law, pilot: Mapping[str, np.ndarray]) -> Ranges:
    """Least and greatest value of each column: as given, else from the pilot's least to ten times its greatest.

    Raises:
      InputError: for a column that the law does not read, ends out of order, or a column without a range or pilot.
    """
    ranges = {} if ranges is None else ranges
    unknown = [column for column in ranges if column not in law.columns]
    if unknown:
        raise InputError(f"ranges name {unknown[0]!r}; law {law.name!r} reads {', '.join(law.columns)}. Name those.")
    found = {}
    for column in law.columns:
        if column in ranges:
            ends = arguments.reals(ranges[column])
            if ends is None or ends.shape != (2,) or not 0 < ends[0] < ends[1] < np.inf:
                raise InputError(
                    f"ranges[{column!r}]={ranges[column]!r} must be two positive numbers, the lesser first. Pass for "
                    "example (1e7, 1e9)."
                )
            found[column] = float(ends[0]), float(ends[1])
        elif column in pilot:
            found[column] = float(pilot[column].min()), _BEYOND * float(pilot[column].max())
        else:
            raise InputError(
                f"ranges lack {column}, and there is no pilot to read it from. Pass {{'{column}': (1e7, 1e9)}}."
            )
    return found


def price(cost: str | None, law: Law, pilot: Table | None) -> tuple[Price, str]:
    """What a run costs, as a function of its columns, and the unit of that.

    Args:
      cost: a product of numbers and columns such as "6*N*D"; or a column of the pilot, which is then continued by the
        power law of the columns that fits it best. Where None: 6 N D, C, or the first column itself.
      law: whose columns there are.
      pilot: the table with the column.

    Raises:
      InputError: for a cost that is neither.
    """
    if cost is None:
        if {"N", "D"} <= set(law.columns):
            return (lambda x: FLOPS * x["N"] * x["D"]), "FLOP"
        if "C" in law.columns:
            return (lambda x: x["C"]), "FLOP"
        column = law.columns[0]
        return (lambda x: x[column]), column
    factors = [part.strip() for part in str(cost).split("*")]
    plain = [part for part in factors if part not in law.columns]
    values = [_number(part) for part in plain]
    if all(value is not None for value in values):
        scale = float(np.prod([value for value in values if value is not None]))
        if scale > 0 and len(plain) < len(factors):
            named = [part for part in factors if part in law.columns]
            return (lambda x: scale * np.prod([x[part] for part in named], axis=0)), "FLOP"
    if pilot is None or len(factors) > 1:
        raise InputError(
            f"cost={cost!r} is no product of numbers and of {', '.join(law.columns)}, nor a column of the pilot. Write "
            f"for example {'*'.join(['6', *law.columns])}."
        )
    return _continued(numbers(pilot, (*law.columns, factors[0])), law, factors[0]), "FLOP"


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _continued(table: Mapping[str, np.ndarray], law: Law, column: str) -> Price:
    """The power law of the columns that fits a cost column best, by least squares of logarithms."""
    logs = np.stack([np.ones_like(table[column]), *(np.log(table[name]) for name in law.columns)], axis=1)
    powers = np.linalg.lstsq(logs, np.log(table[column]), rcond=None)[0]
    return lambda x: np.exp(
        powers[0] + np.sum([power * np.log(x[name]) for power, name in zip(powers[1:], law.columns, strict=True)], 0)
    )


def given(table: Table, law: Law, cost: str | None, pilot: Table | None) -> Choices:
    """Runs as the user lists them; a column named `cost` of the list is their cost."""
    columns = numbers(table, law.columns)
    try:
        of, unit = price(cost, law, pilot)
        return Choices(columns, of(columns), unit)
    except InputError:
        return Choices(columns, numbers(table, (str(cost),))[str(cost)], "FLOP")


def grid(law: Law, ranges: Ranges, pilot: Mapping[str, np.ndarray], of: Price, unit: str) -> Choices:
    """Runs over the ranges, even in the logarithm of each column.

    With N and D, tokens per parameter stay within those of the pilot, where there is one: far beyond them the law has
    not been seen to hold, and such runs are the cheapest and would always be chosen.
    """
    points = _POINTS[min(len(ranges), max(_POINTS))]
    axes = {name: np.geomspace(*ends, points) for name, ends in ranges.items()}
    if {"N", "D"} <= set(pilot):
        ratios = pilot["D"] / pilot["N"]
        axes["D"] = np.geomspace(ratios.min(), ratios.max(), _RATIOS)
    mesh = dict(zip(axes, (x.ravel() for x in np.meshgrid(*axes.values(), indexing="ij")), strict=True))
    if {"N", "D"} <= set(pilot):
        mesh["D"] = mesh["D"] * mesh["N"]
        lower, upper = ranges["D"]
        inside = (mesh["D"] >= lower * (1 - 1e-9)) & (mesh["D"] <= upper * (1 + 1e-9))
        mesh = {name: x[inside] for name, x in mesh.items()}
    columns = {name: rounded(mesh[name]) for name in law.columns}
    return Choices(columns, of(columns), unit)


def rounded(values: np.ndarray) -> np.ndarray:
    """To three significant digits: a size that can be read."""
    scale = 10.0 ** (np.floor(np.log10(values)) - (_DIGITS - 1))
    return np.asarray(np.round(values / scale) * scale)


def affordable(choices: Choices, budget: float) -> Choices:
    """Those that cost no more than all there is.

    Raises:
      InputError: if none does.
    """
    keep = choices.cost <= budget
    if not keep.any():
        raise InputError(
            f"max_compute={budget:g} is less than the cheapest run costs, {choices.cost.min():.3g} {choices.unit}. "
            "Raise it, or allow smaller runs."
        )
    return Choices({name: x[keep] for name, x in choices.columns.items()}, choices.cost[keep], choices.unit)
