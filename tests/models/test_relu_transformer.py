"""The class T(...): its definition written out with loops, its chunks, and what it promises to callers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.models import relu_transformer as rt

SHAPE = rt.Shape(
    tokens=6,
    width=4,
    blocks=(rt.BlockShape(heads=5, rank=3, hidden=(7, 3)), rt.BlockShape(heads=2, rank=2, hidden=())),
    inputs=((0, 0), (2, 1)),
    outputs=((5, 0),),
)


@pytest.fixture(scope="module")
def network():
    with jax.enable_x64(True):
        model = rt.ReluTransformer(SHAPE, dtype=jnp.float64)
        rng = np.random.default_rng(0)
        x = rng.uniform(size=(3, 2))
        variables = jax.jit(model.init)(jax.random.key(0), x)
        params = jax.tree.map(np.asarray, variables["params"])
        yield model, {"params": params, "fixed": {"encoding": rng.normal(size=(6, 4))}}, x


def run(model, variables, x, method=None):
    """Compiled as a whole: op by op, every op would be compiled by itself."""
    return jax.jit(lambda variables, x: model.apply(variables, x, method=method))(variables, x)


def by_loops(variables, x):
    """The definition, one number at a time."""
    relu = lambda z: np.maximum(z, 0)
    outputs = []
    for point in np.asarray(x):
        h = np.array(variables["fixed"]["encoding"])
        for (token, row), coordinate in zip(SHAPE.inputs, point, strict=True):
            h[token, row] += coordinate
        for i in range(len(SHAPE.blocks)):
            w = jax.tree.map(np.asarray, variables["params"][f"block_{i}"])
            g = h.copy()
            for Q, K, V in zip(w["query"], w["key"], w["value"], strict=True):
                for t in range(6):
                    for k in range(6):
                        g[t] += relu((Q @ h[t]) @ (K @ h[k])) * (V @ h[k])
            h = g.copy()
            if i == 0:
                for t in range(6):
                    a = relu(g[t] @ w["kernel_0"] + w["bias_0"])
                    h[t] += relu(a @ w["kernel_1"] + w["bias_1"]) @ w["kernel_2"] + w["bias_2"]
        outputs.append(h[5, 0])
    return np.array(outputs)


def test_forward_pass_is_the_definition(network):
    model, variables, x = network
    with jax.enable_x64(True):
        np.testing.assert_allclose(run(model, variables, x), by_loops(variables, x), rtol=1e-12)


@pytest.mark.parametrize(("chunk", "tile"), [(2, None), (None, 4), (3, 1)])
def test_chunks_of_heads_and_queries_change_nothing(network, chunk, tile):
    model, variables, x = network
    with jax.enable_x64(True):
        chunked = model.clone(head_chunk=chunk, query_tile=tile)
        np.testing.assert_allclose(run(chunked, variables, x), run(model, variables, x), rtol=1e-12)


def test_works_under_vmap_and_grad(network):
    model, variables, x = network
    with jax.enable_x64(True):
        value = run(model, variables, x)
        one = lambda x: model.apply(variables, x[None])[0]
        values, slopes = jax.jit(jax.vmap(jax.value_and_grad(one)))(x)
        np.testing.assert_allclose(values, value, rtol=1e-12)
        step = np.zeros(x.shape)
        step[:, 0] = 1e-6
        rise = run(model, variables, x + step) - run(model, variables, x - step)
        np.testing.assert_allclose(slopes[:, 0], rise / 2e-6, rtol=1e-5)


def test_streams_are_returned_block_by_block(network):
    model, variables, x = network
    with jax.enable_x64(True):
        streams = run(model, variables, x, method="streams")
        chex.assert_shape(streams, [(3, 6, 4)] * 3)
        np.testing.assert_allclose(streams[-1][:, 5, 0], run(model, variables, x), rtol=1e-12)
        np.testing.assert_array_equal(streams[0][:, 0, 0], variables["fixed"]["encoding"][0, 0] + x[:, 0])


def test_output_is_clipped_to_the_bound_and_learned_rows_start_from_parameters(network):
    model, variables, x = network
    with jax.enable_x64(True):
        free = run(model, variables, x)
        bound = float(np.median(np.abs(free)))
        bounded = model.clone(shape=rt.dataclasses.replace(SHAPE, bound=bound))
        np.testing.assert_allclose(run(bounded, variables, x), np.clip(free, -bound, bound), rtol=1e-12)

        learning = model.clone(shape=rt.dataclasses.replace(SHAPE, learned_rows=(3,)))
        shift = np.arange(6.0)[:, None]
        moved = {"encoding": variables["fixed"]["encoding"] - shift * (np.arange(4) == 3)}
        again = run(learning, {"params": {**variables["params"], "learned": shift}, "fixed": moved}, x)
        np.testing.assert_allclose(again, free, rtol=1e-9)


def test_sizes_are_counted(network):
    _, variables, _ = network
    assert SHAPE.parameters == sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert (SHAPE.heads, SHAPE.ffn_depth, SHAPE.ffn_width) == (5, 3, 7)


@pytest.mark.parametrize(("inputs", "bits"), [("tf32", 10), ("bf16", 7)])
def test_matmul_inputs_are_rounded_and_sums_are_not(inputs, bits):
    a, b = jnp.array([[1 + 2.0**-bits, 1 + 2.0**-20]]), jnp.array([[1.0], [1.0]])
    assert float(rt.product("ij,jk->ik", a, b, inputs)[0, 0]) == 2 + 2.0**-bits
    assert float(rt.product("ij,jk->ik", a, b, "full")[0, 0]) == 2 + 2.0**-bits + 2.0**-20
