"""How long a compiled step takes at the least: the time its products, memory traffic and collectives need.

    estimate = roofline(program, mesh, topology, float32=False)
    estimate.seconds, estimate.bound

A device is taken to multiply, read and send at the rates of its data sheet. Instructions follow one another, and each
takes as long as its products or its memory traffic, whichever is longer (Williams et al. 2009). Collectives along the
replica and fsdp axes carry parameters and gradients, and are taken to hide behind the computation as far as it lasts;
those along the context and tensor axes carry activations that the next instruction waits for, and are not, unless the
compiler made a ring of permutes of them. Real steps take longer: read it as a bound, and to compare meshes.
"""

import dataclasses

import numpy as np
from jax.sharding import Mesh

from jaxscale.ahead.compiled import Collective, CompiledProgram
from jaxscale.ahead.topologies import Topology

WAITED_FOR = {"context", "tensor"}


@dataclasses.dataclass(frozen=True)
class Traffic:
    """Collectives of one kind along the same axes of the mesh, over a step, of one device."""

    kind: str
    axes: str
    count: int
    bytes: float
    """Of the arrays that are gathered, reduced or sent."""
    sent: float
    """Bytes that leave the device."""
    seconds: float
    hidden: bool
    """Whether it is taken to overlap with computation."""


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds of a step.

    Attributes:
      seconds: of the step.
      products: if matrix products alone took time.
      memory: if traffic with the memory alone did.
      computation: of all instructions one after the other, each bound by the one or the other.
      traffic: of collectives, by kind and axes.
      bound: what takes longest: "products", "memory" or "collectives".
    """

    seconds: float
    products: float
    memory: float
    computation: float
    traffic: tuple[Traffic, ...]
    bound: str


def roofline(program: CompiledProgram, mesh: Mesh, topology: Topology, float32: bool) -> Roofline:
    """The estimate of a program compiled for a `mesh` of the devices of `topology`, whose products have that type."""
    chip = topology.chip
    assert chip is not None
    rate = chip.flops_float32 if float32 else chip.flops
    products, memory = program.flops / rate, program.bytes / chip.bandwidth
    computation = sum(w.times * max(w.flops / rate, w.bytes / chip.bandwidth) for w in program.work)
    traffic = _traffic(program, mesh, topology)
    hidden = sum(t.seconds for t in traffic if t.hidden)
    waited_for = sum(t.seconds for t in traffic if not t.hidden)
    bound = "collectives" if hidden + waited_for > computation else "products" if products >= memory else "memory"
    return Roofline(max(computation, hidden) + waited_for, products, memory, computation, traffic, bound)


def _traffic(program: CompiledProgram, mesh: Mesh, topology: Topology) -> tuple[Traffic, ...]:
    devices = mesh.devices.ravel()
    found: dict[tuple[str, str, bool], np.ndarray] = {}
    rates: dict[bytes, tuple[str, float]] = {}
    for collective in program.collectives:
        group = _group(collective)
        if group.tobytes() not in rates:
            rates[group.tobytes()] = _axes(group, mesh), topology.sending_rate(devices[group])
        axes, rate = rates[group.tobytes()]
        if not axes:
            continue  # a device with itself
        hidden = collective.permute or not WAITED_FOR & set(axes.split(" × "))
        sums = np.array(
            [collective.times, collective.bytes * collective.times, collective.sent, collective.sent / rate]
        )
        key = (collective.kind, axes, hidden)
        found[key] = found.get(key, np.zeros(4)) + sums
    rows = [Traffic(kind, axes, int(n), b, s, t, hidden) for (kind, axes, hidden), (n, b, s, t) in found.items()]
    return tuple(sorted(rows, key=lambda row: -row.seconds))


def _group(collective: Collective) -> np.ndarray:
    """The devices that one of them exchanges data with, itself included."""
    if not collective.permute:
        group: np.ndarray = collective.groups[0]
        return group
    target = dict(collective.groups.tolist())
    first = int(collective.groups[0, 0])
    members, place = [first], target.get(first)
    while place is not None and place != first:
        members.append(place)
        place = target.get(place)
    return np.array(sorted(members))


def _axes(group: np.ndarray, mesh: Mesh) -> str:
    """Names of the mesh's axes along which the devices of a group differ."""
    places = np.unravel_index(group, mesh.devices.shape)
    return " × ".join(axis for axis, at in zip(mesh.axis_names, places, strict=True) if len(set(at.tolist())) > 1)
