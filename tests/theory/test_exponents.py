"""Exponents against the published table, against each other, and under JAX's transformations."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import errors, theory

dimensions = st.floats(0.5, 100.0)
smoothnesses = st.floats(0.05, 1.0)
TABLE = {
    theory.data_exponent: [0.286, 0.167, 0.118, 0.0909, 0.0741],
    theory.model_exponent: [0.400, 0.200, 0.133, 0.100, 0.0800],
    theory.compute_exponent: [0.167, 0.0909, 0.0625, 0.0476, 0.0385],
}


@pytest.mark.parametrize("exponent", TABLE, ids=lambda exponent: exponent.__name__)
def test_exponents_equal_the_table_at_smoothness_one(exponent):
    # Three significant digits are given, so half a unit of the third.
    chex.assert_trees_all_close(exponent(np.array([5, 10, 15, 20, 25])), np.array(TABLE[exponent]), rtol=5e-3, atol=0)


@given(d=dimensions, beta=smoothnesses)
@settings(max_examples=25, deadline=None)
def test_consistency_is_one_for_every_dimension_and_smoothness(d, beta):
    assert theory.consistency(theory.data_exponent(d, beta), theory.model_exponent(d, beta)) == pytest.approx(
        1, abs=1e-9
    )


@given(d=dimensions, beta=smoothnesses)
@settings(max_examples=25, deadline=None)
def test_dimension_from_data_exponent_inverts_data_exponent(d, beta):
    assert theory.dimension_from_data_exponent(theory.data_exponent(d, beta), beta) == pytest.approx(d, rel=1e-9)


@given(d=dimensions, beta=smoothnesses)
@settings(max_examples=10, deadline=None)
def test_compute_exponent_is_the_decay_of_the_best_split_of_compute(d, beta):
    # Minimize N^-α_N + (C/N)^-α_D over N on a grid fine enough (1e-3 in log N) that its error is second order.
    alpha_model, alpha_data = theory.model_exponent(d, beta), theory.data_exponent(d, beta)
    best = []
    for log_compute in (40.0, 60.0):
        log_model = np.arange(0.0, log_compute, 1e-3)
        best.append(np.min(np.exp(-alpha_model * log_model) + np.exp(-alpha_data * (log_compute - log_model))))
    decay = np.log(best[0] / best[1]) / 20.0
    assert decay == pytest.approx(theory.compute_exponent(d, beta), rel=1e-4)


def test_model_exponent_of_a_norm_is_half_that_of_squared_loss():
    assert theory.model_exponent(7.0, 0.5, loss="norm") == theory.model_exponent(7.0, 0.5) / 2


def test_exponents_trace_and_broadcast():
    d, beta = jnp.array([1.0, 2.0, 4.0]), jnp.array([[0.5], [1.0]])
    for exponent in TABLE:
        traced = jax.jit(exponent)(d, beta)
        chex.assert_shape(traced, (2, 3))
        chex.assert_trees_all_close(traced, exponent(d, beta), rtol=1e-6)
    slope = jax.grad(theory.data_exponent)(2.0)
    assert slope == pytest.approx(-2.0 / (2.0 + 2.0) ** 2)


def test_python_numbers_keep_double_precision():
    assert theory.data_exponent(5.0) == 2 / 7


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: theory.data_exponent(0.0), "d=0.0"),
        (lambda: theory.data_exponent([3.0, -1.0]), "d=-1.0"),
        (lambda: theory.model_exponent(float("nan")), "d=nan"),
        (lambda: theory.compute_exponent(5.0, beta=1.5), "beta=1.5"),
        (lambda: theory.model_exponent(5.0, loss="absolute"), "'absolute'"),
        (lambda: theory.dimension_from_data_exponent(1.0), "alpha=1.0"),
        (lambda: theory.consistency(0.3, 0.0), "alpha_model=0.0"),
    ],
)
def test_a_value_out_of_range_is_named(call, named):
    with pytest.raises(errors.InputError, match=named):
        call()


def test_every_limit_is_one_sentence():
    assert len(theory.LIMITS) == 7
    assert all(limit.count(". ") == 0 and limit.endswith(".") for limit in theory.LIMITS)
