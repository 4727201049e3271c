"""A cloud on disk has the neighbors it has in memory, while a few blocks of it are on the device."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.search import streaming
from jaxscale.errors import InputError

N, WIDTH, K = 203, 12, 7


@pytest.fixture(autouse=True)
def four_blocks(monkeypatch):
    """Of 51 rows, the last of 50."""
    monkeypatch.setattr(streaming, "BLOCK_BYTES", 51 * WIDTH * 4)


@pytest.fixture
def on_disk(tmp_path):
    def write(array, name="x"):
        np.save(tmp_path / f"{name}.npy", array)
        return np.load(tmp_path / f"{name}.npy", mmap_mode="r")

    return write


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)


def assert_same(streamed, in_memory):
    np.testing.assert_array_equal(streamed.indices, in_memory.indices)
    np.testing.assert_allclose(streamed.distances, in_memory.distances, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64, np.int8])
def test_a_file_has_the_neighbors_of_its_array(cloud, on_disk, dtype):
    # Of int8 many distances are equal, within blocks and across them.
    array = (cloud * 3).astype(dtype)
    near = dimension.neighbors(on_disk(array), K)
    assert_same(near, dimension.neighbors(array, K))
    assert isinstance(near.distances, jax.Array) and near.distances.dtype == jnp.float32


@pytest.mark.parametrize(
    ("m", "metric"), [pytest.param(5, "euclidean", marks=pytest.mark.thorough), (300, "euclidean"), (130, "cosine")]
)
def test_queries_meet_all_blocks(cloud, on_disk, metric, m):
    queries = np.random.default_rng(1).normal(size=(m, WIDTH)).astype(np.float32)
    expected = dimension.neighbors(cloud, K, queries=queries, metric=metric)
    assert_same(dimension.neighbors(on_disk(cloud), K, queries=queries, metric=metric), expected)
    both = dimension.neighbors(on_disk(cloud), K, queries=on_disk(queries, "queries"), metric=metric)
    assert_same(both, expected)


@pytest.mark.thorough
def test_a_mask_and_oneself_are_left_out_in_every_block(cloud, on_disk):
    mask = np.arange(N) % 4 != 1
    spoiled = np.where(mask[:, None], cloud, np.inf).astype(np.float32)
    near = dimension.neighbors(on_disk(spoiled), K, mask=mask)
    np.testing.assert_array_equal(near.indices[mask], dimension.neighbors(spoiled, K, mask=mask).indices[mask])
    few = dimension.neighbors(on_disk(cloud), K, mask=np.arange(N) < 3)
    assert_same(few, dimension.neighbors(cloud, K, mask=np.arange(N) < 3))
    own = dimension.neighbors(on_disk(cloud), K, exclude_self=False)
    np.testing.assert_array_equal(own.indices[:, 0], np.arange(N))


def test_blocks_of_different_magnitude_are_compared_by_one_scale(cloud, on_disk):
    # At the scale of the least, the squares of the largest overflow.
    uneven = cloud * np.logspace(-15, 15, N, dtype=np.float32)[:, None]
    assert_same(dimension.neighbors(on_disk(uneven), K), dimension.neighbors(uneven, K))


def test_the_device_never_holds_more_than_a_few_blocks(cloud, on_disk, monkeypatch):
    most = []
    blocks = lambda: sum(array.shape == (51, WIDTH) for array in jax.live_arrays())
    before = blocks()
    dimension.neighbors(on_disk(cloud), K, progress=lambda done, total: most.append(blocks() - before))
    assert len(most) == 16 and max(most) <= 3


def test_progress_counts_pairs_of_blocks(cloud, on_disk):
    seen = []
    dimension.neighbors(on_disk(cloud), K, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(done, 16) for done in range(1, 17)]


def test_rows_that_cannot_be_used_are_named_before_any_search(cloud, on_disk):
    progress = lambda done, total: pytest.fail("searched")
    spoiled = cloud.copy()
    spoiled[[120, 190], 3] = np.nan
    with pytest.raises(InputError, match=r"x has 2 rows with nan or infinity.*row 120"):
        dimension.neighbors(on_disk(spoiled), K, progress=progress)
    spoiled[[120, 190]] = 0
    with pytest.raises(InputError, match=r"x has 2 rows of zeros.*row 120"):
        dimension.neighbors(on_disk(spoiled), K, metric="cosine", progress=progress)
    with pytest.raises(InputError, match=r"k=203 needs more than 203 points"):
        dimension.neighbors(on_disk(cloud), N)
    with pytest.raises(InputError, match="x must hold one point per row"):
        dimension.neighbors(on_disk(cloud[0]), 1)


def test_estimators_load_a_file(cloud, on_disk):
    # Fewer than 8 k points: the error is that of the neighbor graph, quick to compile.
    assert dimension.mle(on_disk(cloud), k=30).dimension == dimension.mle(cloud, k=30).dimension
