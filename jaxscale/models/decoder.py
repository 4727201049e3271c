"""The language model: a pre-norm decoder as a pure function of parameters and tokens.

    model = Decoder(config.Decoder(), vocab_size=512)
    params = model.init(key, tokens_BxT)["params"]
    logits_BxTxV = model.apply({"params": params}, tokens_BxT)

Letters in names: B batch, T tokens, D width, H heads, K head width, F hidden, V vocabulary, L layers.
"""

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxscale import config as configs


class Decoder(nn.Module):
    """Pre-norm decoder with rotary or learned positions, GELU or SwiGLU, tied or separate output matrix.

    Parameters are float32; activations and matmul inputs have `config.dtype`; logits are float32. No biases.
    """

    config: configs.Decoder
    vocab_size: int

    def setup(self):
        c = self.config
        init = nn.initializers.normal(0.02)
        self.embed = self.param("embed", init, (self.vocab_size, c.width), jnp.float32)
        if c.positions == "learned":
            self.positions = self.param("positions", init, (c.context, c.width), jnp.float32)
        if not c.tied:
            self.head = self.param("head", init, (c.width, self.vocab_size), jnp.float32)
        self.blocks = [Block(c, name=f"block_{i}") for i in range(c.layers)]
        self.norm = RMSNorm()

    def __call__(self, tokens_BxT):
        """Next-token logits, (B, T) integers to (B, T, V) float32."""
        x_BxTxD = self.layers(tokens_BxT)[-1]
        head_DxV = self.embed.T if self.config.tied else self.head
        return jnp.matmul(x_BxTxD, head_DxV.astype(x_BxTxD.dtype), preferred_element_type=jnp.float32)

    def layers(self, tokens_BxT):
        """Residual stream, L + 1 arrays (B, T, D): the token embedding, then after each block; the last is normed."""
        dtype = jnp.dtype(self.config.dtype)
        x_BxTxD = self.embed.astype(dtype)[tokens_BxT]
        if self.config.positions == "learned":
            x_BxTxD += self.positions.astype(dtype)[: tokens_BxT.shape[1]]
        streams = [x_BxTxD]
        for block in self.blocks:
            streams.append(block(streams[-1]))
        return [*streams[:-1], self.norm(streams[-1])]


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    config: configs.Decoder

    @nn.compact
    def __call__(self, x_BxTxD):
        x_BxTxD += Attention(self.config, name="attention")(RMSNorm(name="norm_attention")(x_BxTxD))
        return x_BxTxD + MLP(self.config, name="mlp")(RMSNorm(name="norm_mlp")(x_BxTxD))


class Attention(nn.Module):
    """Causal multi-head softmax attention; the softmax is taken in float32."""

    config: configs.Decoder

    @nn.compact
    def __call__(self, x_BxTxD):
        c = self.config
        B, T, D = x_BxTxD.shape
        H, K = c.heads, D // c.heads
        # Heads before tokens: the two products per head are then plain batched matmuls on every backend.
        split = lambda y_BxTxD: y_BxTxD.reshape(B, T, H, K).swapaxes(1, 2)
        q_BxHxTxK, k_BxHxTxK, v_BxHxTxK = (split(dense(D, c, name)(x_BxTxD)) for name in ("query", "key", "value"))
        if c.positions == "rotary":
            q_BxHxTxK, k_BxHxTxK = rotate(q_BxHxTxK), rotate(k_BxHxTxK)
        scores_BxHxTxT = jnp.einsum("bhqk,bhtk->bhqt", q_BxHxTxK, k_BxHxTxK, preferred_element_type=jnp.float32)
        causal_TxT = jnp.tril(jnp.ones((T, T), bool))
        weights_BxHxTxT = jax.nn.softmax(jnp.where(causal_TxT, scores_BxHxTxT * K**-0.5, -jnp.inf), axis=-1)
        mixed_BxHxTxK = jnp.einsum("bhqt,bhtk->bhqk", weights_BxHxTxT.astype(v_BxHxTxK.dtype), v_BxHxTxK)
        return dense(D, c, "out", residual=True)(mixed_BxHxTxK.swapaxes(1, 2).reshape(B, T, D))


class MLP(nn.Module):
    """Position-wise GELU or SwiGLU (Shazeer 2020) network."""

    config: configs.Decoder

    @nn.compact
    def __call__(self, x_BxTxD):
        c = self.config
        up_BxTxF = dense(c.hidden, c, "up")(x_BxTxD)
        if c.activation == "swiglu":
            up_BxTxF *= nn.silu(dense(c.hidden, c, "gate")(x_BxTxD))
        else:
            up_BxTxF = nn.gelu(up_BxTxF)
        return dense(c.width, c, "down", residual=True)(up_BxTxF)


class RMSNorm(nn.Module):
    """x / rms(x) with a learned scale, in float32, returned in the input's dtype (Zhang & Sennrich 2019)."""

    @nn.compact
    def __call__(self, x_BxTxD):
        scale_D = self.param("scale", nn.initializers.ones, x_BxTxD.shape[-1:], jnp.float32)
        x = x_BxTxD.astype(jnp.float32)
        x *= jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-6)
        return (x * scale_D).astype(x_BxTxD.dtype)


def dense(features, c, name, residual=False):
    """A bias-free linear map; those that write to the residual stream start smaller by sqrt(2L) (GPT-2)."""
    std = 0.02 * (2 * c.layers) ** -0.5 if residual else 0.02
    return nn.Dense(
        features, use_bias=False, dtype=jnp.dtype(c.dtype), kernel_init=nn.initializers.normal(std), name=name
    )


def rotate(x_BxHxTxK):
    """Rotary position embedding (Su et al. 2021), base 10 000, halves paired; float32 angles, input dtype out."""
    T, K = x_BxHxTxK.shape[-2:]
    frequency_J = 10_000.0 ** (-jnp.arange(K // 2) / (K // 2))
    angle_TxJ = jnp.arange(T)[:, None] * frequency_J
    cos_TxJ, sin_TxJ = jnp.cos(angle_TxJ), jnp.sin(angle_TxJ)
    a, b = jnp.split(x_BxHxTxK.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos_TxJ - b * sin_TxJ, a * sin_TxJ + b * cos_TxJ], axis=-1).astype(x_BxHxTxK.dtype)


def matmul_flops_per_token(c, vocab_size):
    """Forward FLOPs a token costs in matrix products, attention over the whole context included (2 per multiply-add).

    A training step costs three times as many: the backward pass forms two products for each one.
    """
    mlp_matrices = 3 if c.activation == "swiglu" else 2
    per_layer = 4 * c.width**2 + mlp_matrices * c.width * c.hidden + 2 * c.context * c.width
    return 2 * (c.layers * per_layer + c.width * vocab_size)
