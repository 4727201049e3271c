"""Which settings of a run take less of a device's memory."""

import math
from collections.abc import Sequence

from jax.sharding import Mesh

from jaxscale import config as configs


def less_memory(run: configs.Run, mesh: Mesh) -> str:
    """Sentences that name them, for a `config.Run` and its mesh, those with the same result first."""
    training, rows = run.training, run.training.batch_size // run.training.accumulation
    same = []
    if training.remat != "full":
        same.append("training.remat='full'")
    if training.loss_chunks < 8:
        same.append("training.loss_chunks=8")
    each = rows // math.prod(mesh.shape[axis] for axis in ("replica", "fsdp"))
    if each > 1:
        smallest = next(part for part in range(2, each + 1) if each % part == 0)
        same.append(f"training.accumulation={training.accumulation * smallest}")
    if mesh.shape["replica"] > 1:
        same.append("mesh.replica=1 with mesh.fsdp=-1, which divides parameters and moments over the devices")
    first = f"Set {_or(same)}: the result is the same. Or use" if same else "Use"
    return (
        f"{first} more devices, a smaller training.batch_size or a smaller model. A folder belongs to its settings: "
        "give the changed run another one, or delete this one."
    )


def _or(names: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
