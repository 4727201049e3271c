"""The k-NN graph dimension is the slope of the mean length over all subsets, and its error bars are its spread."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import hypergeom

from jaxscale import dimension
from jaxscale.dimension.estimators.knn_graph import SIZES, chance_among_nearest, neighbors_needed
from jaxscale.errors import InputError

N, K, WIDTH = 300, 3, 8


def cube(d, n=N, seed=0):
    """Uniform on a d-cube, turned into WIDTH dimensions."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    return (rng.uniform(size=(n, d)) @ basis[:d]).astype(np.float32)


def graph_length(distances, subset, k, gamma):
    """Length of the k-NN graph of a subset, from the matrix of distances."""
    return np.sum(np.partition(distances[np.ix_(subset, subset)], k, axis=1)[:, : k + 1] ** gamma)


def all_distances(x):
    x = np.asarray(x, np.float64)
    return np.sqrt(((x[:, None] - x) ** 2).sum(-1))


def test_chances_give_the_mean_length_over_all_subsets():
    x, k = cube(3, n=11), 2
    distances = all_distances(x)
    ascending = np.sort(distances, axis=1)[:, 1:]
    for size in (4, 6, 11):
        subsets = itertools.combinations(range(11), size)
        enumerated = np.mean([graph_length(distances, subset, k, 1) for subset in subsets])
        chances = chance_among_nearest(jnp.float32(size), jnp.float32(11), k, depth=10)
        np.testing.assert_allclose(size / 11 * np.sum(ascending @ np.asarray(chances)), enumerated, rtol=1e-5)


def test_chances_are_hypergeometric_for_large_clouds_too():
    n, size, k, depth = 1_000_000, 500_000, 5, 28
    chances = np.asarray(chance_among_nearest(jnp.float32(size), jnp.float32(n), k, depth))
    j = np.arange(1, depth)  # the last one also holds what is left beyond it
    nearer = [hypergeom(n - 1, size - 1, i - 1).pmf(np.arange(k)) for i in j]
    expected = [np.sum(p * (size - 1 - np.arange(k)) / (n - i)) for p, i in zip(nearer, j, strict=True)]
    np.testing.assert_allclose(chances[:-1], expected, rtol=1e-3, atol=1e-7)
    np.testing.assert_allclose(chances.sum(), k, rtol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize("gamma", [1.0, 2.0])
def test_the_dimension_is_the_slope_of_costa_and_hero(gamma):
    x, rng = cube(3), np.random.default_rng(1)
    distances = all_distances(x)
    sizes = np.round(N * np.geomspace(0.5, 1, SIZES)).astype(int)
    lengths = [
        np.mean([graph_length(distances, rng.choice(N, size, replace=False), K, gamma) for _ in range(40)])
        for size in sizes
    ]
    slope = np.polyfit(np.log(sizes), np.log(lengths), 1)[0]
    # Means over forty subsets leave an error of 2.5% in the slope of the mean edge, the scatter over seeds.
    np.testing.assert_allclose(dimension.knn_graph(x, K, gamma=gamma).dimension, gamma / (1 - slope), rtol=0.08)


@pytest.mark.parametrize("d", [1, 2, 4])
def test_cubes_read_their_dimension(d):
    estimate = dimension.knn_graph(cube(d), K)
    # Boundaries lower it by a few percent at N = 300.
    assert d - 0.1 * d - 3 * estimate.standard_error < estimate.dimension < d + 3 * estimate.standard_error


@pytest.mark.slow
def test_the_standard_error_is_the_spread():
    def of_one(x):
        estimate = dimension.knn_graph(x, K)
        return estimate.dimension, estimate.standard_error

    clouds = np.stack([cube(3, n=176, seed=s) for s in range(30)])
    read, error = jax.jit(lambda clouds: jax.lax.map(of_one, clouds))(clouds)
    # Thirty trials know a standard deviation to 13%.
    assert 0.7 < np.std(read) / np.mean(error) < 1.3


@pytest.mark.thorough
def test_symmetries_and_duplicates_leave_it_alone():
    x = cube(3)
    read = functools.partial(dimension.knn_graph, k=K)
    plain = read(x)
    np.testing.assert_allclose(read(x[::-1] * np.float32(1e-3)).dimension, plain.dimension, rtol=1e-5)
    doubled = read(np.concatenate([x, x[:100], np.full((3, WIDTH), np.nan)]), nonfinite="drop")
    assert doubled.duplicates_collapsed == 100 and doubled.nonfinite_dropped == 3
    np.testing.assert_allclose(doubled.dimension, plain.dimension, rtol=1e-5)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # distinct, at a computed distance of zero
    # Three of 300 points have moved to one place, and with them twelve of 900 edges: a slope of -1/3 gives by a tenth.
    assert abs(read(x).dimension - plain.dimension) < 0.3


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    # A slope of logarithms cancels two digits.
    read = functools.partial(dimension.knn_graph, k=2)
    assert_equal_to_a_loop(read, rtol=1e-3, atol=2e-3)


def test_depth_holds_the_nearest_in_the_smallest_subset():
    depth = neighbors_needed(5, 0.5)
    draws = np.random.default_rng(0).binomial(depth, 0.5, size=1_000_000)
    assert np.mean(draws < 5) < 1.5e-4 and np.mean(np.random.default_rng(1).binomial(depth - 1, 0.5, 10**6) < 5) > 5e-5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((20, 3))}, "k=28 needs more than 28 points"),
        ({"x": cube(2), "k": 0}, "k=0 must be an integer of at least 1"),
        ({"x": cube(2), "gamma": 0}, "gamma must be positive; it is 0"),
        ({"x": cube(2), "smallest": 1}, r"smallest must lie in \(0, 1\); it is 1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.knn_graph(**arguments)
