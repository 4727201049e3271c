"""Formulas read backwards: forward and inverse agree to machine precision, and bad values are refused by both."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import errors, theory

dimensions = st.floats(0.5, 100.0)
smoothnesses = st.floats(0.05, 1.0)
# Each forward function with its inverse; one rounding in α is 1/(1-α) roundings in d, and d/2β is at most 1000 here.
PAIRS = [
    (theory.data_exponent, theory.dimension_from_data_exponent),
    (theory.model_exponent, theory.dimension_from_model_exponent),
    (theory.compute_exponent, theory.dimension_from_compute_exponent),
]


@pytest.mark.parametrize(("forward", "inverse"), PAIRS, ids=lambda function: function.__name__)
@given(d=dimensions, beta=smoothnesses)
def test_the_dimension_implied_by_an_exponent_is_the_dimension_that_predicts_it(forward, inverse, d, beta):
    assert inverse(forward(d, beta), beta) == pytest.approx(d, rel=2e-14)


@given(d=dimensions, beta=smoothnesses)
def test_the_smoothness_implied_by_an_exponent_is_the_one_that_predicts_it(d, beta):
    assert theory.smoothness_from_data_exponent(theory.data_exponent(d, beta), d) == pytest.approx(beta, rel=2e-14)


@given(d=dimensions, beta=smoothnesses, log_error=st.floats(-2.0, 0.0))
def test_samples_and_parameters_for_an_error_give_that_error(d, beta, log_error):
    error = 10.0**log_error
    # Powers up to 1/α multiply the rounding of the logarithm of n.
    if theory.data_exponent(d, beta) > 0.02:
        n = theory.samples_for_error(error, d, beta)
        assert theory.error_of_samples(n, d, beta) == pytest.approx(error, rel=1e-13)
    if theory.model_exponent(d, beta) > 0.02:
        parameters = theory.parameters_for_error(error, d, beta)
        assert theory.error_of_parameters(parameters, d, beta) == pytest.approx(error, rel=1e-13)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.dimension_from_data_exponent(1.2), "alpha=1.2"),
        (lambda: theory.dimension_from_model_exponent(-0.1), "alpha=-0.1"),
        (lambda: theory.dimension_from_compute_exponent(0.0), "alpha=0"),
        (lambda: theory.dimension_from_data_exponent(0.5, beta=1.5), "beta=1.5"),
        (lambda: theory.smoothness_from_data_exponent(0.2, d=0.0), "d=0"),
        (lambda: theory.error_of_samples(0.5, d=3.0), "n=0.5"),
        (lambda: theory.error_of_parameters(0.5, d=3.0), "N=0.5"),
        (lambda: theory.samples_for_error(2.0, d=3.0), "error=2"),
        (lambda: theory.samples_for_error(0.1, d=3.0, beta=0.0), "beta=0"),
        (lambda: theory.samples_for_error(0.1, d=3.0, error_of_one=-1.0), "error_of_one=-1"),
        (lambda: theory.parameters_for_error(0.1, d=float("nan")), "d=nan"),
    ],
)
def test_values_out_of_range_are_refused_by_name(call, named):
    with pytest.raises(errors.InputError, match=named):
        call()
