"""The decoder: shapes, causality, and what its options mean."""

import chex
import jax
import jax.numpy as jnp
import pytest
from absl.testing import parameterized

from jaxscale import config as configs
from jaxscale.models import Decoder, matmul_flops_per_token
from jaxscale.models.decoder import rotate

SMALL = dict(layers=2, width=16, heads=2, hidden=24, context=12)


def made(key=0, vocab_size=11, **options):
    model = Decoder(configs.Decoder(**(SMALL | options)), vocab_size)
    tokens = jax.random.randint(jax.random.key(key), (3, 12), 0, vocab_size)
    return model, model.init(jax.random.key(1), tokens)["params"], tokens


OPTIONS = [
    {},
    {"activation": "swiglu"},
    {"positions": "learned"},
    {"tied": False},
    {"dtype": "bfloat16"},
    {"norm": "layer", "bias": True},
    {"scan": True, "attention": "fused"},
]


@pytest.mark.parametrize(
    "options",
    [OPTIONS[0], *(pytest.param(one, marks=pytest.mark.thorough) for one in OPTIONS[1:])],
    ids=str,
)
def test_a_token_changes_nothing_before_it(options):
    model, params, tokens = made(**options)
    changed = tokens.at[:, 7].add(1) % 11
    first, second = (model.apply({"params": params}, t) for t in (tokens, changed))
    chex.assert_shape(first, (3, 12, 11))
    assert first.dtype == jnp.float32
    chex.assert_trees_all_equal(first[:, :7], second[:, :7])
    assert bool(jnp.all(jnp.any(first[:, 7:] != second[:, 7:], axis=-1)))


@pytest.mark.parametrize(
    ("options", "count"),
    [
        # embedding 11·16; a block: attention 4·16², MLP 2·16·24, two norms; a last norm
        ({}, 11 * 16 + 2 * (4 * 256 + 2 * 16 * 24 + 32) + 16),
        ({"activation": "swiglu"}, 11 * 16 + 2 * (4 * 256 + 3 * 16 * 24 + 32) + 16),
        ({"positions": "learned"}, 11 * 16 + 12 * 16 + 2 * (4 * 256 + 2 * 16 * 24 + 32) + 16),
        ({"tied": False}, 2 * 11 * 16 + 2 * (4 * 256 + 2 * 16 * 24 + 32) + 16),
        ({"bias": True}, 11 * 16 + 2 * (4 * 256 + 2 * 16 * 24 + 32 + 4 * 16 + 24 + 16) + 16),
        ({"norm": "layer", "scan": True}, 11 * 16 + 2 * (4 * 256 + 2 * 16 * 24 + 64) + 32),
    ],
    ids=str,
)
def test_options_have_the_parameters_they_should(options, count):
    _, params, _ = made(**options)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))


@pytest.mark.thorough
def test_bfloat16_is_near_float32():
    model, params, tokens = made()
    half = Decoder(configs.Decoder(**SMALL, dtype="bfloat16"), 11)
    full, low = (m.apply({"params": params}, tokens) for m in (model, half))
    chex.assert_trees_all_close(full, low, atol=0.02)  # bfloat16 keeps 8 bits; logits are of order 1
    assert bool(jnp.any(full != low))


def test_rotary_scores_depend_on_distance_alone():
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, 1, 8))
    q_T, k_T = (rotate(jnp.broadcast_to(x, (1, 1, 10, 8)))[0, 0] for x in (q, k))
    scores_TxT = q_T @ k_T.T
    for distance in range(5):
        diagonal = jnp.diagonal(scores_TxT, distance)
        chex.assert_trees_all_close(diagonal, jnp.full_like(diagonal, diagonal[0]), atol=1e-5)
    assert abs(float(scores_TxT[0, 0] - scores_TxT[0, 3])) > 1e-3


def test_layers_end_in_what_the_logits_are_read_from():
    model, params, tokens = made()
    layers = model.apply({"params": params}, tokens, method="layers")
    assert len(layers) == 3
    chex.assert_trees_all_close(layers[-1] @ params["embed"].T, model.apply({"params": params}, tokens), rtol=1e-6)
    chex.assert_trees_all_equal(layers[0], params["embed"][tokens])


def test_flops_are_those_of_the_matrices():
    c = configs.Decoder(**SMALL)
    # 2 FLOPs per weight and token (the tied table counts once, as output), and attention's two T × width products
    weights = 2 * (4 * 256 + 2 * 16 * 24) + 11 * 16
    assert matmul_flops_per_token(c, 11) == 2 * weights + 2 * 2 * 2 * 12 * 16


class Variants(chex.TestCase, parameterized.TestCase):
    @chex.variants(with_jit=True, without_jit=True, with_device=True)
    def test_forward_pass_is_pure(self):
        model, params, tokens = made()
        forward = self.variant(lambda p, t: model.apply({"params": p}, t))
        chex.assert_trees_all_close(forward(params, tokens), model.apply({"params": params}, tokens), atol=1e-6)
