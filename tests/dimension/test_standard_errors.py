"""Standard errors count the dependence they claim to count."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.standard_errors import graph_variance
from jaxscale.errors import InputError

# The shape of test_mle, so that one process compiles it once.
N, WIDTH, K = 600, 8, 10


def cube(seed, d):
    """Uniform on a d-cube in WIDTH dimensions."""
    return jnp.pad(jax.random.uniform(jax.random.key(seed), (N, d)), ((0, 0), (0, WIDTH - d)))


@pytest.fixture(scope="module")
def estimate():
    return dimension.mle(cube(0, 3), k=K)


def test_graph_variance_sums_the_union_of_edges_once():
    near = dimension.neighbors(cube(0, 3), k=K)
    influence = np.random.default_rng(0).normal(size=N)
    adjacent = np.eye(N, dtype=bool)
    adjacent[np.arange(N)[:, None], near.indices] = True
    adjacent |= adjacent.T
    expected = influence @ adjacent @ influence / N**2
    np.testing.assert_allclose(graph_variance(jnp.asarray(influence), near.indices, N), expected, rtol=1e-4)


def test_analytic_standard_error_is_that_of_independent_neighborhoods(estimate):
    np.testing.assert_allclose(estimate.analytic_standard_error, estimate.dimension / np.sqrt(N * (K - 1)), rtol=1e-5)


@pytest.mark.parametrize("pooling", ["harmonic", "arithmetic"])
def test_influences_are_the_jackknife_of_the_pooling(pooling):
    estimate = dimension.mle(cube(0, 3), k=K, pooling=pooling, normalization="k-1")
    local = np.asarray(estimate.local, np.float64)
    pool = (lambda v: 1 / np.mean(1 / v)) if pooling == "harmonic" else np.mean
    left_out = np.array([pool(np.delete(local, i)) for i in range(N)])
    # The jackknife and the influence agree to the next order, a share of 1/N.
    np.testing.assert_allclose((N - 1) * (pool(local) - left_out), estimate.influence, rtol=0.02, atol=0.02)


def with_influence(estimate, influence):
    return dataclasses.replace(estimate, influence=jnp.asarray(influence), local=jnp.ones(len(influence)))


def test_points_in_groups_of_one_are_independent(estimate):
    clustered = dimension.clustered_standard_error(estimate, np.arange(N))
    np.testing.assert_allclose(clustered, np.std(estimate.influence, ddof=1) / np.sqrt(N), rtol=1e-4)


def test_copies_in_a_group_add_no_information(estimate):
    one_each = with_influence(estimate, estimate.influence)
    four_each = dataclasses.replace(
        with_influence(estimate, jnp.repeat(estimate.influence, 4)), points_used=jnp.asarray(4 * N)
    )
    alone = dimension.clustered_standard_error(one_each, np.arange(N))
    grouped = dimension.clustered_standard_error(four_each, np.repeat(np.arange(N), 4))
    np.testing.assert_allclose(grouped, alone, rtol=1e-5)


def test_documents_of_different_dimension_widen_the_error():
    half = N // 2
    estimate = dimension.mle(jnp.concatenate([cube(0, 2)[:half], 5 + cube(1, 6)[:half]]), k=K)
    documents = np.arange(N) // 30
    # Twenty documents, half of dimension 2 and half near 5: what a new sample would vary by is the spread between them.
    independent = dimension.clustered_standard_error(estimate, np.arange(N))
    assert dimension.clustered_standard_error(estimate, documents) > 2 * independent


def test_clustered_error_works_under_jit_with_empty_groups(estimate):
    documents = np.arange(N) // 10
    jitted = jax.jit(functools.partial(dimension.clustered_standard_error, num_groups=100))
    np.testing.assert_allclose(
        jitted(estimate, documents), dimension.clustered_standard_error(estimate, documents), rtol=1e-6
    )


def test_one_group_has_no_standard_error(estimate):
    assert np.isnan(dimension.clustered_standard_error(estimate, np.zeros(N, int)))


@pytest.mark.parametrize(
    ("groups", "num_groups", "message"),
    [
        (np.zeros(N - 1, int), None, "one integer per point"),
        (np.zeros(N), None, "type float"),
        (np.arange(N), 10, r"must lie in \[0, 10\); they range from 0 to 599"),
        (np.arange(N) - 1, None, "range from -1"),
    ],
)
def test_bad_groups_are_named(estimate, groups, num_groups, message):
    with pytest.raises(InputError, match=message):
        dimension.clustered_standard_error(estimate, groups, num_groups)


def test_groups_under_jit_need_their_number(estimate):
    with pytest.raises(InputError, match="num_groups must be given"):
        jax.jit(dimension.clustered_standard_error)(estimate, jnp.arange(N))
