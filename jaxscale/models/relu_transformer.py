"""The transformer of the approximation theorems: ReLU attention without softmax, one forward pass for all parameters.

    model = ReluTransformer(shape)                                 # shape: a `Shape`, the class T(L_T, m, d_embd, l, …)
    y_B = model.apply({"params": params, "fixed": fixed}, x_BxD)   # parameters written down by a theorem, or trained

Letters in names: B batch, D coordinates of a point, T and S tokens, E width d_embd, M heads, K rank of a head.
"""

import dataclasses
import itertools
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

# What a matrix product sees of its inputs: all bits, or those a GPU ("tf32") or TPU ("bf16") keeps by default.
MatmulInputs = Literal["full", "tf32", "bf16"]
MANTISSA_BITS = {"tf32": 10, "bf16": 7}


@dataclasses.dataclass(frozen=True)
class BlockShape:
    """Sizes of one block: `heads` m, `rank` rows of Q and K, and widths of the hidden layers of its FFN.

    A block without hidden layers has no FFN: the residual stream passes as it is.
    """

    heads: int
    rank: int
    hidden: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Shape:
    """The class T(L_T, m, d_embd, l, L_FFN, w_FFN, R, κ) without κ, which is a property of parameters.

    Attributes:
      tokens: l.
      width: d_embd, rows of a token.
      blocks: L_T of them.
      inputs: (token, row) that the embedding puts each coordinate of a point into.
      outputs: (token, row) that the decoder reads; one for a real-valued network.
      bound: R, outputs are clipped to [-R, R]; None leaves them.
      learned_rows: rows in which tokens start from parameters, not from the fixed encoding alone.
    """

    tokens: int
    width: int
    blocks: tuple[BlockShape, ...]
    inputs: tuple[tuple[int, int], ...]
    outputs: tuple[tuple[int, int], ...]
    bound: float | None = None
    learned_rows: tuple[int, ...] = ()

    @property
    def heads(self) -> int:
        """m, the largest number of heads of a block."""
        return max(block.heads for block in self.blocks)

    @property
    def ffn_depth(self) -> int:
        """L_FFN, affine maps of the deepest FFN."""
        return max(len(block.hidden) + 1 if block.hidden else 0 for block in self.blocks)

    @property
    def ffn_width(self) -> int:
        """w_FFN, the widest hidden layer."""
        return max((width for block in self.blocks for width in block.hidden), default=0)

    @property
    def parameters(self) -> int:
        """Numbers in the parameters, zeros included; neither encoding nor embedding counts."""
        learned = self.tokens * len(self.learned_rows)
        return learned + sum(block_parameters(block, self.width) for block in self.blocks)


def block_parameters(block: BlockShape, width: int) -> int:
    """Numbers in Q, K, V and the FFN of one block."""
    layers = [width, *block.hidden, width] if block.hidden else []
    ffn = sum(fan_in * fan_out + fan_out for fan_in, fan_out in itertools.pairwise(layers))
    return block.heads * (2 * block.rank * width + width**2) + ffn


class ReluTransformer(nn.Module):
    """T(x) = D(B_L … B_1(E(x) + PE)) with B(H) = G + FFN(G), G = H + MHA(H) (Havrilla & Liao 2024, section 2).

    A head is A(h_t) = Σ_k relu(<Q h_t, K h_k>) V h_k: no softmax, normalizer, mask or scale. Each has a V of its own,
    and heads are summed. The FFN is a ReLU network applied to each token. Embedding E and decoder D are fixed by
    `shape`; the encoding PE is the variable "encoding" of the collection "fixed", zeros until given.

    Arithmetic is in the dtype of the parameters. `matmul_inputs` rounds what enters matrix products as an accelerator
    would; sums stay in the dtype of the parameters.
    """

    shape: Shape
    matmul_inputs: MatmulInputs = "full"
    head_chunk: int | None = None  # heads whose scores are held at once; all if None
    query_tile: int | None = None  # queries whose scores are held at once; all if None
    dtype: Any = jnp.float32  # of parameters made by `init`

    @nn.compact
    def __call__(self, x_BxD: jax.Array) -> jax.Array:
        """(B, D) points to (B,) values, or (B, outputs) where the shape has several."""
        return decode(self.shape, self.streams(x_BxD)[-1])

    @nn.compact
    def streams(self, x_BxD: jax.Array) -> list[jax.Array]:
        """Residual stream, L_T + 1 arrays (B, T, E): the embedded points, then after each block."""
        shape = self.shape
        encoding_TxE = self.variable("fixed", "encoding", jnp.zeros, (shape.tokens, shape.width), self.dtype).value
        if shape.learned_rows:
            size = (shape.tokens, len(shape.learned_rows))
            learned_TxR = self.param("learned", nn.initializers.normal(1.0), size, self.dtype)
            encoding_TxE = encoding_TxE.at[:, shape.learned_rows].add(learned_TxR)
        streams = [embed(shape, encoding_TxE, x_BxD)]
        for i, block in enumerate(shape.blocks):
            weights = BlockParameters(block, shape.width, shape.tokens, self.dtype, name=f"block_{i}")()
            attended = attention_in_chunks(
                weights, streams[-1], streams[-1], self.matmul_inputs, self.head_chunk, self.query_tile
            )
            streams.append(feed_forward(weights, streams[-1] + attended, self.matmul_inputs))
        return streams


class BlockParameters(nn.Module):
    """Declares query and key (M, K, E), value (M, E, E), and kernel_i, bias_i of the FFN's affine maps."""

    block: BlockShape
    width: int
    tokens: int
    dtype: Any

    @nn.compact
    def __call__(self) -> dict[str, jax.Array]:
        M, K, E = self.block.heads, self.block.rank, self.width
        # Scores of unit variance; the sum over heads and keys then starts no larger than what it is added to.
        project = nn.initializers.variance_scaling(1.0, "fan_in", "normal", in_axis=-1, out_axis=-2, batch_axis=0)
        weights = {
            "query": self.param("query", project, (M, K, E), self.dtype),
            "key": self.param("key", project, (M, K, E), self.dtype),
            "value": self.param("value", nn.initializers.normal((M * E) ** -0.5 / self.tokens), (M, E, E), self.dtype),
        }
        layers = [E, *self.block.hidden, E] if self.block.hidden else []
        for i, (fan_in, fan_out) in enumerate(itertools.pairwise(layers)):
            weights[f"kernel_{i}"] = self.param(
                f"kernel_{i}", nn.initializers.he_normal(), (fan_in, fan_out), self.dtype
            )
            weights[f"bias_{i}"] = self.param(f"bias_{i}", nn.initializers.zeros, (fan_out,), self.dtype)
        return weights


def embed(shape: Shape, encoding_TxE: jax.Array, x_BxD: jax.Array) -> jax.Array:
    """E(x) + PE: each coordinate added to its place, (B, T, E)."""
    token, row = np.reshape(np.array(shape.inputs, int), (-1, 2)).T  # a constant has none
    h_BxTxE = jnp.broadcast_to(encoding_TxE, (x_BxD.shape[0], *encoding_TxE.shape))
    return h_BxTxE.at[:, token, row].add(x_BxD.astype(encoding_TxE.dtype))


def decode(shape: Shape, h_BxTxE: jax.Array) -> jax.Array:
    """The values at the shape's outputs: (B,) for one, (B, outputs) for several; clipped to the bound."""
    token, row = zip(*shape.outputs, strict=True)
    y_BxO = h_BxTxE[:, token, row]
    if shape.bound is not None:
        y_BxO = jnp.clip(y_BxO, -shape.bound, shape.bound)
    return y_BxO[:, 0] if len(shape.outputs) == 1 else y_BxO


def attention(
    weights: Mapping[str, jax.Array], query_BxTxE: jax.Array, key_BxSxE: jax.Array, inputs: MatmulInputs = "full"
) -> jax.Array:
    """MHA: Σ over heads and keys of relu(<Q h_t, K h_s>) V h_s for each query token t, (B, T, E)."""
    q_BxMxTxK = product("mke,bte->bmtk", weights["query"], query_BxTxE, inputs)
    k_BxMxSxK = product("mke,bse->bmsk", weights["key"], key_BxSxE, inputs)
    v_BxMxSxE = product("mfe,bse->bmsf", weights["value"], key_BxSxE, inputs)
    scores_BxMxTxS = jax.nn.relu(product("bmtk,bmsk->bmts", q_BxMxTxK, k_BxMxSxK, inputs))
    return product("bmts,bmsf->btf", scores_BxMxTxS, v_BxMxSxE, inputs)


def attention_in_chunks(
    weights: Mapping[str, jax.Array],
    query_BxTxE: jax.Array,
    key_BxSxE: jax.Array,
    inputs: MatmulInputs = "full",
    head_chunk: int | None = None,
    query_tile: int | None = None,
) -> jax.Array:
    """`attention`, holding the scores of `head_chunk` heads and `query_tile` queries at a time.

    Heads and queries are padded to whole chunks with zeros, whose heads and queries contribute nothing.
    """
    heads = {name: weights[name] for name in ("query", "key", "value")}
    if query_tile is not None and query_tile < query_BxTxE.shape[1]:
        tiles = _split(query_BxTxE, query_tile, axis=1)
        one = lambda tile: attention_in_chunks(heads, tile, key_BxSxE, inputs, head_chunk)
        out = lax.map(one, tiles)
        B, T, E = query_BxTxE.shape
        return jnp.moveaxis(out, 0, 1).reshape(B, -1, E)[:, :T]
    if head_chunk is None or head_chunk >= heads["query"].shape[0]:
        return attention(heads, query_BxTxE, key_BxSxE, inputs)
    chunks = {name: _split(w, head_chunk, axis=0) for name, w in heads.items()}
    add = lambda total, chunk: (total + attention(chunk, query_BxTxE, key_BxSxE, inputs), None)
    return lax.scan(add, jnp.zeros_like(query_BxTxE), chunks)[0]


def _split(x: jax.Array, size: int, axis: int) -> jax.Array:
    """(chunks, …, size, …): `axis` padded with zeros to a multiple of `size` and split, chunks first."""
    pads = [(0, 0)] * x.ndim
    pads[axis] = (0, -x.shape[axis] % size)
    x = jnp.pad(x, pads)
    return jnp.moveaxis(x.reshape(*x.shape[:axis], -1, size, *x.shape[axis + 1 :]), axis, 0)


def feed_forward(weights: Mapping[str, jax.Array], g_BxTxE: jax.Array, inputs: MatmulInputs = "full") -> jax.Array:
    """G + FFN(G); G alone where the block has no FFN."""
    depth = sum(name.startswith("kernel_") for name in weights)
    hidden = g_BxTxE
    for i in range(depth):
        hidden = product("btf,fg->btg", hidden, weights[f"kernel_{i}"], inputs) + weights[f"bias_{i}"]
        if i < depth - 1:
            hidden = jax.nn.relu(hidden)
    return g_BxTxE + hidden if depth else g_BxTxE


def product(spec: str, a: jax.Array, b: jax.Array, inputs: MatmulInputs = "full") -> jax.Array:
    """An einsum whose factors are rounded as `inputs` says; sums in the factors' dtype, on every backend."""
    if inputs != "full":
        a, b = (lax.reduce_precision(x, exponent_bits=8, mantissa_bits=MANTISSA_BITS[inputs]) for x in (a, b))
    return jnp.einsum(spec, a, b, precision=lax.Precision.HIGHEST)
