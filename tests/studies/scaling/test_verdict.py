"""The verdict: what the intervals say, and no more."""

import dataclasses
import functools

import jax
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import laws, studies, theory
from jaxscale.studies.scaling.verdict import compare

SIZES = tuple(int(n) for n in np.geomspace(1e4, 1e7, 8))
STUDY = studies.DataScaling(sizes=SIZES)


def measured(estimate, standard_error=0.2, points=3600, smoothness=None):
    half = 1.96 * standard_error
    return {
        "estimate": estimate, "standard_error": standard_error, "interval": [estimate - half, estimate + half],
        "layer": 2, "k": 20, "metric": "cosine", "points": points, "per_seed": [], "by_layer": [],
        "smoothness": smoothness,
    }  # fmt: skip


@functools.cache
def fitted(alpha, noise):
    """Rows of runs around n^-alpha, and the law fitted to them."""
    rng = np.random.default_rng(0)
    rows = [
        {"run": f"n={n}_seed={s}", "n": n, "seed": s, "loss": (1.5 + 40 * n**-alpha) * (1 + noise * rng.normal())}
        for n in SIZES
        for s in (0, 1)
    ]
    return rows, laws.fit(rows, law="data", key=jax.random.key(0), resamples=500)


def verdict(
    alpha,
    dimension,
    noise=1e-3,
    edge="",
    points=3600,
    standard_error=0.2,
    schedule="constant",
    smoothness=None,
    back_tested=False,
):
    rows, fit = fitted(alpha, noise)
    rows = [row | {"edge": edge, "stopped": "patience"} for row in rows]
    run = configs.Run(optimizer=configs.Optimizer(schedule=schedule))
    study = dataclasses.replace(STUDY, run=run)
    ahead = laws.back_test(fit, key=jax.random.key(1)) if back_tested else None
    return compare(study, rows, measured(dimension, standard_error, points, smoothness), fit, ahead)


@pytest.mark.thorough
def test_agreement_needs_an_interval_that_could_have_refuted():
    assert verdict(0.25, 6.0)["agreement"] == "consistent"
    assert verdict(0.25, 20.0)["agreement"] == "inconsistent"
    assert verdict(0.25, 6.0, noise=0.2)["agreement"] == "inconclusive"
    assert verdict(0.25, 6.0, standard_error=2.0)["agreement"] == "inconclusive"


def test_a_measured_smoothness_predicts_beside_the_assumed_one_where_it_is_identified():
    reading = {"beta": 0.5, "interval": [0.4, 0.6], "identified": True, "points": 900, "scales": [0.1, 1.0]}
    found = verdict(0.25, 3.0, smoothness=reading)
    at_measured = found["predicted"]["measured_beta"]
    assert at_measured["exponent"] == pytest.approx(theory.data_exponent(3.0, 0.5))
    assert at_measured["interval"][0] < theory.data_exponent(3.0, 0.4) < theory.data_exponent(3.0, 0.6)
    assert at_measured["agreement"] == "consistent" and found["agreement"] == "inconsistent"
    assert "At the measured smoothness β = 0.5 [0.4, 0.6]" in found["sentence"]
    by_chance = {"beta": 0.18, "interval": [0.099, 0.26], "identified": False}
    unknown = verdict(0.25, 3.0, smoothness=reading | by_chance)
    assert unknown["predicted"]["measured_beta"] is None
    (caveat,) = (one["text"] for one in unknown["caveats"] if one["code"] == "assumed_smoothness")
    assert "not identified: at 900 points" in caveat and "drawn by chance" in caveat


def test_intervals_that_all_but_touch_decide_nothing():
    """The prediction is moved across the end of the observed interval: only clearly beyond it do they not meet."""
    observed = laws.Interval(*verdict(0.25, 6.0)["observed"]["exponent_interval"])
    width = observed.upper - observed.lower

    def at(exponent):
        d = float(theory.dimension_from_data_exponent(exponent))
        return verdict(0.25, d, standard_error=1e-6)

    for beyond in (-0.02, 0.02):
        found = at(observed.lower + beyond * width)
        assert found["agreement"] == "inconclusive" and "too close to each other" in found["sentence"]
    assert at(observed.lower + 0.1 * width)["agreement"] == "consistent"
    assert at(observed.lower - 0.1 * width)["agreement"] == "inconsistent"


@pytest.mark.thorough
def test_a_fit_that_does_not_know_its_floor_refutes_nothing():
    """Exactly L = 40 n^-0.1 above no floor: E lies at the end of its range."""
    rng = np.random.default_rng(0)
    sizes = (1000, 2000, 4000, 8000, 16000)
    rows = [
        {
            "run": f"{n} {s}",
            "n": n,
            "seed": s,
            "loss": 40 * n**-0.1 * (1 + 0.01 * rng.normal()),
            "edge": "",
            "stopped": "",
        }
        for n in sizes
        for s in (0, 1)
    ]
    fit = laws.fit(rows, law="data", key=jax.random.key(0), resamples=500)
    assert "irreducible_loss_not_identified" in dict(fit.warnings)
    found = compare(dataclasses.replace(STUDY, sizes=sizes), rows, measured(0.2, 0.01), fit)
    assert found["agreement"] == "inconclusive"
    assert "do not meet, but the exponent depends on a floor" in found["sentence"]


@pytest.mark.thorough
def test_forecasts_of_larger_sizes_are_told():
    found = verdict(0.25, 6.0, back_tested=True)
    assert found["observed"]["back_test"]["error"] < 0.05
    (caveat,) = (one["text"] for one in found["caveats"] if one["code"] == "back_test")
    assert "error of 0." in caveat


def test_prediction_carries_the_interval_of_the_dimension():
    predicted = verdict(0.25, 6.0)["predicted"]
    assert predicted["exponent"] == pytest.approx(theory.data_exponent(6.0))
    assert predicted["interval"] == pytest.approx([float(theory.data_exponent(d)) for d in (6.392, 5.608)])


def test_curves_are_the_fit_and_the_prediction():
    result = verdict(0.25, 6.0, noise=0.0)
    n = np.array(result["observed"]["curve"]["n"])
    np.testing.assert_allclose(result["observed"]["curve"]["loss"], 1.5 + 40 * n**-0.25, rtol=1e-5)
    # The predicted exponent is the true one here, so its curve is the same.
    np.testing.assert_allclose(result["prediction_curve"]["loss"], result["observed"]["curve"]["loss"], rtol=1e-4)
    band = result["prediction_curve"]
    assert np.all(np.array(band["lower"]) <= np.array(band["loss"])) and np.all(
        np.array(band["upper"]) >= np.array(band["loss"])
    )


def test_caveats_say_what_applies():
    codes = lambda **kw: {c["code"] for c in verdict(0.25, 6.0, **kw)["caveats"]}
    assert "edge_optimum" in codes(edge="late")
    assert "early_optimum" in codes(edge="early")
    assert not {"edge_optimum", "early_optimum", "schedule_cut_short"} & codes()
    assert "schedule_cut_short" in codes(schedule="cosine")
    assert "dimension_biased_down" not in codes()
    assert "dimension_biased_down" in codes(points=200)
    assert {"few_seeds", "nested_sizes", "one_setting", "assumed_smoothness", "cross_entropy"} <= codes()
