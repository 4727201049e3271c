"""Bounds against the values that follow from their formulas, and what is measured on networks against brute force."""

import itertools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.errors import InputError
from jaxscale.lengths import LimitTransformer, StringLaw, bounds, complexity, constructions


@pytest.mark.parametrize(
    ("arguments", "quoted"),
    [
        # SimpleTask at ω = 4: L² |Σ|⁶ / ε² = 16 · 64 · 100.
        (dict(lipschitz=4, period=1, alphabet=2, gap=1, bits=8), 5.01),
        # ModPTask at Δ = 5: 5⁷ · 64 · 100.
        (dict(lipschitz=1, period=5, alphabet=2, gap=1, bits=8), 8.70),
        # 2^(10 / 0.25) = 2^40: not 2^10 / 0.25.
        (dict(lipschitz=1, period=1, alphabet=2, gap=0.25, bits=10), 12.04),
    ],
)
def test_one_layer_bounds_have_their_values(arguments, quoted):
    bound = bounds.one_layer_worst_case(locality=1, epsilon=0.1, **arguments)
    assert float(bound.quoted) == pytest.approx(quoted, abs=0.01)


def test_undoing_a_step_of_the_proof_helps_at_large_locality():
    bound = bounds.one_layer_worst_case(4, 1, 1000, 2, 1, 8, 0.1)
    assert float(bound.derived) < float(bound.quoted) - 1.5
    # |Σ|³ + τ against |Σ|³ τ at τ = 1000: 1008² against 8000².
    assert float(bound.quoted - bound.derived) == pytest.approx(2 * math.log10(8000 / 1008), abs=0.01)


def test_several_heads_multiply_scales_until_precision_ends_them():
    derived = [float(bounds.one_layer_worst_case(1, 1, 1, 2, 1, 8, 0.01, heads).derived) for heads in (1, 2, 3)]
    assert np.diff(derived) == pytest.approx([4, 4], abs=1e-3)  # (L/ε)² for each further head of the two networks


@pytest.mark.parametrize(("alpha", "quoted", "derived"), [(0.1, 22, 5), (0.5, 6, 2), (1, 4, 2), (2, 3, 2)])
def test_average_case_exponents(alpha, quoted, derived):
    bound = bounds.one_layer_average(0.1, alpha)
    assert float(bound.quoted) == pytest.approx(quoted, abs=1e-4)
    assert float(bound.derived) == pytest.approx(derived, abs=1e-4)


@pytest.mark.parametrize(("order", "log10_length"), [(1, 24.8), (2, 39.7), (3, 57.7)])
def test_the_corollary_equals_the_theorem_on_the_construction(order, log10_length):
    epsilon, alphabet = 0.1, 2
    net, params = constructions.k_gram(order, alphabet, beta=math.log(1 / epsilon) + order * math.log(alphabet))
    measured = complexity(net, params)
    assert measured.gap == pytest.approx(1)  # c = 2 against the bulk's 1
    (bound,) = bounds.bounds_of(measured, measured, epsilon)
    assert float(bound.quoted) == pytest.approx(log10_length, abs=0.1)
    assert float(bounds.k_gram(order, alphabet, epsilon).derived) == pytest.approx(float(bound.quoted), abs=1e-2)


def test_the_exponent_of_the_corollary_is_quadratic_in_the_order():
    # At ε = S^-k the leading term of log N is 6 β (k + 1) with β = 2 k log S; the ratio tends to 4 from below.
    values = [float(bounds.k_gram(order, 2, 2.0**-order).derived) for order in (8, 16, 32, 64)]
    ratios = [after / before for before, after in itertools.pairwise(values)]
    assert 3.3 < ratios[0] < ratios[1] < ratios[2] < 4 and ratios[2] > 3.8


def test_two_layer_bound_has_the_exponent_of_the_larger_term():
    for gap, power in ((1.0, 3), (0.1, 10)):
        assert float(bounds.two_layers(5.0, gap, 0.1).quoted) == pytest.approx(6 * power, rel=1e-5)


def test_bounds_trace_and_broadcast():
    epsilon = jnp.array([0.1, 0.01])
    plain = bounds.one_layer_worst_case(4, 3, 2, 2, 1, 8, epsilon)
    traced = jax.jit(lambda e: bounds.one_layer_worst_case(4, 3, 2, 2, 1, 8, e))(epsilon)
    chex.assert_trees_all_close(plain, traced)
    slope = jax.grad(lambda e: bounds.one_layer_worst_case(4, 3, 2, 2, 1, 8, e).quoted)(0.01)
    assert float(slope) == pytest.approx(-2 / (0.01 * math.log(10)), rel=1e-4)


def test_bounds_refuse_what_is_not_positive():
    with pytest.raises(InputError, match="epsilon=0 must be positive"):
        bounds.two_layers(5.0, 1.0, 0)


def random_net(heads=2, layers=1, locality=1):
    net = LimitTransformer(
        alphabet=3, heads=heads, layers=layers, width=6, hidden=7, period=2, locality=locality, regime="finite"
    )
    params = jax.jit(net.init)(jax.random.key(heads), jnp.zeros(1, jnp.int32))["params"]
    for layer in range(layers):
        params[f"layer_{layer}"]["bias"] = jax.random.normal(jax.random.key(9), (heads, locality + 1))
    return net, jax.tree.map(np.asarray, params)


def test_logit_gap_is_that_of_all_pairs_of_tokens():
    net, params = random_net()
    rows = params["embed"][:, None] + params["positions"]
    layer, smallest = params["layer_0"], np.inf
    for h, s, r in itertools.product(range(2), range(3), range(2)):
        query = rows[s, r] @ layer["query"][h]
        logit = lambda u, v, query=query, h=h: query @ (rows[u, v] @ layer["key"][h]) / 6
        met = [logit(u, v) for u in range(3) for v in range(2)]  # far away, any class
        met += [logit(s, r) + layer["bias"][h, 0]]  # itself
        met += [logit(u, (r - 1) % 2) + layer["bias"][h, 1] for u in range(3)]  # the token before
        met = np.sort(met)
        smallest = min(smallest, np.diff(met).min())
    assert complexity(net, params).gap == pytest.approx(smallest, rel=1e-3)


def test_lipschitz_bounds_the_change_by_total_variation_of_attention():
    net, params = random_net()
    rows = (params["embed"][:, None] + params["positions"]).reshape(-1, 6)
    layer, rng, largest = params["layer_0"], np.random.default_rng(0), 0.0

    def output(weights_HxC, query):
        mixed = rows[query] + np.einsum("hc,cd,hde->e", weights_HxC, rows, layer["value"])
        return (mixed + np.maximum(mixed @ layer["up"] + layer["shift"], 0) @ layer["down"]) @ params["unembed"]

    for _ in range(300):
        a, b = rng.dirichlet(np.full(6, 0.3), (2, 2))
        query = rng.integers(6)
        variation = 0.5 * np.abs(a - b).sum(axis=1).max()
        largest = max(largest, float(np.linalg.norm(output(a, query) - output(b, query)) / variation))
    assert 0 < largest <= complexity(net, params).lipschitz


def test_constant_bounds_the_change_of_two_layers_with_the_histogram():
    # The limit of an infinite string as its histogram moves: |Δf| <= C · total variation.
    net, params = random_net(heads=1, layers=2, locality=0)
    net, params = net.clone(regime="infinite"), jax.tree.map(jnp.asarray, params)
    params["layer_0"]["bias"] = params["layer_1"]["bias"] = jnp.zeros((1, 1))
    rng, largest = np.random.default_rng(0), 0.0
    windows, residues = np.array([[s] for s in range(3) for _ in range(2)]), np.array([0, 1] * 3)
    f = jax.jit(
        lambda shares: net.apply(
            {"params": params}, StringLaw(windows, residues, shares), jnp.zeros(1, jnp.int32), method="limit"
        )
    )
    for _ in range(100):
        a, b = rng.dirichlet(np.ones(6), 2).astype(np.float32)
        largest = max(largest, float(jnp.linalg.norm(f(a) - f(b)) / (0.5 * np.abs(a - b).sum())))
    assert 0 < largest <= 10 ** complexity(net, params).log10_constant
