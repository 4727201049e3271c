"""How fast a run goes, as a share of what its devices can do (model-FLOPs utilisation, Chowdhery et al. 2022)."""

import functools
import time

import jax
import jax.numpy as jnp

from jaxscale.models import matmul_flops_per_token

# Dense bfloat16 matrix-multiply peaks in FLOP/s of one device, from the vendors' data sheets.
PEAKS = {
    "NVIDIA A100": 312e12,
    "NVIDIA H100": 989e12,
    "NVIDIA H200": 989e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5e": 197e12,
    "TPU v5": 459e12,
    "TPU v6 lite": 918e12,
}


def training_flops(run, vocab_size):
    """Matrix-product FLOPs of one training step: forward once, backward twice."""
    return 3 * matmul_flops_per_token(run.model, vocab_size) * run.training.batch_size * run.model.context


def peak_flops(devices):
    """FLOP/s that `devices` can reach together: known for accelerators, measured for the host's processors.

    None for an accelerator not in the table.
    """
    kind = devices[0].device_kind
    if devices[0].platform == "cpu":
        return _measured_cpu_peak()  # forced host devices share the same cores
    known = [name for name in PEAKS if kind.startswith(name)]
    return PEAKS[max(known, key=len)] * len(devices) if known else None  # "TPU v5 lite" is not a "TPU v5"


@functools.cache
def _measured_cpu_peak(size=1024, repeats=5):
    """Best float32 matmul rate of this machine, in FLOP/s."""
    a = jnp.ones((size, size), jnp.float32)
    multiply = jax.jit(lambda a: a @ a)
    multiply(a).block_until_ready()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        multiply(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)
