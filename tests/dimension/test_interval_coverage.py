"""Intervals at 95% hold the mean reading and, calibrated, the truth, in 95 of 100 repetitions."""

import functools
import importlib.util
import pathlib

import numpy as np
import pytest

BENCHMARK = pathlib.Path(__file__).parents[2] / "benchmarks" / "dimension_coverage.py"
DIMENSIONS = (2, 5, 10)
ESTIMATORS = ("mle k=5", "mle k=20", "twonn", "gride n1=4")


@pytest.fixture(scope="module")
def summary_of():
    """A function (dimension) -> summary by estimator, of 400 uniform samples of 2000 points of a cube."""
    spec = importlib.util.spec_from_file_location("dimension_coverage", BENCHMARK)
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)

    @functools.cache
    def of(d):
        trials = benchmark.read_trials("cube", d, ESTIMATORS, trials=400, clouds=32)
        return {name: benchmark.summary(d, *values) for name, values in zip(ESTIMATORS, trials, strict=True)}

    return of


@pytest.mark.slow
@pytest.mark.parametrize("about", ["mean", "truth_calibrated"])
def test_intervals_cover(summary_of, about):
    covered = np.array([[summary_of(d)[name][f"coverage_of_{about}"] for name in ESTIMATORS] for d in DIMENSIONS])
    # The aim is 93 to 97. The coverage of 400 intervals is known to 1.1, so that a cell within the aim by one unit is
    # observed outside of 92 to 98 less than once in thirty times; the mean over the cells, whose estimators share
    # clouds, is known to 0.5.
    assert np.all((covered > 92) & (covered < 98)), covered
    assert 93 < covered.mean() < 97


@pytest.mark.slow
def test_calibration_takes_the_bias_off(summary_of):
    for d in DIMENSIONS:
        for name in ESTIMATORS:
            row = summary_of(d)[name]
            # What is left is the chance of 32 references, a sixth of the spread of one cloud, and of the families' mix.
            assert abs(row["bias_percent_calibrated"]) < 0.5 * row["spread_percent"], (d, name, row)
    # At ten dimensions the bias is more than the spread, and the raw intervals miss.
    assert summary_of(10)["mle k=20"]["coverage_of_truth"] < 5
