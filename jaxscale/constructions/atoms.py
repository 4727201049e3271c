"""What a program is made of: inputs, products and small ReLU networks, each a vector of numbers within known intervals.

An atom is what costs a block of the transformer; affine combinations of atoms are `expressions.Expression`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from jaxscale.constructions.expressions import Expression

Layers = tuple[tuple[np.ndarray, np.ndarray], ...]  # (kernel, bias) of each affine map; ReLU between them


class Atom:
    """`size` numbers that affine combinations refer to, each within [lower, upper]. Compared by identity.

    No block before `earliest` computes it, though all it needs may be known.
    """

    size: int
    lower: np.ndarray
    upper: np.ndarray
    name: str = ""
    earliest: int = 0

    @property
    def arguments(self) -> tuple[Expression, ...]:
        """What must be known before this is."""
        return ()

    def take(self, index: np.ndarray) -> Atom:
        """The atom of the entries `index`, computed anew."""
        raise NotImplementedError

    def values(self, arguments: Sequence[np.ndarray]) -> np.ndarray:
        """(size, B) from the arguments' (n, B)."""
        raise NotImplementedError


class Input(Atom):
    """The coordinates of a point."""

    def __init__(self, names: Sequence[str], lower: np.ndarray, upper: np.ndarray):
        self.names, self.size = tuple(names), len(names)
        self.lower, self.upper = lower, upper
        self.name = " ".join(names)


class Product(Atom):
    """Entry by entry; exact, as the score of attention is bilinear."""

    def __init__(self, left: Expression, right: Expression, name: str = "product"):
        self.left, self.right, self.size, self.name = left, right, left.size, name
        with np.errstate(over="ignore"):  # an expression is refused where an interval is not finite
            ends = np.stack([a * b for a in (left.lower, left.upper) for b in (right.lower, right.upper)])
        self.lower, self.upper = ends.min(axis=0), ends.max(axis=0)
        if left.same_as(right):
            self.lower = np.where((left.lower < 0) & (left.upper > 0), 0, np.maximum(self.lower, 0))

    @property
    def arguments(self) -> tuple[Expression, ...]:
        return self.left, self.right

    def take(self, index: np.ndarray) -> Product:
        return Product(self.left[index], self.right[index], self.name)

    def values(self, arguments: Sequence[np.ndarray]) -> np.ndarray:
        product: np.ndarray = arguments[0] * arguments[1]
        return product


class Dot(Atom):
    """Σ_i left_i right_i, one number."""

    size = 1

    def __init__(self, left: Expression, right: Expression, name: str = "dot"):
        self.left, self.right, self.name = left, right, name
        terms = Product(left, right)
        with np.errstate(over="ignore", invalid="ignore"):
            self.lower, self.upper = np.sum(terms.lower, keepdims=True), np.sum(terms.upper, keepdims=True)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        return self.left, self.right

    def values(self, arguments: Sequence[np.ndarray]) -> np.ndarray:
        sums: np.ndarray = np.sum(arguments[0] * arguments[1], axis=0, keepdims=True)
        return sums


@dataclasses.dataclass(frozen=True, eq=False)
class Kind:
    """A ReLU network from k numbers to one, applied to each entry of its arguments.

    Attributes:
      name: for the layout.
      layers: (kernel (k, w), bias (w,)), …, the last with one column.
      one_sided: zero for all negative arguments, so that it need not see them; k = 1.
    """

    name: str
    layers: Layers
    one_sided: bool = False

    @property
    def at_zero(self) -> float:
        return float(self.values(np.zeros((self.layers[0][0].shape[0], 1)))[0])

    def values(self, x_kxB: np.ndarray) -> np.ndarray:
        hidden = x_kxB
        for i, (kernel, bias) in enumerate(self.layers):
            hidden = kernel.T @ hidden + bias[:, None]
            hidden = np.maximum(hidden, 0) if i < len(self.layers) - 1 else hidden
        outputs: np.ndarray = hidden[0]
        return outputs

    def interval(self, lower_kxN: np.ndarray, upper_kxN: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """An interval for each column of arguments, layer by layer."""
        lower, upper = lower_kxN, upper_kxN
        for i, (kernel, bias) in enumerate(self.layers):
            up, down = np.maximum(kernel, 0).T, np.minimum(kernel, 0).T
            lower, upper = up @ lower + down @ upper + bias[:, None], up @ upper + down @ lower + bias[:, None]
            if i < len(self.layers) - 1:
                lower, upper = np.maximum(lower, 0), np.maximum(upper, 0)
        return lower[0], upper[0]


class NetworkAtom(Atom):
    """A `Kind` of network at each entry of its arguments."""

    def __init__(self, kind: Kind, operands: Sequence[Expression], name: str = ""):
        self.kind, self.operands = kind, tuple(operands)
        self.size, self.name = operands[0].size, name or kind.name
        with np.errstate(over="ignore", invalid="ignore"):
            ends = np.stack([x.lower for x in operands]), np.stack([x.upper for x in operands])
            self.lower, self.upper = kind.interval(*ends)

    @property
    def arguments(self) -> tuple[Expression, ...]:
        return self.operands

    def take(self, index: np.ndarray) -> NetworkAtom:
        return NetworkAtom(self.kind, [x[index] for x in self.operands], self.name)

    def values(self, arguments: Sequence[np.ndarray]) -> np.ndarray:
        x_kxNxB = np.stack(arguments)
        return self.kind.values(x_kxNxB.reshape(len(arguments), -1)).reshape(x_kxNxB.shape[1:])


class Linear(Atom):
    """An affine combination that some token holds; compilers make them where a product needs one number."""

    def __init__(self, argument: Expression, name: str = "sum"):
        self.argument, self.size, self.name = argument, argument.size, name
        self.lower, self.upper = argument.lower, argument.upper

    @property
    def arguments(self) -> tuple[Expression, ...]:
        return (self.argument,)

    def take(self, index: np.ndarray) -> Linear:
        return Linear(self.argument[index], self.name)

    def values(self, arguments: Sequence[np.ndarray]) -> np.ndarray:
        return arguments[0]
