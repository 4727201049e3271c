"""The short strings of the proofs: what they keep exactly, and how fast the rest converges."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale.errors import InputError
from jaxscale.lengths import (
    PAD,
    KGramTask,
    LimitTransformer,
    SimpleTask,
    certificate,
    constructions,
    last,
    proportional,
    random_draw,
    summarize,
    thin,
    tightest,
)
from jaxscale.lengths.simulation import largest_remainder

LONG, ALPHABET, PERIOD, LOCALITY = 3000, 4, 3, 2
build = jax.jit(proportional, static_argnums=(2, 3, 4, 5))


def drifting(seed, length=LONG):
    """A string whose law changes half way; the last symbol is rare."""
    rng = np.random.default_rng(seed)
    laws = rng.dirichlet([1, 1, 1, 0.02], 2)
    return jnp.asarray(np.concatenate([rng.choice(4, length // 2, p=law) for law in laws]))


@pytest.mark.thorough
@given(seed=st.integers(0, 2**31 - 1), length=st.integers(1, LONG))
@settings(max_examples=60, deadline=None)
def test_a_proportional_string_keeps_what_a_layer_of_hardmax_sees(seed, length):
    tokens, budget = drifting(seed), 120
    short = build(tokens, length, budget, ALPHABET, PERIOD, LOCALITY)
    n = int(short.length)
    assert short.feasible and n <= budget and n % PERIOD == length % PERIOD
    assert np.all(short.tokens[n:] == PAD)
    if length <= budget:
        chex.assert_trees_all_equal(short.tokens[:n], tokens[:n].astype(jnp.int32))
        return
    x, z = (
        np.asarray(summarize(t, m, ALPHABET, PERIOD, LOCALITY).bulk) for t, m in ((tokens, length), (short.tokens, n))
    )
    chex.assert_trees_all_equal(short.tokens[n - 3 : n], tokens[length - 3 : length].astype(jnp.int32))
    assert ((x > 0) == (z > 0)).all()
    # Each class is within one of its quota, and one more where the floor took places from the frequent.
    quota = x / x.sum(0) * z.sum(0)
    assert np.abs(z - quota).max() <= 1 + np.sum((x > 0) & (quota < 1))


@given(counts=st.lists(st.integers(0, 10**6), min_size=2, max_size=6), total=st.integers(6, 500))
@settings(max_examples=100, deadline=None)
def test_largest_remainder_deals_everything_and_nothing_to_the_absent(counts, total):
    counts = jnp.asarray(counts + [0] * (6 - len(counts)), jnp.float32)
    dealt = np.asarray(jax.jit(largest_remainder)(counts, total))
    if counts.sum() > 0:
        assert dealt.sum() == total and ((dealt > 0) == (np.asarray(counts) > 0)).all()


def slope(x, y):
    return np.polyfit(np.log(x), np.log(y), 1)[0]


def hardmax_nets(count):
    """Networks whose logits are integers, so that ties are exact and attended sets are not single classes."""
    net = LimitTransformer(
        alphabet=ALPHABET, heads=2, width=8, hidden=16, period=PERIOD, locality=LOCALITY, regime="hardmax"
    )

    def one(key):
        params = net.init(key, jnp.zeros(1, jnp.int32))["params"]
        keys = jax.random.split(key, 4)
        small = lambda key, shape: jax.random.randint(key, shape, 0, 2).astype(jnp.float32)
        layer = params["layer_0"]
        # One coordinate of query and key: logits are products of zeros and ones.
        layer["query"] = jnp.zeros((2, 8, 8)).at[:, 0, 0].set(8.0)
        layer["key"] = jnp.zeros((2, 8, 8)).at[:, 1, 0].set(1.0)
        params["embed"] = params["embed"].at[:, 0].set(1.0).at[:, 1].set(small(keys[0], (ALPHABET,)))
        params["positions"] = params["positions"].at[:, 0].set(0.0).at[:, 1].set(small(keys[1], (PERIOD,)))
        return params

    return net, jax.vmap(one)(jax.random.split(jax.random.key(0), count))


@pytest.mark.slow
def test_one_layer_error_falls_as_one_over_the_budget():
    net, params = hardmax_nets(40)
    budgets = (30, 480)
    builders = (
        lambda tokens, n: proportional(tokens, LONG, n, ALPHABET, PERIOD, LOCALITY),
        lambda tokens, n: random_draw(tokens, LONG, n, ALPHABET, PERIOD, LOCALITY, key=jax.random.key(1)),
        lambda tokens, n: last(tokens, LONG, n, PERIOD),
    )

    def errors(params, tokens):
        def f(tokens, length):
            seen = summarize(tokens, length, ALPHABET, PERIOD, LOCALITY)
            return net.apply({"params": params}, seen, method="summarized")[0]

        at_all = f(tokens, LONG)
        shorts = [[build(tokens, n) for n in budgets] for build in builders]
        return [[jnp.abs(f(short.tokens, short.length) - at_all) for short in row] for row in shorts]

    strings = jnp.stack([drifting(seed) for seed in range(40)])
    found, drawn, ends = np.mean(np.array(jax.jit(jax.vmap(errors))(params, strings)), axis=-1)
    assert slope(budgets, found) < -0.8  # -1 in theory; the command in benchmarks has three times the networks
    assert slope(budgets, drawn) > -0.8 and slope(budgets, ends) > -0.4
    assert found[-1] < drawn[-1] < ends[-1]


@pytest.mark.parametrize("period", [1, 3])
def test_thinning_keeps_the_number_wanted_in_runs_of_the_length_wanted(period):
    tokens = jnp.arange(LONG) % 999  # so that runs show, and a token tells its residue mod 3
    draw = lambda key: thin(tokens, LONG, 300, key=key, block=9.0, locality=2, period=period, size=900)
    shorts = jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(0), 200))
    # The number kept has a standard deviation of √(2 B n) about; of the mean of 200, a fourteenth.
    assert float(jnp.mean(shorts.length)) == pytest.approx(303, abs=4 * (2 * 9 * 300) ** 0.5 / 14)
    assert bool(jnp.all(shorts.feasible)) and bool(jnp.all(shorts.length % period == LONG % period))
    runs = 0
    for row, n in zip(np.asarray(shorts.tokens), np.asarray(shorts.length), strict=True):
        assert row[n - 3 : n].tolist() == [0, 1, 2] and np.all(row[n:] == PAD)
        runs += 1 + int(np.sum(np.diff(row[:n]) % 999 != 1))
    assert float(jnp.sum(shorts.length)) / runs == pytest.approx(9, rel=0.15)


def test_independent_draws_are_blocks_of_one():
    tokens = jnp.zeros(LONG, jnp.int32)
    draw = jax.jit(jax.vmap(lambda key: thin(tokens, LONG, 300, key=key, block=1.0, size=900)))
    shorts = draw(jax.random.split(jax.random.key(0), 200))
    # Binomial: variance n (1 - n/T).
    assert float(jnp.var(shorts.length)) == pytest.approx(270, rel=0.35)


def test_a_string_too_long_for_its_room_is_said_to_be():
    short = thin(jnp.zeros(1000, jnp.int32), 1000, 500, key=jax.random.key(0), size=100)
    assert not short.feasible and int(short.length) == 100


@pytest.mark.thorough
def test_a_certificate_bounds_the_error_on_the_long_string():
    task = SimpleTask(omega=3.0)
    net, params = constructions.count(omega=3.0, pieces=6)
    f = lambda tokens, length: net.apply({"params": params}, summarize(tokens, length, 2), method="summarized")
    g = lambda tokens, length: task.target(tokens, length).value
    tokens = task.sample(5000, 5000, key=jax.random.key(3))
    short = proportional(tokens, 5000, 64, alphabet=2)
    found = jax.jit(lambda tokens, short: certificate(f, g, tokens, 5000, short))(tokens, short)
    assert float(found.error) <= float(found.bound) + 1e-6
    assert float(found.bound) == pytest.approx(float(found.network + found.target + found.short), rel=1e-6)
    # Proportions of two symbols are right to one in 64, and the target turns by 6 in all.
    assert float(found.target) <= 6 / 64 and int(found.length) == 64


@pytest.mark.slow
def test_of_several_strings_the_tightest_certificate_is_taken():
    task = KGramTask(order=1, symbols=3, alphabet=3, longest_order=1)
    net, params = constructions.k_gram(1, 3, beta=8.0)
    f = lambda tokens, length: net.apply({"params": params}, tokens, length, method="running")
    g = lambda tokens, length: task.target(tokens, length).value
    long = 1000

    @jax.jit
    def certificates(keys):
        tokens = task.sample(long, long, key=jax.random.key(0))
        shorts = jax.vmap(lambda key: thin(tokens, long, 100, key=key, locality=1, size=300))(keys)
        first = jax.tree.map(lambda leaf: leaf[0], shorts)
        return certificate(f, g, tokens, long, first), tightest(f, g, tokens, long, shorts)

    keys = jax.random.split(jax.random.key(1), 4)
    each = [certificates(jnp.roll(keys, -i, axis=0)) for i in range(4)]  # the first of the four is each in turn
    least = min(float(one.bound) for one, _ in each)
    assert float(each[0][1].bound) == pytest.approx(least, rel=1e-4)


def test_a_budget_too_small_for_all_classes_is_told():
    with pytest.raises(InputError, match="budget=14 may not hold 12 classes"):
        proportional(drifting(0), LONG, 14, ALPHABET, PERIOD, LOCALITY)
    with pytest.raises(InputError, match="kept=50 must lie strictly between 0 and length=50"):
        thin(jnp.zeros(50, jnp.int32), 50, 50, key=jax.random.key(0))
