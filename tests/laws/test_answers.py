"""What a fit is asked: the loss of a run to come, the split of a budget, parameters held, quantiles, counts of FLOP."""

import csv
import dataclasses
import json
import re

import jax
import numpy as np
import pytest
from scipy import optimize

from jaxscale import cli, errors, laws, verdict
from jaxscale.laws import answers, compute_optimal, holding, starts
from tests.laws.tables import CHINCHILLA, SIZES, isoflop_grid, power_law

KEY = jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """The bottoms of isoFLOP curves need more only for the tails of their intervals."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compute_optimal, "_DRAWS", 60)
        yield


def with_law(fitted, name, parameters):
    """A fit that says it has another law and its parameters, without draws."""
    return dataclasses.replace(
        fitted, law=laws.named(name), parameters=parameters, draws={}, intervals={}, fixed={}, resamples=0
    )


# What loss will it reach?


@pytest.mark.thorough
def test_the_expected_loss_is_the_curve_and_one_run_scatters_around_it(chinchilla):
    answer = laws.predict_run(chinchilla, {"N": 7e9, "D": 2e12}, key=KEY)
    assert answer.loss.estimate == chinchilla.predict(7e9, 2e12)
    assert answer.loss.interval == pytest.approx(chinchilla.band(7e9, 2e12))
    assert answer.new_run.lower < answer.loss.interval.lower < answer.loss.interval.upper < answer.new_run.upper
    # Laplace errors of 0.3%: 95% of new runs are within 0.3% times log(20) of the curve.
    half = (answer.new_run.upper - answer.new_run.lower) / 2 / answer.loss.estimate
    assert 0.003 * np.log(20) < half < 2.5 * 0.003 * np.log(20)


def test_an_extrapolation_says_how_far_it_goes(chinchilla):
    runs = chinchilla.runs.columns
    answer = laws.predict_run(chinchilla, {"D": 2e12, "N": 7e10}, key=KEY)
    assert list(answer.columns) == ["N", "D"]
    ratios = {
        "N": 7e10 / runs["N"].max(),
        "D": 2e12 / runs["D"].max(),
        "C": 7e10 * 2e12 / np.max(runs["N"] * runs["D"]),
    }
    assert answer.beyond == pytest.approx({name: ratio for name, ratio in ratios.items() if ratio > 1})
    assert f"N is {ratios['N']:.3g} times past the largest" in answer.sentence
    inside = laws.predict_run(chinchilla, dict(zip("ND", (x[20] for x in runs.values()), strict=True)), key=KEY)
    assert not inside.beyond and inside.sentence == "Within the range of the runs."
    below = laws.predict_run(chinchilla, {"N": runs["N"].min() / 2, "D": runs["D"][0]}, key=KEY)
    assert below.beyond["N"] == pytest.approx(0.5) and "N is 0.5 of the smallest" in below.sentence


def test_a_column_that_is_missing_follows_from_others(chinchilla):
    told = laws.predict_run(chinchilla, {"N": 7e9, "C": 6 * 7e9 * 2e12}, key=KEY)
    assert told.columns == pytest.approx({"N": 7e9, "D": 2e12})


@pytest.mark.parametrize(
    ("sizes", "named"),
    [
        ({"N": 7e9}, "lack D, which law 'chinchilla' reads"),
        ({"N": 7e9, "D": 2e12, "width": 3}, "width is no column of law 'chinchilla'"),
        ({"N": 7e9, "D": -1.0}, "D=.* must be positive"),
        ({"N": "7B", "D": 2e12}, "N='7B' must be a number"),
        ([7e9], "is no mapping"),
    ],
)
def test_sizes_that_a_law_cannot_read_are_refused(chinchilla, sizes, named):
    with pytest.raises(errors.InputError, match=named):
        laws.predict_run(chinchilla, sizes, key=KEY)


def test_sizes_are_written_with_units_or_as_numbers():
    assert answers.parse_sizes("N=7B,D=2T") == {"N": 7e9, "D": 2e12}
    assert answers.parse_sizes("n=1.5e3k, M=20, x=3G,y=.5m") == {"n": 1.5e6, "M": 20.0, "x": 3e9, "y": 5e5}
    for text in ("N", "N=", "N=7X", "N=-7B", "N=7B,N=8B", "N=7BB", "N=0", "N=inf", "N=1e999"):
        with pytest.raises(errors.InputError, match="predict="):
            answers.parse_sizes(text)


def test_both_parts_of_the_variance_are_found_whatever_the_fit_followed():
    """Expectations over errors of known variances, that of each run and that of its group, in a linear model."""
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(8), 5)
    size = rng.normal(size=8)[group]  # as sizes do, it varies between groups only
    jacobian = np.stack([np.ones(40), size, rng.normal(size=40)], axis=1)
    hat = np.linalg.pinv(jacobian)
    errors_Bx40 = 0.5 * rng.normal(size=(4000, 40)) + 0.8 * rng.normal(size=(4000, 8))[:, group]
    residuals = errors_Bx40 - errors_Bx40 @ hat.T @ jacobian.T
    found = np.array([answers.variances(residual, jacobian, hat, group) for residual in residuals])
    np.testing.assert_allclose(found.mean(0), [0.25, 0.64], rtol=0.04)
    single = answers.variances(residuals[0], jacobian, hat, None)
    assert single == (pytest.approx(residuals[0] @ residuals[0] / 37), 0.0)


def test_runs_that_share_errors_scatter_more_about_a_new_size(chinchilla):
    """The same residuals, once in any order and once alike within a size."""
    runs = chinchilla.runs
    alike = np.sort(chinchilla.residuals)
    group = np.repeat(np.arange(18), 3)
    of = lambda residuals, group: answers.scatter(
        dataclasses.replace(chinchilla, residuals=residuals, runs=dataclasses.replace(runs, group=group))
    )
    independent, shared = of(alike, None), of(alike, group)
    assert np.std(independent.deviations) == pytest.approx(np.sqrt(np.sum(alike**2) / (54 - 5)), rel=0.02)
    assert independent.freedom == 49 and shared.freedom < 25
    assert np.std(shared.deviations) > np.std(independent.deviations)


@pytest.mark.slow
@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_new_runs_fall_into_their_interval_as_often_as_it_says(shared):
    """Of 40 tables 95% is 38 ± 1.4."""
    inside_curve = inside_run = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        sizes = np.append(SIZES, 3e7)
        noise = np.sqrt(1 - shared) * rng.normal(size=15) + np.sqrt(shared) * rng.normal(size=8)[np.arange(15) // 2]
        curve = lambda n: 1.5 + 2.0 * (n / 1e5) ** -0.3
        *losses, new = curve(sizes) * np.exp(0.01 * noise)
        fitted = laws.fit({"n": SIZES, "loss": np.array(losses)}, key=jax.random.key(seed), resamples=400)
        answer = laws.predict_run(fitted, {"n": 3e7}, key=seed)
        inside_curve += answer.loss.interval.lower <= curve(3e7) <= answer.loss.interval.upper
        inside_run += answer.new_run.lower <= new <= answer.new_run.upper
    assert inside_curve >= 33 and inside_run >= 34


# How to split a budget?


OTHERS = {
    "chinchilla": CHINCHILLA,
    "tied": {"E": 1.7, "A": 300.0, "B": 500.0, "alpha": 0.3},
    "kaplan": {"N_c": 8.8e13, "D_c": 5.4e13, "alpha_N": 0.076, "alpha_D": 0.103},
    "skaling": {"E": 1.7, "A": 500.0, "B": 300.0, "alpha": 0.35, "beta": 0.3, "k": 1.2},
}


@pytest.mark.parametrize("name", OTHERS)
def test_the_best_split_and_its_valley_are_those_of_a_brute_force_search(chinchilla, name):
    fitted, budget = with_law(chinchilla, name, OTHERS[name]), 1e24
    answer = laws.split_budget(fitted, budget)
    at = lambda log_N: float(fitted.law.losses(fitted.parameters, np.exp(log_N), budget / 6 / np.exp(log_N)))
    found = optimize.minimize_scalar(at, bracket=(20.0, 26.0, 32.0), options={"xtol": 1e-10})
    assert answer.best.size.estimate == pytest.approx(np.exp(found.x), rel=1e-3)
    assert answer.best.loss.estimate == pytest.approx(found.fun, rel=1e-9)
    assert answer.best.data.estimate * answer.best.size.estimate * 6 == pytest.approx(budget)
    grid = np.linspace(found.x - 4, found.x + 4, 20_001)
    within = grid[fitted.law.losses(fitted.parameters, np.exp(grid), budget / 6 / np.exp(grid)) <= 1.001 * found.fun]
    np.testing.assert_allclose(np.log([answer.valley.lower, answer.valley.upper]).ravel(), within[[0, -1]], atol=1e-3)


def test_a_budget_has_intervals_and_says_how_far_it_is(chinchilla):
    answer = laws.split_budget(chinchilla, [1e20, 1e24])
    for quantity in (answer.best.size, answer.best.data, answer.best.loss):
        assert (quantity.interval.lower < quantity.estimate).all() and (
            quantity.estimate < quantity.interval.upper
        ).all()
    assert answer.beyond == pytest.approx(np.array([1e20, 1e24]) / 3e21)
    assert (answer.valley.lower < answer.best.size.estimate).all()
    wider = laws.split_budget(chinchilla, [1e20, 1e24], within=1e-2)
    assert (wider.valley.upper > answer.valley.upper).all()


def test_a_loss_that_does_not_depend_on_size_has_a_valley_without_end(chinchilla):
    """Without a term of N, the smallest model is best; without a term of D, the largest."""
    flat = with_law(chinchilla, "skaling", OTHERS["skaling"] | {"A": 1e-9})
    answer = laws.split_budget(flat, 1e24)
    assert answer.valley.lower < answer.best.size.estimate < answer.valley.upper


def test_a_law_without_both_columns_splits_nothing(chinchilla):
    with pytest.raises(errors.InputError, match=r"law='model' reads N.*chinchilla, tied, kaplan, kaplan_floor"):
        laws.split_budget(with_law(chinchilla, "model", {"E": 1.7, "A": 300.0, "alpha": 0.3}), 1e24)
    for compute in (-1.0, [1e24, np.inf], "1e24"):
        with pytest.raises(errors.InputError, match="compute="):
            laws.split_budget(chinchilla, compute)
    with pytest.raises(errors.InputError, match="within=0"):
        laws.split_budget(chinchilla, 1e24, within=0)


# IsoFLOP curves beside the surface


def off_center(shift=0.7):
    """Noiseless runs around the best sizes of Hoffmann's law, but too large by more and more."""
    budgets = np.geomspace(1e19, 3e21, 6)
    alpha, beta = CHINCHILLA["alpha"], CHINCHILLA["beta"]
    best = (alpha * CHINCHILLA["A"] / (beta * CHINCHILLA["B"])) ** (1 / (alpha + beta)) * (budgets / 6) ** (
        beta / (alpha + beta)
    )
    drift = np.exp(shift * np.linspace(0.0, 1.0, 6))
    N = (best * drift)[:, None] * np.geomspace(0.15, 6.0, 9)
    D = budgets[:, None] / 6 / N
    loss = CHINCHILLA["E"] + CHINCHILLA["A"] * N**-alpha + CHINCHILLA["B"] * D**-beta
    return {"N": N.ravel(), "D": D.ravel(), "loss": loss.ravel()}, budgets, best


@pytest.mark.parametrize("shift", [-0.7, 0.7])
def test_the_bias_of_a_parabola_is_what_it_adds_to_the_surfaces_exponent(chinchilla, shift):
    """Parabolas by hand, on a table without noise whose truth is known."""
    table, budgets, best = off_center(shift)
    surface = with_law(chinchilla, "chinchilla", CHINCHILLA)
    found = laws.isoflop(table, "parabola", key=KEY, surface=surface)
    by_hand = []
    for N, loss in zip(table["N"].reshape(6, 9), table["loss"].reshape(6, 9), strict=True):
        curvature, slope, _ = np.polyfit(np.log(N), loss, 2)
        by_hand.append(-slope / (2 * curvature))
    exponent = np.polyfit(np.log(budgets), by_hand, 1)[0]
    truth = CHINCHILLA["beta"] / (CHINCHILLA["alpha"] + CHINCHILLA["beta"])
    assert abs(exponent - truth) > 2e-3  # or nothing is said of a sign
    assert found.bias == pytest.approx(exponent - truth, abs=1e-6)
    assert found.size_exponent.estimate - found.bias == pytest.approx(truth, abs=1e-6)
    np.testing.assert_allclose(found.size_bias, np.exp(by_hand) / best, rtol=1e-5)


def test_the_spline_is_the_default_and_hardly_biased(chinchilla):
    table, _, best = off_center()
    surface = with_law(chinchilla, "chinchilla", CHINCHILLA)
    akima, parabola = (laws.isoflop(table, *method, key=KEY, surface=surface) for method in ((), ("parabola",)))
    assert akima.method == "akima" and abs(akima.bias) < 0.3 * abs(parabola.bias)
    np.testing.assert_allclose(akima.size, best, rtol=0.05)
    assert (akima.size_interval.lower <= akima.size).all() and (akima.size <= akima.size_interval.upper).all()


def test_runs_that_hardly_differ_in_compute_are_budgets_of_a_width(chinchilla):
    """C in a chain over all budgets: no gap between two runs, though the ends are three hundred times apart."""
    table, _, _ = off_center()
    chained = table | {"C": np.geomspace(1e19, 3e21, 54)[np.argsort(np.argsort(table["N"] * table["D"]))]}
    surface = with_law(chinchilla, "chinchilla", CHINCHILLA)
    with pytest.raises(errors.InputError, match="0 budgets"):  # 11% apart
        laws.isoflop(chained, key=KEY, surface=surface)
    table["D"] = table["D"] * np.exp(np.random.default_rng(0).uniform(-0.05, 0.05, 54))
    said = dict(laws.isoflop(table, key=KEY, surface=surface).findings)
    assert "wide_budgets" in said
    extra = {name: np.append(values, 2 * values[0]) for name, values in off_center()[0].items()}
    assert "1 of 55 runs" in dict(laws.isoflop(extra, key=KEY, surface=surface).findings)["runs_off_budgets"]


# How is compute counted?


def shaped(table):
    """Layers and width that a model of N parameters has, context and vocabulary that do not depend on it."""
    width = 64 * (table["N"] / 1e7) ** (1 / 3)
    same = np.ones_like(width)
    return table | {"width": width, "layers": width / 64, "context": 2048 * same, "vocabulary": 50257 * same}


def test_conventions_count_what_they_say():
    table = shaped(isoflop_grid())
    N, D, width = table["N"], table["D"], table["width"]
    plain, embeddings, attention = (
        laws.count_flops(table, by).table["C"] for by in ("6ND", "with-embeddings", "with-attention")
    )
    np.testing.assert_allclose(plain, 6 * N * D)
    np.testing.assert_allclose(embeddings, 6 * (N + 50257 * width) * D)
    np.testing.assert_allclose(attention, (6 * N + 12 * table["layers"] * width * 2048) * D)
    # What a token costs at a size that was not trained.
    count = laws.count_flops(table, "with-embeddings")
    assert count.per_token(1e12) == pytest.approx(6 * (1e12 + 50257 * 64 * 1e5 ** (1 / 3)))
    days = laws.count_flops(table | {"days": plain / 8.64e19}, "days")
    assert days.per_token(1e12) * 8.64e19 == pytest.approx(6e12)


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ("with-attention", "no layers and no width and no context.*--map layers=SOURCE width=SOURCE context=SOURCE"),
        ("with-embeddings", "no vocabulary and no width"),
        ("6nd", "did you mean '6ND'"),
        ("flop", "neither a convention nor a column"),
    ],
)
def test_a_count_without_its_columns_names_them(by, named):
    with pytest.raises(errors.InputError, match=named):
        laws.count_flops(isoflop_grid(), by)


def test_the_best_split_is_that_of_the_count(chinchilla):
    table = shaped(isoflop_grid())
    count = laws.count_flops(table, "with-attention")
    answer = laws.split_budget(with_law(chinchilla, "chinchilla", CHINCHILLA), 1e21, flops=count)
    at = lambda log_N: (
        CHINCHILLA["A"] * np.exp(-CHINCHILLA["alpha"] * log_N)
        + CHINCHILLA["B"] * (1e21 / count.per_token(np.exp(log_N))) ** -CHINCHILLA["beta"]
    )
    found = optimize.minimize_scalar(at, bracket=(18.0, 21.0, 26.0))
    assert answer.best.size.estimate == pytest.approx(np.exp(found.x), rel=1e-3)
    assert answer.flops == "(6 N + 12 layers width context) D"
    # A C that is 6 N D in another unit splits as that does.
    days = laws.count_flops(table | {"days": 6 * table["N"] * table["D"] / 8.64e19}, "days")
    plain = laws.split_budget(chinchilla, 1e21)
    same = laws.split_budget(chinchilla, 1e21 / 8.64e19, flops=days)
    np.testing.assert_allclose(same.best.size.estimate, plain.best.size.estimate, rtol=1e-3)
    np.testing.assert_allclose(same.valley, plain.valley, rtol=1e-2)


def test_a_column_that_no_power_of_size_explains_is_said():
    table = isoflop_grid()
    table["C"] = 6 * table["N"] * table["D"] * np.random.default_rng(0).uniform(0.5, 1.5, 54)
    assert "flops_vary" in dict(laws.count_flops(table, "C").findings)


# What if a parameter is held?


def least_at(data, E):
    """Least squares of log residuals with E held, by SciPy."""
    residuals = lambda p: np.log(E + np.exp(p[0]) * (data["n"] / 1e6) ** -p[1]) - np.log(data["loss"])
    found = optimize.least_squares(residuals, [np.log(0.5), 0.3], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    return found.cost, np.exp(found.x[0]) * 1e6 ** found.x[1], found.x[1]


@pytest.mark.parametrize("E", [0.0, 1.3, 1.6])
def test_the_others_are_fitted_with_a_parameter_held(E):
    data = power_law(noise=0.003)
    fitted = laws.fit(data, objective=laws.least_squares(), fixed={"E": E}, resamples=0)
    cost, A, alpha = least_at(data, E)
    assert fitted.parameters["E"] == E
    assert fitted.total == pytest.approx(cost, rel=1e-9)
    assert [fitted.parameters[name] for name in ("A", "alpha")] == pytest.approx([A, alpha], rel=1e-5)


@pytest.mark.parametrize("held", [[1.3, np.nan, np.nan], [np.nan, 0.4, np.nan], [9.0, np.nan, 0.0], [1.0, 0.1, 0.2]])
def test_starts_are_the_best_with_it_held(held):
    """Non-negative least squares of what is left, by SciPy."""
    rng, held = np.random.default_rng(0), np.array(held)
    basis, loss, weight = rng.uniform(size=(4, 3, 16)), rng.uniform(1, 3, size=(1, 16)), rng.uniform(size=(1, 16))
    with jax.enable_x64(True):
        found = starts.project(basis, loss, weight, held)
    root, free, known = np.sqrt(weight[0]), np.isnan(held), np.nan_to_num(held)
    for point in range(4):
        left = root * (loss[0] - known @ basis[point])
        best, norm = optimize.nnls((root * basis[point][free]).T, left) if free.any() else ([], np.linalg.norm(left))
        np.testing.assert_allclose(found.linear[0, point][free], best, atol=1e-9)
        np.testing.assert_array_equal(found.linear[0, point][~free], held[~free])
        assert found.excess[0, point] == pytest.approx(norm**2, rel=1e-9)


def test_a_scale_is_held_in_the_tables_units_and_an_exponent_as_it_is():
    data = power_law(noise=0.003)
    free = laws.fit(data, resamples=0).parameters
    for name in ("A", "alpha"):
        held = laws.fit(data, fixed={name: free[name]}, resamples=0)
        assert held.parameters[name] == free[name]
        assert held.parameters == pytest.approx(free, rel=1e-5)
    both = laws.fit(data, fixed={"A": free["A"], "alpha": free["alpha"]}, resamples=0)
    assert both.parameters == pytest.approx(free, rel=1e-6)


@pytest.mark.thorough
def test_every_resample_holds_it_and_intervals_are_conditional():
    data = power_law(noise=0.003)
    free = laws.fit(data, key=KEY, resamples=100)
    held = laws.fit(data, key=KEY, resamples=100, fixed={"E": 1.5})
    assert (held.draws["E"] == 1.5).all()
    width = lambda fitted: np.subtract(*fitted.intervals["alpha"])
    assert 0 < -width(held) < -0.5 * width(free)
    assert "held_parameters" in dict(held.warnings) and "E = 1.5 was held" in dict(held.warnings)["held_parameters"]
    assert "E" not in held.flatness and "irreducible_loss_not_identified" not in dict(held.warnings)
    assert (held.influence.parameters["E"] == 1.5).all()
    with pytest.raises(errors.InputError, match=r"'E' is held at 1\.5"):
        laws.profile(held, "E")
    assert laws.profile(held, "alpha").interval.lower < held.parameters["alpha"]
    summary = held.summary()
    assert summary["fixed"] == {"E": 1.5} and "lower" not in summary["parameters"]["E"]


def test_what_is_held_counts_as_known():
    """AICc of two parameters and the noise, of 14 runs."""
    from jaxscale.laws.selection import criterion

    held = laws.fit(power_law(noise=0.003), fixed={"E": 1.5}, resamples=0)
    assert held.problem.free == 2
    fitness = 2 * 14 / 1.5 * np.log(held.total / 14)
    assert criterion(held, 1.5) == pytest.approx(fitness + 2 * 3 + 2 * 3 * 4 / 10)
    # A column of three points determines the two that are left.
    few = {name: values[:6] for name, values in power_law().items()}
    assert laws.fit(few, fixed={"E": 1.5}, resamples=0).parameters["alpha"] == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("law", "fixed", "named"),
    [
        ("data", {"zeta": 1.0}, "'zeta' is no parameter of law 'data'. Pass one of E, A, alpha"),
        ("data", {"E": -1.0}, "E=-1.0 is out of range"),
        ("data", {"E": "low"}, "E='low' must be a number"),
        ("data", {"alpha": 20.0}, "alpha=20.0 is out of range. Pass a number from 0.0001 to 10"),
        ("data", {"E": 1.0, "A": 1.0, "alpha": 0.3}, "Leave one to be fitted"),
        ("data", [("E", 1.0)], "is no mapping"),
        ("skaling", {"A": 1.0}, "cannot be held in law 'skaling'.*Pass one of E, alpha, beta, k"),
        ("bnsl", {"A": 1.0}, "cannot be held"),
    ],
)
def test_what_cannot_be_held_is_refused(law, fixed, named):
    with pytest.raises(errors.InputError, match=named):
        holding.checked(laws.named(law), fixed)


@pytest.mark.parametrize("name", laws.LAWS)
def test_whatever_can_be_held_of_a_law_has_its_value_in_the_tables_units(name):
    """At coordinates that are elsewhere free, the parameter is what it was said to be."""
    law = laws.named(name)
    rng = np.random.default_rng(0)
    columns = [rng.uniform(1e6, 1e7, size=5) for _ in law.columns]
    held = 0
    for parameter in law.parameters:
        value = 1.2
        try:
            units, values = holding.hold(law, columns, holding.checked(law, {parameter: value}))
        except errors.InputError:
            continue
        held += 1
        assert np.sum(~np.isnan(values)) == len({parameter, *law.references})
        others = np.array([1.7] * len(law.linear) + [r.at(0.6) for r in law.nonlinear.values()])
        with jax.enable_x64(True):
            raw = law.in_raw_units(law.parameters_at(np.where(np.isnan(values), others, values)), units)
        assert float(raw[parameter]) == pytest.approx(value, rel=1e-9)
    assert held >= len(law.nonlinear) - 1


# Which curve below which runs?


def test_a_quantile_is_the_curve_below_which_its_share_of_runs_lies():
    data = power_law(noise=0.01, seed=1)
    fitted = laws.fit(data, objective=laws.asymmetric(0.2, 1e-5), key=KEY, resamples=100)
    assert np.sum(fitted.residuals > 1e-5) <= 0.2 * 14 <= np.sum(fitted.residuals > -1e-5)  # but for runs within δ
    assert fitted.bootstrap == "pairs-cluster"
    lower, upper = fitted.intervals["E"]
    assert lower < fitted.parameters["E"] < upper
    for bootstrap in ("wild-cluster", "components", "mixed"):
        with pytest.raises(errors.InputError, match=rf"bootstrap='{bootstrap}'.*Pass 'pairs-cluster'"):
            laws.fit(data, objective=laws.asymmetric(0.2), key=KEY, bootstrap=bootstrap)
    # A new run is not about the quantile but about the middle, 0.84 standard deviations above.
    found = answers.scatter(fitted)
    assert -0.013 < found.center < -0.003 and 0.006 < np.std(found.deviations) < 0.014
    answer = laws.predict_run(fitted, {"n": 1e6}, key=KEY)
    truth = 1.5 + 2.0 * 10**-0.3
    assert answer.new_run.lower < truth < answer.new_run.upper


# On the command line


@pytest.fixture
def runs(tmp_path):
    """54 runs with the shapes of their models as a table on disk."""
    table = shaped(isoflop_grid(noise=0.003))
    path = tmp_path / "runs.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return str(path)


ASKED = ["--predict", "N=7B,D=2T", "N=70B,D=1.4e12", "--budget", "1e24", "--isoflop", "--fix", "E=1.69"]


def test_a_fit_is_asked_on_the_command_line(runs, capsys):
    command = ["fit", runs, "--law", "chinchilla", "--resamples", "0", *ASKED, "--flops", "with-attention"]
    assert cli.main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    verdict.check(said)
    first, second = said["predictions"]
    assert first["columns"] == {"N": 7e9, "D": 2e12} and second["columns"]["N"] == 7e10
    assert said["budgets"]["compute"] == [1e24] and said["budgets"]["flops"].startswith("(6 N + 12")
    assert said["isoflop"]["method"] == "akima" and len(said["isoflop"]["compute"]) >= 3
    assert said["fixed"] == {"E": 1.69} and said["parameters"]["E"] == {"estimate": 1.69}
    assert 0.99 < said["r_squared"] < 1 and "E held at 1.69" in said["sentence"]
    assert {"loss at N = 7.00e09, D = 2.00e12", "best N at C = 1.00e24"} <= {one["name"] for one in said["numbers"]}


@pytest.mark.thorough
def test_answers_are_tables_on_a_terminal_and_sections_of_the_page(runs, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    page = tmp_path / "fit.html"
    assert cli.main(["fit", runs, "--law", "chinchilla", "--resamples", "100", *ASKED, "--page", str(page)]) == 0
    text, drawn = capsys.readouterr().out, page.read_text(encoding="utf-8")
    for words in (
        *("Runs not yet trained", "Budgets", "IsoFLOP curves beside the surface", "Conditional on E = 1.69"),
        *("times past the largest", "N within 0.1%", "R² = ", "root mean square residual"),
    ):
        assert words in text and words in drawn, words
    assert re.search(r"E +│ +1\.690 │ +held │", text) and "intervals conditional on E" in text
    # Nothing of plotly, which is 5 MB.
    assert len(drawn) < 400_000 and "<script" not in drawn


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--law", "chinchilla", "--predict", "N=7B"], "--predict N lack D, which law 'chinchilla' reads"),
        (["--predict", "n=7Q"], "--predict '7Q' is not a positive number"),
        (["--predict", "7B"], "--predict '7B' is not COLUMN=NUMBER"),
        (["--budget", "1e24"], "--law 'data' reads n"),
        (["--isoflop"], "--law 'data' reads n"),
        (["--law", "chinchilla", "--budget", "much"], "--budget 'much' is not a positive number"),
        (["--fix", "E"], "--fix E is not NAME=NUMBER"),
        (["--fix", "zeta=1"], "--fix 'zeta' is no parameter of law 'data'"),
        (["--fix", "E=1", "--compare", "power"], "--fix 'E' is no parameter of law 'power'"),
        (["--fix", "E=1", "E=2"], "--fix E is given two values"),
        (["--quantile", "0.1"], "--objective asymmetric and --quantile go together"),
        (["--objective", "asymmetric"], "no --quantile"),
        (["--objective", "asymmetric", "--quantile", "2"], "--quantile 2.0 is not between 0 and 1"),
        (["--flops", "6ND"], "--flops 6ND counts C, which law 'data' does not depend on"),
        (["--fix", "alpha=0.3", "--dimension", "8"], "law 'data' has no exponent of n, D, N or C that is not held"),
    ],
)
def test_what_cannot_be_asked_is_said_in_flags_before_the_table_is_read(flags, said, capsys):
    assert cli.main(["fit", "none.csv", *flags]) == 2
    assert said in capsys.readouterr().err


def test_columns_that_a_count_lacks_are_asked_for_by_flag(tmp_path, capsys):
    path = tmp_path / "runs.csv"
    path.write_text("N,D,loss\n1e7,1e9,3\n2e7,2e9,2.9\n")
    assert cli.main(["fit", str(path), "--law", "chinchilla", "--flops", "with-embeddings"]) == 2
    assert "--flops 'with-embeddings' counts 6 (N + vocabulary width) D" in (said := capsys.readouterr().err)
    assert "--map vocabulary=SOURCE width=SOURCE" in said
