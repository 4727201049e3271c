"""Real-valued programs: what `compile` turns into a transformer.

    x, y, z = inputs("x y z", lower=-1, upper=1)
    program = x * y + maximum(z, 0.3)        # functions of `primitives`
    program.evaluate(points_BxD)             # the formula, in float64

An expression is a vector of numbers, each an affine combination of atoms; sums, differences, constants, indexing and
matrices therefore cost nothing until a product, a ReLU network or the end of the program asks for the value. An atom is
what costs a block of the transformer: a product, an inner product, or a small ReLU network applied to each entry. Every
expression knows an interval that holds each of its entries: this is what decides how large a head's parameters must be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from scipy import sparse

from jaxscale.arguments import integer
from jaxscale.constructions.atoms import Atom, Input, Linear, Product
from jaxscale.errors import InputError

# What counts as constants of a program.
Numbers = float | Sequence[float] | np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class Claim:
    """What `within` said of an expression; None where it said nothing. `claims.refuted_claims` checks it at points."""

    expression: Expression
    lower: Any
    upper: Any
    active: int | None

    def __str__(self) -> str:
        said = {"lower": self.lower, "upper": self.upper, "active": self.active}
        return f"within({', '.join(f'{name}={_shown(value)}' for name, value in said.items() if value is not None)})"


class Expression:
    """Affine combinations of atoms: entry j is Σ over atoms of (matrix[j] @ atom) + offset[j].

    Attributes:
      terms: pairs of an atom and a sparse matrix (size, atom.size).
      offset: (size,).
      lower, upper: (size,) an interval for each entry.
      scalar: whether it was written as a single number rather than a vector.
      active: if not None, no more than so many atoms of a combination differ from zero at once, which bounds rounding.
      sources: the inputs it was written with, those that canceled too.
      claims: what was said of it, or of what it was made from, by `within`.
    """

    __array_ufunc__ = None  # numpy arrays on the left defer to the operators here

    def __init__(
        self,
        terms: Iterable[tuple[Atom, sparse.csr_matrix]],
        offset: np.ndarray,
        scalar: bool = False,
        lower: Numbers | None = None,
        upper: Numbers | None = None,
        active: int | None = None,
        parents: Sequence[Expression] = (),
    ) -> None:
        """`parents` are expressions it was made from whose atoms may have dropped out."""
        terms = tuple(terms)
        made_from = [*parents, *(x for atom, _ in terms for x in atom.arguments)]
        own = [atom for atom, _ in terms if isinstance(atom, Input)]
        self.sources: tuple[Input, ...] = tuple(dict.fromkeys([*(i for x in made_from for i in x.sources), *own]))
        self.claims: tuple[Claim, ...] = tuple(dict.fromkeys(claim for x in made_from for claim in x.claims))
        for _, matrix in terms:
            matrix.eliminate_zeros()
        self.terms: tuple[tuple[Atom, sparse.csr_matrix], ...] = tuple((a, m) for a, m in terms if m.nnz)
        self.offset = np.asarray(offset, dtype=float)
        self.scalar, self.active = scalar, active
        self.lower, self.upper = self.offset.copy(), self.offset.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            for atom, matrix in self.terms:
                up, down = matrix.maximum(0), matrix.minimum(0)
                self.lower += up @ atom.lower + down @ atom.upper
                self.upper += up @ atom.upper + down @ atom.lower
        if not np.all(np.isfinite(self.lower) & np.isfinite(self.upper)):
            raise InputError(
                "a number of the program may exceed the largest of float64, 1.8e308, for inputs in their intervals. "
                "Narrow the intervals, or say what is known of it by within(lower=…, upper=…)."
            )
        if lower is not None:
            self.lower = np.clip(np.broadcast_to(lower, self.lower.shape), self.lower, self.upper)
        if upper is not None:
            self.upper = np.clip(np.broadcast_to(upper, self.upper.shape), self.lower, self.upper)

    @property
    def size(self) -> int:
        return len(self.offset)

    def __len__(self) -> int:
        if self.scalar:
            raise TypeError("an expression of a single number has no length")
        return self.size

    def __iter__(self) -> Iterator[Expression]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int | slice | np.ndarray) -> Expression:
        """An entry for an integer; a vector for a slice, a mask or an array of integers."""
        rows = np.arange(self.size)[index]
        flat = np.atleast_1d(rows)
        terms = [(atom, matrix[flat]) for atom, matrix in self.terms]
        return Expression(terms, self.offset[flat], rows.ndim == 0, self.lower[flat], self.upper[flat], parents=[self])

    def __add__(self, other: Expression | Numbers) -> Expression:
        a, b = _aligned(self, other)
        merged = dict(a.terms)
        for atom, matrix in b.terms:
            merged[atom] = merged[atom] + matrix if atom in merged else matrix
        lower, upper, scalar = a.lower + b.lower, a.upper + b.upper, a.scalar and b.scalar
        return Expression(merged.items(), a.offset + b.offset, scalar, lower, upper, parents=[a, b])

    __radd__ = __add__

    def __neg__(self) -> Expression:
        return self._scaled(-np.ones(self.size))

    def __sub__(self, other: Expression | Numbers) -> Expression:
        return self + -as_expression(other)

    def __rsub__(self, other: Expression | Numbers) -> Expression:
        return as_expression(other) + -self

    def __mul__(self, other: Expression | Numbers) -> Expression:
        if not isinstance(other, Expression):
            constant = _numbers(other)
            wide = self if constant.ndim == 0 or not self.scalar else self._repeated(constant.size)
            return wide._scaled(np.broadcast_to(constant, wide.size))
        return of_atom(Product(*_aligned(self, other)), self.scalar and other.scalar)

    __rmul__ = __mul__

    def __truediv__(self, other: Numbers) -> Expression:
        if isinstance(other, Expression):
            raise InputError("an expression cannot be divided by one. Multiply by reciprocal(…) of it.")
        divisor = _numbers(other)
        if not np.all(divisor):
            raise InputError("an expression cannot be divided by zero. Divide by other numbers.")
        return self * (1 / divisor)

    def __pow__(self, power: int) -> Expression:
        from jaxscale.constructions.primitives import power as raised

        return raised(self, power)

    def __abs__(self) -> Expression:
        from jaxscale.constructions.primitives import absolute

        return absolute(self)

    def __rmatmul__(self, matrix: np.ndarray | sparse.csr_matrix) -> Expression:
        """A constant matrix (n, size), dense or sparse, or a vector (size,), times this vector."""
        single = getattr(matrix, "ndim", 2) == 1
        matrix = sparse.csr_matrix(np.atleast_2d(matrix) if not sparse.issparse(matrix) else matrix, dtype=float)
        if not np.all(np.isfinite(matrix.data)):
            raise InputError("a matrix of constants holds a number that is not finite. Pass finite ones.")
        if matrix.shape[1] != self.size:
            raise InputError(f"a matrix {matrix.shape} cannot multiply {self.size} numbers. Pass {self.size} columns.")
        terms = [(atom, (matrix @ m).tocsr()) for atom, m in self.terms]
        up, down = matrix.maximum(0), matrix.minimum(0)
        lower, upper = up @ self.lower + down @ self.upper, up @ self.upper + down @ self.lower
        return Expression(terms, matrix @ self.offset, single, lower, upper, parents=[self])

    def sum(self) -> Expression:
        """The sum of all entries."""
        return np.ones(self.size) @ self

    def within(
        self, lower: Numbers | None = None, upper: Numbers | None = None, active: int | None = None
    ) -> Expression:
        """The same, known to lie in [lower, upper], or to combine no more than `active` atoms that differ from zero.

        What the interval analysis cannot see, such as that a partition of unity sums to one, is said by this. `compile`
        takes it on trust: where a claim does not hold the compiled heads leak. `certify` checks it at points.

        Raises:
          InputError: `lower` exceeds `upper`, or one of them is not a number.
        """
        lower, upper = (end if end is None else _numbers(end) for end in (lower, upper))
        if lower is not None and upper is not None and np.any(lower > upper):
            raise InputError(f"within(lower={_shown(lower)}, upper={_shown(upper)}) is empty. Pass lower ≤ upper.")
        active = self.active if active is None else integer("active", active, 0)
        same = Expression(self.terms, self.offset, self.scalar, lower, upper, active, parents=[self])
        same.claims = (*same.claims, Claim(self, lower, upper, active))
        return same

    def named(self, name: str) -> Expression:
        """The same, under that name in layouts; its atoms must have been made for this expression alone."""
        for atom, _ in self.terms:
            atom.name = name
        return self

    def same_as(self, other: Expression) -> bool:
        """Whether both are written alike, entry by entry."""
        if self is other:
            return True
        mine, theirs = dict(self.terms), dict(other.terms)
        return (
            mine.keys() == theirs.keys()
            and np.array_equal(self.offset, other.offset)
            and all(matrix.shape == theirs[a].shape and (matrix != theirs[a]).nnz == 0 for a, matrix in mine.items())
        )

    def evaluate(self, x_BxD: np.ndarray) -> np.ndarray:
        """The value at points (B, D) in float64: (B,), or (B, size) of a vector."""
        value = combined(self, atom_values(x_BxD, self), len(x_BxD))
        return value[0] if self.scalar else value.T

    def _scaled(self, factor: np.ndarray) -> Expression:
        lower, upper = (
            np.minimum(self.lower * factor, self.upper * factor),
            np.maximum(self.lower * factor, self.upper * factor),
        )
        terms = [(atom, (sparse.diags(factor) @ matrix).tocsr()) for atom, matrix in self.terms]
        return Expression(terms, self.offset * factor, self.scalar, lower, upper, parents=[self])

    def _repeated(self, n: int) -> Expression:
        return self[np.zeros(n, dtype=int)]


def of_atom(atom: Atom, scalar: bool = False) -> Expression:
    """The atom itself as an expression; the constant it is, if its interval leaves it no choice."""
    if not isinstance(atom, (Input, Linear)) and np.array_equal(atom.lower, atom.upper):
        return Expression([], atom.lower, scalar, parents=atom.arguments)
    return Expression([(atom, sparse.identity(atom.size, format="csr"))], np.zeros(atom.size), scalar)


def inputs(
    names: str | Sequence[str], lower: Numbers = 0.0, upper: Numbers = 1.0
) -> Expression | tuple[Expression, ...]:
    """The variables of a program, one expression each, and the intervals they lie in.

    Args:
      names: "x y z", or a list; their order is that of the coordinates of points.
      lower, upper: ends of the intervals, one for all or one each.

    Returns:
      The variables in order; one alone, not a tuple, if there is one name.

    Raises:
      InputError: without names, or if an interval is empty or infinite.
    """
    names = names.split() if isinstance(names, str) else list(names)
    vector = input_vector(names, lower, upper)
    return vector[0] if len(names) == 1 else tuple(vector)


def input_vector(names: int | Sequence[str], lower: Numbers = 0.0, upper: Numbers = 1.0) -> Expression:
    """As `inputs`, the variables as one vector; `names` may be their number."""
    names = list(names) if isinstance(names, Sequence) else [f"x{i}" for i in range(integer("names", names, 1))]
    if not names:
        raise InputError("a program needs at least one input. Pass names, such as inputs('x y').")
    lower, upper = (np.broadcast_to(np.asarray(end, dtype=float), (len(names),)).copy() for end in (lower, upper))
    if not (np.all(np.isfinite(lower) & np.isfinite(upper)) and np.all(lower <= upper)):
        raise InputError(
            f"inputs need finite intervals with lower ≤ upper; lower={lower}, upper={upper}. Pass such ends."
        )
    return of_atom(Input(names, lower, upper))


def stack(parts: Sequence[Expression | float]) -> Expression:
    """One vector of all entries of the parts, in order."""
    vectors = [as_expression(part) for part in parts]
    starts = np.cumsum([0, *(part.size for part in vectors)])
    total, blocks = starts[-1], dict[Atom, list[Any]]()
    for part, start in zip(vectors, starts, strict=False):
        for atom, matrix in part.terms:
            blocks.setdefault(atom, []).append((start, matrix))
    terms = []
    for atom, pieces in blocks.items():
        coo = [(matrix.tocoo(), start) for start, matrix in pieces]
        row = np.concatenate([m.row + start for m, start in coo])
        column, data = (np.concatenate([getattr(m, field) for m, _ in coo]) for field in ("col", "data"))
        terms.append((atom, sparse.csr_matrix((data, (row, column)), shape=(total, atom.size))))
    join: Callable[[str], np.ndarray] = lambda field: np.concatenate([getattr(part, field) for part in vectors])
    return Expression(terms, join("offset"), False, join("lower"), join("upper"), parents=vectors)


def atoms_of(*expressions: Expression) -> list[Atom]:
    """All atoms that the expressions rest on, each after those it needs."""
    order: dict[Atom, None] = {}

    def visit(atom: Atom) -> None:
        stack = [(atom, iter([a for x in atom.arguments for a, _ in x.terms]))]
        while stack:
            current, needed = stack[-1]
            for a in needed:
                if a not in order:
                    stack.append((a, iter([b for x in a.arguments for b, _ in x.terms])))
                    break
            else:
                order[current] = None
                stack.pop()

    for expression in expressions:
        for atom, _ in expression.terms:
            if atom not in order:
                visit(atom)
    return list(order)


def atom_values(x_BxD: np.ndarray, *expressions: Expression) -> dict[Atom, np.ndarray]:
    """(size, B) of every atom that the expressions rest on, in float64, at points (B, D)."""
    x_BxD = np.asarray(x_BxD, dtype=float)
    known: dict[Atom, np.ndarray] = {}
    for atom in atoms_of(*expressions):
        if isinstance(atom, Input):
            known[atom] = x_BxD.T
        else:
            known[atom] = atom.values([combined(x, known, len(x_BxD)) for x in atom.arguments])
    return known


def combined(x: Expression, known: dict[Atom, np.ndarray], points: int) -> np.ndarray:
    """(size, B) of an expression, from the values of its atoms at B points."""
    total = np.broadcast_to(x.offset[:, None], (x.size, points))
    for atom, matrix in x.terms:
        total = total + matrix @ known[atom]
    return total


def levels(*expressions: Expression) -> dict[Atom, int]:
    """The block that computes each atom: one more than the last of those it needs; inputs are there from the start."""
    level: dict[Atom, int] = {}
    for atom in atoms_of(*expressions):
        needed = [level[a] for x in atom.arguments for a, _ in x.terms]
        level[atom] = 0 if isinstance(atom, Input) else max(1 + max(needed, default=0), atom.earliest)
    return level


def depth(expression: Expression) -> int:
    """Blocks until every atom of the expression is known; combining them adds none by itself."""
    return max(levels(expression).values(), default=0)


def as_expression(value: Expression | Numbers) -> Expression:
    """An expression as it is; a number or a vector of numbers as a constant one. InputError for anything else."""
    if isinstance(value, Expression):
        return value
    constant = _numbers(value)
    if constant.ndim > 1:
        raise InputError(f"an array of shape {constant.shape} is not a number or vector. Pass one of its rows.")
    return Expression([], np.atleast_1d(constant), constant.ndim == 0)


def _numbers(value: Numbers) -> np.ndarray:
    """`value` as float64. InputError for what is no finite number."""
    try:
        numbers = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{value!r} is neither an expression nor numbers. Pass one; several expressions are joined by stack([…])."
        ) from error
    if not np.all(np.isfinite(numbers)):
        raise InputError(f"{value!r} is not a finite number or vector. Pass one.")
    return numbers


def _shown(value: Numbers) -> str:
    """A number as it is, a vector by its ends."""
    values = np.ravel(value)
    return f"{values[0]:.6g}" if len(values) == 1 else f"[{values[0]:.6g} … {values[-1]:.6g}]"


def _aligned(a: Expression | Numbers, b: Expression | Numbers) -> tuple[Expression, Expression]:
    """Both as expressions of one size; a single number is repeated."""
    a, b = as_expression(a), as_expression(b)
    if a.size != b.size:
        if a.scalar or a.size == 1:
            a = a._repeated(b.size)
        elif b.scalar or b.size == 1:
            b = b._repeated(a.size)
        else:
            raise InputError(f"vectors of {a.size} and {b.size} numbers do not combine. Make them the same length.")
    return a, b
