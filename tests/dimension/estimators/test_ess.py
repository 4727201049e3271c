"""The expected simplex skewness agrees with its definition and is inverted exactly."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators.ess import _dimension_of_deficit
from jaxscale.testing import assertions, clouds

N, K, WIDTH = 240, 12, 8


def rng(seed=0):
    return np.random.default_rng(seed)


@functools.cache
def cloud():
    return clouds.cube(N, 4, WIDTH, key=0)


def skewness(d):
    """Of independent uniform directions in d dimensions."""
    return math.exp(2 * math.lgamma(d / 2) - math.lgamma((d + 1) / 2) - math.lgamma((d - 1) / 2)) if d > 1 else 0.0


def inverted(s):
    d = 1
    while skewness(d + 1) <= s:
        d += 1
    return d + (s - skewness(d)) / (skewness(d + 1) - skewness(d))


@functools.cache
def reference():
    """(N,) skewness of the nearest K of each point, by areas of parallelograms, in float64."""
    x = cloud().astype(np.float64)
    neighbors = np.argsort(((x[:, None] - x) ** 2).sum(-1), axis=1)[:, 1 : K + 1]
    values = []
    for near in neighbors:
        v = x[near] - x[near].mean(0)
        pairs = [v[[a, b]] @ v[[a, b]].T for a in range(K) for b in range(a)]
        areas = [np.sqrt(np.linalg.det(g)) for g in pairs]
        values.append(sum(areas) / sum(np.sqrt(g[0, 0] * g[1, 1]) for g in pairs))
    return np.array(values)


@functools.cache
def hoods():
    return dimension.neighborhoods(cloud(), K)


def test_local_values_are_the_definition():
    expected = np.array([inverted(s) for s in reference()])
    assert np.ptp(expected) > 1
    estimate = dimension.ess(hoods(), k=K)
    # A skewness errs by some 1e-7, and dimension grows by 2d² = 50 for each unit of it, or by ten parts.
    np.testing.assert_allclose(estimate.local, expected, rtol=1e-5)
    np.testing.assert_allclose(estimate.dimension, expected.mean(), rtol=1e-6)
    np.testing.assert_allclose(estimate.influence, expected - expected.mean(), atol=1e-4)


def test_pooling_by_skewness_inverts_the_mean_with_influences_by_its_slope():
    estimate = dimension.ess(hoods(), k=K, pooling="skewness")
    np.testing.assert_allclose(estimate.dimension, inverted(reference().mean()), rtol=1e-6)
    h = 1e-4
    slope = (inverted(reference().mean() + h) - inverted(reference().mean() - h)) / (2 * h)
    np.testing.assert_allclose(estimate.influence, slope * (reference() - reference().mean()), atol=1e-3)


@pytest.mark.parametrize("d", [1, 2, 3, 17, 768, 5000])
def test_the_skewness_of_an_integer_dimension_is_that_dimension(d):
    # A deficit of 1/2d in float32 keeps its digits at any d.
    np.testing.assert_allclose(_dimension_of_deficit(jnp.float32(1 - skewness(d))), d, rtol=1e-5)


def test_values_out_of_range_end_at_the_limits():
    np.testing.assert_allclose(_dimension_of_deficit(jnp.array([0.0, 1.0])), [16384, 1])


def test_a_line_and_a_high_dimensional_ball_are_read():
    assert abs(dimension.ess(clouds.cube(N, 1, WIDTH, key=0), k=K).dimension - 1) < 1e-3
    ball = rng().normal(size=(N, 40)).astype(np.float32)
    # In a gaussian of 40 dimensions 90 neighbors are nearly as many as 240; the mean of their angles is that of 40.
    assert abs(dimension.ess(ball, k=90).dimension - 40) < 3


def test_symmetries_and_padding_leave_the_estimate_alone():
    read = functools.partial(dimension.ess, k=K)
    assertions.assert_rotation_invariant(read, cloud())
    assertions.assert_scale_invariant(read, cloud())
    assertions.assert_permutation_invariant(read, cloud())
    assertions.assert_padding_invariant(read, cloud())


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    read = functools.partial(dimension.ess, k=K)
    assert_equal_to_a_loop(read, rtol=1e-4, atol=1e-3)


@pytest.mark.thorough
def test_rows_left_out_count_for_nothing():
    x = cloud().copy()
    x[200:220], x[220:] = x[:20], np.nan
    estimate, alone = dimension.ess(x, k=K, nonfinite="drop"), dimension.ess(cloud()[:200], k=K)
    assert estimate.points_used == 200
    np.testing.assert_allclose(estimate.local[:200], alone.local, rtol=1e-5)
    np.testing.assert_allclose(estimate.dimension, alone.dimension, rtol=1e-5)
    assert np.all(np.isnan(estimate.local[200:]))


@pytest.mark.thorough
def test_the_standard_error_is_the_spread_of_trials():
    samples = np.float32(rng().uniform(size=(100, 160, 3)))
    estimates = jax.jit(lambda clouds: jax.lax.map(functools.partial(dimension.ess, k=K), clouds))(samples)
    # 100 trials know their spread to 7%; overlap beyond edges is not counted, edges that agree by chance are.
    assert 0.75 < np.mean(estimates.standard_error) / np.std(estimates.dimension) < 1.4


# That of the other pooling is in test_gradients.
@pytest.mark.thorough
def test_gradient_of_pooled_skewness_equals_finite_differences():
    with jax.enable_x64(True):
        x, step = jnp.asarray(rng().normal(size=(50, 4))), jnp.asarray(rng(1).normal(size=(50, 4)))

        @jax.jit
        @jax.value_and_grad
        def read(points):
            return dimension.ess(points, k=6, pooling="skewness").dimension

        h = 1e-6
        difference = (read(x + h * step)[0] - read(x - h * step)[0]) / (2 * h)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(jnp.vdot(read(x)[1], step), difference, rtol=1e-5)
