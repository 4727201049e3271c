"""What jax and numpy read when they are imported, for every test and its children: import this before."""

import contextlib
import importlib.metadata
import os
import pathlib
import signal

# Tests compile far more than they compute. What was compiled once is read by the children of a test, by other files and
# by the next run. A folder for each worker, since jax writes to it without a lock; `share_programs` links their files.
PROGRAMS = pathlib.Path(__file__).parents[1] / ".pytest_cache/programs"
OWN = PROGRAMS / os.environ.get("PYTEST_XDIST_WORKER", "alone")
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(OWN)
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"  # else a program's key holds the folder's name
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Matrices of tests are small: threads of NumPy's products would only wait for each other.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# Under nohup, and in a background job of a shell, these are ignored, by children too: tests send them and wait.
for order, handler in {signal.SIGHUP: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}.items():
    if signal.getsignal(order) == signal.SIG_IGN:
        signal.signal(order, handler)

compiler_flags = [flag for flag in os.environ.get("XLA_FLAGS", "").split() if "device_count" not in flag]
# Programs that are not optimized may as well come from the older emitters, which take a third of the time. jaxlib 0.12
# has them no more.
if "--xla_backend_optimization_level=0" in compiler_flags and importlib.metadata.version("jaxlib").startswith("0.10."):
    compiler_flags += ["--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1"]


def of_child(devices: int = 1) -> dict[str, str]:
    """The environment of a process that compiles as this one does, with so many host devices."""
    flags = [*compiler_flags, f"--xla_force_host_platform_device_count={devices}"]
    return dict(os.environ) | {"XLA_FLAGS": " ".join(flags)}


def share_programs() -> None:
    """Links what other workers have compiled since into this worker's folder."""
    OWN.mkdir(parents=True, exist_ok=True)
    here = set(os.listdir(OWN))
    for other in PROGRAMS.iterdir():
        for name in set(os.listdir(other)) - here:
            with contextlib.suppress(OSError):  # another process of this worker was faster
                os.link(other / name, OWN / name)


os.environ.update(of_child(devices=8))
