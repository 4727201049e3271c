"""Parameters and strings of NumPy, as files give them, do what those of JAX do, constants of a compiled program too."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config, lengths
from jaxscale.lengths import evaluation, positions
from jaxscale.lengths.position_decoder import PositionDecoder

KEY = jax.random.key(0)
TOKENS = jax.random.randint(KEY, (20,), 0, 3)
TASK = lengths.KGramTask(order=1, symbols=3, alphabet=3, longest_order=1)


def network(layers):
    net = lengths.LimitTransformer(alphabet=3, outputs=3, layers=layers, locality=1, width=4, hidden=4)
    return net, jax.jit(net.init)(KEY, TOKENS)["params"]


def agrees(call, *arrays):
    """`call` of NumPy's arrays is that of JAX's: inside `jit`, and there under `vmap` of something else."""
    given = jax.tree.map(np.asarray, arrays)
    constant = lambda: (call(*given), jax.vmap(lambda _: call(*given))(jnp.zeros(1)))
    wanted, *found = jax.device_get(jax.jit(lambda *arrays: (call(*arrays), *constant()))(*arrays))
    for way in found:
        for one, other in zip(jax.tree.leaves(way), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(np.ravel(one), np.ravel(other), atol=1e-5)


@pytest.mark.thorough
@pytest.mark.parametrize(("layers", "method"), [(1, "__call__"), (2, "__call__"), (2, "running"), (2, "prefixes")])
def test_passes_over_strings(layers, method):
    net, params = network(layers)
    agrees(lambda params, tokens: net.apply({"params": params}, tokens, method=method), params, TOKENS)


@pytest.mark.thorough
@pytest.mark.parametrize("method", ["summarized", "attention"])
def test_passes_over_statistics(method):
    net, params = network(1)
    seen = lengths.summarize(TOKENS, 15, alphabet=3, locality=1)
    agrees(lambda params, seen: net.apply({"params": params}, seen, method=method), params, seen)


@pytest.mark.thorough
def test_the_pass_at_infinite_length():
    net, params = network(2)
    string = jax.jit(lambda: TASK.sample_limit(key=KEY, locality=1))()
    limit = lambda params, law, recent: net.apply({"params": params}, law, recent, method="limit")
    agrees(limit, params, string.law, string.recent)


def test_errors_of_a_batch_of_statistics():
    net = lengths.LimitTransformer(alphabet=2, period=2, biased=False, width=4, hidden=4)
    params, task = jax.jit(net.init)(KEY, TOKENS)["params"], lengths.ModPTask(period=2)
    seen = jax.jit(jax.vmap(lambda key: task.sample_statistics(9, key=key)))(jax.random.split(KEY, 3))
    agrees(lambda params, seen: evaluation.squared_errors(net, params, task, seen), params, seen)


@pytest.mark.parametrize(
    "shorten",
    [
        functools.partial(lengths.proportional, budget=10, alphabet=3),
        functools.partial(lengths.last, budget=10),
        functools.partial(lengths.random_draw, key=KEY, budget=10, alphabet=3),
        functools.partial(lengths.thin, key=KEY, kept=5, size=20),
        functools.partial(lengths.summarize, alphabet=3),
        TASK.target,
    ],
)
def test_what_reads_a_string(shorten):
    agrees(lambda tokens, length: shorten(tokens, length=length), TOKENS, jnp.int32(15))


@pytest.mark.thorough
@pytest.mark.parametrize("encoding", ["learned", "local_bias", "t5", "fire"])
def test_decoders_with_positions(encoding):
    shape = config.Decoder(layers=1, width=8, heads=2, hidden=8)
    model = PositionDecoder(shape, vocab_size=5, encoding=encoding, room=40)
    tokens, ids = TOKENS.reshape(2, 10), positions.position_ids(encoding, 2, 10, 40, False, key=KEY)
    params = jax.jit(model.init)(KEY, tokens, ids)["params"]
    agrees(lambda params, tokens, ids: model.apply({"params": params}, tokens, ids), params, tokens, ids)
