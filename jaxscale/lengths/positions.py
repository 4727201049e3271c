"""Position encodings behind one interface: what is added to embeddings, to logits, or turns queries and keys.

    encoding = PositionEncoding("alibi", width=64, heads=4, layers=4, room=304)
    encoding.embed(ids_BxT)        # (B, T, D) to add to the token embeddings; ids from `position_ids`
    encoding.bias(layer, size)     # (H, T, T) to add to that layer's logits; None where there is none
    encoding.turn(x_BxHxTxK)       # queries and keys, turned by their position where the encoding does that

    none                 nothing (Kazemnejad et al. 2023)
    learned              a vector for each position; training strings begin at a random one, so that all are trained
    learned_regularized  the same, with the penalty of Huang et al. 2025 in `position_penalty`
    periodic             a vector for each residue mod Δ, as of a limit transformer
    local_bias           log(i) φ_h(i - j) for the last τ+1 tokens, as of a limit transformer of infinite precision
    t5                   a learned bias by bucket of distance (Raffel et al. 2020)
    alibi                minus distance times a slope of the head (Press et al. 2022)
    rotary               angles proportional to the position (Su et al. 2021)
    fire                 a small network of log distance over log position (Li et al. 2024)
    randomized           a vector for each of an increasing random choice of positions (Ruoss et al. 2023)

Biases are of their layer and head. Tables of `learned`, `learned_regularized` and `randomized` end at `room` positions.
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.lengths.transformer import ArrayModule
from jaxscale.models.decoder import rotate

ENCODINGS = (
    "none",
    "learned",
    "learned_regularized",
    "periodic",
    "local_bias",
    "t5",
    "alibi",
    "rotary",
    "fire",
    "randomized",
)
TABLES = ("learned", "learned_regularized", "periodic", "randomized")
BUCKETS, FARTHEST = 32, 128  # of T5
FIRE_HIDDEN = 32


class PositionEncoding(ArrayModule):
    """One of `ENCODINGS`, for all layers of a decoder.

    Attributes:
      encoding: which.
      width, heads, layers: of the decoder.
      room: positions that tables hold; sequences are not longer.
      period: Δ of `periodic`.
      locality: τ of `local_bias`.
    """

    encoding: str
    width: int
    heads: int
    layers: int
    room: int
    period: int = 6
    locality: int = 8

    def __post_init__(self) -> None:
        if self.encoding not in ENCODINGS:
            raise InputError(f"encoding={self.encoding!r} is not one of {', '.join(ENCODINGS)}. Choose one.")
        super().__post_init__()

    def setup(self) -> None:
        H, L, small = self.heads, self.layers, nn.initializers.normal(0.02)
        if self.encoding in TABLES:
            rows = self.period if self.encoding == "periodic" else self.room
            self.table_PxD = self.array("table", small, (rows, self.width))
        elif self.encoding == "local_bias":
            self.phi_LxHxW = self.array("phi", nn.initializers.zeros, (L, H, self.locality + 1))
        elif self.encoding == "t5":
            self.bucket_LxHxB = self.array("buckets", small, (L, H, BUCKETS))
        elif self.encoding == "fire":
            self.up_LxF = self.array("up", nn.initializers.normal(1.0), (L, FIRE_HIDDEN))
            self.shift_LxF = self.array("shift", nn.initializers.normal(1.0), (L, FIRE_HIDDEN))
            self.down_LxFxH = self.array("down", nn.initializers.normal(FIRE_HIDDEN**-0.5), (L, FIRE_HIDDEN, H))
            # log(1 + c d) / log(1 + c max(i, l)), with c and l positive through their logarithms.
            self.log_scale_L = self.array("log_scale", nn.initializers.zeros, (L,))
            self.log_threshold_L = self.array("log_threshold", nn.initializers.constant(math.log(16.0)), (L,))

    def embed(self, ids_BxT: jax.Array) -> jax.Array:
        """(B, T, D) to be added to token embeddings; zero for encodings that act on logits."""
        if self.encoding not in TABLES:
            return jnp.zeros((*ids_BxT.shape, self.width))
        return self.table_PxD[ids_BxT % len(self.table_PxD)]

    def bias(self, layer: int, size: int) -> jax.Array | None:
        """(H, T, T) float32 to be added to the logits of query i and key j <= i in a layer; None if there is none."""
        query_Tx1, key_T = jnp.arange(size)[:, None], jnp.arange(size)
        distance_TxT = jnp.maximum(query_Tx1 - key_T, 0)
        if self.encoding == "local_bias":
            near_TxT = distance_TxT <= self.locality
            phi_HxTxT = self.phi_LxHxW[layer][:, jnp.minimum(distance_TxT, self.locality)]
            return jnp.log(query_Tx1 + 1.0) * jnp.where(near_TxT, phi_HxTxT, 0)
        if self.encoding == "t5":
            return self.bucket_LxHxB[layer][:, t5_bucket(distance_TxT)]
        if self.encoding == "alibi":
            return -alibi_slopes(self.heads)[:, None, None] * distance_TxT
        if self.encoding == "fire":
            scale, threshold = jnp.exp(self.log_scale_L[layer]), jnp.exp(self.log_threshold_L[layer])
            whole_Tx1 = jnp.log1p(scale * jnp.maximum(query_Tx1, threshold))
            ratio_TxT = jnp.log1p(scale * distance_TxT) / whole_Tx1
            hidden_TxTxF = nn.relu(ratio_TxT[..., None] * self.up_LxF[layer] + self.shift_LxF[layer])
            return jnp.moveaxis(hidden_TxTxF @ self.down_LxFxH[layer], -1, 0)
        return None

    def turn(self, x_BxHxTxK: jax.Array) -> jax.Array:
        """Queries or keys, as logits shall see them."""
        return rotate(x_BxHxTxK) if self.encoding == "rotary" else x_BxHxTxK


def t5_bucket(distance: jax.Array) -> jax.Array:
    """Half the buckets hold one distance each, the others grow geometrically to `FARTHEST`; the last holds the rest."""
    exact = BUCKETS // 2
    far = exact + jnp.log(jnp.maximum(distance, 1) / exact) / math.log(FARTHEST / exact) * (BUCKETS - exact)
    return jnp.where(distance < exact, distance, jnp.minimum(far.astype(jnp.int32), BUCKETS - 1))


def alibi_slopes(heads: int) -> jax.Array:
    """2^(-8 h / H), h = 1..H."""
    return 2.0 ** (-8.0 * jnp.arange(1, heads + 1) / heads)


def position_ids(encoding: str, n: int, size: int, room: int, training: bool, *, key: jax.Array | int) -> jax.Array:
    """(n, size) int32 positions of `n` sequences of `size` tokens.

    learned, learned_regularized: while training from a random one on, such that the last fits; at a test from 0 on.
    randomized: an increasing random choice out of `room`, at tests too. All others: 0, 1, 2, …

    Args:
      encoding: a name in `ENCODINGS`.
      n: sequences.
      size: tokens of each.
      room: positions there are.
      training: whether the sequences are trained on.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: if a sequence does not fit.
    """
    place_T = jnp.arange(size)
    if encoding in TABLES and encoding != "periodic" and size > room:
        raise InputError(f"size={size} exceeds room={room}, the positions that {encoding!r} knows. Give more room.")
    if encoding == "randomized":
        draw_BxP = jax.random.uniform(random_key("key", key), (n, room))
        return jnp.sort(jnp.argsort(draw_BxP, axis=1)[:, :size], axis=1)
    if encoding in ("learned", "learned_regularized") and training:
        return place_T + jax.random.randint(random_key("key", key), (n, 1), 0, room - size + 1)
    return jnp.broadcast_to(place_T, (n, size))


def position_penalty(table_PxD: jax.Array, query_LxDxD: jax.Array, key_LxDxD: jax.Array, heads: int) -> jax.Array:
    """Σ_layers Σ_heads Σ_i mean_j (p_i W_q · p_j W_k)² over j <= i: the positional term of Huang et al. 2025's R(T).

    Position vectors are used as they are in all layers, without a norm, as in its authors' program.

    Args:
      table_PxD: a vector for each position.
      query_LxDxD, key_LxDxD: the projections of all layers, heads side by side.
      heads: how many.
    """
    split: Callable[[jax.Array], jax.Array] = lambda matrix_LxDxD: (table_PxD @ matrix_LxDxD).reshape(
        len(matrix_LxDxD), len(table_PxD), heads, -1
    )
    product_LxHxPxP = jnp.einsum("lihk,ljhk->lhij", split(query_LxDxD), split(key_LxDxD))
    return jnp.sum(jnp.tril(product_LxHxPxP) ** 2) / len(table_PxD)
