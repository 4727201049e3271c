"""The functions that are approximated: how smooth they are, and asking them for values.

Holder(constant=1.0, exponent=0.5)       # |f(x) - f(y)| ≤ 1 · |x - y|^0.5
"""

import dataclasses
import math
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.errors import InputError

Target = Callable[[np.ndarray], np.ndarray]
Points = TypeVar("Points", np.ndarray, jax.Array)

# Above two derivatives the polynomials have more coefficients than the accuracy repays.
LARGEST_EXPONENT = 3.0


@dataclasses.dataclass(frozen=True)
class Holder:
    """Smoothness of a function, in Euclidean distance: |D^s f(x) - D^s f(y)| ≤ constant · |x - y|^(exponent - s).

    s is the largest integer below the exponent, zero up to exponent one; D^s f is the s-linear form of derivatives and
    its norm that of forms.

    Raises:
      InputError: if the exponent is not in (0, 3], or the constant is negative or not finite.
    """

    constant: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        for name in ("constant", "exponent"):
            object.__setattr__(self, name, float(getattr(self, name)))  # NumPy's too, as plain values for documents
        if not 0 < self.exponent <= LARGEST_EXPONENT:
            raise InputError(
                f"the Hölder exponent beta={self.exponent} is out of range. "
                f"Pass one in (0, 1], or up to {LARGEST_EXPONENT:g} for local polynomials."
            )
        if not (self.constant >= 0 and math.isfinite(self.constant)):
            raise InputError(f"the Hölder constant {self.constant} must be finite and not negative.")

    @property
    def order(self) -> int:
        """s, the degree of the local polynomials."""
        return math.ceil(self.exponent) - 1

    def remainder(self, distance_power: float) -> float:
        """Bound on the Taylor remainder of order s where E|h|^exponent ≤ `distance_power`.

        The integral form of the remainder is ∫ (1-t)^(s-1)/(s-1)! (D^s f(a + t h) - D^s f(a)) h^s dt, and the integral
        of (1-t)^(s-1) t^(β-s)/(s-1)! is Γ(β-s+1)/Γ(β+1); for s = 0 the factor is one.
        """
        factor = math.gamma(self.exponent - self.order + 1) / math.gamma(self.exponent + 1) if self.order else 1.0
        return self.constant * factor * distance_power


def cone(apex: np.ndarray | float, exponent: float = 1.0) -> Target:
    """|x - apex|^exponent: the function that is hardest to approximate at its apex, with Hölder constant one."""
    return lambda x: ((x - apex) ** 2).sum(-1) ** (exponent / 2)


def crease(direction: np.ndarray, exponent: float = 1.0) -> Target:
    """sign(s) |s|^exponent of s = <direction, x>, zero and rough where s is zero; Hölder constant 2^(1 - exponent).

    Where it is rough it is in the middle of its range, so that on a manifold the partition of unity adds nothing to the
    error there, and the direction must have length one.
    """

    def f(x: np.ndarray) -> np.ndarray:
        s = x @ direction
        y: np.ndarray = (2.0 * (s > 0) - 1) * abs(s) ** exponent
        return y

    return f


def takagi(shift: np.ndarray, exponent: float = 1.0, levels: int = 12) -> Target:
    """Σ_i Σ_k 2^(-exponent k) dist(2^k (x_i - shift_i), Z) / √D, k < levels: rough everywhere, on every scale.

    The Takagi-Landsberg function: as levels are added its Hölder exponent is `exponent` below one, and any number below
    one at one (Takagi 1903; Allaart & Kawamura 2011, survey). Kinks of level k lie 2^-(k+1) apart, from `shift` on.
    """

    def f(x: np.ndarray) -> np.ndarray:
        t = x - shift
        folded = sum(2.0 ** (-exponent * k) * abs(2**k * t - np.round(2**k * t)) for k in range(levels))
        y: np.ndarray = folded.sum(-1) / x.shape[-1] ** 0.5
        return y

    return f


def waves(x: Points) -> Points:
    """Σ_i sin(2π x_i) / (2π √D): smooth, and Lipschitz with constant one."""
    numerical = jnp if isinstance(x, jax.Array) else np
    y: Points = numerical.sin(2 * np.pi * x).sum(-1) / (2 * np.pi * x.shape[-1] ** 0.5)
    return y


def values_at(f: Target, points: np.ndarray, what: str = "f") -> np.ndarray:
    """f at points (n, D) in float64, checked.

    Raises:
      InputError: if f cannot take an array of points, or returns another shape than (n,), or what is not finite.
    """
    try:
        with jax.enable_x64(True):
            returned = np.asarray(f(points))
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{what} cannot be evaluated at points of shape {points.shape}: {type(error).__name__}: {error}. "
            "It must take an array (n, D) of points and return (n,) values; jax.vmap makes such a function."
        ) from error
    if returned.shape != (len(points),):
        raise InputError(
            f"{what} returned shape {returned.shape} for points of shape {points.shape}; it must return "
            f"({len(points)},). Vectorize it over the first axis."
        )
    values = returned.astype(float)
    if not np.all(np.isfinite(values)):
        worst = np.argmin(np.isfinite(values))
        raise InputError(f"{what} is {values[worst]} at {points[worst]}. It must be finite on the whole domain.")
    return values


def derivatives_at(f: Target, points: np.ndarray, order: int) -> list[np.ndarray]:
    """f and its derivatives up to `order` at points (n, D): (n,), (n, D), (n, D, D), …, by forward differentiation.

    Raises:
      InputError: if f is not written in jax, or a derivative is not finite.
    """
    found = [values_at(f, points)]
    one = lambda point: f(point[None])[0]
    for k in range(1, order + 1):
        one = jax.jacfwd(one)
        try:
            with jax.enable_x64(True):
                found.append(np.asarray(jax.jit(jax.vmap(one))(points), dtype=float))
        except Exception as error:
            raise InputError(
                f"f cannot be differentiated: {type(error).__name__}: {error}. An exponent above one needs a function "
                "written with jax.numpy; or pass beta ≤ 1."
            ) from error
        if not np.all(np.isfinite(found[-1])):
            raise InputError(f"derivative {k} of f is not finite at a grid point. Pass a smaller exponent.")
    return found
