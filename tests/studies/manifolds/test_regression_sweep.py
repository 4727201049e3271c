"""Networks trained as one program: each is what it would be alone, on any number of devices."""

import dataclasses
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import studies
from jaxscale.ensembles import going_on, put, spread
from jaxscale.models.regressor import Regressor
from jaxscale.studies.manifolds.problem import make_problem, stack
from jaxscale.studies.manifolds.sweep import Lanes, advance, errors, schedule, start

STUDY = studies.ManifoldStudy(
    dimension=1,
    ambient=3,
    in_excess=512,
    validation=64,
    test=64,
    target=studies.ManifoldTarget(octaves=3, waves=8),
    network=configs.PointRegressor(mixer="mlp", layers=1),
    training=studies.PointTraining(steps=60, batch_size=16),
)
NET = Regressor(STUDY.network, 8, 1)


@pytest.fixture(scope="module")
def problems():
    return stack([make_problem(STUDY, seed) for seed in (0, 1)])


def lanes_of(problem, size, noisy):
    count = len(problem)
    return Lanes(  # three lanes in most tests, which then share one program
        problem=jnp.asarray(problem, jnp.int32),
        seed=jnp.asarray(problem, jnp.int32),
        size=jnp.asarray(size, jnp.int32),
        noisy=jnp.asarray(noisy),
        learning_rate=jnp.full(count, 2e-2),
        weight_decay=jnp.zeros(count),
    )


def trained(problems, lanes, looks):
    runs = start(NET, lanes, 3)
    seen = []
    for _ in range(looks):
        runs, _ = advance(NET, STUDY.training, "squared_error", problems, lanes, runs, steps=20)
        seen.append(np.asarray(runs.validation))
    return runs, seen


@pytest.mark.thorough
def test_a_lane_does_not_depend_on_those_beside_it_nor_on_devices(problems):
    lanes = spread(lanes_of([0, 1, 0], [16, 32, 512], [True, True, False]), [0, 1, 2])
    assert len(lanes.seed) == 8
    assert len(lanes.seed.sharding.device_set) == jax.device_count() == 8
    elsewhere = lanes_of([1, 0, 1], [32, 48, 16], [True, False, True])
    together, other = (trained(problems, one, 2)[0] for one in (lanes, elsewhere))
    pick = lambda leaf, i: np.asarray(leaf)[i]
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: pick(leaf, 1), together.params),
        jax.tree.map(lambda leaf: pick(leaf, 0), other.params),
        atol=1e-4,
    )


@pytest.mark.thorough
def test_what_is_kept_is_the_least_validation_loss_seen(problems):
    lanes = lanes_of([0, 1, 0], [16, 16, 32], [True, True, True])
    runs, seen = trained(problems, lanes, 3)
    assert all((after <= before).all() for before, after in itertools.pairwise(seen))
    assert set(np.asarray(runs.best_step)) <= {20, 40, 60}


@pytest.mark.thorough
def test_training_on_the_truth_in_excess_errs_less_than_on_few_noisy_labels(problems):
    lanes = lanes_of([0, 0, 0], [16, 512, 512], [True, False, False])
    few, excess, _ = errors(NET, "squared_error", problems, lanes, trained(problems, lanes, 3)[0])
    assert 0 < excess < few


@pytest.mark.thorough
def test_only_the_first_points_of_the_pool_are_trained_on(problems):
    lanes = lanes_of([0, 1, 0], [16, 16, 16], [True, True, True])
    spoilt = jax.tree.map(lambda leaf: leaf, problems)
    spoilt = type(problems)(**{**vars(spoilt), "labels": spoilt.labels.at[:, 16:].set(jnp.nan)})
    chex.assert_trees_all_equal(trained(problems, lanes, 1)[0].params, trained(spoilt, lanes, 1)[0].params)


@pytest.mark.thorough
def test_lanes_left_alone_stay_as_they_are_and_the_others_go_on_as_they_would_have(problems):
    lanes = lanes_of([0, 1, 0], [16, 32, 512], [True, True, False])
    before = trained(problems, lanes, 1)[0]
    kept = jax.tree.map(np.array, before)
    which = np.array([0, 2])
    some, _ = advance(
        NET, STUDY.training, "squared_error", problems, spread(lanes, which), spread(before, which), steps=20
    )
    after, together = put(kept, which, some), trained(problems, lanes, 2)[0]
    assert int(after.step) == 40
    pick = lambda runs, i: jax.tree.map(lambda leaf: np.asarray(leaf)[i] if np.ndim(leaf) else leaf, runs.params)
    chex.assert_trees_all_equal(pick(after, 1), pick(kept, 1))
    for lane in which:
        chex.assert_trees_all_close(pick(after, lane), pick(together, lane), atol=1e-4)


def test_those_go_on_that_did_best_in_the_later_half(problems):
    runs = start(NET, lanes_of([0, 1, 0], [16, 32, 512], [True, True, False]), 3)
    runs = dataclasses.replace(runs, best_step=jnp.array([20, 100, 49]))
    assert list(going_on(runs.best_step, 0)) == [0, 1, 2]
    assert list(going_on(runs.best_step, 98)) == [1, 2] and list(going_on(runs.best_step, 100)) == [1]


@pytest.mark.thorough
def test_parameters_are_averaged_with_weights_that_grow(problems):
    lanes = lanes_of([0], [16], [True])
    runs = start(NET, lanes, 3)
    weights, seen = (np.arange(1, 11) ** 0.0), []
    for _ in range(10):
        runs, _ = advance(NET, STUDY.training, "squared_error", problems, lanes, runs, steps=1)
        seen.append(np.asarray(runs.params["read_out"]["kernel"]))
    # Each step's share of the average is 9 / (step + 8), of what came before the rest: polynomial weights.
    for step in range(1, 11):
        weights[: step - 1] *= 1 - 9 / (step + 8)
        weights[step - 1] = 9 / (step + 8)
    expected = np.einsum("s,s...->...", weights, np.array(seen))
    chex.assert_trees_all_close(runs.average["read_out"]["kernel"], expected, atol=1e-6)


def test_the_schedule_rises_and_ends_at_zero():
    share = np.array([float(schedule(done)) for done in (0.0, 0.05, 0.5, 1.0)])
    assert share[0] < 0.05 and share[1] == pytest.approx(1.0) and share[2] < 0.6 and share[3] == pytest.approx(0.0)
