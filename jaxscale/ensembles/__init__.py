"""Many small networks trained as one program: the trainer of every study that is not a run over a mesh.

    networks = ensembles.start(init, jnp.arange(8), optimizer)
    networks, losses_SxM = ensembles.advance(networks, members, loss, optimizer, move, steps=100)

`members` is a tree of arrays with a leading axis of length M: what the networks differ in. A network is a function of
its own member and of nothing else, so it is the same whatever stands beside it and however often it is interrupted.
"""

from jaxscale.ensembles.halving import going_on, stretches
from jaxscale.ensembles.placement import core_devices, member_mesh, partition, put, spread
from jaxscale.ensembles.saved import load_tree, save_tree
from jaxscale.ensembles.trainer import Networks, advance, start, step_key

__all__ = [
    "Networks",
    "advance",
    "core_devices",
    "going_on",
    "load_tree",
    "member_mesh",
    "partition",
    "put",
    "save_tree",
    "spread",
    "start",
    "step_key",
    "stretches",
]


def __dir__() -> list[str]:
    return list(__all__)
