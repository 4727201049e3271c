"""Tight local intrinsic dimensionality equals its definition and is safe where points coincide."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators import tight
from jaxscale.errors import InputError

N, K, WIDTH = 300, 8, 6
tle = functools.partial(dimension.tle, k=K)


def cube(d):
    return np.random.default_rng(0).uniform(size=(N, d)).astype(np.float32) @ np.eye(d, WIDTH, dtype=np.float32)


def shrunk(q, r, v, w):
    """Radius s of the ball around q + (1 - s/r) (v - q) that has w on its surface, by its quadratic equation."""
    along, between = v - q, w - v
    # |between + (s/r) along|² = s²
    roots = np.roots([along @ along / r**2 - 1, 2 * along @ between / r, between @ between])
    return max(roots.real)


def published_local(x, k):
    """Amsaleg et al. 2019, definition of the estimator, pair by pair."""
    x = np.asarray(x, np.float64)
    local = []
    for q in x:
        order = np.argsort(((x - q) ** 2).sum(1), kind="stable")[1 : k + 1]
        near = x[order]
        # The ball around the k-th neighbor is the limit of smaller ones: its quadratic equation has lost a term.
        r = np.linalg.norm(near[-1] - q) * (1 + 1e-9)
        logs = [2 * np.log(np.linalg.norm(w - q) / r) for w in near]
        for i, v in enumerate(near):
            others = np.delete(near, i, axis=0)
            logs += [np.log(shrunk(q, r, center, w) / r) for w in others for center in (v, 2 * q - v)]
        local.append(-2 * k**2 / np.sum(logs))
    return np.array(local)


def test_local_dimensions_are_the_published_ones():
    x = cube(3)[:80]
    expected = published_local(x, K)
    estimate = tle(x, pooling="arithmetic")
    # Close pairs keep fewer digits: squares are of order r², and so is the rounding of their differences.
    np.testing.assert_allclose(estimate.local, expected, rtol=1e-4)
    np.testing.assert_allclose(estimate.dimension, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(tle(x).dimension, 1 / np.mean(1 / expected), rtol=1e-5)


def test_known_dimensions_are_read():
    for d in (1, 2, 3):
        # The k-th neighbor is counted, which adds 1/k.
        assert abs(dimension.tle(cube(d), k=20).dimension - d) < 0.12 * d


def test_local_dimensions_vary_less_than_those_of_mle():
    hoods = dimension.neighborhoods(cube(3), 20)
    assert np.std(dimension.tle(hoods).local) < 0.8 * np.std(dimension.mle(hoods).local)


def test_symmetries_leave_the_dimension_alone():
    x = cube(3)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(WIDTH, WIDTH)))
    for moved in (x @ rotation.astype(np.float32), x * np.float32(1e-4), x[::-1]):
        np.testing.assert_allclose(tle(moved).dimension, tle(x).dimension, rtol=1e-4)


def test_tiles_do_not_show(monkeypatch):
    hoods = dimension.neighborhoods(cube(3), K)
    whole = tle(hoods)
    monkeypatch.setattr(tight, "TILE_SIZE", 10_000)
    tight._tle.clear_cache()
    chex.assert_trees_all_close(tle(hoods), whole, rtol=1e-5, atol=1e-5)
    tight._tle.clear_cache()


@pytest.mark.thorough
def test_duplicates_collapse_and_bad_rows_drop():
    x = cube(3)
    spoiled = np.concatenate([x, x[:50], np.full((3, WIDTH), np.nan, np.float32)])
    clean, estimate = tle(x), tle(spoiled, nonfinite="drop")
    assert (estimate.points_used, estimate.duplicates_collapsed, estimate.nonfinite_dropped) == (N, 50, 3)
    for field in ("dimension", "standard_error", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(clean, field), rtol=1e-4)
    assert np.all(np.isnan(estimate.local[N:])) and np.all(estimate.influence[N:] == 0)


def test_copies_that_are_kept_measure_nothing_between_them():
    x = cube(3)
    doubled = np.concatenate([x, x[:20], x[:20]])
    estimate = tle(doubled, duplicates="keep")
    assert estimate.zero_distances == 20 * 3 * 2
    chex.assert_tree_all_finite((estimate.dimension, estimate.standard_error, estimate.local))
    np.testing.assert_allclose(estimate.dimension, tle(x).dimension, rtol=0.1)


def test_mirror_images_drop_out_and_so_do_those_that_rounding_moved():
    # The eight nearest of a point inside a square lattice are four pairs of mirror images.
    lattice = np.stack(np.meshgrid(*[np.arange(10.0)] * 2), axis=-1).reshape(-1, 2).astype(np.float32)
    inside = np.all((lattice > 0) & (lattice < 9), axis=1)
    angle = np.float32(0.7)
    turned = lattice @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    estimate = tle(lattice)
    chex.assert_tree_all_finite((estimate.dimension, estimate.standard_error, estimate.local))
    # Distances of 1e-7 would be logarithms of -16 in sums of twenty, and lower five to three.
    np.testing.assert_allclose(tle(turned).local[inside], estimate.local[inside], rtol=1e-3)


def test_neighborhoods_of_zero_radius_are_refused():
    with pytest.raises(InputError, match="k=8 neighbors are zero"):
        tle(np.repeat(cube(3)[:5], 10, axis=0), duplicates="keep")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 2}, "k=2 must be an integer of at least 3"),
        ({"k": N}, "k=300 needs more than 300 points"),
        ({"pooling": "median"}, "pooling must be"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.tle(cube(3), **arguments)


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    assert_equal_to_a_loop(tle, rtol=1e-4, atol=1e-3)


# That of euclidean distances is in test_gradients.
@pytest.mark.thorough
def test_gradient_under_cosine_equals_finite_differences():
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        x, step = jnp.asarray(generator.normal(size=(60, 4))), jnp.asarray(generator.normal(size=(60, 4)))
        read = jax.jit(jax.value_and_grad(lambda points: tle(points, metric="cosine").dimension))
        h = 1e-6
        difference = (read(x + h * step)[0] - read(x - h * step)[0]) / (2 * h)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(jnp.vdot(read(x)[1], step), difference, rtol=1e-5)
