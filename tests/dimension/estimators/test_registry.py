"""Every estimator can be had by name, and reads all the neighbors it is given."""

import jax
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.dimension.estimators.registry import at_all_neighbors
from jaxscale.dimension.summary import summary
from jaxscale.errors import InputError

# Fewer than 8 k points: the error is that of the neighbor graph, quick to compile.
X = np.random.default_rng(0).uniform(size=(190, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def hoods():
    return dimension.neighborhoods(X, 24)


def test_names_are_those_of_the_functions():
    assert set(dimension.ESTIMATORS) <= set(dimension.__all__)
    assert list(dimension.ESTIMATORS) == sorted(dimension.ESTIMATORS)


@pytest.mark.parametrize("name", ["ess", "knn_graph", "mle", "pca", "twonn"])
def test_every_name_measures(name, hoods):
    estimate = dimension.ESTIMATORS[name](hoods)
    # A cube of 190 points is mostly boundary, which reads low; the graph's slope is the least certain.
    assert 1.9 < estimate.dimension < 4 and estimate.points_used == len(X)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(dimension.ESTIMATORS) - {"ess", "knn_graph", "mle", "pca", "twonn"}))
def test_every_other_name_measures_too(name, hoods):
    test_every_name_measures(name, hoods)


def test_all_neighbors_are_read(hoods):
    for name, k in (("mle", 24), ("mom", 8), ("correlation_dimension", 8)):
        scale = jax.jit(lambda hoods, name=name: dimension.ESTIMATORS[name](hoods).scale)(hoods.nearest(k))
        far = hoods.distances[:, k - 1]
        # The correlation dimension is read at the median distance of all, the others at the mean.
        expected = np.median(far) if name == "correlation_dimension" else np.mean(far)
        np.testing.assert_allclose(scale, expected, rtol=1e-4)


def test_a_graph_needs_neighbors_to_spare(hoods):
    with pytest.raises(InputError, match="k=4 is too few for 'knn_graph'"):
        dimension.ESTIMATORS["knn_graph"](hoods.nearest(4))


def test_a_function_keeps_its_name():
    def own(hoods):
        return hoods

    assert at_all_neighbors(own) == ("own", own)
    with pytest.raises(InputError, match=r"estimator='own' is not known\. There are abide, bide"):
        at_all_neighbors("own")


def test_a_summary_is_plain_values_and_tells_progress():
    told = []
    said = summary(X, ["mle"], k=24, clusters=np.arange(len(X)) % 3, ks=(24,), report=lambda **step: told.append(step))
    (estimate,), (profile,) = said["estimates"], said["profiles"]
    expected = dimension.mle(X, k=24)
    assert estimate["dimension"] == pytest.approx(float(expected.dimension), rel=1e-5)
    clustered = dimension.clustered_standard_error(expected, np.arange(len(X)) % 3)
    error = max(float(expected.standard_error), float(clustered))
    assert estimate["standard_error"] == pytest.approx(error, rel=1e-3)
    assert profile["k"] == [24] and profile["scale"][0] == pytest.approx(estimate["scale"], rel=1e-5)
    assert not profile["plateau"]["found"]
    assert told == [{"step": step, "steps": 3} for step in range(4)]


@pytest.mark.thorough
def test_a_summary_says_what_a_reading_stands_for():
    x = np.random.default_rng(0).uniform(size=(190, 12)).astype(np.float32)
    groups = np.arange(190) // 19
    said, raw = (summary(x, ["mle"], k=24, clusters=groups, calibrated=flag)["estimates"][0] for flag in (True, False))
    found = dimension.calibrate(x, "mle", k=24)
    assert said["dimension"] == raw["dimension"] < found.dimension
    assert said["calibrated"]["dimension"] == pytest.approx(float(found.dimension), rel=1e-5)
    assert said["calibrated"]["bias"] == pytest.approx(said["dimension"] - said["calibrated"]["dimension"], rel=1e-4)
    # Documents whose tokens depend on each other widen both intervals alike.
    assert said["calibrated"]["standard_error"] >= found.standard_error * (1 - 1e-5)
    assert "clouds of dimension" in said["note"] and "points resolve" in raw["note"] and "calibrated" not in raw


def test_a_summary_has_one_kind_of_profile():
    with pytest.raises(InputError, match="two kinds of profile"):
        summary(X, ks=(4, 8), key=jax.random.key(0))
