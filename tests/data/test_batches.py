"""Batches are a function of (seed, step) alone."""

import collections
import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import NamedSharding, PartitionSpec

from jaxscale import sharding
from jaxscale.config import Mesh
from jaxscale.data import Batches, Split, evaluation_windows
from jaxscale.errors import InputError

SPLIT = Split(np.arange(1000, dtype=np.uint16), np.arange(0, 1001, 100))


def batches(tokens=200, context=8, batch_size=6, seed=0):
    return Batches.of(SPLIT, tokens, context, batch_size, key=seed)


@given(step=st.integers(0, 500), tokens=st.integers(9, 1000), seed=st.integers(0, 9))
def test_targets_are_inputs_one_to_the_right(step, tokens, seed):
    these = batches(tokens, seed=seed)
    rows = these.rows(step)
    places = (rows.astype(int) - these.start) % 1000
    assert rows.shape == (6, 9)
    assert np.all(places < tokens)
    assert np.all((places[:, 1:] - places[:, :-1]) % tokens == 1 % tokens)


def test_an_epoch_reads_every_window_once():
    these = batches(tokens=200, context=8, batch_size=5)
    inputs = [token for step in range(5) for row in these.rows(step) for token in row[:-1]]
    assert these.windows == 25
    assert set(collections.Counter(inputs).values()) == {1}
    assert len(inputs) == 200


def test_batches_of_several_steps_are_those_of_each():
    these = batches(tokens=50, batch_size=5)  # six windows an epoch: most end inside a batch
    np.testing.assert_array_equal(these.of_steps(3, 4), [these.rows(step) for step in range(3, 7)])
    assert these.of_steps(3, 0).shape == (0, 5, 9)


def test_epochs_and_seeds_differ_and_calls_do_not():
    these = batches()
    np.testing.assert_array_equal(these.rows(3), batches().rows(3))
    assert not np.array_equal(these.rows(0), these.rows(25))
    assert not np.array_equal(these.rows(0), batches(seed=1).rows(0))


@given(st.integers(0, 20))
def test_smaller_sets_lie_inside_larger_ones(seed):
    small, large = (
        {int(t) for step in range(100) for t in batches(tokens, seed=seed).rows(step).ravel()} for tokens in (50, 400)
    )
    assert len(small) == 50
    assert small < large


def test_each_device_gets_its_rows():
    mesh = sharding.make_mesh(Mesh(replica=2, fsdp=4))
    these = batches(batch_size=16)
    whole = these.on_device(7, sharding.batch_sharding(mesh))
    np.testing.assert_array_equal(np.asarray(whole), these.rows(7))
    assert {shard.data.shape for shard in whole.addressable_shards} == {(2, 9)}
    alone = these.on_device(
        7, NamedSharding(jax.make_mesh((1,), ("replica",), devices=jax.devices()[:1]), PartitionSpec())
    )
    np.testing.assert_array_equal(np.asarray(whole), np.asarray(alone))


def test_too_many_or_too_few_tokens_are_refused():
    with pytest.raises(InputError, match="tokens=1001 is more than the corpus's 1000"):
        batches(1001)
    with pytest.raises(InputError, match="tokens=8 is no more than the context of 8"):
        batches(8)


def test_evaluation_windows_do_not_overlap_and_are_spread_over_the_text():
    windows = evaluation_windows(np.arange(100), 10, 50)
    assert windows.shape == (9, 11)
    np.testing.assert_array_equal(windows[:, :-1].ravel(), np.arange(90))
    few = evaluation_windows(np.arange(1000), 10, 5)
    np.testing.assert_array_equal(few[:, 0], [0, 240, 490, 730, 980])
    with pytest.raises(InputError, match="held-out documents have 10 tokens"):
        evaluation_windows(np.arange(10), 10, 5)


def test_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        batches().seed = 3
