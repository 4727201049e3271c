"""Programs for hardware that is not here: compiled ahead of time, priced, and searched for the best mesh.

topology = ahead.describe("tpu:v5e:4x4")
facts = ahead.compile_ahead(run, topology)
facts["memory"]["fits"], facts["roofline"]["seconds"]
"""

from jaxscale.ahead.mesh_search import search
from jaxscale.ahead.step import compile_ahead
from jaxscale.ahead.topologies import Topology, describe

__all__ = ["Topology", "compile_ahead", "describe", "search"]


def __dir__() -> list[str]:
    return list(__all__)
