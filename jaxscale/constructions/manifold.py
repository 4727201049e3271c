"""The theorem on a manifold: depth 3 + ⌈log2(d+1)⌉, tokens and heads that grow with the dimension d of the manifold.

    approximation = approximate_on(sphere(2, width=32), f, grid=16, holder=Holder(1.0))

The network is c + Σ_{j,m} g_j(m/N) φ_m(y_j(x)) 1_j(x): over charts j and grid points m, bumps φ_m of the chart's
coordinates y_j = (V_j^T (x - c_j) + r)/2r in [0, 1]^d, and a ramp 1_j in |x - c_j|², 1 within r' and 0 beyond r.
g_j = (f - c) ρ_j on the chart, extended by zero. The ramp costs no accuracy and does not sharpen with it: it is exactly
1 where ρ_j is not zero, and where it falls g_j is zero, so that what it multiplies is within the error of interpolation
(Havrilla & Liao 2024, figure 1 and Theorem 2; the construction and its constant are derived, see docs/constructions).
"""

import math
from collections.abc import Callable, Iterator

import numpy as np

from jaxscale.constructions.approximation import Approximation, chosen_grid, lattice
from jaxscale.constructions.atlases import Atlas
from jaxscale.constructions.compiler import LIMIT, BackEnd, compile
from jaxscale.constructions.encodings import Encoding
from jaxscale.constructions.expressions import Expression, input_vector, stack
from jaxscale.constructions.primitives import dot, prod, trapezoid
from jaxscale.constructions.targets import Holder, Target, values_at
from jaxscale.errors import InputError


def approximate_on(
    atlas: Atlas,
    f: Target,
    grid: int | None = None,
    epsilon: float | None = None,
    holder: Holder | None = None,
    backend: BackEnd = "pairwise",
    encoding: str | Encoding = "parabola",
    limit: float = LIMIT,
) -> Approximation:
    """A transformer for `f` on the manifold of an atlas.

    Args:
      atlas: such as `sphere(2, width=32)`, or `from_points(cloud)`.
      f: (n, D) points to (n,) values, near the manifold.
      grid: N, cells along each side of a chart.
      epsilon: instead of `grid`: the sup error to prove, which needs `holder` and an atlas whose reach is known.
      holder: smoothness of f in the distance of R^D, with an exponent of at most one.
      backend, encoding, limit: see `compile`.

    Returns:
      `Approximation`; calling it checks that points lie on the manifold.

    Raises:
      InputError: as `approximate`, and if the exponent exceeds one.
    """
    if holder is not None and holder.order:
        raise InputError(f"on a manifold the Hölder exponent must be at most 1; it is {holder.exponent}.")
    N = chosen_grid(grid, epsilon, _bound_before(atlas, f, holder, epsilon))
    _check_grid(atlas, N, limit)
    chart, node, coefficient, middle, largest = coefficients(atlas, f, N)
    program = manifold_program(atlas, N, chart, node, coefficient, middle, largest)
    return Approximation(
        network=compile(program, backend, encoding, limit),
        target=f,
        dimension=atlas.dimension,
        grid=N,
        holder=holder,
        bound=bound(atlas, N, holder, largest) if holder else None,
        domain=atlas.name,
        check=atlas.check,
        atlas=atlas,
    )


def coefficients(atlas: Atlas, f: Target, N: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Charts (G,), grid points (G, d) and g_j(m/N) (G,) where ρ_j is not zero; the middle c of f, and max |f - c|."""
    nodes = lattice(atlas.dimension, N)
    J, per_chart = len(atlas.centers), len(nodes)
    chart, node = np.repeat(np.arange(J), per_chart), np.tile(nodes, (J, 1))
    offset = atlas.radius * (2 * node / N - 1)
    # An offset is no longer than the distance to the center, so these alone can have weight.
    near = np.sum(offset**2, axis=1) < atlas.inner**2
    chart, node, offset = chart[near], node[near], offset[near]
    points = atlas.lift(chart, offset)
    squared = np.sum((points - atlas.centers[chart]) ** 2, axis=1)
    inside = squared < atlas.inner**2  # nan is not
    chart, node, points = chart[inside], node[inside], points[inside]
    if not len(chart):
        raise InputError(f"grid={N} has no grid point on {atlas.name}. Pass a larger grid.")
    values = values_at(f, points)
    weight = np.concatenate(
        [atlas.partition(part)[np.arange(len(part)), which] for part, which in _batches(points, chart)]
    )
    middle = float(values.min() + values.max()) / 2
    return chart, node, (values - middle) * weight, middle, float(np.ptp(values)) / 2


def manifold_program(
    atlas: Atlas, N: int, chart: np.ndarray, node: np.ndarray, coefficient: np.ndarray, middle: float, largest: float
) -> Expression:
    """The network's formula; few of its terms differ from zero at once, those of the charts that hold the point."""
    d, J = atlas.dimension, len(atlas.centers)
    x = input_vector(atlas.width, *atlas.box)
    # Rows (j, i, m): 3N y_i - 3m with y_i = (v_ji (x - c_j) + r) / 2r.
    slope = 3 * N / (2 * atlas.radius) * np.swapaxes(atlas.frames, 1, 2).reshape(J * d, -1)
    shift = 1.5 * N - np.sum(slope * np.repeat(atlas.centers, d, axis=0), axis=1)
    ramps = np.repeat(slope, N + 1, axis=0) @ x + np.repeat(shift, N + 1) - 3 * np.tile(np.arange(N + 1), J * d)
    # Rows j: 1 + (|x - c_j|² - r'²) / (r² - r'²).
    steep = 1 / (atlas.radius**2 - atlas.inner**2)
    middles = 1 + steep * (np.sum(atlas.centers**2, axis=1) - atlas.inner**2)
    balls = steep * dot(x, x) - (2 * steep * atlas.centers) @ x + middles
    sides = trapezoid(stack([ramps, balls])).named("bump or indicator")
    factors = [sides[(chart * d + i) * (N + 1) + node[:, i]] for i in range(d)]
    phi = prod([*factors, sides[J * d * (N + 1) + chart]])
    charts = atlas.overlap(atlas.radius)
    reach = charts * largest
    program: Expression = (coefficient @ phi + middle).within(middle - reach, middle + reach, active=charts * 2**d)
    return program


def interpolant(
    atlas: Atlas, N: int, chart: np.ndarray, node: np.ndarray, coefficient: np.ndarray, middle: float
) -> Target:
    """The function that `manifold_program` computes, at the cost of 2^d bumps for each chart that holds a point.

    No others differ from zero there, so that errors can be measured at very many points.
    """
    d = atlas.dimension
    values = np.zeros((len(atlas.centers), *[N + 2] * d))
    values[(chart, *node.T)] = coefficient

    def formula(x: np.ndarray) -> np.ndarray:
        squared = atlas.squared_distances(x)
        point, j = np.nonzero(squared < atlas.radius**2)
        ramp = (atlas.radius**2 - squared[point, j]) / (atlas.radius**2 - atlas.inner**2)
        offset = np.einsum("nDi,nD->ni", atlas.frames[j], x[point] - atlas.centers[j])
        u = N * (offset / atlas.radius + 1) / 2
        low = np.floor(u).astype(int)
        total = 0.0
        for corner in np.ndindex(*[2] * d):
            m = low + np.array(corner)
            phi = np.clip(2 - 3 * np.abs(u - m), 0, 1).prod(axis=1)
            total = total + phi * values[(j, *m.T)]
        return np.bincount(point, np.minimum(ramp, 1) * total, len(x)) + middle

    return formula


def bound(atlas: Atlas, N: int, holder: Holder, largest: float) -> float | None:
    """sup |network - f| on the manifold at most; None for an atlas without a reach.

    On a chart, with x' the points at grid nodes and E the mean under the weights φ_m, which are a distance
    δ = 2rΛ √d/2N from x in mean square,

        E |g_j(x') - g_j(x)| ≤ ρ_j(x) E |f(x') - f(x)| + E |f(x') - c| |ρ_j(x') - ρ_j(x)|.

    Summed over charts the first term is at most H δ^β, as the ρ_j sum to one. In the second, |f - c| is at most half
    the range of f, and |ρ_j(x') - ρ_j(x)| at most δ times the Lipschitz constant of ρ_j on the way, no farther than
    2rΛ 2√d/3N from x. The sum of these constants over j is bounded at each point of the net for all points near it.
    """
    stretch = atlas.stretch()
    if stretch is None:
        return None
    d = atlas.dimension
    delta = 2 * atlas.radius * stretch * math.sqrt(d) / (2 * N)
    farthest = 2 * atlas.radius * stretch * 2 * math.sqrt(d) / (3 * N)
    largest = largest + holder.constant * farthest**holder.exponent
    away = farthest + atlas.spacing
    partition = max(float(atlas.slopes(part, away)[1].sum(axis=1).max()) for part in atlas.parts())
    most: float = holder.constant * delta**holder.exponent + largest * partition * delta
    return most


def _bound_before(
    atlas: Atlas, f: Target, holder: Holder | None, epsilon: float | None
) -> Callable[[int], float | None]:
    """`bound` as a function of N, from the range of f on the net; None of any N without a reach or `holder`."""
    if epsilon is None or holder is None or atlas.reach is None:
        return lambda N: None
    largest = float(np.ptp(values_at(f, atlas.net))) / 2 + holder.constant * atlas.spacing**holder.exponent
    return lambda N: bound(atlas, N, holder, largest)


def _check_grid(atlas: Atlas, N: int, limit: float) -> None:
    """InputError if even the table of grid points would exceed the limit."""
    points = len(atlas.centers) * float(N + 1) ** atlas.dimension
    if 1000 * points > 5 * limit:
        raise InputError(
            f"grid N={N} on {len(atlas.centers)} charts of dimension {atlas.dimension} has {points:.3g} grid points: "
            f"the network would have as many tokens and take about {1000 * points:.3g} bytes; limit={limit:.3g}. "
            "Ask for a larger epsilon or a smaller grid, or raise the limit."
        )


def _batches(points: np.ndarray, chart: np.ndarray, size: int = 20_000) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(0, len(points), size):
        yield points[start : start + size], chart[start : start + size]
