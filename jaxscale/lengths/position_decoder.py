"""A small decoder with any position encoding, for the experiments on one device.

    model = PositionDecoder(config.Decoder(), vocab_size=153, encoding="alibi", room=304)
    logits_BxTxV = model.apply({"params": params}, tokens_BxT, ids_BxT)

Pre-norm blocks as those of `jaxscale.models.Decoder`, whose attention knows two encodings and is made for meshes.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxscale import config as configs
from jaxscale.lengths.positions import PositionEncoding, position_penalty
from jaxscale.lengths.transformer import ArrayModule


class PositionDecoder(ArrayModule):
    """Decoder whose positions are what `PositionEncoding` makes of them; GELU, tied output matrix, float32.

    Attributes:
      config: its layers, width, heads and hidden.
      vocab_size: V.
      encoding, room, period, locality: see `PositionEncoding`.
    """

    config: configs.Decoder
    vocab_size: int
    encoding: str
    room: int
    period: int = 6
    locality: int = 8

    @nn.compact
    def __call__(self, tokens_BxT: jax.Array, ids_BxT: jax.Array) -> jax.Array:
        """Next-token logits, (B, T, V); tokens below 0, which pad, are read as 0."""
        c = self.config
        embed_VxD = self.array("embed", nn.initializers.normal(0.02), (self.vocab_size, c.width))
        positions = PositionEncoding(
            self.encoding, c.width, c.heads, c.layers, self.room, self.period, self.locality, name="positions"
        )
        x_BxTxD = embed_VxD[jnp.maximum(tokens_BxT, 0)] + positions.embed(ids_BxT)
        for layer in range(c.layers):
            x_BxTxD = Block(c, name=f"block_{layer}")(x_BxTxD, positions, layer)
        logits_BxTxV: jax.Array = nn.RMSNorm(name="norm")(x_BxTxD) @ embed_VxD.T
        return logits_BxTxV


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    config: configs.Decoder

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, positions: PositionEncoding, layer: int) -> jax.Array:
        c = self.config
        B, T, D = x_BxTxD.shape
        H, K = c.heads, D // c.heads

        def linear(features: int, name: str, std: float = 1.0) -> nn.Dense:
            return nn.Dense(features, False, kernel_init=nn.initializers.normal(std * 0.02), name=name)

        residual = (2 * c.layers) ** -0.5  # what writes to the residual stream starts smaller (GPT-2)
        read_BxTxD = nn.RMSNorm(name="norm_attention")(x_BxTxD)
        q_BxHxTxK, k_BxHxTxK, v_BxHxTxK = (
            linear(D, name)(read_BxTxD).reshape(B, T, H, K).swapaxes(1, 2) for name in ("query", "key", "value")
        )
        scores_BxHxTxT = jnp.einsum("bhqk,bhtk->bhqt", positions.turn(q_BxHxTxK), positions.turn(k_BxHxTxK)) * K**-0.5
        bias_HxTxT = positions.bias(layer, T)
        if bias_HxTxT is not None:
            scores_BxHxTxT += bias_HxTxT
        causal_TxT = jnp.tril(jnp.ones((T, T), bool))
        weights_BxHxTxT = jax.nn.softmax(jnp.where(causal_TxT, scores_BxHxTxT, -jnp.inf), axis=-1)
        mixed_BxTxD = jnp.einsum("bhqt,bhtk->bqhk", weights_BxHxTxT, v_BxHxTxK).reshape(B, T, D)
        x_BxTxD += linear(D, "out", residual)(mixed_BxTxD)
        hidden_BxTxF = nn.gelu(linear(c.hidden, "up")(nn.RMSNorm(name="norm_mlp")(x_BxTxD)))
        return x_BxTxD + linear(D, "down", residual)(hidden_BxTxF)


def penalty(model: PositionDecoder, params: Any) -> jax.Array:
    """`position_penalty` of a `PositionDecoder` with a table of positions."""
    blocks = [params[f"block_{layer}"] for layer in range(model.config.layers)]
    query_LxDxD, key_LxDxD = (jnp.stack([block[name]["kernel"] for block in blocks]) for name in ("query", "key"))
    return position_penalty(params["positions"]["table"], query_LxDxD, key_LxDxD, model.config.heads)
