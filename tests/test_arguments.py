"""Numbers as arguments: what NumPy and jax call an integer is one, and nothing else is."""

import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.arguments import integer
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
