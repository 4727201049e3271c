"""A network from points of R^D to numbers, the same for every way of mixing tokens.

    net = Regressor(config.PointRegressor(mixer="relu"), width=32, outputs=1)
    params = net.init(key, jnp.zeros((1, D)))["params"]
    y_BxO = net.apply({"params": params}, x_BxD)

A learned affine map makes T tokens of a point, or the symbols of a context are the tokens; blocks of a mixer and a ReLU
feed-forward part follow, each normalized on its way in, as in decoders of language; the last token is read out.
"""

import jax
from flax import linen as nn

from jaxscale.config.fields import PointRegressor
from jaxscale.models.mixers import MIXERS


class Block(nn.Module):
    """h + Mixer(norm h), then h + FFN(norm h)."""

    shape: PointRegressor
    last: bool  # of the network: only the token that is read out goes on from here

    @nn.compact
    def __call__(self, h_BxTxE: jax.Array) -> jax.Array:
        E = h_BxTxE.shape[-1]
        mixer = MIXERS[self.shape.mixer]
        if mixer is not None:
            h_BxTxE = h_BxTxE + mixer(self.shape.heads)(nn.RMSNorm(name="mixer_norm")(h_BxTxE))
        if self.last:
            h_BxTxE = h_BxTxE[:, -1:]
        hidden = nn.Dense(self.shape.expansion * E, name="up")(nn.RMSNorm(name="ffn_norm")(h_BxTxE))
        return h_BxTxE + nn.Dense(E, name="down")(nn.relu(hidden))


class Regressor(nn.Module):
    """(B, D) points to (B, outputs) numbers; the parameters fix D.

    Attributes:
      shape: all but the width.
      width: E, of a token.
      outputs: numbers for a point.
      symbols: K where points are contexts, rows of one-hot symbols of K; each is then a token with a learned position.
    """

    shape: PointRegressor
    width: int
    outputs: int
    symbols: int = 0

    @nn.compact
    def __call__(self, x_BxD: jax.Array) -> jax.Array:
        tokens = 1 if self.shape.mixer == "mlp" else self.shape.tokens
        if self.symbols and self.shape.mixer != "mlp":
            x_BxTxK = x_BxD.reshape(len(x_BxD), -1, self.symbols)
            positions = self.param("position", nn.initializers.normal(0.5), (x_BxTxK.shape[1], self.width))
            h_BxTxE = nn.Dense(self.width, use_bias=False, name="embed")(x_BxTxK) + positions
        else:
            h_BxTxE = nn.Dense(tokens * self.width, name="embed")(x_BxD).reshape(len(x_BxD), tokens, self.width)
        for layer in range(self.shape.layers):
            h_BxTxE = Block(self.shape, layer == self.shape.layers - 1, name=f"block_{layer}")(h_BxTxE)
        return nn.Dense(self.outputs, name="read_out")(nn.RMSNorm(name="norm")(h_BxTxE[:, -1]))
