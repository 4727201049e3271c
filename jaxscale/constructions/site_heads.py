"""Heads of the structured back end: each serves all tokens of a site at once.

A sum on the tokens of a site is put together from parts: what the first token holds, what lies on the token itself or
where a pointer shows, and what many tokens hold that all point here. Each part takes one head, or two if it is signed.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import sparse

from jaxscale.constructions.addresses import GAP, ONE, AddressTable, Functional, comparison
from jaxscale.constructions.atoms import Atom, Dot, Input, Product
from jaxscale.constructions.expressions import Expression
from jaxscale.constructions.interaction import Rows, selection_scale
from jaxscale.constructions.network import Selection
from jaxscale.constructions.residual import Place, Residual


@dataclasses.dataclass(frozen=True)
class Head:
    """Adds relu(Σ_i <query_i, h_t> <key_i, h_k>) · <value, h_k> to `row` of token t, for pairs whose bits agree.

    `pointers` are read at the query and `addresses` at the key; `token` and `seen` are the pairs that agree.
    """

    query: list[Functional]
    key: list[Functional]
    value: Functional
    row: int
    pointers: list[int]
    addresses: list[int]
    token: np.ndarray
    seen: np.ndarray


@dataclasses.dataclass
class Part:
    """Numbers that every token of a site finds on one other token: of data row r, `coefficient` times what is there."""

    other: int  # length of the vectors of the site where they are
    index: np.ndarray  # its entry for each token here; -1 for none
    rows: list[int] = dataclasses.field(default_factory=list)
    coefficients: list[np.ndarray] = dataclasses.field(default_factory=list)
    lower: np.ndarray | float = 0.0
    upper: np.ndarray | float = 0.0

    def add(self, row: int, coefficient: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> None:
        """One more data row, with an interval for what it contributes."""
        self.rows.append(int(row))
        self.coefficients.append(coefficient)
        self.lower, self.upper = self.lower + lower, self.upper + upper


class SiteHeads:
    """The heads of one block, which read the residual stream `before` it."""

    def __init__(self, before: Residual, table: AddressTable):
        self._before, self._table = before, table
        self._heads: list[Head] = []
        self.active: dict[int, int] = {}  # of tokens that sum terms few of which are not zero, how many

    @property
    def count(self) -> int:
        return len(self._heads)

    @property
    def _data(self) -> int:
        return max(len(head.query) for head in self._heads)

    @property
    def rank(self) -> int:
        return self._data + 2 * max(len(head.pointers) for head in self._heads)

    def add_relu(self, token: np.ndarray, row: int, x: Expression, known: dict[Atom, Place]) -> bool:
        """relu(x), if x is one part; False, with nothing added, if it is several."""
        parts, sums = self._parts(x, known)
        if len(parts) != 1 or sums:
            return False
        self._add_part(x, parts[0], row, signs=(1.0,))
        return True

    def add_sum(self, token: np.ndarray, row: int, x: Expression, known: dict[Atom, Place]) -> None:
        """x itself."""
        parts, sums = self._parts(x, known)
        for part in parts:
            signs = [1.0] * bool(np.any(part.upper > 0)) + [-1.0] * bool(np.any(part.lower < 0))
            self._add_part(x, part, row, signs)
        for atom, source_row, owner, coefficient in sums:
            self._add_collection(x.size, atom, source_row, owner, coefficient, row)
        if x.active is not None:
            self.active |= {int(t): x.active + 1 for t in token}

    def add_constant(self, token: np.ndarray, row: int, values: np.ndarray) -> None:
        """The same number on every token of a site."""
        part = Part(len(token), np.arange(len(token)))
        self._add_part(Expression([], values), part, row, signs=(1.0,) if values[0] > 0 else (-1.0,))

    def add_nothing(self, token: np.ndarray, row: int) -> None:
        """A head that adds zero."""
        self.add_constant(token, row, np.zeros(len(token)))

    def add_product(self, row: np.ndarray, atom: Product | Dot, known: dict[Atom, Place]) -> None:
        """Two functionals of one token, multiplied by the score; of an inner product, as many as it has terms."""
        rows = range(atom.left.size) if isinstance(atom, Dot) else range(1)
        (own_row,) = set(np.atleast_1d(row).tolist())  # a token has one entry of a vector
        query, key = ([_of_token(x, i, known) for i in rows] for x in (atom.left, atom.right))
        address, tokens = self._table.address(atom.size), self._table.site(atom.size)
        for sign, used in ((1.0, atom.upper > 0), (-1.0, atom.lower < 0)):
            if np.any(used):
                signed = query if sign > 0 else [-q for q in query]
                value = Functional(constant=sign)
                self._heads.append(Head(signed, key, value, own_row, address, address, tokens, tokens))

    def _parts(
        self, x: Expression, known: dict[Atom, Place]
    ) -> tuple[list[Part], list[tuple[Atom, int, np.ndarray, np.ndarray]]]:
        """What `x` combines, sorted by the tokens where it is; and what many tokens hold for one of x."""
        n, here = x.size, np.arange(x.size)
        parts: dict[tuple[int, bytes], Part] = {}
        sums = []
        part_at: Callable[[int, np.ndarray], Part] = lambda other, index: parts.setdefault(
            (other, index.tobytes()), Part(other, index)
        )
        for atom, matrix in x.terms:
            row = known[atom][1]
            if isinstance(atom, Input) or atom.size == 1:
                part = part_at(1, np.zeros(n, dtype=int))
                for i in np.unique(matrix.indices):
                    c = matrix[:, [i]].toarray()[:, 0]
                    part.add(row[i], c, *_scaled(c, atom.lower[i], atom.upper[i]))
                continue
            single = np.diff(matrix.tocsc().indptr).max() <= 1
            if np.diff(matrix.indptr).max() > 1 and single:
                owner, coefficient = np.full(atom.size, -1), np.zeros(atom.size)
                coo = matrix.tocoo()
                owner[coo.col], coefficient[coo.col] = coo.row, coo.data
                sums.append((atom, row[0], owner, coefficient))
                continue
            for index, c in _one_a_row(matrix):
                at = np.maximum(index, 0)
                part_at(atom.size, index).add(row[0], c, *_scaled(c, atom.lower[at], atom.upper[at]))
        if np.any(x.offset):
            whole = [part for part in parts.values() if np.all(part.index >= 0)]
            part = whole[0] if whole else part_at(n, here)
            part.lower, part.upper = part.lower + x.offset, part.upper + x.offset
            part.coefficients.append(x.offset)
        return list(parts.values()), sums

    def _add_part(self, x: Expression, part: Part, row: int, signs: Sequence[float]) -> None:
        n = x.size
        coefficients = [*part.coefficients] if part.rows or part.coefficients else [x.offset]
        keys = [Functional(rows=((r, 1.0),)) for r in part.rows] + [ONE] * (len(coefficients) - len(part.rows))
        used = part.index >= 0
        if all(np.ptp(c[used]) == 0 for c in coefficients):
            queries = [ONE]
            keys = [_combined(keys, [float(c[used][0]) for c in coefficients])]
        else:
            queries = [Functional(columns=((self._table.coefficient(n, c), 1.0),)) for c in coefficients]
        pointers = self._table.pointer(n, part.other, part.index)
        addresses = self._table.address(part.other)
        token, seen = self._table.site(n)[used], self._table.site(part.other)[part.index[used]]
        for sign in signs:
            signed = queries if sign > 0 else [-q for q in queries]
            self._heads.append(Head(signed, keys, Functional(constant=sign), row, pointers, addresses, token, seen))

    def _add_collection(
        self, n: int, atom: Atom, source_row: int, owner: np.ndarray, coefficient: np.ndarray, row: int
    ) -> None:
        column = self._table.coefficient(atom.size, coefficient, learned=True)
        pointers = self._table.pointer(atom.size, n, owner)
        used = owner >= 0
        token, seen = self._table.site(n)[owner[used]], self._table.site(atom.size)[used]
        for sign, present in ((1.0, np.any(atom.upper > 0)), (-1.0, np.any(atom.lower < 0))):
            if present:
                key, value = Functional(rows=((int(source_row), sign),)), Functional(columns=((column, sign),))
                head = Head([ONE], [key], value, row, self._table.address(n), pointers, token, seen)
                self._heads.append(head)

    def parameters(self, rows: Rows) -> tuple[dict[str, np.ndarray], Selection]:
        """query, key and value of the block, and what they select."""
        _, _, order = self._table.ordered()
        place = rows.encoding.start + order
        M, K, E = self.count, self.rank, rows.width
        query, key, value = np.zeros((M, K, E)), np.zeros((M, K, E)), np.zeros((M, E, E))
        bound = np.array([self._bound(head) for head in self._heads])
        scale = selection_scale(bound, GAP)
        for i, head in enumerate(self._heads):
            compared = comparison(head.pointers, head.addresses, scale[i])
            for kernel, data, selecting in ((query, head.query, 0), (key, head.key, 1)):
                for j, functional in enumerate(data):
                    kernel[i, j] = functional.kernel(E, place)
                for j, pair in enumerate(compared):
                    kernel[i, self._data + j] = pair[selecting].kernel(E, place)
            value[i, head.row] = head.value.kernel(E, place)
        most = max(len(head.token) for head in self._heads)
        padded: Callable[[np.ndarray], np.ndarray] = lambda x: np.pad(x, (0, most - len(x)), constant_values=-1)
        selection = Selection(
            token=np.stack([padded(head.token) for head in self._heads]),
            seen=np.stack([padded(head.seen) for head in self._heads]),
            data=self._data,
            bound=bound,
            scale=scale,
            gap=GAP,
            active=self.active,
        )
        return {"query": query, "key": key, "value": value}, selection

    def _bound(self, head: Head) -> float:
        """The largest data score of any pair of tokens."""
        lower, upper, table = self._before.lower, self._before.upper, self._table.values()
        total = np.zeros(self._table.tokens)
        for q, k in zip(head.query, head.key, strict=True):
            least, most = k.interval(lower, upper, table)
            ends = [a * b for a in q.interval(lower, upper, table) for b in (least.min(), most.max())]
            total += np.max(ends, axis=0)
        return max(float(total.max()), 0.0)


def _of_token(x: Expression, i: int, known: dict[Atom, Place]) -> Functional:
    """Entry i of an expression as a functional of the one token that knows all of it."""
    rows = []
    for atom, matrix in x.terms:
        entries = slice(*matrix.indptr[i : i + 2])
        where = known[atom][1][matrix.indices[entries]]
        rows += [(int(row), float(c)) for row, c in zip(where, matrix.data[entries], strict=True)]
    return Functional(rows=tuple(rows), constant=float(x.offset[i]))


def _one_a_row(matrix: sparse.csr_matrix) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """A sparse matrix as a sum of such with one number a row: (column or -1, number) of each row."""
    counts = np.diff(matrix.indptr)
    for rank in range(counts.max()):
        used = counts > rank
        at = matrix.indptr[:-1][used] + rank
        index, c = np.full(len(counts), -1), np.zeros(len(counts))
        index[used], c[used] = matrix.indices[at], matrix.data[at]
        yield index, c


def _scaled(c: np.ndarray, lower: np.ndarray | float, upper: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    return np.minimum(c * lower, c * upper), np.maximum(c * lower, c * upper)


def _combined(functionals: Sequence[Functional], coefficients: Sequence[float]) -> Functional:
    rows = [(r, c * a) for f, c in zip(functionals, coefficients, strict=True) for r, a in f.rows]
    return Functional(
        rows=tuple(rows), constant=sum(c * f.constant for f, c in zip(functionals, coefficients, strict=True))
    )
