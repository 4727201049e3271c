"""The method of moments equals its definition, is right where its model is, and takes zeros as they come."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.errors import InputError

N, K, WIDTH = 400, 10, 6


def cube(d):
    return np.random.default_rng(0).uniform(size=(N, d)).astype(np.float32) @ np.eye(d, WIDTH, dtype=np.float32)


def published_local(x, k):
    """-m / (m - w), m the mean of the k distances and w the last of them (Amsaleg et al. 2018, section 5.2)."""
    x = np.asarray(x, np.float64)
    distances = np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)[:, 1 : k + 1]
    return -distances.mean(1) / (distances.mean(1) - distances[:, -1])


def test_local_dimensions_and_their_mean_are_the_published_ones():
    x = cube(3)
    estimate = dimension.mom(x, K, pooling="arithmetic", normalization="k")
    np.testing.assert_allclose(estimate.local, published_local(x, K), rtol=1e-4)
    np.testing.assert_allclose(estimate.dimension, published_local(x, K).mean(), rtol=1e-5)


@pytest.mark.thorough
def test_leaving_out_the_farthest_neighbor_is_the_stated_map():
    hoods = dimension.neighborhoods(cube(3), K)
    for pooling in ("moments", "arithmetic"):
        without = dimension.mom(hoods, K, pooling=pooling)
        with_it = dimension.mom(hoods, K, pooling=pooling, normalization="k")
        for field in ("dimension", "local"):
            expected = (K * getattr(without, field) + 1) / (K - 1)
            np.testing.assert_allclose(getattr(with_it, field), expected, rtol=1e-6)
        np.testing.assert_allclose(with_it.standard_error, without.standard_error * K / (K - 1), rtol=1e-2)


@pytest.mark.parametrize("pooling", ["moments", "arithmetic"])
def test_dimension_and_analytic_error_are_right_where_the_model_is(pooling, poisson_neighborhoods):
    hoods = poisson_neighborhoods(d=4, k=20, n=200, trials=400)
    estimates = jax.vmap(functools.partial(dimension.mom, pooling=pooling))
    read, error = jax.jit(lambda h: (estimates(h).dimension, estimates(h).analytic_standard_error))(hoods)
    # 400 trials know the mean to 0.05 standard deviations and their size to 3.5%; three times that is allowed. The mean
    # of local dimensions is too large by about d (d+1) / ((d+2) (k-1)) · (1 + 1/d), here a few percent.
    if pooling == "moments":
        assert abs(np.mean(read) - 4) < 0.2 * np.std(read)
    else:
        assert 4.1 < np.mean(read) < 4.4
    np.testing.assert_allclose(np.mean(error), np.std(read), rtol=0.11)


def test_known_dimensions_are_read():
    for d in (1, 2, 3):
        assert abs(dimension.mom(cube(d), K).dimension - d) < 0.1 * d


@pytest.mark.thorough
def test_duplicates_collapse_and_bad_rows_drop():
    x = cube(3)
    spoiled = np.concatenate([x, x[:50], np.full((3, WIDTH), np.nan, np.float32)])
    clean, estimate = dimension.mom(x, K), dimension.mom(spoiled, K, nonfinite="drop")
    assert (estimate.points_used, estimate.duplicates_collapsed, estimate.nonfinite_dropped) == (N, 50, 3)
    for field in ("dimension", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(clean, field), rtol=1e-5)
    # Its halves are other ones.
    np.testing.assert_allclose(estimate.standard_error, clean.standard_error, rtol=0.3)
    assert np.all(np.isnan(estimate.local[N:])) and np.all(estimate.influence[N:] == 0)


def test_distances_that_vanish_count_as_zero():
    x = cube(3)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # distinct, but their squared differences are zero in float32
    estimate = dimension.mom(x, K, duplicates="keep")
    assert estimate.zero_distances == 6 and estimate.points_used == N
    np.testing.assert_allclose(estimate.dimension, dimension.mom(cube(3), K).dimension, rtol=0.02)


def test_equally_far_neighbors_have_no_finite_dimension():
    hoods = dimension.neighborhoods(cube(3), K)
    assert np.isinf(dimension.mom(dataclasses.replace(hoods, distances=jnp.ones((N, K))), K).dimension)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 1}, "k=1 must be an integer of at least 2"),
        ({"k": N}, "k=400 needs more than 400 points"),
        ({"pooling": "harmonic"}, "pooling must be 'moments' or 'arithmetic'"),
        ({"normalization": "k-2"}, "normalization must be"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.mom(cube(3), **arguments)


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    assert_equal_to_a_loop(functools.partial(dimension.mom, k=K), rtol=1e-4, atol=1e-4)
