"""Checks shared by the functions of theory: concrete numbers out of range raise, traced ones pass."""

from collections.abc import Callable
from typing import cast

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxscale import arguments
from jaxscale.errors import InputError

# What the functions of theory return: a number or an array, of the kind of what they are given.
Numbers = float | np.ndarray | jax.Array


def in_range(name: str, value: ArrayLike, holds: Callable[[np.ndarray], ArrayLike], wanted: str) -> Numbers:
    """`value` as a number or an array, after checking every concrete entry: finite, and `holds`."""
    if isinstance(value, jax.core.Tracer):
        return value
    entries = arguments.reals(value)
    if entries is None:
        raise InputError(f"{name}={value!r} is not a number or an array of numbers. Pass a finite {name} {wanted}.")
    held = holds(entries)
    valid = np.isfinite(entries) & (True if isinstance(held, jax.core.Tracer) else held)
    if not np.all(valid):
        worst = np.broadcast_to(entries, valid.shape)[~valid].flat[0]
        raise InputError(f"{name}={worst} is out of range. Pass a finite {name} {wanted}.")
    if isinstance(value, (float, np.generic, np.ndarray, jax.Array)):
        return cast(Numbers, value)
    return entries if entries.ndim else float(entries)


def positive(name: str, value: ArrayLike) -> Numbers:
    """`value`, refused unless positive."""
    return in_range(name, value, lambda v: v > 0, "above 0")


def count(name: str, value: ArrayLike) -> Numbers:
    """`value`, refused below 1: a number of samples, parameters, layers or the like."""
    return in_range(name, value, lambda v: v >= 1, "of at least 1")


def dimension(d: ArrayLike) -> Numbers:
    """`d`, refused unless a positive intrinsic dimension."""
    return in_range("d", d, lambda d: d > 0, "above 0")


def smoothness(beta: ArrayLike) -> Numbers:
    """`beta`, refused outside (0, 1]."""
    return in_range("beta", beta, lambda b: (b > 0) & (b <= 1), "in (0, 1], where the theorems hold")
