"""Parameters held at given values: which coordinates of the fit that holds, and at what.

An irreducible loss or an exponent has the same value in any units. A scale does not: A N^-α is fitted as
A' (N / N₀)^-α with A' = A N₀^-α, and to hold A the unit N₀ of its column is 1.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.law import Law

_SAME = 1e-9
# Values of the other parameters, in shares of their ranges and of one: what is held must not depend on them.
_OTHERS = (0.3, 0.5, 0.8)


class Holding(NamedTuple):
    """What a fit with held parameters is fitted in.

    Attributes:
      units: which each column is divided by.
      values: (P,) of the coordinates that are held, the law's references among them; NaN for those that are free.
    """

    units: tuple[float, ...]
    values: np.ndarray


def checked(law: Law, fixed: Mapping[str, float] | None) -> dict[str, float]:
    """`fixed` as floats by name, in the order of the law.

    Raises:
      InputError: for a parameter that the law does not have or cannot hold, a value out of its range, or no free one.
    """
    if fixed is None:
        return {}
    known = dict.fromkeys((*law.parameters, *law.coordinates))
    if not isinstance(fixed, Mapping):
        raise InputError(f"fixed={fixed!r} is no mapping. Pass for example fixed={{{law.parameters[0]!r}: 1.5}}.")
    for name in fixed:
        if name not in known:
            raise InputError(
                f"fixed={name!r} is no parameter of law {law.name!r}. Pass one of {', '.join(law.parameters)}."
            )
    values = {name: arguments.real(name, fixed[name], 1.5) for name in known if name in fixed}
    for name, value in values.items():
        if not np.isfinite(value) or (name in law.linear and value < 0):
            raise InputError(f"fixed={name}={value} is out of range. Pass a finite number from 0.")
        if name in law.nonlinear and not _depends_on_units(law, name):
            low, high = law.nonlinear[name].hard
            if not low <= value <= high:
                raise InputError(f"fixed={name}={value} is out of range. Pass a number from {low:g} to {high:g}.")
    held = hold(law, [np.full(1, 2.0)] * len(law.columns), values).values
    if not np.isnan(held).any():
        raise InputError(f"fixed={', '.join(values)} are all parameters of law {law.name!r}. Leave one to be fitted.")
    return values


def hold(law: Law, columns: Sequence[np.ndarray], fixed: Mapping[str, float]) -> Holding:
    """The units of the fit and the coordinates that are held in them, for values that `checked` let through.

    Raises:
      InputError: for parameters that no coordinate can hold.
    """
    units = law.units_of(columns)
    references = law.reference_values(columns)
    at_references = np.array([references.get(name, np.nan) for name in law.coordinates])
    if not fixed:
        return Holding(units, at_references)
    found = _holding(law, units, fixed)
    if found is None:
        alone = [name for name in law.parameters if _holding(law, (2.0,) * len(units), {name: 1.0})]
        raise InputError(
            f"fixed={', '.join(fixed)} cannot be held in law {law.name!r}: there it is no coordinate of the fit. "
            f"Pass one of {', '.join(alone)}."
        )
    return found._replace(values=np.where(np.isnan(found.values), at_references, found.values))


def _holding(law: Law, units: tuple[float, ...], fixed: Mapping[str, float]) -> Holding | None:
    """In these units, or else in such as leave the columns of `fixed` as they are; None where nothing can hold them."""
    held = _held(law, units, fixed)
    if np.sum(~np.isnan(held)) == len(fixed):
        return Holding(units, held)
    named = law.units or law.columns
    own = {unit for unit in named if any(_depends_on(law, name, unit) for name in fixed)}
    units = tuple(1.0 if name in own else unit for name, unit in zip(named, units, strict=True))
    held = _held(law, units, fixed)
    searched = [name for name, value in zip(law.coordinates, held, strict=True) if np.isnan(value)]
    # The ranges of the others are those of columns near 1.
    strays = any(_depends_on(law, name, unit) for name in searched if name in law.nonlinear for unit in own)
    return None if np.sum(~np.isnan(held)) != len(fixed) or strays else Holding(units, held)


def _held(law: Law, units: Sequence[float], fixed: Mapping[str, float]) -> np.ndarray:
    """The coordinates (P,) that `fixed` alone determines, NaN where it does not."""
    found = np.array(list(_samples(law, units, fixed)))
    with np.errstate(invalid="ignore"):
        same = np.all(np.abs(found - found[0]) <= _SAME * np.abs(found[0]), axis=0)
    return np.where(same, found[0], np.nan)


def _samples(law: Law, units: Sequence[float], fixed: Mapping[str, float]) -> Iterator[np.ndarray]:
    """Coordinates (P,) in these units at `fixed` and several values of all other parameters."""
    ones = (1.0,) * len(units)
    for number, share in enumerate(_OTHERS):
        linear = [1.0 + share * (1 + place) for place in range(len(law.linear))]
        # Apart from each other too, so that no ratio stays.
        others = [r.at(np.asarray(share + 0.02 * place * number)) for place, r in enumerate(law.nonlinear.values())]
        z = dict(zip(law.coordinates, [*linear, *others], strict=True))
        z |= {name: value for name, value in fixed.items() if name in z}
        with jax.enable_x64(True), np.errstate(all="ignore"):
            parameters = dict(law.parameters_at(np.array(list(z.values()))))
            parameters |= {name: value for name, value in fixed.items() if name in parameters}
            yield law.coordinates_of(parameters, units if law.rescale else ones)


def _depends_on(law: Law, name: str, unit: str) -> bool:
    """Whether a parameter or coordinate changes with the unit of one column."""
    if law.rescale is None:
        return False
    ones = (1.0,) * len(law.columns)
    twice = tuple(2.0 if own == unit else 1.0 for own in law.units or law.columns)
    (z,) = list(_samples(law, ones, {}))[:1]
    with jax.enable_x64(True), np.errstate(all="ignore"):
        before = law.parameters_at(z)
        after = law.in_raw_units(before, twice)
        if name in before:
            return not np.isclose(after[name], before[name], rtol=_SAME)
        place = law.coordinates.index(name)
        return not np.isclose(law.coordinates_of(after, ones)[place], z[place], rtol=_SAME)


def _depends_on_units(law: Law, name: str) -> bool:
    return any(_depends_on(law, name, unit) for unit in law.units or law.columns)
