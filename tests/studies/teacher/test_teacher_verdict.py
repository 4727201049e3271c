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
