"""Selection by comparison keeps what sorting keeps, and says the least it dropped."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxscale.dimension.search import selection

ENTRIES, ROWS = 24, 6
keys = hnp.arrays(np.int32, (ENTRIES, ROWS), elements=st.integers(0, 40))
smallest = jax.jit(selection.smallest, static_argnames="count")


@jax.jit
def ten_smallest_in_two_parts(entries, tags):
    best = selection.no_pairs(10, entries, tags)
    for half in (slice(0, 9), slice(9, None)):
        best = selection.smallest_pairs(entries[half], tags[half], best)
    return best


@settings(max_examples=20)
@given(keys, st.sampled_from([1, 5, 24]))
def test_smallest_are_those_of_a_sort_with_the_next_as_bound(entries, count):
    expected = np.concatenate([np.sort(entries, axis=0), np.full((1, ROWS), selection.NONE)])
    kept, dropped = smallest(entries, count)
    np.testing.assert_array_equal(kept, expected[:count])
    np.testing.assert_array_equal(dropped, expected[count])


@settings(max_examples=20)
@given(keys, keys)
def test_pairs_are_ordered_by_key_and_then_by_tag(entries, tags):
    best = ten_smallest_in_two_parts(entries, tags)
    order = np.lexsort((tags, entries), axis=0)[:10]
    np.testing.assert_array_equal(best[0], np.take_along_axis(entries, order, 0))
    np.testing.assert_array_equal(best[1], np.take_along_axis(tags, order, 0))


def test_sorting_and_inserting_agree():
    rng = np.random.default_rng(0)
    entries = (jnp.asarray(rng.random((50, 9)), jnp.float32), jnp.asarray(rng.integers(0, 99, (50, 9)), jnp.int32))
    best = selection.no_pairs(8, *entries)
    for ours, theirs in zip(selection._insert(entries, best), selection._sort(entries, best), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_two_smallest_and_the_third():
    parts = jnp.asarray(np.random.default_rng(1).integers(0, 1000, (8, 3, 5)), jnp.int32)
    best = selection.two_smallest(lambda i: parts[i], 8)
    np.testing.assert_array_equal(jnp.stack(best), np.sort(parts, axis=0)[:3])


@pytest.mark.parametrize("size", [2, 100, 1024])
def test_packing_keeps_the_place_and_moves_a_score_by_little(size):
    scores = jnp.asarray(np.random.default_rng(2).exponential(5.0, (3, size)), jnp.float32)
    packed = selection.pack(scores, axis=1, start=0, size=size)
    np.testing.assert_array_equal(selection.place(packed, size), np.broadcast_to(np.arange(size), (3, size)))
    least = jax.lax.bitcast_convert_type(selection.without_place(packed, size), jnp.float32)
    assert jnp.all((least <= scores) & (least >= scores * (1 - 2.0 ** (selection.bits_for(size) - 23))))


def test_what_may_not_be_found_packs_to_none():
    packed = selection.pack(jnp.full((1, 64), jnp.inf), axis=1, start=0, size=64)
    assert jnp.all(selection.without_place(packed, 64) == selection.NONE)
