"""Causal softmax attention: as written down, or by the kernel of the backend that never holds all weights at once.

    mixed_BxHxTxK = plain(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK)
    mixed_BxHxTxK = fused(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK, mesh)

Queries and keys of width K are scaled by K^-1/2 here. Accumulation and softmax are float32 in both.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P

# Heads of a TPU's kernel are as wide as its lanes, and its tiles divide the sequence.
LANES = 128
# cuDNN takes heads up to this width, in steps of 8.
CUDNN_WIDEST = 128
# Of queries in plain attention.
BLOCKS = 4


def plain(
    q_BxHxTxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array, mesh: jax.sharding.Mesh | None = None
) -> jax.Array:
    """softmax(q kᵀ / √K) v over the past, by two products per head; memory grows with T².

    Args:
      mesh: as for `fused`. Where its context axis leaves the sequence whole, blocks of queries meet only the keys up to
        their end, which saves up to half of the work.
    """
    T = q_BxHxTxK.shape[2]
    blocks = 1 if _is_divided(mesh) else math.gcd(BLOCKS, T)
    ends = [T * (i + 1) // blocks for i in range(blocks)]
    mixed = [
        _attend(q_BxHxTxK[:, :, end - T // blocks : end], k_BxHxTxK[:, :, :end], v_BxHxTxK[:, :, :end]) for end in ends
    ]
    return jnp.concatenate(mixed, axis=2)


def _attend(q_BxHxQxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array) -> jax.Array:
    """Of the last Q tokens to all T."""
    Q, (T, K) = q_BxHxQxK.shape[2], k_BxHxTxK.shape[2:]
    scores_BxHxQxT = jnp.einsum("bhqk,bhtk->bhqt", q_BxHxQxK, k_BxHxTxK, preferred_element_type=jnp.float32)
    causal_QxT = jnp.tril(jnp.ones((Q, T), bool), T - Q)
    weights_BxHxQxT = jax.nn.softmax(jnp.where(causal_QxT, scores_BxHxQxT * K**-0.5, -jnp.inf), axis=-1)
    return jnp.einsum("bhqt,bhtk->bhqk", weights_BxHxQxT.astype(v_BxHxTxK.dtype), v_BxHxTxK)


def fused(
    q_BxHxTxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array, mesh: jax.sharding.Mesh | None = None
) -> jax.Array:
    """The same by cuDNN on NVIDIA GPUs in half precision, by splash attention on TPUs; `plain` elsewhere.

    Args:
      mesh: over whose replica, fsdp and tensor axes rows and heads lie; None on one device. Kernels do not divide the
        sequence: with a context axis of more than one device, `plain` is taken, which the compiler divides.
    """
    T, K = q_BxHxTxK.shape[-2:]
    if _is_divided(mesh):
        return plain(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK, mesh)
    half = q_BxHxTxK.dtype in (jnp.bfloat16, jnp.float16)
    kernels = {}
    if half and K % 8 == 0 and K <= CUDNN_WIDEST and has_cudnn():
        kernels["cuda"] = _cudnn
    if T % LANES == 0:
        kernels["tpu"] = functools.partial(_splash_on_each_device, mesh)
    mixed_BxHxTxK: jax.Array = lax.platform_dependent(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK, default=plain, **kernels)
    return mixed_BxHxTxK


def _is_divided(mesh: jax.sharding.Mesh | None) -> bool:
    return mesh is not None and mesh.shape.get("context", 1) > 1


@functools.cache
def has_cudnn() -> bool:
    """Whether cuDNN is installed here: its kernel cannot even be traced without it, for whatever platform."""
    x_BxTxHxK = jax.ShapeDtypeStruct((1, 64, 1, 64), jnp.bfloat16)
    attend = functools.partial(jax.nn.dot_product_attention, implementation="cudnn")
    try:
        jax.eval_shape(attend, x_BxTxHxK, x_BxTxHxK, x_BxTxHxK)
    except RuntimeError:
        return False
    return True


def _cudnn(q_BxHxTxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array) -> jax.Array:
    q, k, v = (jnp.swapaxes(x, 1, 2) for x in (q_BxHxTxK, k_BxHxTxK, v_BxHxTxK))
    return jnp.swapaxes(jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation="cudnn"), 1, 2)


def _splash_on_each_device(
    mesh: jax.sharding.Mesh | None, q_BxHxTxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array
) -> jax.Array:
    if mesh is None:
        return _splash(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK)
    rows = mesh.shape["replica"] * mesh.shape["fsdp"]
    # A batch of one, from which parameters are made, is not divided.
    spec = P(None if len(q_BxHxTxK) % rows else ("replica", "fsdp"), "tensor")
    # The kernel's outputs carry no types that say along which axes they vary.
    mapped = jax.shard_map(_splash, mesh=mesh, in_specs=(spec,) * 3, out_specs=spec, check_vma=False)
    return mapped(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK)


def _splash(q_BxHxTxK: jax.Array, k_BxHxTxK: jax.Array, v_BxHxTxK: jax.Array) -> jax.Array:
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_kernel as kernel
    from jax.experimental.pallas.ops.tpu.splash_attention import splash_attention_mask as masks

    H, T, K = q_BxHxTxK.shape[1:]
    # Zeros beyond K change no product.
    pad: Callable[[jax.Array], jax.Array] = lambda x: jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, -K % LANES)))
    attend = kernel.make_splash_mha_single_device(masks.MultiHeadMask([masks.CausalMask((T, T))] * H))
    padded: jax.Array = jax.vmap(attend)(pad(q_BxHxTxK * K**-0.5), pad(k_BxHxTxK), pad(v_BxHxTxK))
    return padded[..., :K]
