"""Laws that do not describe their runs say so, laws that do are left in peace, and shared errors are no misfit."""

import itertools

import jax
import numpy as np
import pytest

from jaxscale import laws
from jaxscale.laws import bootstrap, misfit
from tests.laws.tables import CHINCHILLA

KEY = jax.random.key(0)
SIZES = np.repeat(np.geomspace(5e7, 1.5e10, 10), 6)
DATA = SIZES * np.tile(np.geomspace(4, 120, 6), 10)


def runs(seed=0, bend=0.0, shared=0.0, noise=0.005, draw=None):
    """Ten model sizes by six amounts of data; losses of the largest sizes are higher by `bend` at the end."""
    rng = np.random.default_rng(seed)
    loss = laws.named("chinchilla").losses(CHINCHILLA, SIZES, DATA)
    share = np.log(SIZES / SIZES.min()) / np.log(SIZES.max() / SIZES.min())
    error = np.sqrt(1 - shared) * (rng.normal(size=60) if draw is None else draw(rng))
    error = error + np.sqrt(shared) * rng.normal(size=10).repeat(6)
    return {
        "N": SIZES,
        "D": DATA,
        "loss": loss * (1 + bend * np.maximum(share - 0.75, 0) / 0.25) * np.exp(noise * error),
    }


def codes(table, law="chinchilla"):
    return {code for code, _ in laws.fit(table, law, resamples=0).warnings}


def share_of(code, tables):
    return np.mean([code in codes(table) for table in tables])


def test_a_bend_at_the_largest_sizes_is_a_trend_and_a_law_that_holds_has_none():
    assert share_of("residual_trend", [runs(seed, bend=0.04) for seed in range(10)]) >= 0.8
    assert share_of("residual_trend", [runs(seed) for seed in range(10)]) <= 0.1


@pytest.mark.thorough
def test_errors_that_sizes_share_or_that_have_long_tails_are_hardly_ever_a_trend_or_outliers():
    long = lambda rng: rng.standard_t(3, size=60) / np.sqrt(3)
    for tables in ([runs(s, shared=0.5) for s in range(60)], [runs(s, draw=long) for s in range(60)]):
        assert share_of("residual_trend", tables) <= 0.1
        assert share_of("outlier_runs", tables) <= 0.1


def test_an_f_test_is_that_of_least_squares_with_and_without_what_is_added():
    """Of independent errors: the ratio of sums of squares that a textbook forms."""
    from scipy import stats

    fitted = laws.fit(runs(), "chinchilla", resamples=0, groups=None)
    task, z = fitted.problem, fitted.search.z
    curve, jacobian = bootstrap.linearized(task, z)
    index = np.arange(60) % 4
    levels = np.eye(4)[index][:, 1:]
    error = task.target - curve
    left = lambda columns: np.sum((error - columns @ np.linalg.lstsq(columns, error, rcond=None)[0]) ** 2)
    own = jacobian / np.linalg.norm(jacobian, axis=0)
    few, many = left(own), left(np.concatenate([own, levels], axis=1))
    p = stats.f.sf((few - many) / 3 / (many / (60 - 8)), 3, 60 - 8)
    assert misfit.levels(task, z, fitted.runs, index).p == pytest.approx(p, rel=1e-6)


def test_runs_of_two_data_sets_are_no_one_law():
    table = runs()
    parts = np.tile(["c4", "pile"], 30)
    assert "several_laws" not in codes(table | {"dataset": parts})
    apart = table | {"dataset": parts, "loss": table["loss"] * np.where(parts == "pile", 1.02, 1.0)}
    found = dict(laws.fit(apart, "chinchilla", resamples=0).warnings)
    assert "differ in dataset" in found["several_laws"]


def test_names_of_sizes_are_no_labels_of_other_laws():
    """Each size has a name and an error that its runs share, which of themselves are one level each."""
    names = np.repeat([f"model{index}" for index in range(10)], 6)
    tables = [runs(seed, shared=0.5) | {"model": names} for seed in range(20)]
    assert share_of("several_laws", tables) == 0


def test_runs_at_one_ratio_of_data_to_size_have_one_diagnosis_of_their_terms():
    table = runs()
    table["D"] = 20 * table["N"]
    found = codes(table)
    assert "collinear_columns" in found
    assert not found & {"dead_term", "not_identified", "exponent_at_bound", "rare_optimum", "wide_interval"}
    assert "collinear_columns" not in codes(runs())


@pytest.mark.thorough
def test_a_law_that_does_not_fit_refutes_nothing_and_implies_no_dimension():
    bent = laws.fit(runs(bend=0.04), "chinchilla", key=KEY, resamples=100)
    assert "residual_trend" in dict(bent.warnings)
    for one in laws.against_theory(bent, d=40.0).exponents:
        assert one.law_fails and one.agreement != "inconsistent"
        assert np.isnan(one.implied_dimension.estimate)
    straight = laws.fit(runs(), "chinchilla", key=KEY, resamples=100)
    assert not any(one.law_fails for one in laws.against_theory(straight, d=40.0).exponents)


def test_a_span_of_less_than_a_third_of_a_decade_determines_no_exponent():
    n = np.repeat(np.geomspace(1e5, 2e5, 7), 2)
    noise = np.exp(1e-4 * np.random.default_rng(0).normal(size=14))
    found = dict(laws.fit({"n": n, "loss": (1.5 + 2 * (n / 1e5) ** -0.3) * noise}, "data", resamples=0).warnings)
    assert "span 0.3 decades" in found["not_identified"]


@pytest.mark.thorough
def test_few_groups_are_not_taken_for_independent_runs():
    few = SIZES < 2e9
    table = {name: values[few] for name, values in runs(shared=0.5).items()}
    grouped = laws.fit(table, "chinchilla", key=KEY, resamples=200)
    assert grouped.bootstrap == "mixed" and grouped.runs.groups == 6
    fewer = {name: values[SIZES[few] < 1e9] for name, values in table.items()}
    found = laws.fit(fewer, "chinchilla", key=KEY, resamples=200)
    assert found.runs.groups == 5 and "few_groups" in dict(found.warnings)
    alone = laws.fit(fewer, "chinchilla", key=KEY, resamples=200, groups=None)
    width = lambda fit: np.subtract(*fit.intervals["alpha"][::-1])
    assert width(found) > width(alone)


@pytest.mark.thorough
def test_errors_drawn_anew_are_as_large_as_the_residuals_say():
    """Independent errors: t of R - P degrees of freedom; shared ones: their variances on average those of the truth."""
    fitted = laws.fit(runs(shared=0.5), "chinchilla", resamples=0)
    task, found = fitted.problem, fitted.search
    curve, jacobian = bootstrap.linearized(task, found.z)
    error = task.target - curve
    error = error - bootstrap.basis(jacobian) @ (bootstrap.basis(jacobian).T @ error)
    alone = bootstrap.components(KEY, task, found, None, 4000).target - curve
    assert np.mean(alone**2) == pytest.approx(error @ error / (60 - 5 - 2), rel=0.05)
    within, between = [], []
    for seed in range(20):
        fitted = laws.fit(runs(seed, shared=0.5), "chinchilla", resamples=0)
        curve = bootstrap.linearized(fitted.problem, fitted.search.z)[0]
        drawn = bootstrap.components(KEY, fitted.problem, fitted.search, fitted.runs.group, 400).target - curve
        of_groups = drawn.reshape(400, 10, 6)
        within.append(np.median(of_groups.var(axis=2, ddof=1).mean(axis=1)))
        between.append(np.median(of_groups.mean(axis=2).var(axis=1, ddof=1)))
    truth = 0.5 * 0.005**2
    assert np.median(within) == pytest.approx(truth, rel=0.25)
    assert np.median(between) == pytest.approx(truth * (1 + 1 / 6), rel=0.6)


@pytest.mark.thorough
@pytest.mark.parametrize("noise", [0.05, 0.2])
def test_four_terms_have_one_optimum_in_whatever_order_they_are_named(noise):
    rng = np.random.default_rng(9)
    ranges = {"N": (6, 9), "D": (8, 11), "width": (2, 4), "depth": (0.5, 2)}
    table = {name: 10 ** rng.uniform(*ends, 40) for name, ends in ranges.items()}
    loss = 1.5 + 300 * table["N"] ** -0.34 + 400 * table["D"] ** -0.28
    loss += 0.5 * table["width"] ** -0.3 + 0.1 * table["depth"] ** -0.3
    table["loss"] = loss * np.exp(noise * rng.laplace(size=40))
    orders = [order for order in itertools.permutations(ranges) if order[0] in ("N", "width")][::4]
    fits = [laws.fit(table, "additive:" + ",".join(order), resamples=0) for order in orders]
    totals = np.array([fit.total for fit in fits])
    assert totals.max() <= totals.min() * (1 + 1e-6)
    assert all(np.min(fit.convergence.totals) >= fit.total * (1 - 1e-9) for fit in fits)


def test_no_given_parameters_are_better_than_the_optimum():
    table = runs(noise=0.05)
    for parameters in (CHINCHILLA, laws.fit(table, "chinchilla", resamples=0).parameters):
        assert laws.evaluate(table, "chinchilla", parameters).excess >= -1e-9


@pytest.mark.thorough
def test_forecasts_that_fail_are_said_and_refute_nothing():
    """Losses of the largest sizes that lie higher than those of the smaller let expect."""
    n = np.repeat(np.geomspace(1e4, 1e8, 12), 3)
    rng = np.random.default_rng(0)
    bent = {"n": n, "loss": (1.5 + 2 * (n / 1e4) ** -0.6 + 0.3 * (n > 3e6)) * np.exp(0.002 * rng.normal(size=36))}
    fitted = laws.fit(bent, "data", key=KEY, resamples=100)
    said = laws.document(fitted, laws.against_theory(fitted, d=40.0), key=KEY)
    assert "forecast_failed" in [one["code"] for one in said["caveats"]] and said["agreement"] != "inconsistent"
    true = {"n": n, "loss": (1.5 + 2 * (n / 1e4) ** -0.3) * np.exp(0.002 * rng.normal(size=36))}
    said = laws.document(laws.fit(true, "data", key=KEY, resamples=100), key=KEY)
    assert "forecast_failed" not in [one["code"] for one in said["caveats"]]
