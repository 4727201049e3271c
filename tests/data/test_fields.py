"""Fields of known smoothness: their variance, their modulus, and the refusal of what has none."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.data import fields, manifolds
from jaxscale.errors import InputError


@pytest.mark.parametrize("beta", [0.3, 0.7])
def test_squared_differences_grow_with_twice_the_smoothness(beta):
    many = jax.vmap(lambda key: fields.weierstrass(2, beta, key=key, octaves=12))(
        jax.random.split(jax.random.key(0), 200)
    )
    distances = 2.0 ** np.arange(-8, -3)
    points = jnp.concatenate([jnp.zeros((1, 2)), jnp.stack([distances, jnp.zeros(5)], axis=1)])
    values = jax.vmap(lambda field: field(points))(many)
    squared = jnp.mean((values[:, 1:] - values[:, :1]) ** 2, axis=0)
    slope = np.polyfit(np.log(distances), np.log(squared), 1)[0]
    # The spectrum ends at 1 and at 4096, 16 times finer than the nearest pair: the power law bends a little at both.
    assert abs(slope - 2 * beta) < 0.12


def test_a_normalized_field_has_mean_0_and_variance_1_on_its_points():
    x = manifolds.sphere(2).sample(5000, key=jax.random.key(1))
    y = fields.normalized(fields.weierstrass(3, 1.0, 6, key=jax.random.key(0)), x)(x)
    chex.assert_trees_all_close((jnp.mean(y), jnp.std(y)), (0.0, 1.0), atol=1e-3)


def test_values_do_not_depend_on_how_points_are_divided():
    field = fields.weierstrass(3, 0.5, 6, key=jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (5000, 3))
    chex.assert_trees_all_close(jax.jit(lambda x: field(x))(x)[4990:], field(x[4990:]), atol=1e-4)


@pytest.mark.parametrize(("named", "given"), [("beta", (3, 1.5, 4)), ("width", (0, 0.5, 4)), ("octaves", (3, 0.5, 0))])
def test_what_is_no_such_field_is_refused(named, given):
    with pytest.raises(InputError, match=named):
        fields.weierstrass(*given, key=jax.random.key(0))
