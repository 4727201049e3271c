"""The persistent homology dimension is the slope of tree lengths its papers define, and its error bars its spread."""

import functools

import jax
import numpy as np
import pytest
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from jaxscale import dimension
from jaxscale.errors import InputError

N, WIDTH = 128, 6


def cube(d, n=N, seed=0):
    """Uniform on a d-cube, turned into WIDTH dimensions."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    return (rng.uniform(size=(n, d)) @ basis[:d]).astype(np.float32)


def slope_of_trees(x, alpha, halvings, resamples):
    """α / (1 - s) in float64: trees by SciPy, over random disjoint parts."""
    distances = squareform(pdist(np.asarray(x, np.float64)))
    rng = np.random.default_rng(0)
    length = lambda rows: np.sum(minimum_spanning_tree(distances[np.ix_(rows, rows)]).data ** alpha)
    sizes = [len(x) // 2**level for level in range(halvings + 1)]
    means = []
    for size in sizes:
        orders = [rng.permutation(len(x)) for _ in range(resamples)]
        means.append(np.mean([length(o[i : i + size]) for o in orders for i in range(0, len(x) - size + 1, size)]))
    return alpha / (1 - np.polyfit(np.log(sizes), np.log(means), 1)[0])


@pytest.mark.thorough
@pytest.mark.parametrize(("alpha", "halvings"), [(1.0, 2), (0.5, 1)])
def test_the_dimension_is_the_slope_of_tree_lengths(alpha, halvings):
    x = cube(3)
    estimate = dimension.ph0(x, alpha=alpha, halvings=halvings, resamples=16)
    # Both are means over random partitions, of which sixteen leave an error of about one percent.
    np.testing.assert_allclose(estimate.dimension, slope_of_trees(x, alpha, halvings, 16), rtol=0.04)
    tree = minimum_spanning_tree(squareform(pdist(np.asarray(x, np.float64)))).data
    np.testing.assert_allclose(estimate.scale, tree.mean(), rtol=1e-5)
    assert estimate.points_used == N and estimate.local is None


@pytest.mark.parametrize("d", [1, 2, 4])
def test_cubes_read_their_dimension(d):
    estimate = dimension.ph0(cube(d))
    # Boundaries lower it by up to a tenth at N = 128.
    assert 0.9 * d - 3 * estimate.standard_error < estimate.dimension < d + 3 * estimate.standard_error


def test_a_fractal_reads_less_than_its_lines():
    digits = np.random.default_rng(1).integers(0, 2, size=(N, 18)) * 2
    cantor = np.zeros((N, WIDTH), np.float32)
    cantor[:, 0] = digits @ 3.0 ** -np.arange(1, 19)
    # log 2 / log 3 = 0.63. The theorem asks for α < d.
    assert 0.5 < dimension.ph0(cantor, alpha=0.5, halvings=1, resamples=16).dimension < 0.8


@pytest.mark.slow
def test_the_standard_error_is_the_spread():
    estimates = [dimension.ph0(cube(3, seed=s), halvings=2) for s in range(40)]
    read, error = np.transpose([(estimate.dimension, estimate.standard_error) for estimate in estimates])
    # Forty trials know a standard deviation to 11%; the standard error is known to be up to a third too large.
    assert 0.55 < np.std(read) / np.mean(error) < 1.2


@pytest.mark.thorough
def test_angles_are_read_under_cosine():
    points = np.random.default_rng(2).normal(size=(N, 3)).astype(np.float32)
    estimate = dimension.ph0(points * np.random.default_rng(3).uniform(1, 9, size=(N, 1)), metric="cosine", halvings=1)
    assert 1.7 < estimate.dimension < 2.2  # a sphere
    directions = np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True), np.float64)
    angles = np.arccos(np.clip(directions @ directions.T, -1, 1))
    np.testing.assert_allclose(estimate.scale, minimum_spanning_tree(angles).data.mean(), rtol=1e-4)


@pytest.mark.thorough
def test_symmetries_and_duplicates_leave_it_alone():
    x = cube(3)
    plain = dimension.ph0(x)
    np.testing.assert_allclose(dimension.ph0(x * np.float32(1e-3)).dimension, plain.dimension, rtol=1e-4)
    doubled = dimension.ph0(np.concatenate([x, x[:100], np.full((4, WIDTH), np.nan)]), nonfinite="drop")
    assert doubled.duplicates_collapsed == 100 and doubled.nonfinite_dropped == 4 and doubled.points_used == N
    # The same tree; other random partitions.
    np.testing.assert_allclose(doubled.scale, plain.scale, rtol=1e-5)
    assert abs(doubled.dimension - plain.dimension) < 2 * plain.standard_error


@pytest.mark.thorough
def test_large_clouds_are_read_at_a_subset():
    estimate = dimension.ph0(cube(2, n=256), halvings=1, max_points=128)
    assert estimate.points_used == 128 and abs(estimate.dimension - 2) < 4 * estimate.standard_error


def test_another_key_draws_other_parts():
    x = cube(3)
    assert dimension.ph0(x, key=jax.random.key(1)).dimension != dimension.ph0(x).dimension
    assert dimension.ph0(x, key=jax.random.key(0)).dimension == dimension.ph0(x).dimension


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    read = functools.partial(dimension.ph0, halvings=1)
    assert_equal_to_a_loop(read, rtol=1e-3, atol=1e-3, clouds=[cube(3), 2 * cube(2)])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": cube(2, n=100)}, r"halvings=3 needs at least 128 distinct points; .* 100 of its rows count"),
        ({"x": cube(2), "alpha": 0}, "alpha must be positive; it is 0"),
        ({"x": cube(2), "halvings": 0}, "halvings=0 must be an integer of at least 1"),
        ({"x": cube(2, n=256), "max_points": 100}, "halvings=3 needs max_points of at least 128; it is 100"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.ph0(**arguments)
