"""Every way through a limit transformer gives the same f(x), in every regime; and what happens at no finite length."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.errors import InputError
from jaxscale.lengths import KGramTask, LimitTransformer, Statistics, summarize

REGIMES = [("infinite", None), ("finite", None), ("finite", 4), ("hardmax", None)]
LENGTHS = (1, 2, 5, 24)


def made(regime="infinite", bits=None, layers=1, heads=2):
    net, params, tokens = drawn(regime, bits, layers, heads)
    return net, jax.tree.map(lambda leaf: leaf, params), tokens  # of its own: tests put other arrays in


@functools.cache
def drawn(regime, bits, layers, heads):
    net = LimitTransformer(
        alphabet=3,
        outputs=2,
        layers=layers,
        heads=heads,
        width=8,
        hidden=12,
        period=3,
        locality=2,
        regime=regime,
        bits=bits,
    )
    tokens = jax.random.randint(jax.random.key(1), (24,), 0, 3)
    params = jax.jit(net.init)(jax.random.key(0), tokens)["params"]
    for layer in range(layers):
        bias = jax.random.uniform(jax.random.key(2 + layer), (heads, 3), minval=-0.5, maxval=2.0)
        params[f"layer_{layer}"]["bias"] = bias
    return net, params, tokens


# Of each number of layers and of each regime at least one is fast.
SLOW = [(2, "finite", None), (1, "finite", 4), (2, "hardmax", None)]
EACH = [(layers, *regime) for layers in (1, 2) for regime in REGIMES]


@pytest.mark.parametrize(
    ("layers", "regime", "bits"),
    [pytest.param(*one, marks=[pytest.mark.slow] if one in SLOW else []) for one in EACH],
)
def test_all_passes_agree_at_every_length(layers, regime, bits):
    net, params, tokens = made(regime, bits, layers)

    @jax.jit
    def passes(length):
        outputs = [net.apply({"params": params}, tokens, length, method=m) for m in ("__call__", "running")]
        if layers == 1:
            outputs.append(net.apply({"params": params}, summarize(tokens, length, 3, 3, 2), method="summarized"))
        if regime == "infinite":
            outputs.append(net.apply({"params": params}, tokens, method="prefixes")[length - 1])
        return outputs

    for length in LENGTHS:
        first, *others = passes(length)
        for other in others:
            # Sums of at most 24 terms of order one in another order.
            chex.assert_trees_all_close(other, first, atol=2e-6)


def test_padding_changes_nothing():
    net, params, tokens = made(layers=2)
    apply = jax.jit(lambda tokens: net.apply({"params": params}, tokens, 7))
    outputs = [apply(tokens.at[7:].set(token)) for token in (-1, 0, 2)]
    chex.assert_trees_all_equal(*outputs)


def test_order_is_no_matter_beyond_the_suffix_in_one_layer():
    net, params, tokens = made()
    apply = jax.jit(lambda tokens: net.apply({"params": params}, tokens))
    moved = tokens.at[3].set(tokens[0]).at[0].set(tokens[3])  # same residue
    chex.assert_trees_all_close(*map(apply, (tokens, moved)), atol=1e-6)
    near = tokens.at[21].set((tokens[21] + 1) % 3)
    assert float(jnp.max(jnp.abs(apply(near) - apply(tokens)))) > 1e-4


@pytest.mark.parametrize("phi", [0.5, 1.0, 1.5])
def test_the_infinite_limit_is_approached_in_each_of_three_regimes(phi):
    # Token-dominated, balanced, position-dominated, as the largest bias is below, at or above one.
    net, params, _ = made(heads=1)
    params["layer_0"]["bias"] = jnp.array([[0.0, phi, 0.2]])
    share = jax.nn.softmax(jax.random.normal(jax.random.key(4), (3, 3)).reshape(-1)).reshape(3, 3)
    suffix, zero, three = jnp.array([2, 0, 1]), jnp.int32(0), jnp.int32(3)
    f = jax.jit(
        lambda length, bulk, params: net.apply(
            {"params": params}, Statistics(bulk, suffix, zero, three, length), method="summarized"
        )
    )
    at = lambda length, bulk: f(jnp.float32(length), bulk, params)
    errors = [float(jnp.max(jnp.abs(at(length, share * length) - at(jnp.inf, share)))) for length in (1e3, 1e6)]
    # The next largest exponent is behind by a gap of 1/2 in each case, so that errors fall as T^-1/2: 1/31 here.
    assert 0 < errors[1] < errors[0] / 20


@pytest.mark.thorough
@pytest.mark.parametrize("bits", [pytest.param(6, marks=pytest.mark.slow), 10])
def test_finite_precision_is_hardmax_from_its_threshold_on(bits):
    # Logits of the three symbols: 0, 1 and 3/2, whatever the query; their margin is γ = 1/2.
    net, params, _ = made("finite", bits)
    hard = net.clone(regime="hardmax", bits=None)
    params["embed"] = params["embed"].at[:, 0].set(1.0).at[:, 1].set(jnp.array([0.0, 1.0, 1.5]))
    params["positions"] = params["positions"].at[:, :2].set(0)
    params["layer_0"] |= {
        "query": jnp.zeros((2, 8, 8)).at[:, 0, 0].set(8.0),  # logits are divided by the head width
        "key": jnp.zeros((2, 8, 8)).at[:, 1, 0].set(1.0),
        "bias": jnp.zeros((2, 3)),
    }
    suffix, zero, three, bulk = jnp.array([0, 1, 2]), jnp.int32(0), jnp.int32(3), jnp.full((3, 3), 5.0)
    seen = lambda length: Statistics(bulk, suffix, zero, three, jnp.float32(length))
    f = jax.jit(lambda length: net.apply({"params": params}, seen(length), method="summarized"))
    g = hard.apply({"params": params}, seen(48), method="summarized")
    threshold = 2 ** (bits / 0.5)
    chex.assert_trees_all_close(f(1.01 * threshold), g, atol=1e-6)
    # Just below, the second class still has 2^-p of the weight of the first.
    assert float(jnp.max(jnp.abs(f(0.9 * threshold) - g))) > 0.1 * 2**-bits


def test_weights_of_many_tied_tokens_survive_rounding():
    # Were weights and not exponentials rounded, an average over 2^13 tokens at 8 bits would vanish.
    net, params, _ = made("finite", 8, heads=1)
    params = jax.tree.map(jnp.zeros_like, params)
    params["embed"] = params["embed"].at[1, 0].set(1.0)
    params["layer_0"]["value"] = jnp.eye(8)[None]
    params["unembed"] = jnp.ones((8, 2))
    tokens = jnp.arange(2**13) % 2
    assert float(jax.jit(net.apply)({"params": params}, tokens)[0]) == pytest.approx(1.5, abs=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("phi", [0.3, 2.0])
def test_two_layers_approach_their_limit_on_a_markov_chain(phi):
    task = KGramTask(order=1, symbols=3, alphabet=3, longest_order=2)
    net = LimitTransformer(alphabet=3, outputs=3, layers=2, heads=2, width=8, hidden=8, locality=2)
    key = jax.random.key(0)
    params = jax.jit(net.init)(key, jnp.zeros(1, jnp.int32))["params"]
    for layer in range(2):
        params[f"layer_{layer}"]["bias"] = jnp.array([[0, phi, 0], [0, 0, phi]])
    string = task.sample_limit(2, key=key)
    key_chain, _ = jax.random.split(key)
    tokens = jnp.concatenate([task.run(task.chain(key=key_chain), 40_000, key=jax.random.key(3)), string.recent[::-1]])
    limit = net.apply({"params": params}, string.law, string.recent, method="limit")
    running = jax.jit(lambda tokens: net.apply({"params": params}, tokens, method="running"))
    errors = [float(jnp.max(jnp.abs(running(tokens[-n:]) - limit))) for n in (400, 40_005)]
    # Sampling noise alone falls by √100; the first positions of a string, not yet at their limit, by as much.
    assert errors[1] < 0.05 < 5 * errors[0]
    assert errors[1] < errors[0] / 2


def test_gradients_reach_every_parameter_even_at_ties():
    net, params, tokens = made(layers=2)
    params["layer_0"]["bias"] = jnp.ones((2, 3))  # balanced: as large as the bulk's exponent
    square = lambda p, method: jnp.sum(net.apply({"params": p}, tokens, method=method) ** 2)
    gradient, naive = jax.jit(lambda p: [jax.grad(square)(p, method) for method in ("running", "__call__")])(params)
    chex.assert_tree_all_finite(gradient)
    chex.assert_trees_all_close(gradient, naive, rtol=1e-3, atol=1e-5)
    assert all(float(jnp.max(jnp.abs(leaf))) > 0 for leaf in jax.tree.leaves(gradient))


@pytest.mark.slow
def test_counts_are_exact_at_a_million_tokens():
    net, params, _ = made(heads=1)
    tokens = jnp.asarray(np.random.default_rng(0).integers(0, 3, 1_000_000))

    @jax.jit
    def both(tokens):
        seen = summarize(tokens, 1_000_000, 3, 3, 2)
        passes = (tokens, "running"), (seen, "summarized")
        return [net.apply({"params": params}, given, method=method) for given, method in passes]

    chex.assert_trees_all_close(*both(tokens), atol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"regime": "exact"}, "regime='exact' is not one of"),
        ({"bits": 8}, "bits=8 must be positive, and None unless"),
        ({"layers": 3}, "layers=3 must be 1 or 2"),
        ({"width": 0}, "width=0 must be positive"),
        ({"locality": -1}, "locality=-1 must be 0 or more"),
    ],
    ids=str,
)
def test_bad_shapes_are_told(options, message):
    with pytest.raises(InputError, match=message):
        LimitTransformer(**({"alphabet": 2} | options))


def test_passes_that_do_not_fit_are_told():
    net, params, tokens = made(layers=2)
    with pytest.raises(InputError, match="summarized is for 1 layer"):
        net.apply({"params": params}, summarize(tokens, 24, 3, 3, 2), method="summarized")
    net, params, tokens = made("hardmax")
    with pytest.raises(InputError, match="prefixes need regime='infinite'"):
        net.apply({"params": params}, tokens, method="prefixes")
