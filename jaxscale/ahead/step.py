"""A run's training step compiled for devices that need not be there: memory, arithmetic, collectives, time.

    topology = topologies.describe("tpu:v5e:16x16")
    facts = compile_ahead(run, topology)
    facts["memory"]["fits"], facts["roofline"]["seconds"]

Nothing is run: devices are described (`ahead.topologies`), and the compiled program's text is read.
"""

import dataclasses
import math
import re
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import numpy as np
from jax.sharding import Mesh

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.ahead import compiled as programs
from jaxscale.ahead import topologies
from jaxscale.ahead.roofline import Roofline, roofline
from jaxscale.data import tokenizers
from jaxscale.models import attention
from jaxscale.sharding import chips
from jaxscale.sharding.chips import Chip
from jaxscale.sharding.mesh import spanning
from jaxscale.training import dry_run, throughput
from jaxscale.training.step import Program, program


def compile_ahead(run: configs.Run, topology: topologies.Topology) -> dict[str, Any]:
    """Lowers and compiles the sharded step of a run for a topology, and reads from the program what it will take.

    Returns:
      A dict of plain values. `memory`: bytes of one device, what is kept from step to step, what a step needs on top,
      the total, and whether it `fits`. `flops`: those the model needs and those a device executes, a step.
      `collectives`: rows of kind, axes of the mesh, how often, bytes of the arrays, bytes a device sends. `roofline`:
      seconds (`jaxscale.ahead.roofline`) and the share of the peak that they leave the model's FLOPs. Where the
      compiler finds that the step does not fit, `memory` alone, with what it says of it.

    Raises:
      InputError: the run contradicts itself or does not fit the topology.
    """
    configs.validate(run)
    topology, chip = with_chip(topology)
    mesh = sharding.make_mesh(run.mesh, topology.devices)
    sharding.check_fits(mesh, run)
    vocab_size = tokenizers.vocab_size(run.tokenizer)
    shared = program(run, vocab_size, mesh)
    facts: dict[str, Any] = {
        "topology": topology.name,
        "device_kind": topology.devices[0].device_kind,
        "devices": mesh.size,
        "mesh": dict(mesh.shape),
        "remat": run.training.remat,
        "loss_chunks": run.training.loss_chunks,
        "parameters": sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shared.abstract.params)),
        "tokens_per_step": run.training.batch_size * run.model.context,
    }
    kept = {name: dry_run.bytes_per_device(getattr(shared.abstract, name)) for name in ("params", "moments")}
    start = time.perf_counter()
    try:
        step, text = topologies.compile_for(topology, _lowered(run, shared, mesh, topology))
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return facts | {"memory": kept | _overflow(str(error), chip, sum(kept.values()))}
    facts["compile_seconds"] = time.perf_counter() - start
    read = programs.read(text)
    model_flops = throughput.training_flops(run, vocab_size)
    estimate = roofline(read, mesh, topology, run.model.dtype == "float32")
    rate = chip.flops_float32 if run.model.dtype == "float32" else chip.flops
    warnings = _warnings(run, topology, read) + _slow_axes(mesh, topology, estimate)
    return facts | {
        "memory": kept | _memory(step, chip),
        "flops": {"model": model_flops, "executed_per_device": read.flops},
        "bytes_per_device": read.bytes,
        "collectives": [dataclasses.asdict(row) for row in estimate.traffic],
        "roofline": {
            "seconds": estimate.seconds,
            "products_seconds": estimate.products,
            "memory_seconds": estimate.memory,
            "computation_seconds": estimate.computation,
            "collectives_seconds": sum(row.seconds for row in estimate.traffic),
            "bound": estimate.bound,
            "tokens_per_second": facts["tokens_per_step"] / estimate.seconds,
            "model_flops_utilization": model_flops / (estimate.seconds * rate * mesh.size),
        },
        "warnings": warnings,
    }


def with_chip(topology: topologies.Topology) -> tuple[topologies.Topology, chips.Chip]:
    """(`topology`, its chip): of processors, which no data sheet speaks for, that of this host."""
    chip = topology.chip
    if chip is None:
        chip = throughput.host_chip(len(topology.devices))
        topology = dataclasses.replace(topology, chip=chip)
    return topology, chip


def _lowered(run: configs.Run, shared: Program, mesh: Mesh, topology: topologies.Topology) -> jax.stages.Lowered:
    batch = (run.training.batch_size, run.model.context + 1)
    tokens = jax.ShapeDtypeStruct(batch, np.int32, sharding=sharding.batch_sharding(mesh))
    traced = shared.step.trace(shared.abstract, tokens, jax.ShapeDtypeStruct((), np.float32))
    lowered: jax.stages.Lowered = traced.lower(lowering_platforms=(topology.lowering_platform,))
    return lowered


def _memory(step: jax.stages.Compiled, chip: Chip) -> dict[str, Any]:
    """Bytes of one device as the compiler lays them out, padding included."""
    told = cast(Any, step.memory_analysis())
    arguments, temporary = told.argument_size_in_bytes, told.temp_size_in_bytes
    outputs = told.output_size_in_bytes - told.alias_size_in_bytes  # the new state takes the place of the old
    code = told.generated_code_size_in_bytes
    total, capacity = arguments + temporary + outputs + code, chip.memory * chip.usable
    return {
        "arguments": arguments,
        "temporary": temporary,
        "outputs": outputs,
        "code": code,
        "total": total,
        "capacity": capacity,
        "fits": total <= capacity,
    }


def _overflow(message: str, chip: Chip, kept: int) -> dict[str, Any]:
    """What a compiler says that stops at a program which does not fit; `kept` bytes stay from step to step."""
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    used = re.search(r"[Uu]sed ([\d.]+)([KMGT]?) of", message)
    temporary = re.search(r"temporaries \(([\d.]+)([KMGT]?)\)", message)
    size: Callable[[re.Match[str]], float] = lambda found: float(found[1]) * units[found[2]]
    total = size(used) if used else size(temporary) + kept if temporary else None
    return {"total": total, "capacity": chip.memory * chip.usable, "fits": False, "compiler": message.split("\n")[0]}


def _warnings(run: configs.Run, topology: topologies.Topology, read: programs.CompiledProgram) -> list[str]:
    said = []
    if read.unknown_loops:
        said.append(f"{read.unknown_loops} loops of unknown length are counted once.")
    if topology.platform == "gpu" and run.model.attention == "fused" and not attention.has_cudnn():
        said.append("cuDNN is not installed here: attention is compiled unfused. pip install 'jaxscale[cuda]'.")
    return said


def _slow_axes(mesh: Mesh, topology: topologies.Topology, estimate: Roofline) -> list[str]:
    """A sentence for each axis whose collectives leave a slice or node although they need not."""
    said = []
    for axis, count in spanning(mesh, topology.outer).items():
        rows = [row for row in estimate.traffic if axis in row.axes.split(" × ")]
        if rows:
            sent, seconds = (sum(getattr(row, name) for row in rows) for name in ("sent", "seconds"))
            total = len({topology.outer(device) for device in mesh.devices.flat})
            slices = f" and mesh.slices={total}" if topology.platform == "tpu" else ""
            said.append(
                f"mesh.{axis}={mesh.shape[axis]} spans {count} {topology.outer_name}: a device sends {sent / 1e6:.3g} "
                f"MB a step along it, {1000 * seconds:.3g} ms over the network between them. Keep it within one: set "
                f"mesh.replica to a multiple of {total}{slices}."
            )
    return said
