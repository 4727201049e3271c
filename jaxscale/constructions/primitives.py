"""The vocabulary of programs: functions of expressions, each exact unless it says otherwise.

    program = prod([trapezoid(4 * x - 1), trapezoid(4 * y - 2)])      # a bump over a cell of the plane
    program = maximum(x, 0.3) + reciprocal(z)

Piecewise linear functions are ReLU networks; products come from attention, whose score is bilinear, without error.
"""

import heapq
import itertools
import math
from collections.abc import Sequence

import numpy as np

from jaxscale.arguments import integer
from jaxscale.constructions.atoms import Dot, Kind, Linear, NetworkAtom
from jaxscale.constructions.expressions import Expression, depth, of_atom, stack
from jaxscale.errors import InputError

RELU = Kind("relu", ((np.ones((1, 1)), np.zeros(1)), (np.ones((1, 1)), np.zeros(1))), one_sided=True)

# ψ(u) at v = u + 2, as relu(1 - relu(v - 3) - relu(1 - v)): exactly zero outside its support in every format, where
# the sum of four ramps v - relu(v-1) - relu(v-3) + relu(v-4) leaves the rounding of v.
TRAPEZOID = Kind(
    "trapezoid",
    (
        (np.array([[1.0, -1.0]]), np.array([-3.0, 1.0])),
        (np.array([[-1.0], [-1.0]]), np.ones(1)),
        (np.ones((1, 1)), np.zeros(1)),
    ),
    one_sided=True,
)

# The ball of an indicator is 1 within √(2/3) of the radius at which it reaches 0: the steepest ramp a trapezoid has.
INNER = math.sqrt(2 / 3)


def relu(x: Expression) -> Expression:
    """max(x, 0)."""
    return of_atom(NetworkAtom(RELU, [x]), x.scalar)


def absolute(x: Expression) -> Expression:
    """|x| = relu(x) + relu(-x)."""
    return relu(x) + relu(-x)


def maximum(a: Expression, b: Expression | float) -> Expression:
    """The larger one, b + relu(a - b)."""
    return b + relu(a - b)


def minimum(a: Expression, b: Expression | float) -> Expression:
    """The smaller one, a - relu(a - b)."""
    return a - relu(a - b)


def square(x: Expression) -> Expression:
    """x², a product with itself and therefore known not to be negative."""
    return x * x


def power(x: Expression, exponent: int) -> Expression:
    """x^exponent for an integer of at least one, by products of halves: ⌈log2 exponent⌉ blocks.

    Negative exponents are powers of `reciprocal`.
    """
    return powers(x, integer("exponent", exponent, 1))[-1]


def powers(x: Expression, largest: int) -> list[Expression]:
    """x, x², …, x^largest in ⌈log2 largest⌉ blocks: each from the two halves of its exponent."""
    made = [x]
    for k in range(2, largest + 1):
        made.append(made[k // 2 - 1] * made[k - k // 2 - 1])
    return made


def poly(x: Expression, coefficients: Sequence[float]) -> Expression:
    """Σ_k coefficients[k] x^k."""
    if not len(coefficients):
        raise InputError("a polynomial needs coefficients. Pass at least the constant one.")
    total = x * 0 + coefficients[0]
    for coefficient, monomial in zip(coefficients[1:], powers(x, len(coefficients) - 1), strict=False):
        total = total + coefficient * monomial
    return total


def total(terms: Sequence[Expression]) -> Expression:
    """The sum of the terms, which costs nothing before it is used: attention sums over heads."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


def prod(factors: Sequence[Expression]) -> Expression:
    """The product of the factors by a tree: those that are ready first are multiplied first.

    ⌈log2 r⌉ blocks for r factors that are ready together.
    """
    if not len(factors):
        raise InputError("a product needs factors. Pass at least one.")
    order = itertools.count()
    heap = [(depth(factor), next(order), factor) for factor in factors]
    heapq.heapify(heap)
    while len(heap) > 1:
        first, _, a = heapq.heappop(heap)
        second, _, b = heapq.heappop(heap)
        heapq.heappush(heap, (max(first, second) + 1, next(order), a * b))
    return heap[0][2]


def dot(a: Expression, b: Expression) -> Expression:
    """Σ_i a_i b_i of two vectors of one length."""
    if a.size != b.size:
        raise InputError(f"dot needs vectors of one length; they have {a.size} and {b.size} entries.")
    return of_atom(Dot(a, b), scalar=True)


def reciprocal(x: Expression, tolerance: float = 1e-12) -> Expression:
    """1/x up to a relative error of `tolerance`, by Newton's steps y ← y (2 - x y): two blocks each.

    The start is the line closest to 1/x, relatively, over the interval of x. Its relative error q, at the two ends and
    the middle, is below one and squared by each step; so the steps needed are known beforehand.

    Raises:
      InputError: if the interval of x reaches zero or below, or the tolerance is not between 0 and 1.
    """
    lower, upper = float(x.lower.min()), float(x.upper.max())
    if lower <= 0:
        raise InputError(
            f"reciprocal needs a positive argument; it lies in [{lower:g}, {upper:g}]. Narrow it by within(lower=…)."
        )
    if not 0 < tolerance < 1:
        raise InputError(f"tolerance={tolerance} must lie between 0 and 1.")
    # 1 - x (a - b x) = ±q at lower, (lower + upper)/2 and upper.
    middle = (lower + upper) / 2
    b = 2 / (middle**2 + lower * upper)
    q = 1 - b * lower * upper
    y = b * (lower + upper) - b * x
    steps = 0 if q <= tolerance else math.ceil(math.log2(math.log(tolerance) / math.log(q)))
    for _ in range(steps):
        y = y * (2 - (x * y).within(1 - q, 1 + q))
        q = q**2
        least, most = sorted(((1 - q) / upper, (1 + q) / lower))
        y = y.within(least, most)
    return y


def trapezoid(u: Expression) -> Expression:
    """ψ(u): 1 for |u| ≤ 1, 2 - |u| for 1 ≤ |u| ≤ 2, 0 elsewhere, exactly."""
    return of_atom(NetworkAtom(TRAPEZOID, [u + 2]), u.scalar)


def bump(x: Expression, center: Sequence[float], radius: float) -> Expression:
    """Π_i ψ((x_i - center_i) / radius): 1 within `radius` of the center in every coordinate, 0 beyond twice that."""
    if not radius > 0:
        raise InputError(f"radius={radius} must be positive.")
    sides = trapezoid((x - np.asarray(center, dtype=float)) / radius)
    return sides if sides.scalar else prod(list(sides))


def indicator(x: Expression, center: Sequence[float], radius: float) -> Expression:
    """1 for |x - center| ≤ √(2/3) radius, 0 for |x - center| ≥ radius, a ramp in |x - center|² between."""
    if not radius > 0:
        raise InputError(f"radius={radius} must be positive.")
    c = np.asarray(center, dtype=float)
    squared_distance = dot(x, x) - 2 * (c @ x) + c @ c
    inner = 2 / 3 * radius**2
    return trapezoid(1 + (squared_distance - inner) / (radius**2 - inner))


def project(x: Expression, frame: np.ndarray, center: Sequence[float]) -> Expression:
    """Coordinates frame^T (x - center), for a frame (D, d): a chart. Affine, so it costs nothing by itself."""
    coordinates: Expression = np.asarray(frame, dtype=float).T @ (x - np.asarray(center, dtype=float))
    return coordinates


def held(x: Expression) -> Expression:
    """x itself, as numbers that tokens hold: one block now, so that many products can use it later."""
    return of_atom(Linear(x), x.scalar)


def gate(x: Expression, flag: Expression) -> Expression:
    """x where the flag is 1, exactly 0 where it is 0; by a product, which has no large constant to round."""
    return x * flag


def ffn(layers: Sequence[tuple[np.ndarray, np.ndarray]], *arguments: Expression, name: str = "ffn") -> Expression:
    """A ReLU network of the user's own, from k numbers to one, at each entry of its k arguments.

    Args:
      layers: (kernel (fan_in, fan_out), bias (fan_out,)) of each affine map, the last with one column; ReLU between.
      arguments: k expressions of one size.
      name: for the layout.

    Raises:
      InputError: if the layers do not fit each other or the arguments.
    """
    checked = tuple((np.asarray(kernel, dtype=float), np.asarray(bias, dtype=float)) for kernel, bias in layers)
    widths = [len(arguments), *(kernel.shape[1] if kernel.ndim == 2 else None for kernel, _ in checked)]
    fits = len(checked) > 0 and widths[-1] == 1
    for (kernel, bias), fan_in, fan_out in zip(checked, widths, widths[1:], strict=False):
        fits = fits and kernel.shape == (fan_in, fan_out) and bias.shape == (fan_out,)
    if not fits:
        shapes = [(kernel.shape, bias.shape) for kernel, bias in checked]
        raise InputError(
            f"layers {shapes} are no network from {len(arguments)} numbers to 1. "
            "Pass (fan_in, fan_out) kernels and (fan_out,) biases that follow on each other, the last with one column."
        )
    if not all(np.all(np.isfinite(array)) for layer in checked for array in layer):
        raise InputError("layers hold a number that is not finite. Pass finite kernels and biases.")
    return of_atom(NetworkAtom(Kind(name, checked), list(arguments)), arguments[0].scalar)


__all__ = [
    "absolute",
    "bump",
    "dot",
    "ffn",
    "gate",
    "held",
    "indicator",
    "maximum",
    "minimum",
    "poly",
    "power",
    "prod",
    "project",
    "reciprocal",
    "relu",
    "square",
    "stack",
    "total",
    "trapezoid",
]
