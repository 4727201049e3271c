"""Next-token cross-entropy, with the logits of a part of the vocabulary at a time where they are too large whole.

loss_B = mean_loss(model, params, tokens_BxT1, chunks=8)

Chunks divide the vocabulary and not the tokens: where parameters are sharded (FSDP), each chunk of the output matrix is
then gathered, and its gradient summed over the devices, once a pass. Chunks of tokens would move the whole each time.
"""

import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxscale.models import Decoder


def mean_loss(model: Decoder, params: Any, tokens_BxT1: jax.Array, chunks: int = 1) -> jax.Array:
    """Next-token cross-entropy of each sequence, (B,) float32 nats per token.

    Args:
      model: a `Decoder`.
      params: its parameters.
      tokens_BxT1: inputs and, one to the right, targets.
      chunks: parts of the vocabulary whose logits are formed one after the other, in the backward pass again; static.
    """
    inputs_BxT, targets_BxT = tokens_BxT1[:, :-1], tokens_BxT1[:, 1:]
    if chunks == 1:
        logits_BxTxV = model.apply({"params": params}, inputs_BxT)
        return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits_BxTxV, targets_BxT), axis=-1)
    x_BxTxD = cast(jax.Array, model.apply({"params": params}, inputs_BxT, method="hidden"))
    head_DxV = cast(jax.Array, model.apply({"params": params}, method="head_matrix"))
    gather = functools.partial(model.execution.gather, "embed")
    return jnp.mean(_chunked_cross_entropy(x_BxTxD, head_DxV.T, targets_BxT, chunks, gather), axis=-1)


def _chunked_cross_entropy(
    x_BxTxD: jax.Array,
    rows_VxD: jax.Array,
    targets_BxT: jax.Array,
    chunks: int,
    gather: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """Cross-entropy (B, T) of the logits x rowsᵀ: log of a sum of exponentials that is kept up over the chunks.

    `gather` makes of a chunk of rows one that every device has.
    """
    V, dtype = len(rows_VxD), x_BxTxD.dtype
    # A chunk takes rows from all over the vocabulary, so that each device of a tensor axis keeps working.
    padded_VxD = jnp.pad(rows_VxD, ((0, -V % chunks), (0, 0)))
    rows_NxCxD = padded_VxD.reshape(-1, chunks, rows_VxD.shape[-1]).swapaxes(0, 1)
    entries_NxC = jnp.arange(len(padded_VxD)).reshape(-1, chunks).T

    @functools.partial(jax.checkpoint, prevent_cse=False)  # a scan keeps its steps apart
    def add(
        so_far: tuple[jax.Array, jax.Array, jax.Array, jax.Array], chunk: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        x_BxTxD, top_BxT, sum_BxT, picked_BxT = so_far
        rows_CxD, entries_C = chunk
        head_DxC = gather(rows_CxD.astype(dtype)).T
        logits_BxTxC = jnp.matmul(x_BxTxD.astype(dtype), head_DxC, preferred_element_type=jnp.float32)
        logits_BxTxC = jnp.where(entries_C < V, logits_BxTxC, -jnp.inf)
        new_BxT = jnp.maximum(top_BxT, jax.lax.stop_gradient(jnp.max(logits_BxTxC, axis=-1)))
        sum_BxT *= jnp.exp(top_BxT - new_BxT)
        sum_BxT += jnp.sum(jnp.exp(logits_BxTxC - new_BxT[..., None]), axis=-1)
        picked_BxT += jnp.sum(jnp.where(entries_C == targets_BxT[..., None], logits_BxTxC, 0), axis=-1)
        return new_BxT, sum_BxT, picked_BxT

    # The gradient of the stream is a sum over chunks, kept in float32.
    x_BxTxD = x_BxTxD.astype(jnp.float32)
    start_BxT = jnp.zeros(targets_BxT.shape, jnp.float32)
    start = (start_BxT - jnp.inf, start_BxT, start_BxT)
    step = lambda so_far, chunk: (add((x_BxTxD, *so_far), chunk), None)
    (top_BxT, sum_BxT, picked_BxT), _ = jax.lax.scan(step, start, (rows_NxCxD, entries_NxC))
    return top_BxT + jnp.log(sum_BxT) - picked_BxT
