"""Best hyper-parameters: a product of powers, of a column that is not the loss, and the best settings of sweeps."""

import csv
import dataclasses
import functools
import json

import jax
import numpy as np
import pytest

from jaxscale import cli, errors, laws, verdict
from jaxscale.laws import diagnosis, figures
from jaxscale.laws.page import write_law_page

KEY = jax.random.key(0)
# N, D, batch size in tokens, learning rate and loss of the best of 91 settings each: L. Lingle, "Scaling laws for
# optimal LR and batch size", part III, 2025.
PUBLISHED = np.array(
    [
        (46006272, 127991808, 32768, 0.001953, 3.880559),
        (109051904, 127991808, 32768, 0.000977, 3.794820),
        (368050176, 127991808, 65536, 0.000691, 3.714983),
        (46006272, 255983616, 65536, 0.001953, 3.682230),
        (109051904, 255983616, 65536, 0.001381, 3.582214),
        (368050176, 255983616, 65536, 0.000977, 3.486761),
        (46006272, 511967232, 65536, 0.002762, 3.518618),
        (109051904, 511967232, 131072, 0.001953, 3.403666),
        (368050176, 511967232, 131072, 0.000977, 3.287104),
        (46006272, 1023934464, 131072, 0.003906, 3.384921),
        (109051904, 1023934464, 131072, 0.001953, 3.256896),
        (368050176, 1023934464, 131072, 0.000977, 3.123393),
        (872415232, 127991808, 65536, 0.000488, 3.670941),
        (872415232, 255983616, 65536, 0.000488, 3.434034),
        (872415232, 511967232, 131072, 0.000691, 3.233707),
        (2944401408, 127991808, 32768, 0.000244, 3.611588),
        (2944401408, 255983616, 65536, 0.000345, 3.371229),
        (872415232, 1023934464, 131072, 0.000691, 3.058425),
    ]
)
TABLE = dict(zip(("N", "D", "batch", "lr", "loss"), PUBLISHED.T, strict=True))


def least_squares_of_logarithms(table, columns, target):
    """The coefficients and their standard errors, of a constant and the columns, in logarithms."""
    X = np.stack([np.ones(len(table[target])), *(np.log(table[column]) for column in columns)], axis=1)
    y = np.log(table[target])
    found = np.linalg.lstsq(X, y, rcond=None)[0]
    variance = np.sum((y - X @ found) ** 2) / (len(y) - X.shape[1])
    return found, np.sqrt(variance * np.diag(np.linalg.inv(X.T @ X)))


@functools.cache
def fitted(target="lr", columns="N,D"):
    return laws.fit(
        TABLE,
        f"product:{columns}",
        key=KEY,
        objective=laws.least_squares(),
        groups=None,
        resamples=200,
        target=target,
    )


def codes(fit):
    return {code for code, _ in fit.warnings}


@pytest.mark.parametrize(
    ("target", "columns"), [("lr", "N,D"), pytest.param("lr", "N,D,batch", marks=pytest.mark.thorough)]
)
def test_without_delta_a_product_is_least_squares_of_logarithms(target, columns):
    found, _ = least_squares_of_logarithms(TABLE, columns.split(","), target)
    fit = laws.fit(TABLE, f"product:{columns}", objective=laws.least_squares(), resamples=0, target=target)
    assert fit.law.parameters == ("c", "alpha", "beta", "gamma")[: len(found)]
    np.testing.assert_allclose(list(fit.parameters.values()), [np.exp(found[0]), *found[1:]], rtol=1e-8)
    np.testing.assert_allclose(fit.predict(*fit.runs.values), fit.runs.loss * np.exp(fit.residuals), rtol=1e-9)


def test_intervals_of_a_product_are_those_of_least_squares():
    fit = fitted()
    found, error = least_squares_of_logarithms(TABLE, ("N", "D"), "lr")
    for name, value, spread in zip(("alpha", "beta"), found[1:], error[1:], strict=True):
        lower, upper = fit.intervals[name]
        assert lower < value < upper
        assert (upper - lower) / (2 * 2.13 * spread) == pytest.approx(1, abs=0.2)  # Student's t with 15 degrees
    # Li et al. 2025 have -0.713 and 0.307 of other models.
    assert fit.intervals["alpha"].upper < 0 < fit.intervals["beta"].lower


def test_a_negative_exponent_is_wide_where_its_ends_are_far_apart():
    fit = fitted()
    assert "wide_interval" not in codes(fit) or "alpha" not in dict(fit.warnings)["wide_interval"]
    told = {}
    for low, high in ((-0.6, -0.4), (-0.9, -0.3), (0.2, 0.3), (0.1, 0.3), (-0.1, 0.3)):
        other = dataclasses.replace(fit, intervals=fit.intervals | {"alpha": laws.Interval(low, high)})
        told[low, high] = [code for code, said in diagnosis._widths(other) if "alpha" in said]
    assert told == {
        (-0.6, -0.4): [],
        (-0.9, -0.3): ["wide_interval"],
        (0.2, 0.3): [],
        (0.1, 0.3): ["wide_interval"],
        (-0.1, 0.3): ["zero_exponent"],
    }


def test_an_exponent_that_may_be_zero_is_said_to_be():
    """The best batch size does not depend on N, as Li et al. 2025 found too."""
    said = dict(fitted("batch").warnings)
    assert "the runs do not show that the batch depends on N" in said["zero_exponent"]
    assert "dead_term" not in said and "non_monotone" not in said


def test_the_optimum_of_a_product_is_found_from_everywhere():
    fit = fitted()
    assert fit.convergence.share_at_optimum > 0.9 and fit.convergence.stationarity < 1e-12
    assert not fit.convergence.dead_terms and not fit.convergence.at_bound
    assert min(fit.flatness.values()) > 50
    profile = laws.profile(fit, "alpha")
    assert profile.interval.lower < fit.parameters["alpha"] < profile.interval.upper < 0


@pytest.mark.thorough
def test_no_word_says_loss_of_a_learning_rate(tmp_path):
    fit = fitted()
    said = laws.document(fit, key=KEY, predictions=[laws.predict_run(fit, {"N": 7e9, "D": 2e12}, key=0)])
    verdict.check(said)
    assert said["formula"] == "lr(N, D) = c N^α D^β" and said["target"] == "lr"
    assert said["question"] == "How does the lr depend on N and D?"
    assert "lr at N = 7.00e09, D = 2.00e12" in {number["name"] for number in said["numbers"]}
    limits = said.pop("limits")
    assert "loss" not in json.dumps(said), [said[key] for key in said if "loss" in json.dumps(said[key])]
    assert "frontier" not in said
    said["limits"] = limits
    write_law_page(said, str(tmp_path / "fit.html"), "table")
    page = (tmp_path / "fit.html").read_text(encoding="utf-8")
    assert "lr along N" in page and "Residuals against fitted lr" in page and "loss" not in page
    assert figures.residual_figure(said, "N").layout.yaxis.title.text == "residual, log(fitted / lr)"


def test_a_fit_of_another_column_answers_nothing_about_the_loss(chinchilla):
    fit = fitted()
    for ask in (lambda: laws.against_theory(fit, 8.0), lambda: laws.split_budget(fit, 1e24)):
        with pytest.raises(errors.InputError):
            ask()
    other = dataclasses.replace(chinchilla, runs=dataclasses.replace(chinchilla.runs, target="lr"))
    plan = lambda: laws.plan(other, want={"beta": 0.1}, key=0)
    for ask in (lambda: laws.against_theory(other, 8.0), lambda: laws.frontier(other, 1e24), plan):
        with pytest.raises(errors.InputError, match="'lr'"):
            ask()
    assert other.formula == "lr(N, D) = E + A N^-α + B D^-β"


@pytest.mark.parametrize(
    ("law", "target", "said"),
    [
        ("product:N,D", "rate", "no column 'rate'"),
        ("product:N,lr", "lr", "target='lr' is a column that law"),
        ("product:N,D", 3, "3 is not the name of a column"),
        ("product:N,D,lr,batch", "loss", "one to 3 different names"),
        ("product:N,N", "lr", "one to 3 different names"),
    ],
)
def test_what_cannot_be_a_target_is_refused(law, target, said):
    with pytest.raises(errors.InputError, match=said):
        laws.fit(TABLE, law, resamples=0, target=target)


def test_rows_without_the_target_are_left_out_by_its_name():
    table = {name: np.append(values, 1e9) for name, values in TABLE.items()}
    table["lr"][-1] = np.nan
    with_gap = laws.fit(table, "product:N,D", resamples=0, target="lr")
    assert "One row has no lr" in dict(with_gap.warnings)["rows_dropped"]
    with pytest.raises(errors.InputError, match="lr=-1"):
        laws.fit(
            TABLE | {"lr": np.where(TABLE["lr"] > 0.003, -1, TABLE["lr"])}, "product:N,D", resamples=0, target="lr"
        )


RATES = np.geomspace(1e-4, 1e-1, 13)


def sweep(rates=RATES, curvature=0.02, noise=0.0):
    """Runs of six cells at each of several learning rates around a best one of 0.5 N^-0.4 D^0.1."""
    N, D = np.repeat([1e7, 1e8, 1e9], 2), np.tile([1e9, 1e10], 3)
    best = 0.5 * N**-0.4 * D**0.1
    N, D, best = (np.repeat(x, len(rates)) for x in (N, D, best))
    lr = np.tile(rates, 6)
    loss = 2 + 100 * N**-0.3 + curvature * np.log(lr / best) ** 2
    loss = loss * (1 + noise * np.random.default_rng(0).normal(size=len(lr)))
    return {"N": N, "D": D, "lr": lr, "loss": loss}


def test_the_best_of_a_sweep_is_the_bottom_of_its_parabola():
    best = laws.best_settings(sweep(), "lr", by=("N", "D"))
    assert not best.findings and len(best) == 6
    for row in best:
        assert row["lr"] == pytest.approx(0.5 * row["N"] ** -0.4 * row["D"] ** 0.1, rel=1e-9)
        assert row["loss"] == pytest.approx(2 + 100 * row["N"] ** -0.3, rel=1e-12)
    fit = laws.fit(best, "product:N,D", resamples=0, target="lr")
    np.testing.assert_allclose(list(fit.parameters.values()), [0.5, -0.4, 0.1], rtol=1e-6)
    assert fit.runs.names[0] == "N=1e+07, D=1e+09"


def test_a_best_at_an_end_of_the_grid_is_left_out_and_said():
    best = laws.best_settings(sweep(np.geomspace(8e-4, 1e-1, 9)), "lr", by=("N", "D"))
    (finding,) = best.findings
    assert finding[0] == "best_at_end" and len(best) == 5
    assert "In 1 of 6 cells" in finding[1] and "N=1e+09, D=1e+09 (lr)" in finding[1]
    fit = laws.fit(best, "product:N,D", resamples=0, target="lr")
    assert "best_at_end" in codes(fit)
    with pytest.raises(errors.InputError, match="in none of the 6 cells"):
        laws.best_settings(sweep(np.geomspace(0.1, 1, 5)), "lr", by=("N", "D"))
    with pytest.raises(errors.InputError, match="in none of the 6 cells"):  # one is no sweep
        laws.best_settings(sweep(np.array([1e-3])), "lr", by=("N", "D"))


def test_a_run_that_diverged_is_worse_than_any_and_one_without_a_loss_is_none():
    """The best learning rate may lie just below those that diverge, and is no end of the grid then."""
    table = {"N": [1e8] * 4, "lr": [1e-4, 1e-3, 1e-2, 1e-1], "loss": [3.0, 2.9, np.nan, np.inf]}
    (row,) = laws.best_settings(table, "lr", by="N")
    assert (row["lr"], row["loss"]) == (1e-3, 2.9)
    with pytest.raises(errors.InputError, match="in none of"):
        laws.best_settings(table | {"loss": [3.0, 2.9, None, ""]}, "lr", by="N")
    with pytest.raises(errors.InputError, match=r"loss=-1\.0 in row 3"):
        laws.best_settings(table | {"loss": [3.0, None, 2.9, -1.0]}, "lr", by="N")
    with pytest.raises(errors.InputError, match=r"lr=0\.0 in row 3"):
        laws.best_settings(table | {"lr": [1.0, 2.0, 3.0, 0.0], "loss": [3.0, None, 2.9, 3.0]}, "lr", by="N")


def test_a_bottom_that_is_none_leaves_the_best_that_was_tried():
    # The three lowest lie to one side, and their parabola has its bottom beyond the neighbors of the lowest.
    table = {"N": [1e8] * 5, "lr": [1, 2, 4, 8, 16], "loss": [9.0, 2.0, 2.1, 2.11, 9.0]}
    (row,) = laws.best_settings(table, ["lr"], by=["N"])
    assert (row["lr"], row["loss"]) == (2.0, 2.0)
    # Of runs with equal settings the mean counts.
    table = {"N": [1e8] * 5, "lr": [1, 2, 2, 4, 4], "loss": [3.0, 1.0, 3.2, 2.0, 2.0]}
    with pytest.raises(errors.InputError, match="in none"):
        laws.best_settings(table, "lr", by="N")


def test_several_settings_are_the_best_that_was_tried():
    lr, batch = (x.ravel() for x in np.meshgrid(np.geomspace(1e-4, 1e-2, 5), [32.0, 64.0, 128.0, 256.0]))
    rows = [
        {"run": f"{size}-{i}", "N": size, "lr": a, "batch": b, "seed": i, "data": "c4", "loss": loss}
        for size, at in ((1e7, 64.0), (1e8, 128.0), (1e9, 256.0))
        for i, (a, b, loss) in enumerate(
            zip(lr, batch, 2 + np.log(lr / 1e-3) ** 2 + np.log(batch / at) ** 2, strict=True)
        )
    ]
    best = laws.best_settings(rows, ("lr", "batch"), by=("N", "data"))
    assert [(row["N"], row["batch"]) for row in best] == [(1e7, 64.0), (1e8, 128.0)]
    assert all(row["lr"] == pytest.approx(1e-3) and row["data"] == "c4" and "seed" not in row for row in best)
    assert "N=1e+09, data=c4 (batch)" in dict(best.findings)["best_at_end"]


@pytest.mark.parametrize(
    ("settings", "by", "said"),
    [
        ("rate", "N", "no column 'rate'"),
        ("lr", "M2", "no column 'M2'"),
        ("lr", ("N", "lr"), "share lr"),
        ("loss", "N", "or name the loss"),
        ((), "N", "must be different names"),
        ("lr", 3, "by=3 must be different names"),
    ],
)
def test_what_is_no_sweep_is_refused(settings, by, said):
    with pytest.raises(errors.InputError, match=said):
        laws.best_settings(sweep(), settings, by)


@pytest.fixture
def runs(tmp_path):
    table = sweep(noise=1e-5)
    path = tmp_path / "sweep.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(table)
        writer.writerows(zip(*table.values(), strict=True))
    return str(path)


def test_a_sweep_is_fitted_on_the_command_line(runs, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    command = ["fit", runs, "--law", "product:N,D", "--best", "lr", "--target", "lr", "--resamples", "0"]
    assert cli.main([*command, "--predict", "N=1e10,D=1e11"]) == 0
    text = capsys.readouterr().out
    assert "lr(N, D) = c N^α D^β   (6 runs" in text and "loss" not in text
    assert "R² = " in text and " of the log lr" in text
    assert cli.main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parameters"]["alpha"]["estimate"] == pytest.approx(-0.4, abs=0.01)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--target", "rate", "--law", "data:N"], "--map rate=COLUMN"),
        (["--target", "N", "--law", "product:N,D"], "--target 'N' is a column that law"),
        (
            ["--target", "lr", "--law", "chinchilla", "--budget", "1e24"],
            "--budget is asked of the loss, and --target lr",
        ),
        (["--target", "lr", "--law", "chinchilla", "--dimension", "8"], "--dimension is asked of the loss"),
        (["--law", "product:N,D", "--budget", "1e24"], "is a product of powers"),
        (["--law", "product:N,D", "--dimension", "8"], "has no irreducible loss"),
        (["--law", "product:N,D", "--best", "rate"], "no column 'rate'"),
        (["--law", "product:N,D", "--best", "lr,,"], "--best ['lr', '', ''] must be different names"),
        (["--law", "product:lr", "--best", "lr"], "share lr"),
    ],
)
def test_what_cannot_be_fitted_of_a_sweep_is_said_in_flags(flags, said, runs, capsys):
    assert cli.main(["fit", runs, "--resamples", "0", *flags]) == 2
    assert said in capsys.readouterr().err
