"""Networks side by side train as each would alone: against optax itself, and whatever stands beside them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxscale import ensembles
from jaxscale.errors import RunError

DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.99))
RATES = jnp.array([1e-2, 3e-2, 1e-1])
SEEDS = jnp.array([0, 1, 0])


def init(key):
    return {"weight": jax.random.normal(key, (4,)), "offset": jnp.zeros(())}


def loss(params, member, step, _):
    x_BxD = jax.random.normal(ensembles.step_key(step, key=member["seed"]), (8, 4))
    return jnp.mean((x_BxD @ params["weight"] + params["offset"] - x_BxD[:, 0] ** 2) ** 2)


def move(params, updates, member, step):
    return jax.tree.map(lambda value, update: value - member["rate"] * update, params, updates)


def trained(which, steps, moves=None, averaging=None):
    """Parameters after each of the numbers of `steps`, one after the other."""
    members = {"seed": SEEDS[jnp.array(which)], "rate": RATES[jnp.array(which)]}
    networks = ensembles.start(init, members["seed"], DIRECTION)
    if averaging is not None:
        networks = ensembles.Networks(networks.params, networks.moments, networks.step, networks.params)
    further = jax.jit(
        lambda networks, count: ensembles.advance(
            networks, members, loss, DIRECTION, move, count, averaging=averaging, moves=moves
        ),
        static_argnums=1,
    )
    losses = []
    for count in steps:
        networks, more = further(networks, count)
        losses.append(more)
    return networks, jnp.concatenate(losses)


def test_one_of_many_is_what_optax_makes_of_it_alone():
    networks, losses_SxM = trained([0, 1, 2], [10])
    for place in range(3):
        params = init(jax.random.fold_in(jax.random.key(SEEDS[place]), 0))
        optimizer = optax.chain(DIRECTION, optax.scale_by_learning_rate(RATES[place]))
        state, member = optimizer.init(params), {"seed": SEEDS[place]}
        for step in range(10):
            value, gradient = jax.value_and_grad(loss)(params, member, step, None)
            assert value == pytest.approx(float(losses_SxM[step, place]), rel=1e-5)
            updates, state = optimizer.update(gradient, state, params)
            params = optax.apply_updates(params, updates)
        found = jax.tree.map(lambda leaf, place=place: leaf[place], networks.params)
        chex.assert_trees_all_close(found, params, rtol=1e-5)


@pytest.mark.thorough
def test_an_interruption_and_the_neighbors_change_nothing():
    whole, losses_SxM = trained([0, 1, 2], [6])
    parts, again_SxM = trained([0, 1, 2], [2, 4])
    chex.assert_trees_all_equal(whole, parts)
    np.testing.assert_array_equal(losses_SxM, again_SxM)
    alone, _ = trained([2], [6])
    chex.assert_trees_all_close(
        jax.tree.map(lambda leaf: leaf[0], alone.params), jax.tree.map(lambda leaf: leaf[2], whole.params), rtol=1e-6
    )


def test_only_what_may_move_moves():
    first = init(jax.random.fold_in(jax.random.key(0), 0))
    moves = {"weight": jnp.array([1.0, 0.0, 0.0, 1.0]), "offset": jnp.zeros(())}
    networks, _ = trained([0], [5], moves)
    same = np.asarray(networks.params["weight"][0] == first["weight"])
    assert same.tolist() == [False, True, True, False] and networks.params["offset"][0] == 0


@pytest.mark.thorough
def test_the_average_weighs_later_steps_more():
    """Weights of step t proportional to (t + 1)(t + 2) … (t + power), t = 0, 1, …: the recursion, summed."""
    power, steps = 2, 5
    networks, _ = trained([0], [steps], averaging=power)
    seen = [trained([0], [count])[0].params["offset"][0] for count in range(1, steps + 1)]
    weights = np.array([(t + 1) * (t + 2) for t in range(steps)], float)
    assert float(networks.average["offset"][0]) == pytest.approx(np.dot(weights, seen) / weights.sum(), rel=1e-5)


def test_stretches_double_and_end_where_training_does():
    assert ensembles.stretches(500, 3000) == [(0, 500), (500, 1000), (1000, 2000), (2000, 3000)]
    assert ensembles.stretches(500, 200) == [(0, 200)]


def test_saved_trees_come_back(tmp_path):
    networks, _ = trained([0, 1], [1])
    ensembles.save_tree(tmp_path / "networks.npz", networks)
    chex.assert_trees_all_equal(ensembles.load_tree(tmp_path / "networks.npz", networks), networks)


@pytest.mark.parametrize("damage", ["cut", "changed", "empty", "other"])
def test_a_damaged_file_of_networks_is_named_with_the_remedy(damage, tmp_path):
    path, networks = tmp_path / "networks.npz", (jnp.arange(300.0), {"step": np.int32(3)})
    ensembles.save_tree(path, networks)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes({"cut": data[:200], "changed": data, "empty": b"", "other": path.read_bytes()}[damage])
    with pytest.raises(RunError, match=r"networks\.npz (is damaged|holds other networks).*Delete it"):
        ensembles.load_tree(path, networks if damage != "other" else (jnp.zeros(7), {"step": np.int32(0)}))
