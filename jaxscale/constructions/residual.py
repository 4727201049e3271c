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
        self.low, self.high = np.zeros((1, tokens)), np.zeros((1, tokens))
        self.used = np.zeros((1, tokens), dtype=bool)

    @property
    def rows(self) -> int:
        return len(self.low)

    def copy(self) -> Residual:
        twin = Residual(0)
        twin.low, twin.high, twin.used = self.low.copy(), self.high.copy(), self.used.copy()
        return twin

    def claim(self, token: np.ndarray, row: int) -> None:
        """Takes `row` of tokens for a value that comes later in the block."""
        self.used[row, token] = True

    def add(self, token: np.ndarray, row: np.ndarray | int, low: np.ndarray | float, high: np.ndarray | float) -> None:
        """Adds values within [low, high] to `row` of tokens."""
        self.used[row, token] = True
        self.low[row, token] += low
        self.high[row, token] += high

    def clear(self, row: int) -> None:
        self.low[row] = self.high[row] = 0
        self.used[row] = False

    def apply(self, use: Use, values: Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> None:
        """What a network of the FFN adds to its target row.

        `values` are (token, low, high) of what is known to come out; other tokens get what their sources make of it.
        """
        sources = list(use.sources)
        low, high = (end - use.kind.at_zero for end in use.kind.interval(self.low[sources], self.high[sources]))
        touched = np.any(self.used[sources], axis=0)
        low[~touched] = high[~touched] = 0
        for token, known_low, known_high in values:
            low[token], high[token] = known_low - use.kind.at_zero, known_high - use.kind.at_zero
        self.low[use.target] += low
        self.high[use.target] += high
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
        zeros = np.zeros((1, self.low.shape[1]))
        self.low, self.high = np.vstack([self.low, zeros]), np.vstack([self.high, zeros])
        self.used = np.vstack([self.used, zeros.astype(bool)])
        return self.rows - 1
