"""The gather executor: every head looks only at the pairs it lets through, and tokens nobody reads are left out.

All other scores are negative by construction, so the numbers are those of the definition, at 10^5 to 10^8 times less
work. It holds for the parameters the compiler wrote, not for trained ones.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.constructions.network import Network, Selection
from jaxscale.models import relu_transformer as rt

# From so many heads on, each reads too little for matrix products to pay.
MANY_HEADS = 64


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Step:
    """One block on the tokens that are read later. Only v rows vary from point to point; the others become constants.

    Attributes:
      query, key: (M, r, v) data rows of Q and K on the rows that vary.
      query_constant, key_constant: (M, P, r) what the other rows add, by pair.
      score_constant: (M, P) what the selection rows add to a score: zero, but for rounding.
      query_at, key_at: (M, P) places of a pair's tokens among those kept so far.
      writes: for each row that varies, if heads write there: pairs (flat), their values, the places they write to.
      values: (M, v, v) V on the rows that vary, or None where heads pass on constants alone.
      kept: (T',) places of the tokens to keep among those kept so far.
      layers: the FFN on the rows that vary; the first bias is (w, T') as it contains the rest.
    """

    query: Any
    key: Any
    query_constant: Any
    key_constant: Any
    score_constant: Any
    query_at: Any
    key_at: Any
    writes: Any
    values: Any
    kept: Any
    layers: Any


def prepare(
    network: Network, dtype: jax.typing.DTypeLike
) -> tuple[list[Step], np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Constants of every block in `dtype`; the start (v, T) and where inputs and outputs lie in it: (row, place)."""
    shape = network.shape
    params, fixed = network.variables(dtype).values()
    start_TxE = fixed["encoding"]
    if shape.learned_rows:
        start_TxE = start_TxE.copy()
        start_TxE[:, shape.learned_rows] += params["learned"]
    varying = _varying_rows(network)
    needed = [np.unique([token for token, _ in shape.outputs])]
    for selection in reversed(network.selections):
        used = (selection.token >= 0) & np.isin(selection.token, needed[0])
        needed.insert(0, np.union1d(needed[0], selection.seen[used]))
    steps = []
    for i, selection in enumerate(network.selections):
        steps.append(_step(params[f"block_{i}"], selection, start_TxE, varying, needed[i], needed[i + 1]))
    row_of = {row: place for place, row in enumerate(varying)}
    locate: Callable[[tuple[tuple[int, int], ...], np.ndarray], np.ndarray] = lambda ends, tokens: np.array(
        [(row_of[row], np.searchsorted(tokens, token)) for token, row in ends if token in tokens], dtype=int
    ).reshape(-1, 2)
    read = np.array([i for i, (token, _) in enumerate(shape.inputs) if token in needed[0]], dtype=int)
    places = locate(shape.inputs, needed[0]), locate(shape.outputs, needed[-1])
    return steps, start_TxE[needed[0]][:, varying].T, places[0], places[1], read


def _varying_rows(network: Network) -> list[int]:
    """Rows of the residual stream that inputs enter, or that any block writes to, or that outputs are read from."""
    rows = {row for _, row in (*network.shape.inputs, *network.shape.outputs)}
    for block in network.params.values():
        if isinstance(block, dict):
            rows |= {int(row) for row in np.unique(np.nonzero(block["value"])[1])}
            depth = sum(name.startswith("kernel_") for name in block)
            if depth:
                rows |= {int(row) for row in np.nonzero(block[f"kernel_{depth - 1}"])[1]}
                rows |= {int(row) for row in np.nonzero(block[f"bias_{depth - 1}"])[0]}
    return sorted(rows)


def _step(
    weights: Mapping[str, np.ndarray],
    selection: Selection,
    start_TxE: np.ndarray,
    varying: list[int],
    here: np.ndarray,
    there: np.ndarray,
) -> Step:
    fixed = np.setdiff1d(np.arange(start_TxE.shape[1]), varying)
    valid = (selection.token >= 0) & np.isin(selection.token, there)
    heads = np.nonzero(valid.any(axis=1))[0]
    valid = valid[heads]
    token, seen = (np.where(valid, pairs[heads], here[0]) for pairs in (selection.token, selection.seen))
    data = selection.data
    parts = {}
    for name, at in (("query", token), ("key", seen)):
        kernel = weights[name][heads]
        constant = np.einsum("mre,mpe->mpr", kernel[:, :, fixed], start_TxE[at][:, :, fixed], optimize=True)
        parts[name] = kernel[:, :data, varying], constant
    (query, query_constant), (key, key_constant) = parts["query"], parts["key"]
    value = weights["value"][heads]
    constant_value = np.einsum(
        "mfe,mpe->mpf", value[:, varying][:, :, fixed], start_TxE[seen][:, :, fixed], optimize=True
    )
    constant_value = np.where(valid[:, :, None], constant_value, 0)
    passes_on = value[:, varying][:, :, varying]
    depth = sum(name.startswith("kernel_") for name in weights)
    layers = [(weights[f"kernel_{i}"], weights[f"bias_{i}"]) for i in range(depth)]
    if layers:
        kernel, bias = layers[0]
        layers[0] = kernel[varying], (start_TxE[there][:, fixed] @ kernel[fixed] + bias).T
        kernel, bias = layers[-1]
        layers[-1] = kernel[:, varying], bias[varying]
    place = np.searchsorted(there, np.where(valid, token, there[0]))
    return Step(
        query=query,
        key=key,
        query_constant=query_constant[:, :, :data],
        key_constant=key_constant[:, :, :data],
        score_constant=np.sum(query_constant[:, :, data:] * key_constant[:, :, data:], axis=2),
        query_at=np.searchsorted(here, token),
        key_at=np.searchsorted(here, seen),
        writes=[_writes(constant_value[:, :, row], passes_on[:, row], valid, place) for row in range(len(varying))],
        values=passes_on if np.any(passes_on) else None,
        kept=np.searchsorted(here, there),
        layers=layers,
    )


def _writes(
    constant: np.ndarray, passes_on: np.ndarray, valid: np.ndarray, place: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Pairs that write to a row, what they write for a score of one, and where to; None if there are none."""
    used = valid & ((constant != 0) | np.any(passes_on != 0, axis=1)[:, None])
    pairs = np.nonzero(used.ravel())[0]
    pairs = pairs[np.argsort(place.ravel()[pairs], kind="stable")]
    return (pairs, constant.ravel()[pairs], place.ravel()[pairs]) if len(pairs) else None


@functools.partial(jax.jit, static_argnames=("inputs", "bound"))
def run(
    steps: list[Step],
    start_VxT: jax.Array,
    entries: jax.Array,
    exits: jax.Array,
    read: jax.Array,
    x_BxD: jax.Array,
    inputs: rt.MatmulInputs,
    bound: float | None,
) -> jax.Array:
    """(B, outputs) of points (B, D)."""
    B = x_BxD.shape[0]
    h_VxTxB = jnp.broadcast_to(start_VxT[:, :, None], (*start_VxT.shape, B))
    h_VxTxB = h_VxTxB.at[entries[:, 0], entries[:, 1]].add(x_BxD[:, read].T)
    for step in steps:
        h_VxTxB = _block(step, h_VxTxB, inputs)
    y_BxO = h_VxTxB[exits[:, 0], exits[:, 1]].T
    return y_BxO if bound is None else jnp.clip(y_BxO, -bound, bound)


def _block(step: Step, h_VxTxB: jax.Array, inputs: rt.MatmulInputs) -> jax.Array:
    see: Callable[[jax.Array], jax.Array] = lambda a: (
        a if inputs == "full" else lax.reduce_precision(a, 8, rt.MANTISSA_BITS[inputs])
    )
    seen_VxTxB = see(h_VxTxB)
    q = _projected(see(step.query), seen_VxTxB, step.query_at) + step.query_constant[..., None]
    k = _projected(see(step.key), seen_VxTxB, step.key_at) + step.key_constant[..., None]
    score_MxPxB = jax.nn.relu(jnp.sum(see(q) * see(k), axis=2) + step.score_constant[..., None])
    score_NxB = see(score_MxPxB).reshape(-1, score_MxPxB.shape[-1])
    passed = None if step.values is None else _projected(see(step.values), seen_VxTxB, step.key_at)
    g = []
    for row, write in enumerate(step.writes):
        stream_TxB = h_VxTxB[row][step.kept]
        if write is not None:
            pairs, constant_N, place_N = write
            value_NxB = constant_N[:, None]
            if passed is not None:
                value_NxB = value_NxB + passed[:, :, row].reshape(score_NxB.shape)[pairs]
            contribution_NxB = score_NxB[pairs] * see(value_NxB)
            stream_TxB = stream_TxB.at[place_N].add(contribution_NxB, indices_are_sorted=True)
        g.append(stream_TxB)
    g_VxTxB = jnp.stack(g)
    hidden = g_VxTxB
    for i, (kernel, bias) in enumerate(step.layers):
        bias = bias[:, :, None] if i == 0 else bias[:, None, None]
        hidden = rt.product("vtb,vw->wtb", hidden, kernel, inputs) + bias
        hidden = jax.nn.relu(hidden) if i < len(step.layers) - 1 else hidden
    return g_VxTxB + hidden if step.layers else g_VxTxB


def _projected(kernel_MxRxV: jax.Array, h_VxTxB: jax.Array, at_MxP: jax.Array) -> jax.Array:
    """(M, P, R, B)."""
    if kernel_MxRxV.shape[0] < MANY_HEADS:
        return jnp.einsum("mrv,vmpb->mprb", kernel_MxRxV, h_VxTxB[:, at_MxP], precision="highest")
    # Rows one by one: products too small to call a routine for, fused by the compiler.
    rows = [kernel_MxRxV[:, None, :, v, None] * h[at_MxP][:, :, None] for v, h in enumerate(h_VxTxB)]
    sums: jax.Array = functools.reduce(jnp.add, rows)
    return sums
