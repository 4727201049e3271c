"""Members over the devices, and back."""

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale.processor import cores

# Devices that a processor is made to be at most: each has a program and arrays of its own.
MOST_CORES = 16


def core_devices() -> None:
    """Makes the processor as many devices as it has cores, unless XLA_FLAGS or jax's own setting says how many.

    Small networks keep one core busy and hardly a second: two of them side by side took 0.7 of the time of two in turn,
    each with both cores (a decoder of width 64, batches of 512 tokens).

    Call it before anything is computed: afterwards jax keeps the devices it has, and so does this.
    """
    said = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not said and getattr(jax.config, "jax_num_cpu_devices", -1) < 0:
        with contextlib.suppress(RuntimeError):  # jax has devices already
            jax.config.update("jax_num_cpu_devices", min(cores(), MOST_CORES))


def member_mesh(each: int = 1, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh with axes "members" and "shards": members lie along groups of `each` devices, which share each member.

    Args:
      each: devices of a group; it must divide their number.
      devices: default all.
    """
    return Mesh(np.array(devices or jax.devices()).reshape(-1, each), ("members", "shards"))


def partition(shape: Sequence[int], each: int) -> P:
    """Where an array of members lies on a `member_mesh`: each member whole, or its largest axis that `each` divides
    along the devices of its group."""
    spec: list[str | None] = ["members", *[None] * (len(shape) - 1)]
    if wide := [axis for axis, size in enumerate(shape) if axis and each > 1 and size % each == 0]:
        spec[max(wide, key=lambda axis: shape[axis])] = "shards"
    return P(*spec)


def spread(tree: Any, which: Sequence[int] | np.ndarray, each: int = 1) -> Any:
    """The members `which` of a tree of arrays along the devices, `each` to a member, the last one repeated till they
    divide them."""
    mesh = member_mesh(each)
    groups = mesh.shape["members"]
    rows = np.asarray(which)[np.minimum(np.arange(-(-len(which) // groups) * groups), len(which) - 1)]

    def placed(leaf: Any) -> Any:
        if not np.ndim(leaf):
            return np.asarray(leaf)
        return jax.device_put(leaf[rows], NamedSharding(mesh, partition(leaf.shape, each)))

    return jax.tree.map(placed, tree)


def put(tree: Any, which: Sequence[int] | np.ndarray, some: Any) -> Any:
    """`tree` with the members `which` as they are in `some`, which `spread` made of them; in memory of the host."""

    def placed(leaf: jax.Array | np.ndarray, new: jax.Array | np.ndarray) -> np.ndarray:
        leaf, new = np.array(leaf), np.asarray(new)
        if leaf.ndim:
            leaf[which] = new[: len(which)]
        return leaf if leaf.ndim else new

    return jax.tree.map(placed, tree, some)
