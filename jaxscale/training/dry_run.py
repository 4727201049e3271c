"""What a run would take, without its data and before anything is computed: shapes, parameters, memory, steps."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.data import tokenizers
from jaxscale.training import throughput
from jaxscale.training.loss import mean_loss
from jaxscale.training.step import Program, program


def describe(run: configs.Run, devices: Iterable[jax.Device] | None = None) -> dict[str, Any]:
    """Facts about a run that need no data: every parameter's shape and sharding, counts, bytes per device, FLOPs.

    Args:
      run: a `config.Run`.
      devices: those to lay the mesh over; default all.

    Returns:
      A dict of plain values. `memory` estimates bytes per device: parameters, optimizer moments and gradients exactly,
      activations as what the backward pass keeps of the forward pass, before the compiler saves any of it.

    Raises:
      InputError: the run contradicts itself or does not fit the devices.
    """
    configs.validate(run)
    mesh = sharding.make_mesh(run.mesh, devices)
    sharding.check_fits(mesh, run)
    vocab_size = tokenizers.vocab_size(run.tokenizer)
    shared = program(run, vocab_size, mesh)
    params = jax.tree_util.tree_leaves_with_path(shared.abstract.params)
    table = [
        {
            "parameter": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(leaf.shape),
            "sharding": str(leaf.sharding.spec).removeprefix("PartitionSpec"),
        }
        for path, leaf in params
    ]
    memory = {
        "parameters": bytes_per_device(shared.abstract.params),
        "moments": bytes_per_device(shared.abstract.moments),
        # Accumulation holds the sum beside the part that is added.
        "gradients": bytes_per_device(shared.abstract.params) * (2 if run.training.accumulation > 1 else 1),
        "activations": _activation_bytes(run, shared),
    }
    return {
        "parameters": sum(math.prod(row["shape"]) for row in table),
        "vocab_size": vocab_size,
        "mesh": dict(mesh.shape),
        "tokens_per_step": run.training.batch_size * run.model.context,
        "flops_per_step": throughput.training_flops(run, vocab_size),
        "memory": memory | {"total": sum(memory.values())},
        "table": table,
    }


def bytes_per_device(tree: Any) -> int:
    shard: Callable[[jax.ShapeDtypeStruct], int] = lambda leaf: (
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * np.dtype(leaf.dtype).itemsize
    )
    return sum(shard(leaf) for leaf in jax.tree.leaves(tree))


def _activation_bytes(run: configs.Run, shared: Program) -> int:
    """Bytes that one device keeps between the forward and the backward pass of one part of its batch."""
    rows = run.training.batch_size // run.training.accumulation
    tokens = jax.ShapeDtypeStruct((rows, run.model.context + 1), np.int32)
    kept = jax.eval_shape(
        lambda p, t: jax.vjp(lambda p: mean_loss(shared.model, p, t, run.training.loss_chunks).mean(), p)[1],
        shared.abstract.params,
        tokens,
    )
    batched = [leaf for leaf in jax.tree.leaves(kept) if rows in leaf.shape]
    total = sum(math.prod(leaf.shape) * np.dtype(leaf.dtype).itemsize for leaf in batched)
    share: int = total // math.prod(shared.mesh.shape.values())
    return share
