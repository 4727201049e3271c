"""The in-context k-gram of Izzo, Nichani & Lee 2026: what followed the last k tokens where they stood before.

task = KGramTask(order=2, symbols=3, alphabet=3, longest_order=2)
tokens_T = task.sample(length, size=64, key=key)
task.target(tokens_T, length)                      # Target(value=(3,), valid=whether the context stood before)
task.sample_limit(locality=2, key=key)             # an infinite string of the same law, as a limit transformer sees it
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.lengths import strings
from jaxscale.lengths.strings import Length, Tokens
from jaxscale.lengths.tasks import Target, check_alphabet
from jaxscale.lengths.transformer import StringLaw

# Steps after which a chain with positive random rows has forgotten where it began.
MIXING = 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class InfiniteString:
    """A string at its limit of length.

    Attributes:
      law: what it looks like far from its beginning, windows of τ+1 tokens.
      recent: (2τ+1,) int32, its last tokens, the very last first.
      value: (S,) float32, the target.
    """

    law: StringLaw
    recent: jax.Array
    value: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["order", "symbols"], meta_fields=["alphabet", "longest_order"]
)
@dataclasses.dataclass(frozen=True)
class KGramTask:
    """f*(x) = Σ_t 1[x_(t-k..t-1) = x_(T-k+1..T)] e_(x_t) / Σ_t of the same indicators, t from k+1 to T.

    Law: a fresh Markov chain of order k for each string, its rows uniform on the simplex, its first k tokens uniform.
    Strings whose last k tokens never stood before have no target: they are drawn, and said not to be valid.

    Attributes:
      order: k, at least 1.
      symbols: S, at least 2.
      alphabet: room for symbols, at least S.
      longest_order: room for the order, at least k.
    """

    order: int | jax.Array = 1
    symbols: int | jax.Array = 3
    alphabet: int = 3
    longest_order: int = 1

    period = 1

    def __post_init__(self) -> None:
        if isinstance(self.symbols, (int, np.integer)):
            check_alphabet(self.symbols)
            if self.symbols > self.alphabet:
                raise InputError(f"symbols={self.symbols} exceed alphabet={self.alphabet}. Make room for them.")
        if isinstance(self.order, (int, np.integer)) and not 1 <= self.order <= self.longest_order:
            raise InputError(f"order={self.order} must lie in 1..{self.longest_order}=longest_order.")

    @property
    def outputs(self) -> int:
        return self.alphabet

    @property
    def shortest(self) -> int | jax.Array:
        """k + 1: below that no token has the context before it."""
        return self.order + 1

    def sample(self, length: Length, size: int, *, key: jax.Array | int) -> jax.Array:
        """(size,) int32 tokens, PAD from `length` on.

        Args:
          length: tokens of the string; may be traced.
          size: room for them; static.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        key_chain, key_tokens = jax.random.split(random_key("key", key))
        return strings.pad(self.run(self.chain(key=key_chain), size, key=key_tokens), length)

    def target(self, tokens_T: Tokens, length: Length) -> Target:
        """`Target` of a string."""
        code_T, next_code_T = self._codes(tokens_T)
        position_T = jnp.arange(1, len(tokens_T) + 1)
        # `code` is what stood before a token, `next_code` what ends at it.
        match_T = (code_T == next_code_T[length - 1]) & (position_T > self.order) & (position_T <= length)
        return self._mean(match_T, tokens_T)

    def prefix_targets(self, tokens_T: Tokens) -> Target:
        """`Target` of every prefix of the string: value (T, S), valid (T,)."""
        code_T, next_code_T = self._codes(tokens_T)
        position_T = jnp.arange(1, len(tokens_T) + 1)
        match_TxT = (code_T == next_code_T[:, None]) & (position_T > self.order) & (position_T <= position_T[:, None])
        return jax.vmap(lambda match_T: self._mean(match_T, tokens_T))(match_TxT)

    def sample_limit(self, locality: int, *, key: jax.Array | int) -> InfiniteString:
        """An `InfiniteString` of this law.

        Args:
          locality: τ of the transformers that see it, at least `longest_order`.
          key: a JAX random key, or an int for `jax.random.key`.

        Raises:
          InputError: for a lesser τ.
        """
        if locality < self.longest_order:
            raise InputError(f"locality={locality} must be at least longest_order={self.longest_order}.")
        key_chain, key_tokens = jax.random.split(random_key("key", key))
        rows_CxS = self.chain(key=key_chain)
        recent = self.run(rows_CxS, MIXING + 2 * locality + 1, key=key_tokens)[: -(2 * locality + 2) : -1]
        window, symbols = locality + 1, self.alphabet
        windows_MxW = jnp.stack(jnp.meshgrid(*[jnp.arange(symbols)] * window, indexing="ij"), -1).reshape(-1, window)
        next_MxS = rows_CxS[jax.vmap(self._context)(windows_MxW)]

        def step(_: jax.Array, share_M: jax.Array) -> jax.Array:
            # The oldest token of a window, the last digit of its number, is forgotten; a new one becomes the first.
            moved = jnp.sum((share_M[:, None] * next_MxS).reshape(-1, symbols, symbols), axis=1)
            return moved.T.reshape(-1)

        share_M = jax.lax.fori_loop(0, MIXING, step, jnp.full(len(windows_MxW), symbols ** -float(window)))
        # Chains over fewer symbols than there is room for lose the mass of the others at the first steps.
        law = StringLaw(windows_MxW, jnp.zeros(len(windows_MxW), jnp.int32), share_M / jnp.sum(share_M))
        return InfiniteString(law, recent, rows_CxS[self._context(recent)])

    def chain(self, *, key: jax.Array | int) -> jax.Array:
        """Next-token laws by context, (A^K, A).

        Args:
          key: a JAX random key, or an int for `jax.random.key`.
        """
        draw = jax.random.exponential(random_key("key", key), (self.alphabet**self.longest_order, self.alphabet))
        draw = jnp.where(jnp.arange(self.alphabet) < self.symbols, draw, 0)
        return draw / jnp.sum(draw, axis=1, keepdims=True)

    def run(self, rows_CxS: jax.Array, size: int, *, key: jax.Array | int) -> jax.Array:
        """(size,) tokens of the chain.

        Args:
          rows_CxS: next-token laws by context, as `chain` draws them.
          size: tokens; static.
          key: a JAX random key, or an int for `jax.random.key`.
        """
        bound_CxS = jnp.cumsum(rows_CxS, axis=1)[:, :-1]
        first = jax.random.uniform(random_key("key", key), (size,))

        def step(context: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            t, draw = inputs
            drawn = jnp.sum(draw >= bound_CxS[self._number(context)]).astype(jnp.int32)
            token = jnp.where(t < self.order, jnp.floor(draw * self.symbols).astype(jnp.int32), drawn)
            token = jnp.minimum(token, self.symbols - 1)
            return jnp.roll(context, 1).at[0].set(token), token

        start = jnp.zeros(self.longest_order, jnp.int32)
        return jax.lax.scan(step, start, (jnp.arange(size), first))[1]

    def _context(self, recent: jax.Array) -> jax.Array:
        return self._number(recent[: self.longest_order])

    def _number(self, context_K: jax.Array) -> jax.Array:
        """The number of a context, the last token first: its digits to base A, those beyond the order left out."""
        digit_K = jnp.arange(self.longest_order)
        return jnp.sum(jnp.where(digit_K < self.order, context_K * self.alphabet**digit_K, 0))

    def _codes(self, tokens_T: Tokens) -> tuple[jax.Array, jax.Array]:
        """The number of the context before each token, and that of the one which ends at it; (T,) each."""
        tokens_T = jnp.asarray(tokens_T)
        padded = jnp.concatenate([jnp.zeros(self.longest_order, tokens_T.dtype), tokens_T])
        ends = jnp.stack([jnp.roll(padded, h)[self.longest_order :] for h in range(self.longest_order)], -1)
        next_code_T = jax.vmap(self._number)(ends)
        return jnp.roll(next_code_T, 1), next_code_T

    def _mean(self, match_T: jax.Array, tokens_T: Tokens) -> Target:
        counts_S = match_T.astype(jnp.float32) @ jax.nn.one_hot(tokens_T, self.alphabet)
        total = jnp.sum(counts_S)
        return Target(counts_S / jnp.where(total > 0, total, 1), total > 0)
