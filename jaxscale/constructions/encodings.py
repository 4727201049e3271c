"""Interaction encodings: what a token carries so that a head can tell it from every other token.

    table = encoding.table(tokens=9)                 # (9, rows), what each token carries
    weight, offset = encoding.functional(9, at=4)    # <weight, table[t]> + offset: 0 at t = 4, at most -gap elsewhere

An encoding is any placement of tokens in convex position: a vertex has a linear functional that is largest there alone.
How far the others fall behind, the gap, decides how large the parameters of a head must be.

Rounding. The functional must be zero where it should: what rounding leaves of it is multiplied by the size of the
parameters. A sum of products is exact in any order when all its terms are multiples of one unit and the sum of their
absolute values is below 2^p units, p the bits of the format. Integers fulfil this up to 2^p; see `exact_bits`.
"""

import dataclasses
from typing import Protocol

import numpy as np

from jaxscale.errors import InputError


class Encoding(Protocol):
    """What a head needs to know of an encoding."""

    @property
    def name(self) -> str: ...

    @property
    def integer(self) -> bool:
        """Whether tables and functionals are integers."""

    def rows(self, tokens: int) -> int:
        """How many rows the encoding takes."""

    def table(self, tokens: int) -> np.ndarray:
        """(tokens, rows) float64."""

    def functional(self, tokens: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (m, rows) and offsets (m,): zero at token `at[i]`, at most -gap at each other one."""

    def gap(self, tokens: int) -> float:
        """The least gap over all pairs of tokens, positive."""


@dataclasses.dataclass(frozen=True)
class Circle:
    """Points on an arc of the unit circle: the paper's quarter, or the whole (Havrilla & Liao 2024, section 2).

    The gap is 1 - cos of the spacing, about spacing²/2: a linear functional is flat at its maximum on a circle. So
    parameters grow as the square of the number of tokens: π²/8l² is the gap of a quarter circle.

    Coordinates are rounded to 26 bits while that keeps half the gap: products then have 52 bits, and functionals are
    evaluated without rounding in float64. Beyond about 3 000 tokens on a quarter circle neighbors come closer than
    that, coordinates keep all their bits, and functionals are off by some units in the last place.
    """

    turn: float = 0.25

    @property
    def name(self) -> str:
        return {0.25: "quarter_circle", 1.0: "full_circle"}.get(self.turn, f"circle({self.turn:g})")

    integer = False

    def rows(self, tokens: int) -> int:
        return 2

    def table(self, tokens: int) -> np.ndarray:
        points = self._points(tokens)
        rounded = np.round(points * 2.0**26) * 2.0**-26
        ideal = 1 - np.cos(self._spacing(tokens))
        # Rounding moves a functional by 2^-24 at most; only the nearest tokens can be that close.
        return rounded if ideal > 2 * 2.0**-24 else points

    def functional(self, tokens: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weight = self.table(tokens)[at]
        return weight, -np.sum(weight**2, axis=-1)

    def gap(self, tokens: int) -> float:
        if tokens == 1:
            return 1.0
        ideal = 1 - np.cos(self._spacing(tokens))
        return float(ideal - 2.0**-24) if ideal > 2 * 2.0**-24 else float(ideal)

    def _points(self, tokens: int) -> np.ndarray:
        angle = self._spacing(tokens) * np.arange(1, tokens + 1)
        return np.stack([np.cos(angle), np.sin(angle)], axis=-1)

    def _spacing(self, tokens: int) -> float:
        return 2 * np.pi * self.turn / tokens


@dataclasses.dataclass(frozen=True)
class Parabola:
    """(t, t²) of the integers t about zero: two rows like the circle, a gap of one, and exact up to 2^p.

    The functional is -(t - t1)². Its weights grow as l²/4: past float32's 2^24 from l = 8 192 on, float64's from 10^8.
    """

    name = "parabola"
    integer = True

    def rows(self, tokens: int) -> int:
        return 2

    def table(self, tokens: int) -> np.ndarray:
        t = self._centered(tokens, np.arange(tokens))
        return np.stack([t, t**2], axis=-1)

    def functional(self, tokens: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        t = self._centered(tokens, at)
        return np.stack([2 * t, -np.ones_like(t)], axis=-1), -(t**2)

    def gap(self, tokens: int) -> float:
        return 1.0

    def _centered(self, tokens: int, t: np.ndarray) -> np.ndarray:
        return np.asarray(t, dtype=float) - tokens // 2


@dataclasses.dataclass(frozen=True)
class Binary:
    """The bits of t as ±1: ⌈log2 l⌉ rows, a gap of two, parameters of log2 l, and exact in every format."""

    name = "binary"
    integer = True

    def rows(self, tokens: int) -> int:
        return max(1, (tokens - 1).bit_length())

    def table(self, tokens: int) -> np.ndarray:
        return self._signs(tokens, np.arange(tokens))

    def functional(self, tokens: int, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.asarray(at)
        return self._signs(tokens, at), np.full(at.shape, -float(self.rows(tokens)))

    def gap(self, tokens: int) -> float:
        return 2.0

    def _signs(self, tokens: int, t: np.ndarray) -> np.ndarray:
        return 2.0 * ((np.asarray(t)[..., None] >> np.arange(self.rows(tokens))) & 1) - 1


ENCODINGS: dict[str, Encoding] = {
    encoding.name: encoding for encoding in (Circle(0.25), Circle(1.0), Parabola(), Binary())
}


def named(encoding: str | Encoding) -> Encoding:
    """The encoding of that name, or `encoding` itself; InputError if there is none."""
    if not isinstance(encoding, str):
        return encoding
    if encoding not in ENCODINGS:
        raise InputError(f"encoding={encoding!r} is not one of {', '.join(ENCODINGS)}. Pass one of these.")
    return ENCODINGS[encoding]


def unit(x: np.ndarray) -> np.ndarray:
    """The power of two of the lowest bit set in each entry; infinite for zero, which is a multiple of everything.

    A sum of terms is exact in any order, in a format of p bits, if Σ|terms| ≤ 2^p min(unit(terms)).
    """
    x = np.asarray(x, dtype=float)
    mantissa, exponent = np.frexp(x)
    integer = np.abs(mantissa * 2.0**53).astype(np.int64)
    lowest = (integer & -integer).astype(float)
    return np.where(x == 0, np.inf, np.ldexp(lowest, exponent - 53))
