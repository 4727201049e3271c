"""Strings to fail on: counts on many scales, rare symbols, constant tokens, other residues, laws that drift.

    kinds, seen = hard_statistics(task, length, each=32, key=key)      # for one layer, at any finite length
    kinds, tokens_NxT = hard_strings(k_gram, length, each=16, key=key) # for two layers, whose first reads the order

The theorems bound the error on every string; a mean over a law says little of it. These are laws under which what a
network must count is rare, unbalanced or moves, beside the law it was trained on.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxscale.arguments import random_key
from jaxscale.lengths import strings
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.simulation import largest_remainder
from jaxscale.lengths.strings import Length, Statistics
from jaxscale.lengths.tasks import ModPTask, SimpleTask

STATISTIC_KINDS = ("trained law", "many scales", "rare symbols", "constant", "other residues")
STRING_KINDS = ("trained law", "drifted", "nearly deterministic", "rare symbols")


def hard_statistics(
    task: SimpleTask | ModPTask, length: Length, each: int = 32, *, key: jax.Array | int
) -> tuple[jax.Array, Statistics]:
    """`Statistics` of `each` strings of every one of `STATISTIC_KINDS`, one after the other.

        trained law     the task's own
        many scales     at every residue counts n^-u, u uniform on [0, 1] and its own for each symbol
        rare symbols    every symbol but one stands once at every residue
        constant        one symbol at every residue, its own for each
        other residues  the task's own law at length + 1, length + 2, …

    Args:
      task: a `SimpleTask` or a `ModPTask`; vmap over its parameters.
      length: T, finite; may be traced.
      each: strings of a kind; static.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    keys_K = jax.random.split(random_key("key", key), len(STATISTIC_KINDS))
    at = jnp.asarray(length, jnp.int32)
    placed_R = strings.places(at, task.period, task.rows)

    def counted(draw_counts: Callable[[jax.Array], jax.Array], key: jax.Array) -> Statistics:
        key_counts, key_last = jax.random.split(key)
        counts_SxR = draw_counts(key_counts)
        residue = at % task.period
        last = jax.random.categorical(key_last, jnp.log(counts_SxR[:, residue].astype(jnp.float32)))
        bulk_SxR = counts_SxR.at[last, residue].add(-1).astype(jnp.float32)
        period = jnp.asarray(task.period, jnp.int32)
        return Statistics(bulk_SxR, last[None].astype(jnp.int32), residue, period, at.astype(jnp.float32))

    shape = (task.alphabet, task.rows)
    deal = jax.vmap(largest_remainder, (1, 0), 1)

    def many_scales(key: jax.Array) -> jax.Array:
        log_n_R = jnp.log(jnp.maximum(placed_R, 1))
        return deal(jnp.exp(-jax.random.uniform(key, shape) * log_n_R), placed_R)

    def one_symbol(key: jax.Array) -> jax.Array:
        return jax.nn.one_hot(jax.random.randint(key, (task.rows,), 0, task.alphabet), task.alphabet, axis=0)

    def rare_symbols(key: jax.Array) -> jax.Array:
        return deal(1e-9 + one_symbol(key), placed_R)

    def constant(key: jax.Array) -> jax.Array:
        return (one_symbol(key) * placed_R).astype(jnp.int32)

    def own(key: jax.Array, shift: int | jax.Array) -> Statistics:
        return task.sample_statistics(at + shift, key=key)

    draws: list[Callable[[jax.Array, jax.Array], Statistics]] = [
        lambda key, _: own(key, 0),
        lambda key, _: counted(many_scales, key),
        lambda key, _: counted(rare_symbols, key),
        lambda key, _: counted(constant, key),
        lambda key, index: own(key, index % task.period),
    ]
    parts = [
        jax.vmap(draw)(jax.random.split(key, each), jnp.arange(each)) for draw, key in zip(draws, keys_K, strict=True)
    ]
    seen = jax.tree.map(lambda *leaves: jnp.concatenate([leaf.astype(leaves[0].dtype) for leaf in leaves]), *parts)
    return jnp.repeat(jnp.arange(len(STATISTIC_KINDS)), each), seen


def hard_strings(task: KGramTask, length: int, each: int = 16, *, key: jax.Array | int) -> tuple[jax.Array, jax.Array]:
    """`each` strings of every one of `STRING_KINDS` for a `KGramTask`, (kinds, length) int32.

    trained law            the task's own
    drifted                two chains, one for each half
    nearly deterministic   rows of the chain to the eighth power, normalized: long runs of the same contexts
    rare symbols           rows that give one symbol all but one part in the length

    Args:
      task: a `KGramTask`; vmap over its parameters.
      length: T; static.
      each: strings of a kind; static.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    keys_K = jax.random.split(random_key("key", key), len(STRING_KINDS))

    def run(sharpen: Callable[[jax.Array], jax.Array], key: jax.Array) -> jax.Array:
        key_rows, key_tokens = jax.random.split(key)
        rows_CxS = sharpen(task.chain(key=key_rows))
        return task.run(rows_CxS / jnp.sum(rows_CxS, axis=1, keepdims=True), length, key=key_tokens)

    def drifted(key: jax.Array) -> jax.Array:
        first, second = (run(lambda rows: rows, key) for key in jax.random.split(key))
        return jnp.where(jnp.arange(length) < length // 2, first, second)

    def rare(rows_CxS: jax.Array) -> jax.Array:
        return jnp.where(jnp.arange(task.alphabet) == 0, 1.0, (rows_CxS > 0) / length)

    draws = [lambda key: task.sample(length, length, key=key), drifted]
    draws += [lambda key: run(lambda rows: rows**8, key), lambda key: run(rare, key)]
    tokens = [jax.vmap(draw)(jax.random.split(key, each)) for draw, key in zip(draws, keys_K, strict=True)]
    return jnp.repeat(jnp.arange(len(STRING_KINDS)), each), jnp.concatenate(tokens)
