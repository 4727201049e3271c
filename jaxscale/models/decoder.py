"""The language model: a pre-norm decoder as a pure function of parameters and tokens.

    model = Decoder(config.Decoder(), vocab_size=512)
    params = model.init(key, tokens_BxT)["params"]
    logits_BxTxV = model.apply({"params": params}, tokens_BxT)

How it is computed, and over which devices, changes no result beyond rounding: see `Execution`.

Letters in names: B batch, T tokens, D width, H heads, K head width, F hidden, V vocabulary, L layers.
"""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.models import attention

Remat = Literal["none", "dots", "full"]


@dataclasses.dataclass(frozen=True)
class Execution:
    """How a forward pass is computed.

    Attributes:
      mesh: devices over which activations lie, rows along replica and fsdp, tokens along context; None to let the
        compiler decide.
      remat: what the backward pass computes again in each block: "none" of it, all but the products with weights
        ("dots"), or all of it ("full").
    """

    mesh: Mesh | None = None
    remat: Remat = "none"

    def place(self, x_BxTxD: jax.Array) -> jax.Array:
        """Residual stream over the mesh."""
        if self.mesh is None:
            return x_BxTxD
        spec = P(("replica", "fsdp"), "context")
        placed: jax.Array = jax.lax.with_sharding_constraint(x_BxTxD, NamedSharding(self.mesh, spec))
        return placed

    def gather(self, path: str, parameter: jax.Array) -> jax.Array:
        """A parameter, or rows of it, as all devices of the fsdp axis use it: whole along the dimension FSDP divides.

        Left to itself a compiler may multiply as many times as there are devices, each with a part of the parameter.
        """
        if self.mesh is None:
            return parameter
        axes = sharding.spec(path, parameter.shape, self.mesh)
        whole = P(*("tensor" if axis == "tensor" or "tensor" in (axis or ()) else None for axis in axes))
        gathered: jax.Array = jax.lax.with_sharding_constraint(parameter, NamedSharding(self.mesh, whole))
        return gathered


class Decoder(nn.Module):
    """Pre-norm decoder with rotary or learned positions, GELU or SwiGLU, tied or separate output matrix.

    GPT-2 and Llama are settings of it (`gpt2`, `llama`).

    Parameters are float32; activations and matmul inputs have `config.dtype`; logits are float32.
    """

    config: configs.Decoder
    vocab_size: int
    execution: Execution = Execution()

    def setup(self) -> None:
        c = self.config
        init = nn.initializers.normal(0.02)
        self.embed = self.param("embed", init, (self.vocab_size, c.width), jnp.float32)
        if c.positions == "learned":
            self.positions = self.param("positions", init, (c.context, c.width), jnp.float32)
        if not c.tied:
            self.head = self.param("head", init, (c.width, self.vocab_size), jnp.float32)
        if c.scan:
            body = _recomputed(BlockOfScan, self.execution.remat)
            scanned = nn.scan(body, variable_axes={"params": 0}, split_rngs={"params": True}, length=c.layers)
            self.blocks = scanned(c, self.execution)
        else:
            block = _recomputed(Block, self.execution.remat)
            self.blocks = [block(c, self.execution, name=f"block_{i}") for i in range(c.layers)]
        self.norm = norm(c)

    def __call__(self, tokens_BxT: jax.Array) -> jax.Array:
        """Next-token logits, (B, T) integers to (B, T, V) float32."""
        x_BxTxD = self.hidden(tokens_BxT)
        return jnp.matmul(x_BxTxD, self.head_matrix().astype(x_BxTxD.dtype), preferred_element_type=jnp.float32)

    def head_matrix(self) -> jax.Array:
        """The output matrix (D, V), float32."""
        return self.embed.T if self.config.tied else self.head

    def hidden(self, tokens_BxT: jax.Array) -> jax.Array:
        """Residual stream after the last block, normed, (B, T, D)."""
        return self.layers(tokens_BxT)[-1]

    def layers(self, tokens_BxT: jax.Array) -> list[jax.Array]:
        """Residual stream, L + 1 arrays (B, T, D): the token embedding, then after each block; the last is normed."""
        dtype = jnp.dtype(self.config.dtype)
        x_BxTxD = self.embed.astype(dtype)[tokens_BxT]
        if self.config.positions == "learned":
            x_BxTxD += self.positions.astype(dtype)[: tokens_BxT.shape[1]]
        streams = [self.execution.place(x_BxTxD)]
        if self.config.scan:
            # The last one is what the scan carries: where it alone is asked for, no others are stored.
            last_BxTxD, streams_LxBxTxD = self.blocks(streams[0], None)
            streams += [*(streams_LxBxTxD[i] for i in range(self.config.layers - 1)), last_BxTxD]
        else:
            for block in self.blocks:
                streams.append(block(streams[-1]))
        return [*streams[:-1], self.norm(streams[-1])]


def _recomputed(block: type[nn.Module], remat: Remat) -> Callable[..., Any]:
    """`block` with a backward pass that computes again what `remat` says."""
    if remat == "none":
        return block
    policy = jax.checkpoint_policies.dots_with_no_batch_dims_saveable if remat == "dots" else None
    return nn.remat(block, policy=policy, prevent_cse=block is not BlockOfScan)  # a scan keeps its steps apart


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    config: configs.Decoder
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        c, place = self.config, self.execution.place
        x_BxTxD = place(x_BxTxD + Attention(c, self.execution, name="attention")(norm(c, "norm_attention")(x_BxTxD)))
        return place(x_BxTxD + MLP(c, self.execution, name="mlp")(norm(c, "norm_mlp")(x_BxTxD)))


class BlockOfScan(nn.Module):
    """A `Block` as the step of a scan over blocks, whose parameters are stacked along a leading axis."""

    config: configs.Decoder
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        x_BxTxD = Block(self.config, self.execution, name="block")(x_BxTxD)
        return x_BxTxD, x_BxTxD


class Attention(nn.Module):
    """Causal multi-head softmax attention; the softmax is taken in float32.

    Groups of query heads may share a head of keys and values (Ainslie et al. 2023).
    """

    config: configs.Decoder
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        c = self.config
        B, T, D = x_BxTxD.shape
        H, G, K = c.heads, c.key_value_heads or c.heads, D // c.heads
        # Heads before tokens: the two products per head are then plain batched matmuls on every backend.
        split = lambda y_BxTxE: y_BxTxE.reshape(B, T, -1, K).swapaxes(1, 2)
        heads = {"query": H, "key": G, "value": G}
        weights = [Weights(count * K, c, self.execution, name=name)(D) for name, count in heads.items()]
        q_BxHxTxK, k_BxGxTxK, v_BxGxTxK = map(split, self.projections(x_BxTxD, weights))
        if c.positions == "rotary":
            q_BxHxTxK, k_BxGxTxK = rotate(q_BxHxTxK, c.rotary_base), rotate(k_BxGxTxK, c.rotary_base)
        k_BxHxTxK, v_BxHxTxK = (y if G == H else jnp.repeat(y, H // G, axis=1) for y in (k_BxGxTxK, v_BxGxTxK))
        if c.attention == "fused":
            mixed_BxHxTxK = attention.fused(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK, self.execution.mesh)
        else:
            mixed_BxHxTxK = attention.plain(q_BxHxTxK, k_BxHxTxK, v_BxHxTxK, self.execution.mesh)
        mixed_BxTxD = mixed_BxHxTxK.swapaxes(1, 2).reshape(B, T, D)
        return dense(mixed_BxTxD, D, c, "out", self.execution, residual=True)

    def projections(self, x_BxTxD: jax.Array, weights: Sequence[tuple[jax.Array, jax.Array | None]]) -> list[jax.Array]:
        """Linear maps of the same input; on one device as one product."""
        if self.execution.mesh is not None:
            return [mapped(x_BxTxD, kernel, bias, self.execution) for kernel, bias in weights]
        kernels, biases = zip(*weights, strict=True)
        bias = jnp.concatenate(biases) if self.config.bias else None
        ends = list(itertools.accumulate(kernel.shape[1] for kernel in kernels[:-1]))
        return jnp.split(mapped(x_BxTxD, jnp.concatenate(kernels, axis=1), bias, self.execution), ends, axis=-1)


class MLP(nn.Module):
    """Position-wise GELU or SwiGLU (Shazeer 2020) network."""

    config: configs.Decoder
    execution: Execution = Execution()

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        c, execution = self.config, self.execution
        up_BxTxF = dense(x_BxTxD, c.hidden, c, "up", execution)
        if c.activation == "swiglu":
            up_BxTxF *= nn.silu(dense(x_BxTxD, c.hidden, c, "gate", execution))
        else:
            # Computed again in the backward pass: cheaper than to write down and read back what it needs.
            up_BxTxF = jax.checkpoint(nn.gelu)(up_BxTxF)
        return dense(up_BxTxF, c.width, c, "down", execution, residual=True)


def norm(c: configs.Decoder, name: str | None = None) -> "RMSNorm | LayerNorm":
    """The norm of a config: of the root mean square, or of mean and variance with a learned shift."""
    kind = RMSNorm if c.norm == "rms" else LayerNorm
    return kind(name=name) if c.norm_epsilon is None else kind(c.norm_epsilon, name=name)


class RMSNorm(nn.Module):
    """x / rms(x) with a learned scale, in float32, returned in the input's dtype (Zhang & Sennrich 2019)."""

    epsilon: float = 1e-6

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        scale_D = self.param("scale", nn.initializers.ones, x_BxTxD.shape[-1:], jnp.float32)
        x = x_BxTxD.astype(jnp.float32)
        x *= jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return (x * scale_D).astype(x_BxTxD.dtype)


class LayerNorm(nn.Module):
    """(x - mean) / std with learned scale and shift, in float32, returned in the input's dtype (Ba et al. 2016)."""

    epsilon: float = 1e-5

    @nn.compact
    def __call__(self, x_BxTxD: jax.Array) -> jax.Array:
        scale_D = self.param("scale", nn.initializers.ones, x_BxTxD.shape[-1:], jnp.float32)
        bias_D = self.param("bias", nn.initializers.zeros, x_BxTxD.shape[-1:], jnp.float32)
        x = x_BxTxD.astype(jnp.float32)
        x -= jnp.mean(x, axis=-1, keepdims=True)
        x *= jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + self.epsilon)
        return (x * scale_D + bias_D).astype(x_BxTxD.dtype)


class Weights(nn.Module):
    """Kernel and bias of a linear map, in the dtype of the config; the kernel starts with that standard deviation."""

    features: int
    config: configs.Decoder
    execution: Execution
    std: float = 0.02

    @nn.compact
    def __call__(self, width: int) -> tuple[jax.Array, jax.Array | None]:
        dtype = jnp.dtype(self.config.dtype)
        gathered: Callable[[str, jax.Array], jax.Array] = lambda kind, value: self.execution.gather(
            f"{self.name}/{kind}", value.astype(dtype)
        )
        init = nn.initializers.normal(self.std)
        kernel_DxF = gathered("kernel", self.param("kernel", init, (width, self.features), jnp.float32))
        if not self.config.bias:
            return kernel_DxF, None
        return kernel_DxF, gathered("bias", self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32))


def dense(
    x_BxTxD: jax.Array, features: int, c: configs.Decoder, name: str, execution: Execution, residual: bool = False
) -> jax.Array:
    """A linear map; those that write to the residual stream start smaller by sqrt(2L) (GPT-2)."""
    std = 0.02 * (2 * c.layers) ** -0.5 if residual else 0.02
    kernel_DxF, bias_F = Weights(features, c, execution, std, name=name)(x_BxTxD.shape[-1])
    return mapped(x_BxTxD, kernel_DxF, bias_F, execution)


def mapped(x_BxTxD: jax.Array, kernel_DxF: jax.Array, bias_F: jax.Array | None, execution: Execution) -> jax.Array:
    # On one device all tokens are rows of one matrix: on a processor the faster product, by a sixth of a step.
    # Rows and tokens that lie along different axes of a mesh stay apart.
    if execution.mesh is None:
        y = _product(x_BxTxD.reshape(-1, x_BxTxD.shape[-1]), kernel_DxF).reshape(*x_BxTxD.shape[:-1], -1)
    else:
        y = jnp.matmul(x_BxTxD, kernel_DxF)
    return y if bias_F is None else y + bias_F


@jax.custom_vjp
def _product(x_NxD: jax.Array, kernel_DxF: jax.Array) -> jax.Array:
    """x kernel; the gradient of a tall kernel is formed lying down on a processor, which is faster by half."""
    return jnp.matmul(x_NxD, kernel_DxF)


def _product_backward(kept: tuple[jax.Array, jax.Array], gradient_NxF: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_NxD, kernel_DxF = kept
    direct = lambda x_NxD, gradient_NxF: x_NxD.T @ gradient_NxF
    # Without the barrier the compiler turns the one into the other.
    flipped = lambda x_NxD, gradient_NxF: jax.lax.optimization_barrier(gradient_NxF.T @ x_NxD).T
    on_processor = flipped if kernel_DxF.shape[0] > kernel_DxF.shape[1] else direct
    of_kernel = jax.lax.platform_dependent(x_NxD, gradient_NxF, cpu=on_processor, default=direct)
    return gradient_NxF @ kernel_DxF.T, of_kernel


_product.defvjp(lambda x_NxD, kernel_DxF: (_product(x_NxD, kernel_DxF), (x_NxD, kernel_DxF)), _product_backward)


def rotate(x_BxHxTxK: jax.Array, base: float = 10_000.0) -> jax.Array:
    """Rotary position embedding (Su et al. 2021), halves paired; float32 angles, input dtype out."""
    T, K = x_BxHxTxK.shape[-2:]
    frequency_J = base ** (-jnp.arange(K // 2) / (K // 2))
    angle_TxJ = jnp.arange(T)[:, None] * frequency_J
    cos_TxJ, sin_TxJ = jnp.cos(angle_TxJ), jnp.sin(angle_TxJ)
    a, b = jnp.split(x_BxHxTxK.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos_TxJ - b * sin_TxJ, a * sin_TxJ + b * cos_TxJ], axis=-1).astype(x_BxHxTxK.dtype)


def attention_weights(c: configs.Decoder) -> int:
    """Entries of the four matrices of a block's attention."""
    return 2 * c.width**2 + 2 * c.width * (c.width // c.heads) * (c.key_value_heads or c.heads)


def matmul_flops_per_token(c: configs.Decoder, vocab_size: int) -> int:
    """Forward FLOPs a token costs in matrix products, attention over the whole context included (2 per multiply-add).

    A training step costs three times as many: the backward pass forms two products for each one.
    """
    mlp_matrices = 3 if c.activation == "swiglu" else 2
    per_layer = attention_weights(c) + mlp_matrices * c.width * c.hidden + 2 * c.context * c.width
    return 2 * (c.layers * per_layer + c.width * vocab_size)
