"""Regular and counter languages of Huang et al. 2025 and Bhattamishra et al. 2020: strings, and what may come next.

    language = LANGUAGES["tomita_4"]                   # no 000
    tokens_T = language.sample(key, length=20, size=50)
    language.next_symbols(tokens_T)                    # (51, S + 1): after each prefix, every symbol and the end

The task is to name, after each prefix of a string of the language, the symbols with which some string of the language
goes on; the last column says whether the prefix is itself a string of it. Strings are drawn by a walk that takes every
symbol from which the string can still end in time with the same probability.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.errors import InputError
from jaxscale.lengths.strings import Length, pad


@dataclasses.dataclass(frozen=True)
class RegularLanguage:
    """The language of a deterministic automaton that starts in state 0.

    Attributes:
      symbols: one letter each.
      moves: next state by state and symbol.
      accepting: the states in which a string may end.
      pattern: the same language as a regular expression of Python, where there is a short one.
    """

    symbols: str
    moves: tuple[tuple[int, ...], ...]
    accepting: frozenset[int]
    pattern: str | None = None

    def sample(self, key: jax.Array, length: Length, size: int) -> jax.Array:
        """(size,) int32 tokens of a string of `length` <= `size`, PAD from there on.

        What is drawn for a length that `has_length` denies is no string of the language.
        """
        can_end = jnp.asarray(self._can_end(size))
        moves = jnp.asarray(self.moves)

        def step(state: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            place, key = inputs
            rest = jnp.maximum(length - place - 1, 0)
            symbol = jax.random.categorical(key, jnp.where(can_end[rest, moves[state]], 0.0, -jnp.inf))
            return moves[state, symbol], symbol.astype(jnp.int32)

        return pad(jax.lax.scan(step, jnp.asarray(0), (jnp.arange(size), jax.random.split(key, size)))[1], length)

    def next_symbols(self, tokens_T: jax.Array) -> jax.Array:
        """(T + 1, S + 1) bool: after each prefix, the symbols some string goes on with, and whether it may end."""
        moves, live = jnp.asarray(self.moves), jnp.asarray(self._live())
        ends = jnp.asarray([state in self.accepting for state in range(len(self.moves))])
        step = lambda state, token: (moves[state, token], moves[state, token])
        states = jnp.append(0, jax.lax.scan(step, jnp.int32(0), tokens_T)[1])
        return jnp.concatenate([live[moves[states]], ends[states, None]], axis=1)

    def has_length(self, length: int) -> bool:
        """Whether the language has strings of `length`, a Python integer."""
        return bool(self._can_end(length)[length, 0])

    def _can_end(self, steps: int) -> np.ndarray:
        """By steps left and state, whether an accepting state can be reached; (steps + 1, Q)."""
        return _can_end(self.moves, self.accepting, steps)

    def _live(self) -> np.ndarray:
        return np.any(self._can_end(len(self.moves)), axis=0)


@functools.lru_cache(maxsize=256)
def _can_end(moves: tuple[tuple[int, ...], ...], accepting: frozenset[int], steps: int) -> np.ndarray:
    rows = [np.array([state in accepting for state in range(len(moves))])]
    for _ in range(steps):
        rows.append(np.any(rows[-1][np.asarray(moves)], axis=1))
    return np.stack(rows)


@dataclasses.dataclass(frozen=True)
class Shuffle:
    """`pairs` kinds of brackets, each balanced by itself whatever the others do; Dyck-1 where there is one.

    Symbols: open 0, close 0, open 1, close 1, …
    """

    pairs: int

    @property
    def symbols(self) -> str:
        return "()[]{}<>abcdefgh"[: 2 * self.pairs]

    def sample(self, key: jax.Array, length: Length, size: int) -> jax.Array:
        """(size,) int32 tokens of a string of `length` <= `size`, PAD from there on; odd lengths have none."""

        def step(depth_P: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            place, key = inputs
            rest = length - place
            can_open_P = jnp.full(self.pairs, jnp.sum(depth_P) + 2 <= rest)
            allowed = jnp.stack([can_open_P, depth_P > 0], axis=1).reshape(-1)
            symbol = jax.random.categorical(key, jnp.where(allowed, 0.0, -jnp.inf))
            return depth_P.at[symbol // 2].add(1 - 2 * (symbol % 2)), symbol.astype(jnp.int32)

        start = jnp.zeros(self.pairs, jnp.int32)
        return pad(jax.lax.scan(step, start, (jnp.arange(size), jax.random.split(key, size)))[1], length)

    def next_symbols(self, tokens_T: jax.Array) -> jax.Array:
        """As for `RegularLanguage`."""
        change_TxP = jax.nn.one_hot(tokens_T // 2, self.pairs, dtype=jnp.int32) * (1 - 2 * (tokens_T % 2))[:, None]
        depth_TxP = jnp.pad(jnp.cumsum(change_TxP, axis=0), ((1, 0), (0, 0)))
        symbols = jnp.stack([jnp.ones_like(depth_TxP, bool), depth_TxP > 0], axis=2).reshape(len(depth_TxP), -1)
        return jnp.concatenate([symbols, jnp.all(depth_TxP == 0, axis=1, keepdims=True)], axis=1)

    def has_length(self, length: int) -> bool:
        return length % 2 == 0


@dataclasses.dataclass(frozen=True)
class EqualBlocks:
    """aⁿ bⁿ, aⁿ bⁿ cⁿ, … with `letters` letters, n >= 1."""

    letters: int

    @property
    def symbols(self) -> str:
        return "abcdefgh"[: self.letters]

    def sample(self, key: jax.Array, length: Length, size: int) -> jax.Array:
        """(size,) int32 tokens of the one string of `length` <= `size`, PAD from there on."""
        return pad(jnp.minimum(jnp.arange(size) * self.letters // length, self.letters - 1).astype(jnp.int32), length)

    def next_symbols(self, tokens_T: jax.Array) -> jax.Array:
        """As for `RegularLanguage`."""
        counts_TxS = jnp.pad(jnp.cumsum(jax.nn.one_hot(tokens_T, self.letters, dtype=jnp.int32), 0), ((1, 0), (0, 0)))
        n_T = counts_TxS[:, :1]
        previous_TxS = jnp.concatenate([counts_TxS[:, :1], counts_TxS[:, :-1]], axis=1)
        # A letter may follow if all before it are complete, it is not, and none after it has begun.
        begun_TxS = jnp.cumsum(counts_TxS[:, ::-1], axis=1)[:, ::-1] - counts_TxS
        whole_TxS = (previous_TxS == n_T) & (counts_TxS < n_T) & (begun_TxS == 0)
        more_T = jnp.all(counts_TxS[:, 1:] == 0, axis=1, keepdims=True)
        ended_T = (n_T > 0) & jnp.all(counts_TxS == n_T, axis=1, keepdims=True)
        return jnp.concatenate([more_T, whole_TxS[:, 1:], ended_T], axis=1)

    def has_length(self, length: int) -> bool:
        return length > 0 and length % self.letters == 0


Language = RegularLanguage | Shuffle | EqualBlocks


def check_length(language: Language, length: int) -> None:
    """Raises InputError if `language` has no string of `length`."""
    if not language.has_length(length):
        raise InputError(f"length={length}: the language has no such string. Choose a length it has.")


def _modular(period: int, letters: str, counted: int) -> RegularLanguage:
    """Strings in which the letter at index `counted` occurs a multiple of `period` times."""
    moves = tuple(tuple((q + (s == counted)) % period for s in range(len(letters))) for q in range(period))
    others = _any_of(letters.replace(letters[counted], ""))
    once = f"{others}*{letters[counted]}" if others else letters[counted]
    return RegularLanguage(
        letters, moves, frozenset({0}), f"(?:(?:{once}){{{period}}})*" + (f"{others}*" if others else "")
    )


def _any_of(letters: str) -> str:
    return f"[{letters}]" if letters else ""


def _chain(letters: str) -> RegularLanguage:
    """aa*bb*cc*…"""
    dead = len(letters) + 1
    moves = [[1 if s == 0 else dead for s in range(len(letters))]]
    for q in range(1, len(letters) + 1):
        moves.append([q if s == q - 1 else q + 1 if s == q else dead for s in range(len(letters))])
    moves.append([dead] * len(letters))
    return RegularLanguage(
        letters, tuple(map(tuple, moves)), frozenset({len(letters)}), "".join(f"{a}{a}*" for a in letters)
    )


def _nested(depth: int) -> RegularLanguage:
    """D_n: (a D_(n-1) b)*, brackets at most `depth` deep."""
    dead = depth + 1
    moves = [(min(q + 1, dead), q - 1 if q else dead) for q in range(depth + 1)]
    pattern = functools.reduce(lambda inner, _: f"(?:a{inner}b)*", range(depth), "")
    return RegularLanguage("ab", (*moves, (dead, dead)), frozenset({0}), pattern)


def _of(letters: str, moves: Iterable[Sequence[int]], accepting: Iterable[int], pattern: str) -> RegularLanguage:
    return RegularLanguage(letters, tuple(map(tuple, moves)), frozenset(accepting), pattern)


LANGUAGES: dict[str, Language] = {
    "tomita_1": _of("01", [(1, 0), (1, 1)], {0}, "1*"),
    "tomita_2": _of("01", [(2, 1), (0, 2), (2, 2)], {0}, "(?:10)*"),
    # An odd run of ones is never followed by an odd run of zeros.
    "tomita_3": _of(
        "01", [(0, 1), (2, 0), (3, 4), (2, 1), (4, 4)], {0, 1, 3}, "0*(?:(?:11)+0+|1(?:11)*(?:00)+(?!0))*1*"
    ),
    "tomita_4": _of("01", [(1, 0), (2, 0), (3, 0), (3, 3)], {0, 1, 2}, "(?:1|01|001)*0?0?"),
    "tomita_5": _of("01", [(1, 2), (0, 3), (3, 0), (2, 1)], {0}, "(?:00|11|(?:01|10)(?:00|11)*(?:01|10))*"),
    "tomita_6": _of("01", [(2, 1), (0, 2), (1, 0)], {0}, "(?:10|(?:0|11)(?:01)*(?:1|00))*"),
    "tomita_7": _of("01", [(0, 1), (2, 1), (2, 3), (4, 3), (4, 4)], {0, 1, 2, 3}, "0*1*0*1*"),
    "parity": _modular(2, "01", 1),
    "(aa)*": _modular(2, "a", 0),
    "(aaaa)*": _modular(4, "a", 0),
    "(abab)*": _of("ab", [(1, 4), (4, 2), (3, 4), (4, 0), (4, 4)], {0}, "(?:abab)*"),
    "aa*bb*cc*dd*ee*": _chain("abcde"),
    "{a,b}*d{b,c}*": _of("abcd", [(0, 0, 2, 1), (2, 1, 1, 2), (2, 2, 2, 2)], {1}, "[ab]*d[bc]*"),
    "{0,1,2}*02*": _of("012", [(1, 0, 0), (1, 0, 1)], {1}, "[012]*02*"),
    "D_2": _nested(2),
    "D_3": _nested(3),
    "D_4": _nested(4),
    "D_12": _nested(12),
    "dyck_1": Shuffle(1),
    "shuffle_2": Shuffle(2),
    "shuffle_4": Shuffle(4),
    "a^n b^n": EqualBlocks(2),
    "a^n b^n c^n": EqualBlocks(3),
    "a^n b^n c^n d^n": EqualBlocks(4),
}
