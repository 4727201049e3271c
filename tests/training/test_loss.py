"""The loss by parts of the vocabulary is the loss, and so is its gradient."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale.models import Decoder
from jaxscale.training.loss import mean_loss

VOCABULARY = 53
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (3, 9))


def with_params(**options):
    model = Decoder(configs.Decoder(layers=1, width=16, heads=2, hidden=32, context=8, **options), VOCABULARY)
    params = jax.jit(model.init)(jax.random.key(0), TOKENS[:, :-1])["params"]
    # Logits of some size, the largest of them now in one chunk and now in another.
    return model, jax.tree.map(lambda p: 8 * p, params)


def loss_and_gradient(model, params, chunks):
    each = lambda p: mean_loss(model, p, TOKENS, chunks)
    return jax.jit(lambda p: (each(p), jax.value_and_grad(lambda p: jnp.sum(each(p)))(p)))(params)


@pytest.mark.parametrize(
    ("options", "chunks"), [pytest.param({}, 4, marks=pytest.mark.thorough), ({"tied": False}, 53)], ids=str
)
def test_chunks_change_nothing_but_rounding(options, chunks):
    model, params = with_params(**options)
    whole, parts = (loss_and_gradient(model, params, n) for n in (1, chunks))
    assert float(jnp.ptp(whole[0])) > 0.1
    chex.assert_trees_all_close(parts, whole, rtol=1e-5, atol=5e-5)


def test_no_array_holds_all_logits():
    model, params = with_params()
    text = jax.jit(jax.grad(lambda p: jnp.sum(mean_loss(model, p, TOKENS, 4)))).lower(params).as_text()
    assert "3x8x14xf32" in text and "3x8x53x" not in text and "3x8x56x" not in text


@pytest.mark.thorough
def test_in_half_precision_the_gradient_of_the_stream_is_summed_in_float32():
    model, params = with_params(dtype="bfloat16")
    whole, parts = (loss_and_gradient(model, params, n) for n in (1, 53))
    # Products rounded to 2^-9 of themselves differ by 0.0037 here; a sum of 53 kept in bfloat16 by 0.0062.
    up = lambda read: read[1][1]["block_0"]["mlp"]["up"]["kernel"]
    assert jnp.linalg.norm(up(parts) - up(whole)) < 0.005 * jnp.linalg.norm(up(whole))
