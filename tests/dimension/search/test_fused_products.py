"""The GPU's kernels are the ordinary program's products, keys and two smallest, bit for bit; interpreted elsewhere."""

import dataclasses
import functools
import logging
import sys
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

from jaxscale.dimension.search import candidates, fused_products, hopper_products
from jaxscale.dimension.search.candidates import TilePlan, among_themselves, of_queries, products
from jaxscale.dimension.search.fused_products import best_of_queries, best_of_tile, kernel_for
from jaxscale.dimension.search.selection import NONE, pack, two_smallest

INTERPRET = jax.default_backend() != "gpu"
MOSAIC = jax.__version_info__ >= (0, 12)


def needs(kernel):
    """Skips where a kernel is not to be had: interpreted anywhere that jax has its backend, compiled on its GPUs."""
    if kernel == "triton":
        pytest.importorskip("jax.experimental.pallas.triton")
    elif not MOSAIC or not (INTERPRET or fused_products._capabilities() == ("9.0",)):
        pytest.skip("jax 0.12 compiles it for compute capability 9.0")


# The interpreter of Mosaic GPU looks for races between warpgroups, and takes half a minute.
def slow_to_interpret(*values):
    return pytest.param(*values, marks=[pytest.mark.slow] if INTERPRET else [])


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


# For Triton a whole block and several lines, blocks of 64 in a tile that is no power of two and groups that drop
# nothing, one block, one group. For Mosaic GPU two blocks of rows and several lines; several blocks of columns, and
# lines of each length.
@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kernel", "tiles", "tile", "width", "group", "start", "dtype"),
    [
        ("triton", 2, 256, 130, 32, 0, jnp.bfloat16),
        ("triton", 3, 192, 20, 2, 0, jnp.float32),
        ("triton", 2, 96, 7, 32, 0, jnp.float32),
        ("triton", 2, 16, 1, 16, 0, jnp.bfloat16),
        ("mosaic", 2, 256, 130, 32, 1, jnp.bfloat16),
        slow_to_interpret("mosaic", 2, 512, 20, 16, 0, jnp.bfloat16),
        slow_to_interpret("mosaic", 2, 256, 3, 8, 0, jnp.bfloat16),
        pytest.param(
            *("mosaic", 3, 1024, 768, 32, 0, jnp.bfloat16),
            marks=pytest.mark.skipif(INTERPRET, reason="a hundred blocks, too many for the interpreter"),
        ),
    ],
)
def test_the_kernel_keeps_what_the_steps_keep(kernel, tiles, tile, width, group, start, dtype):
    needs(kernel)
    points, as_query, as_key = cloud(tiles, tile, width, dtype)
    run = jax.jit(functools.partial(best_of_tile, span=tiles, group=group, kernel=kernel, interpret=INTERPRET))
    (keys, dropped), (back_keys, back_dropped) = run(points, as_query, as_key, 1, 0, start)
    for found in (keys[:, :start], dropped[:start], back_keys[:, :start], back_dropped[:start]):
        assert (found == NONE).all()
    for j in range(start, tiles):
        expected = by_steps(points[1], as_query[1], points[j], as_key[j], group)
        np.testing.assert_array_equal(keys[:, j], expected[0])
        np.testing.assert_array_equal(dropped[j], expected[1])
        expected = by_steps(points[j], as_query[j], points[1], as_key[1], group)
        np.testing.assert_array_equal(back_keys[:, j], expected[0])
        np.testing.assert_array_equal(back_dropped[j], expected[1])


def test_tiles_passed_over_have_nothing():
    needs("triton")
    points, as_query, as_key = cloud(3, 32, 4, jnp.float32)
    run = jax.jit(functools.partial(best_of_tile, span=2, group=16, kernel="triton", interpret=INTERPRET))
    whole, some = run(points, as_query, as_key, 0, 1, 0), run(points, as_query, as_key, 0, 1, 1)
    for (keys, dropped), (some_keys, some_dropped) in zip(whole, some, strict=True):
        assert (some_keys[:, 0] == NONE).all() and (some_dropped[0] == NONE).all()
        np.testing.assert_array_equal(some_keys[:, 1], keys[:, 1])
        np.testing.assert_array_equal(some_dropped[1], dropped[1])


@pytest.mark.parametrize(("kernel", "tile"), [("triton", 96), ("mosaic", 256)])
def test_any_number_of_queries_fit_whole_blocks(kernel, tile):
    needs(kernel)
    points, as_query, as_key = cloud(2, tile, 20, jnp.bfloat16)
    queries, as_query = points.reshape(2 * tile, 20)[:130], as_query.reshape(2 * tile)[:130]
    run = jax.jit(functools.partial(best_of_queries, span=1, group=32, kernel=kernel, interpret=INTERPRET))
    keys, dropped = run(queries, as_query, points, as_key, 1)
    expected = by_steps(queries, as_query, points[1], as_key[1], 32)
    np.testing.assert_array_equal(keys[:, 0], expected[0])
    np.testing.assert_array_equal(dropped[0], expected[1])


@pytest.mark.parametrize(
    ("kernel", "tile", "dtype"),
    [("triton", 32, jnp.float32), slow_to_interpret("mosaic", 256, jnp.bfloat16)],
)
def test_batched_queries_are_a_loop(kernel, tile, dtype):
    needs(kernel)
    points, as_query, as_key = cloud(2, tile, 4, dtype)
    run = jax.jit(functools.partial(best_of_queries, span=2, group=16, kernel=kernel, interpret=INTERPRET))
    batched = jax.vmap(run, in_axes=(0, 0, None, None, None))(points, as_query, points, as_key, 0)
    for t in range(2):
        for ours, theirs in zip(run(points[t], as_query[t], points, as_key, 0), batched, strict=True):
            np.testing.assert_array_equal(ours, theirs[t])


# Spans of two, so that a span meets itself and another one; four candidates of a tile.
PLAN = TilePlan(count=8, tile=32, tiles=4, group=16, keep=4, span=2)
KERNELS = pytest.mark.parametrize(
    ("kernel", "tile", "dtype"),
    [("triton", 32, jnp.float32), slow_to_interpret("mosaic", 256, jnp.bfloat16)],
)


@pytest.fixture
def on_gpu(monkeypatch):
    """Call it to get a kernel's program from now on, the kernel interpreted where there is no GPU."""

    def force(name):
        monkeypatch.setattr(candidates, "kernel_for", lambda dtype, tile, group: name)
        monkeypatch.setattr(candidates, "_by_platform", lambda fused, by_tiles, dtype, plan: fused)
        for function in (best_of_tile, best_of_queries):
            forced = functools.partial(function, kernel=name, interpret=INTERPRET)
            monkeypatch.setattr(candidates, function.__name__, forced)

    return force


@pytest.mark.thorough
@KERNELS
def test_candidates_of_each_point_are_the_same_by_the_kernel(kernel, tile, dtype, on_gpu):
    needs(kernel)
    tiles, plan = cloud(4, tile, 6, dtype), dataclasses.replace(PLAN, tile=tile)
    expected = among_themselves(*tiles, plan)
    on_gpu(kernel)
    for ours, theirs in zip(among_themselves(*tiles, plan), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@KERNELS
def test_candidates_of_queries_are_the_same_by_the_kernel(kernel, tile, dtype, on_gpu):
    needs(kernel)
    (points, as_query, as_key), plan = cloud(4, tile, 6, dtype), dataclasses.replace(PLAN, tile=tile)
    expected = of_queries(points[2, :9], as_query[2, :9], points, as_key, plan)
    on_gpu(kernel)
    for ours, theirs in zip(of_queries(points[2, :9], as_query[2, :9], points, as_key, plan), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.fixture
def gpus(monkeypatch):
    """Call it with compute capabilities to have such GPUs, as far as the choice of a kernel goes."""

    def have(*capabilities, compiles=True):
        monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
        monkeypatch.setattr(fused_products, "_capabilities", lambda: capabilities)
        if compiles:
            monkeypatch.setattr(hopper_products, "check", lambda dtype, group: None)

    fused_products._compiles.cache_clear()
    yield have
    fused_products._compiles.cache_clear()


BEST = "mosaic" if MOSAIC else "triton"


@pytest.mark.parametrize(
    ("capabilities", "dtype", "tile", "group", "kernel"),
    [
        (("9.0",), jnp.bfloat16, 1024, 32, BEST),
        (("9.0",), jnp.bfloat16, 1024, 4, "triton"),
        (("9.0",), jnp.bfloat16, 896, 32, "triton"),
        (("9.0",), jnp.float32, 1024, 32, "triton"),
        (("8.0",), jnp.bfloat16, 1024, 32, "triton"),
        (("10.0",), jnp.bfloat16, 1024, 32, "triton"),
        (("8.0", "9.0"), jnp.bfloat16, 1024, 32, "triton"),
        (("9.0",), jnp.float32, 16, 16, "triton"),
        (("9.0",), jnp.float32, 24, 8, None),
    ],
)
def test_the_first_kernel_that_serves_is_chosen(capabilities, dtype, tile, group, kernel, gpus):
    if kernel == "triton":
        needs(kernel)
    assert kernel_for(dtype, tile, group) is None or not INTERPRET
    gpus(*capabilities)
    assert kernel_for(dtype, tile, group) == kernel


def program(plan, tiles, platform):
    """The program for a platform, as text. Newer versions of jax lower a kernel for a device that they know."""
    device = AbstractDevice(device_kind="NVIDIA H200", num_cores=132, platform="gpu")
    with use_abstract_mesh(AbstractMesh((), (), abstract_device=device)):
        traced = jax.jit(lambda *tiles: among_themselves(*tiles, plan)).trace(*tiles)
        return traced.lower(lowering_platforms=(platform,)).as_text()


WIDE = TilePlan(count=32, tile=1024, tiles=4, group=32, keep=8, span=4)


@pytest.mark.parametrize(
    ("dtype", "target"),
    [(jnp.float32, "xla.gpu.triton"), (jnp.bfloat16, "@mosaic_gpu" if MOSAIC else "xla.gpu.triton")],
)
def test_only_the_program_of_an_nvidia_gpu_holds_the_kernel(dtype, target, gpus):
    if "triton" in target:
        needs("triton")
    tiles = cloud(4, 1024, 768, dtype)
    # Where there is no GPU, its program is not asked for.
    if INTERPRET:
        assert target not in program(WIDE, tiles, "cpu")
    gpus("9.0")
    with warnings.catch_warnings():
        if "mosaic" in target:
            warnings.simplefilter("error", DeprecationWarning)
        for platform, kernels in {"cpu": 0, "tpu": 0, "cuda": 1}.items():
            assert program(WIDE, tiles, platform).count(target) == kernels


@pytest.mark.skipif(not (MOSAIC and INTERPRET), reason="looks at what is done where Mosaic GPU compiles nothing")
def test_a_kernel_that_does_not_compile_is_passed_over(gpus, caplog):
    needs("triton")
    gpus("9.0", compiles=False)
    with caplog.at_level(logging.WARNING):
        assert kernel_for(jnp.bfloat16, 1024, 32) == "triton"
    assert "mosaic kernel of nearest neighbors does not compile here" in caplog.text


def test_a_jax_without_its_triton_backend_leaves_the_ordinary_program(gpus, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "jax.experimental.pallas.triton", None)
    gpus("8.0")
    tiles = cloud(4, 1024, 16, jnp.float32)
    with caplog.at_level(logging.WARNING):
        assert "xla.gpu.triton" not in program(WIDE, tiles, "cuda")
    assert "triton kernel of nearest neighbors does not compile here" in caplog.text
    # Mosaic GPU's does without it.
    fused_products._compiles.cache_clear()
    gpus("9.0")
    assert kernel_for(jnp.bfloat16, 1024, 32) == ("mosaic" if MOSAIC else None)


def test_coordinates_are_filled_up_once_before_the_loops(gpus):
    """XLA leaves a copy of the whole cloud where it is written: once in each of thousands of steps."""
    needs("triton")
    gpus("8.0")
    text = program(WIDE, cloud(4, 1024, 20, jnp.float32), "cuda")
    filled = [line for line in text.splitlines() if "stablehlo.pad" in line and "x20xf32>" in line]
    assert len(filled) == 1 and "tensor<4x1024x20xf32>" in filled[0]
