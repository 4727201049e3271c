"""Everything there is to say of a fit as plain values: what `jaxscale fit --json` prints and its page is drawn from."""

from typing import Any

import jax
import numpy as np

from jaxscale.errors import InputError
from jaxscale.laws.compute_optimal import FLOPS, frontier
from jaxscale.laws.identifiability import profile
from jaxscale.laws.results import Fit, Quantity, check_fit
from jaxscale.laws.selection import BackTest, Comparison, back_test
from jaxscale.laws.theory_check import TheoryCheck

_CURVE_POINTS = 60
_BEYOND = 10.0  # how far past the largest run curves are drawn
_BUDGETS = (1.0, 10.0, 100.0)  # times the largest compute among the runs


def document(
    fitted: Fit, check: TheoryCheck | None = None, comparison: Comparison | None = None, *, key: jax.Array | int
) -> dict[str, Any]:
    """The summary of a fit with its table, curves, residuals, influence, profiles, starts, back-test, frontier and
    theory, as far as they exist; numbers, strings, lists and dictionaries only.

    Args:
      fitted: what to sum up.
      check, comparison: of the same table, where there are any.
      key: a JAX random key, or an int for `jax.random.key`. Of the back-test.
    """
    check_fit("fitted", fitted)
    said = fitted.summary() | {"table": _table(fitted), "curves": _curves(fitted), "starts": _starts(fitted)}
    if fitted.draws:
        said["influence"] = _influence(fitted)
        said["profiles"] = _profiles(fitted)
        said["back_test"] = _back_test(back_test(fitted, key=key), fitted)
    if (optimal := _frontier(fitted)) is not None:
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
                    "parameters": len(candidate.fit.law.coordinates),
                }
                for candidate in comparison.candidates
            ],
        }
    return said


def _plain(values: np.typing.ArrayLike) -> list[float]:
    return [float(value) for value in np.ravel(values)]


def _said(quantity: Quantity) -> dict[str, Any]:
    estimate, (lower, upper) = quantity
    if np.ndim(estimate) == 0:
        return {"estimate": float(estimate), "lower": float(lower), "upper": float(upper)}
    return {"estimate": _plain(estimate), "lower": _plain(lower), "upper": _plain(upper)}


def _table(fitted: Fit) -> dict[str, Any]:
    runs = fitted.runs
    return {
        "columns": {name: _plain(values) for name, values in runs.columns.items()},
        "loss": _plain(runs.loss),
        "fitted": _plain(fitted.predict(*runs.values)),
        "residuals": _plain(fitted.residuals),
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
            curve = {"column": column, "held": held, "x": _plain(x), "loss": _plain(fitted.predict(*columns))}
            if fitted.draws:
                lower, upper = fitted.band(*columns)
                curve |= {"lower": _plain(lower), "upper": _plain(upper)}
            curves.append(curve)
    return curves


def _starts(fitted: Fit) -> dict[str, Any]:
    totals = np.asarray(fitted.convergence.totals)
    return {"excess": _plain(np.where(np.isfinite(totals), totals / max(totals.min(), 1e-300) - 1, np.inf))}


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


def _profiles(fitted: Fit) -> list[dict[str, Any]]:
    profiles = []
    for name in fitted.law.coordinates:
        try:
            found = profile(fitted, name)
        except InputError:  # a scale, which has another value in other units
            continue
        profiles.append(
            {
                "name": name,
                "values": _plain(found.values),
                "statistic": _plain(found.statistic),
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
                    {"x": float(along[j]), "loss": float(runs.loss[j]), "name": runs.names[j]}
                    | {end: float(band[end][k]) for end in ("lower", "forecast", "upper")}
                    for k, j in enumerate(band["index"])
                ]
                if band
                else [],
            }
            for i, band in enumerate(test.bands)
        ],
    }


def _frontier(fitted: Fit) -> dict[str, Any] | None:
    if sorted(fitted.law.columns) != ["D", "N"]:
        return None
    columns = fitted.runs.columns
    best = frontier(fitted, np.max(FLOPS * columns["N"] * columns["D"]) * np.array(_BUDGETS))
    names = ("size", "data", "loss", "tokens_per_parameter", "size_exponent", "data_exponent", "loss_exponent")
    return {"compute": _plain(best.compute)} | {name: _said(getattr(best, name)) for name in names}


def _theory(check: TheoryCheck) -> dict[str, Any]:
    return {
        "d": _said(check.d),
        "beta": _said(check.beta),
        "exponents": [
            {
                "column": one.column,
                "parameter": one.parameter,
                "observed": _said(one.observed),
                "predicted": _said(one.predicted),
                "agreement": one.agreement,
                "floor_unknown": one.floor_unknown,
                "implied_dimension": _said(one.implied_dimension),
                "rivals": one.rivals,
            }
            for one in check.exponents
        ],
        "delta": None if check.delta is None else _said(check.delta),
        "cross_entropy": [float(np.asarray(end)) for end in check.cross_entropy],
        "limits": list(check.limits),
    }
