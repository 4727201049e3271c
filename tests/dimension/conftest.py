"""Neighborhoods for which the model behind the estimators holds exactly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension


def with_distances(distances):
    """Neighborhoods at these distances (n, k), without edges, so that points count as independent."""
    n = len(distances)
    return dimension.Neighborhoods(
        points=jnp.zeros((n, 1)),
        distances=jnp.asarray(distances),
        indices=jnp.full(distances.shape, -1, jnp.int32),
        used=jnp.ones(n, bool),
        multiplicity=jnp.ones(n, jnp.int32),
        duplicates_collapsed=jnp.int32(0),
        nonfinite_dropped=jnp.int32(0),
        sound=jnp.array(True),
    )


@pytest.fixture(scope="session")
def poisson_neighborhoods():
    """A function (d, k, n, trials) -> neighborhoods of n independent points in d dimensions, stacked over trials.

    In a Poisson process of constant density the volumes up to successive neighbors are sums of exponentials.
    """

    def sample(d, k, n, trials=1, seed=0):
        volumes = np.random.default_rng(seed).exponential(size=(trials, n, k)).cumsum(axis=-1)
        hoods = [with_distances(each) for each in (volumes ** (1 / d)).astype(np.float32)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *hoods)

    return sample
