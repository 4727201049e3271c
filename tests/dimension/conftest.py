"""Neighborhoods for which the model behind the estimators holds exactly, and what every estimator owes a trace."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension


def with_distances(distances):
    """Neighborhoods at these distances (..., n, k), without edges, so that points count as independent."""
    clouds, points = distances.shape[:-2], distances.shape[:-1]
    return dimension.Neighborhoods(
        points=jnp.zeros((*points, 1)),
        distances=jnp.asarray(distances),
        indices=jnp.full(distances.shape, -1, jnp.int32),
        used=jnp.ones(points, bool),
        multiplicity=jnp.ones(points, jnp.int32),
        duplicates_collapsed=jnp.zeros(clouds, jnp.int32),
        nonfinite_dropped=jnp.zeros(clouds, jnp.int32),
        sound=jnp.ones(clouds, bool),
        rounding_collapsed=jnp.zeros(clouds, jnp.int32),
    )


@pytest.fixture(scope="session")
def neighborhoods_at():
    return with_distances


@pytest.fixture(scope="session")
def poisson_neighborhoods():
    """A function (d, k, n, trials) -> neighborhoods of n independent points in d dimensions, stacked over trials.

    In a Poisson process of constant density the volumes up to successive neighbors are sums of exponentials.
    """

    def sample(d, k, n, trials=1, seed=0):
        volumes = np.random.default_rng(seed).exponential(size=(trials, n, k)).cumsum(axis=-1)
        return with_distances((volumes ** (1 / d)).astype(np.float32))

    return sample


@functools.cache
def few_neighborhoods():
    """Of cubes of dimension three and two, alone, and stacked with a cloud that has a row of nan."""
    rng = np.random.default_rng(0)
    basis, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    clouds = [(side * rng.uniform(size=(75, d)) @ basis[:d]).astype(np.float32) for side, d in ((1, 3), (2, 2))]
    spoiled = clouds[0].copy()
    spoiled[3] = np.nan
    search = functools.partial(dimension.neighborhoods, k=20)
    return [search(x) for x in clouds], jax.jit(jax.vmap(search))(np.stack([*clouds, spoiled]))


@pytest.fixture(scope="session")
def assert_equal_to_a_loop():
    """A function (read, rtol, atol, clouds=None): under jit and vmap at once, `read` says of all what it says of each.

    It is given `clouds`, or, if there are none, neighborhoods of 20 neighbors, for which all tests search but once.
    Beside them stands a cloud with a row of nan, which cannot be refused under a trace: its estimates must be nan.
    """

    def check(read, rtol, atol, clouds=None):
        if clouds is None:
            alone, stacked = few_neighborhoods()
        else:
            alone, spoiled = clouds, np.array(clouds[0])
            spoiled[3] = np.nan
            stacked = np.stack([*clouds, spoiled])
        together = jax.device_get(jax.jit(jax.vmap(read))(stacked))
        *traced, unsound = (jax.tree.map(lambda leaf, i=i: leaf[i], together) for i in range(len(alone) + 1))
        for found, x in zip(traced, alone, strict=True):
            chex.assert_trees_all_close(found, jax.device_get(read(x)), rtol=rtol, atol=atol)
        is_estimate = lambda part: isinstance(part, dimension.Estimate)
        for found in jax.tree.leaves(unsound, is_leaf=is_estimate):
            numbers = (found.dimension, found.standard_error) if is_estimate(found) else (found,)
            assert np.all(np.isnan(numbers))

    return check
