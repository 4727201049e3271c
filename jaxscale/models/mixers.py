"""How tokens exchange information: attention, windowed or without softmax, convolution, a linear recurrence.

Each takes (B, T, E) to (B, T, E), is causal, and has about as many parameters as attention, 4 E². The names in `MIXERS`
are those of a `config.PointRegressor`. Letters: B batch, T and S tokens, E width, H heads, K head width.
"""

import math

import jax
import jax.numpy as jnp
from flax import linen as nn

# Tokens that windowed attention and the convolution see: the last ones.
WINDOW = 2
TAPS = 3


class Attention(nn.Module):
    """Causal attention; over the last `window` tokens where given, and of relu scores over T for `relu`.

    Without softmax a head is A(h_t) = Σ_s relu(<Q h_t, K h_s>) V h_s (Havrilla & Liao 2024, section 2), here over T.
    """

    heads: int
    window: int | None = None
    relu: bool = False

    @nn.compact
    def __call__(self, h_BxTxE: jax.Array) -> jax.Array:
        T, E = h_BxTxE.shape[-2:]
        split = (*h_BxTxE.shape[:-1], self.heads, E // self.heads)
        q, k, v = (nn.Dense(E, use_bias=False, name=name)(h_BxTxE).reshape(split) for name in ("query", "key", "value"))
        scores_BxHxTxS = jnp.einsum("bthk,bshk->bhts", q, k) * math.sqrt(self.heads / E)
        seen_TxS = jnp.tril(jnp.ones((T, T), bool))
        if self.window is not None:
            seen_TxS &= ~jnp.tril(jnp.ones((T, T), bool), -self.window)
        if self.relu:
            weights_BxHxTxS = jnp.where(seen_TxS, jax.nn.relu(scores_BxHxTxS), 0.0) / T
        else:
            weights_BxHxTxS = jax.nn.softmax(jnp.where(seen_TxS, scores_BxHxTxS, -jnp.inf))
        mixed = jnp.einsum("bhts,bshk->bthk", weights_BxHxTxS, v).reshape(h_BxTxE.shape)
        return nn.Dense(E, use_bias=False, name="out")(mixed)


class Convolution(nn.Module):
    """A gated convolution along tokens, a filter for each channel."""

    @nn.compact
    def __call__(self, h_BxTxE: jax.Array) -> jax.Array:
        T, E = h_BxTxE.shape[-2:]
        gate, value = (nn.Dense(E, use_bias=False, name=name)(h_BxTxE) for name in ("gate", "value"))
        filters_KxE = self.param("filters", nn.initializers.normal(TAPS**-0.5), (TAPS, E))
        padded = jnp.pad(value, ((0, 0), (TAPS - 1, 0), (0, 0)))
        mixed = sum(filters_KxE[i] * padded[:, i : i + T] for i in range(TAPS))
        mixed = nn.Dense(E, use_bias=False, name="inner")(mixed)
        return nn.Dense(E, use_bias=False, name="out")(jax.nn.sigmoid(gate) * mixed)


class StateSpace(nn.Module):
    """A gated diagonal linear recurrence s_t = a s_{t-1} + (1 - a) v_t, with a decay a in (0, 1) read from the token.

    The recurrence of selective state-space models (Gu & Dao 2023, arXiv 2312.00752) with one state for each channel.
    """

    @nn.compact
    def __call__(self, h_BxTxE: jax.Array) -> jax.Array:
        E = h_BxTxE.shape[-1]
        gate, value = (nn.Dense(E, use_bias=False, name=name)(h_BxTxE) for name in ("gate", "value"))
        decay = jax.nn.sigmoid(nn.Dense(E, name="decay")(h_BxTxE))
        after = lambda first, second: (first[0] * second[0], second[0] * first[1] + second[1])
        states = jax.lax.associative_scan(after, (decay, (1 - decay) * value), axis=1)[1]
        return nn.Dense(E, use_bias=False, name="out")(jax.nn.silu(gate) * states)


# By name, made for a number of heads; None where tokens stay apart.
MIXERS = {
    "softmax": lambda heads: Attention(heads, name="mixer"),
    "window": lambda heads: Attention(heads, window=WINDOW, name="mixer"),
    "relu": lambda heads: Attention(heads, relu=True, name="mixer"),
    "convolution": lambda heads: Convolution(name="mixer"),
    "state_space": lambda heads: StateSpace(name="mixer"),
    "mlp": None,
}
