"""Every task in a few lines of plain Python: what the oracles on device must agree with, and what to read first."""

import collections
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass


def simple(x: Sequence[int], omega: float) -> float:
    """sin(ω (c_0 - c_1) / (c_0 + c_1))."""
    zeros, ones = x.count(0), x.count(1)
    return math.sin(omega * (zeros - ones) / (zeros + ones)) if zeros + ones else 0.0


def mod_p(x: Sequence[int], period: int, residue: int) -> float | None:
    """The mean of x at positions t = k mod p, t from 1; None where there are none."""
    there = [token for t, token in enumerate(x, start=1) if t % period == residue]
    return sum(there) / len(there) if there else None


def k_gram(x: Sequence[int], order: int, symbols: int) -> list[float] | None:
    """How often each symbol followed the last k tokens before; None where they never stood before."""
    followers = [x[t] for t in range(order, len(x)) if x[t - order : t] == x[len(x) - order :]]
    return [followers.count(s) / len(followers) for s in range(symbols)] if followers else None


def most_frequent(x: Sequence[int]) -> list[int]:
    (first, count), *others = collections.Counter(x).most_common()
    assert all(other < count for _, other in others), "a tie"
    return [first]


def interleaved_majority(x: Sequence[int]) -> list[int]:
    return [most_frequent(x[strand::3])[0] for strand in range(3)]


def addition(x: Sequence[int]) -> list[int]:
    """Binary digits around a 2, most significant first, to the digits of their sum."""
    plus = x.index(2)
    number: Callable[[Sequence[int]], int] = lambda digits: int("".join(map(str, digits)), 2)
    return [int(digit) for digit in f"{number(x[:plus]) + number(x[plus + 1 :]):b}"]


ALGORITHMIC: dict[str, Callable[[Sequence[int]], list[int]]] = {
    "bin_majority": most_frequent,
    "majority": most_frequent,
    "interleaved_majority": interleaved_majority,
    "sort": sorted,
    "unique_copy": list,
    "repeat_copy": list,
    "parity": lambda x: [sum(x) % 2],
    "addition": addition,
}
