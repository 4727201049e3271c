"""Rows that repeat others up to rounding count once, whatever type they came in, and distinct points stay distinct.

Developed on Gaussians in float32; held here on other types and on other families.
"""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension import calibration
from jaxscale.dimension.duplicates import nearest_distinct
from jaxscale.dimension.points import as_cloud, row_sharding
from jaxscale.testing import clouds

N, REPEATS, WIDTH = 300, 30, 24
TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}


def rng():
    return np.random.default_rng(1)


def with_flips(x, entries=0.5):
    """`x` with `REPEATS` of its rows once more, a part of their entries one number further from zero."""
    repeats = x[rng().choice(len(x), REPEATS, replace=False)].copy()
    bits = repeats.view(np.uint16 if x.dtype.itemsize == 2 else np.uint32)
    bits += (rng().uniform(size=bits.shape) < entries).astype(bits.dtype)
    return np.concatenate([x, repeats])


def sphere(dtype):
    return clouds.sphere(N, 4, WIDTH, key=1).astype(dtype)


def far_from_zero(dtype):
    """A cube with a column as hidden states have it: roundings of its size would be as large as distances are."""
    x = clouds.cube(N, 3, WIDTH, key=1)
    x[:, 3] += 20
    return x.astype(dtype)


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        (sphere, "bfloat16"),
        (far_from_zero, "float16"),
        pytest.param(sphere, "float16", marks=pytest.mark.thorough),
        pytest.param(sphere, "float32", marks=pytest.mark.thorough),
        pytest.param(far_from_zero, "float32", marks=pytest.mark.thorough),
    ],
)
def test_repeats_up_to_rounding_count_once(dtype, family):
    x = family(TYPES[dtype])
    y = with_flips(x)
    alone, repeated = dimension.twonn(x), dimension.twonn(y)
    assert alone.duplicates_collapsed == 0 and repeated.points_used == N
    assert repeated.duplicates_collapsed == repeated.rounding_collapsed == REPEATS
    # One of two is kept, whichever.
    np.testing.assert_allclose(repeated.dimension, alone.dimension, rtol=1e-2)


def test_a_column_whose_roundings_exceed_the_distances_makes_no_repeats():
    x = far_from_zero(np.float32)
    x[:, 3] += 980
    estimate = dimension.twonn(x.astype(ml_dtypes.bfloat16))
    assert estimate.duplicates_collapsed == 0 and estimate.dimension > 2


rounding_collapsed = jax.jit(lambda x: dimension.neighborhoods(x, 2).rounding_collapsed)


@pytest.mark.parametrize("wider", ["float32", "float64"])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_type_is_known_by_its_numbers_in_a_wider_one(dtype, wider):
    y = with_flips(sphere(TYPES[dtype])).astype(wider)
    assert dimension.neighborhoods(y, 2).rounding_collapsed == REPEATS
    assert rounding_collapsed(y) == REPEATS


def test_float32_far_from_the_origin_is_known_in_float64():
    x = (sphere(np.float32) + np.float32(100)).astype(np.float32)
    y = with_flips(x).astype(np.float64)
    assert dimension.neighborhoods(y, 2).rounding_collapsed == REPEATS


def test_integers_and_fixed_point_are_exact():
    pixels = rng().integers(128, 256, size=(N, 2))
    expected = N - len(np.unique(pixels, axis=0))
    for x in (pixels, pixels.astype(np.uint8), pixels.astype(np.float32), pixels / 256):
        hoods = dimension.neighborhoods(x, 10)
        assert hoods.duplicates_collapsed == expected and hoods.rounding_collapsed == 0


READERS = {
    "the whole cloud": dimension.fisher_separability,
    "trees": lambda x: dimension.ph0(x, halvings=1),
    "a subset of more": lambda x: dimension.ph0(x, halvings=1, max_points=N),
    "pairs": lambda x: dimension.correlation_dimension(x, radii=[0.6, 0.9]),
    "neighbors": lambda x: dimension.mle_radius(x, 0.9, k=20),
}


# What reads trees and pairs has its points from where the first and the third have theirs.
@pytest.mark.thorough
@pytest.mark.parametrize(
    "reader", [pytest.param(name, marks=pytest.mark.slow) if name in ("trees", "pairs") else name for name in READERS]
)
def test_every_reader_of_a_cloud_sees_the_same_points(reader):
    # As many rows in both, so that one program reads them.
    alone = clouds.sphere(N + REPEATS, 4, WIDTH, key=0).astype(np.float16)
    estimate = READERS[reader](with_flips(alone[:N]))
    np.testing.assert_allclose(estimate.dimension, READERS[reader](alone).dimension, rtol=0.1)
    assert estimate.rounding_collapsed > 0.8 * REPEATS


@pytest.mark.thorough
def test_calibration_sees_the_same_points(monkeypatch):
    y = with_flips(clouds.sphere(N, 4, WIDTH, key=0).astype(np.float16))
    # References that read what they are.
    monkeypatch.setattr(calibration, "_IN_MEMORY", {})
    monkeypatch.setattr(calibration, "_read_clouds", lambda *args: (np.log(args[6]), 0.01, 0.1, 0.01))
    assert dimension.calibrate(y, k=10, reference="sphere", clouds=2).points_used == N


def test_each_row_counts_where_repeats_are_kept():
    estimate = dimension.twonn(with_flips(sphere(np.float32)), duplicates="keep")
    assert estimate.duplicates_collapsed == 0 and estimate.points_used == N + REPEATS
    assert estimate.dimension < 2


def test_more_copies_than_neighbors_are_found_all_the_same():
    x = sphere(np.float32)
    copies = np.repeat(x[:1], 70, axis=0)
    copies[np.arange(70), np.arange(70) % WIDTH] *= 1 + np.float32(2**-23) * (1 + np.arange(70) // WIDTH % 2)
    hoods = dimension.neighborhoods(np.concatenate([x, copies]), 10)
    near = np.flatnonzero(np.asarray(hoods.used) & (np.arange(len(hoods.used)) >= N)).size + int(hoods.used[0])
    assert near <= 3 and int(np.max(hoods.multiplicity)) > 20
    assert int(jnp.sum(hoods.multiplicity)) == N + 70


def test_a_chain_of_neighbors_is_not_one_point():
    """All floats in a row: each is within rounding of the next, and the first is far from the last."""
    x = (1 + np.arange(N) * 2.0**-23).astype(np.float32)[:, None]
    used = np.asarray(dimension.neighborhoods(x, 3).used)
    gaps = np.diff(np.flatnonzero(used))
    assert np.all(gaps > 1) and np.all(gaps <= 5)  # no two within rounding, and none without one that is


@pytest.mark.thorough
def test_rounding_is_seen_the_same_on_eight_devices():
    y = with_flips(far_from_zero(np.float16))[: N + 20]
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spread = jax.device_put(y, jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data")))
    assert row_sharding(jnp.asarray(spread)) is not None
    alone, sharded = dimension.neighborhoods(y, 5), dimension.neighborhoods(spread, 5)
    assert alone.rounding_collapsed == 20
    np.testing.assert_array_equal(sharded.used, alone.used)
    np.testing.assert_array_equal(sharded.multiplicity, alone.multiplicity)


def test_what_is_kept_is_a_maximal_independent_set():
    """Of a cloud whose grain is near its distances, where equal rows make chains and clumps."""
    x = np.round(rng().normal(size=(N, 2)) * 8).astype(np.float32) * np.float32(2**-20) + 3
    cloud = as_cloud(x)
    found = nearest_distinct(
        cloud.points, jnp.ones(N, bool), jnp.ones(N, jnp.int32), jnp.float32(2**-20), cloud.center, 4
    )
    kept = np.asarray(found.used)
    apart = np.max(np.abs(x[:, None] - x) / (2.0**-20 + 2.0**-23) / np.maximum(np.abs(x[:, None]), np.abs(x)), axis=2)
    assert np.all((apart + 9 * np.eye(N))[np.ix_(kept, kept)] > 1)
    assert int(np.sum(found.copies)) == N and np.all((np.asarray(found.copies) > 0) == kept)


@pytest.mark.thorough
def test_float64_is_centered_before_it_is_cut():
    x = clouds.cube(N, 3, 4, key=1).astype(np.float64) + 1e7 * np.arange(1, 5)
    near, cut = dimension.twonn(x - 1e7 * np.arange(1, 5)), dimension.twonn(x)
    assert cut.duplicates_collapsed == 0
    np.testing.assert_allclose(cut.dimension, near.dimension, rtol=1e-3)
    integers = np.round(x * 1000).astype(np.int64)
    np.testing.assert_allclose(dimension.twonn(integers).dimension, near.dimension, rtol=0.05)
    distances = dimension.neighbors(x, 2, queries=x[:7]).distances
    assert np.all(distances[:, 0] == 0) and np.all(distances[:, 1] > 0)


@pytest.mark.thorough
def test_float64_is_centered_on_every_way_in(tmp_path):
    # Fewer than 8 k points: the error by layer is that of the neighbor graph, quick to compile.
    x = clouds.cube(36, 3, 4, key=1).astype(np.float64)
    far = x + 1e7
    np.save(tmp_path / "far.npy", far)
    on_disk = np.load(tmp_path / "far.npy", mmap_mode="r")
    expected = dimension.neighbors(x, 5).distances
    np.testing.assert_allclose(dimension.neighbors(on_disk, 5).distances, expected, rtol=1e-4)
    np.testing.assert_allclose(dimension.neighborhoods(on_disk, 5).distances, expected, rtol=1e-4)
    near = dimension.by_layer(np.stack([x, x]), k=5)
    np.testing.assert_allclose(dimension.by_layer(np.stack([x, far]), k=5).dimension, near.dimension, rtol=1e-3)
