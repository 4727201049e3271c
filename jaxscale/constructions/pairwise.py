"""The theorem's back end: a token for each number, a head of the Interaction Lemma for each pair that meets.

    network = compile_pairwise(program, encoding="parabola")      # d_embd = 5 for the theorems' programs

A token has data rows, the encoding and the constant one. Programs that go layer by layer, such as those of the
theorems, never need more than two data rows: products are written beside their factors, and what is still needed of
the factors' row is copied after them if that is little, so that the row can be emptied.
"""

import numpy as np

from jaxscale.constructions.atoms import Atom, Dot, Input, Linear, NetworkAtom, Product
from jaxscale.constructions.encodings import Encoding, named
from jaxscale.constructions.expressions import Expression, atoms_of, of_atom
from jaxscale.constructions.heads import PairHeads, Sources
from jaxscale.constructions.interaction import Rows, interaction_heads
from jaxscale.constructions.legalize import Pairwise
from jaxscale.constructions.network import Network, Selection, input_of
from jaxscale.constructions.planning import Plan, PlannedBlock, with_output
from jaxscale.constructions.residual import Place


def compile_pairwise(expression: Expression, encoding: str | Encoding = "parabola", limit: float = 4e9) -> Network:
    """A transformer that equals `expression` on its domain, with one head for each pair of numbers that meet.

    Args:
      expression: a number, or a vector whose entries are read one by one.
      encoding: what tokens carry to be told apart; a name of `encodings.ENCODINGS`, or an `Encoding`.
      limit: of bytes that the parameters may take.

    Returns:
      `Network`.

    Raises:
      InputError: if the program has several declarations of inputs, or is too large.
    """
    encoding = named(encoding)
    source = input_of(expression)
    plan = PairwisePlan(with_output(Pairwise().expression(expression)), source, encoding)
    return plan.network(expression, encoding.name, encoding.table(plan.tokens), limit)


class PairwisePlan(Plan):
    """New tokens for every sum and network; products at the tokens of their left factors."""

    def __init__(self, legal: Expression, source: Input, encoding: Encoding):
        self.encoding, self._next = encoding, source.size
        tokens = source.size + sum(a.size for a in atoms_of(legal) if isinstance(a, (Linear, NetworkAtom)))
        super().__init__(legal, source, tokens, (np.arange(source.size), np.zeros(source.size, dtype=int)))

    def tokens_of(self, atom: Atom) -> np.ndarray:
        self._next += atom.size
        return np.arange(self._next - atom.size, self._next)

    def product_tokens(self, atom: Product | Dot, known: dict[Atom, Place]) -> np.ndarray:
        return Sources.of(atom.left, known).token

    def new_heads(self) -> PairHeads:
        return PairHeads(self.residual.copy())

    def make_room(
        self, b: int, block: PlannedBlock, row: int, known: dict[Atom, Place], alive: dict[Atom, Place]
    ) -> None:
        """Copies what is still needed of a row into `row`, if that takes no more heads than the block has anyway."""
        for r in range(self.residual.rows):
            here = {a: known[a] for a in alive if a in known and np.any(known[a][1] == r)}
            if r == row or not here or any(np.any(rows != r) for _, rows in here.values()):
                continue
            needed = {atom: np.nonzero(self.last[atom] > b)[0] for atom in here}
            heads = sum(len(entries) * (1 + bool(np.any(atom.lower < 0))) for atom, entries in needed.items())
            free = not any(self.residual.used[row, here[atom][0][entries]].any() for atom, entries in needed.items())
            if heads <= block.heads.count and free:
                for atom, entries in needed.items():
                    token = here[atom][0]
                    block.heads.add_sum(token[entries], row, of_atom(atom)[entries], known)
                    self.residual.add(token[entries], row, atom.lower[entries], atom.upper[entries])
                    self.put(atom, token, row, alive)

    def parameters(self, heads: PairHeads, rows: Rows) -> tuple[dict[str, np.ndarray], Selection]:
        table = heads.table()
        query, key, bound = heads.kernels(table, rows)
        made = interaction_heads(
            query, key, table.token, table.seen, table.row, table.coefficient, bound, self.encoding, self.tokens, rows
        )
        selection = Selection(
            token=table.token[:, None],
            seen=table.seen[:, None],
            data=1,
            bound=bound,
            scale=made.scale,
            gap=self.encoding.gap(self.tokens),
            active=heads.active,
        )
        return {"query": made.query, "key": made.key, "value": made.value}, selection
