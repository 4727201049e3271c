"""The minimax references against what they are by definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.data import fields
from jaxscale.studies.manifolds import references

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


@pytest.mark.thorough
@pytest.mark.parametrize("width", [2, 3, 5])
def test_the_covariance_of_waves_is_their_mean_product(width):
    covariance = references.wave_covariance(width, 0.5, 3, 8, reach=2.0)
    distances = np.array([0.0, 0.1, 0.5, 1.5])
    x = jnp.zeros((4, width)).at[:, 0].set(distances)
    of = jax.vmap(lambda key: fields.weierstrass(width, 0.5, 3, 8, key=key)(jnp.concatenate([x, x[:1]])))
    values = np.asarray(of(jax.random.split(jax.random.key(0), 4000)), float)
    # Of 4000 products of variance up to 2 the mean is known to 0.02.
    np.testing.assert_allclose(np.mean(values[:, :4] * values[:, 4:], axis=0), covariance(distances), atol=0.07)
    assert covariance(0.0) == pytest.approx(1)


def test_nothing_errs_less_on_average_than_the_best_linear_predictor():
    covariance, noise = references.wave_covariance(2, 1.0, 4, 16, reach=3.0), 0.5
    points = RNG.uniform(-1, 1, size=(96, 2))
    distances = np.linalg.norm(points[:, None] - points, axis=2)
    truth = np.linalg.cholesky(covariance(distances) + 1e-9 * np.eye(96)) @ RNG.normal(size=(96, 200))
    x, queries, y = points[:64], points[64:], truth[:64] + noise * RNG.normal(size=(64, 200))
    best = references.best_linear(x, y, queries, covariance, noise)
    error = np.mean((best - truth[64:]) ** 2)
    rivals = [
        *references.kernel_regression(x, y, queries).values(),
        *references.nearest_neighbors(x, y, queries).values(),
    ]
    assert all(error < np.mean((rival - truth[64:]) ** 2) for rival in rivals)
    # What theory says it errs, but for the mean that is taken off instead of known.
    labels, across = covariance(distances[:64, :64]) + noise**2 * np.eye(64), covariance(distances[64:, :64])
    stated = np.mean(1 - np.sum(across * np.linalg.solve(labels, across.T).T, axis=1))
    assert error == pytest.approx(stated, rel=0.1)


@pytest.mark.thorough
@pytest.mark.parametrize(("beta", "octaves"), [(1.0, 1), (0.25, 3), (1.0, 8)])
def test_the_covariance_of_many_near_points_stays_positive_under_little_noise(beta, octaves):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, 600)
    x = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    covariance = references.wave_covariance(2, beta, octaves, 16, reach=3.0)
    found = references.best_linear(x, x[:, :1], x, covariance, 0.05)
    assert np.mean((found - x[:, :1]) ** 2) < 0.05**2


def test_excess_is_a_divergence_for_probabilities():
    p = np.array([[0.2, 0.8], [0.5, 0.5]])
    assert references.excess("cross_entropy", p, p) == pytest.approx(0.0)
    q = np.array([[0.5, 0.5], [0.5, 0.5]])
    assert references.excess("cross_entropy", q, p) == pytest.approx((0.2 * np.log(0.4) + 0.8 * np.log(1.6)) / 2)


def test_n_grams_are_smoothed_shares_after_the_same_context():
    one_hot = lambda rows: np.eye(2)[np.array(rows)]
    # After 0 comes 1 three times of four; after 1 always 0. What came before says nothing more.
    x, y = one_hot([[0, 0], [1, 0], [0, 0], [1, 0], [0, 1], [1, 1]]), one_hot([1, 1, 1, 0, 0, 0])
    found = references.n_grams(x, y, one_hot([[0, 0], [1, 1]]))
    by_hand = []
    for newest, older in ((0, 0), (1, 1)):
        share = np.array([0.5, 0.5])
        for alike in (
            np.ones(6, bool),
            x[:, 1, newest] == 1,
            (x[:, 1, newest] == 1) & (x[:, 0, older] == 1),
        ):
            share = (y[alike].sum(axis=0) + 4 * share) / (alike.sum() + 4)
        by_hand.append(share)
    np.testing.assert_allclose(found[4.0], by_hand)
    assert all(np.allclose(shares.sum(axis=1), 1) for shares in found.values())


def test_n_grams_that_never_came_say_what_shorter_ones_do():
    one_hot = lambda rows: np.eye(3)[np.array(rows)]
    x, y = one_hot([[0, 0], [0, 0], [0, 1]]), one_hot([2, 2, 1])
    known, unknown = references.n_grams(x, y, one_hot([[0, 0], [2, 0]]))[1.0]
    assert unknown[2] < known[2] and unknown[2] > 0.6
