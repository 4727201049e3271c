"""What accelerators can do, from their makers' data sheets: arithmetic, memory, links.

    CHIPS["v5e"].flops                        # 197e12
    of_kind(jax.devices()[0].device_kind)     # the `Chip` of a device, or None

TPUs: cloud.google.com/tpu/docs, pages "TPU v4", "TPU v5e", "TPU v5p", "TPU v6e" and "TPU7x (Ironwood)": peak compute,
HBM capacity and bandwidth, inter-chip interconnect (both directions of all ports: one direction of one port is half of
it over the ports), data center network of a chip, or of a pod over its chips. GPUs: NVIDIA's data sheets of the A100
80GB, H100 (SXM and PCIe), H200 (SXM), B200 and GB200: dense bfloat16 and TF32, memory, NVLink (both directions: half
of it is sent); the network is that of a DGX, one adapter of 200 (A100) or 400 Gbit/s a GPU. A node is what NVLink
joins: of GB200 up to 1x72. Core counts, caches and memory as the driver reports them: openxla/xla,
xla/backends/gpu/target_config/specs.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Cores:
    """What XLA asks of a GPU it has never seen."""

    capability: tuple[int, int]
    count: int
    lanes: int
    """Float32 units of a core."""
    shared_memory: int
    """Bytes of a core; all but 1024 of them can be one block's."""
    cache: int
    """Bytes of the second level."""
    clock: float
    """GHz."""


@dataclasses.dataclass(frozen=True)
class Chip:
    """One device.

    Attributes:
      kinds: how jax's `device_kind` begins for it.
      flops: dense bfloat16 products, FLOP/s.
      flops_float32: the same of float32 arrays at jax's default precision: bfloat16 on TPUs, TF32 on GPUs.
      memory: bytes.
      usable: the share of it that a program can fill.
      bandwidth: to and from memory, bytes/s.
      link: bytes/s sent: by a TPU over one of its ports, by a GPU over all of its links.
      network: bytes/s sent to another slice or node; None where it is not published.
      cores: of a GPU.
    """

    kinds: tuple[str, ...]
    flops: float
    flops_float32: float
    memory: float
    usable: float
    bandwidth: float
    link: float
    network: float | None
    cores: Cores | None = None


# The TPU compiler keeps a quarter of a GiB of a v5e's 16 for itself, three quarters of a v6e's 32.
TPU_USABLE = 15.75 / 16
# jax takes three quarters of a GPU's memory unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise.
GPU_USABLE = 0.75
HOPPER = Cores(capability=(9, 0), count=132, lanes=128, shared_memory=233472, cache=52428800, clock=1.98)

CHIPS = {
    "v4": Chip(("TPU v4",), 275e12, 275e12, 32 * 2**30, TPU_USABLE, 1200e9, 50e9, None),
    "v5e": Chip(("TPU v5 lite", "TPU v5e"), 197e12, 197e12, 16 * 2**30, TPU_USABLE, 819e9, 50e9, 3.125e9),
    "v5p": Chip(("TPU v5",), 459e12, 459e12, 95 * 2**30, TPU_USABLE, 2765e9, 100e9, 6.25e9),
    "v6e": Chip(("TPU v6 lite", "TPU v6e"), 918e12, 918e12, 32 * 2**30, 31.25 / 32, 1638e9, 100e9, 12.5e9),
    # What jax calls a device is one of the two dies of a chip; both share the chip's ports.
    "tpu7x": Chip(("TPU7x",), 1153.5e12, 1153.5e12, 96 * 2**30, TPU_USABLE, 3690e9, 50e9, 6.25e9),
    "a100": Chip(
        *(("NVIDIA A100",), 312e12, 156e12, 85100068864, GPU_USABLE, 2039e9, 300e9, 25e9),
        Cores(capability=(8, 0), count=108, lanes=64, shared_memory=167936, cache=41943040, clock=1.41),
    ),
    "h100": Chip(("NVIDIA H100",), 989e12, 494.5e12, 84942979072, GPU_USABLE, 3352e9, 450e9, 50e9, HOPPER),
    "h100_pcie": Chip(
        *(("NVIDIA H100 PCIe",), 756e12, 378e12, 84942979072, GPU_USABLE, 2039e9, 300e9, 50e9),
        Cores(capability=(9, 0), count=114, lanes=128, shared_memory=233472, cache=52428800, clock=1.755),
    ),
    "h200": Chip(("NVIDIA H200",), 989e12, 494.5e12, 151397597184, GPU_USABLE, 4800e9, 450e9, 50e9, HOPPER),
    "b200": Chip(
        *(("NVIDIA B200",), 2250e12, 1125e12, 191514411008, GPU_USABLE, 7672e9, 900e9, 50e9),
        Cores(capability=(10, 0), count=148, lanes=128, shared_memory=233472, cache=132644864, clock=1.965),
    ),
    "gb200": Chip(
        *(("NVIDIA GB200",), 2500e12, 1250e12, 197897748480, GPU_USABLE, 7928e9, 900e9, 50e9),
        Cores(capability=(10, 0), count=152, lanes=128, shared_memory=233472, cache=135528448, clock=2.062),
    ),
}


def of_kind(device_kind: str) -> Chip | None:
    """The chip that jax calls `device_kind`; the longest beginning decides: a "TPU v5 lite" is not a "TPU v5"."""
    known = {kind: chip for chip in CHIPS.values() for kind in chip.kinds if device_kind.startswith(kind)}
    return known[max(known, key=len)] if known else None
