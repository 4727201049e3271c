"""Transformers that solve the tasks by construction: parameters of the same modules that are trained.

    net, params = k_gram(order=2, alphabet=3, beta=8.0)
    net.apply({"params": params}, tokens_T, length, method="running")

They say what is expressible at what norm, are the g that a bound needs, and give training something to be compared
with. Every block of coordinates has a name; all else is zero.
"""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.errors import InputError
from jaxscale.lengths.attention import Regime
from jaxscale.lengths.tasks import check_alphabet
from jaxscale.lengths.transformer import LimitTransformer


def count(omega: float, pieces: int = 64, regime: Regime = "infinite") -> tuple[LimitTransformer, Any]:
    """sin(ω (c_0 - c_1)/(c_0 + c_1)) over two symbols: even attention, then a piecewise linear sine.

    Attention averages +1 for symbol 0 and -1 for symbol 1; the ReLU network interpolates the sine between pieces + 1
    points of [-1, 1], within (ω/pieces)² / 2 at any length.

    Returns:
      (net, params).
    """
    if pieces < 1:
        raise InputError(f"pieces={pieces} must be positive. Some four for each unit of omega are enough.")
    at = _slots(one=1, sign=1, mean=1, sine=1)
    net = LimitTransformer(alphabet=2, width=4, hidden=pieces, biased=False, regime=regime)
    params = _zeros(net)
    params["embed"][:, at["one"]] = 1
    params["embed"][:, at["sign"]] = [[1], [-1]]
    layer = params["layer_0"]
    layer["value"][0][at["sign"], at["mean"]] = 1
    knots = np.linspace(-1, 1, pieces + 1)
    slopes = np.diff(np.sin(omega * knots)) / np.diff(knots)
    layer["up"][at["mean"]] = 1
    layer["shift"][:] = -knots[:-1]
    layer["down"][:, at["sine"]] = np.diff(slopes, prepend=0)[:, None]
    params["unembed"][at["sine"]] = 1
    params["unembed"][at["one"]] = np.sin(-omega)
    return net, _float32(params)


def mod_p(period: int, residue: int = 0, beta: float = 1.0, regime: Regime = "hardmax") -> tuple[LimitTransformer, Any]:
    """The mean of a bit over positions t = k mod p: the query asks for residue k, and values are the bits.

    Exact at every length in the hardmax regime; a share of about (p - 1) e^-β goes astray in the infinite one, and of
    N^-β in the finite one.

    Returns:
      (net, params).
    """
    if not 0 <= residue < period:
        raise InputError(f"residue={residue} must lie in 0..{period - 1}, the residues mod {period}.")
    at = _slots(one=1, bit=1, residue=period, mean=1)
    net = LimitTransformer(
        alphabet=2, width=3 + period, hidden=1, head_width=1, period=period, biased=False, regime=regime
    )
    params = _zeros(net)
    params["embed"][:, at["one"]] = 1
    params["embed"][1, at["bit"]] = 1
    params["positions"][:, at["residue"]] = np.eye(period)
    layer = params["layer_0"]
    layer["query"][0][at["one"]] = beta
    layer["key"][0][at["residue"]] = np.eye(period)[:, residue : residue + 1]
    layer["value"][0][at["bit"], at["mean"]] = 1
    params["unembed"][at["mean"]] = 1
    return net, _float32(params)


def k_gram(
    order: int, alphabet: int, beta: float, offset_bias: float = 2.0, bos: bool = False
) -> tuple[LimitTransformer, Any]:
    """The in-context k-gram in two layers of the infinite regime, with k heads in the first and one in the second.

    Layer 1: head h has no content logit and the bias c = `offset_bias` at distance h, so that it returns the token h
    places back, up to O(i^(1-c)); γ = c - 1. Layer 2: position i scores β for each of the k tokens before it that
    equals its counterpart among the last k, and the value is the token at i. A full match scores βk and no other
    position more than β(k-1), hence an error of (T / matches) e^-β, and a floor of order 1/T from the first k
    positions, whose heads reach before the beginning. Derived, see docs/lengths; it has the γ >= 1 and C = ε^-Θ(k²) of
    the paper's corollary.

    Args:
      order: k.
      alphabet: S.
      beta: β; log(1/ε) + k log S suffices for an error ε.
      offset_bias: c, above 1.
      bos: one more symbol, S, that matches nothing and has no value. Strings that begin with k of them have no boundary
        and no such floor.

    Returns:
      (net, params); the output is a law over the S symbols.
    """
    check_alphabet(alphabet)
    if order < 1:
        raise InputError(f"order={order} must be at least 1.")
    if offset_bias <= 1:
        raise InputError(f"offset_bias={offset_bias} must exceed 1: below it the bulk outweighs a single token.")
    S = alphabet
    at = _slots(**{f"back_{h}": S for h in range(order + 1)}, law=S)  # back_0 is the token itself
    net = LimitTransformer(
        alphabet=S + bos,
        outputs=S,
        layers=2,
        heads=order,
        width=(order + 2) * S,
        hidden=1,
        head_width=order * S,
        locality=order,
    )
    params = _zeros(net)
    params["embed"][:S, at["back_0"]] = np.eye(S)
    first, second = params["layer_0"], params["layer_1"]
    for h in range(1, order + 1):
        first["bias"][h - 1, h] = offset_bias
        first["value"][h - 1][at["back_0"], at[f"back_{h}"]] = np.eye(S)
        wanted = slice((h - 1) * S, h * S)
        # Logits are divided by the head width, here k S.
        second["query"][0][at[f"back_{h - 1}"], wanted] = beta * order * S * np.eye(S)
        second["key"][0][at[f"back_{h}"], wanted] = np.eye(S)
    second["value"][0][at["back_0"], at["law"]] = np.eye(S)
    params["unembed"][at["law"]] = np.eye(S)
    return net, _float32(params)


def witness(heads: int, delta: float) -> tuple[LimitTransformer, Any]:
    """A network of m + 1 = `heads` heads that is 0 on every string shorter than about (m/δ)^m and tends to 1 on longer.

    f(x) = ReLU(p_0 - (o_1 + … + o_m)/δ), p_0 = 1 where symbol 0 occurs and o_h the share of symbol h-1 among h-1 and h:
    for f > 0 every symbol must be some m/δ times as frequent as the one before. Logits differ by 1, hardmax. It shows
    that the one-head bound of Theorem 4.1 does not hold for several; derived, see docs/lengths.

    Returns:
      (net, params) over m + 2 symbols, the last of which, e, is the query and counts in nothing. Strings end in it.
    """
    levels = heads - 1
    if levels < 1 or not 0 < delta < 1:
        raise InputError(f"heads={heads} must be at least 2 and delta={delta} in (0, 1).")
    symbols = levels + 2
    at = _slots(symbol=symbols, shares=heads, fires=1)
    net = LimitTransformer(
        alphabet=symbols,
        heads=heads,
        width=symbols + heads + 1,
        hidden=1,
        head_width=1,
        biased=False,
        regime="hardmax",
    )
    params = _zeros(net)
    params["embed"][:, at["symbol"]] = np.eye(symbols)
    layer, share = params["layer_0"], at["shares"].start
    for h in range(heads):
        attended = [h - 1, h] if h else [0]
        layer["query"][h][at["symbol"]] = 1
        layer["key"][h][attended] = 1
        layer["value"][h][attended[0], share + h] = 1
    # Head 0 attends to symbol 0 where there is one, and else, all logits being equal, to symbols that have no value.
    layer["up"][share : share + heads, 0] = [1] + [-1 / delta] * levels
    layer["down"][0, at["fires"]] = 1
    params["unembed"][at["fires"]] = 1
    return net, _float32(params)


def _slots(**widths: int) -> dict[str, slice]:
    """Where each named block of coordinates lies, one after the other."""
    ends = list(itertools.accumulate(widths.values()))
    return {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}


def _zeros(net: LimitTransformer) -> Any:
    shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros(1, jnp.int32))["params"])
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape), shapes)


def _float32(params: Any) -> Any:
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)
