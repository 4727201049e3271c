"""Devices that need not be there: described by name, to compile for.

    topology = describe("tpu:v5e:4x4")       # or gpu:h100:2x8 (nodes x GPUs), cpu:8, tpu:v5p:4x4x4:2 (two slices)
    mesh = make_mesh(run.mesh, topology.devices)

TPUs need the compiler in `libtpu`, GPUs jax's CUDA plugin, neither a device. How fast a group of devices can exchange
data follows from where they lie: `Topology.sending_rate`.
"""

import contextlib
import dataclasses
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies

from jaxscale.errors import InputError, RunError
from jaxscale.sharding.chips import CHIPS, Chip

# What the compiler must not try without a device: timing kernels, and writing them in Triton, which is timed.
COMPILER_OPTIONS: dict[str, dict[str, Any]] = {
    "gpu": {"xla_gpu_autotune_level": 0, "xla_gpu_enable_triton_gemm": False},
}
# The two cores of these chips work as one device, as they do where jax runs on them.
CORES = {"v4": {"chip_config_name": "megacore"}}
# A slice's links close to rings where it is as long as the pod, or made of whole cubes.
RINGS = {"v5e": 16, "v6e": 16}
CUBE = 4


@dataclasses.dataclass(frozen=True)
class Topology:
    """Devices to compile for.

    Attributes:
      name: as `describe` takes it.
      platform: "tpu", "gpu" or "cpu".
      devices: jax's descriptions of them.
      chip: one of them; None for processors, which are measured where they are.
      shape: chips along the links of one slice; (nodes, GPUs of a node); (devices,).
    """

    name: str
    platform: str
    devices: tuple[jax.Device, ...]
    chip: Chip | None
    shape: tuple[int, ...]

    @property
    def lowering_platform(self) -> str:
        """What jax calls the platform when it lowers a program."""
        return "cuda" if self.platform == "gpu" else self.platform

    @property
    def outer_name(self) -> str:
        """What devices of the fast network make up, in the plural."""
        return "nodes" if self.platform == "gpu" else "slices"

    def outer(self, device: jax.Device) -> int:
        """The slice or node a device lies in."""
        return device.process_index if self.platform == "gpu" else getattr(device, "slice_index", 0) or 0

    def sending_rate(self, devices: Sequence[jax.Device] | np.ndarray) -> float:
        """Bytes/s that each of `devices` can send, all at once, in a collective of theirs.

        Over the ports of each direction in which their places differ, two where the links close to a ring (TPU), or
        over NVLink (GPU). Of several slices or nodes each device carries its share over the network.
        """
        assert self.chip is not None
        if self.platform == "cpu":
            return self.chip.link
        groups = len({self.outer(device) for device in devices})
        together = len(devices) / groups
        if self.platform == "gpu":
            inner = self.chip.link
        else:
            places = np.array([device.coords for device in devices])
            ports = [
                2 if _is_ring(self, axis) else 1 for axis in range(len(self.shape)) if len(set(places[:, axis])) > 1
            ]
            inner = self.chip.link * max(1, sum(ports))
        if groups == 1:
            return inner
        return min(inner, (self.chip.network or 0) * together)


def compile_for(topology: Topology, lowered: jax.stages.Lowered) -> tuple[jax.stages.Compiled, str]:
    """(the compiled program, its text) of what was lowered for a topology's platform."""
    options = COMPILER_OPTIONS.get(topology.platform, {})
    if topology.platform != "tpu":
        compiled = lowered.compile(options)
        return compiled, compiled.as_text() or ""
    # jax cannot read back every program of a newer libtpu; what the compiler itself writes down is whole.
    with tempfile.TemporaryDirectory(prefix="jaxscale-") as folder:
        compiled = lowered.compile(options | {"xla_dump_to": folder, "xla_dump_hlo_as_text": True})
        (path,) = pathlib.Path(folder).glob("*.after_optimizations.txt")
        return compiled, path.read_text(encoding="utf-8")


def describe(name: str) -> Topology:
    """The devices that `name` stands for.

    Args:
      name: `tpu:CHIP:AxB[xC][:SLICES]`, `gpu:CHIP:NODESxGPUS` or `cpu:DEVICES`.

    Raises:
      InputError: a name of another form, a chip or shape that does not exist, or a compiler that is not installed; the
        remedy is named.
    """
    match = re.fullmatch(r"(tpu|gpu):(\w+):(\d+(?:x\d+)*)(?::(\d+))?", name)
    processors = re.fullmatch(r"cpu:([1-9]\d*)", name)
    if processors:
        return _processors(name, int(processors[1]))
    if not match:
        raise InputError(
            f"topology={name!r} is not understood. Give tpu:v5e:4x4, tpu:v5p:4x4x4:2 (two slices), "
            "gpu:h100:2x8 (nodes x GPUs) or cpu:8."
        )
    platform, kind, shape, slices = match[1], match[2], match[3], int(match[4] or 1)
    sizes = tuple(int(size) for size in shape.split("x"))
    known = [chip for chip, facts in CHIPS.items() if (facts.cores is not None) == (platform == "gpu")]
    if kind not in known:
        raise InputError(f"topology={name!r}: {kind!r} is not known. There are {', '.join(known)}.")
    chip = CHIPS[kind]
    if min(*sizes, slices) < 1:
        raise InputError(f"topology={name!r}: sizes must be positive. Give larger ones.")
    if slices > 1 and (platform == "gpu" or chip.network is None):
        why = "nodes are its first number" if platform == "gpu" else "the network between them is not published"
        raise InputError(f"topology={name!r} names {slices} slices: {why}. Leave them out.")
    devices = _tpus(name, kind, shape, slices) if platform == "tpu" else _gpus(name, kind, sizes)
    return Topology(name, platform, tuple(devices), chip, sizes)


def _tpus(name: str, kind: str, shape: str, slices: int) -> Sequence[jax.Device]:
    # Else libtpu asks a metadata server which slice it is on.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    how: dict[str, Any] = CORES.get(kind, {}) | ({"num_slices": slices} if slices > 1 else {})
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=f"{kind}:{shape}", **how).devices
    except (RuntimeError, ValueError) as error:
        if re.search("not implemented|not installed", str(error)):
            raise InputError(
                f"topology={name!r} needs the compiler for TPUs. Install it with: pip install 'jaxscale[tpu]'."
            ) from None
        reason = str(error).strip().split("\n")[0].rstrip(". ")
        if "lockfile" in reason:
            raise RunError(
                f"topology={name!r}: another process uses libtpu, which only one may at a time ({reason}). Wait for "
                "it, or set ALLOW_MULTIPLE_LIBTPU_LOAD=1."
            ) from error
        raise InputError(f"topology={name!r} does not exist: {reason}. Give a shape that is sold.") from error


def _gpus(name: str, kind: str, sizes: Sequence[int]) -> Sequence[jax.Device]:
    if len(sizes) != 2:
        raise InputError(f"topology={name!r}: give nodes x GPUs of a node, such as gpu:{kind}:2x8.")
    try:
        return topologies.get_topology_desc(
            platform="cuda", target_config=_target(CHIPS[kind]), topology="x".join(map(str, (1, *sizes)))
        ).devices
    except RuntimeError as error:  # NotImplementedError is one
        if not re.search("not implemented|nknown", str(error)):
            raise
        raise InputError(
            f"topology={name!r} needs the compiler for NVIDIA GPUs. Install it with: pip install 'jaxscale[cuda]'."
        ) from None


def _processors(name: str, number: int) -> Topology:
    flag = "xla_force_host_platform_device_count"
    if flag not in os.environ.get("XLA_FLAGS", ""):
        with contextlib.suppress(RuntimeError):  # too late: jax has started with the devices it has
            jax.config.update("jax_num_cpu_devices", number)
    devices = jax.devices("cpu")
    if len(devices) < number:
        raise InputError(
            f"topology={name!r}: jax has started with {len(devices)} devices. "
            f"Start anew with XLA_FLAGS=--{flag}={number}."
        )
    return Topology(name, "cpu", tuple(devices[:number]), None, (number,))


def _target(chip: Chip) -> str:
    """A GPU in the words of XLA's `GpuTargetConfigProto`."""
    cores = chip.cores
    assert cores is not None  # every GPU of the table has them
    facts = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "shared_memory_per_block": 49152,
        "shared_memory_per_core": cores.shared_memory,
        "shared_memory_per_block_optin": cores.shared_memory - 1024,
        "threads_per_core_limit": 2048,
        "core_count": cores.count,
        "fpus_per_core": cores.lanes,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "memory_bandwidth": int(chip.bandwidth),
        "l2_cache_size": cores.cache,
        "clock_rate_ghz": cores.clock,
        "device_memory_size": int(chip.memory),
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
    }
    major, minor = cores.capability
    return (
        f"gpu_device_info {{ {' '.join(f'{fact}: {value}' for fact, value in facts.items())} "
        f"cuda_compute_capability {{ major: {major} minor: {minor} }} }} "
        'platform_name: "CUDA" dnn_version_info { major: 9 minor: 10 } runtime_version { major: 13 } '
        f'device_description_str: "{chip.kinds[0]}"'
    )


def _is_ring(topology: Topology, axis: int) -> bool:
    kind = topology.name.split(":")[1]
    if kind in RINGS:
        return topology.shape[axis] == RINGS[kind]
    return all(size % CUBE == 0 for size in topology.shape)
