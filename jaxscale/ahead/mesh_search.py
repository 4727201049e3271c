"""Which mesh, recomputation and chunks of the loss make a run fit a topology and step fastest.

    found = search(run, topologies.describe("tpu:v5e:4x4"), compiled=4)
    found["rows"][0]["flags"]              # "--mesh.replica 1 --mesh.fsdp 16 …"

All choices are estimated from the model's shape; those that look best are compiled, and what the compiler makes of
them decides.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jax.sharding import AbstractMesh

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.ahead.step import compile_ahead, with_chip
from jaxscale.ahead.topologies import Topology
from jaxscale.data import tokenizers
from jaxscale.errors import InputError
from jaxscale.models import matmul_flops_per_token
from jaxscale.models.decoder import attention_weights

CHUNKS = (1, 8)


def search(
    run: configs.Run, topology: Topology, compiled: int = 4, report: Callable[..., None] = lambda **values: None
) -> dict[str, Any]:
    """Compiles the choices estimated to be best until `compiled` of them fit, twice as many at most.

    Args:
      run: its `mesh`, `training.remat` and `training.loss_chunks` are replaced; its batch stays.
      topology: the devices.
      compiled: choices that must fit before the search ends.
      report: called with `step` and `steps`, choices compiled and wanted.

    Returns:
      A dict of plain values: `considered`, how many choices there are; `rows`, those compiled, the fastest that fit
      first, each with its `flags`, the facts of `compile_ahead` and `estimated_seconds` before compilation.

    Raises:
      InputError: no mesh of the topology divides the run's batch and heads, or `compiled` is not positive.
    """
    if compiled < 1:
        raise InputError(f"compiled={compiled} must be positive. Give a larger number of choices.")
    configs.validate(run)
    topology, _ = with_chip(topology)
    ranked = sorted(((*_estimate(choice, topology), choice) for choice in choices(run, topology)), key=lambda e: e[:2])
    if not ranked:
        raise InputError(
            f"topology={topology.name!r}: no mesh of its {len(topology.devices)} devices divides "
            f"training.batch_size={run.training.batch_size} and model.heads={run.model.heads}. Use another batch."
        )
    rows: list[dict[str, Any]] = []
    for _, seconds, choice in ranked[: 2 * compiled]:
        report(step=len(rows), steps=compiled)
        rows.append({"flags": flags(choice), "estimated_seconds": seconds} | compile_ahead(choice, topology))
        if sum(row["memory"]["fits"] for row in rows) == compiled:
            break
    report(step=compiled, steps=compiled)
    speed = lambda row: row["roofline"]["seconds"] if row["memory"]["fits"] else math.inf
    return {"topology": topology.name, "considered": len(ranked), "rows": sorted(rows, key=speed)}


def flags(run: configs.Run) -> str:
    """The command-line flags of a choice."""
    values = {f"mesh.{axis}": getattr(run.mesh, axis) for axis in sharding.AXES}
    values |= {"training.remat": run.training.remat, "training.loss-chunks": run.training.loss_chunks}
    return " ".join(f"--{name} {value}" for name, value in values.items())


def choices(run: configs.Run, topology: Topology) -> Iterator[configs.Run]:
    """The run with every mesh that divides it, every recomputation, and the logits whole and in chunks."""
    devices = len(topology.devices)
    slices = run.mesh.slices
    divisors = [d for d in range(1, devices + 1) if devices % d == 0]
    for fsdp, context, tensor in itertools.product(divisors, repeat=3):
        replica, rest = divmod(devices, fsdp * context * tensor)
        if rest or not replica or replica % slices:
            continue
        try:
            sharding.check_fits(AbstractMesh((replica, fsdp, context, tensor), sharding.AXES), run)
        except InputError:
            continue
        mesh = configs.Mesh(replica, fsdp, context, tensor, slices)
        for remat in ("none", "dots", "full"):
            for chunks in sorted({*CHUNKS, run.training.loss_chunks}):
                training = dataclasses.replace(run.training, remat=remat, loss_chunks=chunks)
                yield dataclasses.replace(run, mesh=mesh, training=training)


def _estimate(run: configs.Run, topology: Topology) -> tuple[bool, float]:
    """(whether it should not fit, seconds) of a step, from shapes alone."""
    c, training, chip = run.model, run.training, topology.chip
    assert chip is not None
    vocab = tokenizers.vocab_size(run.tokenizer)
    replica, fsdp, context, tensor = (getattr(run.mesh, axis) for axis in sharding.AXES)
    item = 4 if c.dtype == "float32" else 2
    D, F, matrices = c.width, c.hidden, 3 if c.activation == "swiglu" else 2
    blocks = c.layers * (attention_weights(c) + matrices * D * F)
    table = vocab * D * (1 if c.tied else 2)
    logits_over = tensor if vocab % tensor == 0 else 1
    tokens = training.batch_size * c.context / (replica * fsdp * context)
    part = tokens / training.accumulation

    # Bytes: state and gradients in float32; what the backward pass keeps of each token and layer; logits.
    state = 16 * (blocks / tensor + table / logits_over) / fsdp
    scores = 6 * c.heads * c.context / tensor if c.attention == "plain" or context > 1 else 0
    kept = {
        "none": item * (4 * D + (4 * D + (matrices + 1) * F) / tensor) + 8 * D + scores,
        "dots": item * (3 * D + (3 * D + matrices * F) / tensor),
        "full": item * D,
    }[training.remat]
    again = 0 if training.remat == "none" else scores  # one layer at a time is computed again
    memory = state + part * (c.layers * kept + again + 12 * vocab / logits_over / training.loss_chunks)

    # FLOPs: forward once, backward twice, and what is computed again.
    forward = matmul_flops_per_token(c, vocab)
    logits, attention = 2 * D * vocab, 4 * c.layers * c.context * D
    repeated = {"none": 0, "dots": attention, "full": forward - logits}[training.remat]
    repeated += logits if training.loss_chunks > 1 else 0
    wasted = 3 * logits * (tensor / logits_over - 1)  # a vocabulary that the tensor axis does not divide
    rate = chip.flops_float32 if c.dtype == "float32" else chip.flops
    computation = max(tokens * (3 * forward + repeated + wasted) / tensor / rate, 3 * memory / chip.bandwidth)

    # Bytes sent: gradients summed, parameters gathered for each pass, activations gathered or summed.
    passes = 3 if training.remat == "full" else 2
    weights = (blocks + table) / tensor
    sent = (
        2 * 4 * weights / fsdp * (replica - 1) / replica,
        (passes * item + 4) * training.accumulation * weights * (fsdp - 1) / fsdp,
        4 * passes * c.layers * tokens * D / tensor * item * (context - 1),
        4 * passes * c.layers * tokens * D * item * (tensor - 1) / tensor,
    )
    lattice = sharding.make_mesh(run.mesh, topology.devices).devices
    lines = (np.moveaxis(lattice, i, 0).reshape(size, -1)[:, 0] for i, size in enumerate(lattice.shape))
    for_replica, for_fsdp, for_context, for_tensor = (
        size / topology.sending_rate(line) for size, line in zip(sent, lines, strict=True)
    )
    seconds = max(computation, for_replica + for_fsdp) + for_context + for_tensor
    return memory > chip.memory * chip.usable, seconds
