"""The sharded executor: heads, queries and keys of a block spread over devices, one all-reduce a block.

ReLU attention has no normalizer, so its sum over heads and keys is a plain sum: any part can be computed anywhere.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxscale.errors import InputError
from jaxscale.models import relu_transformer as rt

AXES = ("head", "query", "key")


def mesh_of(devices: Sequence[jax.Device], head: int = 0, query: int = 1, key: int = 1) -> Mesh:
    """A mesh over the devices with axes "head", "query" and "key"; `head` 0 takes what the others leave."""
    head = head or len(devices) // (query * key)
    if head * query * key != len(devices):
        raise InputError(f"head={head}, query={query}, key={key} do not make {len(devices)} devices. Change one.")
    return Mesh(np.array(devices).reshape(head, query, key), AXES)


@functools.partial(jax.jit, static_argnames=("module", "mesh"))
def run(module: rt.ReluTransformer, variables: Mapping[str, Any], x_BxD: jax.Array, mesh: Mesh) -> jax.Array:
    """The values of `module` on points (B, D), every block's attention spread over the mesh."""
    if set(mesh.axis_names) != set(AXES):
        raise InputError(f"mesh has axes {mesh.axis_names}; it needs {AXES}. Make it with mesh_of.")
    shape, params = module.shape, variables["params"]
    encoding = variables["fixed"]["encoding"]
    if shape.learned_rows:
        encoding = encoding.at[:, shape.learned_rows].add(params["learned"])
    h_BxTxE = rt.embed(shape, encoding, x_BxD)
    for i in range(len(shape.blocks)):
        weights = params[f"block_{i}"]
        heads = {name: _padded(weights[name], 0, mesh.shape["head"]) for name in ("query", "key", "value")}
        spread = jax.shard_map(
            functools.partial(_attention, module=module, mesh=mesh), mesh=mesh, in_specs=(P("head"), P()), out_specs=P()
        )
        h_BxTxE = rt.feed_forward(weights, h_BxTxE + spread(heads, h_BxTxE), module.matmul_inputs)
    return rt.decode(shape, h_BxTxE)


def _attention(heads: Mapping[str, jax.Array], h_BxTxE: jax.Array, module: rt.ReluTransformer, mesh: Mesh) -> jax.Array:
    """This device's heads, queries and keys; then the sum over all devices."""
    T = h_BxTxE.shape[1]
    query, start = _part(h_BxTxE, "query", mesh)
    key, _ = _part(h_BxTxE, "key", mesh)
    part = rt.attention_in_chunks(heads, query, key, module.matmul_inputs, module.head_chunk, module.query_tile)
    whole = jnp.zeros((h_BxTxE.shape[0], mesh.shape["query"] * query.shape[1], h_BxTxE.shape[2]), part.dtype)
    whole = lax.dynamic_update_slice_in_dim(whole, part, start, axis=1)
    summed: jax.Array = lax.psum(whole, AXES)
    return summed[:, :T]


def _part(h_BxTxE: jax.Array, axis: str, mesh: Mesh) -> tuple[jax.Array, jax.Array]:
    """This device's share of the tokens and where it starts. Tokens of zeros fill up: they neither see nor are seen."""
    h_BxTxE = _padded(h_BxTxE, 1, mesh.shape[axis])
    size = h_BxTxE.shape[1] // mesh.shape[axis]
    start = lax.axis_index(axis) * size
    return lax.dynamic_slice_in_dim(h_BxTxE, start, size, axis=1), start


def _padded(x: jax.Array, axis: int, parts: int) -> jax.Array:
    pads = [(0, 0)] * x.ndim
    pads[axis] = (0, -x.shape[axis] % parts)
    return jnp.pad(x, pads)
