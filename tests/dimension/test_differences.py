"""The difference of two dimensions, and that its interval covers what it should, paired or not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.errors import InputError

N, K = 240, 8


def cloud(d, n=N, seed=0, width=6):
    """A flat torus of d dimensions."""
    angles = np.random.default_rng(seed).uniform(size=(n, d)) * 2 * np.pi
    x = np.zeros((n, 2 * width), np.float32)
    x[:, :d], x[:, width : width + d] = np.cos(angles), np.sin(angles)
    return x


def layer(x, seed=0, noise=0.02):
    """The same tokens a layer later."""
    return (x + noise * np.random.default_rng(seed).normal(size=x.shape)).astype(np.float32)


@pytest.mark.thorough
def test_it_is_that_of_the_estimates_and_paired_rows_know_it_better():
    a, b = cloud(3), layer(cloud(3))
    found, apart = (dimension.difference(a, b, K, paired=paired) for paired in (True, False))
    one, other = (dimension.mle(x, K) for x in (a, b))
    np.testing.assert_allclose(found.difference, one.dimension - other.dimension, atol=1e-5)
    assert (found.first, found.second) == (one.dimension, other.dimension)
    np.testing.assert_allclose(apart.standard_error, np.hypot(one.standard_error, other.standard_error), rtol=0.05)
    assert found.correlation > 0.5 and found.standard_error < 0.8 * apart.standard_error
    lower, upper = found.interval()
    assert lower < found.difference < upper
    backwards = dimension.difference(b, a, K)
    np.testing.assert_allclose(backwards.difference, -found.difference, atol=1e-5)
    np.testing.assert_allclose(backwards.standard_error, found.standard_error, rtol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("paired", [True, False])
def test_the_interval_covers_what_the_difference_is_on_average(paired):
    """Over 50 clouds and what noise makes of them, at 95%."""
    read = jax.jit(functools.partial(dimension.difference, k=K, paired=paired))

    def one(trial):
        a = cloud(2, seed=trial)
        found = read(a, layer(a if paired else cloud(2, seed=1000 + trial), seed=trial, noise=0.1))
        return found.difference, found.standard_error

    differences, errors = np.array([one(trial) for trial in range(50)]).T
    covered = np.abs(differences - differences.mean()) <= 1.96 * errors
    assert covered.mean() >= 0.9
    np.testing.assert_allclose(np.std(differences), np.sqrt(np.mean(errors**2)), rtol=0.2)


@pytest.mark.thorough
def test_halves_of_documents_allow_for_tokens_that_depend():
    """Each of forty documents is a small cloud of its own, of one dimension to five."""
    rng = np.random.default_rng(0)
    documents = np.repeat(np.arange(40), 25)
    own = np.arange(12) < rng.integers(1, 6, size=40)[:, None]
    a = (10 * rng.normal(size=(40, 12))[documents] + rng.uniform(size=(1000, 12)) * own[documents]).astype(np.float32)
    b = (10 * rng.normal(size=(40, 12))[documents] + rng.uniform(size=(1000, 12)) * own[::-1][documents]).astype(
        np.float32
    )
    alone = dimension.difference(a, b, 3)
    clustered = dimension.difference(a, b, 3, clusters=documents)
    assert clustered.difference == alone.difference
    assert clustered.standard_error > 1.5 * alone.standard_error


@pytest.mark.thorough
def test_other_estimators_and_many_points():
    a, b = cloud(2, 2500), layer(cloud(2, 2500))
    for name in ("twonn", "tle"):
        found = dimension.difference(a, b, K, name)
        assert np.isfinite(found.standard_error) and found.difference < 0


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"b": cloud(2, 100)}, r"240 and 100 rows, .*Pass paired=False"),
        ({"k": 70}, r"k=70 is too many for halves of 240 points\. Pass k=30"),
        ({"clusters": np.zeros(3, int)}, "one integer per point"),
        ({"clusters": np.zeros(N, int), "paired": False}, "clusters are of paired rows"),
        ({"estimator": "mle2"}, "is not known"),
    ],
)
def test_what_cannot_be_compared_is_refused(arguments, sentence):
    with pytest.raises(InputError, match=sentence):
        dimension.difference(**{"a": cloud(2), "b": cloud(2), "k": K} | arguments)


@pytest.mark.thorough
def test_vectors_are_wanted():
    hoods = dimension.neighborhoods(cloud(2), 40)
    given = dimension.Neighborhoods.from_neighbors(hoods.distances, hoods.indices)
    with pytest.raises(InputError, match="difference reads the vectors"):
        dimension.difference(given, jnp.asarray(cloud(2)), K)
