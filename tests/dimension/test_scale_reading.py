"""Noise is told from curvature, and the recommended scale lies beyond the noise."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import dimension
from jaxscale.errors import InputError

N = 400


def rng(seed=0):
    return np.random.default_rng(seed)


def sphere(noise=0.0, radius=1.0, width=5, n=N):
    """A two-dimensional sphere."""
    normal = rng().normal(size=(n, 3))
    points = radius * normal / np.linalg.norm(normal, axis=1, keepdims=True)
    points = np.concatenate([points, np.zeros((n, width - 3))], axis=1)
    return (points + noise * rng(1).normal(size=points.shape)).astype(np.float32)


def square(noise=0.0, n=N):
    points = np.concatenate([rng().uniform(size=(n, 2)), np.zeros((n, 3))], axis=1)
    return (points + noise * rng(1).normal(size=points.shape)).astype(np.float32)


def by_hand(x, k, d):
    """Mean residual and root mean square tangent variance, neighborhood by neighborhood, with NumPy."""
    x = np.asarray(x, np.float64)
    residual, tangent = [], []
    for row, point in enumerate(x):
        order = np.argsort(np.linalg.norm(x - point, axis=1))
        nearest = x[order[order != row][:k]]
        values = np.linalg.svd(nearest - nearest.mean(axis=0), compute_uv=False) ** 2
        tangent.append(values[:d].sum() / (k - 1))
        residual.append(values[d:].sum() / (k - 1 - d))
    return np.mean(residual), np.sqrt(np.mean(np.square(tangent)))


# One size of cloud, so that all tests share a search and a program of residuals.
@pytest.fixture(scope="module")
def search():
    return jax.jit(lambda x: dimension.neighborhoods(x, 64))


@pytest.fixture(scope="module")
def residuals_of(search):
    return lambda x, d: dimension.residuals_by_k(search(x), d)


def test_residuals_are_those_of_each_neighborhood_by_hand(residuals_of):
    x = sphere(0.02)
    found = residuals_of(x, 2)
    for place, k in enumerate((8, 16)):
        residual, tangent = by_hand(x, k, 2)
        np.testing.assert_allclose(found.residual[place], residual, rtol=1e-3)
        np.testing.assert_allclose(found.tangent[place], tangent, rtol=1e-3)


def test_the_radius_of_a_sphere_is_read_from_its_residuals(residuals_of):
    # The formula leaves out the next order of r²/R², here a few percent.
    found = residuals_of(sphere(radius=3.0), 2)
    np.testing.assert_allclose(found.radius, 3, rtol=0.04)
    assert np.all(np.abs(found.exponent - 4) < 3 * found.exponent_error + 0.3)


def test_the_deviation_of_noise_is_read_from_residuals(residuals_of):
    # 400 points of a square lie 0.025 apart; five percent is the error of the model.
    for noise in (0.005, 0.01):
        found = residuals_of(square(noise), 2)
        np.testing.assert_allclose(found.deviation, noise, rtol=0.06)
        assert np.all(np.abs(found.exponent) < 0.5) and found.deviation_error < 0.06 * noise


def test_a_flat_cloud_has_no_exponents(residuals_of):
    found = residuals_of(square(), 2)
    assert np.all(np.isnan(found.exponent)) and np.all(found.residual < 1e-6)


def test_a_direction_that_d_leaves_out_has_exponent_two(residuals_of):
    # Of few neighbors the smaller eigenvalue is too small, so the finest exponent is larger.
    found = residuals_of(square(), 1)
    np.testing.assert_allclose(found.exponent[1:], 2, atol=0.8)


def test_residuals_scale_with_the_points(residuals_of):
    found, larger = residuals_of(sphere(0.02), 2), residuals_of(8 * sphere(0.02), 2)
    np.testing.assert_allclose(larger.residual, 64 * found.residual, rtol=1e-4)
    np.testing.assert_allclose(larger.deviation, 8 * found.deviation, rtol=1e-3)
    np.testing.assert_allclose(larger.radius, 8 * found.radius, rtol=1e-3)
    np.testing.assert_allclose(larger.exponent, found.exponent, atol=1e-3)


def profile_of(values, scales=(0.05, 0.1, 0.2, 0.4, 0.8), errors=0.02, ks=None):
    values = jnp.asarray(values, jnp.float32)
    count = len(values)
    ks = [4 << place for place in range(count)] if ks is None else ks
    return dimension.ScaleProfile(
        jnp.asarray(scales[:count], jnp.float32),
        values,
        jnp.full(count, errors, jnp.float32),
        jnp.full(count, jnp.nan),
        jnp.asarray([400 >> place for place in range(count)], jnp.int32),
        jnp.asarray(ks, jnp.int32),
        "mle",
    )


def residuals(noise=0.0, curvature=0.0, error=0.01):
    """As of a cloud of five columns whose residuals are noise + curvature · tangent², d = 2."""
    tangent = jnp.asarray([0.001, 0.002, 0.004, 0.008])
    residual = noise + curvature * tangent**2
    there = residual > 0
    steps = jnp.diff(jnp.log(tangent)) / 2
    exponent = jnp.where(there[1:], jnp.diff(jnp.log(jnp.where(there, residual, 1))) / steps, jnp.nan)
    return dimension.Residuals(
        jnp.asarray([8, 16, 32, 64]),
        tangent,
        residual,
        error * residual,
        exponent,
        jnp.where(there[1:], jnp.full(3, 1.4 * error) / steps, jnp.nan),
        jnp.asarray(noise),
        jnp.asarray(0.05 * noise),
        jnp.asarray(curvature),
        jnp.asarray(2),
        5,
    )


STEADY, FALLING = [2.0, 2.01, 2.0, 1.99, 2.0], [2.8, 2.6, 2.4, 2.2, 2.0]
NOISE = 0.02**2 * 3  # of standard deviation 0.02 in three columns


@pytest.mark.parametrize(
    ("values", "told", "k", "reason"),
    [
        (STEADY, residuals(curvature=1.0), 4, "k = 4: no noise seen, and the reading stays level up to k = 64"),
        (STEADY, None, 4, "k = 4: smallest neighborhood read, whose reading stays level up to k = 64"),
        (
            [2.8, 2.4, 2.0, 2.01, 2.0],
            residuals(NOISE),
            16,
            "k = 16: smallest neighborhood beyond the noise, whose reading stays level up to k = 64",
        ),
        (
            [2.0, 2.01, 2.0, 1.99, 2.5],
            residuals(curvature=1.0),
            4,
            "k = 4: no noise seen, and the reading stays level up to k = 32, beyond which it rises",
        ),
        (FALLING, residuals(curvature=1.0), 4, "k = 4: no noise seen, and larger neighborhoods bend"),
        (FALLING, residuals(), 4, "k = 4: no noise seen, and larger neighborhoods reach the ends of the data"),
        (
            FALLING,
            residuals(NOISE),
            -1,
            "no k: the dimension depends on the scale at every k read; report both ends: "
            "2.80 ± 0.020 at distance 0.0500 and 2.00 ± 0.020 at distance 0.800",
        ),
        (
            [3.0, 3.0, 3.0, 2.6, 2.2],
            residuals(0.5**2 * 3, error=0.001),
            -1,
            "no k: the plateau lies below the distance 1.22 that noise fills",
        ),
        ([2.0, 2.0], residuals(curvature=1.0), -1, "no k: 2 scales are too few to see a plateau; 3 are needed"),
        ([np.nan] * 3, None, -1, "no k: the dimension could not be read at any scale"),
    ],
)
def test_a_k_is_recommended_with_its_reason(values, told, k, reason):
    reading = dimension.read_scales(profile_of(values), told)
    assert int(reading.recommended_k) == k and reading.reason == reason


def test_without_residuals_neither_noise_nor_curvature_is_claimed():
    reading = dimension.read_scales(profile_of(FALLING))
    assert not reading.noise and not reading.noise_excluded and not reading.curvature
    assert reading.fine_change == -1 and int(reading.recommended_k) == -1
    assert reading.reason.startswith("no k: the dimension depends on the scale")


def test_both_ends_are_those_that_could_be_read():
    reading = dimension.read_scales(profile_of([np.nan, 2.8, 2.4, 2.0, np.nan]))
    assert int(reading.small.k) == 8 and int(reading.large.k) == 32
    np.testing.assert_allclose(reading.small.dimension, 2.8)
    np.testing.assert_allclose(reading.large.interval(), (2 - 1.96 * 0.02, 2 + 1.96 * 0.02), rtol=1e-4)


def test_the_interval_of_a_plateau_is_normal():
    plateau = dimension.read_scales(profile_of(STEADY)).plateau
    reach = np.asarray(plateau.interval(0.9))[1] - plateau.dimension
    np.testing.assert_allclose(reach, 1.6449 * plateau.standard_error, rtol=1e-3)


def test_of_a_decimated_profile_the_reason_counts_points():
    reading = dimension.read_scales(profile_of(STEADY, ks=[10] * 5), residuals(curvature=1.0))
    assert reading.reason.startswith("k = 10 of 400 points: no noise seen")
    assert reading.reason.endswith("level up to k = 10 of 25 points")


def test_noise_too_small_to_change_a_reading_is_not_reported():
    # It puts 0.0049 between points that are read at 0.05 and beyond.
    reading = dimension.read_scales(profile_of(STEADY), residuals(0.002**2 * 3))
    assert not reading.noise and np.isnan(reading.noise_distance)
    assert dimension.read_scales(profile_of(STEADY), residuals(NOISE)).noise


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1.0, 6.0), min_size=5, max_size=5), st.floats(0.001, 0.3), st.floats(0.0, 3.0))
def test_a_recommended_scale_lies_beyond_the_noise(values, deviation, curvature):
    reading = dimension.read_scales(profile_of(values), residuals(3 * deviation**2, curvature))
    at = int(reading.recommended)
    assert -1 <= at < 5 and (at < 0) == (int(reading.recommended_k) < 0)
    if at >= 0 and reading.noise:
        assert reading.plateau.found and reading.profile.scale[at] >= reading.noise_distance
    assert not (reading.noise and reading.noise_excluded)


def test_readings_of_many_clouds_go_under_vmap():
    profiles = [profile_of(values) for values in (STEADY, FALLING)]
    stacked = jax.tree.map(lambda *values: jnp.stack(values), *profiles)
    told = jax.tree.map(lambda *values: jnp.stack(values), residuals(curvature=1.0), residuals(NOISE))
    together = jax.jit(jax.vmap(dimension.read_scales))(stacked, told)
    alone = [dimension.read_scales(profile, one) for profile, one in zip(profiles, unstacked(told), strict=True)]
    chex.assert_trees_all_close(together, jax.tree.map(lambda *values: jnp.stack(values), *alone), rtol=1e-5)


def unstacked(tree):
    return [jax.tree.map(lambda value, at=at: value[at], tree) for at in range(2)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda hoods: dimension.residuals_by_k(hoods, 0), "d=0"),
        (lambda hoods: dimension.residuals_by_k(hoods, 2, (16, 8)), r"ks=\(16, 8\) must be ascending"),
        (lambda hoods: dimension.residuals_by_k(hoods, 2, (8, 128)), "up to the k=64 of hoods"),
    ],
)
def test_bad_arguments_are_named(search, call, message):
    with pytest.raises(InputError, match=message):
        call(search(square()))


@pytest.mark.thorough
def test_noise_of_a_real_cloud_is_found_and_that_of_a_clean_one_is_not(search):
    read = lambda x: dimension.read_scales(dimension.by_k(search(x), (4, 8, 16, 32)), search(x))
    noisy, clean = read(sphere(0.03)), read(sphere())
    assert noisy.noise and not noisy.noise_excluded and clean.noise_excluded and not clean.noise
    np.testing.assert_allclose(noisy.noise_deviation, 0.03, rtol=0.15)
    assert clean.curvature and abs(float(clean.curvature_radius) - 1) < 0.15
