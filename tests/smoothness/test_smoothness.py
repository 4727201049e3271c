"""Smoothness read from fields whose smoothness is known; means over many are in benchmarks/smoothness.py."""

import jax
import numpy as np
import pytest
from scipy.special import gamma, kv

from jaxscale import errors, smoothness

KEY = jax.random.key(0)


def circle(n=512):
    angle = np.random.default_rng(0).uniform(0, 2 * np.pi, n)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def matern(x, nu, seed=0):
    """A Matérn field of smoothness ν and variance 1 at points x."""
    r = np.linalg.norm(x[:, None] - x[None], axis=-1) + 1e-9
    covariance = 2 ** (1 - nu) / gamma(nu) * r**nu * kv(nu, r)
    root = np.linalg.cholesky(covariance + 1e-9 * np.eye(len(x)))
    return root @ np.random.default_rng(seed).normal(size=len(x))


@pytest.mark.parametrize("beta", [0.25, 0.6])
def test_the_interval_holds_the_smoothness_of_a_fractional_field(beta):
    x = circle()
    found = smoothness.madogram(x, smoothness.fractional_field(x, beta, key=KEY)[0], key=KEY)
    assert found.interval.lower < beta < found.interval.upper
    assert found.beta == pytest.approx(beta, rel=0.25)
    assert found.scales.lower < found.scales.upper < 2


def test_label_noise_is_found_and_taken_off():
    x = circle()
    clean = smoothness.fractional_field(x, 0.6, key=KEY)[0]
    noisy = clean + 0.1 * np.random.default_rng(1).normal(size=len(x))
    found = smoothness.madogram(x, noisy, key=KEY)
    assert found.noise == pytest.approx(0.1, abs=0.04)
    assert found.beta == pytest.approx(0.6, rel=0.35)
    # Taken at face value, small scales are all noise: the slope between the first bins is nearly flat.
    assert np.polyfit(np.log(found.distances), np.log(found.values), 1)[0] < 0.45


def test_a_matern_field_is_read_as_a_fractional_one_of_its_smoothness():
    x = circle()
    assert smoothness.madogram(x, matern(x, 0.5), key=KEY).beta == pytest.approx(0.5, rel=0.25)


def test_scales_and_units_of_labels_do_not_matter():
    x = circle()
    y = smoothness.fractional_field(x, 0.5, key=KEY)[0]
    first, second = smoothness.madogram(x, y, key=KEY), smoothness.madogram(3 * x, 5 - 7 * y, key=KEY)
    assert second.beta == pytest.approx(first.beta, abs=0.02)
    assert second.scales.upper == pytest.approx(3 * first.scales.upper)


def test_a_smooth_target_is_not_identified_but_its_learning_curve_is_steep():
    x = circle(320)
    found = smoothness.estimate(x, np.sin(3 * x[:, 0]), key=KEY)
    assert not found.identified and np.isnan(found.beta)
    assert found.interval == (0.8, np.inf)
    assert "not identified" in found.sentence and "over distances" in found.sentence
    # 2β/d would be 2 at β = 1.
    assert found.data_exponent > 2


def test_learning_curves_fall_as_theory_says():
    x = circle(320)
    y = smoothness.fractional_field(x, 0.5, key=KEY)[0]
    for curve in (smoothness.kernel_learning_curve, smoothness.neighbor_learning_curve):
        found = curve(x, y, key=KEY)
        assert found.exponent == pytest.approx(1.0, abs=0.3)  # 2β/d
        assert found.interval.lower < found.exponent < found.interval.upper
        assert (np.diff(found.sizes) > 0).all()


@pytest.mark.parametrize(
    ("x", "y", "named"),
    [
        (circle(), np.zeros(100), "x has shape"),
        (circle(64), np.arange(64.0), "x holds 64 points"),
        (circle(), np.full(512, np.nan), "not finite"),
        (circle(), np.ones(512), "all labels are 1"),
        (np.repeat(circle(64), 8, axis=0), np.arange(512.0), "coincide"),
    ],
)
def test_points_that_cannot_be_read_are_refused(x, y, named):
    with pytest.raises(errors.InputError, match=named):
        smoothness.madogram(x, y, key=KEY)


def test_a_field_of_no_such_smoothness_is_refused():
    with pytest.raises(errors.InputError, match=r"beta=1\.2"):
        smoothness.fractional_field(circle(), 1.2, key=KEY)


def test_a_reading_identifies_only_what_clears_every_limit_by_a_step_of_its_grid():
    assert not smoothness.unidentified(0.5, (0.4, 0.6))
    for low in (0.05, 0.0994, 0.1026, 0.112):  # two machines read the second and third from one text
        (why,) = smoothness.unidentified(0.18, (low, 0.26))
        assert "drawn by chance" in why
    for beta, high in ((0.79, 0.9), (0.5, 0.99), (0.9, 1.2)):
        (why,) = smoothness.unidentified(beta, (0.4, high))
        assert "saturates" in why
    assert len(smoothness.unidentified(0.5, (0.05, 3.0))) == 2
    assert len(smoothness.unidentified(np.nan, (np.nan, np.nan))) == 2
