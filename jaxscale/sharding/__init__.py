"""Meshes, partition rules, and programs of several processes."""

from jaxscale.sharding.mesh import AXES, batch_sharding, check_fits, make_mesh
from jaxscale.sharding.rules import RULES, spec, state_shardings

__all__ = ["AXES", "RULES", "batch_sharding", "check_fits", "make_mesh", "spec", "state_shardings"]


def __dir__() -> list[str]:
    return list(__all__)
