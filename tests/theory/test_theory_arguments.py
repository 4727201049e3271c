"""What is no number is refused with a sentence by every function, and what is beyond numbers is infinite or refused."""

import contextlib
import inspect

import jax
import numpy as np
import pytest

from jaxscale import errors, theory

USUAL = {
    "d": 2.0,
    "beta": 0.5,
    "n": 100.0,
    "N": 100.0,
    "width": 3,
    "grid": 3,
    "alpha": 0.3,
    "alpha_data": 0.3,
    "alpha_model": 0.3,
    "delta": 0.1,
    "exponent": theory.data_exponent,
    "d_interval": (1.0, 3.0),
    "sizes": theory.architecture(2, 3, 4),
}
FUNCTIONS = {name: getattr(theory, name) for name in theory.__all__ if inspect.isfunction(getattr(theory, name))}
ARGUMENTS = [
    (name, argument.name)
    for name, function in FUNCTIONS.items()
    for argument in inspect.signature(function).parameters.values()
]
WRONG = [1j, [1, "a"], np.array(["a"]), b"x", {}, "x", True, None, np.nan, -1, 10**400, np.array([1.0, -2.0])]


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_what_is_no_number_is_refused_with_a_sentence(name, argument):
    function = FUNCTIONS[name]
    needed = {p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty}
    given = {key: value for key, value in USUAL.items() if key in needed}
    for value in WRONG:
        with contextlib.suppress(errors.InputError):
            function(**(given | {argument: value}))
    with pytest.raises(errors.InputError, match=rf"^{argument}=.*\.$"):
        function(**(given | {argument: object()}))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: theory.data_exponent(-1.0), "d=-1.0 is out of range. Pass a finite d above 0."),
        (lambda: theory.consistency(0.0, 1.0), "alpha_data=0.0 is out of range. Pass a finite alpha_data above 0."),
        (lambda: theory.data_exponent("x"), "d='x' is not a number or an array of numbers. Pass a finite d above 0."),
    ],
)
def test_the_message_is_a_sentence(call, said):
    with pytest.raises(errors.InputError) as error:
        call()
    assert str(error.value) == said


def test_integers_have_no_end():
    assert theory.data_exponent(10**30) == pytest.approx(theory.data_exponent(1e30))


@pytest.mark.parametrize("d", [600, 10**6])
def test_a_bound_beyond_the_largest_number_is_refused(d):
    with pytest.raises(errors.InputError, match=rf"^d={d} makes the bound larger than 1\.8e308"):
        theory.generalization_bound(1e9, d, 10**6)
    with pytest.raises(errors.InputError, match=rf"^d={d} and grid=2 make weights or tokens of more than 1\.8e308"):
        theory.architecture(d, 10**6, 2)


def test_a_traced_argument_beside_a_concrete_one_is_not_checked():
    exponent = jax.jit(lambda beta: theory.data_exponent(3.0, beta))(0.5)
    assert exponent == pytest.approx(theory.data_exponent(3.0, 0.5), rel=1e-5)
