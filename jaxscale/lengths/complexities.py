"""What the bounds ask of a network, measured on its weights: the logit margin γ, the norm L, the constant C.

    measured = complexity(net, params)
    measured.gap, measured.lipschitz, measured.log10_constant

Izzo, Nichani & Lee 2026 define γ; of L and C they say which norms enter. What stands here for L and C are explicit
expressions of that form, derived, see docs/lengths: upper bounds on how much the output can change. Host arithmetic in
float64; concrete parameters only.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.lengths.transformer import LimitTransformer

# Above so many combinations of attended classes, |y^(1)| is bounded by the triangle inequality instead of its maximum.
MOST_VERTICES = 100_000


@dataclasses.dataclass(frozen=True)
class Complexity:
    """A network in the terms of the theorems.

    Attributes:
      gap: γ. Of two layers, as in infinite precision, min_h (max P_h - second largest of P_h) over
        P_h = {φ_h(0), …, φ_h(τ), 1}; of one, as in finite precision, the least positive difference of logits that one
        query can meet. Infinite where all are equal.
      lipschitz: L, change of the output per unit of total variation of the attention.
      log10_constant: log10 C of two layers; None for one.
      heads, layers, alphabet, period, locality: as of the network. A bound without its number of heads says little.
    """

    gap: float
    lipschitz: float
    log10_constant: float | None
    heads: int
    layers: int
    alphabet: int
    period: int
    locality: int


def complexity(net: LimitTransformer, params: Any) -> Complexity:
    """The `Complexity` of a `LimitTransformer` with concrete parameters."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    gap = infinite_gap(params["layer_0"].get("bias", [[]])) if net.layers == 2 else logit_gap(net, params)
    return Complexity(
        gap=gap,
        lipschitz=_lipschitz(net, params),
        log10_constant=_log10_constant(net, params) if net.layers == 2 else None,
        heads=net.heads,
        layers=net.layers,
        alphabet=net.alphabet,
        period=net.period,
        locality=net.locality,
    )


def infinite_gap(bias_HxW: np.typing.ArrayLike) -> float:
    """γ of the infinite regime from the first layer's φ, (H, τ+1)."""
    gaps = []
    for bias_W in np.asarray(bias_HxW):
        first, *rest = sorted({1.0, *map(float, bias_W)}, reverse=True)
        gaps.append(first - rest[0] if rest else math.inf)
    return min(gaps)


def logit_gap(net: LimitTransformer, params: Any) -> float:
    """γ of the finite regime: the least positive a - a' between logits that the first layer's queries can meet."""
    rows_SxRxD = params["embed"][:, None] + params["positions"]
    layer, (symbols, period, _) = params["layer_0"], rows_SxRxD.shape
    # In the precision of the forward pass, where ties are ties.
    rows_SxRxD = jnp.asarray(rows_SxRxD, jnp.float32)
    project: Callable[[str], jax.Array] = lambda name: jnp.einsum(
        "srd,hdk->hsrk", rows_SxRxD, jnp.asarray(layer[name], jnp.float32)
    )
    logits = np.asarray(jnp.einsum("hsrk,huvk->hsruv", project("query"), project("key")) / net_head_width(net))
    bias_HxW = np.asarray(layer.get("bias", np.zeros((net.heads, 1))), np.float32)
    smallest = math.inf
    for h, s, r in itertools.product(range(net.heads), range(symbols), range(period)):
        met = [logits[h, s, r].reshape(-1)]
        for distance, phi in enumerate(bias_HxW[h]):
            near = logits[h, s, r, :, (r - distance) % period]
            met.append((near if distance else near[s : s + 1]) + phi)
        steps = np.diff(np.unique(np.concatenate(met)))
        smallest = min(smallest, float(steps.min(initial=math.inf)))
    return smallest


def net_head_width(net: LimitTransformer) -> int:
    return net.head_width or net.width


def _lipschitz(net: LimitTransformer, params: Any) -> float:
    """2 |U| (1 + |A||B|) Σ_h |V_h| max |E_σ + p_r|, of the last layer's shape for one layer."""
    layer = params["layer_0"]
    return float(
        2
        * _norm(params["unembed"])
        * (1 + _norm(layer["up"]) * _norm(layer["down"]))
        * sum(map(_norm, layer["value"]))
        * _largest_row(params)
    )


def _log10_constant(net: LimitTransformer, params: Any) -> float:
    """C = 4 |U| (1+|A2||B2|) e^(2m) (1+m) |V_2| R1 (1+|A1||B1|) (1 + Σ_h 2 |V_1h| R0 e^(2 |K_1hᵀ Q_1h| R0²)), log10.

    R0 >= |y^(0)|, R1 >= |y^(1)|, m = |K_2ᵀ Q_2| R1². With several heads in layer 2, |V_2| is their sum and m the
    largest. The exponential of the first layer is the Lipschitz constant of softmax in the histogram it averages.
    """
    first, second = params["layer_0"], params["layer_1"]
    r0, r1 = _largest_row(params), _largest_first_output(params)
    m = max(_bilinear_norms(net, second)) * r1**2
    log_first = np.logaddexp.reduce(
        [0.0]
        + [
            math.log(max(2 * _norm(value) * r0, 1e-300)) + 2 * product * r0**2
            for value, product in zip(first["value"], _bilinear_norms(net, first), strict=True)
        ]
    )
    plain = (
        4
        * _norm(params["unembed"])
        * (1 + _norm(second["up"]) * _norm(second["down"]))
        * (1 + m)
        * sum(map(_norm, second["value"]))
        * r1
        * (1 + _norm(first["up"]) * _norm(first["down"]))
    )
    return float((math.log(plain) + 2 * m + log_first) / math.log(10))


def _largest_first_output(params: Any) -> float:
    """A bound on |y^(1)|: attention lies in the hull of the V_h y_c, where a norm is largest at a vertex."""
    layer = params["layer_0"]
    rows_CxD = (params["embed"][:, None] + params["positions"]).reshape(-1, params["embed"].shape[1])
    values_HxCxD = np.einsum("cd,hde->hce", rows_CxD, layer["value"])
    heads, classes, width = values_HxCxD.shape
    if classes ** (heads + 1) <= MOST_VERTICES:
        sums_NxD = rows_CxD
        for values_CxD in values_HxCxD:
            sums_NxD = (sums_NxD[:, None] + values_CxD).reshape(-1, width)
        largest = np.linalg.norm(sums_NxD, axis=1).max()
    else:
        largest = _largest_row(params) + np.linalg.norm(values_HxCxD, axis=2).max(1).sum()
    bound: float = (1 + _norm(layer["up"]) * _norm(layer["down"])) * largest + _norm(layer["down"]) * np.linalg.norm(
        layer["shift"]
    )
    return bound


def _bilinear_norms(net: LimitTransformer, layer: Mapping[str, np.ndarray]) -> list[float]:
    """|K_hᵀ Q_h| of every head, the division by the head width included."""
    return [_norm(q @ k.T) / net_head_width(net) for q, k in zip(layer["query"], layer["key"], strict=True)]


def _largest_row(params: Any) -> float:
    return float(np.linalg.norm(params["embed"][:, None] + params["positions"], axis=2).max())


def _norm(matrix: np.ndarray) -> float:
    return float(np.linalg.norm(matrix, 2))
