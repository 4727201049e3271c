"""Devices that a processor is made to be, in processes of their own: jax asks once."""

import os
import subprocess
import sys

import pytest

COUNT = "import jax; from jaxscale import ensembles; {before}; ensembles.core_devices(); print(len(jax.devices()))"


def devices(before, **flags):
    unset = {name: value for name, value in os.environ.items() if name not in ("XLA_FLAGS", "JAX_NUM_CPU_DEVICES")}
    command = [sys.executable, "-c", COUNT.format(before=before)]
    done = subprocess.run(command, env=unset | flags, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize(
    ("before", "flags", "count"),
    [
        ("from jaxscale.ensembles import placement; placement.cores = lambda: 3", {}, 3),
        ("from jaxscale.ensembles import placement; placement.cores = lambda: 99", {}, 16),
        ("pass", {"XLA_FLAGS": "--xla_force_host_platform_device_count=5"}, 5),
        ("pass", {"JAX_NUM_CPU_DEVICES": "4"}, 4),
        ("jax.devices()", {}, 1),
    ],
)
def test_a_processor_has_a_device_for_each_core_unless_something_else_is_said(before, flags, count):
    assert devices(before, **flags) == count
