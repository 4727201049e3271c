"""The binomial estimators equal their definitions, and adapt: to the density they find, and not to chance."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxscale import dimension
from jaxscale.errors import InputError

N, K, WIDTH = 400, 30, 6


def cube(d, n=N):
    return np.random.default_rng(0).uniform(size=(n, d)).astype(np.float32) @ np.eye(d, WIDTH, dtype=np.float32)


def neighborhoods(x, k):
    x = np.asarray(x, np.float64)
    distances = np.sqrt(((x[:, None] - x) ** 2).sum(-1))
    order = np.argsort(distances, axis=1, kind="stable")[:, 1 : k + 1]
    return np.take_along_axis(distances, order, axis=1), order


def published_k_star(distances, indices, d, significance):
    """Rodriguez et al. 2018, eq. 13, point by point, up to the k of the neighborhoods."""
    threshold = scipy.stats.chi2.isf(significance, df=1)
    k_star = []
    for i in range(len(distances)):
        k = 3
        while k < distances.shape[1]:
            own, other = distances[i, k - 1] ** d, distances[indices[i, k], k - 1] ** d
            if -2 * k * (np.log(own) + np.log(other) - 2 * np.log(own + other) + np.log(4)) > threshold:
                break
            k += 1
        k_star.append(k)
    return np.array(k_star)


def published_binomial(distances, k_star, tau):
    """Di Noia et al. 2024: the logarithm of the share of neighbors in the inner ball, by that of τ."""
    outer = distances[np.arange(len(distances)), k_star - 1]
    return np.log((distances <= tau * outer[:, None]).sum() / (k_star - 1).sum()) / np.log(tau)


def published_abide(x, k, significance, steps):
    distances, indices = neighborhoods(x, k)
    d = (len(x) - 1) / np.log(distances[:, 1] / distances[:, 0]).sum()
    for _ in range(steps):
        d = published_binomial(distances, published_k_star(distances, indices, d, significance), 0.2032 ** (1 / d))
    return d


def test_bide_is_the_published_likelihood():
    x = cube(3)
    distances, _ = neighborhoods(x, K)
    for tau in (0.3, 0.7):
        expected = published_binomial(distances, np.full(N, K), tau)
        # Float32 moves a neighbor across the inner radius in a few of the 12 000 counts at most.
        np.testing.assert_allclose(dimension.bide(x, K, tau).dimension, expected, rtol=1e-3)


def test_bide_without_tau_reads_at_the_share_of_least_error():
    x = cube(3)
    distances, _ = neighborhoods(x, K)
    d = np.float64(dimension.bide(x, K).dimension)
    # A fixed point of d -> d(τ(d)), up to the steps of a count.
    np.testing.assert_allclose(published_binomial(distances, np.full(N, K), 0.2032 ** (1 / d)), d, rtol=2e-3)
    errors = {p: (1 / p - 1) / np.log(p) ** 2 for p in (0.20, 0.2032, 0.21)}
    assert min(errors, key=errors.get) == 0.2032


def test_local_dimensions_are_posterior_means():
    x = cube(3)
    distances, _ = neighborhoods(x, K)
    inner = (distances <= 0.5 * distances[:, -1:]).sum(1)
    p = np.linspace(0, 1, 20001)[1:-1]
    local = dimension.bide(x, K, tau=0.5).local
    for i in (0, int(np.argmin(inner)), int(np.argmax(inner))):
        weight = p ** inner[i] * (1 - p) ** (K - 1 - inner[i])
        expected = np.sum(np.log(p) * weight) / np.sum(weight) / np.log(0.5)
        np.testing.assert_allclose(local[i], expected, rtol=2e-3)


@pytest.mark.parametrize("tau", [None, 0.8])
def test_dimension_and_errors_are_right_where_the_model_is(tau, poisson_neighborhoods):
    hoods = poisson_neighborhoods(d=6, k=20, n=400, trials=400)
    estimates = jax.vmap(functools.partial(dimension.bide, tau=tau))(hoods)
    spread = np.std(estimates.dimension)
    # 400 trials know the mean to 0.05 standard deviations and their size to 3.5%; three times that is allowed, and a
    # bias of the order of the relative variance, here 0.01 standard deviations.
    assert abs(np.mean(estimates.dimension) - 6) < 0.2 * spread
    np.testing.assert_allclose(np.mean(estimates.analytic_standard_error), spread, rtol=0.11)
    np.testing.assert_allclose(np.mean(estimates.standard_error), spread, rtol=0.13)


@pytest.mark.parametrize("significance", [0.2, 0.01, 1e-5])
def test_neighborhoods_of_constant_density_are_the_published_ones(significance):
    x = cube(2) ** 2  # dense near the origin
    hoods = dimension.neighborhoods(x, K)
    expected = published_k_star(*neighborhoods(x, K), 2.1, significance)
    assert len(set(expected)) > 3
    found = dimension.constant_density(hoods, 2.1, significance)
    # A test statistic within float32 of the threshold may go either way.
    assert np.mean(found != expected) < 0.01


def test_abide_is_the_published_iteration():
    for x in (cube(3), cube(2) ** 2):
        for steps in (1, 4):
            expected = published_abide(x, K, 0.01, steps)
            np.testing.assert_allclose(dimension.abide(x, K, steps=steps).dimension, expected, rtol=2e-3)


@pytest.mark.thorough
def test_abide_grows_past_noise_and_stops_before_curvature():
    generator = np.random.default_rng(3)
    angle = generator.uniform(0, 2 * np.pi, size=700)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1) + 0.012 * generator.normal(size=(700, 2))
    hoods = dimension.neighborhoods(circle.astype(np.float32), 100)
    near, adapted = dimension.twonn(hoods), dimension.abide(hoods)
    assert near.dimension > 1.6 and abs(adapted.dimension - 1) < 0.25
    assert adapted.scale > near.scale


def test_known_dimensions_are_read():
    for d in (1, 2, 3):
        for estimator in (dimension.bide, dimension.abide):
            assert abs(estimator(cube(d), K).dimension - d) < 0.12 * d


@pytest.mark.thorough
def test_duplicates_collapse_and_bad_rows_drop():
    x = cube(3)
    spoiled = np.concatenate([x, x[:50], np.full((3, WIDTH), np.nan, np.float32)])
    clean_hoods, hoods = dimension.neighborhoods(x, K), dimension.neighborhoods(spoiled, K, nonfinite="drop")
    for estimator in (dimension.bide, dimension.abide):
        clean, estimate = estimator(clean_hoods, K), estimator(hoods, K)
        assert (estimate.points_used, estimate.duplicates_collapsed, estimate.nonfinite_dropped) == (N, 50, 3)
        for field in ("dimension", "standard_error", "analytic_standard_error", "scale"):
            np.testing.assert_allclose(getattr(estimate, field), getattr(clean, field), rtol=1e-4)
        assert np.all(np.isnan(estimate.local[N:])) and np.all(estimate.influence[N:] == 0)


def test_copies_that_are_kept_and_vanishing_distances_are_counted_inside():
    x = cube(3)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # distinct, but their squared differences are zero in float32
    hoods = dimension.neighborhoods(np.concatenate([x, x[10:15]]), K, duplicates="keep")
    assert hoods.zero_distances == 6 + 10
    for estimator in (dimension.bide, dimension.abide):
        estimate = estimator(hoods, K)
        chex.assert_tree_all_finite((estimate.dimension, estimate.standard_error, estimate.local))
        np.testing.assert_allclose(estimate.dimension, estimator(cube(3), K).dimension, rtol=0.05)


def test_equally_far_neighbors_have_no_finite_dimension():
    hoods = dimension.neighborhoods(cube(3), K)
    assert np.isinf(dimension.bide(dataclasses.replace(hoods, distances=jnp.ones((N, K))), K).dimension)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dimension.bide(cube(3), 1), "k=1 must be an integer of at least 2"),
        (lambda: dimension.bide(cube(3), K, tau=1.0), "tau must lie between 0 and 1; it is 1.0"),
        (lambda: dimension.abide(cube(3), 3), "k=3 must be an integer of at least 4"),
        (lambda: dimension.abide(cube(3), K, significance=0.0), "significance must lie between 0 and 1; it is 0.0"),
        (lambda: dimension.abide(cube(3), K, steps=0), "steps=0 must be an integer of at least 1"),
        (lambda: dimension.abide(cube(3), N), "k=400 needs more than 400 points"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    read = lambda hoods: (dimension.bide(hoods, 20), dimension.abide(hoods, 20))
    assert_equal_to_a_loop(read, rtol=1e-3, atol=1e-3)
