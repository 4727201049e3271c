"""Estimators of distance ratios equal their definitions, know their error, and are honest about their input."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import dimension
from jaxscale.dimension.estimators import ratios
from jaxscale.errors import InputError

N, WIDTH = 300, 8


def rng(seed=0):
    return np.random.default_rng(seed)


def cube(d, n=N, seed=0):
    """A d-cube turned into WIDTH dimensions."""
    basis, _ = np.linalg.qr(rng(1).normal(size=(WIDTH, WIDTH)))
    return (rng(seed).uniform(size=(n, d)) @ basis[:d]).astype(np.float32)


def read(estimator, x, field="dimension"):
    """That field alone: without the standard error, which halves the cloud, an estimator is quick to compile."""
    return jax.jit(lambda x: getattr(estimator(x), field))(x)


def distances(x, k):
    """T_1 … T_k by brute force in float64."""
    x = np.asarray(x, np.float64)
    return np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)[:, 1 : k + 1]


def published_fit(x, discard):
    mu = np.sort(np.divide(*distances(x, 2).T[::-1]))
    empirical = np.arange(1, len(mu) + 1) / len(mu)
    kept = min(int(len(mu) * (1 - discard)), len(mu) - 1)
    log_mu, y = np.log(mu[:kept]), -np.log(1 - empirical[:kept])
    return np.linalg.lstsq(log_mu[:, None], y, rcond=None)[0][0]


def gride_log_density(mu, d, n1, n2):
    """Denti et al. 2022, Theorem 1."""
    log_beta = scipy.special.betaln(n2 - n1, n1)
    return np.log(d) + (n2 - n1 - 1) * np.log(mu**d - 1) - ((n2 - 1) * d + 1) * np.log(mu) - log_beta


def published_gride(x, n1, n2):
    near = distances(x, n2)
    mu = near[:, n2 - 1] / near[:, n1 - 1]
    bounds, options = (0.1, 100), {"xatol": 1e-9}
    likelihood = functools.partial(gride_log_density, mu, n1=n1, n2=n2)
    return scipy.optimize.minimize_scalar(
        lambda d: -likelihood(d).sum(), bounds=bounds, method="bounded", options=options
    ).x


@pytest.fixture(scope="session")
def ratios_of_dimension(neighborhoods_at):
    """A function to neighborhoods whose ratios are independent, μ^-d from Beta(n1, n2-n1) exactly."""

    def sample(d, n1, n2, *shape, seed=0):
        near = np.ones((*shape, n2), np.float32)
        near[..., :n1] = rng(seed).beta(n1, n2 - n1, size=(*shape, 1)) ** (1 / d)
        return neighborhoods_at(near)

    return sample


twonn_fit = functools.partial(dimension.twonn, method="fit")
ESTIMATORS = (dimension.twonn, twonn_fit, dimension.gride)


def test_twonn_is_the_unbiased_maximum_likelihood():
    x = cube(3)
    near = distances(x, 2)
    # Float32 distances err by 1e-7 of themselves; their log ratios average 1/3.
    np.testing.assert_allclose(dimension.twonn(x).dimension, (N - 1) / np.log(near[:, 1] / near[:, 0]).sum(), rtol=1e-5)
    hoods = dimension.neighborhoods(x, 2)
    likeliest = read(functools.partial(dimension.mle, k=2, normalization="k-1"), hoods)
    np.testing.assert_allclose(dimension.twonn(x).dimension, likeliest * (N - 1) / N, rtol=1e-6)


@pytest.mark.parametrize("discard", [0.0, 0.1, 0.5])
def test_twonn_fit_is_the_published_line(discard):
    x = cube(3)
    fit = read(functools.partial(twonn_fit, discard=discard), dimension.neighborhoods(x, 2))
    np.testing.assert_allclose(fit, published_fit(x, discard), rtol=1e-5)


@pytest.mark.parametrize(("n1", "n2"), [(1, 2), (1, 5), (2, 4), (4, 20), (16, 32)])
def test_gride_maximizes_the_published_likelihood(n1, n2):
    x = cube(3)
    d = read(functools.partial(dimension.gride, n1=n1, n2=n2), dimension.neighborhoods(x, 32))
    # The bounded search stops at 1e-9 of d; a sum of 300 terms is flat to about the root of 1e-16.
    np.testing.assert_allclose(d, published_gride(x, n1, n2), rtol=2e-5)


@pytest.mark.thorough
@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 100), st.sampled_from([(1, 2), (1, 40), (8, 16)]), st.integers(0, 99))
def test_gride_reaches_the_root_from_any_ratios(ratios_of_dimension, d, orders, seed):
    hoods = ratios_of_dimension(d, *orders, 50, seed=seed)
    mu = np.asarray(1 / hoods.distances[:, 0], np.float64)
    estimate = dimension.gride(hoods, *orders).dimension
    n1, n2 = orders
    z = np.float64(estimate) * np.log(mu)
    score = 1 + (n2 - n1 - 1) * z / -np.expm1(-z) - (n2 - 1) * z
    # The score in terms of its own spread: what is left is rounding in float32.
    assert abs(score.mean()) < 1e-4 * score.std()


@pytest.mark.parametrize(
    ("estimator", "n1", "n2"),
    [
        (dimension.twonn, 1, 2),
        (twonn_fit, 1, 2),
        (dimension.gride, 1, 2),
        (functools.partial(dimension.gride, n1=4, n2=12), 4, 12),
    ],
)
def test_estimates_and_their_errors_are_right_where_the_model_is(estimator, n1, n2, ratios_of_dimension):
    estimates = jax.vmap(estimator)
    pick = lambda hoods: (estimates(hoods).dimension, estimates(hoods).analytic_standard_error)
    read, error = jax.jit(pick)(ratios_of_dimension(10, n1, n2, 400, N))
    spread = np.std(read)
    # 400 trials know the mean to 0.05 standard deviations and their size to 3.5%; three times that is allowed, and for
    # maximum likelihood and the fit a bias of order 1/N, here 0.06 standard deviations.
    assert abs(np.mean(read) - 10) < 0.19 * spread
    np.testing.assert_allclose(np.mean(error), spread, rtol=0.11)


@pytest.mark.parametrize(
    ("estimator", "n1", "n2"),
    [(dimension.twonn, 1, 2), (twonn_fit, 1, 2), (functools.partial(dimension.gride, n1=2, n2=7), 2, 7)],
)
def test_influences_are_derivatives_in_the_weight_of_a_point(estimator, n1, n2, ratios_of_dimension):
    n = 2000
    with jax.enable_x64(True):
        hoods = ratios_of_dimension(5, n1, n2, n)

        @jax.jit
        def without(points):
            estimate = estimator(dataclasses.replace(hoods, used=hoods.used & ~points))
            return estimate.dimension, estimate.influence

        d, influence = without(jnp.zeros(n, bool))
        assert abs(np.mean(influence)) < 1e-2
        for point in range(0, 60, 6):
            change = (d - without(jnp.arange(n) == point)[0]) * n
            # ψ, up to terms of order 1/n; leaving a point out also moves the cut of the fit by up to one point.
            np.testing.assert_allclose(
                change, influence[point], rtol=0.01, atol=0.12 if estimator is twonn_fit else 0.05
            )


def test_local_dimensions_are_those_of_one_ratio():
    x = cube(3)
    near = distances(x, 12)
    np.testing.assert_allclose(dimension.twonn(x).local, 1 / np.log(near[:, 1] / near[:, 0]), rtol=1e-3)
    local = read(functools.partial(dimension.gride, n1=6, n2=12), dimension.neighborhoods(x, 32), "local")
    mu = (near[:, 11] / near[:, 5])[0]
    grid = np.linspace(0.9, 1.1, 20001) * float(local[0])
    best = grid[np.argmax(gride_log_density(mu, grid, 6, 12))]
    np.testing.assert_allclose(local[0], best, rtol=1e-4)


def test_gride_reads_noise_near_and_the_surface_far():
    x = cube(2, n=600) + 0.02 * rng(3).normal(size=(600, WIDTH)).astype(np.float32)
    hoods = dimension.neighborhoods(x, 80)

    @jax.jit
    def both(hoods):
        near, far = (dimension.gride(hoods, n1=n1) for n1 in (1, 40))
        return near.scale, far.scale, near.dimension, far.dimension

    near_scale, far_scale, near, far = both(hoods)
    assert near_scale < far_scale and near > 3 and abs(far - 2) < 0.3


def test_symmetries_leave_the_dimension_alone():
    x = cube(3)
    rotation, _ = np.linalg.qr(rng().normal(size=(WIDTH, WIDTH)))
    clouds = [
        dimension.neighborhoods(y, 2) for y in (x, x @ rotation.astype(np.float32), x * np.float32(1e-4), x[::-1])
    ]
    for estimator in ESTIMATORS:
        plain, *moved = (estimator(hoods).dimension for hoods in clouds)
        np.testing.assert_allclose(moved, [plain] * 3, rtol=1e-5)


@pytest.mark.thorough
def test_duplicates_collapse_and_bad_rows_drop():
    x = cube(3)
    spoiled = np.concatenate([x, x[:50], np.full((3, WIDTH), np.nan, np.float32)])
    clean_hoods, hoods = dimension.neighborhoods(x, 2), dimension.neighborhoods(spoiled, 2, nonfinite="drop")
    for estimator in ESTIMATORS:
        clean, estimate = estimator(clean_hoods), estimator(hoods)
        assert (estimate.points_used, estimate.duplicates_collapsed, estimate.nonfinite_dropped) == (N, 50, 3)
        for field in ("dimension", "analytic_standard_error", "scale"):
            np.testing.assert_allclose(getattr(estimate, field), getattr(clean, field), rtol=1e-4)
        # Read off halves that are drawn by row: another number of rows is another draw. Each knows its error to 9%.
        np.testing.assert_allclose(estimate.standard_error, clean.standard_error, rtol=0.35)
        assert np.all(np.isnan(estimate.local[N:])) and np.all(estimate.influence[N:] == 0)
        unsound = dataclasses.replace(hoods, sound=jnp.array(False))
        assert np.isnan(estimator(unsound).dimension) and np.isnan(estimator(unsound).standard_error)


def test_too_few_distinct_points_are_nan_under_jit():
    together = jax.jit(lambda hoods: [estimator(hoods).dimension for estimator in ESTIMATORS])
    search = jax.jit(lambda x: dimension.neighborhoods(x, 2))
    assert np.all(np.isnan(together(search(np.ones((20, 2), np.float32)))))


@pytest.mark.thorough
def test_ratios_of_vanishing_distances_are_left_out():
    x = cube(3)
    x[:2] = np.array([[0.0], [1e-30]])  # distinct, but their squared difference is zero in float32
    hoods, plain = dimension.neighborhoods(x, 4, duplicates="keep"), dimension.neighborhoods(cube(3), 4)
    for estimator in (dimension.twonn, dimension.gride):
        estimate = estimator(hoods.nearest(2))
        assert estimate.zero_distances == 2 and estimate.points_used == N - 2
        np.testing.assert_allclose(estimate.dimension, estimator(plain.nearest(2)).dimension, rtol=0.02)
    assert dimension.gride(hoods, 2).points_used == N
    assert dimension.neighborhoods(x, 4).rounding_collapsed == 1  # equal in columns of order one


def test_equally_far_neighbors_have_no_finite_dimension():
    hoods = dimension.neighborhoods(cube(3), 32)
    hoods = dataclasses.replace(hoods, distances=jnp.ones((N, 32)))
    assert np.isinf(read(dimension.twonn, hoods)) and np.isinf(read(functools.partial(dimension.gride, n1=2), hoods))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dimension.twonn(np.zeros((2, 3))), r"k=2 needs more than 2 points; x has shape \(2, 3\)"),
        (lambda: dimension.twonn(cube(3), method="line"), "method must be 'mle' or 'fit'; it is 'line'"),
        (lambda: dimension.twonn(cube(3), discard=1.0), r"discard must lie in \[0, 1\); it is 1.0"),
        (lambda: dimension.gride(cube(3), 0), "n1=0 must be an integer of at least 1"),
        (lambda: dimension.gride(cube(3), 3, 3), "n1=3 and n2=3"),
        (lambda: dimension.gride(dimension.neighborhoods(cube(3), 5), 4), "k=8 needs neighborhoods of 8"),
        (lambda: dimension.twonn(np.ones((N, WIDTH))), "299 repeat an earlier one"),
        (lambda: dimension.twonn(np.repeat(cube(3)[:9], 3, axis=0), duplicates="keep"), "k=2 neighbors are zero"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()


@pytest.mark.slow
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    def all_of_them(hoods):
        estimates = [estimator(hoods) for estimator in ESTIMATORS[1:]]
        # Where two distances are nearly equal, their ratio keeps few digits beyond one, and the local dimension as few.
        return [dataclasses.replace(estimate, local=1 / estimate.local) for estimate in estimates]

    # Batched sums run in another order; influences are differences that cancel.
    assert_equal_to_a_loop(all_of_them, rtol=1e-4, atol=1e-4)


# Those of the other estimators are in test_gradients.
@pytest.mark.thorough
def test_gradient_of_the_fit_equals_finite_differences():
    with jax.enable_x64(True):
        x, step = jnp.asarray(rng(0).normal(size=(60, 4))), jnp.asarray(rng(1).normal(size=(60, 4)))
        value_and_gradient = jax.jit(jax.value_and_grad(lambda points: twonn_fit(points).dimension))
        h = 1e-6
        difference = (value_and_gradient(x + h * step)[0] - value_and_gradient(x - h * step)[0]) / (2 * h)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(jnp.vdot(value_and_gradient(x)[1], step), difference, rtol=1e-6)


def test_terms_of_the_gride_score_keep_their_digits_from_zero_to_large_ratios():
    z = np.concatenate([np.geomspace(1e-6, 80, 200), [0.0999, 0.1001]])
    fall = -np.expm1(-z)
    ratio, slope = ratios._phi(jnp.asarray(z, jnp.float32))
    np.testing.assert_allclose(ratio, z / fall, rtol=1e-6)
    # The quotient itself keeps no digits of the slope near zero, even in float64.
    exact = np.where(z < 1e-3, 1 / 2 + z / 6, (fall - z * np.exp(-z)) / fall**2)
    np.testing.assert_allclose(slope, exact, rtol=5e-6)
