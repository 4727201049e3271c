"""Strings of any length in arrays of one shape, and the few numbers that a limit transformer reads of them.

    tokens_T, length                                   # tokens from `length` on are PAD
    seen = summarize(tokens_T, length, alphabet=2, period=3, locality=0)
    seen.bulk                                          # (2, 3): how often each symbol stands at each residue

Everything here is for one string and traces: `jax.vmap` takes it over a batch. Positions count from one, so the token
at index i stands at t = i + 1, and its residue is t mod Δ.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

PAD = -1

# Of a string, as an integer that may be traced.
Length = int | jax.Array
# (T,) integers.
Tokens = np.ndarray | jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Statistics:
    """What a one-layer Δ-periodic, τ-local transformer can know of a string (Izzo, Nichani & Lee 2026, Section 3).

    Attributes:
      bulk: (S, Δ) float32. How often each symbol stands at each residue, the last τ+1 tokens left out; where `length`
        is infinite, shares that sum to one instead.
      suffix: (τ+1,) int32. The last tokens, the very last first; PAD where the string is shorter.
      residue: int32, the residue T mod Δ of the last token.
      period: int32, Δ; at most the number of columns of `bulk`.
      length: float32, T; `jnp.inf` stands for the limit.
    """

    bulk: jax.Array
    suffix: jax.Array
    residue: jax.Array
    period: jax.Array
    length: jax.Array


def residues(size: int, period: int | jax.Array) -> jax.Array:
    """t mod Δ of the positions t = 1..size, (size,) int32."""
    return (jnp.arange(size, dtype=jnp.int32) + 1) % period


def places(length: Length, period: int | jax.Array, rows: int | None = None) -> jax.Array:
    """How many of the positions 1..length have each residue, (rows,) int32; zero from Δ on.

    Args:
      length: may be traced.
      period: Δ; may be traced if `rows` says how many residues to make room for.
      rows: Δ if None. Static.
    """
    residue_R = jnp.arange(rows or int(period))
    placed_R = jnp.maximum((length - residue_R) // period + (residue_R > 0), 0)
    return jnp.where(residue_R < period, placed_R, 0)


def pad(tokens_T: Tokens, length: Length) -> jax.Array:
    """`tokens_T` with PAD from index `length` on."""
    return jnp.where(jnp.arange(len(tokens_T)) < length, tokens_T, PAD)


def suffix(tokens_T: Tokens, length: Length, locality: int) -> jax.Array:
    """The last τ+1 tokens before index `length`, the very last first, PAD before the beginning; (τ+1,) int32."""
    index = length - 1 - jnp.arange(locality + 1)
    return jnp.where(index >= 0, jnp.asarray(tokens_T)[jnp.maximum(index, 0)], PAD).astype(jnp.int32)


def class_counts(tokens_T: Tokens, alphabet: int, period: int | jax.Array, rows: int | None = None) -> jax.Array:
    """How often each symbol stands at each residue, (S, rows) float32; PAD counts nowhere.

    Args:
      tokens_T: (T,) integers.
      alphabet: number of symbols S; static.
      period: Δ; may be traced if `rows` says how many residues to make room for.
      rows: columns of the result; Δ if None. Static.
    """
    symbol_TxS = jax.nn.one_hot(tokens_T, alphabet)
    residue_TxR = jax.nn.one_hot(residues(len(tokens_T), period), rows or int(period))
    return jnp.einsum("ts,tr->sr", symbol_TxS, residue_TxR, precision="highest")


def summarize(
    tokens_T: Tokens,
    length: Length,
    alphabet: int,
    period: int | jax.Array = 1,
    locality: int = 0,
    rows: int | None = None,
) -> Statistics:
    """The `Statistics` of one string.

    Args:
      tokens_T: (T,) integers; those from `length` on do not matter.
      length: how many tokens the string has, at least 1; may be traced.
      alphabet, locality: S and τ; static.
      period, rows: as for `class_counts`.
    """
    last = suffix(tokens_T, length, locality)
    bulk = class_counts(pad(tokens_T, length - locality - 1), alphabet, period, rows)
    length = jnp.asarray(length, jnp.int32)
    period = jnp.asarray(period, jnp.int32)
    return Statistics(bulk, last, length % period, period, length.astype(jnp.float32))
