"""Estimators in a teacher's coordinates, beside the same by scipy and by hand."""

import numpy as np
import pytest
import scipy.spatial

from jaxscale.studies.teacher import references


def test_neighbors_are_those_of_a_tree_and_shares_of_their_labels():
    generator = np.random.default_rng(0)
    points, queries = (generator.normal(size=(count, 3)).astype(np.float32) for count in (200, 20))
    labels = generator.integers(5, size=200)
    squared = references.squared_distances(queries, points)
    found = references.nearest_neighbors(squared, labels, 5)
    assert sorted(found) == [1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91]  # up to half of the points
    nearest = scipy.spatial.cKDTree(points).query(queries, 16)[1]
    np.testing.assert_allclose(found[16.0], np.eye(5)[labels[nearest]].mean(axis=1), atol=1e-6)
    np.testing.assert_allclose(squared, scipy.spatial.distance.cdist(queries, points, "sqeuclidean"), atol=1e-4)


def test_the_variance_among_neighbors_is_chance_and_what_the_truth_differs_by():
    """Of labels at two places of other probabilities, k of them to a query: without the bias of so few."""
    generator = np.random.default_rng(2)
    truth = np.array([[0.8, 0.2], [0.3, 0.7]])
    place = generator.integers(2, size=(20000, 3))
    first = generator.random(place.shape) < truth[place, 0]
    shares = np.stack([first.mean(axis=1), 1 - first.mean(axis=1)], axis=1)
    mean = truth.mean(axis=0)
    assert references.label_variance(shares, 3.0) == pytest.approx(1 - np.sum(mean**2), abs=0.01)


def test_kernel_regression_is_ridge_regression_solved_by_hand():
    generator = np.random.default_rng(1)
    points, queries = (generator.normal(size=(count, 2)).astype(np.float32) for count in (60, 10))
    labels = generator.integers(3, size=60)
    within, across = (references.squared_distances(some, points) for some in (points, queries))
    found = references.kernel_regression(within, across, labels, 3)
    distance = scipy.spatial.distance.cdist(points, points)
    length, y = np.median(distance), np.eye(3)[labels]
    solved = np.linalg.solve(np.exp(-distance / length) + 0.3 * np.eye(60), y - y.mean(axis=0))
    expected = y.mean(axis=0) + np.exp(-scipy.spatial.distance.cdist(queries, points) / length) @ solved
    np.testing.assert_allclose(found[0.3], expected, atol=1e-3)
