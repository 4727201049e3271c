"""The back end with addresses: one head serves a whole vector, so heads are O(d) and weights O(N).

    network = compile_structured(program)

Entries of vectors of one length lie on the tokens of one site, in rows; single numbers and the inputs are rows of one
token. A head brings to every token of a site what its pointer shows, or multiplies two rows of each token, or sums all
that points to a token. The coefficients of the last sum, a theorem's values of the function, are a column of numbers
that tokens carry: the only ones that grow with the number of grid points, and parameters, as `learned_rows`.
"""

import numpy as np

from jaxscale.constructions.addresses import AddressTable
from jaxscale.constructions.atoms import Atom, Dot, Input, Product
from jaxscale.constructions.expressions import Expression, atoms_of
from jaxscale.constructions.interaction import Rows
from jaxscale.constructions.legalize import Structured
from jaxscale.constructions.network import Network, Selection, input_of
from jaxscale.constructions.planning import Plan, PlannedBlock, with_output
from jaxscale.constructions.residual import Place
from jaxscale.constructions.site_heads import SiteHeads


def compile_structured(expression: Expression, limit: float = 4e9) -> Network:
    """A transformer that equals `expression` on its domain, with one head for each operation on a whole vector.

    Args:
      expression: a number, or a vector whose entries are read one by one.
      limit: of bytes that the parameters may take.

    Returns:
      `Network`; parameters of the last sums are `params["learned"]`.

    Raises:
      InputError: if the program has several declarations of inputs, or is too large.
    """
    plan = StructuredPlan(with_output(Structured().expression(expression)), input_of(expression))
    table, learned, _ = plan.table.ordered()
    return plan.network(expression, "address", table, limit, learned)


class StructuredPlan(Plan):
    """Vectors of one length on the tokens of one site."""

    def __init__(self, legal: Expression, source: Input):
        self.table = AddressTable([atom.size for atom in atoms_of(legal) if not isinstance(atom, Input)])
        inputs = np.zeros(source.size, dtype=int), np.arange(source.size)
        super().__init__(legal, source, self.table.tokens, inputs)

    def tokens_of(self, atom: Atom) -> np.ndarray:
        return self.table.site(atom.size)

    def product_tokens(self, atom: Product | Dot, known: dict[Atom, Place]) -> np.ndarray:
        return self.table.site(atom.size)

    def new_heads(self) -> SiteHeads:
        return SiteHeads(self.residual.copy(), self.table)

    def parameters(self, heads: SiteHeads, rows: Rows) -> tuple[dict[str, np.ndarray], Selection]:
        return heads.parameters(rows)

    def make_room(
        self, b: int, block: PlannedBlock, row: int, known: dict[Atom, Place], alive: dict[Atom, Place]
    ) -> None:
        """Nothing: one more row costs less than heads that move values."""
