"""What is said of a layer's references beside its geometry, from errors made up."""

import numpy as np
import pytest

from jaxscale import studies
from jaxscale.studies.teacher import readings, verdict

STUDY = studies.TeacherStudy(resamples=100)
SIZES = (448, 963, 2069, 4446, 9552, 20521)
KNOWN = {"beta": 1.0, "interval": [1.0, 1.0], "identified": True, "reasons": []}


def said(exponent, variances=None, factor=1.0):
    """The layer of dimension two, or `factor` times as much, whose neighbors err as a power of n over variances."""
    n = np.array(SIZES) / (1 if variances is None else variances)
    errors = n[:, None, None] ** -exponent * np.exp(0.002 * np.random.default_rng(0).normal(size=(6, 3, 30)))
    reference = {"layer": 3, "reference": "neighbors", "sizes": SIZES, "settings": [8] * 6, "errors": errors.tolist()}
    if variances is not None:
        reference["variances"] = variances.tolist()
    ends = [1.97 * factor, 2.03 * factor]
    reading = {"layer": 3, "dimension": {"dimension": 2.0 * factor, "interval": ends}, "smoothness": KNOWN}
    reading["predicted"] = readings.predictions(STUDY, reading)
    layer = verdict._layer(STUDY, reading, [reference], np.full(30, 1 / 30), {"interval": [0.0, 1.0]})
    return layer["references"]["neighbors"]


def test_neighbors_are_held_against_a_prediction_at_equal_noise():
    falling = 1 + 0.5 * (np.array(SIZES) / SIZES[0]) ** -0.3
    found = said(0.5, falling)
    assert found["exponent"] > 0.52
    assert found["at_equal_noise"]["exponent"] == pytest.approx(0.5, abs=0.005)
    assert found["agreement"]["measured"] == "consistent"


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_half_and_twice_the_dimension_are_refuted(factor):
    assert said(0.5)["agreement"]["measured"] == "consistent"
    assert said(0.5, factor=factor)["agreement"]["measured"] == "inconsistent"


def of_students(errors):
    """The verdict on students with these errors (sizes, seeds, documents), of a layer of dimension two."""
    alike = {"width": 64, "learning_rate": 0.002, "weight_decay": 1.0, "step": 5, "steps": 10, "validation": 1.0}
    rows = [alike | {"n": n, "seed": seed, "noisy": True} for n in STUDY.sizes for seed in STUDY.seeds]
    reached = alike | {"n": 9999, "seed": 0, "noisy": False, "squared_error_on_training_windows": 1e-9}
    reading = {"layer": 3, "dimension": {"dimension": 2.0, "interval": [1.95, 2.05]}, "smoothness": KNOWN}
    reading["predicted"] = readings.predictions(STUDY, reading)
    facts = {"constant": {"squared": 2.0, "divergence": 2.0}, "teacher_is_own": False}
    both = {"squared": errors, "divergence": errors}
    return verdict.verdict(STUDY, rows, [*rows, reached], both, np.arange(30), [reading], [], facts)


def test_an_exponent_that_changes_over_the_sizes_decides_only_where_both_its_ends_miss():
    n = np.array(STUDY.sizes) / STUDY.sizes[0]
    chance = np.exp(0.002 * np.random.default_rng(0).normal(size=(7, 3, 30)))
    straight = of_students(n[:, None, None] ** -0.5 * chance)
    assert straight["agreement"] == "consistent" and "all the same" not in straight["sentence"]
    bent = of_students(np.exp(-0.39 * np.log(n) - 0.024 * np.log(n) ** 2)[:, None, None] * chance)
    assert bent["tests"][0]["agreement"] == "consistent" and bent["agreement"] == "inconclusive"
    assert "The verdict is inconclusive all the same, since the exponent changes over the sizes." in bent["sentence"]
    far = of_students(np.exp(-0.05 * np.log(n) - 0.01 * np.log(n) ** 2)[:, None, None] * chance)
    assert "bend" in {one["code"] for one in far["caveats"]} and far["agreement"] == "inconsistent"
