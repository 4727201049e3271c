"""One verb for both back ends."""

from typing import Literal

from jaxscale.constructions.encodings import Encoding
from jaxscale.constructions.expressions import Expression, as_expression
from jaxscale.constructions.network import Network
from jaxscale.constructions.pairwise import compile_pairwise
from jaxscale.constructions.structured import compile_structured
from jaxscale.errors import InputError

BackEnd = Literal["pairwise", "structured"]

# Parameters are float64; more bytes than this are refused unless asked for.
LIMIT = 4e9


def compile(
    expression: Expression | float,
    backend: BackEnd = "pairwise",
    encoding: str | Encoding = "parabola",
    limit: float = LIMIT,
) -> Network:
    """A transformer that equals `expression` on the intervals of its inputs, in real arithmetic exactly.

    Args:
      expression: a number, or a vector whose entries are read one by one. A constant is computed exactly too; one
        written without inputs, such as 1.0, takes points (B, 0).
      backend: "pairwise" is the theorem's (Havrilla & Liao 2024): a token for each number, a head for each pair of
        numbers that meet, d_embd = 5 for programs that go layer by layer. "structured" has tokens with addresses, a
        head for each operation on a vector, and weights that do not grow with the number of tokens.
      encoding: of the pairwise back end: "quarter_circle" (the paper's), "full_circle", "parabola" or "binary".
      limit: of bytes that the parameters may take.

    Returns:
      `Network`.

    Raises:
      InputError: if the program has several declarations of inputs, would be too large, or an option is unknown.
    """
    if backend not in ("pairwise", "structured"):
        raise InputError(f"backend={backend!r} is not one of pairwise, structured. Pass one of these.")
    expression = as_expression(expression)
    if backend == "structured":
        return compile_structured(expression, limit)
    return compile_pairwise(expression, encoding, limit)
