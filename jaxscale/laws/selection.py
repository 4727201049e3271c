"""Which law to believe: information criteria beside back-tests, and whether the two agree.

choice = laws.compare(table, ["chinchilla", "tied", "skaling"], key=key)
choice.by_criterion, choice.by_forecast      # the best by AICc, and the best at predicting larger runs
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import random_key, reals
from jaxscale.errors import InputError
from jaxscale.laws.catalogue import named
from jaxscale.laws.fitting import fit, with_draws
from jaxscale.laws.identifiability import power
from jaxscale.laws.law import Law
from jaxscale.laws.minimize import Progress, named_progress
from jaxscale.laws.results import STATIC, Fit, check_fit
from jaxscale.laws.runs import SAME_SIZE, Finding, Table

_CUTS = (0.5, 0.6, 0.7, 0.8)
_DRAWS = 400
_FEWEST_AHEAD = 3
# Of tables around a true law, 60 runs with independent, shared or long-tailed errors, intervals held 86% or more.
_FEWER_HELD = 0.25
_SAME_FORECAST = 1.05  # errors within this ratio are taken for equal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BackTest:
    """Forecasts of larger runs by fits to the smaller ones.

    Attributes:
      column: along which the table was cut.
      cuts: (K,) values of the column, below which runs were fitted.
      fitted, ahead: (K,) how many runs were fitted, and how many lay ahead.
      error: (K,) root mean square of log(forecast / loss) over the runs ahead; NaN where too few were left to fit.
      bias: (K,) mean of the same.
      coverage: (K,) share of runs ahead inside the predictive interval, which adds a run's own noise to the curve's.
      bands: for every cut (lower, forecast, upper) over the runs ahead, with their `ahead_index`.
    """

    cuts: Any
    fitted: Any
    ahead: Any
    error: Any
    bias: Any
    coverage: Any
    bands: tuple[dict[str, Any], ...]
    column: str = dataclasses.field(metadata={"static": True})
    level: float = dataclasses.field(metadata={"static": True})

    @property
    def overall(self) -> float:
        """Root mean square error over all forecasts."""
        usable = np.isfinite(self.error)
        return (
            float(np.sqrt(np.average(self.error[usable] ** 2, weights=self.ahead[usable]))) if usable.any() else np.nan
        )

    @property
    def realized(self) -> float:
        """Share of all runs ahead that lay inside their predictive interval."""
        usable = np.isfinite(self.coverage)
        return float(np.average(self.coverage[usable], weights=self.ahead[usable])) if usable.any() else np.nan


def back_test(
    fitted: Fit,
    column: str | None = None,
    *,
    key: jax.Array | int,
    cuts: Sequence[float] = _CUTS,
    progress: Progress | None = None,
) -> BackTest:
    """Fits the law to the runs below a cut and forecasts those above, for several cuts.

    Args:
      fitted: a fit, of which the table, law, objective and groups are taken.
      column: along which to cut; C = 6 N D where the table has N and D, else the first column.
      key: a JAX random key, or an int for `jax.random.key`.
      cuts: shares of the runs to fit, in increasing order of the column.
      progress: called with "back-test", how many cuts are done, and how many there are.

    Raises:
      InputError: for a column that the fit does not have.
    """
    check_fit("fitted", fitted)
    key = random_key("key", key)
    shares = reals(cuts)
    if shares is None or shares.ndim != 1 or not len(shares) or not ((shares > 0) & (shares < 1)).all():
        raise InputError(f"cuts={cuts!r} must be shares of the runs between 0 and 1. Pass for example (0.5, 0.7).")
    if column is None:
        column = "C" if {"N", "D"} <= set(fitted.runs.columns) else fitted.law.columns[0]
    values = _along(fitted, column)
    order = np.argsort(values, kind="stable")
    below: dict[int, float] = {}  # runs of one budget are not parted, whatever the rounding of its C
    for share in cuts:
        cut = values[order[min(round(share * len(values)), len(values) - 1)]]
        below.setdefault(int(np.sum(values < cut * (1 - SAME_SIZE))), cut)
    results = []
    for number, cut in enumerate(below.values()):
        if progress is not None:
            progress("back-test", number, len(below))
        results.append(_forecast(fitted, values < cut * (1 - SAME_SIZE), cut, jax.random.fold_in(key, number)))
    fields = {name: np.array([r[name] for r in results]) for name in results[0] if name != "band"}
    return BackTest(**fields, bands=tuple(r["band"] for r in results), column=column, level=fitted.level)


def forecast_failed(test: BackTest) -> Finding | None:
    """The warning of a back-test whose intervals held far fewer of the runs ahead than they should."""
    if not np.isfinite(test.realized) or test.realized >= test.level - _FEWER_HELD:
        return None
    return (
        "forecast_failed",
        f"Fitted to smaller runs, the law's {test.level:.0%} intervals hold {test.realized:.0%} of the larger ones, "
        f"and its forecasts miss them by {test.overall:.1%}: do not trust what it says of sizes beyond these, nor what "
        "its exponents say of theory.",
    )


def _along(fitted: Fit, column: str) -> np.ndarray:
    columns = fitted.runs.columns
    if isinstance(column, str) and column in columns:
        return columns[column]
    if isinstance(column, str) and column == "C" and {"N", "D"} <= set(columns):
        compute: np.ndarray = 6 * columns["N"] * columns["D"]
        return compute
    raise InputError(f"column={column!r} is none of the law's columns {tuple(columns)}. Cut along one of them.")


def _forecast(whole: Fit, below: np.ndarray, cut: float, key: jax.Array) -> dict[str, Any]:
    """One cut: how far the forecast of the runs above it went wrong."""
    runs, ahead = whole.runs, np.flatnonzero(~below)
    result = {"cuts": cut, "fitted": int(below.sum()), "ahead": len(ahead)}
    nothing = {"error": np.nan, "bias": np.nan, "coverage": np.nan, "band": {}}
    if len(ahead) < _FEWEST_AHEAD:
        return result | nothing
    table = {name: x[below] for name, x in runs.columns.items()}
    table |= {runs.target: runs.loss[below], "w": runs.weight[below]}
    if runs.group is not None:
        table["g"] = runs.group[below]
    fit_key, noise_key = jax.random.split(key)
    groups = None if runs.group is None else "g"
    try:
        small = fit(
            table,
            whole.law,
            objective=whole.objective,
            weights="w",
            groups=groups,
            level=whole.level,
            resamples=0,
            fixed=whole.fixed,
            target=runs.target,
        )
    except InputError:  # too few sizes below this cut
        return result | nothing
    small = with_draws(small, fit_key, "auto", _DRAWS)
    columns = [x[ahead] for x in runs.values]
    forecast = np.log(small.predict(*columns))
    lower, upper = predictive(small, columns, noise_key)
    loss = np.log(runs.loss[ahead])
    gap = forecast - loss
    return result | {
        "error": float(np.sqrt(np.mean(gap**2))),
        "bias": float(np.mean(gap)),
        "coverage": float(np.mean((np.log(lower) <= loss) & (loss <= np.log(upper)))),
        "band": {"index": ahead, "lower": lower, "forecast": np.exp(forecast), "upper": upper},
    }


def predictive(fitted: Fit, columns: Sequence[np.ndarray], key: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """Where a new run at each of the columns (R,) should lie, at the fit's level: draws of the curve plus residuals.

    Residuals are drawn from the fit's own, enlarged by √(R / (R - P)) for the parameters they were fitted with.
    """
    draws = {name: draw[:, None] for name, draw in fitted.draws.items()}
    curves = np.log(fitted.law.losses(draws, *(np.asarray(x)[None] for x in columns)))
    residuals = np.log(fitted.runs.loss) - np.log(fitted.predict(*fitted.runs.values))
    spare = max(len(residuals) - fitted.problem.free, 1)
    drawn = np.asarray(jax.random.randint(key, curves.shape, 0, len(residuals)))
    noisy = curves + np.sqrt(len(residuals) / spare) * residuals[drawn]
    lower, upper = np.quantile(noisy, [(1 - fitted.level) / 2, (1 + fitted.level) / 2], axis=0)
    return np.exp(lower), np.exp(upper)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Candidate:
    """One law among those compared.

    Attributes:
      law: its name.
      fit: of it.
      criterion: AICc less that of the best law.
      forecast: `BackTest` along the column of the comparison.
    """

    law: str = dataclasses.field(metadata=STATIC)
    fit: Fit
    criterion: float
    forecast: BackTest


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Comparison:
    """Laws held against one table, in the order they were named.

    Attributes:
      candidates: each law with its figures.
      by_criterion: the law of least AICc.
      by_forecast: the law with the least error of forecast.
      verdict: a sentence that says whether the two agree.
    """

    candidates: tuple[Candidate, ...]
    by_criterion: str = dataclasses.field(metadata=STATIC)
    by_forecast: str = dataclasses.field(metadata=STATIC)
    verdict: str = dataclasses.field(metadata=STATIC)


def compare(
    table: Table,
    laws: str | Law | Sequence[str | Law],
    *,
    key: jax.Array | int,
    column: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Comparison:
    """AICc and back-tests of several laws side by side.

    AICc (Hurvich & Tsai 1989) takes the errors for independent with density exp(-|r|^q), q from the objective of the
    best fit; it judges the runs there are. A back-test judges what the law is for. They often disagree.

    Args:
      table: as in `laws.fit`.
      laws: names or laws.
      key: a JAX random key, or an int for `jax.random.key`.
      column: along which to cut, as in `back_test`.
      progress: as in `laws.fit`, what is under way with the name of its law before it.
      **options: for `laws.fit`.

    Raises:
      InputError: as `laws.fit`, or if no law is named.
    """
    if isinstance(laws, (str, Law)):
        laws = [laws]
    if not isinstance(laws, Sequence) or not laws:
        raise InputError(f"laws={laws!r} must be a list of laws. Name at least one.")
    chosen = [law if isinstance(law, Law) else named(law) for law in laws]
    keys = jax.random.split(random_key("key", key), 2 * len(chosen))
    fits, tests = [], []
    for law, fit_key, test_key in zip(chosen, keys[: len(chosen)], keys[len(chosen) :], strict=True):
        told = named_progress(progress, law.name)
        fits.append(fit(table, law, key=fit_key, progress=told, **options))
        tests.append(back_test(fits[-1], column, key=test_key, progress=told))
    best = min(fits, key=lambda f: f.total)
    q = power(best.problem, best.search)
    criteria = np.array([criterion(f, q) for f in fits])
    forecasts = np.array([test.overall for test in tests])
    first = chosen[int(np.argmin(criteria))].name
    ahead = chosen[int(np.nanargmin(forecasts))].name if np.isfinite(forecasts).any() else first
    return Comparison(
        tuple(
            Candidate(law.name, f, float(c - criteria.min()), test)
            for law, f, c, test in zip(chosen, fits, criteria, tests, strict=True)
        ),
        first,
        ahead,
        _verdict(chosen, criteria, forecasts, first, ahead),
    )


def criterion(fitted: Fit, q: float) -> float:
    """AICc of a fit, up to a constant all laws share: (2R/q) log(F/R) + 2k + 2k(k+1)/(R-k-1) for k = P + 1.

    P counts the parameters that were fitted.
    """
    runs, k = len(fitted.runs), fitted.problem.free + 1
    if runs <= k + 1:
        return np.inf
    fitness = 2 * runs / q * np.log(max(fitted.total, 1e-300) / runs)
    return float(fitness + 2 * k + 2 * k * (k + 1) / (runs - k - 1))


def _verdict(chosen: Sequence[Law], criteria: np.ndarray, forecasts: np.ndarray, first: str, ahead: str) -> str:
    if not np.isfinite(forecasts).any():
        return f"AICc prefers {first}; the table is too small for a back-test."
    names = [law.name for law in chosen]
    errors = dict(zip(names, forecasts, strict=True))
    said = f"AICc prefers {first}; forecasts of larger runs err least with {ahead} ({errors[ahead]:.2%})"
    if first == ahead:
        return f"{said}: they agree."
    if errors[first] <= _SAME_FORECAST * errors[ahead]:
        return f"{said}, but hardly less than with {first} ({errors[first]:.2%}): no disagreement."
    return f"{said} and {errors[first]:.2%} with {first}: they disagree. Trust the forecast for extrapolation."
