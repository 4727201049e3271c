"""Fits: exact where the truth is known, lowest where it is not, invariant, reproducible, honest about doubt."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import errors, laws
from jaxscale.laws import minimize
from tests.laws.tables import CHINCHILLA, SIZES, isoflop_grid, power_law

KEY = jax.random.key(0)


def fit(table, law="data", **options):
    return laws.fit(table, law, key=KEY, **{"resamples": 100} | options)


def codes(fitted):
    return {code for code, _ in fitted.warnings}


@given(st.floats(0.3, 3.0), st.floats(0.5, 5.0), st.floats(0.05, 1.5))
@settings(max_examples=10)
def test_a_table_without_noise_returns_its_parameters(E, reducible, alpha):
    fitted = fit(power_law(E, reducible, alpha), resamples=0)
    truth = {"E": E, "A": reducible * SIZES.min() ** alpha, "alpha": alpha}
    chex.assert_trees_all_close(fitted.parameters, truth, rtol=1e-6)


@pytest.mark.thorough
def test_the_loss_in_the_length_of_its_context_is_a_power_law_with_a_floor():
    """(α/c)^β + γ of Xiong et al. 2023 (arXiv 2309.16039); beside terms in N and D it is one more term."""
    context = np.repeat(2.0 ** np.arange(9, 16), 2)
    fitted = fit({"context": context, "loss": (20.0 / context) ** 0.45 + 1.56}, "data:context", resamples=0)
    chex.assert_trees_all_close(fitted.parameters, {"E": 1.56, "A": 20.0**0.45, "alpha": 0.45}, rtol=1e-6)
    grid = isoflop_grid()
    context = np.tile(2.0 ** np.arange(9, 15), 9)
    table = grid | {"context": context, "loss": grid["loss"] + (20.0 / context) ** 0.45}
    found = fit(table, "additive:N,D,context", resamples=0).parameters
    chex.assert_trees_all_close(found, CHINCHILLA | {"F": 20.0**0.45, "gamma": 0.45}, rtol=1e-4)


def test_chinchilla_returns_its_parameters_without_noise():
    fitted = fit(isoflop_grid(), "chinchilla", resamples=0)
    chex.assert_trees_all_close(fitted.parameters, CHINCHILLA, rtol=1e-5)


def test_the_truth_lies_in_every_interval_of_a_noisy_table(chinchilla):
    for name, value in CHINCHILLA.items():
        lower, upper = chinchilla.intervals[name]
        assert lower < value < upper
    assert chinchilla.convergence.share_at_optimum > 0.5
    assert chinchilla.convergence.stationarity < 1e-12
    assert not chinchilla.convergence.dead_terms and not chinchilla.convergence.unmoved


def test_the_order_of_the_rows_does_not_matter():
    data = power_law(noise=0.003)
    order = np.random.default_rng(1).permutation(len(SIZES))
    shuffled = {"n": data["n"][order], "loss": data["loss"][order]}
    for bootstrap in ("wild-cluster", "pairs"):
        first, second = fit(data, bootstrap=bootstrap), fit(shuffled, bootstrap=bootstrap)
        chex.assert_trees_all_equal((first.parameters, first.draws), (second.parameters, second.draws))


@given(st.floats(1e-3, 1e3))
@settings(max_examples=5)
def test_scaling_the_loss_scales_floor_and_scale_only(factor):
    data = power_law(noise=0.003)
    fitted = fit(data, resamples=0)
    scaled = fit(data | {"loss": factor * data["loss"]}, resamples=0)
    expected = fitted.parameters | {name: factor * fitted.parameters[name] for name in ("E", "A")}
    chex.assert_trees_all_close(scaled.parameters, expected, rtol=1e-6)


@pytest.mark.thorough
@given(st.floats(1e-3, 1e3))
@settings(max_examples=2)
def test_the_unit_of_size_does_not_change_the_exponent(unit):
    fitted = fit(power_law(noise=0.003))
    other = fit(power_law(noise=0.003, sizes=SIZES * unit))
    chex.assert_trees_all_close(other.intervals["alpha"], fitted.intervals["alpha"], rtol=1e-5)


@pytest.mark.thorough
def test_repeating_every_run_under_its_size_is_no_new_evidence():
    data = power_law(noise=0.003)
    twice = {name: np.concatenate([column, column]) for name, column in data.items()}
    once, doubled = fit(data, resamples=200), fit(twice, resamples=200)
    chex.assert_trees_all_close(doubled.parameters, once.parameters, rtol=1e-6)
    width = lambda fitted: np.subtract(*fitted.intervals["alpha"])
    # Whole sizes are redrawn: the same up to corrections for few runs in a group.
    assert width(doubled) == pytest.approx(width(once), rel=0.1)
    assert "duplicate_runs" in codes(doubled)
    # Taken one by one, twice the runs make intervals about 1/√2 as wide.
    singly = [fit(rows, resamples=200, bootstrap="pairs") for rows in (data, twice)]
    assert 0.5 < width(singly[1]) / width(singly[0]) < 0.9


def test_the_band_widens_away_from_the_runs_and_holds_the_curve(chinchilla):
    N, D = np.array([[1e9, 1e10], [1e11, 1e12]]), np.array([[2e10, 2e11], [2e12, 2e13]])
    lower, upper = chinchilla.band(N, D)
    loss = chinchilla.predict(N, D)
    chex.assert_shape((lower, upper, loss), (2, 2))
    assert ((lower < loss) & (loss < upper)).all()


def test_derived_quantities_come_from_the_same_draws(chinchilla):
    exponent = chinchilla.quantity(lambda p: p["beta"] / (p["alpha"] + p["beta"]))
    assert exponent.interval.lower < 0.28 / 0.62 < exponent.interval.upper
    same = chinchilla.quantity(lambda p: p["alpha"])
    assert same.interval == chinchilla.intervals["alpha"]


def test_a_truth_without_floor_is_reported():
    fitted = fit(power_law(E=0.0, noise=0.003))
    assert "irreducible_loss_not_identified" in codes(fitted)
    assert fitted.parameters["alpha"] == pytest.approx(0.3, abs=0.05)


def test_a_floor_that_one_decade_of_noisy_runs_cannot_see_is_reported():
    fitted = fit(power_law(noise=0.02, sizes=np.repeat(np.logspace(5, 6, 7), 2)), resamples=400)
    assert {"irreducible_loss_not_identified", "few_decades"} <= codes(fitted)


def test_a_loss_that_only_grows_has_a_dead_term():
    fitted = fit({"n": SIZES, "loss": 1 + SIZES / SIZES.max()})
    assert fitted.parameters["A"] == 0
    assert {"dead_term", "non_monotone"} <= codes(fitted)


def test_one_spoiled_run_is_named():
    data = power_law(noise=1e-3)
    data["loss"][5] *= 1.1
    fitted = fit(data | {"run": [f"width{index}" for index in range(14)]})
    assert "width5" in dict(fitted.warnings)["outlier_runs"]


def test_rows_columns_and_other_columns_are_read_alike():
    data = power_law(noise=0.003)
    rows = [{"n": n, "loss": loss, "device": "cpu"} for n, loss in zip(data["n"], data["loss"], strict=True)]
    by_model = fit({"N": data["n"], "loss": data["loss"]}, "model")
    chex.assert_trees_all_equal(fit(rows).draws, fit(data).draws)
    chex.assert_trees_all_equal(by_model.draws, fit(data).draws)


def test_float64_is_used_inside_and_left_off_outside():
    fitted = fit(power_law(noise=0.003))
    assert fitted.draws["alpha"].dtype == np.float64
    assert jnp.ones(1).dtype == jnp.float32


def test_the_same_key_gives_the_same_draws_and_another_key_others():
    table = power_law(noise=0.003)
    first, again, other = (laws.fit(table, key=jax.random.key(seed), resamples=100) for seed in (1, 1, 2))
    chex.assert_trees_all_equal(first.draws, again.draws)
    assert (first.draws["alpha"] != other.draws["alpha"]).all()


@pytest.mark.slow
def test_lanes_spread_over_devices_reach_the_same_optimum(monkeypatch):
    table = power_law(noise=0.003)
    alone = fit(table)
    monkeypatch.setattr(minimize, "_devices", jax.devices)
    assert len(jax.devices()) > 1
    chex.assert_trees_all_close(fit(table).draws, alone.draws, rtol=1e-9)


def test_the_summary_survives_json(chinchilla):
    assert json.loads(json.dumps(chinchilla.summary(), allow_nan=False)) == chinchilla.summary()


def test_a_fit_is_a_pytree(chinchilla):
    assert jax.tree.map(lambda leaf: leaf, chinchilla).summary() == chinchilla.summary()


def test_resamples_with_too_few_sizes_are_counted_and_left_out():
    fitted = laws.fit(power_law(noise=0.003, sizes=np.logspace(5, 7, 5)), key=KEY, bootstrap="pairs", resamples=1000)
    # Five runs drawn from five: 5/5^5 hold one size, 10 (2^5 - 2)/5^5 two; 305/3125 of 1000 is 98 ± 9.
    assert 98 - 4 * 9 < fitted.rejected < 98 + 4 * 9
    assert len(fitted.draws["alpha"]) == 1000 - fitted.rejected
    assert np.isfinite(fitted.draws["alpha"]).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda rows: rows[:3], "has 3 rows at 2 distinct points"),
        (lambda rows: [*rows, {"n": -1.0, "loss": 2.0}], r"n=-1.0 in row 14 is not"),
        (lambda rows: [*rows, {"n": 1e6, "loss": float("inf")}], r"loss=inf in row 14 is not"),
        (lambda rows: [*rows, {"n": 1e6, "loss": "diverged"}], "loss=diverged in row 14"),
        (lambda rows: [*rows, {"loss": 2.0}], "n=None in row 14"),
        (lambda rows: [{"n": 1e6, "loss": row["loss"]} for row in rows], "14 rows at 1 distinct points"),
        (lambda rows: {"n": SIZES, "loss": SIZES[:5]}, "shapes"),
        (lambda rows: {"n": SIZES, "los": SIZES}, "no column 'loss'; did you mean 'los'"),
        (lambda rows: {"size": SIZES, "loss": SIZES}, "no column 'n'"),
        (lambda rows: [], "no column 'n'"),
        (lambda rows: "runs.csv", "table is a str"),
    ],
)
def test_a_table_that_cannot_be_fitted_says_where(change, named):
    data = power_law()
    rows = [{"n": n, "loss": loss} for n, loss in zip(data["n"], data["loss"], strict=True)]
    with pytest.raises(errors.InputError, match=named):
        fit(change(rows))


def test_a_column_that_never_varies_is_refused():
    table = isoflop_grid(noise=0.003)
    with pytest.raises(errors.InputError, match="all 54 runs have N=1e"):
        fit(table | {"N": np.full(54, 1e9)}, "chinchilla")


def test_runs_taken_as_independent_are_not_said_to_be_of_one_size_each():
    table = power_law(noise=0.003)  # two runs of every size
    assert "one_run_per_size" not in dict(laws.fit(table, groups=None, resamples=0).warnings)
    few = {name: values[:6] for name, values in power_law(noise=0.003).items()}  # three groups, three parameters
    said = dict(laws.fit(few, resamples=0).warnings)
    assert "few_groups" in said and "one_run_per_size" not in said


def test_one_run_for_each_size_is_reported():
    assert "one_run_per_size" in codes(fit(power_law(noise=0.003, sizes=np.logspace(5, 7, 14))))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"law": "dat"}, "did you mean 'data'"),
        ({"bootstrap": "wild"}, "did you mean 'wild-cluster'"),
        ({"interval": "bc"}, "did you mean 'bca'"),
        ({"level": 95}, "level=95"),
        ({"resamples": 10}, "resamples=10"),
        ({"weights": "w"}, "no column 'w'"),
        ({"groups": "seed"}, "no column 'seed'"),
    ],
)
def test_an_option_out_of_range_is_named(options, named):
    with pytest.raises(errors.InputError, match=named):
        fit(power_law(), **options)


def test_resamples_need_a_key():
    with pytest.raises(errors.InputError, match="key=None"):
        laws.fit(power_law())
