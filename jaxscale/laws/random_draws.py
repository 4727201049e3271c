"""Random draws of tables and fields: they are few and of many shapes, so numpy draws them and nothing is compiled."""

import jax
import numpy as np

from jaxscale.arguments import random_key


def generator(key: jax.Array | int) -> np.random.Generator:
    """A numpy generator that a JAX key determines, and nothing else.

    Args:
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: for anything else.
    """
    return np.random.default_rng(np.asarray(jax.random.key_data(random_key("key", key))))
