"""Functions compiled into transformers that compute them, with a proof of the error.

from jaxscale import constructions as con

x, y, z = con.inputs("x y z", low=-1, high=1)
network = con.compile(x * y + con.maximum(z, 0.3))
con.evaluate(network, points)                        # (B, 3) -> (B,), equal to the formula up to rounding
"""

from jaxscale.constructions.compiler import compile
from jaxscale.constructions.encodings import ENCODINGS
from jaxscale.constructions.executors import evaluate
from jaxscale.constructions.expressions import Expression, input_vector, inputs, stack
from jaxscale.constructions.network import Network
from jaxscale.constructions.primitives import (
    absolute,
    bump,
    dot,
    ffn,
    gate,
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

__all__ = [
    "ENCODINGS",
    "Expression",
    "Network",
    "absolute",
    "bump",
    "compile",
    "dot",
    "evaluate",
    "ffn",
    "gate",
    "indicator",
    "input_vector",
    "inputs",
    "maximum",
    "minimum",
    "poly",
    "power",
    "prod",
    "project",
    "reciprocal",
    "relu",
    "square",
    "stack",
    "total",
    "trapezoid",
]
