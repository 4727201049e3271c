"""Functions compiled into transformers that compute them, with a proof of the error.

    from jaxscale import constructions as con

    x, y, z = con.inputs("x y z", lower=-1, upper=1)
    network = con.compile(x * y + con.maximum(z, 0.3))
    con.evaluate(network, points)                        # (B, 3) -> (B,), equal to the formula up to rounding

    made = con.approximate(f, dim=2, epsilon=0.05, holder=con.Holder(1.0))
    con.write(con.certify(made), "folder")               # certificate.json and a page

Havrilla & Liao 2024 prove that such transformers exist (arXiv 2411.06646); these are they.
"""

from jaxscale.constructions.approximation import Approximation
from jaxscale.constructions.atlases import Atlas
from jaxscale.constructions.certificate import certify, write
from jaxscale.constructions.cloud_atlas import from_points
from jaxscale.constructions.compiler import compile
from jaxscale.constructions.cube import approximate
from jaxscale.constructions.encodings import ENCODINGS
from jaxscale.constructions.executors import evaluate
from jaxscale.constructions.export import load, save
from jaxscale.constructions.expressions import Expression, input_vector, inputs, stack
from jaxscale.constructions.manifold import approximate_on
from jaxscale.constructions.manifolds import circle, sphere, swiss_roll, torus
from jaxscale.constructions.network import Network
from jaxscale.constructions.primitives import (
    absolute,
    bump,
    dot,
    ffn,
    gate,
    held,
    indicator,
    maximum,
    minimum,
    poly,
    power,
    prod,
    project,
    reciprocal,
    relu,
    square,
    total,
    trapezoid,
)
from jaxscale.constructions.roundoff import rounding
from jaxscale.constructions.targets import Holder
from jaxscale.constructions.training import movable, random_params, train

__all__ = [
    "ENCODINGS",
    "Approximation",
    "Atlas",
    "Expression",
    "Holder",
    "Network",
    "absolute",
    "approximate",
    "approximate_on",
    "bump",
    "certify",
    "circle",
    "compile",
    "dot",
    "evaluate",
    "ffn",
    "from_points",
    "gate",
    "held",
    "indicator",
    "input_vector",
    "inputs",
    "load",
    "maximum",
    "minimum",
    "movable",
    "poly",
    "power",
    "prod",
    "project",
    "random_params",
    "reciprocal",
    "relu",
    "rounding",
    "save",
    "sphere",
    "square",
    "stack",
    "swiss_roll",
    "torus",
    "total",
    "train",
    "trapezoid",
    "write",
]


def __dir__() -> list[str]:
    return list(__all__)
