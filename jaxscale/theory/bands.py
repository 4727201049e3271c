"""Predictions with the uncertainty of what they are made from: d̂ and β̂ in, an interval of the exponent out."""

from collections.abc import Callable, Sequence

import numpy as np
from jax.typing import ArrayLike

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.theory.exponents import compute_exponent, data_exponent, model_exponent, optimal_size_exponent
from jaxscale.theory.ranges import Numbers, dimension, smoothness

_OF_THE_RATIO = (data_exponent, model_exponent, compute_exponent, optimal_size_exponent)

# (lower, upper)
Ends = Sequence[float]


def exponent_interval(
    exponent: Callable[..., Numbers],
    d: float,
    d_interval: Ends,
    beta: float = 1.0,
    beta_interval: Ends | None = None,
) -> tuple[float, float]:
    """The interval of a predicted exponent, from those of d and β, as if their errors were independent.

    Every exponent of this theory is a monotone function of d/β alone, so an interval of log(d/β) becomes one of the
    exponent exactly. Its two sides are √(side of log d² + side of log β²), each with its own length, at the level the
    given intervals have.

    Args:
      exponent: `data_exponent`, `model_exponent`, `compute_exponent` or `optimal_size_exponent`.
      d: estimate of the intrinsic dimension, > 0.
      d_interval: (lower, upper) around it, both > 0.
      beta: estimate of the smoothness, in (0, 1].
      beta_interval: (lower, upper) around it, both in (0, 1]; None takes β as known.

    Returns:
      (lower, upper) of the exponent.

    Raises:
      InputError: if a value is out of range or an interval does not hold its estimate.
    """
    if not any(exponent is known for known in _OF_THE_RATIO):
        names = ", ".join(function.__name__ for function in _OF_THE_RATIO)
        raise InputError(f"exponent={exponent!r} is not a function of d/β. Pass one of {names}.")
    d, (d_low, d_high) = _around("d", d, d_interval, dimension)
    beta, (beta_low, beta_high) = _around(
        "beta", beta, (beta, beta) if beta_interval is None else beta_interval, smoothness
    )
    ratio = np.log(d / beta)
    low = ratio - np.hypot(np.log(d / d_low), np.log(beta_high / beta))
    high = ratio + np.hypot(np.log(d_high / d), np.log(beta / beta_low))
    ends = [float(exponent(np.exp(end), 1.0)) for end in (low, high)]
    return min(ends), max(ends)


def _around(
    name: str, estimate: float, interval: Ends, check: Callable[[ArrayLike], Numbers]
) -> tuple[float, tuple[float, float]]:
    estimate = float(check(arguments.real(name, estimate, 1.0)))
    ends = arguments.reals(interval)
    if ends is None or ends.shape != (2,):
        raise InputError(f"{name}_interval={interval!r} must be two numbers, (lower, upper).")
    low, high = map(float, np.asarray(check(ends)))
    if not low <= estimate <= high:
        raise InputError(f"{name}_interval=({low:g}, {high:g}) does not hold {name}={estimate:g}. Pass lower, upper.")
    return estimate, (low, high)
