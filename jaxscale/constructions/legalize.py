"""Programs in the form that a back end can write down: factors of products are where a head can multiply them.

Pairwise: a head adds relu(<Q h_t, K h_k>) to token t, so the product of two tokens appears at one of the two. Each
product's left factor gets tokens that no other product needs: an atom whose entries are used twice is computed twice.
Factors that combine several atoms are first summed into a token of their own, inner products become sums of products.

Structured: the factors of a product of vectors are brought to the tokens of one site, unless they are there.
"""

import abc

import numpy as np
from scipy import sparse

from jaxscale.constructions.atoms import Atom, Dot, Input, Linear, NetworkAtom, Product
from jaxscale.constructions.expressions import Expression, levels, of_atom


class Legalizer(abc.ABC):
    """One pass over a program; `expression` returns the form to compile, `_legal` what becomes of one atom."""

    def __init__(self) -> None:
        self._made: dict[Atom, Expression] = {}

    def expression(self, x: Expression) -> Expression:
        """The same combination of legal atoms."""
        terms: dict[Atom, sparse.csr_matrix] = {}
        offset = x.offset
        for atom, matrix in x.terms:
            if atom not in self._made:
                self._made[atom] = self._legal(atom)
            made = self._made[atom]
            for a, m in made.terms:
                terms[a] = terms[a] + matrix @ m if a in terms else (matrix @ m).tocsr()
            offset = offset + matrix @ made.offset
        return Expression(terms.items(), offset, x.scalar, x.lower, x.upper, x.active)

    def _legal(self, atom: Atom) -> Expression:
        if isinstance(atom, Input):
            return of_atom(atom)
        if isinstance(atom, NetworkAtom):
            return of_atom(NetworkAtom(atom.kind, [self.expression(x) for x in atom.operands], atom.name))
        if isinstance(atom, Dot):
            return self._dot(atom)
        if isinstance(atom, Product):
            return of_atom(self._product(atom))
        assert isinstance(atom, Linear)
        return of_atom(Linear(self.expression(atom.argument), atom.name))

    def _dot(self, atom: Dot) -> Expression:
        return of_atom(self._product(Product(atom.left, atom.right, atom.name))).sum()

    @abc.abstractmethod
    def _product(self, atom: Product) -> Product:
        """The product of factors that the back end can multiply."""


class Pairwise(Legalizer):
    """Every product at a token of its left factor that no other product needs."""

    def __init__(self) -> None:
        super().__init__()
        self._claimed: dict[Atom, np.ndarray] = {}

    def _product(self, atom: Product) -> Product:
        left = self._single(self.expression(atom.left))
        if atom.left.same_as(atom.right):
            own = self._own(left)
            return Product(own, own, atom.name)
        right = self._single(self.expression(atom.right))
        if not self._free(left) and (self._free(right) or _has_input(left)):
            left, right = right, left
        return Product(self._own(left), right, atom.name)

    def _single(self, x: Expression) -> Expression:
        """`x` itself if each entry refers to one number of one atom, else a token for each entry."""
        counts = sum((np.diff(matrix.indptr) for _, matrix in x.terms), np.zeros(x.size, dtype=int))
        return x if np.all(counts == 1) else of_atom(Linear(x), x.scalar)

    def _free(self, x: Expression) -> bool:
        """Whether no product has claimed what `x` refers to, and no two of its entries refer to the same."""
        for atom, matrix in x.terms:
            used = matrix.indices
            claimed = self._claimed.get(atom)
            if len(np.unique(used)) < len(used) or (claimed is not None and np.any(claimed[used])):
                return False
        return True

    def _own(self, x: Expression) -> Expression:
        """`x` with its atoms claimed, or computed anew where they are taken; inputs cannot be, and take more rows."""
        terms = []
        for atom, matrix in x.terms:
            if not isinstance(atom, Input) and not self._free(Expression([(atom, matrix)], np.zeros(x.size))):
                coo = matrix.tocoo()
                atom = self._anew(atom, coo.col)
                matrix = sparse.csr_matrix((coo.data, (coo.row, np.arange(coo.nnz))), shape=(x.size, coo.nnz))
            claimed = self._claimed.setdefault(atom, np.zeros(atom.size, dtype=bool))
            claimed[matrix.indices] = True
            terms.append((atom, matrix))
        return Expression(terms, x.offset, x.scalar, x.lower, x.upper)

    def _anew(self, atom: Atom, index: np.ndarray) -> Atom:
        if not isinstance(atom, Product):
            # Together with the original: earlier it would take a row while nothing needs it.
            copy = atom.take(index)
            copy.earliest = levels(of_atom(atom))[atom]
            return copy
        left, right = atom.left[index], atom.right[index]
        own = self._own(left)
        return Product(own, own if atom.left.same_as(atom.right) else right, atom.name)


def _has_input(x: Expression) -> bool:
    return any(isinstance(atom, Input) for atom, _ in x.terms)


class Structured(Legalizer):
    """Factors that a token of their site knows, up to one affine map for all of them."""

    def _dot(self, atom: Dot) -> Expression:
        left, right = self.expression(atom.left), self.expression(atom.right)
        if _on_first_token(left) and _on_first_token(right):
            return of_atom(Dot(left, right, atom.name))
        return super()._dot(atom)

    def _product(self, atom: Product) -> Product:
        left = self._local(self.expression(atom.left))
        if atom.left.same_as(atom.right):
            return Product(left, left, atom.name)
        return Product(left, self._local(self.expression(atom.right)), atom.name)

    def _local(self, x: Expression) -> Expression:
        known = _on_first_token(x) if x.size == 1 else _uniform(x)
        return x if known else of_atom(Linear(x), x.scalar)


def _on_first_token(x: Expression) -> bool:
    """Whether all that `x` combines are inputs and single numbers, which are rows of one token."""
    return all(isinstance(atom, Input) or atom.size == 1 for atom, _ in x.terms)


def _uniform(x: Expression) -> bool:
    """Whether entry i combines entries i of vectors on the same site alone, all of them alike."""
    alike = bool(np.all(x.offset == x.offset[0]))
    for atom, matrix in x.terms:
        own = not isinstance(atom, Input) and atom.size == x.size and matrix.nnz == x.size
        alike &= own and np.array_equal(matrix.indices, np.arange(x.size)) and bool(np.ptp(matrix.data) == 0)
    return alike
