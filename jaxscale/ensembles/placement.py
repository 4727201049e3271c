"""Members over the devices, and back."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P


def spread(tree: Any, which: Sequence[int] | np.ndarray) -> Any:
    """The members `which` of a tree of arrays, the last one repeated till they divide the devices, along them."""
    devices = jax.devices()
    rows = np.asarray(which)[np.minimum(np.arange(-(-len(which) // len(devices)) * len(devices)), len(which) - 1)]
    sharding = NamedSharding(Mesh(np.array(devices), "members"), P("members"))
    return jax.tree.map(lambda leaf: jax.device_put(leaf[rows], sharding) if np.ndim(leaf) else np.asarray(leaf), tree)


def put(tree: Any, which: Sequence[int] | np.ndarray, some: Any) -> Any:
    """`tree` with the members `which` as they are in `some`, which `spread` made of them; in memory of the host."""

    def placed(leaf: jax.Array | np.ndarray, new: jax.Array | np.ndarray) -> np.ndarray:
        leaf, new = np.array(leaf), np.asarray(new)
        if leaf.ndim:
            leaf[which] = new[: len(which)]
        return leaf if leaf.ndim else new

    return jax.tree.map(placed, tree, some)
