"""Token embeddings of held-out text by layer, on device: the points whose intrinsic dimension is measured."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from jaxscale.arguments import numpy_seed
from jaxscale.errors import InputError
from jaxscale.memory import out_of_memory_told
from jaxscale.models.decoder import Decoder

if TYPE_CHECKING:
    from jaxscale.data.store import Split


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["layers", "document", "position", "next_token"], meta_fields=[]
)
@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Tokens by layer.

    Attributes:
      layers: (L + 1, N, D) float32: the token embedding, then after each block, the last after the final norm.
      document: (N,) int32, which document each token is from.
      position: (N,) int32, how many tokens of its document are before it; the model sees at most its context.
      next_token: (N,) int32, the token that follows.
    """

    layers: jax.Array
    document: jax.Array
    position: jax.Array
    next_token: jax.Array


def embed(
    model: Decoder,
    params: Any,
    split: "Split",
    n: int,
    tokens_per_document: int,
    batch_size: int = 64,
    sharding: NamedSharding | None = None,
    *,
    key: jax.Array | int = 0,
) -> Embeddings:
    """Embeds tokens of many documents, each with the text that precedes it in its document, up to the model's context.

    Args:
      model: a `Decoder`.
      params: its parameters.
      split: documents (`data.Split`).
      n: tokens at most.
      tokens_per_document: tokens drawn from one document at most, without replacement; end-of-text is never drawn.
      batch_size: sequences a forward pass takes.
      sharding: of the rows of a batch over devices, a `NamedSharding`; default one device.
      key: a JAX random key, or an int for `jax.random.key`. It draws the tokens.

    Returns:
      `Embeddings` of N <= n tokens.

    Raises:
      InputError: the documents have no token to embed.
      RunError: the memory of a device does not suffice.
    """
    context = model.config.context
    position, document = _draw(split, n, tokens_per_document, numpy_seed("key", key))
    first = np.maximum(split.starts[document], position - context + 1)
    # Left-aligned windows: what lies to the right of a token cannot reach it through causal attention.
    index = np.minimum(first[:, None] + np.arange(context), len(split.tokens) - 1)
    tokens_NxT = np.asarray(split.tokens[index], np.int32)
    padding = -len(tokens_NxT) % batch_size
    tokens_NxT = np.pad(tokens_NxT, ((0, padding), (0, 0)))
    last_N = np.pad(position - first, (0, padding))
    batches = tokens_NxT.reshape(-1, batch_size, context), last_N.reshape(-1, batch_size)
    if sharding is not None:
        batches = jax.device_put(batches, NamedSharding(sharding.mesh, PartitionSpec(None, *sharding.spec)))
    with out_of_memory_told("Embed fewer points, or fewer sequences at a time (training.batch_size)."):
        layers_LxNxD = jax.block_until_ready(_forward(model, params, *batches))
    return Embeddings(
        layers_LxNxD[:, : len(position)],
        jnp.asarray(np.unique(document, return_inverse=True)[1], jnp.int32),
        jnp.asarray(position - split.starts[document], jnp.int32),
        jnp.asarray(np.asarray(split.tokens[position + 1]), jnp.int32),
    )


@functools.partial(jax.jit, static_argnums=0)
def _forward(model: Decoder, params: Any, tokens_MxBxT: jax.Array, last_MxB: jax.Array) -> jax.Array:
    def one(batch: tuple[jax.Array, jax.Array]) -> jax.Array:
        tokens_BxT, last_B = batch
        layers: Any = model.apply({"params": params}, tokens_BxT, method="layers")
        return jnp.stack([x_BxTxD[jnp.arange(len(last_B)), last_B].astype(jnp.float32) for x_BxTxD in layers])

    layers_MxLxBxD = jax.lax.map(one, (tokens_MxBxT, last_MxB))
    return jnp.moveaxis(layers_MxLxBxD, 0, 1).reshape(layers_MxLxBxD.shape[1], -1, layers_MxLxBxD.shape[-1])


def _draw(split: "Split", n: int, tokens_per_document: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Places of the drawn tokens and the documents they lie in, document after document."""
    generator = np.random.Generator(np.random.Philox(key=seed))
    positions: list[np.ndarray] = []
    documents: list[np.ndarray] = []
    left = n
    for document in generator.permutation(len(split.starts) - 1):
        start, end = split.starts[document], split.starts[document + 1] - 1
        count = min(end - start, tokens_per_document, left)
        positions.append(start + np.sort(generator.choice(end - start, count, replace=False)))
        documents.append(np.full(count, document))
        left -= count
    if left == n:
        raise InputError("the held-out documents are empty: no token to embed. Give more text.")
    return np.concatenate(positions), np.concatenate(documents)
