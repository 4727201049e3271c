"""The spanning tree is the minimum one, whatever ties, scales and sizes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import pdist, squareform

from jaxscale.dimension.estimators.spanning_tree import _roots, spanning_tree


def expected(points):
    """Edge lengths in float64. SciPy takes a zero for no edge, so every length is one more at first."""
    distances = squareform(pdist(np.asarray(points, np.float64)) + 1)
    return np.sort(minimum_spanning_tree(distances).data) - 1


@pytest.mark.parametrize(("n", "width"), [(700, 3), (700, 40), (2, 3), (65, 1)])
def test_edges_are_those_of_scipy(n, width):
    points = np.random.default_rng(0).normal(size=(n, width)).astype(np.float32)
    # Distances by direct differences are right to float32; all edges must agree, one by one.
    np.testing.assert_allclose(np.sort(spanning_tree(points)), expected(points), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 100, 299, 300])
def test_only_the_first_points_count(size):
    points = np.random.default_rng(1).normal(size=(300, 4)).astype(np.float32)
    points[size:] = np.nan  # whatever the others are
    lengths = np.sort(spanning_tree(points, size))
    assert np.all(lengths[: 300 - size] == 0)
    np.testing.assert_allclose(lengths[300 - size :], expected(points[:size]), rtol=1e-5)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, (30, 2), elements=st.integers(0, 3).map(float)))
def test_ties_and_duplicates_still_give_a_minimum_tree(points):
    np.testing.assert_allclose(np.sort(spanning_tree(points)), expected(points), atol=1e-5)


@pytest.mark.parametrize(("scale", "offset"), [(1e-25, 0), (1e25, 0), (1, 1000)])
def test_scale_and_offset_do_not_matter(scale, offset):
    points = np.random.default_rng(2).normal(size=(300, 4)).astype(np.float32)
    moved = points * np.float32(scale) + np.float32(offset)
    # An offset of a thousand costs the points themselves three digits.
    np.testing.assert_allclose(np.sum(spanning_tree(moved)) / scale, np.sum(expected(points)), rtol=1e-4)


def test_vmap_equals_a_loop():
    clouds = np.random.default_rng(3).normal(size=(3, 100, 2)).astype(np.float32)
    sizes = jnp.array([100, 50, 7])
    together = jax.vmap(spanning_tree)(clouds, sizes)
    for lengths, points, size in zip(together, clouds, sizes, strict=True):
        np.testing.assert_allclose(np.sort(lengths), np.sort(spanning_tree(points, size)), rtol=1e-5)


def test_points_that_are_not_finite_do_not_hang():
    spanning_tree(np.full((50, 2), np.nan, np.float32)).block_until_ready()


def test_longer_cycles_have_one_root():
    # 0 -> 1 -> 2 -> 0 is a cycle, 3 and 4 lead into it; 5 and 6 choose each other; 7 is alone.
    assert list(_roots(jnp.array([1, 2, 0, 0, 3, 6, 5, 7]))) == [0, 0, 0, 0, 0, 5, 5, 7]
