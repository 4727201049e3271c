"""β of next-token probabilities: read where tokens follow fields of known roughness, not where they are noise."""

import jax
import numpy as np
import pytest

from jaxscale import smoothness
from jaxscale.data import manifolds
from jaxscale.studies.target_smoothness import measure


@pytest.fixture(scope="module")
def points():
    return np.asarray(manifolds.flat_torus([1.0]).sample(500, key=jax.random.key(0)), float)


@pytest.fixture(scope="module")
def readings(points):
    """By β: the reading, from points of which one is there twice, of tokens drawn from the softmax of 16 fields."""
    found = {}
    for beta in (0.25, 0.35):
        fields = 8 * smoothness.fractional_field(points, beta, key=jax.random.key(0), fields=16)
        drawn = np.asarray(jax.random.categorical(jax.random.key(0), fields.T))
        found[beta] = measure(np.append(points, points[:1], axis=0), np.append(drawn, 0), key=jax.random.key(1))
    return found


@pytest.mark.parametrize("beta", [0.25, 0.35])
def test_tokens_that_are_nearly_certain_read_half_the_smoothness_of_their_fields(readings, beta):
    """They jump where two fields cross, and a mean square of jumps grows as how often that is, r^β: |Δ| as r^(β/2)."""
    found = readings[beta]
    assert found["identified"] and found["interval"][0] <= beta / 2 <= found["interval"][1]
    assert found["points"] == 500 and len(found["readings"]) == 8


def test_pure_noise_is_not_identified(points):
    found = measure(points, jax.random.randint(jax.random.key(3), (500,), 0, 16), key=jax.random.key(1))
    assert not found["identified"]


def test_too_few_distinct_points_are_no_reading(points):
    assert measure(np.repeat(points[:50], 10, axis=0), np.arange(500) % 7, key=jax.random.key(1)) is None
