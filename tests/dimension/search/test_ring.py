"""A cloud sharded by rows: the same neighbors as on one device, without any device ever holding the cloud."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jaxscale import dimension
from jaxscale.dimension.duplicates import first_occurrence
from jaxscale.dimension.points import row_sharding
from jaxscale.dimension.search.ring import nearest_squared_in_ring

N, WIDTH, K = 240, 16, 10
search = functools.partial(dimension.neighbors, k=K)
each_kind = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)


def by_rows(kind=AxisType.Auto):
    """Rows split over both axes of a mesh of eight devices."""
    mesh = jax.make_mesh((4, 2), ("replica", "fsdp"), axis_types=(kind,) * 2)
    return NamedSharding(mesh, PartitionSpec(("replica", "fsdp")))


def assert_same(sharded, alone):
    np.testing.assert_array_equal(sharded.indices, alone.indices)
    np.testing.assert_allclose(sharded.distances, alone.distances, rtol=1e-6)


@each_kind
def test_eight_devices_find_what_one_finds_and_keep_it(cloud, kind):
    near = search(jax.device_put(cloud, by_rows(kind)))
    assert_same(near, search(cloud))
    for leaf in jax.tree.leaves(near):
        assert leaf.sharding.is_equivalent_to(by_rows(kind), 2)


@pytest.mark.thorough
@each_kind
def test_rows_may_be_split_over_some_axes_and_columns_over_others(cloud, kind):
    split = NamedSharding(by_rows(kind).mesh, PartitionSpec("replica", "fsdp"))
    assert_same(search(jax.device_put(cloud, split)), search(cloud))


def test_equal_distances_are_ordered_by_index_across_shards():
    # Thirty points or so at the same distance from each, spread over all shards.
    lattice = np.random.default_rng(1).integers(-2, 3, size=(160, 3)).astype(np.float32)
    assert_same(search(jax.device_put(lattice, by_rows())), search(lattice))


def test_shards_of_different_magnitude_are_compared_by_one_scale(cloud):
    # At the scale of the least, the squares of the largest overflow.
    uneven = cloud * np.logspace(-15, 15, N, dtype=np.float32)[:, None]
    assert_same(search(jax.device_put(uneven, by_rows())), search(uneven))


def test_masked_points_are_found_on_no_device(cloud):
    mask = np.arange(N) % 3 != 0
    mask[:30] = False  # a whole shard
    spoiled = np.where(mask[:, None], cloud, np.nan).astype(np.float32)
    near = search(jax.device_put(spoiled, by_rows()), mask=mask)
    np.testing.assert_array_equal(near.indices[mask], search(spoiled, mask=mask).indices[mask])
    few = search(jax.device_put(cloud, by_rows()), mask=np.arange(N) < 4)
    assert_same(few, search(cloud, mask=np.arange(N) < 4))


@pytest.mark.parametrize(("kind", "metric"), [(AxisType.Auto, "euclidean"), (AxisType.Explicit, "cosine")])
def test_queries_are_spread_over_the_devices(cloud, kind, metric):
    # Thirteen do not divide, and some devices get none.
    queries = np.random.default_rng(4).normal(size=(13, WIDTH)).astype(np.float32)
    near = search(jax.device_put(cloud, by_rows(kind)), queries=queries, metric=metric)
    assert_same(near, search(cloud, queries=queries, metric=metric))


@pytest.mark.thorough
@pytest.mark.parametrize("n", [237, 33])
def test_points_that_do_not_divide_are_filled_up_by_none_to_be_found(cloud, n):
    # At the origin, the midst of the cloud, what fills up would be everyone's neighbor.
    in_ring = jax.jit(lambda x: nearest_squared_in_ring(x, None, jnp.ones(n, bool), by_rows(), K, exclude_self=True))
    squared, indices, scale = in_ring(cloud[:n])
    alone = search(cloud[:n])
    np.testing.assert_array_equal(indices, alone.indices)
    np.testing.assert_allclose(jnp.sqrt(squared) / scale, alone.distances, rtol=1e-6)


def test_a_point_is_its_own_neighbor_when_not_excluded(cloud):
    near = search(jax.device_put(cloud, by_rows()), exclude_self=False)
    np.testing.assert_array_equal(near.indices[:, 0], np.arange(N))


@pytest.mark.slow
def test_shards_too_large_to_compare_all_pairs_find_the_same():
    # 2104 points of 16 columns in a shard: candidates by matmul, tile by tile.
    large = np.random.default_rng(2).normal(size=(8 * 2104, WIDTH)).astype(np.float32)
    assert_same(search(jax.device_put(large, by_rows())), search(large))


@each_kind
def test_gradient_is_that_of_one_device(cloud, kind):
    weights = np.random.default_rng(3).normal(size=(N, K)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(search(x).distances * weights)))
    np.testing.assert_allclose(gradient(jax.device_put(cloud, by_rows(kind))), gradient(cloud), atol=1e-5)


def test_clouds_side_by_side_are_as_alone(cloud):
    clouds = jax.device_put(np.stack([cloud, 3 * cloud]), NamedSharding(by_rows().mesh, PartitionSpec(None, "fsdp")))
    together = jax.vmap(search)(clouds)
    chex.assert_trees_all_close(together.distances[1], search(3 * cloud).distances, rtol=1e-6)


@each_kind
def test_first_occurrences_are_found_on_other_devices(cloud, kind):
    copies = cloud.copy()
    copies[200], copies[100], copies[31] = cloud[3], cloud[3], cloud[30]
    points = jax.device_put(copies, by_rows(kind))
    expected = np.arange(N)
    expected[[200, 100, 31]] = [3, 3, 30]
    first = jax.jit(lambda x: first_occurrence(x, row_sharding(points)))(points)
    np.testing.assert_array_equal(first, expected)


@pytest.mark.thorough
@pytest.mark.parametrize("kind", [pytest.param(AxisType.Auto, marks=pytest.mark.slow), AxisType.Explicit])
def test_an_estimate_is_that_of_one_device(cloud, kind):
    copies = np.concatenate([cloud, cloud[:40]])
    near, alone = dimension.mle(jax.device_put(copies, by_rows(kind)), k=K), dimension.mle(copies, k=K)
    assert near.duplicates_collapsed == 40
    chex.assert_trees_all_close(jax.device_get(near), jax.device_get(alone), rtol=1e-4, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("read", "shards"),
    [(search, 5), pytest.param(lambda x: dimension.mle(x, k=K).dimension, 9, marks=pytest.mark.slow)],
    ids=["neighbors", "mle"],
)
def test_no_device_ever_holds_the_cloud(read, shards):
    n, width = 65_536, 512
    points = jax.ShapeDtypeStruct((n, width), jnp.float32, sharding=by_rows(AxisType.Explicit))
    compiled = jax.jit(read).lower(points).compile()
    program = compiled.as_text()
    assert f"f32[{n // 8},{width}]{{1,0}} collective-permute(" in program
    # Hashes, flags and neighbors are gathered, as many numbers as rows or neighbors; coordinates are not.
    assert not re.search(rf"\[{n},{width}\]", program)
    shard = n // 8 * width * 4
    # The visiting shard, the next, the tiles of one, and a copy that passes them on, however many devices there are;
    # under a trace an estimator first copies the points without those that are not finite, and compares its duplicates.
    assert compiled.memory_analysis().temp_size_in_bytes < shards * shard
