"""Everything there is to say of a fit as plain values: what `jaxscale fit --json` prints and its page is drawn from."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.laws import answered
from jaxscale.laws.answers import BudgetSplit, Prediction
from jaxscale.laws.compute_optimal import IsoFlop, check_splits, frontier
from jaxscale.laws.diagnosis import exponents
from jaxscale.laws.flops import FLOPS, PLAIN, FlopCount
from jaxscale.laws.identifiability import profile
from jaxscale.laws.minimize import Progress
from jaxscale.laws.results import Fit, Interval, Quantity, check_fit, plain, plain_quantity
from jaxscale.laws.selection import BackTest, Comparison, back_test, forecast_failed
from jaxscale.laws.theory_check import TheoryCheck, without_trust
from jaxscale.page.numerals import interval, percent
from jaxscale.page.numerals import number as written
from jaxscale.verdict import Stopwatch, complete, number, overall

LIMITS = (
    "The form of the law is assumed. Intervals say how well these runs determine its parameters if it holds; beyond "
    "the range of the runs that is extrapolation.",
    "What all runs share is in no interval, such as large models that were all trained too short.",
)
_CURVE_POINTS = 60
_BEYOND = 10.0  # how far past the largest run curves are drawn
_BUDGETS = (1.0, 10.0, 100.0)  # times the largest compute among the runs


def document(
    fitted: Fit,
    check: TheoryCheck | None = None,
    comparison: Comparison | None = None,
    *,
    key: jax.Array | int,
    predictions: Sequence[Prediction] = (),
    split: BudgetSplit | None = None,
    isoflop: IsoFlop | None = None,
    flops: FlopCount = PLAIN,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """The verdict on a fit (docs/verdict.md), and beside its keys the summary of the fit, its table, curves, residuals,
    influence, profiles, starts, back-test, frontier, theory and answers, as far as they exist; numbers, strings, lists
    and dictionaries only.

    Args:
      fitted: what to sum up.
      check, comparison: of the same table, where there are any.
      key: a JAX random key, or an int for `jax.random.key`. Of the back-test.
      predictions, split, isoflop: answers to what was asked of the fit, where anything was.
      flops: how compute is counted.
      progress: called with "back-test" or "profiles", how much of it is done, and how much there is.
    """
    check_fit("fitted", fitted)
    watch = Stopwatch()
    with watch.stage("profiles and back-test"):
        test = back_test(fitted, key=random_key("key", key), progress=progress) if fitted.draws else None
        if test is not None and (failed := forecast_failed(test)):
            fitted = dataclasses.replace(fitted, warnings=(failed, *fitted.warnings))
            check = check and without_trust(check)
        said = _verdict(fitted, check, comparison, answered.document(predictions, split, isoflop, fitted.target))
        said |= _own(fitted, test, check, comparison, flops, progress)
    return complete(said, watch)


def _verdict(
    fitted: Fit, check: TheoryCheck | None, comparison: Comparison | None, answers: dict[str, Any]
) -> dict[str, Any]:
    """What a verdict says of any kind, and the answers; the caveats are in the fit's summary."""
    columns = " and ".join(fitted.law.columns)
    said = answered.sentences(answers, fitted.target)
    return {
        "kind": "fit",
        "question": f"How does the {fitted.target} depend on {columns}"
        + (", and do its exponents agree with theory?" if check else "?"),
        "sentence": " ".join([*_sentences(fitted, check, comparison), *said]),
        "agreement": overall(one.agreement for one in check.exponents) if check else None,
        "numbers": [*answered.verdict_numbers(answers, fitted.target), *_numbers(fitted, check, comparison)],
        "limits": [*LIMITS, *(check.limits if check else ())],
    } | answers


def _sentences(fitted: Fit, check: TheoryCheck | None, comparison: Comparison | None) -> Iterator[str]:
    level = f", at {percent(fitted.level)}" if fitted.draws else ""
    found = ", ".join(f"{name} = {_written(_of(fitted, name))}" for name in _first(fitted))
    held = ", ".join(f"{name} held at {written(float(value))}" for name, value in fitted.fixed.items())
    fixed = f" with {held}" if held else ""
    yield f"{fitted.formula}, fitted to {len(fitted.runs)} runs{fixed}, has {found}{level}."
    if check is not None:
        compared = "; ".join(
            f"{one.parameter} = {_written(one.predicted)}, {one.agreement}"
            + (" as the floor E is not identified" if one.floor_unknown else "")
            + (", though this law does not describe the runs" if one.law_fails else "")
            for one in check.exponents
        )
        yield f"At d = {_written(check.d)} and β = {_written(check.beta)} theory predicts {compared}."
    if comparison is not None:
        yield comparison.verdict


def _numbers(fitted: Fit, check: TheoryCheck | None, comparison: Comparison | None) -> Iterator[dict[str, Any]]:
    """The exponents first, then E and the scales; of laws that were compared, AICc and the error of forecasts."""
    predicted = {one.parameter: float(one.predicted.estimate) for one in check.exponents} if check else {}
    for name in dict.fromkeys([*_first(fitted), *fitted.law.parameters]):
        estimate, ends = _of(fitted, name)
        yield number(name, float(estimate), _ends(ends), predicted.get(name))
    for candidate in comparison.candidates if comparison else ():
        yield number(f"AICc of {candidate.law} above the best", _finite(candidate.criterion))
        yield number(f"error of forecasts by {candidate.law}", _finite(candidate.forecast.overall))


def _first(fitted: Fit) -> list[str]:
    """The exponents that were fitted; of a law without, all parameters that were."""
    free = [name for name in exponents(fitted) if name not in fitted.fixed]
    return free or [name for name in fitted.law.parameters if name not in fitted.fixed]


def _of(fitted: Fit, name: str) -> Quantity:
    """A parameter with its interval; NaN ends where there is none, as of one that was held."""
    none = Interval(np.nan, np.nan)
    return Quantity(fitted.parameters[name], none if name in fitted.fixed else fitted.intervals.get(name, none))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ends(ends: Interval) -> list[float | None] | None:
    """None where neither end is known, as without resamples."""
    plain = [_finite(end) for end in ends]
    return None if plain == [None, None] else plain


def _written(quantity: Quantity) -> str:
    """An estimate and, where it has one, its interval."""
    estimate, ends = float(quantity.estimate), _ends(quantity.interval)
    return written(estimate) + (f" {interval(ends)}" if ends and ends[0] != ends[1] else "")


def _own(
    fitted: Fit,
    test: BackTest | None,
    check: TheoryCheck | None,
    comparison: Comparison | None,
    flops: FlopCount,
    progress: Progress | None,
) -> dict[str, Any]:
    said = fitted.summary() | {"table": _table(fitted), "curves": _curves(fitted), "starts": _starts(fitted)}
    if fitted.draws:
        said["influence"] = _influence(fitted)
        said["profiles"] = _profiles(fitted, progress)
    if test is not None:
        said["back_test"] = _back_test(test, fitted)
    if (optimal := _frontier(fitted, flops)) is not None:
        said["frontier"] = optimal
    if check is not None:
        said["theory"] = _theory(check)
    if comparison is not None:
        said["comparison"] = {
            "verdict": comparison.verdict,
            "laws": [
                {
                    "law": candidate.law,
                    "aicc_above_best": candidate.criterion,
                    "forecast_error": candidate.forecast.overall,
                    "forecast_coverage": candidate.forecast.realized,
                    "parameters": candidate.fit.problem.free,
                }
                for candidate in comparison.candidates
            ],
        }
    return said


def _table(fitted: Fit) -> dict[str, Any]:
    runs = fitted.runs
    return {
        "columns": {name: plain(values) for name, values in runs.columns.items()},
        answered.key(fitted.target): plain(runs.loss),
        "fitted": plain(fitted.predict(*runs.values)),
        "residuals": plain(fitted.residuals),
        "names": list(runs.names),
        "group": None if runs.group is None else [int(group) for group in runs.group],
    }


def _curves(fitted: Fit) -> list[dict[str, Any]]:
    """For every column the fitted loss along it, the others held at the quartiles of the runs."""
    runs, curves = fitted.runs, []
    for column, values in runs.columns.items():
        x = np.geomspace(values.min(), _BEYOND * values.max(), _CURVE_POINTS)
        others = {name: other for name, other in runs.columns.items() if name != column}
        for share in (0.1, 0.5, 0.9) if others else (0.5,):
            held = {name: float(np.quantile(other, share)) for name, other in others.items()}
            columns = [x if name == column else np.full_like(x, held[name]) for name in runs.columns]
            curve = {"column": column, "held": held, "x": plain(x)}
            curve[answered.key(fitted.target)] = plain(fitted.predict(*columns))
            if fitted.draws:
                lower, upper = fitted.band(*columns)
                curve |= {"lower": plain(lower), "upper": plain(upper)}
            curves.append(curve)
    return curves


def _starts(fitted: Fit) -> dict[str, Any]:
    totals = np.asarray(fitted.convergence.totals)
    return {"excess": plain(np.where(np.isfinite(totals), totals / max(totals.min(), 1e-300) - 1, np.inf))}


def _influence(fitted: Fit) -> list[dict[str, Any]]:
    choices = []
    for place, (kind, choice) in enumerate(zip(fitted.influence.kinds, fitted.influence.choices, strict=True)):
        choices.append(
            {
                "kind": kind,
                "choice": choice,
                "parameters": {name: float(values[place]) for name, values in fitted.influence.parameters.items()},
                "outside": [name for name, outside in fitted.influence.outside.items() if outside[place]],
            }
        )
    return choices


def _profiles(fitted: Fit, progress: Progress | None) -> list[dict[str, Any]]:
    profiles = []
    for place, name in enumerate(fitted.law.coordinates):
        if progress is not None:
            progress("profiles", place, len(fitted.law.coordinates))
        try:
            found = profile(fitted, name)
        except InputError:  # a scale, which has another value in other units, or what is held
            continue
        profiles.append(
            {
                "name": name,
                "values": plain(found.values),
                "statistic": plain(found.statistic),
                "threshold": found.threshold,
                "lower": found.interval.lower,
                "upper": found.interval.upper,
            }
        )
    return profiles


def _back_test(test: BackTest, fitted: Fit) -> dict[str, Any]:
    runs = fitted.runs
    along = runs.columns.get(test.column)
    along = FLOPS * runs.columns["N"] * runs.columns["D"] if along is None else along
    return {
        "column": test.column,
        "level": test.level,
        "error": test.overall,
        "coverage": test.realized,
        "cuts": [
            {
                "below": float(test.cuts[i]),
                "fitted": int(test.fitted[i]),
                "ahead": int(test.ahead[i]),
                "error": float(test.error[i]),
                "bias": float(test.bias[i]),
                "coverage": float(test.coverage[i]),
                "runs": [
                    {"x": float(along[j]), answered.key(runs.target): float(runs.loss[j]), "name": runs.names[j]}
                    | {end: float(band[end][k]) for end in ("lower", "forecast", "upper")}
                    for k, j in enumerate(band["index"])
                ]
                if band
                else [],
            }
            for i, band in enumerate(test.bands)
        ],
    }


def _frontier(fitted: Fit, flops: FlopCount) -> dict[str, Any] | None:
    try:
        check_splits(fitted)
    except InputError:
        return None
    columns = fitted.runs.columns
    largest = np.max(flops.per_token(columns["N"]) * columns["D"])
    best = frontier(fitted, largest * np.array(_BUDGETS), flops)
    names = ("size", "data", "loss", "tokens_per_parameter", "size_exponent", "data_exponent", "loss_exponent")
    return {"flops": flops.formula, "compute": plain(best.compute)} | {
        name: plain_quantity(getattr(best, name)) for name in names
    }


def _theory(check: TheoryCheck) -> dict[str, Any]:
    return {
        "d": plain_quantity(check.d),
        "beta": plain_quantity(check.beta),
        "exponents": [
            {
                "column": one.column,
                "parameter": one.parameter,
                "observed": plain_quantity(one.observed),
                "predicted": plain_quantity(one.predicted),
                "agreement": one.agreement,
                "floor_unknown": one.floor_unknown,
                "law_fails": one.law_fails,
                "implied_dimension": plain_quantity(one.implied_dimension),
                "rivals": one.rivals,
            }
            for one in check.exponents
        ],
        "delta": None if check.delta is None else plain_quantity(check.delta),
        "cross_entropy": [float(np.asarray(end)) for end in check.cross_entropy],
    }
