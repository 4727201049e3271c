"""Languages: their texts follow the stated probabilities, and their contexts have the stated geometry."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.data import fields, languages
from jaxscale.errors import InputError


@functools.partial(jax.tree_util.register_dataclass, data_fields=["value"], meta_fields=[])
class Same:
    """The same logit everywhere."""

    def __init__(self, value):
        self.value = value

    def __call__(self, points_NxD):
        return jnp.full(len(points_NxD), self.value)


def smooth(d, order):
    keys = jax.random.split(jax.random.key(0), 2**d)
    return languages.Language(tuple(fields.weierstrass(d, 1.0, 3, 8, key=key) for key in keys), d, order)


text = jax.jit(lambda language, key, length: language.text(length, key=key), static_argnames="length")


@pytest.mark.parametrize(("d", "order"), [(1, 6), (2, 5)])
def test_a_symbol_moves_to_the_front_of_the_next_context(d, order):
    language = smooth(d, order)
    contexts, following = text(language, jax.random.key(1), 300)
    symbols = language.symbols(contexts)
    assert len(np.unique(following)) == 2**d
    for age in range(1, order + 1):
        np.testing.assert_array_equal(symbols[order:, -age], following[order - age : 300 - age])


@pytest.mark.parametrize("d", [1, 3])
def test_the_points_of_contexts_are_a_linear_map_of_their_symbols(d):
    language = smooth(d, 7)
    contexts, _ = text(language, jax.random.key(1), 50)
    one_hot = jax.nn.one_hot(language.symbols(contexts), 2**d)
    spelled = jnp.einsum("nlk,lkd->nd", one_hot, languages.point_map(d, 7))
    chex.assert_trees_all_close(spelled, language.points(contexts), atol=1e-5)
    assert jnp.min(spelled) > 0 and jnp.max(spelled) < languages.SIDE


@pytest.mark.thorough
def test_symbols_come_as_often_as_their_probabilities_say():
    language = smooth(1, 8)
    contexts, following = text(language, jax.random.key(1), 20_000)
    stated = jax.nn.softmax(language.logits(contexts))[:, 1]
    for low, high in ((0, 0.3), (0.3, 0.5), (0.5, 0.7), (0.7, 1)):
        some = (stated >= low) & (stated < high)
        assert jnp.sum(some) > 1000
        # A share of a thousand draws and more is known to 0.016.
        assert abs(jnp.mean(following[some]) - jnp.mean(stated[some])) < 0.045


def test_the_information_dimension_of_contexts_is_the_entropy_of_a_symbol_in_bits():
    language = smooth(2, 10)
    contexts, _ = text(language, jax.random.key(0), 60_000)
    chances = jax.nn.softmax(language.logits(contexts))
    bits = -jnp.mean(jnp.sum(chances * jnp.log2(chances), axis=1))

    def entropy_of_cells(level):
        """Of the distribution over 4^level squares, in bits."""
        _, counts = np.unique(np.asarray(contexts) >> (10 - level), axis=0, return_counts=True)
        return -np.sum(counts / counts.sum() * np.log2(counts / counts.sum()))

    assert abs((entropy_of_cells(5) - entropy_of_cells(2)) / 3 - bits) < 0.03 and bits < 1.9


def test_what_is_no_language_is_refused():
    with pytest.raises(InputError, match=r"order=25.*24"):
        smooth(1, 25).text(5, key=jax.random.key(0))
    with pytest.raises(InputError, match=r"fields are 1.*2 symbols"):
        languages.Language((Same(0.0),), 1, 4).text(5, key=jax.random.key(0))
