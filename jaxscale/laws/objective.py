"""What a fit minimizes: Σ_i w_i |r_i| of some kind, over the residuals r_i of the logarithm of the loss.

    huber(1e-3)                 # the objective of Hoffmann et al. 2022, and the default
    least_squares(), least_absolute_deviations()

All are one function of one number, so a fit, its resamples and a sweep over δ are lanes of one compiled program.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError

# Least squares is a Huber function that no residual leaves; least absolute deviations one that none stays in. Below
# 1e-8 of the typical residual the difference from |r| is beneath 1e-8 of the objective.
_WIDEST = 1e12
_NARROWEST = 1e-8


@dataclasses.dataclass(frozen=True)
class Objective:
    """Σ_i w_i h_δ(r_i) with r_i = log fitted_i - log observed_i (or fitted_i - observed_i).

    h_δ(r) is r²/2 up to |r| = δ and δ (|r| - δ/2) beyond (Huber 1964). A sum, not a mean.

    Attributes:
      delta: δ; infinite for least squares, 0 for least absolute deviations, whose h is |r|.
      residual: "log", or "absolute" for the loss itself.
    """

    delta: float = 1e-3
    residual: Literal["log", "absolute"] = "log"

    def __post_init__(self) -> None:
        object.__setattr__(self, "delta", arguments.real("delta", self.delta, 1e-3))
        if not self.delta >= 0:
            raise InputError(f"delta={self.delta} must be from 0, least absolute deviations, up to infinity.")
        arguments.choice("residual", self.residual, ("log", "absolute"))

    def target(self, loss: np.ndarray) -> np.ndarray:
        """What the curve is compared with: the loss, or its logarithm."""
        return np.log(loss) if self.residual == "log" else np.asarray(loss, float)

    def working_delta(self, typical: float) -> float:
        """The δ that a program works with, given the size of a typical residual."""
        return float(np.clip(self.delta, _NARROWEST * typical, _WIDEST))

    def total(self, residual: np.ndarray, weight: np.ndarray) -> np.float64 | np.ndarray:
        """The objective of residuals (..., R) under weights (..., R), in numpy."""
        size, delta = np.abs(residual), self.delta
        if delta == 0:
            each = size
        elif np.isinf(delta):
            each = 0.5 * size**2
        else:
            each = np.where(size <= delta, 0.5 * size**2, delta * (size - 0.5 * delta))
        return np.sum(weight * each, axis=-1)

    def __str__(self) -> str:
        name = {0.0: "least absolute deviations", np.inf: "least squares"}.get(self.delta, f"Huber δ={self.delta:g}")
        return f"{name}, {'log' if self.residual == 'log' else 'absolute'} residuals"


def checked(objective: Objective | None) -> Objective:
    """The objective, Huber's where None; anything else is refused."""
    if objective is not None and not isinstance(objective, Objective):
        raise InputError(f"objective={objective!r} is not an Objective. Pass for example laws.huber(1e-3).")
    return Objective() if objective is None else objective


def huber(delta: float = 1e-3) -> Objective:
    """Huber's function of log residuals; δ = 1e-3 is that of Hoffmann et al. 2022."""
    return Objective(delta)


def least_squares(residual: Literal["log", "absolute"] = "log") -> Objective:
    """Half the sum of squares."""
    return Objective(np.inf, residual=residual)


def least_absolute_deviations(residual: Literal["log", "absolute"] = "log") -> Objective:
    """The sum of absolute residuals."""
    return Objective(0.0, residual=residual)


class Pieces(NamedTuple):
    """What a step needs of ρ at every residual: its derivative ψ, its second derivative, and the weight ψ/r."""

    slope: jax.Array
    curvature: jax.Array
    majorizer: jax.Array


def value(residual: jax.Array, delta: jax.Array, smoothing: jax.Array | None) -> jax.Array:
    """ρ at every residual, with corners rounded over a width `smoothing`; None for Huber's function itself.

    Rounding ψ = (|r+δ| - |r-δ|)/2 to (q₊ - q₋)/2 with q± = √((r±δ)² + s²) leads from s = ∞, least squares, to Huber's
    function at s = 0 through convex functions that are smooth all the way: a path for Newton to follow where Huber's
    own ψ has more corners than curvature, as for small δ.
    """
    x = jnp.abs(residual)
    if smoothing is None:
        return jnp.where(x <= delta, 0.5 * x * x, delta * (x - 0.5 * delta))
    s2 = smoothing * smoothing
    plus, minus = jnp.sqrt((x + delta) ** 2 + s2), jnp.sqrt((x - delta) ** 2 + s2)
    center = jnp.sqrt(delta * delta + s2)
    slope = 2 * x * delta / (plus + minus)
    # x - δ + q₋ without cancellation where x < δ; likewise q_0 - δ.
    low = jnp.where(x < delta, s2 / (minus - x + delta), minus + x - delta)
    log_ratio = jnp.log((x + delta + plus) / low * (s2 / (center + delta) ** 2))
    return 0.25 * (2 * x * slope + delta * (plus + minus - 2 * center) + s2 * log_ratio)


def pieces(residual: np.ndarray | jax.Array, delta: float | jax.Array, smoothing: jax.Array | None) -> Pieces:
    """ψ, ρ'' and ψ/r of the function `value` computes."""
    if smoothing is None:
        x = jnp.abs(residual)
        majorizer = jnp.minimum(1.0, delta / jnp.maximum(x, 1e-300))
        return Pieces(majorizer * residual, jnp.where(x <= delta, 1.0, 0.0), majorizer)
    s2 = smoothing * smoothing
    plus, minus = jnp.sqrt((residual + delta) ** 2 + s2), jnp.sqrt((residual - delta) ** 2 + s2)
    majorizer = 2 * delta / (plus + minus)
    curvature: Any = 0.5 * ((residual + delta) / plus - (residual - delta) / minus)
    return Pieces(majorizer * residual, curvature, majorizer)
