"""Fisher separability agrees with its definition, and reads spheres."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import lambertw

from jaxscale import dimension
from jaxscale.dimension.estimators.fisher import ALPHAS, _dimension_of_share, _lambert_w_of_exp
from jaxscale.errors import InputError
from jaxscale.testing import assertions, clouds

N, WIDTH = 300, 8


def rng(seed=0):
    return np.random.default_rng(seed)


@functools.cache
def cloud():
    """Five wide directions, and three that the condition number of ten cuts off."""
    scales = np.array([2, 1.6, 1.3, 1.1, 1, 0.3, 0.2, 0.1])
    return clouds.embedded(rng().normal(size=(N, WIDTH)) * scales, WIDTH, key=0) + np.float32(3)


def inverse(p, alpha):
    rate = -np.log(1 - alpha**2)
    with np.errstate(divide="ignore"):
        return np.real(lambertw(rate / (2 * np.pi * p**2 * alpha**2 * (1 - alpha**2)))) / rate


def reference(x, alphas=ALPHAS):
    """The dimension, the local ones and the α they are read at, step by step in float64."""
    x = np.asarray(x, np.float64)
    x = x - x.mean(0)
    variances, axes = np.linalg.eigh(np.cov(x.T))
    kept = variances > variances[-1] / 10
    white = (x @ axes[:, kept]) / np.sqrt(variances[kept])
    y = white / np.linalg.norm(white, axis=1, keepdims=True)
    products = y @ y.T - 2 * np.eye(len(y))
    shares = np.array([(products > alpha).sum(1) / (len(y) - 1) for alpha in alphas])
    top = max(alpha for alpha, p in zip(alphas, shares.mean(1), strict=True) if p > 0)
    chosen = np.argmin(np.round(np.abs(np.array(alphas) - 0.9 * top), 9))
    p = shares[chosen]
    safe = np.where(p > 0, p, 1)
    return (
        inverse(p.mean(), alphas[chosen]),
        np.where(p > 0, inverse(safe, alphas[chosen]), np.inf),
        alphas[chosen],
        p,
    )


@pytest.mark.parametrize("alphas", [ALPHAS, (0.1, 0.3, 0.5)])
def test_the_estimate_is_the_definition(alphas):
    expected, local, alpha, _ = reference(cloud(), alphas)
    estimate = dimension.fisher_separability(cloud(), alphas=alphas)
    np.testing.assert_allclose(estimate.scale, alpha)
    np.testing.assert_allclose(estimate.dimension, expected, rtol=1e-5)
    np.testing.assert_allclose(estimate.local, local, rtol=1e-4)


def test_directions_beyond_the_condition_number_do_not_count():
    assert 4.5 < dimension.fisher_separability(cloud()).dimension < 5.5
    assert dimension.fisher_separability(cloud(), condition_number=1e4).dimension > 6.5


def test_influences_are_those_of_the_share():
    _, _, alpha, p = reference(cloud())
    h = 1e-4 * p.mean()
    slope = (inverse(p.mean() + h, alpha) - inverse(p.mean() - h, alpha)) / (2 * h)
    estimate = dimension.fisher_separability(cloud())
    np.testing.assert_allclose(estimate.influence, 2 * slope * (p - p.mean()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("d", [2, 5, 10])
def test_spheres_are_read(d):
    sphere = clouds.sphere(600, d - 1, 12, key=0)
    # The formula for p is asymptotic in d, and off by some percent at d = 2.
    np.testing.assert_allclose(dimension.fisher_separability(sphere).dimension, d, rtol=0.04)


def test_lambert_w_solves_its_equation_at_any_size():
    log_z = np.linspace(-60, 300, 1000)
    w = np.asarray(_lambert_w_of_exp(jnp.asarray(log_z, jnp.float32)), np.float64)
    # w + ln w = ln z, to the rounding of ln z.
    np.testing.assert_allclose(w + np.log(w), log_z, rtol=1e-6, atol=1e-6)
    small = log_z < 100
    np.testing.assert_allclose(w[small], np.real(lambertw(np.exp(log_z[small]))), rtol=1e-5)


def test_the_slope_is_the_derivative_and_nothing_inseparable_is_infinite():
    p = np.array([1e-9, 1e-3, 0.3])
    h = 1e-4 * p
    difference = (inverse(p + h, 0.8) - inverse(p - h, 0.8)) / (2 * h)
    np.testing.assert_allclose(_dimension_of_share(jnp.asarray(p, jnp.float32), 0.8)[1], difference, rtol=1e-4)
    assert np.isinf(_dimension_of_share(jnp.float32(0), 0.8)[0])


def test_no_inseparable_pair_at_any_alpha_is_nan():
    simplex = np.eye(20, dtype=np.float32)
    estimate = dimension.fisher_separability(simplex)
    assert np.isnan(estimate.dimension) and np.isnan(estimate.standard_error) and np.isnan(estimate.scale)


@pytest.mark.thorough
def test_symmetries_and_padding_leave_the_estimate_alone():
    assertions.assert_rotation_invariant(dimension.fisher_separability, cloud())
    assertions.assert_scale_invariant(dimension.fisher_separability, cloud())
    assertions.assert_translation_invariant(dimension.fisher_separability, cloud())
    assertions.assert_permutation_invariant(dimension.fisher_separability, cloud())
    assertions.assert_padding_invariant(dimension.fisher_separability, cloud())


@pytest.mark.thorough
def test_rows_left_out_count_for_nothing():
    x = cloud().copy()
    x[200:220], x[220:] = x[:20], np.nan
    estimate = dimension.fisher_separability(x, nonfinite="drop")
    alone = dimension.fisher_separability(cloud()[:200])
    for field in ("dimension", "standard_error", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(alone, field), rtol=1e-4)
    np.testing.assert_allclose(estimate.local[:200], alone.local, rtol=1e-4)
    assert np.all(np.isnan(estimate.local[200:])) and np.all(estimate.influence[200:] == 0)


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    assert_equal_to_a_loop(dimension.fisher_separability, rtol=1e-4, atol=1e-3)


@pytest.mark.thorough
def test_the_standard_error_is_the_spread_of_trials():
    samples = np.float32(rng().normal(size=(100, 160, 5)) * np.linspace(1, 2, 5))
    estimates = jax.jit(lambda clouds: jax.lax.map(dimension.fisher_separability, clouds))(samples)
    # 100 trials know their spread to 7%; components and α are taken for given.
    np.testing.assert_allclose(np.mean(estimates.standard_error), np.std(estimates.dimension), rtol=0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alphas": ()}, r"alphas must ascend between 0 and 1; they are \(\)"),
        ({"alphas": (0.8, 0.6)}, "alphas must ascend"),
        ({"alphas": (0.8, 1.0)}, "alphas must ascend"),
        ({"condition_number": 1.0}, r"condition_number must be above 1; it is 1\.0"),
        ({"x": np.zeros((1, 3))}, r"two points or more; x has shape \(1, 3\)"),
    ],
)
def test_bad_input_is_named(options, message):
    with pytest.raises(InputError, match=message):
        dimension.fisher_separability(**({"x": cloud()} | options))
