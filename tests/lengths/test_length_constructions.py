"""Transformers built by hand solve their tasks, within the error that is claimed for them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.errors import InputError
from jaxscale.lengths import KGramTask, ModPTask, SimpleTask, constructions, summarize


def largest_error(net, params, task, length, strings=50, method="running"):
    def error(key):
        tokens = task.sample(length, length, key=key)
        return jnp.sum(
            jnp.abs(net.apply({"params": params}, tokens, length, method=method) - task.target(tokens, length).value)
        )

    return np.asarray(jax.jit(jax.vmap(error))(jax.random.split(jax.random.key(0), strings)))


def test_the_sine_of_counts_is_within_its_piecewise_error():
    omega, pieces = 4.0, 64
    net, params = constructions.count(omega, pieces)
    error = largest_error(net, params, SimpleTask(omega), 40).max()
    assert 0 < error <= (omega / pieces) ** 2 / 2 + 1e-5

    @jax.jit
    def at_infinity(key):
        seen = SimpleTask(omega).sample_statistics(jnp.inf, key=key)
        return net.apply({"params": params}, seen, method="summarized") - SimpleTask(omega).target_of(seen).value

    assert abs(float(at_infinity(jax.random.key(1))[0])) <= (omega / pieces) ** 2 / 2 + 1e-5


@pytest.mark.parametrize("residue", [pytest.param(0, marks=pytest.mark.slow), 2])
def test_the_mean_over_a_residue_is_exact_in_hardmax_and_close_in_softmax(residue):
    task = ModPTask(5, residue)
    assert largest_error(*constructions.mod_p(5, residue), task, 43).max() < 1e-6
    soft = largest_error(*constructions.mod_p(5, residue, beta=8.0, regime="infinite"), task, 43).max()
    assert 1e-6 < soft < 5 * np.exp(-8)
    # log N scaling: logits 2 log 43 apart.
    finite = largest_error(*constructions.mod_p(5, residue, beta=2.0, regime="finite"), task, 43).max()
    assert 1e-6 < finite < 5 * 43.0**-2


@pytest.mark.thorough
@pytest.mark.parametrize("order", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_the_k_gram_error_falls_exponentially_in_beta_to_a_floor(order):
    task = KGramTask(order, 3, 3, order)
    at = lambda beta, **options: largest_error(*constructions.k_gram(order, 3, beta, 4.0, **options), task, 256).mean()
    errors = [at(beta) for beta in (2.0, 4.0, 6.0)]
    # e^-2 = 0.135 from each to the next, but for the floor.
    assert errors[1] / errors[0] < 0.3 and errors[2] / errors[1] < 0.35
    assert at(14.0) > 1e-3 * errors[0]  # the floor, of order 1/T: without it this would be e^-12, or 6e-6


@pytest.mark.slow
def test_symbols_that_begin_a_string_remove_the_boundary_and_its_floor():
    order, length = 2, 256
    task = KGramTask(order, 3, 3, order)

    def error(bos):
        net, params = constructions.k_gram(order, 3, beta=14.0, offset_bias=8.0, bos=bos)

        def one(key):
            tokens = task.sample(length, length, key=key)
            begun = jnp.concatenate([jnp.full(order, 3), tokens]) if bos else tokens
            output = net.apply({"params": params}, begun, method="running")
            return jnp.sum(jnp.abs(output - task.target(tokens, length).value))

        return float(jnp.mean(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 50))))

    assert error(bos=True) < 1e-3 < 2e-3 < error(bos=False)


def test_the_witness_fires_on_no_short_string_and_on_a_long_one():
    # f = ReLU(p_0 - o_1 / δ), δ = 0.2: symbol 1 must be five times as frequent as symbol 0.
    net, params = constructions.witness(heads=2, delta=0.2)
    f = jax.jit(lambda bulk: net.apply({"params": params}, seen(bulk), method="summarized")[0])

    def seen(bulk):
        tokens = jnp.array([2])
        return summarize(tokens, 1, 3).__class__(bulk[:, None], tokens, jnp.int32(0), jnp.int32(1), jnp.sum(bulk) + 1)

    counts = np.array([(zeros, ones, 0) for zeros in range(5) for ones in range(6 * zeros + 1)], np.float32)
    fires = (counts[:, 0] > 0) & (5 * counts[:, 0] < counts[:, 0] + counts[:, 1])
    np.testing.assert_array_equal(np.asarray(jax.vmap(f)(counts)) > 1e-6, fires)
    assert float(f(jnp.array([1.0, 1e5, 0.0]))) > 0.99


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: constructions.k_gram(0, 3, 1.0), "order=0 must be at least 1"),
        (lambda: constructions.k_gram(1, 1, 1.0), "alphabet=1 must be at least 2"),
        (lambda: constructions.k_gram(1, 3, 1.0, offset_bias=1.0), "offset_bias=1.0 must exceed 1"),
        (lambda: constructions.mod_p(3, 3), "residue=3 must lie in 0..2"),
        (lambda: constructions.witness(1, 0.1), "heads=1 must be at least 2"),
        (lambda: constructions.count(2.0, 0), "pieces=0 must be positive"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_told(make, message):
    with pytest.raises(InputError, match=message):
        make()
