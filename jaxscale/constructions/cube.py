"""The theorem on the cube: a Hölder function on [0, 1]^d as a transformer of depth 2 + ⌈log2 d⌉, whatever the accuracy.

    approximation = approximate(f, dim=2, epsilon=0.05, holder=Holder(1.0))
    approximation(points), approximation.bound

f~(x) = Σ_n f(n/N) φ_n(x) over the grid points n/N, with bumps φ_n(x) = Π_i ψ(3N x_i - 3n_i) that sum to one. Products
are exact in attention, so the transformer equals f~ and the only error is that of interpolation:

    sup |f~ - f| ≤ H (√d / 2N)^β

since φ_n(x) are weights of mean square distance at most d/4N², and t^(β/2) is concave (Havrilla & Liao 2024; the
construction and its constant are derived, see docs/constructions). For β > 1 the values f(n/N) become Taylor
polynomials.
"""

import math

import numpy as np

from jaxscale.arguments import integer
from jaxscale.constructions.approximation import Approximation, chosen_grid, lattice
from jaxscale.constructions.compiler import LIMIT, BackEnd, compile
from jaxscale.constructions.encodings import Encoding, named
from jaxscale.constructions.expressions import Expression, input_vector
from jaxscale.constructions.primitives import held, prod, trapezoid
from jaxscale.constructions.targets import Holder, Target, derivatives_at, values_at
from jaxscale.errors import InputError


def approximate(
    f: Target,
    dim: int,
    grid: int | None = None,
    epsilon: float | None = None,
    holder: Holder | None = None,
    backend: BackEnd = "pairwise",
    encoding: str | Encoding = "parabola",
    limit: float = LIMIT,
) -> Approximation:
    """A transformer for `f` on [0, 1]^dim.

    Args:
      f: (n, dim) points to (n,) values; for exponents above one written in jax, as it is differentiated.
      dim: d.
      grid: N, cells along each side.
      epsilon: instead of `grid`: the sup error to prove, from which N follows by `holder`.
      holder: smoothness of f; without it no bound can be proved, and N must be given.
      backend, encoding, limit: see `compile`.

    Returns:
      `Approximation`, whose `bound` holds for the sup over the cube.

    Raises:
      InputError: if f is not vectorized or not finite, neither or both of `grid` and `epsilon` are given, or the
        network would exceed the limit; this is found, and its size told, before anything is built.
    """
    dim = integer("dim", dim, 1)
    N = chosen_grid(grid, epsilon, lambda N: bound(dim, N, holder) if holder else None)
    order = holder.order if holder else 0
    check_grid(dim, N, backend, encoding, limit, order)
    nodes = lattice(dim, N) / N
    if order:
        program = taylor_program(dim, N, derivatives_at(f, nodes, order))
    else:
        program = interpolation_program(dim, N, values_at(f, nodes))
    return Approximation(
        network=compile(program, backend, encoding, limit),
        target=f,
        dimension=dim,
        grid=N,
        holder=holder,
        bound=bound(dim, N, holder) if holder else None,
        domain="cube",
    )


def bound(dim: int, N: int, holder: Holder) -> float:
    """sup |f~ - f| at most: H (√d/2N)^β, for β > 1 times Γ(β-s+1)/Γ(β+1).

    The mean of |x - n/N|² under the weights φ_n is at most d/4N², attained midway between nodes. Up to β = 2 Jensen's
    inequality gives the mean of the power β; beyond, the farthest node, at 2√d/3N, bounds what is left.
    """
    beta = holder.exponent
    spread = (math.sqrt(dim) / (2 * N)) ** min(beta, 2)
    return holder.remainder(spread * (2 * math.sqrt(dim) / (3 * N)) ** max(beta - 2, 0))


def bumps(x: Expression, N: int) -> list[Expression]:
    """ψ(3N x_i - 3n) at each grid point, a vector for each coordinate i of x; each ramp is computed once."""
    dim = x.size
    axis, node = np.repeat(np.arange(dim), N + 1), np.tile(np.arange(N + 1), dim)
    ramps = trapezoid(3 * N * x[axis] - 3 * node).named("bump")
    return [ramps[i * (N + 1) + column] for i, column in enumerate(lattice(dim, N).T)]


def interpolation_program(dim: int, N: int, values: np.ndarray) -> Expression:
    """Σ_n values[n] φ_n(x). No more than 2^dim bumps differ from zero at once, and they sum to one."""
    phi = prod(bumps(input_vector(dim), N))
    program: Expression = (values @ phi).within(values.min(), values.max(), active=2**dim)
    return program


def taylor_program(dim: int, N: int, derivatives: list[np.ndarray]) -> Expression:
    """Σ_n φ_n(x) p_n(x) with p_n the Taylor polynomial of order one or two at n/N."""
    x, nodes = input_vector(dim), lattice(dim, N) / N
    value, gradient, *rest = derivatives
    constant, slope = value - np.sum(gradient * nodes, axis=1), gradient
    polynomial = None
    if rest:
        hessian = rest[0]
        turned = np.einsum("nij,nj->ni", hessian, nodes)
        constant, slope = constant + np.sum(turned * nodes, axis=1) / 2, slope - turned
        first, second = np.triu_indices(dim)
        factor = np.where(first == second, 0.5, 1.0)
        polynomial = (hessian[:, first, second] * factor) @ (x[first] * x[second]).named("monomial")
    linear = slope @ x + constant
    polynomial = held(linear if polynomial is None else linear + polynomial).named("polynomial")
    # Where φ_n is not zero, x is this close to n/N.
    reach = 2 * math.sqrt(dim) / (3 * N)
    change = sum(
        np.linalg.norm(form.reshape(len(form), -1), axis=1) * reach**k / math.factorial(k)
        for k, form in enumerate(derivatives[1:], start=1)
    )
    total = prod([*bumps(x, N), polynomial]).sum()
    return total.within((value - change).min(), (value + change).max(), active=2**dim)


def check_grid(dim: int, N: int, backend: str, encoding: str | Encoding, limit: float, order: int = 0) -> None:
    """InputError if the network would take more bytes than `limit`, by the theorem's count of tokens and heads."""
    points = float(N + 1) ** dim
    halves = math.ceil(dim / 2)
    if backend == "structured":
        tokens, heads = points + dim * (N + 1) + 1, 0.0
        width = 2 * dim + 8 + (1 + dim) * math.log2(max(points, 2))
        numbers = tokens * width
    else:
        tokens = points * (halves + (order > 0)) + dim * (N + 1) + dim + 1
        heads = points * (halves + dim + (order > 0) * (dim + 2))
        width = 3 + named(encoding).rows(min(int(tokens), 2**62))
        numbers = heads * (6 * width + width**2)
    if 8 * numbers > limit:
        raise InputError(
            f"grid N={N} in dimension {dim} has {points:.3g} grid points: the network would have {tokens:.3g} tokens, "
            f"{heads:.3g} heads and about {numbers:.3g} parameters, {8 * numbers:.3g} bytes; limit={limit:.3g}. "
            "Ask for a larger epsilon or a smaller grid, use backend='structured', or raise the limit."
        )
