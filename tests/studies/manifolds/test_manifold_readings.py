"""What is read from points and labels, where the dimension and the smoothness are known."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxscale import studies
from jaxscale.studies.manifolds import readings as manifold_readings
from jaxscale.studies.manifolds.problem import make_problem, stack

STUDY = studies.ManifoldStudy(
    dimension=2,
    ambient=4,
    seeds=(0, 1),
    sizes=(16, 32, 64, 128),
    in_excess=1536,
    validation=64,
    test=64,
    target=studies.ManifoldTarget(beta=0.5, octaves=8, noise=0.3),
)


@pytest.fixture(scope="module")
def problems():
    return stack([make_problem(STUDY, seed) for seed in STUDY.seeds])


@pytest.mark.thorough
def test_the_dimension_is_that_of_the_manifold(problems):
    # On S², whose caps have the area of a disk of the same radius, 512 points have no bias at any scale.
    found = manifold_readings.dimension(dataclasses.replace(STUDY, in_excess=512), problems)
    low, high = found["interval"]
    assert low < found["mle"] < high and abs(found["mle"] - 2) < 0.15
    assert len(found["by_scale"]) == 5 and len(found["per_seed"]["twonn"]) == 2
    distances = [one["distance"] for one in found["by_scale"]]
    # k of 512 points on a sphere of radius 1, whose area is 4π, lie within √(4k/512).
    np.testing.assert_allclose(distances, [np.sqrt(4 * one["k"] / 512) for one in found["by_scale"]], rtol=0.15)


@pytest.mark.thorough
def test_the_smoothness_is_that_of_the_target_and_lost_in_noise(problems):
    found = manifold_readings.smoothness(STUDY, problems)
    for name, noise in (("labels", 0.3), ("truth", 0.0)):
        one = found[name]
        assert one["identified"] and one["interval"][0] < 0.5 < one["interval"][1]
        assert abs(one["beta"] - 0.5) < 0.15
        # A nugget is not found on every seed.
        assert 0 <= one["noise"] <= noise + 0.05 and len(one["readings"]) == 2
    first = jax.tree.map(lambda leaf: leaf[:1], problems)
    drowned = dataclasses.replace(first, labels=np.random.default_rng(0).normal(size=first.labels.shape))
    few = dataclasses.replace(STUDY, seeds=(0,), in_excess=512)
    assert not manifold_readings.smoothness(few, drowned)["labels"]["identified"]


@pytest.mark.thorough
def test_an_interval_is_no_narrower_for_many_readings():
    class One:
        beta, interval, noise, scales = 0.5, (0.4, 0.7), 0.0, (0.1, 1.0)

    for count in (1, 9):
        found = manifold_readings._smoothness_of([One()] * count, STUDY)
        np.testing.assert_allclose(found["interval"], [0.4, 0.7])
