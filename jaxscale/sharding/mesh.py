"""The one mesh every program runs on: ("replica", "fsdp", "context", "tensor"), each of size 1 unless asked for."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import numpy as np
from jax.experimental import mesh_utils
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from jaxscale import config as configs
from jaxscale.errors import InputError

AXES = ("replica", "fsdp", "context", "tensor")
BATCH_AXES = ("replica", "fsdp")


def make_mesh(mesh: configs.Mesh, devices: Iterable[jax.Device] | None = None) -> Mesh:
    """A `jax.sharding.Mesh` of all devices from a `config.Mesh`, whose -1 stands for the devices that remain.

    Devices of a TPU are ordered so that neighbors in the mesh are neighbors on the chip's links. With `slices` the
    replicas are dealt to the slices first, so that of all traffic only the sum of gradients leaves a slice.

    Raises:
      InputError: the sizes do not multiply to the number of devices, or the slices do not divide them.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = _sizes(mesh, len(devices))
    array = in_mesh_order(devices, mesh.slices, sizes)
    return Mesh(array, AXES, axis_types=(AxisType.Auto,) * len(AXES))


def _sizes(mesh: configs.Mesh, devices: int) -> dict[str, int]:
    sizes = {axis: getattr(mesh, axis) for axis in AXES}
    free = [axis for axis, size in sizes.items() if size == -1]
    named = math.prod(size for size in sizes.values() if size != -1)
    if len(free) > 1 or any(size < 1 and size != -1 for size in sizes.values()):
        raise InputError(f"mesh={sizes}: sizes must be positive; one of them may be -1, all devices that remain.")
    if devices % named or (not free and named != devices):
        raise InputError(
            f"mesh={sizes} does not fit {devices} devices. Make the sizes multiply to {devices}, or set one to -1."
        )
    for axis in free:
        sizes[axis] = devices // named
    return sizes


def in_mesh_order(devices: Sequence[jax.Device], slices: int, sizes: Mapping[str, int]) -> np.ndarray:
    """Devices as an array of the mesh's shape: slice after slice, within each as its links lie.

    Raises:
      InputError: `slices` do not divide the replicas, or are not as many as those the devices name.
    """
    if slices < 1 or sizes["replica"] % slices:
        raise InputError(
            f"mesh.slices={slices} must divide mesh.replica={sizes['replica']}: only replicas span slices. "
            f"Use a multiple of {slices} replicas, or fewer slices."
        )
    groups: dict[int, list[jax.Device]] = {}
    for place, device in enumerate(devices):
        # Processors and GPUs name no slice: their devices come group after group.
        index = getattr(device, "slice_index", None)
        group = place * slices // len(devices) if index is None or slices == 1 else index
        groups.setdefault(group, []).append(device)
    if len(groups) != slices or len({len(group) for group in groups.values()}) > 1:
        raise InputError(
            f"mesh.slices={slices} does not fit: these {len(devices)} devices lie in {len(groups)} slices. "
            f"Set mesh.slices={len(groups)}."
        )
    within = (sizes["replica"] // slices, *(sizes[axis] for axis in AXES[1:]))
    ordered = [_as_linked(group, within) for _, group in sorted(groups.items())]
    return np.concatenate(ordered).reshape(*sizes.values())


def spanning(mesh: Mesh, outer: Callable[[jax.Device], int]) -> dict[str, int]:
    """Axes of a mesh, replicas left out, along which devices of different slices or nodes exchange data: their number.

    Args:
      mesh: a mesh.
      outer: a function from a device to the slice or node it lies in.
    """
    where = np.vectorize(outer, otypes=[int])(mesh.devices)
    found = {}
    for place, axis in enumerate(mesh.axis_names):
        lines = np.moveaxis(where, place, -1).reshape(-1, where.shape[place])
        found[axis] = max(len(set(line)) for line in lines.tolist())
    return {axis: count for axis, count in found.items() if axis != "replica" and count > 1}


def _as_linked(devices: Sequence[jax.Device], shape: tuple[int, ...]) -> np.ndarray:
    if devices[0].platform != "tpu":
        return np.asarray(devices).reshape(shape)
    parts: dict[int, list[jax.Device]] = {}
    for device in devices:
        parts.setdefault(getattr(device, "slice_index", 0), []).append(device)
    if len(parts) > 1:  # a mesh that takes no account of them; no links lead from one to the other
        return np.concatenate([_as_linked(part, (len(part),)) for _, part in sorted(parts.items())]).reshape(shape)
    return mesh_utils.create_device_mesh(shape, devices, allow_split_physical_axes=True)


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over the replica and fsdp axes."""
    return NamedSharding(mesh, PartitionSpec(BATCH_AXES))


def check_fits(mesh: Mesh | AbstractMesh, run: configs.Run) -> None:
    """Raises InputError if the mesh cannot divide the batch or the heads of a `config.Run`."""
    rows = math.prod(mesh.shape[axis] for axis in BATCH_AXES)
    batch, parts, tensor = run.training.batch_size, run.training.accumulation, mesh.shape["tensor"]
    if (batch // parts) % rows:
        raise InputError(
            f"training.batch_size={batch}{f' in {parts} parts' if parts > 1 else ''} does not divide over "
            f"replica × fsdp = {rows} devices. Use a multiple of {rows * parts}, or a smaller mesh."
        )
    if run.model.context % mesh.shape["context"]:
        raise InputError(
            f"model.context={run.model.context} does not divide over mesh.context={mesh.shape['context']}. "
            f"Use a multiple of {mesh.shape['context']} tokens, or a smaller context axis."
        )
    if run.model.heads % tensor:
        raise InputError(
            f"model.heads={run.model.heads} does not divide over mesh.tensor={tensor}. "
            f"Use a multiple of {tensor} heads, or a smaller tensor axis."
        )
