"""What is known of the residual stream while a program is laid out: an interval for each data row of each token."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from jaxscale.constructions.feedforward import Use

Place = tuple[np.ndarray, np.ndarray]  # token and row of each entry of a value


class Residual:
    """Intervals of the data rows, (rows, l) each; rows are opened as they are needed.

    `used` tells what holds a value, or the remains of one, even if that is known to be zero.
    """

    def __init__(self, tokens: int):
        self.lower, self.upper = np.zeros((1, tokens)), np.zeros((1, tokens))
        self.used = np.zeros((1, tokens), dtype=bool)

    @property
    def rows(self) -> int:
        return len(self.lower)

    def copy(self) -> Residual:
        twin = Residual(0)
        twin.lower, twin.upper, twin.used = self.lower.copy(), self.upper.copy(), self.used.copy()
        return twin

    def claim(self, token: np.ndarray, row: int) -> None:
        """Takes `row` of tokens for a value that comes later in the block."""
        self.used[row, token] = True

    def add(
        self, token: np.ndarray, row: np.ndarray | int, lower: np.ndarray | float, upper: np.ndarray | float
    ) -> None:
        """Adds values within [lower, upper] to `row` of tokens."""
        self.used[row, token] = True
        self.lower[row, token] += lower
        self.upper[row, token] += upper

    def clear(self, row: int) -> None:
        self.lower[row] = self.upper[row] = 0
        self.used[row] = False

    def apply(self, use: Use, values: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """What a network of the FFN adds to its target row.

        `values` are (token, lower, upper) of what is known to come out; other tokens get what their sources make of it.
        """
        sources = list(use.sources)
        lower, upper = (end - use.kind.at_zero for end in use.kind.interval(self.lower[sources], self.upper[sources]))
        touched = np.any(self.used[sources], axis=0)
        lower[~touched] = upper[~touched] = 0
        for token, known_lower, known_upper in values:
            lower[token], upper[token] = known_lower - use.kind.at_zero, known_upper - use.kind.at_zero
        self.lower[use.target] += lower
        self.upper[use.target] += upper
        self.used[use.target] |= touched

    def free_row(self, token: np.ndarray, first: int = 0) -> int:
        """A row that is empty at all these tokens: `first` if it is, else the lowest, else a new one."""
        row: int
        for row in (first, *range(self.rows)):
            if not self.used[row, token].any():
                return row
        return self.open_row()

    def accumulator(self, token: np.ndarray, target: int, alive: Iterable[Place], taken: Iterable[int]) -> int:
        """A row, not `taken`, for what the FFN reads, puts into `target` and clears.

        It must be empty at `token` and hold nothing that is alive; it may hold what is not needed any more, but the FFN
        runs on those tokens too, and must not hit a value that is alive in the target row.
        """
        alive = list(alive)
        barred = set(taken).union(*(np.unique(rows).tolist() for _, rows in alive))
        for row in range(self.rows):
            hit = any(self.used[row, tokens[rows == target]].any() for tokens, rows in alive)
            if row not in barred and not hit and not self.used[row, token].any():
                return row
        return self.open_row()

    def open_row(self) -> int:
        """One more row, empty; its number."""
        zeros = np.zeros((1, self.lower.shape[1]))
        self.lower, self.upper = np.vstack([self.lower, zeros]), np.vstack([self.upper, zeros])
        self.used = np.vstack([self.used, zeros.astype(bool)])
        return self.rows - 1
