"""The minimax references against what they are by definition."""

import numpy as np
import pytest

from jaxscale.regression import references

RNG = np.random.default_rng(0)
X, Y, Q = RNG.normal(size=(40, 2)), RNG.normal(size=(40, 1)), RNG.normal(size=(7, 2))


def test_neighbors_are_means_over_the_nearest():
    found = references.nearest_neighbors(X, Y, Q)
    assert list(found) == [1, 2, 4, 8, 16, 32]
    order = np.argsort(np.linalg.norm(Q[:, None] - X, axis=2), axis=1)
    np.testing.assert_allclose(found[4], Y[order[:, :4]].mean(axis=1))


def test_a_kernel_with_a_small_ridge_interpolates_and_with_a_large_one_returns_the_mean():
    found = references.kernel_regression(X, Y, X)
    off = [float(np.sqrt(np.mean((found[ridge] - Y) ** 2)) / Y.std()) for ridge in sorted(found)]
    assert off == sorted(off) and off[0] < 0.1
    # A ridge of 100 on 40 points leaves at most 40/140 of the deviations from the mean.
    assert off[-1] > 0.7


def test_excess_is_a_divergence_for_probabilities():
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert references.excess("cross_entropy", p, p) == pytest.approx(0.0)
    q = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert references.excess("cross_entropy", q, p) == pytest.approx((0.2 * np.log(0.4) + 0.8 * np.log(1.6)) / 2)
