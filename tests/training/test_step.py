"""One step: the same on any mesh and any accumulation, and still when the loss is not a number."""

import dataclasses
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.training import program

RUN = configs.Run(
    model=configs.Decoder(layers=1, width=16, heads=2, hidden=32, context=8),
    training=configs.Training(batch_size=16),
)
TOKENS = np.random.default_rng(0).integers(0, 64, (3, 16, 9)).astype(np.int32)


def stepped(run, mesh_config, devices=None, rate=1e-2):
    mesh = sharding.make_mesh(mesh_config, devices)
    shared = program(run, 64, mesh)
    state = shared.init(jax.random.key(0))
    for tokens in TOKENS:
        state, values = shared.step(state, jax.device_put(tokens, sharding.batch_sharding(mesh)), np.float32(rate))
    return state, values


@pytest.fixture(scope="module")
def alone():
    return stepped(RUN, configs.Mesh(), jax.devices()[:1])


# Every axis is in one of the first two.
MESHES = [(2, 2, 1, 2), pytest.param((1, 2, 2, 2), marks=pytest.mark.thorough)]
MORE_MESHES = [pytest.param(sizes, marks=pytest.mark.slow) for sizes in ((8, 1, 1, 1), (1, 8, 1, 1), (1, 4, 1, 2))]


@pytest.mark.parametrize("sizes", [*MESHES, *MORE_MESHES])
def test_every_mesh_makes_the_same_step(alone, sizes):
    state, values = stepped(RUN, configs.Mesh(*sizes))
    chex.assert_trees_all_close(values, alone[1], rtol=1e-4)
    chex.assert_trees_all_close(jax.device_get(state.params), jax.device_get(alone[0].params), atol=2e-5)


@pytest.mark.parametrize("parts", [4, pytest.param(2, marks=pytest.mark.slow)])
def test_accumulation_changes_nothing_but_rounding(alone, parts):
    run = dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, accumulation=parts))
    state, values = stepped(run, configs.Mesh(), jax.devices()[:1])
    chex.assert_trees_all_close(values, alone[1], rtol=1e-4)
    chex.assert_trees_all_close(jax.device_get(state.params), jax.device_get(alone[0].params), atol=2e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("options", "sizes"),
    [
        pytest.param({"remat": "full"}, (1, 1, 1, 1), marks=pytest.mark.slow),
        ({"remat": "dots", "loss_chunks": 4}, (1, 1, 1, 1)),
        ({"loss_chunks": 5, "remat": "full"}, (1, 2, 4, 1)),
    ],
    ids=str,
)
def test_what_is_computed_again_or_in_chunks_changes_nothing_but_rounding(alone, options, sizes):
    run = dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, **options))
    state, values = stepped(run, configs.Mesh(*sizes), jax.devices()[: math.prod(sizes)])
    chex.assert_trees_all_close(values, alone[1], rtol=1e-4)
    chex.assert_trees_all_close(jax.device_get(state.params), jax.device_get(alone[0].params), atol=2e-5)


@pytest.mark.thorough
def test_scanned_blocks_make_the_same_step():
    mesh = sharding.make_mesh(configs.Mesh(), jax.devices()[:1])
    two = dataclasses.replace(RUN, model=dataclasses.replace(RUN.model, layers=2))
    scanned = dataclasses.replace(two, model=dataclasses.replace(two.model, scan=True))
    plain, stacked = program(two, 64, mesh), program(scanned, 64, mesh)
    params = jax.device_get(stacked.init(jax.random.key(0)).params)
    blocks = params.pop("blocks")["block"]
    same = params | {f"block_{i}": jax.tree.map(lambda p, i=i: p[i], blocks) for i in range(2)}
    tokens = jax.device_put(TOKENS[0], sharding.batch_sharding(mesh))
    state, values = stacked.step(stacked.init(jax.random.key(0)), tokens, np.float32(1e-2))
    of_same = dataclasses.replace(plain.init(jax.random.key(0)), params=jax.device_put(same))
    _, expected = plain.step(of_same, tokens, np.float32(1e-2))
    chex.assert_trees_all_close(values, expected, rtol=1e-5)
    assert state.params["blocks"]["block"]["mlp"]["up"]["kernel"].shape == (2, 16, 32)


def test_runs_that_differ_in_rate_and_seed_share_a_program():
    mesh = sharding.make_mesh(configs.Mesh())
    other = dataclasses.replace(
        RUN, seed=5, tokens=4096, optimizer=dataclasses.replace(RUN.optimizer, learning_rate=1.0)
    )
    assert program(RUN, 64, mesh) is program(other, 64, mesh)


def test_a_step_that_is_not_finite_moves_nothing_then_or_later():
    mesh = sharding.make_mesh(configs.Mesh(), jax.devices()[:1])
    shared = program(RUN, 64, mesh)
    place = lambda tokens: jax.device_put(tokens, sharding.batch_sharding(mesh))
    state, _ = shared.step(shared.init(jax.random.key(0)), place(TOKENS[0]), np.float32(1e-2))
    broken = dataclasses.replace(state, params=jax.tree.map(lambda p: p * jnp.inf, state.params))
    expected = jax.device_get(broken)
    broken, values = shared.step(broken, place(TOKENS[1]), np.float32(1e-2))
    assert not np.isfinite(float(values["train_loss"]))
    assert (int(broken.failed), int(broken.step)) == (1, 1)
    again, _ = shared.step(broken, place(TOKENS[2]), np.float32(1e-2))
    assert int(again.failed) == 1
    np.testing.assert_equal(jax.device_get(again.params), expected.params)


def test_evaluation_weighs_sequences_and_ignores_padding(alone):
    mesh = sharding.make_mesh(configs.Mesh(), jax.devices()[:1])
    shared = program(RUN, 64, mesh)
    whole = shared.evaluate(alone[0].params, TOKENS[:1], np.ones((1, 16), np.float32))
    weights = np.concatenate([np.ones((1, 16)), np.zeros((1, 16))]).astype(np.float32)
    padded = shared.evaluate(alone[0].params, TOKENS[:2], weights)
    np.testing.assert_allclose(whole, padded, rtol=1e-6)


@pytest.mark.thorough
def test_a_spike_is_bad_once_the_usual_norm_is_known():
    mesh = sharding.make_mesh(configs.Mesh(), jax.devices()[:1])
    watchful = dataclasses.replace(RUN, training=dataclasses.replace(RUN.training, spike=3.0, bad_steps="skip"))
    shared = program(watchful, 64, mesh)
    place = lambda tokens: jax.device_put(tokens, sharding.batch_sharding(mesh))
    state = shared.init(jax.random.key(0))
    settled = dataclasses.replace(state, step=jnp.int32(50), usual=jnp.float32(0.01))
    before = jax.device_get(settled.params)
    after, values = shared.step(settled, place(TOKENS[0]), np.float32(1e-2))
    assert float(values["gradient_norm"]) > 0.03 and int(values["skipped"]) == 1 and int(after.step) == 51
    np.testing.assert_equal(jax.device_get(after.params), before)
    young, values = shared.step(shared.init(jax.random.key(0)), place(TOKENS[0]), np.float32(1e-2))
    assert int(values["skipped"]) == 0 and float(young.usual) == float(values["gradient_norm"])
