"""Attention is the softmax over the past, by whichever kernel."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.models import attention

B, H, T, K = 2, 2, 256, 24


@pytest.fixture(scope="module")
def qkv():
    return tuple(jax.random.normal(key, (B, H, T, K)) for key in jax.random.split(jax.random.key(0), 3))


def definition(q, k, v):
    """In float64, row by row."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    out = np.empty_like(q)
    for t in range(q.shape[2]):
        scores = np.einsum("bhk,bhtk->bht", q[:, :, t], k[:, :, : t + 1]) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        out[:, :, t] = np.einsum("bht,bhtk->bhk", weights / weights.sum(-1, keepdims=True), v[:, :, : t + 1])
    return out


@pytest.mark.parametrize("attend", [attention.plain, attention.fused])
def test_it_is_the_definition(attend, qkv):
    np.testing.assert_allclose(jax.jit(attend)(*qkv), definition(*qkv), atol=1e-5)


@pytest.fixture
def interpreted(monkeypatch):
    """The TPU's kernel, its instructions carried out one by one."""
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel

    make = functools.partial(kernel.make_splash_mha_single_device, interpret=True)
    monkeypatch.setattr(kernel, "make_splash_mha_single_device", make)


def test_the_kernel_of_tpus_says_the_same_and_has_the_same_gradient(interpreted, qkv):
    # It multiplies in the precision of a TPU's units by default: a few digits.
    np.testing.assert_allclose(attention._splash(*qkv), definition(*qkv), atol=2e-2)
    weights = jax.random.normal(jax.random.key(1), (B, H, T, K))
    gradient = lambda attend: jax.jit(jax.grad(lambda qkv: jnp.sum(weights * attend(*qkv))))(qkv)
    chex.assert_trees_all_close(gradient(attention._splash), gradient(attention.plain), atol=5e-2)


def test_the_kernel_of_tpus_on_each_device_of_a_mesh_says_the_same(interpreted, qkv):
    mesh = sharding.make_mesh(configs.Mesh(replica=1, fsdp=2, tensor=2), jax.devices()[:4])
    mapped = jax.jit(functools.partial(attention._splash_on_each_device, mesh))
    np.testing.assert_allclose(mapped(*qkv), definition(*qkv), atol=2e-2)


def test_on_a_divided_sequence_and_for_odd_lengths_the_plain_products_are_taken(qkv):
    mesh = sharding.make_mesh(configs.Mesh(replica=1, context=2, fsdp=1), jax.devices()[:2])
    lowered = lambda T, mesh: str(
        jax.jit(lambda *x: attention.fused(*x, mesh))
        .trace(*(x[:, :, :T] for x in qkv))
        .lower(lowering_platforms=("tpu",))
        .as_text()
    )
    alone = sharding.make_mesh(configs.Mesh(), jax.devices()[:1])
    assert "tpu_custom_call" in lowered(256, alone)
    assert "tpu_custom_call" not in lowered(256, mesh)
    assert "tpu_custom_call" not in lowered(100, alone)
