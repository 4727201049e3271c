"""Heads of the pairwise back end as a table: who receives, who is seen, and the two factors of the score.

A head of this table adds coefficient · relu((a h_t1[i] + b)(a' h_t2[j] + b')) to one row of token t1. With a = 0, b = 1
on the left that is a copy of relu(a' h_t2[j] + b'); with both, a product. Signed numbers take two heads, as
x = relu(x) - relu(-x).
"""

from typing import NamedTuple

import numpy as np

from jaxscale.constructions.atoms import Atom, Product
from jaxscale.constructions.expressions import Expression
from jaxscale.constructions.interaction import Rows
from jaxscale.constructions.residual import Place, Residual

# Of each head, of a factor of its score: the row it reads, what that is multiplied by, and what is added.
Factor = tuple[np.ndarray, np.ndarray, np.ndarray]


class Sources(NamedTuple):
    """The numbers that an expression combines: of entry `entry`, `coefficient` times what lies at (token, row).

    Sorted by entry. `lower` and `upper` hold the number itself.
    """

    entry: np.ndarray
    coefficient: np.ndarray
    token: np.ndarray
    row: np.ndarray
    lower: np.ndarray
    upper: np.ndarray

    @classmethod
    def of(cls, x: Expression, place: dict[Atom, Place]) -> "Sources":
        columns = []
        for atom, matrix in x.terms:
            coo = matrix.tocoo()
            token, row = place[atom]
            columns.append((coo.row, coo.data, token[coo.col], row[coo.col], atom.lower[coo.col], atom.upper[coo.col]))
        if not columns:
            none, nothing = np.zeros(0, dtype=int), np.zeros(0)
            return cls(none, nothing, none, none, nothing, nothing)
        joined = [np.concatenate(parts) for parts in zip(*columns, strict=True)]
        order = np.argsort(joined[0], kind="stable")
        return cls(*(part[order] for part in joined))


class HeadTable(NamedTuple):
    """One head an entry; see the module."""

    token: np.ndarray
    seen: np.ndarray
    row: np.ndarray
    coefficient: np.ndarray
    query_row: np.ndarray
    query_scale: np.ndarray
    query_offset: np.ndarray
    key_row: np.ndarray
    key_scale: np.ndarray
    key_offset: np.ndarray


class PairHeads:
    """The heads of one block, which read the residual stream `before` it."""

    rank = 3

    def __init__(self, before: Residual):
        self._before = before
        self._parts: list[tuple[np.ndarray, ...]] = []
        self.active: dict[int, int] = {}  # of tokens that sum terms few of which are not zero, how many

    @property
    def count(self) -> int:
        return sum(len(part[0]) for part in self._parts)

    def add_relu(self, token: np.ndarray, row: int, x: Expression, known: dict[Atom, Place]) -> bool:
        """relu(x) of entries that combine one number at most; False, with nothing added, if one combines several."""
        sources = Sources.of(x, known)
        if len(np.unique(sources.entry)) < len(sources.entry):
            return False
        entry = sources.entry
        seen = x.upper[entry] > 0
        key = (sources.row[seen], sources.coefficient[seen], x.offset[entry[seen]])
        self._add(token[entry[seen]], sources.token[seen], row, 1.0, None, key)
        constant = np.maximum(x.offset, 0)
        constant[entry] = 0
        self.add_constant(token, row, constant)
        return True

    def add_sum(self, token: np.ndarray, row: int, x: Expression, known: dict[Atom, Place]) -> None:
        """Every entry of x. Several signed numbers are shifted by their lower ends; a single one takes two heads."""
        sources = Sources.of(x, known)
        entry, coefficient, offset = sources.entry, sources.coefficient, x.offset.copy()
        signed = (sources.lower < 0) & (sources.upper > 0)
        several = np.bincount(entry[signed], minlength=x.size)[entry] > 1
        shift = np.where(signed & several, sources.lower, 0)
        np.add.at(offset, entry, coefficient * shift)
        for sign, used in ((1.0, sources.upper > 0), (-1.0, (sources.lower < 0) & ~(signed & several))):
            key = (sources.row[used], np.full(int(np.sum(used)), sign), -sign * shift[used])
            self._add(token[entry[used]], sources.token[used], row, sign * coefficient[used], None, key)
        self.add_constant(token, row, offset)
        if x.active is not None:
            self.active |= {int(t): x.active + 1 for t in token}

    def add_constant(self, token: np.ndarray, row: int, values: np.ndarray) -> None:
        """A number from the constant one: relu(1 · 1) seen by the token in itself."""
        used = values != 0
        self._add(token[used], token[used], row, values[used], None, None)

    def add_nothing(self, token: np.ndarray, row: int) -> None:
        """A head that adds zero."""
        self._add(token[:1], token[:1], row, 0.0, None, None)

    def add_product(self, row: np.ndarray, product: Product, known: dict[Atom, Place]) -> None:
        """A product of factors with one number an entry, at the tokens of the left one; of one or both signs."""
        left, right = Sources.of(product.left, known), Sources.of(product.right, known)
        for sign, used in ((1.0, product.upper > 0), (-1.0, product.lower < 0)):
            target = np.broadcast_to(row, used.shape)[used]
            query = (left.row[used], sign * left.coefficient[used], sign * product.left.offset[used])
            key = (right.row[used], right.coefficient[used], product.right.offset[used])
            self._add(left.token[used], right.token[used], target, sign, query, key)

    def _add(
        self,
        token: np.ndarray,
        seen: np.ndarray,
        row: np.ndarray | int,
        coefficient: np.ndarray | float,
        query: Factor | None,
        key: Factor | None,
    ) -> None:
        if len(token):
            constant = (0, 0.0, 1.0)
            columns = (token, seen, row, coefficient, *(query or constant), *(key or constant))
            self._parts.append(tuple(np.broadcast_to(column, token.shape) for column in columns))

    def table(self) -> HeadTable:
        return HeadTable(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))

    def kernels(self, table: HeadTable, rows: Rows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Data kernels (m, 1, E) for `interaction_heads`, and the largest score of any pair of tokens (m,)."""
        lower, upper = self._before.lower.min(axis=1), self._before.upper.max(axis=1)
        kernels, ends = [], []
        for row, scale, offset in (
            (table.query_row, table.query_scale, table.query_offset),
            (table.key_row, table.key_scale, table.key_offset),
        ):
            kernel = np.zeros((len(row), 1, rows.width))
            kernel[np.arange(len(row)), 0, row] = scale
            kernel[:, 0, rows.constant] += offset
            kernels.append(kernel)
            ends.append((scale * lower[row] + offset, scale * upper[row] + offset))
        bound = np.max([a * b for a in ends[0] for b in ends[1]], axis=0)
        return kernels[0], kernels[1], np.maximum(bound, 0)
