"""Manifold-adaptive dimension estimation equals its definition and is honest about its input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.errors import InputError

N, K, WIDTH = 400, 10, 6


def cube(d, width=WIDTH):
    return np.random.default_rng(0).uniform(size=(N, d)).astype(np.float32) @ np.eye(d, width, dtype=np.float32)


def published_local(x, k):
    """log 2 / log(T_k / T_⌈k/2⌉) (Farahmand et al. 2007, eq. 2)."""
    x = np.asarray(x, np.float64)
    distances = np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)[:, 1:]
    return np.log(2) / np.log(distances[:, k - 1] / distances[:, int(np.ceil(k / 2)) - 1])


def test_local_dimensions_and_their_mean_are_the_published_ones():
    x = cube(3)
    published = published_local(x, K)
    expected = np.minimum(published, WIDTH)
    assert np.any(expected == WIDTH) and np.any(expected < WIDTH)
    for cut, local in ((True, expected), (False, published)):
        estimate = dimension.mada(x, K, cut=cut)
        np.testing.assert_allclose(estimate.local, local, rtol=1e-4)
        np.testing.assert_allclose(estimate.dimension, local.mean(), rtol=1e-5)


def test_near_the_width_the_cut_takes_off_more_than_the_mean_adds():
    """scikit-dimension does not cut either: 9.6 for a sphere of ten dimensions in eleven columns, 8.8 with the cut."""
    x = np.random.default_rng(0).normal(size=(2500, 7))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    hoods = dimension.neighborhoods(x, 20)
    plain, cut = (jax.jit(lambda h, c=c: dimension.mada(h, cut=c).dimension)(hoods) for c in (False, True))
    assert abs(plain - 6) < abs(cut - 6) and cut < plain


@pytest.mark.thorough
def test_so_few_neighbors_that_the_mean_is_infinite_are_refused_without_the_cut():
    with pytest.raises(InputError, match=r"from k=3 is infinite\. Pass k=4, or cut=True"):
        dimension.mada(cube(3), 3)
    assert 2 < dimension.mada(cube(3), 3, cut=True).dimension < WIDTH


@pytest.mark.thorough
def test_an_odd_k_reads_the_growth_there_is():
    x = cube(3)
    expected = published_local(x, 9) * np.log2(9 / 5)
    np.testing.assert_allclose(dimension.mada(x, 9).local, expected, rtol=1e-4)


def test_known_dimensions_are_read():
    for d in (1, 2, 3):
        # The mean of 1 / log over points is too large by about 2/k.
        assert 0.9 * d < dimension.mada(cube(d, width=20), 20).dimension < 1.2 * d


def test_analytic_error_is_right_where_the_model_is(poisson_neighborhoods):
    hoods = poisson_neighborhoods(d=2, k=20, n=200, trials=400)
    estimates = jax.vmap(dimension.mada)
    read, error = jax.jit(lambda h: (estimates(h).dimension, estimates(h).analytic_standard_error))(hoods)
    # 400 trials know the standard deviation to 3.5%; three times that is allowed.
    np.testing.assert_allclose(np.mean(error), np.std(read), rtol=0.11)


@pytest.mark.thorough
def test_duplicates_collapse_and_bad_rows_drop():
    x = cube(3)
    spoiled = np.concatenate([x, x[:50], np.full((3, WIDTH), np.nan, np.float32)])
    clean, estimate = dimension.mada(x, K), dimension.mada(spoiled, K, nonfinite="drop")
    assert (estimate.points_used, estimate.duplicates_collapsed, estimate.nonfinite_dropped) == (N, 50, 3)
    for field in ("dimension", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(clean, field), rtol=1e-5)
    # Its halves are other ones.
    np.testing.assert_allclose(estimate.standard_error, clean.standard_error, rtol=0.3)
    assert np.all(np.isnan(estimate.local[N:])) and np.all(estimate.influence[N:] == 0)


def test_points_at_zero_distance_from_half_their_neighbors_are_left_out():
    x = cube(3)
    x[:6] = 1e-30 * np.arange(6)[:, None]  # distinct, but their squared differences are zero in float32
    estimate = dimension.mada(x, K, duplicates="keep")
    assert estimate.zero_distances == 30 and estimate.points_used == N - 6
    np.testing.assert_allclose(estimate.dimension, dimension.mada(cube(3), K).dimension, rtol=0.03)


def test_equally_far_neighbors_read_the_width_or_are_left_out():
    hoods = dimension.neighborhoods(cube(3), K)
    assert dimension.mada(dataclasses.replace(hoods, distances=jnp.ones((N, K))), K, cut=True).dimension == WIDTH
    some = dataclasses.replace(hoods, distances=hoods.distances.at[:9].set(1.0))
    estimate = dimension.mada(some, K)
    assert estimate.points_used == N - 9 and np.isfinite(estimate.dimension)


@pytest.mark.parametrize(
    ("k", "message"), [(1, "k=1 must be an integer of at least 2"), (N, "k=400 needs more than 400 points")]
)
def test_bad_input_is_named(k, message):
    with pytest.raises(InputError, match=message):
        dimension.mada(cube(3), k)


def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    assert_equal_to_a_loop(functools.partial(dimension.mada, k=K), rtol=1e-4, atol=1e-4)
