"""How a limit transformer weighs what it sees: softmax in the three regimes of precision, at any length and at none.

Regimes, after Izzo, Nichani & Lee 2026 (arXiv 2510.27015), for a query at position i of a string of N tokens, a logit a
and a bias φ(i-j) that only the last τ+1 tokens have:

    infinite    softmax over j of  a + φ log i                                   Sections 3.3 and 5
    finite      softmax over j of  (a + φ) log N, terms N^-gap <= 2^-bits are 0  Sections 3.2 and 4
    hardmax     the uniform average over the largest a + φ, the limit of "finite" once N >= 2^(bits/γ)

Rounding acts on the exponentials before they are normalized. Were weights rounded, a uniform average over more than
2^bits tokens would vanish.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from jaxscale.errors import InputError

Regime = Literal["infinite", "finite", "hardmax"]
REGIMES = ("infinite", "finite", "hardmax")


def check_regime(regime: Regime, bits: int | None) -> None:
    """Raises InputError for an unknown regime, or bits of precision where there is none."""
    if regime not in REGIMES:
        raise InputError(f"regime={regime!r} is not one of {', '.join(REGIMES)}. Choose one of them.")
    if bits is not None and (regime != "finite" or bits <= 0):
        raise InputError(f"bits={bits!r} must be positive, and None unless regime='finite'; it is {regime!r}.")


def token_weights(
    content_QxT: jax.Array,
    bias_W: jax.Array,
    positions_Q: jax.Array,
    length: float | jax.Array,
    regime: Regime,
    bits: int | None = None,
) -> jax.Array:
    """Attention of queries over all tokens of a string, token by token.

    Args:
      content_QxT: logits without bias; column j is the token at position j + 1.
      bias_W: φ at distances 0..τ.
      positions_Q: the position i of each query, from 1.
      length: N, how many tokens the string has.
      regime, bits: as above; static.

    Returns:
      (Q, T) weights; each row sums to one over its tokens j <= i.
    """
    distance_QxT = positions_Q[:, None] - jnp.arange(1, content_QxT.shape[1] + 1)
    near_QxT = (distance_QxT >= 0) & (distance_QxT < len(bias_W))
    phi_QxT = jnp.where(near_QxT, bias_W[jnp.where(near_QxT, distance_QxT, 0)], 0)
    if regime == "infinite":
        logits_QxT = content_QxT + phi_QxT * jnp.log(positions_Q)[:, None]
        return jax.nn.softmax(jnp.where(distance_QxT >= 0, logits_QxT, -jnp.inf), axis=1)
    logits_QxT = jnp.where(distance_QxT >= 0, content_QxT + phi_QxT, -jnp.inf)
    gap_QxT = jnp.max(logits_QxT, axis=1, keepdims=True) - logits_QxT
    terms_QxT = (gap_QxT == 0).astype(content_QxT.dtype)
    if regime == "finite":
        seen_QxT = jnp.isfinite(gap_QxT)
        decay_QxT = jnp.where(seen_QxT, gap_QxT, 0) * jnp.log(jnp.asarray(length, jnp.float32))
        terms_QxT = jnp.where(seen_QxT & _survives(decay_QxT, bits), jnp.exp(-decay_QxT), 0)
    return terms_QxT / jnp.sum(terms_QxT, axis=1, keepdims=True)


def class_weights(
    bulk_C: jax.Array,
    content_C: jax.Array,
    content_W: jax.Array,
    bias_W: jax.Array,
    present_W: jax.Array,
    length: float | jax.Array,
    regime: Regime,
    bits: int | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Attention of the last token over classes of tokens and over the suffix: all there is, when order is no matter.

    A suffix token counts once, with its bias; `bulk_C` must leave it out. Every weight has the form c N^e, so the limit
    N → ∞ keeps the largest exponent e and nothing else. In the infinite regime a class that fills a share of the bulk
    has e = 1 and a suffix token e = φ: token-dominated, balanced and position-dominated as max φ < 1, = 1, > 1.

    Args:
      bulk_C: tokens of each class outside the suffix; their shares where `length` is infinite.
      content_C, content_W: logits without bias, of the classes and of the suffix tokens.
      bias_W: φ of the suffix tokens, at distances 0..τ.
      present_W: False for suffix places before the beginning of the string.
      length: N, or `jnp.inf`.
      regime, bits: as above; static.

    Returns:
      (C,) and (W,) weights, together one.
    """
    length = jnp.asarray(length, jnp.float32)
    infinite = jnp.isinf(length)
    log_length = jnp.log(jnp.where(infinite, 1, length))
    present_C = bulk_C > 0
    log_share_C = jnp.log(jnp.where(present_C, bulk_C, 1)) - log_length  # at no finite length, log of the share itself
    if regime == "infinite":
        coefficient = jnp.concatenate([content_C + log_share_C, content_W])
        exponent = jnp.concatenate([jnp.ones_like(content_C), bias_W])
        kept = jnp.concatenate([present_C, present_W])
    else:
        logits = jnp.concatenate([content_C, content_W + bias_W])
        kept = jnp.concatenate([present_C, present_W])
        gap = jnp.max(jnp.where(kept, logits, -jnp.inf)) - logits
        top = gap == 0
        if regime == "hardmax":
            kept &= top
            gap = jnp.zeros_like(gap)
        else:
            kept &= top | (~infinite & _survives(gap * log_length, bits))
        coefficient = jnp.concatenate([log_share_C, jnp.zeros_like(content_W)])
        exponent = jnp.concatenate([jnp.ones_like(content_C), jnp.zeros_like(content_W)]) - gap
    # Softmax does not change when every exponent is shifted, so no gradient flows through the largest one.
    behind = exponent - jax.lax.stop_gradient(jnp.max(jnp.where(kept, exponent, -jnp.inf)))
    kept &= ~infinite | (behind >= 0)
    logits = coefficient + jnp.where(infinite, 0, behind * log_length)
    weights = jax.nn.softmax(jnp.where(kept, logits, -jnp.inf))
    return weights[: len(content_C)], weights[len(content_C) :]


def _survives(decay: jax.Array, bits: int | None) -> jax.Array:
    """Whether e^-decay is above 2^-bits; all is, at unlimited precision."""
    return jnp.ones_like(decay, bool) if bits is None else decay < bits * jnp.log(2.0)
