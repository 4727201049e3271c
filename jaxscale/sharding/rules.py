"""Partition rules: which axis of which parameter lies along which axis of the mesh, by parameter path.

The first rule whose pattern occurs in the path wins. FSDP divides the axis that tensor parallelism leaves whole.
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import jax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

RULES = (
    ("(query|key|value|up|gate)/kernel", P("fsdp", "tensor")),
    ("(out|down)/kernel", P("tensor", "fsdp")),
    ("embed", P("tensor", "fsdp")),
    ("head", P("fsdp", "tensor")),
    ("positions", P(None, "fsdp")),
    ("(query|key|value|up|gate)/bias", P(("tensor", "fsdp"))),
    ("scale|bias", P("fsdp")),
)
# Parameters below this stand for all blocks at once, stacked along a leading axis that no mesh axis divides.
STACKED = "(^|/)blocks/"


def spec(path: str, shape: Sequence[int], mesh: Mesh) -> P:
    """The `PartitionSpec` of a parameter; a mesh axis that does not divide its dimension is left out.

    Raises:
      KeyError: no rule speaks of the path; every parameter must be decided on.
    """
    for pattern, axes in RULES:
        if re.search(pattern, path):
            along = (None, *axes) if re.search(STACKED, path) else tuple(axes)
            return P(*(_dividing(axes, size, mesh) for axes, size in zip(along, shape, strict=False)))
    raise KeyError(f"no partition rule matches parameter {path!r}; add one to jaxscale.sharding.rules.RULES")


def _dividing(axes: str | tuple[str, ...] | None, size: int, mesh: Mesh) -> str | tuple[str, ...] | None:
    """Of the mesh axes meant for a dimension, the last left out until they divide it."""
    axes = axes if isinstance(axes, tuple) else (axes,) if axes else ()
    while size % math.prod(mesh.shape[axis] for axis in axes):
        axes = axes[:-1]
    return axes if len(axes) > 1 else axes[0] if axes else None


def state_shardings(abstract_state: Any, mesh: Mesh) -> Any:
    """Shardings for a training state: parameters by rule, optimizer moments like their parameters, scalars everywhere.

    Args:
      abstract_state: pytree of `jax.ShapeDtypeStruct`; the path of a moment ends with the path of its parameter.
      mesh: the mesh of `make_mesh`.
    """

    def one(path: jax.tree_util.KeyPath[Any], leaf: jax.ShapeDtypeStruct) -> NamedSharding:
        if leaf.ndim == 0:
            return NamedSharding(mesh, P())
        return NamedSharding(mesh, spec(jax.tree_util.keystr(path, simple=True, separator="/"), leaf.shape, mesh))

    return jax.tree_util.tree_map_with_path(one, abstract_state)
