"""A dimension can be logged by a training step, and pulled at by its gradient, without a word to the host."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxscale import dimension

BATCH, WIDTH, HIDDEN = 256, 6, 16
OPTIMIZER = optax.sgd(1e-2)
# Traced, so that one program serves every weight, and on the device already.
NOTHING = jnp.float32(0)


def activations(params, x_BxD):
    return jnp.tanh(x_BxD @ params["in"])


def loss(params, x_BxD, y_B, weight):
    hidden_BxH = activations(params, x_BxD)
    error = jnp.mean((hidden_BxH @ params["out"] - y_B) ** 2)
    d = dimension.mle(hidden_BxH, k=10).dimension
    return error + weight * d, {"error": error, "mle": d, "twonn": dimension.twonn(hidden_BxH).dimension}


@functools.partial(jax.jit, donate_argnums=(0, 1))
def step(params, state, x_BxD, y_B, weight):
    gradient, metrics = jax.grad(loss, has_aux=True)(params, x_BxD, y_B, weight)
    updates, state = OPTIMIZER.update(gradient, state)
    return optax.apply_updates(params, updates), state, metrics


def start():
    keys = jax.random.split(jax.random.key(0), 4)
    params = {
        "in": jax.random.normal(keys[0], (WIDTH, HIDDEN)) / 2,
        "out": jax.random.normal(keys[1], (HIDDEN,)) / 4,
    }
    x_BxD = jax.random.normal(keys[2], (BATCH, WIDTH))
    return params, OPTIMIZER.init(params), x_BxD, jnp.sin(x_BxD[:, 0])


def read_in_numpy(hidden_BxH):
    """`mle` at ten neighbors and `twonn`, by their formulas."""
    near = np.sort(np.linalg.norm(hidden_BxH[:, None] - hidden_BxH, axis=-1), axis=1)[:, 1:]
    return {
        "mle": (BATCH * 9 - 1) / np.sum(np.log(near[:, 9:10] / near[:, :9])),
        "twonn": (BATCH - 1) / np.sum(np.log(near[:, 1] / near[:, 0])),
    }


@pytest.mark.thorough
def test_a_step_logs_dimensions_without_a_transfer():
    params, state, x_BxD, y_B = start()
    expected = read_in_numpy(np.asarray(activations(params, x_BxD), np.float64))
    with jax.transfer_guard("disallow"):
        logged = []
        for _ in range(3):
            params, state, metrics = step(params, state, x_BxD, y_B, NOTHING)
            logged.append(metrics)
    for name in ("mle", "twonn"):
        np.testing.assert_allclose(logged[0][name], expected[name], rtol=1e-4)
        assert np.isfinite(logged[-1][name])


@pytest.mark.thorough
def test_the_program_of_a_step_calls_nothing_on_the_host():
    # The transfer guard sees no callback, and on CPU no read by the host; the program itself shows both.
    text = str(jax.make_jaxpr(step)(*start(), NOTHING))
    assert "top_k" in text or "sort" in text
    assert "callback" not in text and "infeed" not in text and "outfeed" not in text


@pytest.mark.thorough
@pytest.mark.parametrize("sign", [1, -1])
def test_as_a_regularizer_it_moves_the_dimension_where_it_is_pulled(sign):
    params, state, x_BxD, y_B = start()
    trace, weight = [], jnp.float32(sign * 0.5)
    with jax.transfer_guard("disallow"):
        for _ in range(40):
            params, state, metrics = step(params, state, x_BxD, y_B, weight)
            trace.append(metrics["mle"])
    # 256 points know their dimension to 4%, but the same points before and after differ by the parameters alone.
    assert sign * (trace[-1] - trace[0]) < -0.1
    assert np.all(np.isfinite(trace)) and all(bool(jnp.all(jnp.isfinite(leaf))) for leaf in jax.tree.leaves(params))
