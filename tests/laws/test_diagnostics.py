"""What is said around a fit: profiles, influence, back-tests, frontiers, theory, and parameters of other origin."""

import contextlib
import dataclasses
import html
import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import errors, laws, theory, verdict
from jaxscale.laws import page as law_page
from jaxscale.laws import selection
from tests.laws import tables
from tests.laws.tables import CHINCHILLA, isoflop_grid, power_law

KEY = jax.random.key(0)


@pytest.fixture(scope="module", autouse=True)
def few_draws():
    """Of what a back-test says, only the tails of its intervals need more draws."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection, "_DRAWS", 100)
        yield


@pytest.fixture(scope="module")
def document(chinchilla):
    check = laws.against_theory(chinchilla, 8.0, (7.0, 9.0))
    return laws.document(chinchilla, check, key=KEY)


def test_a_profile_is_lowest_at_the_fit_and_crosses_the_level_on_both_sides(chinchilla):
    found = laws.profile(chinchilla, "alpha")
    lowest = found.values[np.argmin(found.statistic)]
    assert abs(lowest - chinchilla.parameters["alpha"]) <= np.diff(found.values)[0]
    assert found.interval.lower < chinchilla.parameters["alpha"] < found.interval.upper
    assert (found.statistic >= 0).all() and found.statistic[0] > found.threshold < found.statistic[-1]


@pytest.fixture(scope="module")
def repeated():
    """A fit whose bootstrap knows R_N within a factor of five, though its profile is narrow."""
    return laws.fit(tables.repeated_tokens(), "repeated_data", key=KEY, resamples=100)


@pytest.mark.slow
def test_profiles_hold_their_estimates_though_draws_spread_far(repeated):
    for name in ("E", "alpha", "beta", "R_N", "R_D"):
        found = laws.profile(repeated, name)
        assert found.interval.lower < repeated.parameters[name] < found.interval.upper, name
        assert (found.statistic[:-1] > found.threshold).any() and (found.statistic[1:] > found.threshold).any()
        assert found.statistic[found.values == repeated.parameters[name]].max() < 1e-6, name


@pytest.mark.slow
def test_no_term_at_all_is_no_fit_rather_than_a_perfect_one(repeated):
    """At A = 0 the curve is E alone, far above the threshold of 3.84."""
    assert repeated.flatness["A"] > 50


@pytest.mark.parametrize("seed", [0, 10])
def test_an_optimum_with_its_value_held_is_no_worse(seed):
    """Where noise is fifty times δ many lanes end with rounded corners, of which the objective is less than it is."""
    fitted = laws.fit(power_law(noise=0.05, seed=seed), resamples=0)
    assert fitted.search.total == pytest.approx(fitted.total, rel=1e-12)
    assert laws.profile(fitted, "alpha", [fitted.parameters["alpha"]]).statistic[0] < 1e-9


def test_a_value_at_which_a_law_is_not_defined_is_infinitely_worse():
    """log γ has no value at γ = 0, an end of the range of γ."""
    expression = lambda p, n: p["E"] + p["A"] * laws.power(n / 1e6, -p["alpha"]) * (1 + 0 * jnp.log(p["gamma"]))
    mine = laws.Law(
        name="mine",
        columns=("n",),
        formula="L(n) = E + A n^-α + 0 log γ",
        expression=expression,
        linear=("E", "A"),
        nonlinear={"alpha": laws.EXPONENT, "gamma": laws.Range(0.5, 1.0, bounds=(0.0, 1.0))},
    )
    fitted = laws.fit(power_law(noise=0.003), mine, resamples=0)
    statistic = laws.profile(fitted, "gamma", [0.0, 0.7]).statistic
    assert np.isposinf(statistic[0]) and statistic[1] < 1e-6


@pytest.mark.parametrize("spread", [lambda off: 40 * off, lambda off: 40 * abs(off)], ids=["both sides", "one side"])
def test_a_profile_holds_its_estimate_however_far_the_draws_spread(chinchilla, spread):
    estimate = chinchilla.parameters["alpha"]
    draws = chinchilla.draws | {"alpha": estimate + spread(chinchilla.draws["alpha"] - estimate)}
    found = laws.profile(dataclasses.replace(chinchilla, draws=draws), "alpha")
    assert found.interval.lower < estimate < found.interval.upper
    assert found.statistic[found.values == estimate].max() < found.threshold < found.statistic.max()


def test_no_term_is_far_above_the_threshold(chinchilla):
    assert chinchilla.flatness["A"] > 50


def test_a_profile_over_values_of_ones_own_is_around_the_estimate(chinchilla):
    alpha = float(chinchilla.parameters["alpha"])
    found = laws.profile(chinchilla, "alpha", [alpha + 0.1, alpha - 0.1, alpha - 0.05])
    assert alpha - 0.05 < found.interval.lower < alpha < found.interval.upper < alpha + 0.1


@pytest.mark.slow
@pytest.mark.parametrize("name", laws.LAWS)
def test_every_profile_of_every_law_holds_its_estimate(name):
    law = laws.named(name)
    table = tables.repeated_tokens() | {"n": np.geomspace(1e4, 1e8, 24)}
    table |= {"C": 6 * table["N"] * table["D"], "M": table["D"] / table["N"]}
    columns = [table[column] for column in law.columns]
    middle = np.array([1.0] * len(law.linear) + [r.at(0.4) for r in law.nonlinear.values()])
    with jax.enable_x64(True):
        truth = law.in_raw_units(law.parameters_at(middle), law.units_of(columns))
    loss = law.losses(truth, *columns) * np.exp(0.003 * np.random.default_rng(0).laplace(size=24))
    fitted = laws.fit({column: table[column] for column in law.columns} | {"loss": loss}, law, resamples=0)
    profiled = 0
    for name in law.coordinates:
        with contextlib.suppress(errors.InputError):  # a scale, which has none
            found = laws.profile(fitted, name)
            profiled += 1
            assert found.interval.lower <= fitted.parameters[name] <= found.interval.upper, name
    assert profiled >= len(law.exponents)


def test_parameters_held_at_the_fit_are_the_fit(chinchilla):
    again = laws.held(chinchilla, "alpha", [chinchilla.parameters["alpha"]])
    for name, value in chinchilla.parameters.items():
        assert again[name][0] == pytest.approx(value, rel=1e-4)


def test_a_scale_has_no_profile(chinchilla):
    with pytest.raises(errors.InputError, match="name='A' has no profile"):
        laws.profile(chinchilla, "A")


def test_influence_holds_every_kind_of_choice_and_only_what_leaves_its_interval_is_outside(chinchilla):
    influence = chinchilla.influence
    assert set(influence.kinds) == {"run", "worst", "small", "delta"}
    assert influence.kinds.count("run") == len(chinchilla.runs)
    for name, (lower, upper) in chinchilla.intervals.items():
        values = influence.parameters[name]
        assert ((values < lower) | (values > upper) | ~influence.outside[name]).all()
    without_first = laws.fit(
        {name: values[1:] for name, values in chinchilla.runs.columns.items()} | {"loss": chinchilla.runs.loss[1:]},
        "chinchilla",
        resamples=0,
    )
    assert influence.of("run")["alpha"][0] == pytest.approx(without_first.parameters["alpha"], rel=1e-4)


@pytest.mark.thorough
def test_back_tests_of_the_true_law_forecast_within_the_noise(chinchilla):
    test = laws.back_test(chinchilla, key=KEY)
    assert test.column == "C"
    assert (np.diff(test.cuts) > 0).all()
    assert test.overall < 3 * 0.003 * np.sqrt(2)
    assert test.realized > 0.8


def test_the_frontier_is_hoffmanns_closed_form(chinchilla):
    best = laws.frontier(chinchilla, [1e21, 1e24])
    p = chinchilla.parameters
    split = theory.compute_split(p["alpha"], p["beta"])
    assert best.size_exponent.estimate == pytest.approx(split.size)
    assert best.loss_exponent.estimate == pytest.approx(split.loss)
    # No other split of the budget has a lower loss.
    for factor in (0.99, 1.01):
        N = factor * best.size.estimate
        assert (chinchilla.predict(N, best.compute / 6 / N) > best.loss.estimate).all()
    lower, upper = best.size_exponent.interval
    assert lower < CHINCHILLA["beta"] / (CHINCHILLA["alpha"] + CHINCHILLA["beta"]) < upper


def test_parabolas_on_a_grid_off_center_are_called_biased():
    table = isoflop_grid()
    found = laws.isoflop(table, "parabola", key=KEY, resamples=0)
    # Without noise everything the parabola misses is bias.
    truth = CHINCHILLA["beta"] / (CHINCHILLA["alpha"] + CHINCHILLA["beta"])
    assert found.size_exponent.estimate - truth == pytest.approx(found.bias, abs=2e-3)
    assert found.surface.size_exponent.estimate == pytest.approx(truth, abs=1e-4)
    said = {code for code, _ in found.findings}
    assert ("isoflop_bias" in said) == (abs(found.bias) > 0.005)


@pytest.mark.thorough
def test_budgets_are_those_of_the_c_that_is_given():
    """A C that counts embeddings, N^0.1 of 6 N D here, moves every run to another budget and N* to another power."""
    table = isoflop_grid()
    plain = laws.isoflop(table, key=KEY, resamples=0)
    in_days = laws.isoflop(table | {"C": 6 * table["N"] * table["D"] / 8.64e19}, key=KEY, resamples=0)
    np.testing.assert_allclose(in_days.compute * 8.64e19, plain.compute)
    np.testing.assert_allclose(in_days.size, plain.size)
    np.testing.assert_allclose(in_days.surface.size.estimate, plain.surface.size.estimate)
    assert "other_compute" not in dict(in_days.findings)

    spread = np.repeat(np.geomspace(1e19, 3e21, 6), 9)
    other = laws.isoflop(
        {"N": table["N"], "D": spread / 6 / table["N"] ** 1.1, "loss": table["loss"], "C": spread}, key=KEY, resamples=0
    )
    np.testing.assert_allclose(other.compute, np.unique(spread))
    assert "other_compute" in dict(other.findings)


def test_budgets_that_are_too_few_are_refused():
    with pytest.raises(errors.InputError, match="0 budgets"):
        laws.isoflop(isoflop_grid(noise=0.003, budgets=27, sizes=2), key=KEY, resamples=0)


def test_published_parameters_are_held_against_the_optimum(chinchilla):
    table = isoflop_grid(noise=0.003)
    at_optimum = laws.evaluate(table, "chinchilla", chinchilla.parameters)
    assert abs(at_optimum.excess) < 1e-9 and at_optimum.stationarity < 1e-9
    off = laws.evaluate(table, "chinchilla", CHINCHILLA | {"alpha": 0.36})
    assert off.excess > 0.1 and off.stationarity > 0.01
    with pytest.raises(errors.InputError, match="parameters lack alpha"):
        laws.evaluate(table, "chinchilla", {"E": 1, "A": 1, "B": 1, "beta": 1})


def test_theory_is_held_against_both_exponents(chinchilla):
    check = laws.against_theory(chinchilla, 8.0, (7.0, 9.0))
    assert [one.column for one in check.exponents] == ["N", "D"]
    assert [one.agreement for one in check.exponents] == ["inconsistent", "inconsistent"]
    assert check.exponents[0].implied_dimension.estimate == pytest.approx(2 / chinchilla.parameters["alpha"])
    # 1/0.28 - 1/0.34
    assert check.delta.interval.lower < 0.63 < check.delta.interval.upper
    assert check.cross_entropy.lower < check.cross_entropy.upper


@pytest.mark.thorough
def test_a_fit_that_does_not_know_its_floor_refutes_nothing(chinchilla, monkeypatch):
    warning = ("irreducible_loss_not_identified", "E may be 0")
    check = laws.against_theory(dataclasses.replace(chinchilla, warnings=(warning,)), 8.0, (7.0, 9.0))
    assert all(one.agreement == "inconclusive" and one.floor_unknown for one in check.exponents)
    monkeypatch.setattr(selection, "_CUTS", (0.8,))
    page = " ".join(law_page._theory_sentences(laws.document(chinchilla, check, key=KEY)["theory"]))
    assert "inconclusive, since the exponent depends on a floor E" in page


def test_exponents_without_floor_are_refused_for_comparison(chinchilla):
    fitted = dataclasses.replace(chinchilla, law=laws.named("power"))
    with pytest.raises(errors.InputError, match="no irreducible loss E"):
        laws.against_theory(fitted, 8.0)


def test_agreement_needs_an_interval_that_could_have_refuted():
    said = lambda low, high: laws.agreement(theory.data_exponent, laws.Interval(low, high), 6.0, (5.5, 6.5))
    assert said(0.24, 0.26) == "consistent"
    assert said(0.40, 0.45) == "inconsistent"
    assert said(0.10, 0.60) == "inconclusive"


def test_a_flat_profile_is_reported():
    # One decade cannot tell a floor from none.
    fitted = laws.fit(power_law(noise=0.02, sizes=np.repeat(np.logspace(5, 6, 7), 2)), key=KEY, resamples=100)
    assert fitted.flatness["E"] < 3.84


@pytest.mark.thorough
def test_the_document_is_plain_and_its_page_holds_every_figure(document, tmp_path):
    said = json.loads(json.dumps(document | {"caveats": [{"code": "outlier_runs", "text": "Far from the curve."}]}))
    page = tmp_path / "fit.html"
    law_page.write_law_page(said, str(page), "<runs>.csv")
    text = page.read_text(encoding="utf-8")
    for figure in ("along-N", "along-D", "residuals-N", "profile-E", "profile-alpha", "starts", "back-test", "theory"):
        assert f'id="figure-{figure}"' in text
    assert "&lt;runs&gt;.csv" in text and "<runs>" not in text
    assert all(html.escape(words) in text for words in (said["question"], said["sentence"], *said["limits"]))
    assert "✗</span> inconsistent" in text and f"<code>{said['caveats'][0]['code']}</code>" in text
    assert "https://" not in text.split("<script")[0]


def test_the_verdict_says_the_exponents_beside_their_predictions(chinchilla, document):
    found = verdict.check(document)
    assert found.agreement == "inconsistent" and found.sentence.count("inconsistent") == 2
    assert [number.name for number in found.numbers] == ["alpha", "beta", "E", "A", "B"]
    alpha, *_, scale = found.numbers
    assert alpha.predicted == 0.25 and scale.predicted is None
    assert alpha.interval == pytest.approx(chinchilla.intervals["alpha"])
    assert [(caveat.code, caveat.text) for caveat in found.caveats] == list(chinchilla.warnings)
    assert set(theory.LIMITS) < set(found.limits)
    unasked = verdict.check(laws.document(dataclasses.replace(chinchilla, draws={}, intervals={}), key=KEY))
    assert unasked.agreement is None and unasked.numbers[0].interval is None and "theory" not in unasked.question


@pytest.mark.parametrize(
    ("each", "overall"),
    [
        (["consistent", "inconsistent"], "inconsistent"),
        (["consistent", "inconclusive"], "inconclusive"),
        (["consistent", "consistent"], "consistent"),
        (["inconclusive", "inconsistent"], "inconsistent"),
    ],
)
def test_several_exponents_agree_only_together(each, overall):
    assert verdict.overall(each) == overall


def test_the_table_on_a_terminal_says_caveats_parameters_and_theory(document):
    from rich.console import Console

    console = Console(width=100, record=True, file=io.StringIO())
    warned = document | {"caveats": [{"code": "outlier_runs", "text": "Far from the curve."}]}
    law_page.print_law(warned, console)
    text = console.export_text()
    for word in (
        "outlier_runs: Far from the curve.",
        "alpha",
        "reached the optimum",
        "Best size grows",
        "inconsistent",
    ):
        assert word in text


@pytest.mark.parametrize("path", ["fit.txt", "none/fit.html"])
def test_a_page_that_cannot_be_written_is_refused(path, tmp_path):
    with pytest.raises(errors.InputError, match="page="):
        law_page.check_law_page(str(tmp_path / path))


@pytest.mark.slow
def test_laws_are_compared_by_criterion_and_by_forecast():
    compared = laws.compare(isoflop_grid(noise=0.003), ["tied", "chinchilla"], key=KEY, resamples=400)
    assert compared.by_criterion == "chinchilla"
    assert min(candidate.criterion for candidate in compared.candidates) == 0
    assert "AICc prefers chinchilla" in compared.verdict


@pytest.mark.slow
def test_learning_curves_have_an_envelope():
    rows = []
    for width, N in enumerate(np.geomspace(1e7, 1e9, 7)):
        for D in np.geomspace(1e8, 3e11, 40):
            loss = 1.69 + 406.4 * N**-0.34 + 410.7 * D**-0.28
            rows.append({"run": f"width{width}", "N": N, "D": D, "loss": loss})
    found = laws.envelope(rows, key=KEY)
    assert found.size_exponent.estimate == pytest.approx(0.28 / 0.62, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["huber", "least_squares", "least_absolute_deviations"])
def test_every_objective_is_brought_to_its_optimum(name):
    table = isoflop_grid(noise=0.01)
    fitted = laws.fit(table, "chinchilla", objective=getattr(laws, name)(), resamples=0)
    task = fitted.problem
    rng = np.random.default_rng(0)
    around = fitted.search.z * np.exp(0.01 * rng.normal(size=(2000, 5)))
    totals = fitted.objective.total(task.residuals(around), task.weight)
    assert fitted.total <= totals.min() * (1 + 1e-12)
    assert dataclasses.asdict(fitted.objective)["residual"] == "log"
