"""Sites and addresses of the structured back end: tokens know where they are and where to look.

A site is a run of tokens, one for each entry of vectors of one length; site 0 is a single token, which holds the inputs
and all single numbers as rows. A token carries the bits of its address as ±1, and as pointers the bits of the tokens it
looks at; all other tokens hold 0 there. A head compares bits by

    -C Σ_b [ (1 + p_b)/2 · (1 - a_b)/2 + (1 - p_b)/2 · (1 + a_b)/2 ]

of which every term is zero if pointer p and address a agree, so that nothing cancels and nothing is rounded. Bits that
differ cost C, a missing pointer or address C/2 for each bit: half of C is the gap.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

GAP = 0.5
Entries = tuple[tuple[int, float], ...]  # places, and the coefficients there


@dataclasses.dataclass(frozen=True)
class Functional:
    """A linear functional of a token: coefficients of data rows, of table columns and of the constant one."""

    rows: Entries = ()
    columns: Entries = ()
    constant: float = 0.0

    def __neg__(self) -> "Functional":
        negative: Callable[[Entries], Entries] = lambda pairs: tuple((place, -c) for place, c in pairs)
        return Functional(negative(self.rows), negative(self.columns), -self.constant)

    def kernel(self, width: int, column_rows: np.ndarray) -> np.ndarray:
        """(E,) with table column i in row `column_rows[i]` and the constant in the last."""
        out = np.zeros(width)
        for row, c in self.rows:
            out[row] += c
        for column, c in self.columns:
            out[column_rows[column]] += c
        out[-1] += self.constant
        return out

    def interval(self, lower: np.ndarray, upper: np.ndarray, table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(l,) ends over each token, data rows in (rows, l) intervals."""
        fixed = self.constant + sum((c * table[:, column] for column, c in self.columns), np.zeros(len(table)))
        ends = [(c * lower[row], c * upper[row]) for row, c in self.rows]
        least = sum((np.minimum(a, b) for a, b in ends), fixed)
        return least, sum((np.maximum(a, b) for a, b in ends), fixed)


ONE = Functional(constant=1.0)


class AddressTable:
    """Columns that tokens carry; sites of l tokens in all."""

    def __init__(self, sizes: list[int]):
        self.start: dict[int, int] = {}
        self.tokens = 0
        for size in (1, *sorted(set(sizes) - {1})):
            self.start[size] = self.tokens
            self.tokens += size
        self._columns: list[np.ndarray] = []
        self._pointers: dict[tuple[int, int, bytes], list[int]] = {}
        self._fixed: list[int] = []
        self._learned: list[int] = []

    def site(self, size: int) -> np.ndarray:
        """The tokens of the site of vectors of that length."""
        return np.arange(self.start[size], self.start[size] + size)

    def address(self, size: int) -> list[int]:
        """Columns with the address of each token of a site."""
        return self.pointer(size, size, np.arange(size))

    def pointer(self, size: int, other: int, index: np.ndarray) -> list[int]:
        """Columns in which token i of a site holds the address index[i] of another; -1 looks at nothing.

        A site that points to itself entry by entry does so by its addresses.
        """
        key = (size, other, index.tobytes())
        if key not in self._pointers:
            bits = max(1, (other - 1).bit_length())
            signs = np.where(index[:, None] < 0, 0, 2.0 * ((index[:, None] >> np.arange(bits)) & 1) - 1)
            if other == 1:
                signs = np.where(index[:, None] < 0, 0.0, 1.0)
            self._pointers[key] = [self._column(size, column) for column in signs.T]
        return self._pointers[key]

    def coefficient(self, size: int, values: np.ndarray, learned: bool = False) -> int:
        """A column with a number for each token of a site, shared with other sites where it is free."""
        columns = self._learned if learned else self._fixed
        for column in columns:
            if not np.any(self._columns[column][self.site(size)]):
                self._columns[column][self.site(size)] = values
                return column
        columns.append(self._column(size, values))
        return columns[-1]

    def values(self) -> np.ndarray:
        """(l, columns) in the order in which they were asked for."""
        return np.stack(self._columns, axis=1)

    def ordered(self) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """Columns as tokens carry them, learned ones last and zero; these by themselves; and where each column went."""
        values, learned = self.values(), self._learned
        fixed = [c for c in range(values.shape[1]) if c not in learned]
        place = np.argsort([*fixed, *learned])
        carried = np.concatenate([values[:, fixed], np.zeros((self.tokens, len(learned)))], axis=1)
        return carried, values[:, learned] if learned else None, place

    def _column(self, size: int, values: np.ndarray | float) -> int:
        column = np.zeros(self.tokens)
        column[self.site(size)] = values
        self._columns.append(column)
        return len(self._columns) - 1


def comparison(pointers: list[int], addresses: list[int], scale: float) -> list[tuple[Functional, Functional]]:
    """Rows of Q and K that keep a score where pointer and address agree, and take scale/2 and more elsewhere."""
    half: Callable[[int, float, float], Functional] = lambda column, sign, factor: Functional(
        columns=((column, sign * factor / 2),), constant=factor / 2
    )
    rows = []
    for pointer, address in zip(pointers, addresses, strict=True):
        for sign in (1.0, -1.0):
            rows.append((half(pointer, sign, scale), half(address, -sign, -1.0)))
    return rows
