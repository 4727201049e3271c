"""The Interaction Lemma: a head that lets one token see one other; and a network that clears tokens past a position.

    rows = Rows(width=5, encoding=slice(2, 4), constant=4)
    heads = interaction_heads(
        query, key, t1=3, t2=7, row=1, coefficient=2.0, bound=1.0, encoding=encoding, tokens=9, rows=rows
    )

gives A(h_3) = 2 relu(<query h_3, key h_7>) e_1 and A(h_t) = 0 for every other t (Havrilla & Liao 2024, section 2; the
form with its constants is derived, see docs/constructions).

Proof. Add two rows to the data kernels: C F_t1(I_t) beside a constant one, and a constant one beside C F_t2(I_k), where
F_s is the functional of the encoding that is 0 at token s and at most -g at each other one. The score of (t, k) is
data + C F_t1(I_t) + C F_t2(I_k). At (t1, t2) that is the data alone. At any other pair one of the terms is at most
-C g; with C g above the largest data score of any pair the score is negative, and the ReLU makes it zero.

Three choices keep it true in floating point. Each functional is formed inside one projection, so that the matching pair
adds data + 0 + 0 and nothing is lost against a large C. C is a power of two, which rounds nothing. And the bound on the
data score comes from the caller, who knows the ranges, where the worst case of the lemma would be 10^6 times too large.
"""

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxscale.constructions.encodings import Encoding

# C g exceeds the bound on the data score by this factor at least: room for rounding in the shortest format, bf16.
SAFETY = 1.125


@dataclasses.dataclass(frozen=True, eq=False)  # a slice has no hash before Python 3.12
class Rows:
    """Where a token keeps what heads need: its encoding, and the constant one that stands in for biases."""

    width: int
    encoding: slice
    constant: int


class Heads(NamedTuple):
    """Parameters of m heads and what a certificate wants to know of them.

    Attributes:
      query, key: (m, p + 2, E).
      value: (m, E, E).
      scale: (m,) the C of each head.
    """

    query: np.ndarray
    key: np.ndarray
    value: np.ndarray
    scale: np.ndarray


def interaction_heads(
    query: np.ndarray,
    key: np.ndarray,
    t1: np.ndarray | int,
    t2: np.ndarray | int,
    row: np.ndarray | int,
    coefficient: np.ndarray | float,
    bound: np.ndarray | float,
    encoding: Encoding,
    tokens: int,
    rows: Rows,
) -> Heads:
    """Heads with A(h_t1) = coefficient · relu(<query h_t1, key h_t2>) e_row and A(h_t) = 0 for every other token t.

    Exact in real arithmetic as long as no pair of tokens has a data score above `bound`. Parameters are at most
    max(|query|, |key|, |coefficient|, C × weights of the encoding's functional), C ≤ 2.25 bound / gap.

    Args:
      query, key: data kernels, (m, p, E), or (p, E) for a single head.
      t1, t2: token that receives, and token that is seen, (m,) or one for all; as are the next three.
      row: row of token t1 that receives.
      coefficient: c, of either sign.
      bound: B, the largest <query h_t, key h_k> over all tokens t, k; at least zero.
      encoding: what the tokens carry in `rows.encoding`.
      tokens: l.
      rows: places of the encoding and of the constant in a token.

    Returns:
      `Heads` of float64 arrays.
    """
    query, key = np.atleast_3d(query.T).T, np.atleast_3d(key.T).T
    m, p, _ = query.shape
    t1, t2, row, coefficient, bound = (np.broadcast_to(x, (m,)) for x in (t1, t2, row, coefficient, bound))
    scale = selection_scale(bound, encoding.gap(tokens))
    Q, K = np.zeros((2, m, p + 2, rows.width))
    Q[:, :p], K[:, :p] = query, key
    for kernel, place, at in ((Q, p, t1), (K, p + 1, t2)):
        weight, offset = encoding.functional(tokens, at)
        kernel[:, place, rows.encoding] = scale[:, None] * weight
        kernel[:, place, rows.constant] += scale * offset
    Q[:, p + 1, rows.constant] = K[:, p, rows.constant] = 1
    V = np.zeros((m, rows.width, rows.width))
    V[np.arange(m), row, rows.constant] = coefficient
    return Heads(Q, K, V, scale)


def selection_scale(bound: np.ndarray, gap: float) -> np.ndarray:
    """C: the power of two from SAFETY · bound / gap on; 1 where the bound is zero and no score is positive."""
    wanted = SAFETY * np.asarray(bound, dtype=float) / gap
    mantissa, exponent = np.frexp(wanted)
    power = np.ldexp(1.0, np.where(mantissa == 0.5, exponent - 1, exponent))
    return np.where(wanted > 0, power, 1.0)
