"""The corrections behind the wild cluster bootstrap, against what they are derived from."""

import chex
import jax
import numpy as np
import pytest

from jaxscale.laws import projection, resampling

CLUSTER = np.repeat(np.arange(7), [1, 2, 3, 1, 2, 3, 2])
LOG_SIZE = np.linspace(-2.3, 2.3, 7)[CLUSTER]
CURVE = 1.5 + 2 * np.exp(-0.3 * LOG_SIZE)
NOISE = 0.003


def fitted(losses):
    return projection.minimize(projection.Lane(losses, np.ones_like(losses), resampling.floors(losses)), LOG_SIZE)


def test_squared_residuals_are_unbiased_for_the_noise_of_every_cluster():
    tables = 1000
    losses = CURVE * (1 + NOISE * np.random.default_rng(0).normal(size=(tables, len(CURVE))))
    optima = fitted(losses)
    squares = [
        resampling.corrected_residuals(projection.Optimum(*optimum), loss, LOG_SIZE, CLUSTER)[0] ** 2
        for loss, *optimum in zip(losses, *optima, strict=True)
    ]
    # A mean of 1000 squared normals has relative standard error √(2/1000) = 4.5%.
    chex.assert_trees_all_close(np.mean(squares, 0) * np.bincount(CLUSTER) / NOISE**2, np.ones(7), atol=4 * 0.045)


def test_a_mean_of_equal_clusters_has_one_degree_of_freedom_less_than_clusters():
    assert resampling.degrees_of_freedom(np.full((6, 6), 1 / 6), np.ones(6)) == pytest.approx(5)


def test_runs_of_a_cluster_move_together_and_average_to_the_curve():
    loss = CURVE * (1 + NOISE * np.random.default_rng(0).normal(size=len(CURVE)))
    optimum = projection.Optimum(*(values[0] for values in fitted(loss[None])))
    lanes = resampling.wild_cluster(jax.random.key(0), optimum, loss, LOG_SIZE, CLUSTER, 2000)
    curve = optimum.irreducible_loss + optimum.scale * np.exp(-optimum.exponent * LOG_SIZE)
    shift = np.log(lanes.loss / curve)
    first = np.searchsorted(CLUSTER, CLUSTER)
    chex.assert_trees_all_close(shift, shift[:, first], atol=1e-12)
    # Signs are fair: of 2000 draws half are positive, give or take 4 standard errors.
    assert (abs((shift > 0).mean(0) - 0.5) < 4 * 0.5 / np.sqrt(2000)).all()


def test_pairs_draw_as_many_runs_as_there_are():
    lanes = resampling.pairs(jax.random.key(0), CURVE, 500)
    assert (lanes.weight.sum(1) == len(CURVE)).all()
    # Each run is drawn once on average; Poisson-like variance 1 over 500 resamples.
    assert (abs(lanes.weight.mean(0) - 1) < 4 / np.sqrt(500)).all()
