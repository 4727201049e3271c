"""The GPU's kernel is the ordinary program's products, keys and two smallest, bit for bit; interpreted elsewhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from jaxscale.dimension import candidates
from jaxscale.dimension.candidates import Plan, among_themselves, of_queries, products
from jaxscale.dimension.fused_products import best_of_queries, best_of_tile, fits
from jaxscale.dimension.selection import NONE, pack, two_smallest

INTERPRET = jax.default_backend() != "gpu"


def cloud(tiles, tile, width, dtype, seed=0):
    """Tiles of small integers, whose products are exact in any order; a half norm in five is infinite, and padding."""
    draw = np.random.default_rng(seed)
    points = draw.integers(-8, 9, (tiles, tile, width)).astype(np.float32)
    # Not integers: a different order of summation inside a score would show.
    as_query = (points**2).sum(-1) / 2 + draw.random((tiles, tile), np.float32)
    padding = np.arange(tiles * tile).reshape(tiles, tile) >= tiles * tile - 5
    as_key = np.where((draw.random((tiles, tile)) < 0.2) | padding, np.inf, as_query)
    return jnp.asarray(points, dtype), jnp.asarray(as_query), jnp.asarray(as_key, jnp.float32)


@functools.partial(jax.jit, static_argnames="group")
def by_steps(rows, half_rows, columns, half_columns, group):
    """Keys (2 · groups, B) and the least dropped (B,) from the parts of the ordinary program."""
    inner, width = products(rows, columns), columns.shape[0] // group

    def part(i):
        scores = half_rows[:, None] + jax.lax.dynamic_slice_in_dim(half_columns, i * width, width)
        scores = scores - jax.lax.dynamic_slice_in_dim(inner, i * width, width, axis=1)
        return pack(scores, axis=1, start=i * width, size=columns.shape[0])

    first, second, third = two_smallest(part, group)
    return jnp.concatenate([first.T, second.T]), jnp.min(third, axis=1)


# A whole block and several lines, blocks of 64 in a tile that is no power of two and groups that drop nothing, one
# block, one group.
@pytest.mark.parametrize(
    ("tiles", "tile", "width", "group", "dtype"),
    [
        (2, 256, 130, 32, jnp.bfloat16),
        (3, 192, 20, 2, jnp.float32),
        (2, 96, 7, 32, jnp.float32),
        (2, 16, 1, 16, jnp.bfloat16),
    ],
)
def test_the_kernel_keeps_what_the_steps_keep(tiles, tile, width, group, dtype):
    points, as_query, as_key = cloud(tiles, tile, width, dtype)
    run = jax.jit(functools.partial(best_of_tile, span=tiles, group=group, interpret=INTERPRET))
    (keys, dropped), (back_keys, back_dropped) = run(points, as_query, as_key, 1, 0, 0)
    for j in range(tiles):
        expected = by_steps(points[1], as_query[1], points[j], as_key[j], group)
        np.testing.assert_array_equal(keys[:, j], expected[0])
        np.testing.assert_array_equal(dropped[j], expected[1])
        expected = by_steps(points[j], as_query[j], points[1], as_key[1], group)
        np.testing.assert_array_equal(back_keys[:, j], expected[0])
        np.testing.assert_array_equal(back_dropped[j], expected[1])


def test_tiles_passed_over_have_nothing():
    points, as_query, as_key = cloud(3, 32, 4, jnp.float32)
    run = jax.jit(functools.partial(best_of_tile, span=2, group=16, interpret=INTERPRET))
    whole, some = run(points, as_query, as_key, 0, 1, 0), run(points, as_query, as_key, 0, 1, 1)
    for (keys, dropped), (some_keys, some_dropped) in zip(whole, some, strict=True):
        assert (some_keys[:, 0] == NONE).all() and (some_dropped[0] == NONE).all()
        np.testing.assert_array_equal(some_keys[:, 1], keys[:, 1])
        np.testing.assert_array_equal(some_dropped[1], dropped[1])


def test_any_number_of_queries_fit_whole_blocks():
    points, as_query, as_key = cloud(2, 96, 20, jnp.bfloat16)
    queries, as_query = points.reshape(192, 20)[:130], as_query.reshape(192)[:130]
    run = jax.jit(functools.partial(best_of_queries, span=1, group=32, interpret=INTERPRET))
    keys, dropped = run(queries, as_query, points, as_key, 1)
    expected = by_steps(queries, as_query, points[1], as_key[1], 32)
    np.testing.assert_array_equal(keys[:, 0], expected[0])
    np.testing.assert_array_equal(dropped[0], expected[1])


def test_batched_queries_are_a_loop():
    points, as_query, as_key = cloud(2, 32, 4, jnp.float32)
    run = jax.jit(functools.partial(best_of_queries, span=2, group=16, interpret=INTERPRET))
    batched = jax.vmap(run, in_axes=(0, 0, None, None, None))(points, as_query, points, as_key, 0)
    for t in range(2):
        for ours, theirs in zip(run(points[t], as_query[t], points, as_key, 0), batched, strict=True):
            np.testing.assert_array_equal(ours, theirs[t])


# Spans of two, so that a span meets itself and another one; four candidates of a tile of 32.
PLAN = Plan(count=8, tile=32, tiles=4, group=16, keep=4, span=2)


@pytest.fixture
def on_gpu(monkeypatch):
    """Call it to get the program of a GPU from now on, its kernel interpreted where there is none."""

    def force():
        monkeypatch.setattr(candidates, "_by_platform", lambda fused, by_tiles, plan: fused)
        for kernel in (best_of_tile, best_of_queries):
            monkeypatch.setattr(candidates, kernel.__name__, functools.partial(kernel, interpret=INTERPRET))

    return force


def test_candidates_of_each_point_are_the_same_by_the_kernel(on_gpu):
    tiles = cloud(4, 32, 6, jnp.float32)
    expected = among_themselves(*tiles, PLAN)
    on_gpu()
    for ours, theirs in zip(among_themselves(*tiles, PLAN), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_candidates_of_queries_are_the_same_by_the_kernel(on_gpu):
    points, as_query, as_key = cloud(4, 32, 6, jnp.float32)
    expected = of_queries(points[2, :9], as_query[2, :9], points, as_key, PLAN)
    on_gpu()
    for ours, theirs in zip(of_queries(points[2, :9], as_query[2, :9], points, as_key, PLAN), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_only_the_program_of_an_nvidia_gpu_holds_the_kernel(dtype, monkeypatch):
    tiles = cloud(4, 1024, 768, dtype)
    plan = Plan(count=32, tile=1024, tiles=4, group=32, keep=8, span=4)

    def kernels(platform):
        # Newer versions of jax lower a kernel for a device that they know.
        device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
        with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
            traced = jax.jit(lambda *tiles: among_themselves(*tiles, plan)).trace(*tiles)
            return traced.lower(lowering_platforms=(platform,)).as_text().count("xla.gpu.triton")

    # Where there is no GPU, its program is not asked for.
    assert kernels("cpu") == 0
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert kernels("cpu") == kernels("tpu") == 0
    assert kernels("cuda") == 1


def test_narrow_tiles_are_left_to_the_ordinary_program():
    assert fits(tile=1024, group=32) and fits(tile=16, group=16)
    assert not fits(tile=24, group=8)
