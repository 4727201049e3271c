"""Programs before they are compiled: what they evaluate to, the intervals they know, and what they refuse."""

import numpy as np
import pytest
from construction_programs import CASES, POINTS, V, X, Y, Z
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import constructions as con
from jaxscale.constructions.expressions import depth
from jaxscale.errors import InputError


@pytest.mark.parametrize("name", CASES)
def test_evaluates_to_its_formula_within_its_interval(name):
    program, wanted = CASES[name]
    value = program.evaluate(POINTS)
    np.testing.assert_allclose(value, wanted, rtol=1e-11, atol=1e-12)
    assert np.all(value >= program.lower - 1e-12) and np.all(value <= program.upper + 1e-12)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=6), st.floats(-2, 1), st.floats(0.1, 2))
def test_intervals_hold_for_polynomials(coefficients, lower, width):
    x = con.inputs("x", lower=lower, upper=lower + width)
    program = con.poly(x, coefficients) + 0 * x
    value = program.evaluate(np.linspace(lower, lower + width, 33)[:, None])
    slack = 1e-9 * (1 + np.abs(program.lower) + np.abs(program.upper))
    assert np.all(value >= program.lower - slack) and np.all(value <= program.upper + slack)


@given(st.floats(0.01, 5), st.floats(1.001, 30), st.sampled_from([1e-3, 1e-6, 1e-12]))
def test_reciprocal_keeps_its_tolerance(lower, ratio, tolerance):
    x = con.inputs("x", lower=lower, upper=lower * ratio)
    points = np.linspace(lower, lower * ratio, 41)
    np.testing.assert_allclose(
        con.reciprocal(x, tolerance).evaluate(points[:, None]), 1 / points, rtol=tolerance + 1e-14
    )


def test_sums_cancel_and_squares_are_known_not_to_be_negative():
    assert (X - X).upper == 0 and not (X - X).terms
    assert con.square(X - Y).lower == 0
    assert (X * Y).lower == -2


def test_what_cannot_vary_is_a_constant():
    assert not con.relu(X - X).terms and not con.trapezoid(X + 9).terms
    assert depth(con.relu(X - 7) * Y + X) == 0


def test_trees_are_balanced_by_depth():
    late = X * Y * Z  # depth 2
    assert [depth(con.prod([X] * r)) for r in (2, 3, 4, 5, 8, 9)] == [1, 2, 2, 3, 3, 4]
    assert depth(con.prod([late, X, Y, Z])) == 3  # the ready ones are multiplied while waiting
    assert depth(X**16) == 4


def test_vectors_behave_like_numpy():
    vector = con.input_vector(3, lower=-1, upper=1)
    x = np.random.default_rng(0).uniform(-1, 1, (4, 3))
    np.testing.assert_allclose((np.array([[1.0, 2, 3]]) @ vector).evaluate(x), x @ [[1], [2], [3]])
    np.testing.assert_allclose((vector[[2, 0]] * vector[0]).evaluate(x), x[:, [2, 0]] * x[:, [0]])
    np.testing.assert_allclose((vector * [1, 0, 2] + 1)[1:].evaluate(x), (x * [1, 0, 2] + 1)[:, 1:])
    assert len(list(vector)) == 3 and len(vector[:2]) == 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: con.inputs(""), "at least one input"),
        (lambda: con.inputs("x", lower=1, upper=0), "lower ≤ upper"),
        (lambda: con.inputs("x", upper=np.inf), "finite"),
        (lambda: con.compile(con.inputs("a") + con.inputs("b")), "one declaration; this one uses 2"),
        (lambda: con.compile(con.inputs("a") * 0 + con.inputs("b") * 0), "one declaration; this one uses 2"),
        (lambda: con.compile("x + y"), "neither an expression nor numbers"),
        (lambda: con.compile([X, Y]), "joined by stack"),
        (lambda: con.compile(X, backend="quantum"), "pairwise, structured"),
        (lambda: con.compile(X * Y, limit=100), "parameters"),
        (lambda: X / Y, "reciprocal"),
        (lambda: X / 0, "divided by zero"),
        (lambda: X**0, "integer of at least 1"),
        (lambda: X**2.5, "integer of at least 1"),
        (lambda: X.within(lower=1, upper=0), "is empty"),
        (lambda: X.within(lower=np.nan), "not a finite number"),
        (lambda: con.reciprocal(X), "positive argument"),
        (lambda: con.reciprocal(X + 2, tolerance=2), "between 0 and 1"),
        (lambda: V + con.input_vector(2), "same length"),
        (lambda: np.ones((2, 2)) @ V, "Pass 3 columns"),
        (lambda: X + np.nan, "not a finite number"),
        (lambda: X * np.inf, "not a finite number"),
        (lambda: np.array([[np.nan, 1, 1]]) @ V, "not finite"),
        (lambda: con.prod([]), "at least one"),
        (lambda: con.poly(X, []), "coefficients"),
        (lambda: con.bump(V, [0, 0, 0], 0), "positive"),
        (lambda: con.indicator(V, [0, 0, 0], -1), "positive"),
        (lambda: con.dot(V, V[:2]), "one length"),
        (lambda: con.ffn([([[1.0]], [0.0])], X, Y), "network from 2 numbers"),
        (lambda: con.ffn([([[np.nan]], [0.0])], X), "not finite"),
    ],
)
def test_bad_programs_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        make()
