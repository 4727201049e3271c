"""The one mesh every program runs on: ("replica", "fsdp", "tensor"), each of size 1 unless asked for."""

import math

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from jaxscale.errors import InputError

AXES = ("replica", "fsdp", "tensor")
BATCH_AXES = ("replica", "fsdp")


def make_mesh(mesh, devices=None):
    """A `jax.sharding.Mesh` of all devices from a `config.Mesh`, whose -1 stands for the devices that remain.

    Raises:
      InputError: the sizes do not multiply to the number of devices.
    """
    devices = jax.devices() if devices is None else devices
    sizes = {axis: getattr(mesh, axis) for axis in AXES}
    free = [axis for axis, size in sizes.items() if size == -1]
    named = math.prod(size for size in sizes.values() if size != -1)
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise InputError(f"mesh={sizes}: sizes must be positive; one of them may be -1, all devices that remain.")
    if len(devices) % named or (not free and named != len(devices)):
        raise InputError(
            f"mesh={sizes} does not fit {len(devices)} devices. "
            f"Make the sizes multiply to {len(devices)}, or set one to -1."
        )
    for axis in free:
        sizes[axis] = len(devices) // named
    return Mesh(np.asarray(devices).reshape(*sizes.values()), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def batch_sharding(mesh):
    """Rows of a batch over the replica and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_fits(mesh, run):
    """Raises InputError if the mesh cannot divide the batch or the heads of a `config.Run`."""
    rows = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    batch, parts, tensor = run.training.batch_size, run.training.accumulation, mesh.shape["tensor"]
    if (batch // parts) % rows:
        raise InputError(
            f"training.batch_size={batch}{f' in {parts} parts' if parts > 1 else ''} does not divide over "
            f"replica × fsdp = {rows} devices. Use a multiple of {rows * parts}, or a smaller mesh."
        )
    if run.model.heads % tensor:
        raise InputError(
            f"model.heads={run.model.heads} does not divide over mesh.tensor={tensor}. "
            f"Use a multiple of {tensor} heads, or a smaller tensor axis."
        )
