"""Which rows of a cloud repeat an earlier one, exactly, inside `jit` and without comparing all pairs."""

import jax
import jax.numpy as jnp
from jax import lax


def first_occurrence(points: jax.Array) -> jax.Array:
    """For each row the index (n,) of the first row equal to it, its own if there is none before.

    Rows are sorted by a 64-bit hash of their bits and compared whole with their predecessor in that order. Rows taken
    for equal are equal; equal rows are missed only if the hash of another row falls between theirs, with chance about
    n²/2⁶⁵. Zero equals minus zero, and a nan equals the same nan.
    """
    n = points.shape[0]
    bits_NxW = lax.bitcast_convert_type(jnp.where(points == 0, 0, points), jnp.uint32).reshape(n, -1)
    first_hash, second_hash = _hash(bits_NxW, seed=1), _hash(bits_NxW, seed=2)
    *_, order = lax.sort((first_hash, second_hash, jnp.arange(n)), num_keys=3)
    sorted_NxW = bits_NxW[order]
    new = jnp.any(sorted_NxW != jnp.roll(sorted_NxW, 1, axis=0), axis=1).at[0].set(True)
    # Indices ascend among equal hashes, so each run of equal rows starts with its first occurrence.
    start_of_run = lax.cummax(jnp.where(new, jnp.arange(n), 0))
    return jnp.zeros(n, order.dtype).at[order].set(order[start_of_run])


def _hash(bits_NxW, seed):
    """A 32-bit hash of each row: words shifted by their position, mixed by the finalizer of MurmurHash3, summed."""
    position_W = jnp.arange(bits_NxW.shape[1], dtype=jnp.uint32)
    word = bits_NxW + (position_W * jnp.uint32(0x9E3779B9) + jnp.uint32(seed)) * jnp.uint32(0x27D4EB2F)
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(word ^ (word >> 16), axis=1, dtype=jnp.uint32)
