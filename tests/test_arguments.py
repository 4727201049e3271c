"""Numbers as arguments: what NumPy and jax call an integer is one, and nothing else is."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.arguments import choice, integer, numpy_seed, random_key, real
from jaxscale.errors import InputError


@pytest.mark.parametrize("value", [5, np.int64(5), np.uint8(5), np.array(5), jnp.array(5)])
def test_every_integer_becomes_pythons(value):
    assert integer("k", value) == 5 and type(integer("k", value)) is int


@pytest.mark.parametrize("value", [5.0, 0.5, float("nan"), float("inf"), True, np.True_, "5", None, np.array([5, 6])])
def test_anything_else_is_refused_by_name(value):
    with pytest.raises(InputError, match=r"k=.* must be an integer\. Pass k="):
        integer("k", value)


def test_the_minimum_is_named_and_suggested():
    with pytest.raises(InputError, match=r"k=-3 must be an integer of at least 1\. Pass k=1\."):
        integer("k", -3, minimum=1)


@pytest.mark.parametrize("value", [5, 5.0, Fraction(5), np.int64(5), np.float32(5), np.array(5.0), jnp.array(5.0)])
def test_every_real_number_becomes_pythons(value):
    assert real("level", value, 0.95) == 5 and type(real("level", value, 0.95)) is float


@pytest.mark.parametrize("value", [True, np.True_, "5", None, 5j, np.array([5.0]), 10**400, jax.random.key(0)])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(InputError, match=r"(?s)level=.* must be a number\. Pass for example level=0\.95\."):
        real("level", value, 0.95)


def test_keys_of_both_styles_pass_and_ints_become_keys():
    for key in (
        jax.random.key(0),
        jax.random.PRNGKey(0),
        np.asarray(jax.random.PRNGKey(0)),
        jax.random.key(0, impl="rbg"),
    ):
        assert random_key("key", key) is key
    for value in (3, np.int64(3), np.uint8(3), jnp.int32(3)):
        assert jnp.array_equal(random_key("key", value), jax.random.key(3))
    assert jnp.array_equal(jax.jit(lambda value: random_key("key", value))(3), jax.random.key(3))
    many = jax.random.split(jax.random.key(0))
    for wrong in (3.0, True, np.True_, None, "3", 2**70, many, np.zeros(2), np.arange(2)):
        with pytest.raises(InputError, match=r"is not a JAX random key, nor an int .* Pass key=jax.random.key\("):
            random_key("key", wrong)


def test_numpy_draws_of_an_int_as_numpy_does_and_of_a_key_by_all_its_words():
    for value in (5, jax.random.key(5), jax.random.PRNGKey(5)):
        assert numpy_seed("key", value) == 5
    first, second = jax.random.split(jax.random.key(0))
    assert numpy_seed("key", first) != numpy_seed("key", second)
    high, low = jax.random.key_data(first).tolist()
    assert numpy_seed("key", first) == (high << 32) + low
    with pytest.raises(InputError, match="is not a JAX random key"):
        numpy_seed("key", 0.5)


def test_a_name_is_one_of_those_known():
    assert choice("loss", "norm", ("squared", "norm")) == "norm"
    with pytest.raises(
        InputError, match=r"loss='norms' is unknown; did you mean 'norm'\? Pass one of 'squared', 'norm'"
    ):
        choice("loss", "norms", ("squared", "norm"))
    with pytest.raises(InputError, match=r"loss=\['norm'\] is unknown\. Pass one of"):
        choice("loss", ["norm"], ("squared", "norm"))
