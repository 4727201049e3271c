"""The smallest of many numbers, by comparisons that vectorize, with a bound on everything left out.

A search for k of n neighbors needs the k smallest of n scores for each of n points. Sorting networks do it with minimum
and maximum alone, a whole row of points at a time, where `lax.top_k` visits one point after the other. Every step that
drops scores also returns the least it dropped: with that, a caller can prove that nothing was missed, or knows what to
do again.

Scores are non-negative floats, handled as int32, whose order is the same; a column number takes the place of their last
bits. Axes are (..., points) with the points last.
"""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import lax

# Larger than any score; the bits of the largest finite float32.
NONE = 0x7F7FFFFF

# Keys alone, or keys and their tags.
Lists = TypeVar("Lists", bound=tuple[jax.Array, ...])


def pack(scores: jax.Array, axis: int, start: jax.Array | int, size: int) -> jax.Array:
    """Non-negative float32 `scores` as int32 keys of the same order, whose last bits are the place along an axis.

    A key moves its score by less than one part in `2**(23 - bits_for(size))`, up or down.

    Args:
      scores: a part of an array, whose `axis` is longer: it has `size` entries, and these begin at `start`.
    """
    return with_place(scores, start + lax.broadcasted_iota(jnp.int32, scores.shape, axis), size)


def with_place(scores: jax.Array, places: jax.Array, size: int) -> jax.Array:
    """As `pack`, for places along an axis of `size` entries that broadcast against `scores`."""
    low = (1 << bits_for(size)) - 1
    bits = lax.bitcast_convert_type(jnp.clip(scores, 0, jnp.finfo(jnp.float32).max), jnp.int32)
    return (bits & ~low) | places


def place(keys: jax.Array, size: int) -> jax.Array:
    """The places packed into keys along an axis of `size` entries."""
    return keys & ((1 << bits_for(size)) - 1)


def without_place(keys: jax.Array, size: int) -> jax.Array:
    """The keys of the least scores that pack, along an axis of `size` entries, to `keys`; `NONE` for infinite ones."""
    low = (1 << bits_for(size)) - 1
    return jnp.where(keys >= NONE & ~low, NONE, keys & ~low)


def bits_for(size: int) -> int:
    """Bits that hold a place in an axis of `size` entries."""
    return max(1, (size - 1).bit_length())


def two_smallest(part: Callable[[jax.Array], jax.Array], count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Element by element over the int32 arrays part(0) ... part(count - 1): the two smallest and the third."""
    together = min(4, count)

    def of_some(
        step: jax.Array, best: tuple[jax.Array, jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        for i in range(together):
            best = three_smallest(best, part(step * together + i))
        return best

    shape = jax.eval_shape(part, jnp.int32(0)).shape
    # Unrolled whole, XLA would fuse it with what follows and compute it again for each of its outputs; four at a time
    # run almost as fast as sixteen, and take a quarter less memory to compile.
    smallest: tuple[jax.Array, jax.Array, jax.Array] = lax.fori_loop(
        0, count // together, of_some, (jnp.full(shape, NONE, jnp.int32),) * 3
    )
    return smallest


def three_smallest(
    best: tuple[jax.Array, jax.Array, jax.Array], keys: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Element by element the three smallest of three ascending arrays and one more."""
    first, second, third = best
    first, rest = jnp.minimum(first, keys), jnp.maximum(first, keys)
    second, rest = jnp.minimum(second, rest), jnp.maximum(second, rest)
    return first, second, jnp.minimum(third, rest)


def smallest(keys: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
    """The `count` smallest of the int32 `keys` (E, ...), ascending, and the next (...)."""
    return _split(_ascending((keys,), (_nothing(keys, count + 1),))[0])


def smallest_pairs(keys: jax.Array, tags: jax.Array, best: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """The smallest of `best` and of `keys` (E, ...), with their `tags`, which order equal keys.

    Args:
      keys: (E, ...) int32 or floating.
      tags: (E, ...) integers.
      best: ascending keys (m, ...) and their tags; see `no_pairs`.

    Returns:
      m keys and tags.
    """
    return _ascending((keys, tags), best)


def no_pairs(count: int, keys: jax.Array, tags: jax.Array) -> tuple[jax.Array, jax.Array]:
    """`count` pairs, of the type and the trailing shape of `keys` and `tags`, that any other goes before."""
    return _nothing(keys, count), _nothing(tags, count)


def _nothing(like: jax.Array, count: int) -> jax.Array:
    last = jnp.inf if jnp.issubdtype(like.dtype, jnp.floating) else NONE
    return jnp.full((count, *like.shape[1:]), last, like.dtype)


def _split(keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    return keys[:-1], keys[-1]


def _ascending(entries: Lists, best: Lists) -> Lists:
    """Inserts entries into sorted lists on a processor, where that vectorizes; sorts them all on an accelerator."""
    ascending: Lists = lax.platform_dependent(entries, best, cpu=_insert, default=_sort)
    return ascending


def _insert(entries: tuple[jax.Array, ...], best: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    def insert(e: jax.Array, best: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        ours = tuple(entry[e] for entry in entries)
        # The first has nothing above it: less than every key.
        above = tuple(jnp.concatenate([jnp.full_like(leaf[:1], -1), leaf[:-1]]) for leaf in best)
        before, before_above = _before(ours, best), _before(ours, above)
        return tuple(
            jnp.where(before_above, over, jnp.where(before, new, old))
            for new, over, old in zip(ours, above, best, strict=True)
        )

    lists: tuple[jax.Array, ...] = lax.fori_loop(0, entries[0].shape[0], insert, best)
    return lists


def _before(ours: tuple[jax.Array, ...], theirs: tuple[jax.Array, ...]) -> jax.Array:
    if len(ours) == 1:
        return ours[0] < theirs[0]
    return (ours[0] < theirs[0]) | ((ours[0] == theirs[0]) & (ours[1] < theirs[1]))


def _sort(entries: tuple[jax.Array, ...], best: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
    both = tuple(jnp.concatenate(pair) for pair in zip(best, entries, strict=True))
    return tuple(leaf[: best[0].shape[0]] for leaf in lax.sort(both, dimension=0, num_keys=len(both)))
