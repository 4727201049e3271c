"""Fits of a power law above a floor: exact where the truth is known, invariant, reproducible, honest about doubt."""

import json

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from jaxscale import errors, laws
from jaxscale.laws import projection

KEY = jax.random.key(0)
SIZES = np.repeat(np.logspace(5, 7, 7), 2)


def table(irreducible_loss=1.5, reducible_loss=2.0, exponent=0.3, noise=0.0, seed=0, sizes=SIZES):
    """Losses E + R (n/n_min)^-α with independent relative noise."""
    curve = irreducible_loss + reducible_loss * (sizes / sizes.min()) ** -exponent
    return {"n": sizes, "loss": curve * (1 + noise * np.random.default_rng(seed).normal(size=len(sizes)))}


def codes(fit):
    return {code for code, _ in fit.warnings}


@given(st.floats(0.3, 3.0), st.floats(0.5, 5.0), st.floats(0.05, 1.5))
@settings(max_examples=15, deadline=None)
def test_a_table_without_noise_returns_its_parameters(irreducible_loss, reducible_loss, exponent):
    fit = laws.fit(table(irreducible_loss, reducible_loss, exponent), key=KEY, resamples=100)
    truth = {
        "irreducible_loss": irreducible_loss,
        "scale": reducible_loss * SIZES.min() ** exponent,
        "exponent": exponent,
    }
    chex.assert_trees_all_close(fit.parameters, truth, rtol=1e-6)
    assert not fit.warnings


def test_a_noisy_table_recovers_the_exponent_within_its_interval():
    fit = laws.fit(table(noise=0.003), key=KEY)
    # Over 200 such tables the estimate has standard deviation 0.0063.
    assert fit.exponent == pytest.approx(0.3, abs=3 * 0.0063)
    assert fit.intervals["exponent"].lower < 0.3 < fit.intervals["exponent"].upper
    assert not fit.warnings


@given(st.integers(0, 2**32 - 1), st.floats(0.0, 3.0), st.floats(0.05, 2.0), st.floats(1e-4, 0.1))
@settings(max_examples=15, deadline=None)
def test_no_global_search_finds_a_lower_objective(seed, irreducible_loss, exponent, noise):
    data = table(irreducible_loss, 2.0, exponent, noise, seed)

    def objective(candidate):
        design = np.stack([np.ones(len(SIZES)), (SIZES / 1e6) ** -candidate], -1) / data["loss"][:, None]
        return optimize.nnls(design, np.ones(len(SIZES)))[1] ** 2

    grid = np.linspace(*projection.EXPONENT_RANGE, 2001)
    step = grid[1] - grid[0]
    start = grid[np.argmin([objective(candidate) for candidate in grid])]
    polished = optimize.minimize_scalar(
        objective, bounds=(max(start - step, grid[0]), min(start + step, grid[-1])), options={"xatol": 1e-9}
    )
    fit = laws.fit(data, key=KEY, resamples=100)
    assert np.sum(fit.residuals**2) <= polished.fun * (1 + 1e-9)


def test_the_order_of_the_rows_does_not_matter():
    data = table(noise=0.003)
    order = np.random.default_rng(1).permutation(len(SIZES))
    shuffled = {"n": data["n"][order], "loss": data["loss"][order]}
    for bootstrap in ("wild-cluster", "pairs"):
        first = laws.fit(data, key=KEY, resamples=100, bootstrap=bootstrap)
        second = laws.fit(shuffled, key=KEY, resamples=100, bootstrap=bootstrap)
        chex.assert_trees_all_equal((first.parameters, first.draws), (second.parameters, second.draws))


@given(st.floats(1e-3, 1e3))
@settings(max_examples=8, deadline=None)
def test_scaling_the_loss_scales_floor_and_scale_only(factor):
    data = table(noise=0.003)
    fit = laws.fit(data, key=KEY, resamples=100)
    scaled = laws.fit(data | {"loss": factor * data["loss"]}, key=KEY, resamples=100)
    expected = fit.intervals | {
        name: laws.Interval(*(factor * end for end in fit.intervals[name])) for name in ("irreducible_loss", "scale")
    }
    chex.assert_trees_all_close(scaled.intervals, expected, rtol=1e-7)
    chex.assert_trees_all_close(scaled.residuals, fit.residuals, atol=1e-9)


@given(st.floats(1e-3, 1e3))
@settings(max_examples=8, deadline=None)
def test_the_unit_of_size_does_not_change_the_exponent(unit):
    fit = laws.fit(table(noise=0.003), key=KEY, resamples=100)
    other = laws.fit(table(noise=0.003, sizes=SIZES * unit), key=KEY, resamples=100)
    chex.assert_trees_all_close(other.intervals["exponent"], fit.intervals["exponent"], rtol=1e-7)


def test_duplicating_every_run_changes_neither_curve_nor_interval_center():
    data = table(noise=0.003)
    twice = {name: np.concatenate([column, column]) for name, column in data.items()}
    fit, doubled = laws.fit(data, key=KEY), laws.fit(twice, key=KEY)
    chex.assert_trees_all_close(doubled.parameters, fit.parameters, rtol=1e-8)
    # Whole sizes are resampled, so repeating a run under its own size must not pass for new evidence.
    chex.assert_trees_all_close(doubled.intervals, fit.intervals, rtol=1e-6)


def test_pairs_take_duplicated_runs_for_new_evidence():
    data = table(noise=0.003)
    twice = {name: np.concatenate([column, column]) for name, column in data.items()}
    widths = [
        np.subtract(*laws.fit(rows, key=KEY, bootstrap="pairs").intervals["exponent"][::-1]) for rows in (data, twice)
    ]
    # Twice the runs, 1/√2 = 0.71 of the width; percentiles of 2000 draws are good to about 5%.
    assert 0.55 < widths[1] / widths[0] < 0.85


def test_a_truth_without_floor_ends_at_the_boundary_with_a_warning():
    fit = laws.fit(table(irreducible_loss=0.0, noise=0.003), key=KEY)
    assert fit.intervals["irreducible_loss"].lower == 0
    assert fit.warnings[0][0] == "irreducible_loss_not_identified"
    assert fit.exponent == pytest.approx(0.3, abs=0.05)


def test_a_floor_that_one_decade_of_noisy_runs_cannot_see_is_reported():
    fit = laws.fit(table(noise=0.02, sizes=np.repeat(np.logspace(5, 6, 6), 2)), key=KEY)
    assert {"irreducible_loss_not_identified", "few_decades", "wide_interval"} <= codes(fit)


def test_a_flat_profile_is_reported_where_the_draws_of_pairs_miss_it():
    data = table(irreducible_loss=1.0, noise=0.01, seed=3, sizes=np.logspace(5, 7, 4))
    fit = laws.fit(data, key=KEY, bootstrap="pairs", level=0.9)
    assert fit.intervals["irreducible_loss"].lower > 0
    assert "holding it at 0 fits almost as well" in dict(fit.warnings)["irreducible_loss_not_identified"]


def test_the_profile_touches_the_fit_at_its_floor_only():
    fit = laws.fit(table(noise=0.003), key=KEY)
    lowest = np.argmin(fit.profile.relative_rms)
    step = fit.profile.irreducible_loss[1]
    assert abs(fit.profile.irreducible_loss[lowest] - fit.irreducible_loss) <= step
    assert (fit.profile.relative_rms >= fit.relative_rms).all()
    assert fit.profile.relative_rms[0] > 3 * fit.relative_rms


def test_the_same_key_gives_the_same_draws_and_another_key_others():
    first, again, other = (laws.fit(table(noise=0.003), key=jax.random.key(seed)) for seed in (1, 1, 2))
    chex.assert_trees_all_equal(first.draws, again.draws)
    assert (first.draws["exponent"] != other.draws["exponent"]).all()
    # The ends of the interval move by Monte Carlo error: a few percent of the width.
    width = np.subtract(*first.intervals["exponent"][::-1])
    chex.assert_trees_all_close(first.intervals["exponent"], other.intervals["exponent"], atol=0.25 * width)


def test_a_wider_level_gives_a_wider_interval():
    narrow, wide = (laws.fit(table(noise=0.003), key=KEY, level=level) for level in (0.5, 0.95))
    for name in narrow.parameters:
        assert wide.intervals[name].lower < narrow.intervals[name].lower
        assert wide.intervals[name].upper > narrow.intervals[name].upper


def test_the_band_widens_away_from_the_runs_and_holds_the_curve():
    fit = laws.fit(table(noise=0.003), key=KEY)
    sizes = np.array([[1e6, 1e8], [1e9, 1e10]])
    lower, upper = fit.band(sizes)
    chex.assert_shape((lower, upper, fit.predict(sizes)), (2, 2))
    assert ((lower < fit.predict(sizes)) & (fit.predict(sizes) < upper)).all()
    assert (np.diff((upper - lower).ravel()) > 0).all()


def test_the_curve_goes_through_a_table_without_noise():
    data = table()
    fit = laws.fit(data, key=KEY, resamples=100)
    chex.assert_trees_all_close(fit.predict(data["n"]), data["loss"], rtol=1e-9)


def test_the_model_law_is_the_data_law_over_parameters():
    data = table(noise=0.003)
    by_data = laws.fit(data, law="data", key=KEY, resamples=100)
    by_model = laws.fit({"N": data["n"], "loss": data["loss"]}, law="model", key=KEY, resamples=100)
    chex.assert_trees_all_equal(by_model.draws, by_data.draws)


def test_rows_and_columns_are_read_alike():
    data = table(noise=0.003)
    rows = [{"n": n, "loss": loss, "device": "cpu"} for n, loss in zip(data["n"], data["loss"], strict=True)]
    from_rows, from_columns = laws.fit(rows, key=KEY, resamples=100), laws.fit(data, key=KEY, resamples=100)
    chex.assert_trees_all_equal(from_rows.draws, from_columns.draws)


def test_float64_is_used_inside_and_left_off_outside():
    fit = laws.fit(table(), key=KEY, resamples=100)
    assert fit.draws["exponent"].dtype == np.float64
    assert jnp.ones(1).dtype == jnp.float32


def test_the_summary_survives_json():
    summary = laws.fit(table(noise=0.003), key=KEY, resamples=100).summary()
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_a_fit_is_a_pytree():
    fit = laws.fit(table(noise=0.003), key=KEY, resamples=100)
    assert jax.tree.map(lambda leaf: leaf, fit).summary() == fit.summary()


def test_one_spoiled_run_is_named():
    data = table(noise=1e-4, sizes=np.logspace(5, 7, 9))
    data["loss"][-1] *= 1.05
    fit = laws.fit(data | {"run": [f"width{index}" for index in range(9)]}, key=KEY, level=0.5)
    sentences = dict(fit.warnings)
    assert "width8" in sentences["influential_run"]
    assert np.nanargmax(abs(fit.exponent_without - fit.exponent)) == 8


def test_a_loss_that_rises_is_reported():
    data = table(noise=0.0)
    data["loss"][-2:] *= 1.1
    assert "n=4.642e+06" in dict(laws.fit(data, key=KEY).warnings)["non_monotone"]


def test_a_loss_that_only_grows_has_no_exponent():
    fit = laws.fit({"n": SIZES, "loss": 1 + SIZES / SIZES.max()}, key=KEY)
    assert fit.scale == 0
    # The best constant for relative errors: Σ(1/L) / Σ(1/L²).
    assert fit.irreducible_loss == pytest.approx(np.sum(1 / fit.losses) / np.sum(1 / fit.losses**2))
    assert np.isfinite(list(fit.intervals.values())).all()
    assert {"exponent_at_bound", "non_monotone"} <= codes(fit)


def test_three_sizes_are_resampled_by_run_with_a_warning():
    noise = 1e-4
    fit = laws.fit(table(noise=noise, sizes=np.repeat(np.logspace(5, 7, 3), 2)), key=KEY)
    assert "few_sizes" in codes(fit)
    # Resampled by size the width would be second order in the noise, for the curve meets every mean.
    assert fit.intervals["exponent"].upper - fit.intervals["exponent"].lower > noise


def test_resamples_with_too_few_sizes_are_counted_and_left_out():
    fit = laws.fit(table(noise=0.003, sizes=np.logspace(5, 7, 4)), key=KEY, bootstrap="pairs")
    # Four runs drawn from four: 1 of 64 resamples holds one size, 21 of 64 two; 22/64 of 2000 is 687 ± 21.
    assert 687 - 4 * 21 < fit.rejected < 687 + 4 * 21
    assert len(fit.draws["exponent"]) == 2000 - fit.rejected
    assert np.isfinite(fit.draws["exponent"]).all()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda rows: rows[:3], "3 rows"),
        (lambda rows: rows[:4], "2 distinct values of n"),
        (lambda rows: [*rows, {"n": -1.0, "loss": 2.0}], r"n=-1.0 in row 14 is not"),
        (lambda rows: [*rows, {"n": 1e6, "loss": float("nan"), "run": "seed7"}], r"loss=nan in row 14 \(run seed7\)"),
        (lambda rows: [*rows, {"n": 1e6, "loss": None}], "loss=None in row 14"),
        (lambda rows: [*rows, {"n": 1e6}], "row 14 has no column 'loss'"),
        (lambda rows: {"n": SIZES, "loss": SIZES[:5]}, "shapes"),
        (lambda rows: {"size": SIZES, "loss": SIZES}, "no column 'n'"),
    ],
)
def test_a_table_that_cannot_be_fitted_says_where(change, named):
    data = table()
    rows = [{"n": n, "loss": loss} for n, loss in zip(data["n"], data["loss"], strict=True)]
    with pytest.raises(errors.InputError, match=named):
        laws.fit(change(rows), key=KEY)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"law": "dat"}, "did you mean 'data'"),
        ({"bootstrap": "wild"}, "did you mean 'wild-cluster'"),
        ({"level": 95}, "level=95"),
        ({"resamples": 10}, "resamples=10"),
    ],
)
def test_an_option_out_of_range_is_named(options, named):
    with pytest.raises(errors.InputError, match=named):
        laws.fit(table(), key=KEY, **options)
