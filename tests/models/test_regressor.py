"""The regressor with each of its mixers: causal, of like size, and mixing where it should."""

import chex
import jax
import jax.numpy as jnp
import pytest

from jaxscale import config as configs
from jaxscale.models.mixers import MIXERS
from jaxscale.models.regressor import Regressor

MIXING = [name for name, mixer in MIXERS.items() if mixer]


@pytest.mark.parametrize("name", MIXING)
def test_a_mixer_is_causal_and_mixes(name):
    mixer = MIXERS[name](2)
    h = jax.random.normal(jax.random.key(0), (2, 4, 8))
    params = mixer.init(jax.random.key(1), h)
    moved = h.at[:, 2].add(1.0)
    change = jnp.max(jnp.abs(mixer.apply(params, moved) - mixer.apply(params, h)), axis=(0, 2))
    assert jnp.all(change[:2] == 0) and jnp.all(change[2:] > 1e-4), change


def test_windowed_attention_forgets_what_lies_before_its_window():
    mixer = MIXERS["window"](2)
    h = jax.random.normal(jax.random.key(0), (1, 4, 8))
    params = mixer.init(jax.random.key(1), h)
    change = mixer.apply(params, h.at[:, 0].add(1.0)) - mixer.apply(params, h)
    chex.assert_trees_all_equal(change[:, 2:], jnp.zeros_like(change[:, 2:]))


def test_a_state_space_is_its_recurrence():
    mixer = MIXERS["state_space"](1)
    h = jax.random.normal(jax.random.key(0), (1, 5, 4))
    weights = mixer.init(jax.random.key(1), h)["params"]
    token = lambda name, t: h[0, t] @ weights[name]["kernel"] + weights[name].get("bias", 0.0)
    state = jnp.zeros(4)
    for t in range(5):
        decay = jax.nn.sigmoid(token("decay", t))
        state = decay * state + (1 - decay) * token("value", t)
    expected = (jax.nn.silu(token("gate", 4)) * state) @ weights["out"]["kernel"]
    chex.assert_trees_all_close(mixer.apply({"params": weights}, h)[0, 4], expected, atol=1e-5)


def test_architectures_have_like_numbers_of_parameters():
    def size(mixer):
        net = Regressor(configs.PointRegressor(mixer=mixer), width=16, outputs=1)
        shapes = jax.eval_shape(lambda: net.init(jax.random.key(0), jnp.zeros((1, 8))))
        return sum(leaf.size for leaf in jax.tree.leaves(shapes))

    sizes = {name: size(name) for name in MIXING}
    assert max(sizes.values()) < 1.1 * min(sizes.values()), sizes


@pytest.mark.thorough
def test_symbols_of_a_context_are_tokens_that_know_their_place():
    x = jax.nn.one_hot(jnp.array([[0, 1, 2], [1, 0, 2]]), 4).reshape(2, 12)
    for mixer in ("softmax", "mlp"):
        # A single layer, to which tokens without positions would be a set.
        net = Regressor(configs.PointRegressor(mixer=mixer, layers=1), width=8, outputs=4, symbols=4)
        params = net.init(jax.random.key(0), x)["params"]
        y = net.apply({"params": params}, x)
        assert y.shape == (2, 4) and jnp.any(jnp.abs(y[0] - y[1]) > 1e-3)
        assert ("position" in params) == (mixer != "mlp")
