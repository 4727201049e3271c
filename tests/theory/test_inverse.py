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


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.dimension_from_data_exponent(1.2), "alpha=1.2"),
        (lambda: theory.dimension_from_model_exponent(-0.1), "alpha=-0.1"),
        (lambda: theory.dimension_from_compute_exponent(0.0), "alpha=0"),
        (lambda: theory.dimension_from_data_exponent(0.5, beta=1.5), "beta=1.5"),
    ],
)
def test_values_out_of_range_are_refused_by_name(call, named):
    with pytest.raises(errors.InputError, match=named):
        call()
