"""Schedules and the direction of a step."""

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxscale import config as configs
from jaxscale.training import optimizer


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_rates_warm_up_to_the_peak_and_end_where_they_should(schedule):
    c = configs.Optimizer(learning_rate=0.5, schedule=schedule, warmup_steps=4, final_fraction=0.1, decay_fraction=0.25)
    rates = optimizer.learning_rates(c, 100)
    assert rates.shape == (100,)
    np.testing.assert_allclose(rates[:4], [0.125, 0.25, 0.375, 0.5], rtol=1e-6)
    np.testing.assert_allclose(rates.max(), 0.5)
    np.testing.assert_allclose(rates[-1], 0.5 if schedule == "constant" else 0.05, rtol=1e-5)
    if schedule == "wsd":
        assert np.sum(np.isclose(rates, 0.5)) == 100 - 3 - 24


def test_warm_up_is_cut_to_a_fifth_of_a_short_run():
    rates = optimizer.learning_rates(configs.Optimizer(learning_rate=1.0, schedule="constant", warmup_steps=1000), 10)
    np.testing.assert_allclose(rates, [0.5] + [1.0] * 9)


def test_direction_is_adamw_with_clipping():
    c = configs.Optimizer(learning_rate=0.1, clip_norm=1.0, weight_decay=0.2)
    params = {"kernel": jnp.ones((2, 3)), "scale": jnp.ones(3)}
    gradient = {"kernel": jnp.full((2, 3), 5.0), "scale": jnp.array([1.0, -2.0, 3.0])}
    ours = optimizer.direction(c)
    mask = {"kernel": True, "scale": False}
    theirs = optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(0.1, b1=c.b1, b2=c.b2, weight_decay=0.2, mask=mask)
    )
    updates, _ = ours.update(gradient, ours.init(params), params)
    expected, _ = theirs.update(gradient, theirs.init(params), params)
    chex.assert_trees_all_close({k: -0.1 * u for k, u in updates.items()}, expected, rtol=1e-6)
