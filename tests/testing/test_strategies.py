"""Clouds drawn for tests are what their kind says, and our own estimator stands all of them."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import dimension, testing
from jaxscale.errors import InputError
from jaxscale.testing.clouds import KINDS
from jaxscale.testing.strategies import point_clouds

N, WIDTH = 64, 4
mle = jax.jit(lambda x: dimension.mle(x, k=5).dimension)


def distances(x):
    x = np.float64(x)
    return np.sqrt(np.sum((x[:, None] - x) ** 2, axis=-1))[~np.eye(len(x), dtype=bool)].reshape(len(x), -1)


KIND_HOLDS = {
    "uniform": lambda x: np.all((x >= 0) & (x <= 1)),
    "gaussian": lambda x: np.min(x) < 0,
    "manifold": lambda x: np.max(distances(x)) <= 2 * np.sqrt(WIDTH),
    "duplicates": lambda x: np.min(distances(x)) == 0,
    "outlier": lambda x: np.max(np.min(distances(x), axis=1)) > 100,
    "anisotropic": lambda x: (
        np.sum(np.abs(np.mean(x, axis=0)) > 990) == 1 and np.max(distances(x)) <= 2 * np.sqrt(WIDTH)
    ),
    # Of 63 distances from a point few are different.
    "lattice": lambda x: np.all(x == np.round(x)) and all(len(set(row)) < 32 for row in distances(x)),
    "tiny": lambda x: 0 < np.max(distances(x)) < 1e-24,
    "huge": lambda x: np.max(distances(x)) > 1e24,
}


def test_every_kind_is_described():
    assert set(KIND_HOLDS) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_cloud_is_what_its_kind_says(kind):
    @settings(max_examples=20)
    @given(point_clouds(n=N, width=WIDTH, kinds=(kind,)))
    def holds(x):
        assert x.shape == (N, WIDTH) and x.dtype == np.float32 and np.all(np.isfinite(x))
        assert KIND_HOLDS[kind](x)

    holds()


@settings(max_examples=30)
@given(point_clouds(n=st.integers(2, 30), width=st.integers(1, 9)))
def test_sizes_can_be_drawn(x):
    assert 2 <= x.shape[0] <= 30 and 1 <= x.shape[1] <= 9 and np.all(np.isfinite(x))


@settings(max_examples=40)
@given(point_clouds(n=N, width=WIDTH))
def test_mle_is_finite_and_keeps_still_on_every_kind(x):
    # Columns that stand 10³ away from zero, turned as they are, cost the points four of their seven digits.
    testing.assert_rotation_invariant(mle, x - np.round(np.median(x, axis=0)), rtol=1e-2)
    testing.assert_permutation_invariant(mle, x, rtol=1e-5)


@pytest.mark.parametrize("kinds", [(), ("uniform", "fractal")])
def test_unknown_kinds_are_named(kinds):
    with pytest.raises(InputError, match=r"kinds must name some of uniform, .*; it is \("):
        point_clouds(kinds=kinds)


def test_without_hypothesis_the_extra_is_named():
    program = "import sys; sys.modules['hypothesis'] = None; import jaxscale.testing.strategies"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "pip install 'jaxscale[testing]'" in result.stderr
