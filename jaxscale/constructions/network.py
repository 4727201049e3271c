"""What a compiler returns: a transformer with its parameters, and what is known about them.

network = compile(x * y + maximum(z, 0.3))
evaluate(network, points_BxD)                         # values, by the executor that fits
network.module().apply(network.variables(), points)   # the same as plain Flax
print(network.layout)                                 # which token and row holds what after each block
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxscale.constructions.atoms import Input
from jaxscale.constructions.expressions import Expression, atoms_of
from jaxscale.constructions.interaction import Rows
from jaxscale.errors import InputError
from jaxscale.models import relu_transformer as rt


@dataclasses.dataclass(frozen=True, eq=False)  # arrays have no hash
class Selection:
    """Which pairs of tokens the heads of a block let see each other; every other score is at most zero.

    Attributes:
      token, seen: (M, P) the query and key token of each pair, -1 where a head has fewer than P.
      data: rows of Q and K, from the first on, that carry data; the others select.
      bound: (M,) largest data score of any pair of tokens, B.
      scale: (M,) what selection rows are multiplied by, C.
      gap: C · gap is the least that any other pair loses.
      active: of some query tokens, how many of their pairs at most have a score that is not zero.
    """

    token: np.ndarray
    seen: np.ndarray
    data: int
    bound: np.ndarray
    scale: np.ndarray
    gap: float
    active: dict[int, int]

    @property
    def margin(self) -> np.ndarray:
        """(M,) how far below zero the score of any other pair lies, in units of the bound on the data score."""
        return self.scale * self.gap / np.where(self.bound > 0, self.bound, 1) - 1


class Placement(NamedTuple):
    """After block `block`, entry i of the value `name` lies in row `row[i]` of token `token[i]`."""

    block: int
    name: str
    token: np.ndarray
    row: np.ndarray


class Layout(tuple[Placement, ...]):
    """Every value with its place, in the order of blocks; prints as a table."""

    # Equal to itself alone: what is static in a pytree must be comparable, and arrays are not.
    __eq__ = object.__eq__
    __ne__ = object.__ne__
    __hash__ = object.__hash__

    def __str__(self) -> str:
        lines = [f"{'block':>5}  {'value':<28}{'entries':>9}  {'tokens':<16}rows"]
        for place in self:
            name, where = f"{place.name[:27]:<28}", f"{_span(place.token):<16}{_span(place.row)}"
            lines.append(f"{place.block:>5}  {name}{len(place.token):>9}  {where}")
        return "\n".join(lines)

    def find(self, name: str) -> list[Placement]:
        """Everything placed under that name. InputError if there is nothing."""
        found = [place for place in self if place.name == name]
        if not found:
            known = ", ".join(dict.fromkeys(place.name for place in self))
            raise InputError(f"{name!r} is not in the layout. It has {known}.")
        return found


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Network:
    """A compiled program. Arrays are float64 numpy.

    Attributes:
      shape: the class it lies in.
      params: Flax parameters of `rt.ReluTransformer(shape)`.
      encoding: (l, d_embd) what tokens start with.
      rows: places of encoding and constant in a token.
      selections: of each block.
      layout: which token and row holds what.
      program: what was compiled; `program.evaluate` is the formula.
      encoding_name: of the interaction encoding; "address" for the structured back end.
      streams: lower and upper ends, (l, data rows) each, of the residual stream before the first block and after each.
      attended: the same between attention and FFN of each block.
    """

    shape: rt.Shape = dataclasses.field(metadata={"static": True})
    params: dict[str, Any]
    encoding: np.ndarray
    rows: Rows = dataclasses.field(metadata={"static": True})
    selections: tuple[Selection, ...] = dataclasses.field(metadata={"static": True})
    layout: Layout = dataclasses.field(metadata={"static": True})
    program: Expression = dataclasses.field(metadata={"static": True})
    encoding_name: str = dataclasses.field(metadata={"static": True})
    streams: tuple[tuple[np.ndarray, np.ndarray], ...]
    attended: tuple[tuple[np.ndarray, np.ndarray], ...]

    @property
    def domain(self) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends of the inputs, (D,) each: where the network equals its formula."""
        source = input_of(self.program)
        return source.lower, source.upper

    @property
    def kappa(self) -> float:
        """κ, the largest parameter in absolute value."""
        return max(float(np.max(np.abs(leaf), initial=0.0)) for leaf in jax.tree.leaves(self.params))

    @property
    def nonzeros(self) -> int:
        """Parameters that are not zero."""
        return sum(int(np.count_nonzero(leaf)) for leaf in jax.tree.leaves(self.params))

    def module(self, **options: Any) -> rt.ReluTransformer:
        """The Flax module; options are its fields, such as `matmul_inputs`."""
        return rt.ReluTransformer(self.shape, **options)

    def variables(self, dtype: jax.typing.DTypeLike = np.float32) -> dict[str, Any]:
        """What `module().apply` takes: parameters and the fixed encoding, in `dtype`."""
        return variables_of(self.params, self.encoding, dtype)

    def check_points(self, x: jax.typing.ArrayLike) -> np.ndarray:
        """Points as an array (B, D) of floats inside the domain. InputError, naming one that is not."""
        x = np.asarray(x)
        lower, upper = self.domain
        if x.ndim != 2 or x.shape[1] != len(lower):
            raise InputError(f"points must have shape (B, {len(lower)}); they have {x.shape}. Pass one point a row.")
        outside = ~((x >= lower) & (x <= upper))
        if np.any(outside):
            point, axis = np.argwhere(outside)[0]
            raise InputError(
                f"point {point} has x{axis} = {x[point, axis]}, outside [{lower[axis]:g}, {upper[axis]:g}], where the "
                "network is defined. Pass points inside, or compile for a larger interval."
            )
        return x


def variables_of(params: dict[str, Any], encoding: np.ndarray, dtype: jax.typing.DTypeLike) -> dict[str, Any]:
    """Parameters and encoding as `rt.ReluTransformer.apply` takes them, in `dtype`; infinite beyond its range."""
    cast: Callable[[np.typing.ArrayLike], np.ndarray] = lambda leaf: np.asarray(leaf).astype(dtype)
    with np.errstate(over="ignore"):
        return {"params": jax.tree.map(cast, params), "fixed": {"encoding": cast(encoding)}}


def input_of(expression: Expression) -> Input:
    """The one declaration of inputs that a program rests on. InputError if there are several.

    A constant has the inputs it was written with, as x - x has; one written without any has no coordinates.
    """
    found = [atom for atom in atoms_of(expression) if isinstance(atom, Input)] or list(expression.sources)
    if len(found) > 1:
        raise InputError(
            f"a program must use the inputs of one declaration; this one uses {len(found)}. "
            "Declare all of them together, such as inputs('x y z')."
        )
    return found[0] if found else Input([], np.zeros(0), np.zeros(0))


def check_size(shape: rt.Shape, limit: float) -> None:
    """InputError, before anything is allocated, if the parameters of such a network take more bytes than `limit`."""
    size = 8.0 * (shape.parameters + shape.tokens * shape.width)
    if size > limit:
        raise InputError(
            f"the network would have {shape.tokens:,} tokens, {shape.heads:,} heads in a block and "
            f"{shape.parameters:,} parameters, {size:.3g} bytes in float64; limit={limit:.3g}. "
            "Ask for less accuracy, another back end or encoding, or raise the limit."
        )


def _span(values: np.ndarray) -> str:
    if not len(values):
        return "—"
    lower, upper = int(np.min(values)), int(np.max(values))
    return str(lower) if lower == upper else f"{lower}…{upper}"
