"""Rivals, brackets and bands: limits they must share, and intervals that carry what they are made from."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import errors, theory

dimensions = st.floats(0.5, 100.0)


def test_rivals_of_the_model_exponent_at_dimension_ten():
    assert theory.sharma_kaplan_exponent(10.0) == 0.4
    assert theory.bahri_exponent(10.0) == 0.4
    assert theory.bahri_exponent(10.0, interpolation="lipschitz") == 0.1
    assert theory.bahri_exponent(10.0, regime="variance") == 1.0


@given(d=dimensions, beta=st.floats(0.05, 1.0))
def test_the_bracket_of_cross_entropy_ends_at_squared_error_and_starts_at_the_compute_exponent(d, beta):
    bracket = theory.cross_entropy_bracket(d, beta)
    assert bracket.upper == pytest.approx(theory.data_exponent(d, beta))
    assert bracket.lower == pytest.approx(theory.compute_exponent(d, beta))
    assert bracket.lower < theory.cross_entropy_exponent(d, beta, 0.5) < bracket.upper


@given(d=dimensions, beta=st.floats(0.05, 1.0))
def test_the_split_of_compute_agrees_with_the_exponents_of_theory(d, beta):
    split = theory.compute_split(theory.model_exponent(d, beta), theory.data_exponent(d, beta))
    assert split.loss == pytest.approx(theory.compute_exponent(d, beta))
    assert split.size == pytest.approx(theory.optimal_size_exponent(d, beta))
    assert split.size + split.data == pytest.approx(1)


def test_an_interval_of_the_dimension_alone_maps_to_the_exponent_at_its_ends():
    low, high = theory.exponent_interval(theory.data_exponent, 10.0, (8.0, 12.0))
    assert (low, high) == pytest.approx((theory.data_exponent(12.0), theory.data_exponent(8.0)))


def test_uncertainty_of_smoothness_widens_the_interval_as_simulated():
    # d and β log-normal with 10% and 20%: percentiles of the exponents of a million pairs are good to 0.3%.
    rng = np.random.default_rng(0)
    d, beta = 10 * np.exp(0.1 * rng.normal(size=10**6)), 0.4 * np.exp(0.2 * rng.normal(size=10**6))
    simulated = np.quantile(2 * beta / (2 * beta + d), [0.025, 0.975])
    ends = lambda center, sigma: tuple(center * np.exp(side * 1.96 * sigma) for side in (-1, 1))
    got = theory.exponent_interval(theory.data_exponent, 10.0, ends(10.0, 0.1), 0.4, ends(0.4, 0.2))
    assert got == pytest.approx(simulated, rel=0.01)


def test_rivals_trace():
    d = jnp.array([2.0, 4.0])
    np.testing.assert_allclose(jax.jit(theory.sharma_kaplan_exponent)(d), [2.0, 1.0])
    np.testing.assert_allclose(jax.jit(theory.cross_entropy_exponent)(d), theory.data_exponent(np.array([2.0, 4.0])))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.sharma_kaplan_exponent(0.0), "d=0"),
        (lambda: theory.bahri_exponent(-1.0), "d=-1"),
        (lambda: theory.bahri_exponent(1.0, regime="other"), "regime='other'"),
        (lambda: theory.bahri_exponent(1.0, interpolation="other"), "interpolation='other'"),
        (lambda: theory.cross_entropy_exponent(3.0, 1.0, 2.0), "small_value_index=2"),
        (lambda: theory.cross_entropy_bracket(3.0, 1.5), "beta=1.5"),
        (lambda: theory.compute_split(0.0, 0.3), "alpha_model=0"),
        (lambda: theory.optimal_size_exponent(0.0), "d=0"),
        (lambda: theory.exponent_interval(theory.data_exponent, 5.0, (6.0, 7.0)), "d_interval"),
        (lambda: theory.exponent_interval(theory.consistency, 5.0, (4.0, 7.0)), "exponent="),
    ],
)
def test_values_out_of_range_are_refused_by_name(call, named):
    with pytest.raises(errors.InputError, match=named):
        call()
