"""Every row that has passed is in a reservoir with the same chance, however the stream is cut into batches."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxscale import dimension
from jaxscale.errors import InputError

CAPACITY, LENGTH, WIDTH = 8, 40, 3


@functools.cache
def stream(dtype=np.float32):
    """Row t is (t, -t, 1)."""
    places = np.arange(LENGTH)
    return np.stack([places, -places, np.ones(LENGTH)], axis=1).astype(dtype)


@jax.jit
def update(sample, batch):
    return sample.update(batch)


def fed(sizes, key=0, rows=None, dtype=jnp.float32):
    sample, first = dimension.reservoir(CAPACITY, WIDTH, dtype, key=key), 0
    for size in sizes:
        sample = update(sample, (stream() if rows is None else rows)[first : first + size])
        first += size
    return sample


@pytest.mark.parametrize("sizes", [(10, 10, 10, 10), (1, 3, 36), (2,) * 20])
def test_the_sample_does_not_depend_on_how_the_stream_is_cut(sizes):
    chex.assert_trees_all_equal(fed(sizes), fed((LENGTH,)))


@pytest.mark.parametrize("length", [LENGTH, pytest.param(13, marks=pytest.mark.thorough)])
def test_all_rows_are_in_it_with_the_same_chance(length):
    """Over 4000 keys, by χ²: single rows, and the pairs of the first and the last ten of them."""
    keys = 4000
    run = lambda key: dimension.reservoir(CAPACITY, WIDTH, key=key).update(stream()[:10]).update(stream()[10:length])
    rows = np.asarray(jax.jit(jax.vmap(lambda key: run(key).rows))(jax.random.split(jax.random.key(7), keys)))
    places = rows[:, :, 0].astype(int)
    assert all(len(set(of_key)) == CAPACITY for of_key in places.tolist())
    counts = np.bincount(places.ravel(), minlength=length)
    share = CAPACITY / length
    # Counts of a fixed number of rows vary less than independent ones.
    chi2 = np.sum((counts - keys * share) ** 2) / (keys * share * (1 - share)) * (length - 1) / length
    assert 0.001 < stats.chi2.sf(chi2, length - 1) < 0.999
    held = np.zeros((keys, length), bool)
    np.put_along_axis(held, places, True, axis=1)
    both = np.mean(held[:, 0] & held[:, length - 1])
    wanted = share * (CAPACITY - 1) / (length - 1)
    assert abs(both - wanted) < 4 * np.sqrt(wanted / keys)
    # The first slots alone are a sample too.
    first = np.bincount(places[:, 0], minlength=length)
    assert stats.chisquare(first).pvalue > 0.001


def test_rows_are_whole_and_in_the_type_they_came_in():
    sample = fed((20, 20), rows=jnp.asarray(stream(), jnp.bfloat16), dtype=jnp.bfloat16)
    assert sample.rows.dtype == jnp.bfloat16
    np.testing.assert_array_equal(sample.rows[:, 0], -sample.rows[:, 1])
    np.testing.assert_array_equal(sample.rows[:, 2], 1)
    with pytest.raises(InputError, match=r"batch is float32, the sample bfloat16\. Pass dtype=float32"):
        sample.update(stream())


def test_until_it_is_full_it_holds_all_rows_and_says_how_many():
    sample = fed((3, 2))
    assert int(sample.count) == 5 == np.sum(np.isfinite(sample.rows[:, 0]))
    assert sorted(np.asarray(sample.rows[:5, 0])) == [0, 1, 2, 3, 4]
    assert int(fed((LENGTH,)).count) == CAPACITY


@pytest.mark.thorough
def test_masked_rows_never_were():
    mask = np.arange(LENGTH) % 3 > 0
    masked = dimension.reservoir(CAPACITY, WIDTH, key=0).update(stream(), mask)
    chex.assert_trees_all_equal(masked, dimension.reservoir(CAPACITY, WIDTH, key=0).update(stream()[mask]))


def test_it_counts_beyond_what_a_word_holds():
    sample = fed((10,))
    far = jax.tree.map(lambda leaf: leaf, sample)
    far = type(far)(far.rows, far.ranks, jnp.array([0, 2**32 - 3], jnp.uint32), far.key)
    np.testing.assert_array_equal(far.update(stream()[:5]).seen, [1, 2])
    # Rows on both sides of the step have ranks of their own.
    alone = dimension.reservoir(5, WIDTH, key=0)
    alone = type(alone)(alone.rows, alone.ranks, jnp.array([0, 2**32 - 3], jnp.uint32), alone.key)
    assert len(np.unique(alone.update(stream()[:5]).ranks, axis=0)) == 5


def test_it_goes_through_a_scan_of_tokens():
    batches = stream().reshape(4, 2, 5, WIDTH)  # (steps, B, T, D)
    start = dimension.reservoir(CAPACITY, WIDTH, key=0)
    scanned, _ = jax.lax.scan(lambda sample, batch: (sample.update(batch), None), start, batches)
    chex.assert_trees_all_equal(scanned, fed((LENGTH,)))


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
@pytest.mark.parametrize("shape", [(LENGTH, WIDTH), (8, 5, WIDTH)])
def test_sharded_batches_give_the_same_sample(kind, shape):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(kind,))
    spread = jax.device_put(
        stream().reshape(shape), jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    )
    chex.assert_trees_all_equal(update(dimension.reservoir(CAPACITY, WIDTH, key=0), spread), fed((LENGTH,)))


@pytest.mark.thorough
def test_its_rows_go_to_estimators_full_or_not():
    points = np.random.default_rng(0).normal(size=(30, WIDTH)).astype(np.float32)
    sample = dimension.reservoir(40, WIDTH, key=0).update(points)
    read = functools.partial(dimension.mle, k=5)
    np.testing.assert_allclose(read(sample.rows, nonfinite="drop").dimension, read(points).dimension, rtol=1e-5)
    with pytest.raises(InputError, match=r"10 rows with nan .*the first is row 30.*nonfinite='drop'"):
        read(sample.rows)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: dimension.reservoir(0, 3, key=0), "capacity=0 must be an integer of at least 1"),
        (lambda: dimension.reservoir(8, 3, int, key=0), "dtype must be floating"),
        (lambda: dimension.reservoir(8, 3, key="a"), "is not a JAX random key"),
        (lambda: fed((5,)).update(stream()[:, :2]), r"rows of width 3, \(..., 3\); it has shape \(40, 2\)"),
        (lambda: fed((5,)).update(stream(), np.ones(3, bool)), r"one boolean per row, \(40,\)"),
    ],
)
def test_what_does_not_fit_is_refused(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        wrong()
