"""Depth scheduling and allocation of rows, shared by both back ends.

Everything is computed in the first block in which what it needs is known, so independent work shares blocks and the
depth is that of the longest chain. Values rest where they are, by the residual connection. A row in which nothing is
needed any more is emptied by the FFN at the end of a block, and used again.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import Any

import numpy as np

from jaxscale.constructions.atoms import Atom, Dot, Input, Kind, Linear, NetworkAtom, Product
from jaxscale.constructions.expressions import Expression, atoms_of, levels, of_atom
from jaxscale.constructions.feedforward import Clear, Use, ffn_layers
from jaxscale.constructions.interaction import Rows
from jaxscale.constructions.network import Layout, Network, Placement, Selection, check_size
from jaxscale.constructions.primitives import RELU
from jaxscale.constructions.residual import Place, Residual
from jaxscale.models import relu_transformer as rt


@dataclasses.dataclass
class PlannedBlock:
    """Heads and FFN of one block, in data rows; the widths of tokens are known only when all blocks are."""

    heads: Any
    uses: list[Use] = dataclasses.field(default_factory=list)
    clears: list[Clear] = dataclasses.field(default_factory=list)


class Plan(abc.ABC):
    """Lays out a legal program block by block; back ends say which tokens values live on and how heads are written.

    The heads of a back end have `count`, and

        add_relu(token, row, x, known) -> bool     relu(x), if that takes one head for each token
        add_sum(token, row, x, known)              x itself
        add_constant(token, row, values)
        add_nothing(token, row)                     a head that adds zero
        add_product(row, atom, known)              a product, at its tokens

    where `known` maps atoms to their places before the block.
    """

    def __init__(self, legal: Expression, source: Input, tokens: int, place: Place):
        self.legal, self.source, self.tokens = legal, source, tokens
        level = levels(legal)
        order = sorted(atoms_of(legal), key=level.__getitem__)
        self.depth = max(level.values())
        # The block after which nothing needs an entry of an atom.
        self.last = {atom: np.zeros(atom.size, dtype=int) for atom in [source, *order]}
        for atom in order:
            for needed, matrix in (term for x in atom.arguments for term in x.terms):
                entries = matrix.indices
                self.last[needed][entries] = np.maximum(self.last[needed][entries], level[atom])
        self.last[legal.terms[0][0]][:] = self.depth + 1
        self.place: dict[Atom, Place] = {source: place}
        self.residual = Residual(tokens)
        for token, row, lower, upper in zip(*place, source.lower, source.upper, strict=True):
            while row >= self.residual.rows:
                self.residual.open_row()
            self.residual.add(token, row, lower, upper)
        self.layout = [Placement(0, source.name, *place)]
        self.streams: list[tuple[np.ndarray, np.ndarray]] = [self._interval()]
        self.attended: list[tuple[np.ndarray, np.ndarray]] = []
        self.blocks = [self._block(b, [a for a in order if level[a] == b]) for b in range(1, self.depth + 1)]

    @abc.abstractmethod
    def tokens_of(self, atom: Atom) -> np.ndarray:
        """The tokens on which the entries of a sum or a network come to lie."""

    @abc.abstractmethod
    def product_tokens(self, atom: Product | Dot, known: dict[Atom, Place]) -> np.ndarray:
        """Those of a product."""

    @abc.abstractmethod
    def new_heads(self) -> Any:
        """Of a block that reads the residual stream as it is now."""

    @abc.abstractmethod
    def parameters(self, heads: Any, rows: Rows) -> tuple[dict[str, np.ndarray], Selection]:
        """query, key and value of a block, and what they select."""

    @abc.abstractmethod
    def make_room(
        self, b: int, block: PlannedBlock, row: int, known: dict[Atom, Place], alive: dict[Atom, Place]
    ) -> None:
        """May move values before accumulators are chosen; `row` is the one that products of block `b` went to."""

    def _block(self, b: int, atoms: list[Atom]) -> PlannedBlock:
        residual, known = self.residual, dict(self.place)
        block = PlannedBlock(self.new_heads())
        alive = {atom: place for atom, place in known.items() if np.any(self.last[atom] > b)}
        first, size = 0, 0
        for atom in atoms:
            if not isinstance(atom, (Product, Dot)):
                continue
            token = self.product_tokens(atom, known)
            own_rows = self._rows_for(token, first)
            block.heads.add_product(own_rows, atom, known)
            residual.add(token, own_rows, atom.lower, atom.upper)
            self.place[atom] = alive[atom] = token, own_rows
            first, size = (int(own_rows[0]), atom.size) if atom.size > size else (first, size)
        for atom in atoms:
            if isinstance(atom, Linear):
                token = self.tokens_of(atom)
                row = residual.free_row(token, first)
                block.heads.add_sum(token, row, atom.argument, known)
                residual.add(token, row, atom.lower, atom.upper)
                self.put(atom, token, row, alive)
        if atoms and not block.heads.count and all(isinstance(atom, Linear) for atom in atoms):
            block.heads.add_nothing(token, row)  # a block has one head at least, even if all it computes is zero
        if size:
            self.make_room(b, block, first, known, alive)
        pending = self._write_arguments(block, [a for a in atoms if isinstance(a, NetworkAtom)], first, known, alive)
        self.attended.append(self._interval())
        for use, values in pending:
            residual.apply(use, values)
        for row in range(residual.rows):
            if residual.used[row].any() and not any(np.any(rows == row) for _, rows in alive.values()):
                block.clears.append(Clear(row, bool(self.attended[-1][0][row].min() < 0)))
                residual.clear(row)
        self.streams.append(self._interval())
        self.layout += [Placement(b, atom.name, *self.place[atom]) for atom in atoms]
        return block

    def _rows_for(self, token: np.ndarray, first: int) -> np.ndarray:
        """An empty row for each entry; entries on one token get different ones."""
        row = np.zeros(len(token), dtype=int)
        order = np.argsort(token, kind="stable")
        starts = np.r_[0, np.nonzero(np.diff(token[order]))[0] + 1]
        rank = np.empty(len(token), dtype=int)
        rank[order] = np.arange(len(token)) - np.repeat(starts, np.diff(np.r_[starts, len(token)]))
        for k in range(rank.max() + 1):
            row[rank == k] = free = self.residual.free_row(token[rank == k], first)
            self.residual.claim(token[rank == k], free)
        return row

    def put(self, atom: Atom, token: np.ndarray, row: int, alive: dict[Atom, Place]) -> None:
        """From now on the atom is there."""
        self.place[atom] = alive[atom] = token, np.full(atom.size, row)

    def _write_arguments(
        self,
        block: PlannedBlock,
        networks: list[NetworkAtom],
        first: int,
        known: dict[Atom, Place],
        alive: dict[Atom, Place],
    ) -> list[tuple[Use, list[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
        """Arguments of networks into accumulators; which networks the FFN then runs, and what they give.

        A ReLU of one head's score takes no FFN: attention has one.
        """
        residual, pending = self.residual, []
        alike: dict[tuple[Kind, int], list[NetworkAtom]] = {}
        for atom in networks:
            token = self.tokens_of(atom)
            row = residual.free_row(token, first)
            self.put(atom, token, row, alive)
            if atom.kind is RELU and block.heads.add_relu(token, row, atom.operands[0], known):
                residual.add(token, row, atom.lower, atom.upper)
            else:
                residual.claim(token, row)
                alike.setdefault((atom.kind, row), []).append(atom)
        taken: list[int] = []
        for (kind, target), atoms in alike.items():
            tokens = np.concatenate([self.place[atom][0] for atom in atoms])
            sources: list[int] = []
            for _ in atoms[0].operands:
                sources.append(residual.accumulator(tokens, target, alive.values(), [*taken, *sources]))
            taken += sources
            for atom in atoms:
                self._write_operands(block, atom, sources, target, known)
            values = [(self.place[atom][0], atom.lower, atom.upper) for atom in atoms]
            block.uses.append(Use(kind, tuple(sources), target))
            pending.append((block.uses[-1], values))
        return pending

    def _write_operands(
        self, block: PlannedBlock, atom: NetworkAtom, sources: list[int], target: int, known: dict[Atom, Place]
    ) -> None:
        token, kind = self.place[atom][0], atom.kind
        for row, x in zip(sources, atom.operands, strict=True):
            lower, upper = x.lower, x.upper
            if kind.one_sided and block.heads.add_relu(token, row, x, known):
                lower, upper = np.maximum(lower, 0), np.maximum(upper, 0)
            else:
                block.heads.add_sum(token, row, x, known)
            self.residual.add(token, row, lower, upper)
        if kind.at_zero:
            block.heads.add_constant(token, target, np.full(atom.size, kind.at_zero))
            self.residual.add(token, target, kind.at_zero, kind.at_zero)

    def _interval(self) -> tuple[np.ndarray, np.ndarray]:
        return self.residual.lower.copy(), self.residual.upper.copy()

    def network(
        self, program: Expression, name: str, table: np.ndarray, limit: float, learned: np.ndarray | None = None
    ) -> Network:
        """The plan as parameters. `table` (l, e) is what tokens carry; its last r columns may be `learned` (l, r)."""
        data = self.residual.rows
        rows = Rows(data + table.shape[1] + 1, slice(data, data + table.shape[1]), data + table.shape[1])
        ffns = [ffn_layers(rows.width, block.uses, block.clears) for block in self.blocks]
        widths = [tuple(kernel.shape[1] for kernel, _ in layers[:-1]) for layers in ffns]
        entry, output = self.layout[0], self.place[self.legal.terms[0][0]]
        picked = self.legal.terms[0][1].indices
        shape = rt.Shape(
            tokens=self.tokens,
            width=rows.width,
            blocks=tuple(
                rt.BlockShape(b.heads.count, b.heads.rank, hidden)
                for b, hidden in zip(self.blocks, widths, strict=True)
            ),
            inputs=tuple(zip(entry.token.tolist(), entry.row.tolist(), strict=True)),
            outputs=tuple(zip(*(ends[picked].tolist() for ends in output), strict=True)),
            learned_rows=() if learned is None else tuple(range(rows.constant - learned.shape[1], rows.constant)),
        )
        check_size(shape, limit)
        params: dict[str, Any] = {} if learned is None else {"learned": learned}
        selections = []
        for i, (block, layers) in enumerate(zip(self.blocks, ffns, strict=True)):
            params[f"block_{i}"], selection = self.parameters(block.heads, rows)
            selections.append(selection)
            for j, (kernel, bias) in enumerate(layers):
                params[f"block_{i}"] |= {f"kernel_{j}": kernel, f"bias_{j}": bias}
        start = np.zeros((self.tokens, rows.width))
        start[:, rows.encoding], start[:, rows.constant] = table, 1
        return Network(
            shape=shape,
            params=params,
            encoding=start,
            rows=rows,
            selections=tuple(selections),
            layout=Layout(self.layout),
            program=program,
            encoding_name=name,
            streams=tuple(_with_rows(data, *ends) for ends in self.streams),
            attended=tuple(_with_rows(data, *ends) for ends in self.attended),
        )


def with_output(legal: Expression) -> Expression:
    """`legal` itself if its entries are those of one atom as it stands, else summed into tokens of its own."""
    if len(legal.terms) == 1 and not np.any(legal.offset) and not isinstance(legal.terms[0][0], Input):
        matrix = legal.terms[0][1]
        if matrix.nnz == legal.size and np.all(np.diff(matrix.indptr) == 1) and np.all(matrix.data == 1):
            return legal
    return of_atom(Linear(legal, "output"), legal.scalar)


def _with_rows(rows: int, lower: np.ndarray, upper: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals (rows so far, l) as (l, rows): rows opened later were empty before."""
    lower, upper = (np.pad(end, ((0, rows - len(end)), (0, 0))).T for end in (lower, upper))
    return lower, upper
