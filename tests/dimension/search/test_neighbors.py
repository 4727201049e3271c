"""Nearest neighbors are exact, in bounded memory, and the same however they are computed."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxscale import dimension
from jaxscale.errors import InputError

N, WIDTH, K = 240, 16, 10
# Several tiles of unequal fill, so that padding and merging take part in every test.
search = functools.partial(dimension.neighbors, k=K, block=100)


@pytest.fixture(scope="module")
def cloud():
    return np.random.default_rng(0).normal(size=(N, WIDTH)).astype(np.float32)


def brute_force(x, k, queries=None):
    """Sorted float64 distances and indices, ties by index."""
    own = queries is None
    x = np.asarray(x, np.float64)
    queries = x if own else np.asarray(queries, np.float64)
    squared = ((queries[:, None] - x) ** 2).sum(-1)
    if own:
        np.fill_diagonal(squared, np.inf)
    order = np.argsort(squared, axis=1, kind="stable")[:, :k]
    return np.sqrt(np.take_along_axis(squared, order, 1)), order


def assert_matches(near, expected, rtol=1e-6):
    distances, indices = expected
    np.testing.assert_array_equal(near.indices, indices)
    # A direct difference over 16 columns rounds about as many times, at 6e-8 each.
    np.testing.assert_allclose(near.distances, distances, rtol=rtol)


def test_neighbors_equal_brute_force(cloud):
    near = search(cloud)
    assert_matches(near, brute_force(cloud, K))
    assert near.distances.dtype == jnp.float32 and near.indices.dtype == jnp.int32


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.int32, (60, 3), elements=st.integers(-2, 2)))
def test_equal_distances_are_ordered_by_index(lattice):
    near = dimension.neighbors(lattice, k=7, block=25)
    assert_matches(near, brute_force(lattice, 7))


def test_a_cloud_far_from_the_origin_keeps_its_neighbors(cloud):
    # Norms of 4000 against distances near 4: |x|² - 2xy + |y|² alone would leave no digit in float32.
    far = cloud + np.float32(1e3)
    assert_matches(search(far), brute_force(far, K))


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e6, 1e30])
def test_distances_scale_with_the_points_without_overflow(cloud, factor):
    scaled = cloud * np.float32(factor)
    near = search(scaled)
    assert_matches(near, brute_force(scaled, K))


def test_queries_find_neighbors_among_the_points(cloud):
    queries = cloud[:30] + np.float32(0.01)
    assert_matches(search(cloud, queries=queries), brute_force(cloud, K, queries))


def test_a_point_is_its_own_neighbor_when_not_excluded(cloud):
    near = search(cloud, exclude_self=False)
    np.testing.assert_array_equal(near.indices[:, 0], np.arange(N))
    np.testing.assert_array_equal(near.distances[:, 0], 0)


def test_masked_points_are_nobodys_neighbor_but_have_neighbors(cloud):
    mask = np.arange(N) % 3 != 0
    spoiled = np.where(mask[:, None], cloud, np.nan).astype(np.float32)
    near = search(spoiled, mask=mask)
    kept = np.flatnonzero(mask)
    distances, indices = brute_force(cloud[mask], K)
    np.testing.assert_array_equal(near.indices[mask], kept[indices])
    np.testing.assert_allclose(near.distances[mask], distances, rtol=1e-6)
    others = search(cloud, mask=mask)
    assert np.all(mask[np.asarray(others.indices)])


def test_missing_neighbors_are_infinitely_far_and_have_no_index(cloud):
    near = search(cloud, mask=np.arange(N) < 4)
    assert np.all(np.isfinite(near.distances[10:, :4])) and np.all(np.isposinf(near.distances[10:, 4:]))
    np.testing.assert_array_equal(near.indices[10:, 4:], -1)


def test_cosine_is_the_angle_between_rows(cloud):
    unit = cloud.astype(np.float64) / np.linalg.norm(cloud, axis=1, keepdims=True)
    angles = np.arccos(np.clip(unit @ unit.T, -1, 1))
    np.fill_diagonal(angles, np.inf)
    near = search(cloud * np.linspace(0.1, 9, N, dtype=np.float32)[:, None], metric="cosine")
    np.testing.assert_array_equal(near.indices, np.argsort(angles, axis=1)[:, :K])
    np.testing.assert_allclose(near.distances, np.sort(angles, axis=1)[:, :K], rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.int8, jnp.int32])
def test_narrow_types_are_searched_in_float32(cloud, dtype):
    narrow = jnp.asarray(cloud * 20).astype(dtype)
    near = search(narrow)
    assert near.distances.dtype == jnp.float32
    distances, _ = brute_force(narrow.astype(jnp.float32), K)
    np.testing.assert_allclose(near.distances, distances, rtol=1e-6)


def test_float64_stays_float64_when_enabled(cloud):
    with jax.enable_x64(True):
        near = search(cloud.astype(np.float64))
        assert near.distances.dtype == jnp.float64 and near.indices.dtype == jnp.int32
        assert_matches(near, brute_force(cloud, K), rtol=1e-14)


def test_tile_size_does_not_change_the_result(cloud):
    # Sums over columns are vectorized differently by tile: the last bit of a distance may change, its place may not.
    for block in (64, 4096):
        other = search(cloud, block=block)
        np.testing.assert_array_equal(other.indices, search(cloud).indices)
        np.testing.assert_allclose(other.distances, search(cloud).distances, rtol=1e-6)


def test_jit_and_vmap_change_nothing(cloud):
    clouds = jnp.stack([cloud, 3 * cloud[::-1]])
    alone = [search(one) for one in clouds]
    together = jax.jit(jax.vmap(search))(clouds)
    chex.assert_trees_all_close(together, jax.tree.map(lambda *leaves: jnp.stack(leaves), *alone), rtol=1e-6)


@pytest.mark.parametrize("axes", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_eight_devices_that_share_the_columns_find_what_one_finds(cloud, axes):
    mesh = jax.make_mesh((8,), ("fsdp",), axis_types=(axes,))
    split = jax.sharding.PartitionSpec(None, "fsdp")
    near, alone = search(jax.device_put(cloud, jax.sharding.NamedSharding(mesh, split))), search(cloud)
    np.testing.assert_array_equal(near.indices, alone.indices)
    # Programs of other shapes may round the last digit of a distance otherwise; its place stays.
    np.testing.assert_allclose(near.distances, alone.distances, rtol=1e-6)


def test_memory_stays_far_below_all_pairs():
    n, width = 20_000, 64
    points = jax.ShapeDtypeStruct((n, width), jnp.float32)

    def total_distance(x):
        return jnp.sum(dimension.neighbors(x, 20, block=512).distances)

    program = jax.jit(jax.value_and_grad(total_distance)).lower(points).compile()
    # All distances would take 1600 MB, all differences to 28 candidates 143 MB; the points themselves take 5 MB.
    assert program.memory_analysis().temp_size_in_bytes < 60e6


def test_gradient_of_a_distance_is_the_unit_difference(cloud):
    def nearest_of_first(x):
        return search(x).distances[0, 0]

    gradient = jax.grad(nearest_of_first)(jnp.asarray(cloud))
    distance, index = (part[0, 0] for part in brute_force(cloud, 1))
    expected = np.zeros_like(cloud)
    expected[0] = (cloud[0] - cloud[index]) / distance
    expected[index] = -expected[0]
    np.testing.assert_allclose(gradient, expected, atol=1e-6)


def test_gradient_is_finite_at_coinciding_points(cloud):
    doubled = jnp.asarray(cloud).at[1].set(cloud[0])
    gradient = jax.grad(lambda x: jnp.sum(search(x).distances))(doubled)
    chex.assert_tree_all_finite(gradient)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((5, 2)), "k": 5}, r"k=5 needs more than 5 points; x has shape \(5, 2\)"),
        ({"x": np.zeros((5, 2)), "k": 0}, "k=0"),
        ({"x": np.zeros(5), "k": 2}, r"x must hold one point per row.*shape \(5,\)"),
        ({"x": np.ones((5, 2), complex), "k": 2}, "must be real"),
        ({"x": np.ones((5, 2)), "k": 2, "metric": "manhattan"}, "metric must be 'euclidean' or 'cosine'"),
        ({"x": np.ones((5, 2)), "k": 2, "queries": np.ones((5, 3))}, "the 2 columns of x"),
        ({"x": np.ones((5, 2)), "k": 2, "mask": np.ones(4, bool)}, r"mask must have shape \(5,\)"),
        ({"x": np.array([[0, 1], [np.nan, 0], [1, 1], [2, 2]]), "k": 2}, "1 row with nan.*row 1"),
        ({"x": np.array([[0, 1], [0, 0], [1, 1], [2, 2]]), "k": 2, "metric": "cosine"}, "1 row of zeros.*row 1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.neighbors(**arguments)
