"""Ways to run a network: the definition, its chunks, spread over devices, or only the pairs that matter.

evaluate(network, points_BxD)                                    # chosen by size
evaluate(network, points_BxD, executor="dense", precision="bf16")

executor   scores computed            memory                        parameters
dense      all pairs, all heads       B · m · l²                    any
chunked    all pairs, all heads       B · heads at once · l²        any
sharded    as chunked, over a mesh    as chunked, over devices      any
gather     one pair a head            B · l · rows that vary        those the compiler wrote
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, cast

import jax
import numpy as np

from jaxscale.constructions import gather, sharded
from jaxscale.constructions.network import Network
from jaxscale.errors import InputError
from jaxscale.models import relu_transformer as rt

Executor = Literal["auto", "dense", "chunked", "sharded", "gather"]
Precision = Literal["float64", "float32", "tf32", "bf16"]
PRECISIONS: dict[str, tuple[Any, rt.MatmulInputs]] = {
    "float64": (np.float64, "full"),
    "float32": (np.float32, "full"),
    "tf32": (np.float32, "tf32"),
    "bf16": (np.float32, "bf16"),
}

# Below so many multiply-adds the definition is as quick as anything; compiling it is quicker.
SMALL = 2e9


def evaluate(
    network: Network,
    x: jax.Array | np.ndarray,
    precision: Precision = "float64",
    executor: Executor = "auto",
    params: dict[str, Any] | None = None,
    mesh: jax.sharding.Mesh | None = None,
    memory: float = 1e9,
) -> np.ndarray:
    """Values of a network at points, as a numpy array in the precision's dtype.

    To trace through a network, differentiate or train it, apply `network.module()` instead.

    Args:
      network: as compiled.
      x: (B, D) points in the network's domain.
      precision: of arithmetic; "tf32" and "bf16" round what enters matrix products, and sum in float32.
      executor: see the module; "auto" takes sharded if there is a mesh, dense if that is little work, else gather, or
        chunked for parameters of one's own.
      params: other parameters of the same shape, such as trained ones.
      mesh: for the sharded executor, with axes as `sharded.mesh_of` makes them; all devices along "head" if None.
      memory: bytes that intermediate values may take at once.

    Returns:
      (B,), or (B, outputs) of a program of several numbers.

    Raises:
      InputError: if points lie outside the domain, an option is unknown, or gather is asked for with other parameters.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision!r} is not one of {', '.join(PRECISIONS)}. Pass one of these.")
    if executor == "auto":
        executor = choose(network, len(x), params is not None, mesh is not None)
    if executor not in ("dense", "chunked", "sharded", "gather"):
        raise InputError(
            f"executor={executor!r} is not one of auto, dense, chunked, sharded, gather. Pass one of these."
        )
    if executor == "gather" and params is not None:
        raise InputError("the gather executor knows the pairs of compiled heads only. Use chunked for other params.")
    dtype, inputs = PRECISIONS[precision]
    x = network.check_points(x).astype(dtype)
    with jax.enable_x64(dtype == np.float64):
        if executor == "gather":
            compute, width = _gather(network, dtype, inputs)
        else:
            compute, width = _whole(network, dtype, inputs, executor, params, mesh, memory)
        return _in_batches(compute, x, max(1, int(memory / (width * np.dtype(dtype).itemsize))))


def choose(network: Network, points: int, trained: bool = False, mesh: bool = False) -> Executor:
    """The executor that "auto" stands for."""
    if mesh:
        return "sharded"
    if points * multiply_adds(network.shape) <= SMALL and _scores(network.shape) * min(points, 8) <= 1e8:
        return "dense"
    return "chunked" if trained else "gather"


def multiply_adds(shape: rt.Shape) -> float:
    """Of one point under the definition: Σ over blocks of m l² (rank + d_embd), and the FFN's."""
    pairs = sum(block.heads * (block.rank + shape.width) for block in shape.blocks) * float(shape.tokens) ** 2
    units = sum(a * b for block in shape.blocks for a, b in zip(block.hidden, block.hidden[1:], strict=False))
    return pairs + shape.tokens * units


def _scores(shape: rt.Shape) -> float:
    return shape.heads * float(shape.tokens) ** 2


def _whole(
    network: Network,
    dtype: jax.typing.DTypeLike,
    inputs: rt.MatmulInputs,
    executor: Executor,
    params: dict[str, Any] | None,
    mesh: jax.sharding.Mesh | None,
    memory: float,
) -> tuple[Callable[[np.ndarray], jax.Array], int]:
    """The definition, as it is or in parts, and how many numbers a point takes."""
    shape = network.shape
    variables = network.variables(dtype)
    if params is not None:
        variables["params"] = jax.tree.map(lambda leaf: np.asarray(leaf, dtype), params)
    chunk = tile = None
    if executor != "dense":
        room = max(1.0, memory / (2 * np.dtype(dtype).itemsize))
        tile = int(np.clip(room / shape.tokens, 1, shape.tokens))
        chunk = int(np.clip(room / (shape.tokens * tile), 1, shape.heads))
    width = 2 * (chunk or shape.heads) * (tile or shape.tokens) * shape.tokens
    module = network.module(matmul_inputs=inputs, head_chunk=chunk, query_tile=tile, dtype=dtype)
    variables = jax.device_put(variables)
    if executor == "sharded":
        mesh = mesh or sharded.mesh_of(jax.devices())
        return lambda x: sharded.run(module, variables, x, mesh), width
    return lambda x: _apply(module, variables, x), width


@functools.partial(jax.jit, static_argnums=0)
def _apply(module: rt.ReluTransformer, variables: dict[str, Any], x: jax.Array) -> jax.Array:
    return cast(jax.Array, module.apply(variables, x))


def _gather(
    network: Network, dtype: jax.typing.DTypeLike, inputs: rt.MatmulInputs
) -> tuple[Callable[[np.ndarray], jax.Array], int]:
    steps, *rest = jax.device_put(gather.prepare(network, dtype))
    width = max(3 * step.query_at.size + 12 * step.kept.size for step in steps)
    squeeze = len(network.shape.outputs) == 1

    def compute(x: np.ndarray) -> jax.Array:
        y: jax.Array = gather.run(steps, *rest, x, inputs, network.shape.bound)
        return y[:, 0] if squeeze else y

    return compute, width


def _in_batches(compute: Callable[[np.ndarray], jax.Array], x: np.ndarray, size: int) -> np.ndarray:
    """All points, some at a time, in batches of one size so that one program serves them all."""
    size = min(size, len(x))
    if len(x) == 0:
        raise InputError("there are no points. Pass at least one.")
    parts = []
    for start in range(0, len(x), size):
        batch = x[start : start + size]
        filled = np.pad(batch, ((0, size - len(batch)), (0, 0)), mode="edge")
        parts.append(np.asarray(compute(filled))[: len(batch)])
    return np.concatenate(parts)
