"""What jax and numpy read when they are imported, for every test and its children: import this before."""

import importlib.metadata
import os
import pathlib

# Tests compile far more than they compute. What was compiled once is read by the children of a test, by other files and
# by the next run. A folder for each worker: jax writes to it without a lock.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(pathlib.Path(__file__).parents[1] / ".pytest_cache/programs" / WORKER)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Matrices of tests are small: threads of NumPy's products would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

compiler_flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
# Programs that are not optimized may as well come from the older emitters, which take a third of the time. jaxlib 0.12
# has them no more.
if "--xla_backend_optimization_level=0" in compiler_flags and importlib.metadata.version("jaxlib").startswith("0.10."):
    compiler_flags += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]


def of_child(devices: int = 1) -> dict[str, str]:
    """The environment of a process that compiles as this one does, with so many host devices."""
    flags = [*compiler_flags, f"--xla_force_host_platform_device_count={devices}"]
    return dict(os.environ) | {"XLA_FLAGS": " ".join(flags)}


os.environ.update(of_child(devices=8))
