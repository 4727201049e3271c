"""Plans: the design's algebra, what is promised, what is refused, the command. Most of a law of n, cheap to fit."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxscale import cli, config, laws, theory, verdict
from jaxscale.errors import InputError
from jaxscale.laws import fitting
from jaxscale.laws.planning import beliefs, choices, designs, rehearsal, wants
from jaxscale.laws.planning.page import write_plan_page
from jaxscale.laws.search import refit
from jaxscale.studies import DataScaling
from tests.laws import tables

CHEAP = {"key": 0, "tables": 8, "resamples": 50, "max_runs": 16}


def losses_of(n, alpha=0.3, floor=1.5, noise=0.004, seed=2):
    """Around E + (n / 1e5)^-alpha, with independent relative noise."""
    return (floor + (n / 1e5) ** -alpha) * np.exp(noise * np.random.default_rng(seed).normal(size=len(n)))


@pytest.fixture(scope="module")
def pilot():
    n = np.repeat(np.geomspace(1e5, 3e6, 7), 2)
    return {"n": n, "loss": losses_of(n)}


@pytest.fixture(scope="module")
def fitted(pilot):
    return fitting.with_draws(laws.fit(pilot, "data", resamples=0), jax.random.key(0), "auto", 200)


@pytest.fixture(scope="module")
def planned(pilot):
    return laws.plan(pilot, "data", want={"alpha": 0.08}, max_compute=1e9, **CHEAP)


def ground_of(fit, names, shared=None):
    """What designs are judged by, of a fit, with runs over the usual ranges."""
    asked = wants.checked(names, fit.law, 0.95)
    belief = beliefs.of_pilot(fit, "auto", key=0).some(5, key=1)
    if shared is not None:
        belief = dataclasses.replace(belief, shared=np.full(5, shared))
    columns = fit.runs.columns
    ends = choices.checked_ranges(None, fit.law, columns)
    there = choices.grid(fit.law, ends, columns, *choices.price(None, fit.law, None))
    return designs.ground(belief, there, asked), there


def test_one_more_run_changes_the_variance_as_the_whole_sum_does(fitted):
    """Errors shared by a size included, whether the size is one of the pilot's, of the design or new."""
    ground, _ = ground_of(fitted, {"alpha": 0.1, "loss@n=1e8": 0.1}, shared=0.004)
    counts = np.zeros(len(ground.cost))
    counts[[3, 10]] = 2, 1
    after = ground.variance_with_each(counts)
    for place in (0, 3, 10, len(counts) - 1):
        more = counts.copy()
        more[place] += 1
        np.testing.assert_allclose(after[place], ground.variance(more), rtol=1e-6)


@pytest.mark.thorough
def test_the_delta_method_is_that_of_simulated_fits(pilot):
    """Least squares of 400 tables in which runs of a size share an error, fitted by our own search."""
    fit = laws.fit(pilot, "data", objective=laws.least_squares(), resamples=0)
    own, shared, rng = 0.0005, 0.001, np.random.default_rng(0)
    belief = beliefs.Belief(
        fit.law, fit.objective, 0.95, "auto", {}, np.full(1, own), np.full(1, shared), np.zeros(1), fit
    ).with_parameters(fit.parameters)
    asked = wants.checked({"alpha": 0.1, "loss@n=1e7": 0.1}, fit.law, 0.95)
    there = choices.Choices({"n": np.array([1e7])}, np.ones(1), "n")
    deviation = np.sqrt(designs.ground(belief, there, asked).variance(np.zeros(1))[0])
    group = fit.runs.size_index("n")
    error = own * rng.normal(size=(400, 14)) + shared * rng.normal(size=(400, 7))[:, group]
    drawn = fit.problem.parameters(
        refit(fit.problem, fit.search, target=np.log(fit.predict(*fit.runs.values)) + error).z
    )
    simulated = [np.std(want.of(drawn if want.name == "alpha" else {k: v for k, v in drawn.items()})) for want in asked]
    np.testing.assert_allclose(deviation, simulated, rtol=0.15)  # of 400: 3.5% standard error


def test_noise_is_parted_into_own_and_shared():
    rng = np.random.default_rng(3)
    n = np.repeat(np.geomspace(1e5, 1e7, 16), 4)
    error = 0.002 * rng.normal(size=64) + 0.004 * rng.normal(size=16).repeat(4)
    fit = laws.fit({"n": n, "loss": (1.5 + (n / 1e5) ** -0.3) * np.exp(error)}, "data", resamples=0)
    own, shared, _ = beliefs.noise(fit)
    assert own == pytest.approx(0.002, rel=0.3) and shared == pytest.approx(0.004, rel=0.5)
    apart = laws.fit({"n": n, "loss": (1.5 + (n / 1e5) ** -0.3) * np.exp(error)}, "data", resamples=0, groups=None)
    assert beliefs.noise(apart)[1] == 0


@pytest.mark.thorough
def test_a_design_is_cheaper_than_an_even_grid_of_the_same_width(chinchilla):
    ground, there = ground_of(chinchilla, {"size_exponent": 0.1})
    grid = np.zeros(len(there.cost))
    grid[:: max(len(grid) // 20, 1)] = 1
    deviation = designs.deviations(ground.variance(grid))
    design = designs.cheapest(ground, designs.Goal(deviation, np.inf, 40))
    assert design.reached and (designs.deviations(ground.variance(design.counts)) <= deviation * (1 + 1e-9)).all()
    assert design.counts @ there.cost < 0.5 * grid @ there.cost
    path = design.paths[0]
    assert (np.diff(path.cost) > 0).all() and (np.diff(path.missing) < 0).all()


@pytest.mark.thorough
def test_exchange_leaves_no_run_that_is_not_needed(chinchilla):
    ground, there = ground_of(chinchilla, {"alpha": 0.1})
    goal = designs.Goal(0.7 * designs.deviations(ground.variance(np.zeros(len(there.cost)))), np.inf, 40)
    best = designs.cheapest(ground, goal).counts
    wasteful = best.copy()
    wasteful[np.argmax(there.cost)] += 1
    assert designs.exchanged(ground, goal, wasteful) @ there.cost <= best @ there.cost * (1 + 1e-9)
    within = goal._replace(deviation=goal.deviation / 100, budget=float(np.median(there.cost)))
    poor = np.bincount([int(np.argsort(there.cost)[len(there.cost) // 2])], minlength=len(there.cost))
    better = designs.exchanged(ground, within, poor)
    assert better @ there.cost <= within.budget
    assert within.missing(ground.variance(better)) < within.missing(ground.variance(poor))


def test_a_plan_says_runs_costs_and_promises(planned, pilot):
    (promise,) = planned.promises
    assert planned.outcome == "reached" and 0 < len(planned) <= 16 and planned.total <= 1e9
    assert promise.width <= 0.08 * 1.1 < promise.now and promise.spread[0] < promise.width < promise.spread[1]
    sizes, seeds, cost = planned.grouped()
    assert seeds.sum() == len(planned) and seeds @ cost == pytest.approx(planned.total)
    assert (sizes["n"] >= 1e5).all() and (sizes["n"] <= 3e7).all() and (cost == sizes["n"]).all()
    assert (np.diff(planned.curve_cost) > 0).all() and planned.curve_widths["alpha"][-1] < promise.now
    assert {"cost_is_no_compute", "noise_uncertain"} <= {code for code, _ in planned.warnings}


def test_a_key_gives_one_plan(fitted):
    one, same = (laws.plan(fitted, want={"alpha": 0.08}, key=3, tables=0, max_runs=6) for _ in range(2))
    assert (one.columns["n"] == same.columns["n"]).all() and one.promises[0].width == same.promises[0].width


def test_what_is_there_already_is_not_planned(fitted):
    done = laws.plan(fitted, want={"alpha": 10.0}, **CHEAP)
    assert done.outcome == "already" and len(done) == 0 and done.total == 0
    said = laws.plan_document(done)
    assert said["sentence"].startswith("None: with the 14 runs there are") and said["runs"] == []


def test_a_budget_that_is_too_small_says_what_it_can_reach(fitted):
    short = laws.plan(fitted, want={"alpha": 0.001}, max_compute=3e6, key=0, tables=0)
    assert short.outcome == "budget" and 0 < short.total <= 3e6
    assert 0.001 < short.promises[0].width <= short.promises[0].now
    assert dict(short.warnings)["budget_too_small"].startswith("What is wanted is not reached: alpha 0.")
    assert "The budget does not allow it. The best that can be reached" in laws.plan_document(short)["sentence"]
    few = laws.plan(fitted, want={"alpha": 0.001}, max_runs=3, key=0, tables=0)
    assert few.outcome == "runs" and len(few) == 3


@pytest.mark.thorough
def test_power_is_the_share_of_intervals_that_exclude_twice_the_dimension(fitted):
    found = laws.plan(fitted, want={"power": 0.7}, d=6.0, max_compute=1e9, **CHEAP)
    (promise,) = found.promises
    assert found.simulated >= 100 and promise.power[0] == 0.7 and 0.6 <= promise.power[1] <= 1
    truth = float(theory.data_exponent(6.0))
    (want,) = wants.checked({"power": 0.5}, fitted.law, 0.95, 6.0)
    # Half of normal intervals exclude what lies as far from the truth as their half width.
    assert want.true == truth and want.width == pytest.approx(2 * (truth - float(theory.data_exponent(12.0))))


@pytest.mark.thorough
def test_a_prior_stands_in_for_a_pilot():
    prior = {"E": (1.4, 1.6), "A": (25, 40), "alpha": (0.28, 0.32), "noise": (0.003, 0.005)}
    found = laws.plan(None, "data", want={"alpha": 0.3}, prior=prior, ranges={"n": (1e5, 1e8)}, **CHEAP)
    assert found.outcome == "reached" and found.runs_now == 0 and np.isnan(found.promises[0].now)
    assert len(np.unique(found.columns["n"])) > 3  # else the law could not be fitted
    assert "no_pilot" in dict(found.warnings)
    with pytest.raises(InputError, match="prior lacks noise of E, A, alpha, noise"):
        laws.plan(
            None,
            "data",
            want={"alpha": 0.3},
            prior={name: ends for name, ends in prior.items() if name != "noise"},
            ranges={"n": (1e5, 1e8)},
            key=0,
        )
    with pytest.raises(InputError, match="ranges lack n"):
        laws.plan(None, "data", want={"alpha": 0.3}, prior=prior, key=0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"want": {"alhpa": 0.1}}, "no quantity of law 'data'. Ask for one of E, A, alpha, loss@n=…, power"),
        ({"want": {"alpha_C": 0.1}}, "no quantity of law 'data'"),
        ({"want": {"alpha": -1}}, "must be a positive width"),
        ({"want": {"power": 0.8}}, "Pass d, the intrinsic dimension"),
        ({"want": {"loss@N=1e9": 0.1}}, "must give positive n"),
        ({"max_compute": 1.0}, "less than the cheapest run costs, 1e.05 n"),
        ({"ranges": {"m": (1, 2)}}, "ranges name 'm'"),
        ({"ranges": {"n": (2, 1)}}, "the lesser first"),
        ({"cost": "6*N*D"}, "no product of numbers and of n, nor a column"),
        ({"prior": {}}, "either pilot, a table of runs, or prior"),
        ({"tables": 3}, "too few to simulate"),
        ({"want": {"power": 0.8}, "d": 6.0, "tables": 0}, "tables=0 simulates nothing"),
    ],
)
def test_bad_arguments_are_refused(fitted, given, said):
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        laws.plan(fitted, **{"want": {"alpha": 0.1}, "key": 0, "tables": 8} | given)


def test_a_pilot_too_small_is_refused(pilot):
    small = {name: x[:5] for name, x in pilot.items()}
    with pytest.raises(InputError, match=r"the pilot has 5 runs, too few to tell their noise .* Train at least 6"):
        laws.plan(small, "data", want={"alpha": 0.1}, key=0)


def test_quantities_of_two_terms_are_those_of_theory():
    law, p = laws.named("chinchilla"), tables.CHINCHILLA
    names = {"alpha_C": 1, "size_exponent": 1, "loss@N=7e9,D=2e12": 1, "alpha": 1}
    found = {want.name: float(want.of(p)) for want in wants.checked(names, law, 0.95)}
    split = theory.compute_split(p["alpha"], p["beta"])
    assert found["alpha_C"] == pytest.approx(float(split.loss))
    assert found["size_exponent"] == pytest.approx(float(split.size))
    assert found["loss@N=7e9,D=2e12"] == pytest.approx(float(law.losses(p, 7e9, 2e12)))
    swapped = wants.checked({"size_exponent": 1}, laws.named("additive:D,N"), 0.95)[0]
    assert float(swapped.of({"alpha": 0.28, "beta": 0.34})) == pytest.approx(float(split.size))
    for name in ("tied", "kaplan", "skaling"):
        with pytest.raises(InputError, match="no quantity of law"):
            wants.checked({"size_exponent": 1}, laws.named(name), 0.95)


def test_costs_are_products_or_continue_a_column(pilot):
    law, columns = laws.named("chinchilla"), {"N": np.array([1e9]), "D": np.array([2e10])}
    assert choices.price(None, law, None)[0](columns) == pytest.approx(1.2e20)
    assert choices.price("8*N*D", law, None)[0](columns) == pytest.approx(1.6e20)
    table = {"N": np.array([1e8, 1e8, 2e8]), "D": np.array([1e9, 3e9, 1e9])}
    table["hours"] = 1e-9 * table["N"] ** 0.8 * table["D"]
    assert choices.price("hours", law, table)[0](columns) == pytest.approx(1e-9 * 1e9**0.8 * 2e10)
    given = choices.given({"n": [1e6, 2e6], "price": [3.0, 5.0]}, laws.named("data"), "price", pilot)
    assert list(given.cost) == [3.0, 5.0]


def test_runs_to_choose_from_stay_within_the_ratios_of_the_pilot():
    columns = {"N": np.array([1e7, 1e8]), "D": np.array([1e8, 4e9])}
    law = laws.named("chinchilla")
    ends = choices.checked_ranges({"N": (1e7, 1e10)}, law, columns)
    there = choices.grid(law, ends, columns, *choices.price(None, law, None))
    ratio = there.columns["D"] / there.columns["N"]
    assert ratio.min() >= 9.9 and ratio.max() <= 40.4 and there.columns["N"].max() > 1e9
    assert there.columns["D"].max() <= 4e10 * 1.01


def test_a_rehearsal_keeps_the_losses_of_the_pilot_and_draws_the_others(fitted):
    belief = beliefs.of_pilot(fitted, "auto", key=0).some(3, key=0)
    runs, old = rehearsal._together(belief, {"n": np.array([3.3e5, 2e7])})
    targets = rehearsal._targets(belief, runs, old, np.random.default_rng(0))
    assert len(runs) == 16 and np.isnan(old).sum() == 2 and runs.group_by == "n"
    there = ~np.isnan(old)
    np.testing.assert_array_equal(np.sort(targets[0, there]), np.sort(np.log(fitted.runs.loss)))
    assert (np.std(targets[:, ~there], axis=0) > 0).all()


@pytest.mark.thorough
def test_batches_stop_at_the_width_and_at_their_limits(pilot):
    trained = []

    def train(columns):
        trained.append(columns["n"])
        return losses_of(columns["n"], seed=len(trained))

    done = laws.train_until(pilot, "data", want={"alpha": 0.09}, train=train, key=0, max_runs=16, resamples=100)
    widths = done.widths["alpha"]
    narrow = widths <= 0.09
    assert done.outcome == "reached" and narrow[-2:].all() and not (narrow[:-2] & narrow[1:-1]).any()
    assert len(trained) == len(widths) - 1 and len(done.table["n"]) == 14 + sum(map(len, trained))
    assert done.cost == pytest.approx(sum(x.sum() for x in trained))


@pytest.mark.thorough
def test_batches_stop_at_their_limits(pilot):
    train = lambda columns: losses_of(columns["n"])
    short = laws.train_until(
        pilot, "data", want={"alpha": 1e-4}, train=train, key=0, max_runs=3, batch=2, resamples=100
    )
    assert short.outcome == "runs" and len(short.table["n"]) == 17
    poor = laws.train_until(pilot, "data", want={"alpha": 1e-4}, train=train, key=0, max_compute=1e4, resamples=100)
    assert poor.outcome == "budget" and poor.cost == 0
    with pytest.raises(InputError, match="Return a loss for each"):
        laws.train_until(pilot, "data", want={"alpha": 0.01}, train=lambda columns: [1.0], key=0, resamples=100)


def test_speedup_along_one_column(fitted):
    """B reaches every loss with a quarter of the samples."""
    faster = lambda p: p | {"A": p["A"] * 4 ** -p["alpha"]}
    other = dataclasses.replace(fitted, draws=faster(fitted.draws), parameters=faster(fitted.parameters))
    found = laws.effective_speedup(fitted, other, key=0)
    np.testing.assert_allclose(found.ratio.estimate, [4.0], rtol=2e-3)
    assert (
        found.ratio.interval.lower[0] < 4 < found.ratio.interval.upper[0]
        and found.compute == fitted.runs.columns["n"].max()
    )
    assert "recipe B saves n: it takes 4.00" in found.sentences[0] or "may save n or not" in found.sentences[0]
    never = dataclasses.replace(other, parameters=other.parameters | {"E": 9.0})
    none = laws.effective_speedup(fitted, never, key=0)
    assert none.ratio.estimate[0] == 0 and none.sentences[0].startswith("By its fit recipe B never reaches the loss")


@pytest.fixture(scope="module")
def few_draws(chinchilla):
    return dataclasses.replace(chinchilla, draws={name: x[:60] for name, x in chinchilla.draws.items()})


@pytest.mark.thorough
def test_speedup_of_recipes_that_are_known(few_draws):
    """B has A's curve at a third of the compute, N and D scaled alike."""
    faster = {name: np.copy(value) for name, value in few_draws.draws.items()}
    scale = lambda p: p | {"A": p["A"] * 3 ** (-0.5 * p["alpha"]), "B": p["B"] * 3 ** (-0.5 * p["beta"])}
    other = dataclasses.replace(few_draws, draws=scale(faster), parameters=scale(dict(few_draws.parameters)))
    found = laws.effective_speedup(few_draws, other, [1e20, 1e22], key=0)
    np.testing.assert_allclose(found.ratio.estimate, 3.0, rtol=2e-3)
    np.testing.assert_allclose(found.loss, laws.frontier(few_draws, [1e20, 1e22]).loss.estimate, rtol=1e-6)
    assert (found.ratio.interval.lower < 3).all() and (found.ratio.interval.upper > 3).all()
    assert found.sentences[0].startswith("To the loss ") and "recipe B saves compute" in found.sentences[0]
    back = laws.effective_speedup(other, few_draws, 1e20, key=0)
    np.testing.assert_allclose(back.ratio.estimate, 1 / 3, rtol=2e-3)
    assert "recipe B costs compute: it takes 3.00" in back.sentences[0]
    never = dataclasses.replace(other, parameters=dict(other.parameters) | {"E": 3.0})
    assert laws.effective_speedup(few_draws, never, 1e20, key=0).ratio.estimate[0] == 0


def test_speedup_refuses_fits_that_do_not_compare(fitted):
    with pytest.raises(InputError, match="fit_a reads n and fit_b m"):
        laws.effective_speedup(fitted, dataclasses.replace(fitted, law=laws.named("data:m")), key=0)
    with pytest.raises(InputError, match="fit_b has no draws"):
        laws.effective_speedup(fitted, dataclasses.replace(fitted, draws={}), key=0)


def write(path, table):
    rows = [",".join(table), *(",".join(f"{x:.9g}" for x in row) for row in zip(*table.values(), strict=True))]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


def test_the_command_prints_a_verdict_and_writes_its_runs(pilot, tmp_path, capsys):
    file, out, page = write(tmp_path / "pilot.csv", pilot), tmp_path / "next.csv", tmp_path / "plan.html"
    asked = ["plan", file, "--law", "data", "--want", "alpha=0.08", "--cost", "6*1e8*n", "--flops-per-second", "1e14"]
    written = [
        "--write-runs",
        str(out),
        "--page",
        str(page),
        "--tables",
        "8",
        "--resamples",
        "50",
        "--max-runs",
        "16",
        "--json",
    ]
    assert cli.main([*asked, *written]) == 0
    said = json.loads(capsys.readouterr().out)
    assert verdict.check(said).kind == "plan" and said["unit"] == "FLOP" and said["outcome"] == "reached"
    assert said["device_hours"] == pytest.approx(said["cost"] / 3.6e17)
    rows = laws.read_table(out)
    assert len(rows) == sum(row["seeds"] for row in said["runs"]) and set(rows[0]) == {"n", "seed", "cost"}
    assert sum(row["cost"] for row in rows) == pytest.approx(said["cost"], rel=1e-5)
    text = page.read_text()
    assert "figure-width-0" in text and "Width against cost: alpha" in text
    assert len({(row["n"], row["seed"]) for row in rows}) == len(rows)


def test_the_command_gives_the_next_batch_alone(pilot, tmp_path, capsys):
    file, out = write(tmp_path / "pilot.csv", pilot), tmp_path / "next.csv"
    asked = ["plan", file, "--law", "data", "--want", "alpha=0.03", "--sequential", "--batch", "2", "--tables", "0"]
    assert cli.main([*asked, "--max-runs", "9", "--write-runs", str(out)]) == 0
    assert "Add them to the file" in capsys.readouterr().out and len(laws.read_table(out)) == 2


@pytest.mark.thorough
def test_the_command_writes_a_study(pilot, tmp_path, capsys):
    file, out = write(tmp_path / "pilot.csv", pilot), tmp_path / "next.py"
    asked = ["plan", file, "--law", "data", "--want", "alpha=0.04", "--tables", "0", "--write-config", str(out)]
    assert cli.main([*asked, "--base-config", "configs/text_loss.py"]) == 0
    study = config.load(str(out), [], DataScaling, "test")
    assert len(study.sizes) >= 4 and study.run.model.layers == 2
    assert f"Written: {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--want", "alpha=0.1"], "either a file with the runs there are, or --prior"),
        (["none.csv", "--want", "alpha"], "--want 'alpha' is not QUANTITY=WIDTH"),
        (["none.csv", "--want", "alpha=0.1", "--range", "n=5"], "file='none.csv' cannot be read"),
        (["none.csv", "--want", "alpha=0.1", "--flops-per-second", "0"], "--flops-per-second 0 must be positive"),
        (["none.csv", "--want", "alpha=0.1", "--write-config", "a.py"], "--write-config is for --law data"),
        (["--prior", "alpha", "--want", "alpha=0.1"], "--prior 'alpha' is not NAME=LOWER:UPPER"),
    ],
)
def test_the_command_refuses(arguments, said, capsys):
    assert cli.main(["plan", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_page_says_that_nothing_is_to_be_trained(fitted, tmp_path):
    said = laws.plan_document(laws.plan(fitted, want={"alpha": 10.0}, **CHEAP))
    write_plan_page(said, str(tmp_path / "plan.html"), "pilot.csv")
    assert "None: with the 14 runs" in (tmp_path / "plan.html").read_text()


@pytest.mark.slow
def test_stopping_on_width_keeps_coverage():
    """More tables in benchmarks/laws_plan.py; of 100 at 95% a share has a standard error of 2.2 points."""
    held = []
    for index in range(100):
        rng = np.random.default_rng([5, index])
        train = lambda columns, rng=rng: losses_of(columns["n"], seed=rng)
        n = np.repeat(np.geomspace(1e5, 3e6, 7), 2)
        done = laws.train_until(
            {"n": n, "loss": train({"n": n})}, "data", want={"alpha": 0.06}, train=train, key=index, resamples=150
        )
        lower, upper = done.intervals["alpha"]
        held.append(lower <= 0.3 <= upper)
    assert np.mean(held) >= 0.9


@pytest.mark.thorough
def test_tables_on_paper_have_the_intervals_of_a_fit(fitted, monkeypatch):
    """By the design that `laws.fit` chooses for so many groups, which gives wider intervals where they are few."""
    belief = beliefs.of_pilot(fitted, "auto", key=0)
    asked, kinds = wants.checked({"alpha": 0.1}, fitted.law, 0.95), []
    redrawn = rehearsal.resampling.redrawn
    monkeypatch.setattr(rehearsal.resampling, "redrawn", lambda kind, *rest: kinds.append(kind) or redrawn(kind, *rest))
    widths = rehearsal.rehearse(belief, {"n": np.zeros(0)}, asked, key=3, tables=24, resamples=200).widths[:, 0]
    assert fitted.bootstrap == "mixed" and kinds == ["mixed"] * 24
    # No new run: every table is the pilot itself.
    lower, upper = fitting.with_draws(fitted, jax.random.key(4), "auto", 2000).quantity(lambda p: p["alpha"]).interval
    np.testing.assert_allclose(np.median(widths), upper - lower, rtol=0.15)
    many = {"n": np.geomspace(4e6, 3e7, 3)}
    rehearsal.rehearse(belief, many, asked, key=3, tables=2, resamples=50)
    assert kinds[-2:] == ["wild-cluster"] * 2
