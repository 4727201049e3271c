"""The corrections behind the wild cluster bootstrap, and the draws, against what they are derived from."""

import chex
import jax
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.laws import bootstrap, search
from tests.laws.tables import power_law

GROUP = np.repeat(np.arange(7), [1, 2, 3, 1, 2, 3, 2])
SIZES = np.logspace(5, 7, 7)[GROUP]
NOISE = 0.003


def searched(table):
    law = laws.named("data")
    task = search.problem(laws.read(table, law), law, laws.least_squares())
    return task, search.find(task)


def test_squared_residuals_are_unbiased_for_the_noise_of_every_group():
    task, found = searched(power_law(sizes=SIZES))
    _, jacobian = bootstrap.linearized(task, found.z)
    # To first order residuals are what the fit leaves of the noise.
    noise = NOISE * np.random.default_rng(0).normal(size=(1000, len(SIZES)))
    left = noise - noise @ (jacobian @ np.linalg.pinv(jacobian)).T
    corrected = np.array([bootstrap.corrected_residuals(r, jacobian, GROUP)[0] for r in left])
    shares = [np.mean(np.sum(corrected[:, g == GROUP] ** 2, 1)) / np.sum(g == GROUP) for g in range(7)]
    # A mean of 1000 squared normals has relative standard error √(2/1000) = 4.5%.
    chex.assert_trees_all_close(np.array(shares) / NOISE**2, np.ones(7), atol=4 * 0.045)


def test_a_mean_of_equal_groups_has_one_degree_of_freedom_less_than_groups():
    _, freedom = bootstrap.corrected_residuals(np.zeros(6), np.ones((6, 1)), np.arange(6))
    assert freedom == pytest.approx(5)


def test_runs_of_a_group_turn_together_and_average_to_the_curve():
    task, found = searched(power_law(noise=NOISE, sizes=SIZES))
    drawn = bootstrap.wild_cluster(jax.random.key(0), task, found, GROUP, 2000)
    shift = drawn.target - np.log(task.losses(found.z))
    flipped = np.sign(shift) * np.sign(shift[0])
    first = np.searchsorted(GROUP, GROUP)
    chex.assert_trees_all_equal(flipped, flipped[:, first])
    # Signs are fair: of 2000 draws half are positive, give or take 4 standard errors.
    assert (abs((shift > 0).mean(0) - 0.5) < 4 * 0.5 / np.sqrt(2000)).all()


def test_pairs_draw_whole_groups_as_often_as_there_are():
    task, _ = searched(power_law(noise=NOISE, sizes=SIZES))
    weight = bootstrap.pairs(jax.random.key(0), task, GROUP, 500).weight
    first = np.searchsorted(GROUP, GROUP)
    chex.assert_trees_all_equal(weight, weight[:, first])
    assert (weight[:, np.unique(first)].sum(1) == 7).all()
    # Each group is drawn once on average, with variance 6/7 over 500 resamples.
    assert (abs(weight.mean(0) - 1) < 4 / np.sqrt(500)).all()


def test_bca_of_normal_draws_around_the_estimate_is_the_percentile_interval():
    draws = np.random.default_rng(0).normal(size=20000)
    without = 0.1 * np.array([-1.0, 1.0, -1.0, 1.0])  # symmetric influence: no acceleration
    interval = laws.intervals.bca(draws, 0.0, without, 0.95)
    assert interval == pytest.approx((-1.96, 1.96), abs=0.08)


def test_bca_moves_towards_the_side_on_which_draws_are_rarer():
    draws = np.random.default_rng(0).normal(size=20000)
    without = 0.1 * np.array([-1.0, 1.0, -1.0, 1.0])
    # Two thirds of the draws lie below an estimate of 0.43: the bias correction moves both ends up.
    assert laws.intervals.bca(draws, 0.43, without, 0.95).lower > -1.96 + 0.5


def test_both_kinds_of_interval_are_offered():
    table = power_law(noise=NOISE)
    fits = [laws.fit(table, key=jax.random.key(0), resamples=100, interval=kind) for kind in ("percentile", "bca")]
    chex.assert_trees_all_equal(fits[0].draws, fits[1].draws)
    lower, upper = fits[1].intervals["alpha"]
    assert lower < fits[1].parameters["alpha"] < upper and fits[0].intervals["alpha"] != fits[1].intervals["alpha"]
