"""A number for each array of a tree, to find out whether what was read is what was written.

    kept = checksums(state)                     # {"params/embed": 2883410493, …}
    damaged = differing(restored, kept)         # [] if all is as it was

The bits of every element are mixed with its place and added modulo 2³². The mixing is one-to-one: whatever happens to a
single element changes the sum, and other damage leaves it as it was with probability 2⁻³². Such a sum does not depend
on its order, so any number of devices and processes finds the same one: each adds what it holds, nothing is gathered.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp


def checksums(tree: Any) -> dict[str, int]:
    """By path, such as "params/embed", an integer for each array of `tree`, sharded or not."""
    found = {_name(path): _checksum(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}
    return {name: int(value) for name, value in jax.device_get(found).items()}


def differing(tree: Any, kept: Mapping[str, int]) -> list[str]:
    """Paths of those arrays of `tree` whose checksum is not the one in `kept`, or is not there."""
    return [name for name, value in checksums(tree).items() if kept.get(name) != value]


def _name(path: jax.tree_util.KeyPath[Any]) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


@jax.jit
def _checksum(array: jax.Array) -> jax.Array:
    bits = _as_uint32(array)
    place = jnp.zeros((), jnp.uint32)
    for axis, size in enumerate(bits.shape):
        place = place * jnp.uint32(size % 2**32) + jax.lax.broadcasted_iota(jnp.uint32, bits.shape, axis)
    return jnp.sum(_mixed(bits ^ _mixed(place)), dtype=jnp.uint32)


def _as_uint32(array: jax.Array) -> jax.Array:
    """Bits of an array; those of 8 bytes become two, along one more axis."""
    if array.dtype == bool:
        return array.astype(jnp.uint32)
    size = array.dtype.itemsize
    if size >= 4:
        return jax.lax.bitcast_convert_type(array, jnp.uint32)
    return jax.lax.bitcast_convert_type(array, {1: jnp.uint8, 2: jnp.uint16}[size]).astype(jnp.uint32)


def _mixed(x: jax.Array) -> jax.Array:
    """MurmurHash3's finalizer (A. Appleby): one-to-one, and every bit of it depends on every bit of `x`."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
