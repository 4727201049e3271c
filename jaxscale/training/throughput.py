"""How fast a run goes, as a share of what its devices can do (model-FLOPs utilization, Chowdhery et al. 2022)."""

import functools
import os
import time
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale.models import matmul_flops_per_token
from jaxscale.sharding import chips


def training_flops(run: configs.Run, vocab_size: int) -> int:
    """Matrix-product FLOPs of one training step: forward once, backward twice."""
    return 3 * matmul_flops_per_token(run.model, vocab_size) * run.training.batch_size * run.model.context


def peak_flops(devices: Sequence[jax.Device] | np.ndarray) -> float | None:
    """FLOP/s that `devices` can reach together: known for accelerators, measured for the host's processors.

    None for an accelerator not in the table.
    """
    if devices[0].platform == "cpu":
        return _measured_cpu_peak()  # forced host devices share the same cores
    chip = chips.of_kind(devices[0].device_kind)
    return chip.flops * len(devices) if chip else None


def host_chip(devices: int) -> chips.Chip:
    """One of `devices` forced devices of this host as a `Chip`: its share of what is measured of the whole.

    Products in bfloat16 are taken to be no faster than float32 ones, and what one device sends another to be a copy.
    """
    peak, bandwidth = _measured_cpu_peak() / devices, _measured_cpu_bandwidth() / devices
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / devices
    return chips.Chip(("cpu",), peak, peak, memory, 1.0, bandwidth, bandwidth / 2, None)


@functools.cache
def _measured_cpu_peak(size: int = 1024) -> float:
    """Best float32 matmul rate of this machine, in FLOP/s."""
    return 2 * size**3 / _best_seconds(lambda a: a @ a, jnp.ones((size, size), jnp.float32))


@functools.cache
def _measured_cpu_bandwidth(size: int = 1 << 26) -> float:
    """Best rate of reading and writing memory of this machine, in bytes/s, of an array beyond its caches."""
    return 2 * size / _best_seconds(lambda a: a + 1, jnp.ones(size // 4, jnp.float32))


def _best_seconds(function: Callable[[jax.Array], jax.Array], argument: jax.Array, repeats: int = 5) -> float:
    compiled = jax.jit(function)
    compiled(argument).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        compiled(argument).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return min(seconds)
