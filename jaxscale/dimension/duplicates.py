"""Which rows of a cloud repeat an earlier one, exactly, inside `jit` and without comparing all pairs."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import NamedSharding

from jaxscale.dimension.points import replicated
from jaxscale.dimension.ring import equal_rows, equal_rows_in_ring, map_tiles


def first_occurrence(points: jax.Array, rows: NamedSharding | None = None) -> jax.Array:
    """For each row the index (n,) of the first row equal to it, its own if there is none before.

    Rows are sorted by a 64-bit hash of their bits and compared whole with their predecessor in that order. Rows taken
    for equal are equal; equal rows are missed only if the hash of another row falls between theirs, with chance about
    n²/2⁶⁵. Zero equals minus zero, and a nan equals the same nan. Of points that `rows` says are sharded, every device
    gets all hashes and indices, but never all points.
    """
    n = points.shape[0]
    hash_rows = lambda points: (_hash(points, seed=1), _hash(points, seed=2))
    hashes = map_tiles(hash_rows, points) if rows is None else map(replicated, hash_rows(points))
    first_hash, second_hash, order = lax.sort((*hashes, jnp.arange(n, dtype=jnp.int32)), num_keys=3)
    same_hash = (first_hash == jnp.roll(first_hash, 1)) & (second_hash == jnp.roll(second_hash, 1))
    before = jnp.where(same_hash, jnp.roll(order, 1), -1).at[0].set(-1)
    before = jnp.zeros(n, jnp.int32).at[order].set(before)
    equal = equal_rows(points, points, before) if rows is None else equal_rows_in_ring(points, before, rows)
    equal = replicated(equal)
    # Indices ascend among equal hashes, so each run of equal rows starts with its first occurrence.
    start_of_run = lax.cummax(jnp.where(equal[order], 0, jnp.arange(n)))
    return jnp.zeros(n, order.dtype).at[order].set(order[start_of_run])


def _hash(points, seed):
    """A 32-bit hash of each row: words shifted by their position, mixed by the finalizer of MurmurHash3, summed."""
    bits_NxW = lax.bitcast_convert_type(jnp.where(points == 0, 0, points), jnp.uint32).reshape(points.shape[0], -1)
    position_W = jnp.arange(bits_NxW.shape[1], dtype=jnp.uint32)
    word = bits_NxW + (position_W * jnp.uint32(0x9E3779B9) + jnp.uint32(seed)) * jnp.uint32(0x27D4EB2F)
    word = (word ^ (word >> 16)) * jnp.uint32(0x85EBCA6B)
    word = (word ^ (word >> 13)) * jnp.uint32(0xC2B2AE35)
    return jnp.sum(word ^ (word >> 16), axis=1, dtype=jnp.uint32)
