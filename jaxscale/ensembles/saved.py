"""Trees of arrays in one file, written whole or not at all: what training under way goes on from."""

import io
import os
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import files


def save_tree(path: str | os.PathLike[str], tree: Any) -> None:
    """Writes the leaves of a tree of arrays."""
    buffer = io.BytesIO()
    np.savez(buffer, *map(np.asarray, jax.tree.leaves(tree)))
    files.write_bytes(path, buffer.getvalue())


def load_tree(path: str | os.PathLike[str], like: Any) -> Any:
    """The tree that `save_tree` wrote, of the structure of `like`."""
    with np.load(path) as arrays:
        leaves = [arrays[f"arr_{i}"] for i in range(len(arrays.files))]
    return jax.tree.unflatten(jax.tree.structure(like), map(jnp.asarray, leaves))
