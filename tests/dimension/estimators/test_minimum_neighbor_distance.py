"""MiND_ML maximizes the likelihood its paper writes down, over the reals and over the integers."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from jaxscale import dimension
from jaxscale.errors import InputError

N, K, WIDTH = 600, 7, 8


def cube(d, seed=0):
    """Uniform on a d-cube, turned into WIDTH dimensions."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(WIDTH, WIDTH)))
    return (rng.uniform(size=(N, d)) @ basis[:d]).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("integer", "max_dimension"))
def read(hoods, integer=False, max_dimension=None):
    """The dimension alone: without its error, which halves the cloud, it is quick to compile."""
    return dimension.mind_ml(hoods, k=hoods.k - 1, integer=integer, max_dimension=max_dimension).dimension


def log_likelihood(x, k, d):
    """Σ log g(r_i; k, d) in float64, by brute force."""
    x = np.asarray(x, np.float64)
    distances = np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)
    r = distances[:, 1] / distances[:, k + 1]
    return np.sum(np.log(k * d) + (d - 1) * np.log(r) + (k - 1) * np.log(1 - r**d))


@pytest.mark.thorough
@pytest.mark.parametrize("d", [1, 3, 5])
def test_the_likelihood_of_the_paper_is_maximized(d):
    x = cube(d)
    best = minimize_scalar(lambda e: -log_likelihood(x, K, e), bounds=(0.1, 20), options={"xatol": 1e-9})
    hoods = dimension.neighborhoods(x, K + 1)
    # The maximum is flat: float32 distances, off by 1e-7 relative to log ratios near 0.3, move it by about 1e-6.
    np.testing.assert_allclose(read(hoods), best.x, rtol=1e-5)
    integers = [log_likelihood(x, K, e) for e in range(1, WIDTH + 1)]
    assert read(hoods, integer=True) == 1 + np.argmax(integers)


def test_the_standard_error_is_the_curvature_of_the_likelihood():
    x, h = cube(3), 1e-3
    estimate = dimension.mind_ml(x, k=K)
    d = float(estimate.dimension)
    curvature = -sum(c * log_likelihood(x, K, d + i * h) for i, c in ((-1, 1), (0, -2), (1, 1))) / h**2
    np.testing.assert_allclose(estimate.analytic_standard_error, curvature**-0.5, rtol=1e-3)
    assert estimate.standard_error >= estimate.analytic_standard_error


def test_one_neighbor_is_the_ratio_of_two():
    hoods = dimension.neighborhoods(cube(3), K + 1).nearest(2)
    twonn = jax.jit(lambda hoods: dimension.twonn(hoods).dimension)
    # twonn has N - 1 in place of N.
    np.testing.assert_allclose(read(hoods), twonn(hoods) * N / (N - 1), rtol=1e-5)


def test_the_dimension_stays_within_its_bound():
    hoods = dimension.neighborhoods(cube(5), K + 1)
    assert read(hoods, max_dimension=3) == 3
    assert read(hoods, integer=True, max_dimension=3) == 3
    # A Cantor set has dimension log 2 / log 3 = 0.63: below one is allowed, unless it must be an integer.
    digits = np.random.default_rng(1).integers(0, 2, size=(N, 20)) * 2
    cantor = np.outer(digits @ 3.0 ** -np.arange(1, 21), np.eye(WIDTH)[0]).astype(np.float32)
    hoods = dimension.neighborhoods(cantor, K + 1)
    assert 0.5 < read(hoods) < 0.8
    assert read(hoods, integer=True) == 1


@pytest.mark.thorough
def test_symmetries_and_duplicates_leave_it_alone():
    x = cube(3)
    plain = dimension.mind_ml(x, k=K)
    np.testing.assert_allclose(dimension.mind_ml(x[::-1] * np.float32(1e-3), k=K).dimension, plain.dimension, rtol=1e-5)
    doubled = dimension.neighborhoods(np.concatenate([x, x[:100]]), K + 1)
    assert doubled.duplicates_collapsed == 100
    np.testing.assert_allclose(read(doubled), plain.dimension, rtol=1e-5)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # distinct, at a computed distance of zero
    near = dimension.mind_ml(x, k=K, duplicates="keep")
    assert near.points_used == N - 3 and near.zero_distances == 6
    np.testing.assert_allclose(near.dimension, plain.dimension, rtol=0.02)


def test_points_all_equally_near_do_not_break_the_integer():
    # Every distance is the same, so that every ratio is one.
    hoods = dimension.neighborhoods(cube(3), K + 1)
    assert read(dataclasses.replace(hoods, distances=jnp.ones((N, K + 1))), integer=True) == WIDTH


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    both = lambda hoods: (dimension.mind_ml(hoods, k=K), read(hoods, integer=True))
    assert_equal_to_a_loop(both, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((7, 3)), "k": 6}, "k=7 needs more than 7 points"),
        ({"x": np.zeros((50, 3)), "k": 0}, "k=0 must be an integer of at least 1"),
        ({"x": np.zeros((50, 3)), "max_dimension": 0}, "max_dimension=0 must be an integer of at least 1"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.mind_ml(**arguments)


def test_too_few_neighbors_are_named():
    hoods = dimension.neighborhoods(cube(3), K + 1)
    with pytest.raises(InputError, match="k=6 needs neighborhoods of 6 neighbors"):
        dimension.mind_ml(hoods.nearest(5), k=5)
