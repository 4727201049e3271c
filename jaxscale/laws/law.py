"""What a scaling law is: one declaration, from which fitting, intervals, predictions and printing follow.

    Law(
        name="mine",
        columns=("n",),
        formula="L(n) = E + A n^-α",
        expression=lambda p, n: p["E"] + p["A"] * power(n, -p["alpha"]),
        linear=("E", "A"),
        nonlinear={"alpha": Range(0.01, 4.0)},
    )

The curve must be linear in the parameters named `linear` when the others are held: they are solved for exactly at every
value of the others (variable projection, Golub & Pereyra 1973), so only the others need a search.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxscale import arguments
from jaxscale.errors import InputError

Values = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Range:
    """Where a parameter is searched, and what it may never leave.

    Attributes:
      lower, upper: ends of the search for starts.
      logarithmic: whether starts are even in the logarithm.
      bounds: hard ends, where they are wider than the search.
    """

    lower: float
    upper: float
    logarithmic: bool = False
    bounds: tuple[float, float] | None = None

    def at(self, share: np.ndarray) -> np.ndarray:
        """The value at `share` of the way from `lower` to `upper`, for shares in [0, 1]."""
        if self.logarithmic:
            return self.lower * (self.upper / self.lower) ** share
        return self.lower + (self.upper - self.lower) * share

    @property
    def stride(self) -> float:
        """A step that is neither long nor short for the parameter."""
        return (self.lower * self.upper) ** 0.5 if self.logarithmic else 0.2 * (self.upper - self.lower)

    @property
    def hard(self) -> tuple[float, float]:
        """The hard ends."""
        return self.bounds or (self.lower, self.upper)


def power(base: ArrayLike, exponent: ArrayLike) -> jax.Array:
    """base^exponent of positive numbers, several times faster on CPUs than `**`, and its logarithm is often shared."""
    return jnp.exp(exponent * jnp.log(base))


class Curve(NamedTuple):
    """What compiling a law depends on. Laws with equal curves, whatever their columns are called, share a program."""

    expression: Callable[..., Any]
    coordinates: tuple[str, ...]
    linear: int  # how many of the coordinates, from the first
    from_coordinates: Callable[[Values], dict[str, Any]] | None  # to what the expression takes, where it takes others

    def __call__(self, coordinates: jax.Array, columns: jax.Array) -> jax.Array:
        """The loss (R,) at coordinates (P,) and columns (X, R), both in the units of the fit."""
        values = dict(zip(self.coordinates, coordinates, strict=True))
        loss: jax.Array = self.expression(self.from_coordinates(values) if self.from_coordinates else values, *columns)
        return loss


# Exponents beyond 10 concern one point; starts reach as far as published laws do.
EXPONENT = Range(0.03, 2.5, logarithmic=True, bounds=(1e-4, 10.0))


@dataclasses.dataclass(frozen=True, eq=False)
class Law:
    """A curve of the loss over columns of a run table.

    Most laws are linear in some of their own parameters. Where a law is so only in other coordinates, such as the k-th
    power of its scale, the declaration names those, and how they and the parameters give each other.

    Attributes:
      name: what `laws.fit` is asked for.
      columns: what it reads from the table beside the loss, in the order of the expression's arguments.
      formula: the curve for a reader.
      expression: the curve for a program: (parameters by name, *columns) -> loss, in jax.numpy, broadcasting.
      linear: coordinates in which the curve is linear, all non-negative.
      nonlinear: the other coordinates and where each is searched.
      names: the parameters as printed; `linear` and `nonlinear` where not said.
      from_coordinates: coordinates by name -> parameters by name, where they differ.
      to_coordinates: its inverse.
      in_coordinates: the curve as `expression`, of coordinates by name. Give it where parameters lose a coordinate at
        an end of its range, as B = ratio A loses the ratio at A = 0: the curve has a value and a slope there.
      rescale: (parameters for columns measured in units, *units) -> parameters for columns as they are. Without it
        columns are used as they are; with it they are divided by their geometric means, which conditions the fit.
      units: which column's unit each column is measured in, where two must share one.
      exponents: column -> the parameter with which the reducible loss falls in it, where there is one.
      references: coordinate -> the column at whose geometric mean a fit holds it: sizes at which other parameters are
        values and slopes. They are parameters, but not fitted.
      if_zero: parameter -> what the runs do not show where its interval holds 0, with {target} for what is fitted:
        "the {target} depends on N". Only for these parameters is either sign natural.
      headline: the parameters that a reader comes for; where empty, those of `exponents`, or else all that are not
        linear.
    """

    name: str
    columns: tuple[str, ...]
    formula: str
    expression: Callable[..., Any]
    linear: tuple[str, ...]
    nonlinear: Mapping[str, Range]
    names: tuple[str, ...] = ()
    from_coordinates: Callable[[Values], dict[str, Any]] | None = None
    to_coordinates: Callable[[Values], dict[str, Any]] | None = None
    in_coordinates: Callable[..., Any] | None = None
    rescale: Callable[..., dict[str, Any]] | None = None
    units: tuple[str, ...] = ()
    exponents: Mapping[str, str] = dataclasses.field(default_factory=dict)
    references: Mapping[str, str] = dataclasses.field(default_factory=dict)
    if_zero: Mapping[str, str] = dataclasses.field(default_factory=dict)
    headline: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.linear:
            raise InputError(f"law {self.name!r} names no linear parameter. Name those the curve is linear in.")
        if (self.from_coordinates is None) != (self.to_coordinates is None):
            raise InputError(f"law {self.name!r} needs both from_coordinates and to_coordinates, or neither.")

    @property
    def coordinates(self) -> tuple[str, ...]:
        """What is fitted: the linear coordinates, then the others."""
        return (*self.linear, *self.nonlinear)

    def free(self, fixed: Iterable[str] = ()) -> int:
        """How many coordinates are fitted where the parameters `fixed` are held."""
        return len(self.coordinates) - len({*self.references, *fixed})

    def reference_values(self, columns: Iterable[np.ndarray]) -> dict[str, float]:
        """Where a fit to columns (R,) holds the coordinates that are references."""
        means = {name: float(np.exp(np.mean(np.log(x)))) for name, x in zip(self.columns, columns, strict=True)}
        return {coordinate: means[column] for coordinate, column in self.references.items()}

    @property
    def parameters(self) -> tuple[str, ...]:
        """What is printed."""
        return self.names or self.coordinates

    def losses(self, parameters: Values, *columns: ArrayLike) -> np.float64 | np.ndarray:
        """The curve at columns in the order of the law, in float64; columns and parameters broadcast.

        NaN or infinite where the curve has no value, such as at sizes of 0.
        """
        with jax.enable_x64(True):
            # As JAX arrays: at the ends of a range NumPy would warn of divisions whose limits the curve has.
            values = {name: jnp.asarray(value, float) for name, value in parameters.items()}
            loss = self.expression(values, *(jnp.asarray(x, float) for x in columns))
            return np.asarray(loss, float)[()]

    def checked_columns(self, columns: Sequence[ArrayLike]) -> tuple[np.ndarray, ...]:
        """The columns as float64 arrays, refused unless they are as many as the law reads, and positive."""
        if len(columns) != len(self.columns):
            raise InputError(
                f"law {self.name!r} reads {', '.join(self.columns)}; {len(columns)} columns were given. Pass as many."
            )
        found = []
        for name, given in zip(self.columns, columns, strict=True):
            read = arguments.reals(given)
            if read is None or not (read > 0).all():
                raise InputError(f"{name}={given!r} must be positive: a number, or an array of numbers.")
            found.append(read)
        return tuple(found)

    @property
    def has_floor(self) -> bool:
        """Whether there is an irreducible loss E; exponents fitted without one say nothing about theory."""
        return "E" in self.parameters

    @property
    def curve(self) -> "Curve":
        """The loss as a function of coordinates, for compiled programs."""
        if self.in_coordinates:
            return Curve(self.in_coordinates, self.coordinates, len(self.linear), None)
        return Curve(self.expression, self.coordinates, len(self.linear), self.from_coordinates)

    def parameters_at(self, coordinates: np.ndarray) -> dict[str, Any]:
        """Parameters by name at coordinates (P, ...), still in the units of the fit."""
        values = dict(zip(self.coordinates, coordinates, strict=True))
        return self.from_coordinates(values) if self.from_coordinates else values

    def units_of(self, columns: Iterable[np.ndarray]) -> tuple[float, ...]:
        """What each column is divided by before the fit: its geometric mean, or 1 for a law without `rescale`."""
        if self.rescale is None:
            return (1.0,) * len(self.columns)
        means = dict(zip(self.columns, (float(np.exp(np.mean(np.log(x)))) for x in columns), strict=True))
        return tuple(means[name] for name in self.units or self.columns)

    def in_raw_units(self, values: Values, units: Sequence[float]) -> dict[str, Any]:
        """Parameters of the columns as they are, from those of the columns divided by `units`."""
        return dict(values) if self.rescale is None else self.rescale(dict(values), *units)

    def check_parameters(self, values: Values, dimensions: int = 0) -> None:
        """Raises InputError unless every parameter is a finite number that the law can have, or an array of them."""
        if not isinstance(values, Mapping):
            raise InputError(
                f"parameters={values!r} is no mapping. Pass numbers by name: {', '.join(self.parameters)}."
            )
        missing = [name for name in self.parameters if name not in values]
        if missing:
            listed = ", ".join(self.parameters)
            raise InputError(f"parameters lack {', '.join(missing)}; law {self.name!r} has {listed}. Pass all of them.")
        for name in self.parameters:
            found = arguments.reals(values[name])
            if found is None or found.ndim != dimensions or not np.isfinite(found).all():
                wanted = "a finite number" if dimensions == 0 else "an array of finite numbers"
                raise InputError(f"parameter {name}={values[name]!r} must be {wanted}. Correct it.")
            if name in self.linear and not (found >= 0).all():
                raise InputError(f"parameter {name}={values[name]!r} must not be negative. Correct it.")

    def coordinates_of(self, values: Values, units: Sequence[float]) -> np.ndarray:
        """The inverse of `parameters_at` and `in_raw_units`: coordinates (P, ...) of parameters in raw units."""
        named = {name: np.asarray(values[name], float) for name in self.parameters}
        scaled = self.in_raw_units(named, tuple(1 / unit for unit in units))
        own = self.to_coordinates(scaled) if self.to_coordinates else scaled
        return np.stack(np.broadcast_arrays(*(own[name] for name in self.coordinates)))

    @property
    def strides(self) -> np.ndarray:
        """How far every coordinate may go in one step, (P,); as far as it likes where the curve is linear in it."""
        return np.array([1e30] * len(self.linear) + [r.stride for r in self.nonlinear.values()])

    @property
    def bounds(self) -> np.ndarray:
        """Hard ends of every coordinate, (P, 2)."""
        return np.array([(0.0, np.inf)] * len(self.linear) + [r.hard for r in self.nonlinear.values()])
