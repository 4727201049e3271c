"""The bound behind the exponents in full: architecture, covering number and generalization error, with every constant.

    bound = generalization_bound(n=1e9, d=2, width=10)
    bound.total, bound.approximation, bound.estimation      # the constants are what the exponents leave out
    bound.architecture.blocks                               # 5, whatever the accuracy

The constants are proved and far from sharp: read the numbers as what is guaranteed, which for most n is nothing yet.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.theory.ranges import Numbers, count, in_range, positive, smoothness

_EMBEDDING = 5  # value, accumulator, two rows of position, constant
_FFN_LAYERS, _FFN_WIDTH = 2, 6


class Architecture(NamedTuple):
    """The class of transformers T(L_T, m, d_embd, l, L_FFN, w_FFN, R, κ) of a construction.

    Attributes:
      blocks: L_T.
      heads: m, in a block at most.
      tokens: l.
      embedding: d_embd.
      ffn_layers: L_FFN, affine maps.
      ffn_width: w_FFN.
      output_bound: R.
      weight_bound: κ, of every parameter.
    """

    blocks: int
    heads: float
    tokens: float
    embedding: int
    ffn_layers: int
    ffn_width: int
    output_bound: float
    weight_bound: float

    @property
    def parameters(self) -> float:
        """P = L_T (m (2 d_embd² + d_embd²) + L_FFN w (w + 1)), at most."""
        heads = 3 * self.heads * self.embedding**2
        return self.blocks * (heads + self.ffn_layers * self.ffn_width * (self.ffn_width + 1))


def architecture(d: float, width: float, grid: float, charts: float = 1, output_bound: float = 1.0) -> Architecture:
    """The transformer that interpolates a function on a manifold at `grid` + 1 points along each chart coordinate.

    L_T = 3 + ⌈log2(d + 1)⌉ blocks, l = D + (d + 1) G + 1 tokens and m = (d (D + 1) + 2 D + 1) G heads for
    G = charts · (grid + 1)^d, κ from the Interaction Lemma's worst case. Depth does not depend on the accuracy, as in
    Havrilla & Liao 2024, Theorem 2; the construction and its constants are derived, see docs/mathematics.

    Args:
      d: intrinsic dimension, a whole number >= 1.
      width: D, of the ambient space, >= d.
      grid: N, cells along each coordinate, >= 1.
      charts: C_M, how many cover the manifold, >= 1.
      output_bound: R, of the target and the class, > 0.

    Raises:
      InputError: if an argument is out of range, or a size is beyond the largest number, 1.8e308.
    """
    d, width = _space(d, width)
    grid, charts = _number(count, "grid", grid), _number(count, "charts", charts)
    sizes = _architecture(d, width, grid, charts, _number(positive, "output_bound", output_bound))
    if not math.isfinite(sizes.weight_bound):
        raise InputError(
            f"d={d} and grid={grid:g} make weights or tokens of more than 1.8e308. Pass a smaller d, grid or charts."
        )
    return sizes


def _architecture(d: int, width: float, grid: float, charts: float, R: float) -> Architecture:
    """As `architecture`, of checked numbers; sizes beyond the largest number are infinite."""
    with np.errstate(over="ignore"):
        cells = charts * (np.float64(grid) + 1) ** d
        tokens = width + (d + 1) * cells + 1
        data = 3 * grid + 2  # bounds both what tokens hold and what projections multiply it by
        weight = 2 * (_EMBEDDING - 2) * _EMBEDDING**2 * np.float64(data) ** 4 * tokens**2
        heads = (d * (width + 1) + 2 * width + 1) * cells
    return Architecture(
        blocks=3 + math.ceil(math.log2(d + 1)),
        heads=float(heads),
        tokens=float(tokens),
        embedding=_EMBEDDING,
        ffn_layers=_FFN_LAYERS,
        ffn_width=_FFN_WIDTH,
        output_bound=R,
        weight_bound=float(max(weight, R)),
    )


def log_covering_number(sizes: Architecture, delta: float, input_bound: float = 1.0) -> float:
    """log of the number of balls of radius `delta` in supremum norm that cover a class of transformers.

    P (log(2κ/δ) + log Lip), for the constant Lip with which the output moves with the parameters. One block maps
    tokens of size M to A M³ with A = 4 (2wκ)^L_FFN m l d_embd⁴ κ³, for attention is cubic, so

        log Lip <= log(L_T (3 + L_FFN)) + L_T log(3A) + (3^(L_T+1)/2) (log(A)/2 + log M_0).

    Derived, see docs/mathematics; Havrilla & Liao 2024 prove a bound of the same kind on the way to Theorem 1.

    Args:
      sizes: the class.
      delta: radius, > 0.
      input_bound: M_0, the largest entry of an embedded input, >= 1.

    Raises:
      InputError: if `delta` or `input_bound` is out of range.
    """
    if not isinstance(sizes, Architecture):
        raise InputError(f"sizes={sizes!r} is not an Architecture. Pass what theory.architecture returns.")
    delta, start = _number(positive, "delta", delta), _number(count, "input_bound", input_bound)
    kappa, width = max(sizes.weight_bound, 1.0), max(sizes.ffn_width, sizes.embedding)
    log_growth = (
        math.log(4)
        + sizes.ffn_layers * math.log(2 * width * kappa)
        + math.log(sizes.heads * sizes.tokens)
        + 4 * math.log(sizes.embedding)
        + 3 * math.log(kappa)
    )
    log_lipschitz = (
        math.log(sizes.blocks * (3 + sizes.ffn_layers))
        + sizes.blocks * (math.log(3) + log_growth)
        + 3 ** (sizes.blocks + 1) / 2 * (log_growth / 2 + math.log(start))
    )
    return sizes.parameters * max(math.log(2 * kappa) - math.log(delta) + log_lipschitz, 0.0)


class Bound(NamedTuple):
    """A bound on the expected squared error of the empirical risk minimizer, and what it is made of.

    Attributes:
      total: the sum of the other two.
      approximation: 4 ε², ε the distance in supremum norm from the target to the class.
      estimation: what n samples leave open, of the order of log-covering number over n.
      grid: cells along each coordinate, chosen for the least total.
      log_covering: log of the covering number at radius 1/n.
      architecture: the class.
    """

    total: float
    approximation: float
    estimation: float
    grid: float
    log_covering: float
    architecture: Architecture


def generalization_bound(
    n: float,
    d: float,
    width: float,
    beta: float = 1.0,
    hoelder: float = 1.0,
    output_bound: float = 1.0,
    noise: float = 1.0,
    charts: float = 1,
    overlap: float = 1,
) -> Bound:
    """E ||T_n - f||² <= 4 ε² + (32 σ² + 8 R²)(log N + 1)/n + (8 σ + 8 b + 12 R)/n at the best grid, N at radius 1/n.

    ε = overlap · H (√d / (2 grid))^β by interpolation on the grid (Theorem 2's construction), b² = 4 σ² (log N + 1)/n.
    As n grows the total falls like n^(-2β/(2β+d)) up to logarithms: Havrilla & Liao 2024, Theorem 1. The constants are
    derived, see docs/mathematics.

    Args:
      n: samples, >= 1.
      d: intrinsic dimension, a whole number >= 1.
      width: D, of the ambient space, >= d.
      beta: Hölder smoothness of the target, in (0, 1].
      hoelder: H, its Hölder constant in the charts' coordinates, > 0.
      output_bound: R with |f| <= R, > 0.
      noise: σ of sub-Gaussian label noise, > 0.
      charts: C_M, how many charts cover the manifold, >= 1.
      overlap: how many charts hold any one point at most, >= 1.

    Raises:
      InputError: if an argument is out of range, or the bound is beyond the largest number, 1.8e308.
    """
    n, beta = _number(count, "n", n), float(smoothness(arguments.real("beta", beta, 1.0)))
    d, width = _space(d, width)
    of_problem = {"hoelder": hoelder, "noise": noise, "output_bound": output_bound}
    hoelder, noise, R = (_number(positive, name, value) for name, value in of_problem.items())
    charts, overlap = _number(count, "charts", charts), _number(count, "overlap", overlap)

    def at(grid: float) -> Bound:
        sizes = _architecture(d, width, grid, charts, R)
        log_covering = log_covering_number(sizes, 1 / n) if math.isfinite(sizes.weight_bound) else math.inf
        error = overlap * hoelder * (math.sqrt(d) / (2 * grid)) ** beta
        spread = 2 * noise * math.sqrt((log_covering + 1) / n)
        estimation = (32 * noise * noise + 8 * R * R) * (log_covering + 1) / n + (8 * noise + 8 * spread + 12 * R) / n
        approximation = 4 * error * error
        return Bound(approximation + estimation, approximation, estimation, grid, log_covering, sizes)

    if not math.isfinite(at(1.0).total):
        raise InputError(f"d={d} makes the bound larger than 1.8e308, which guarantees nothing. Pass a smaller d.")
    # Estimation grows with the grid, so that no finer one can be better once it alone is above the least total.
    best, grid = at(1.0), 1.0
    while (bound := at(grid)).estimation <= best.total:
        best = min(best, bound, key=lambda bound: bound.total)
        grid = max(grid + 1, math.floor(grid * 1.1) * 1.0)
    return best


def _space(d: float, width: float) -> tuple[int, float]:
    """d and width, checked: a whole number of at least 1, and a number of at least d."""
    whole = lambda d: (d >= 1) & (d == np.floor(d))
    d = int(in_range("d", arguments.real("d", d, 2), whole, "that is a whole number of at least 1"))
    width = arguments.real("width", width, d)
    return d, float(in_range("width", width, lambda width: width >= d, f"of at least d={d}"))


def _number(check: Callable[[str, float], Numbers], name: str, value: float) -> float:
    """`value`, a single number that passes a check of `theory.ranges`."""
    return float(check(name, arguments.real(name, value, 1.0)))
