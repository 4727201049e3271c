"""What a fit returns: values that travel through JAX as pytrees, with the questions they answer."""

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxscale.errors import InputError
from jaxscale.laws.law import Law
from jaxscale.laws.objective import Objective
from jaxscale.laws.runs import LOSS, Runs
from jaxscale.laws.search import FitProblem, Search, problem
from jaxscale.verdict import caveat

STATIC = {"static": True}  # fields that are part of what a program is compiled for, not of its data


class Interval(NamedTuple):
    """Lower and upper end, of a number or along a curve."""

    lower: Any
    upper: Any


class Quantity(NamedTuple):
    """An estimate with its interval; NaN ends for a fit without resamples."""

    estimate: Any
    interval: Interval


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Convergence:
    """How the optimum was found.

    Attributes:
      starts: every parameter by name where each start was, (S,).
      totals: the objective where each start ended, (S,).
      share_at_optimum: share of the starts that ended at the best optimum.
      stationarity: share of the objective that a further step is predicted to remove; rounding at an optimum.
      dead_terms: scales of terms that contribute nothing to any run.
      at_bound: parameters at an end of their range; "E" where the irreducible loss is 0.
      unmoved: parameters that equal the start of the best polish to twelve digits.
    """

    starts: dict[str, Any]
    totals: Any
    share_at_optimum: Any
    stationarity: Any
    dead_terms: tuple[str, ...] = dataclasses.field(metadata=STATIC)
    at_bound: tuple[str, ...] = dataclasses.field(metadata=STATIC)
    unmoved: tuple[str, ...] = dataclasses.field(metadata=STATIC)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Fit:
    """A fitted law. Arrays are float64 numpy; runs are in increasing order of the law's columns, then of loss.

    Attributes:
      parameters: estimate of every parameter by name.
      intervals: `Interval` of every parameter by name; empty for a fit without resamples.
      draws: every parameter by name over the accepted resamples, (B,).
      total: the objective at the optimum.
      residuals: (R,) log(fitted / observed), or fitted - observed for an objective of absolute residuals.
      convergence: how the optimum was found.
      flatness: for every coordinate, the likelihood-ratio statistic at the end of its range that fits better; small
        where the runs cannot tell it from that end.
      influence: what becomes of the fit under other choices, None without resamples.
      runs: the table.
      search: the optimum in the units of the fit.
      fixed: parameters that were held, by name; intervals of the others are conditional on these values.
      law, objective: what was fitted, and what was minimized.
      level: of the intervals.
      bootstrap: how the draws were made; `interval`, how intervals were read from them.
      resamples: how many were asked for.
      rejected: how many had too few sizes to fit and were left out.
      warnings: (code, sentence) pairs, the gravest first, to be printed beside the parameters.
    """

    parameters: dict[str, Any]
    intervals: dict[str, Interval]
    draws: dict[str, Any]
    total: Any
    residuals: Any
    convergence: Convergence
    flatness: dict[str, Any]
    influence: Any
    runs: Runs
    search: Search
    fixed: dict[str, Any]
    law: Law = dataclasses.field(metadata=STATIC)
    objective: Objective = dataclasses.field(metadata=STATIC)
    level: float = dataclasses.field(metadata=STATIC)
    bootstrap: str = dataclasses.field(metadata=STATIC)
    interval: str = dataclasses.field(metadata=STATIC)
    resamples: int = dataclasses.field(metadata=STATIC)
    rejected: int = dataclasses.field(metadata=STATIC)
    warnings: tuple[tuple[str, str], ...] = dataclasses.field(metadata=STATIC)

    @property
    def problem(self) -> FitProblem:
        """The table in the units of the fit."""
        return problem(self.runs, self.law, self.objective, self.fixed)

    @property
    def target(self) -> str:
        """The column that was fitted."""
        return self.runs.target

    @property
    def formula(self) -> str:
        """The law's, with the name of what was fitted in place of L."""
        if self.target == LOSS:
            return self.law.formula
        count = 1 if "L" in self.law.columns else 0
        return re.sub(r"\bL\b", lambda _: self.target, self.law.formula, count=count)

    @property
    def rms_residual(self) -> float:
        """Root mean square of the residuals."""
        return float(np.sqrt(np.mean(self.residuals**2)))

    @property
    def r_squared(self) -> float:
        """Share of the variance of the loss, or of its logarithm where residuals are of that, that the curve explains.

        NaN where the loss does not vary.
        """
        spread = np.sum((self.objective.target(self.runs.loss) - np.mean(self.objective.target(self.runs.loss))) ** 2)
        return float(1 - np.sum(self.residuals**2) / spread) if spread > 0 else np.nan

    def predict(self, *columns: ArrayLike) -> np.float64 | np.ndarray:
        """Loss on the fitted curve at columns in the order of the law, numbers or arrays that broadcast.

        Raises:
          InputError: for another number of columns, or values that are not positive.
        """
        return self.law.losses(self.parameters, *self.law.checked_columns(columns))

    def band(self, *columns: ArrayLike) -> Interval:
        """Interval of the curve at columns, pointwise at `level`, from the same draws as the parameters.

        It is about the expected loss; a single new run scatters around that by its own noise as well.
        """
        draws = {name: draw[:, None] for name, draw in self._draws().items()}
        columns = np.broadcast_arrays(*self.law.checked_columns(columns))
        curves = np.asarray(self.law.losses(draws, *(x.reshape(1, -1) for x in columns)))
        return Interval(*(end.reshape(columns[0].shape)[()] for end in percentiles(curves, self.level)))

    def quantity(self, of: Callable[[Mapping[str, Any]], Any]) -> Quantity:
        """Anything computed from the parameters, with its percentile interval over the same draws.

        fit.quantity(lambda p: p["beta"] / (p["alpha"] + p["beta"]))      # the exponent of the optimal model size
        """
        estimate = np.asarray(of(self.parameters))[()]
        if not self.draws:
            return Quantity(estimate, Interval(np.nan, np.nan))
        return Quantity(estimate, percentiles(np.asarray(of(self.draws)), self.level))

    def _draws(self) -> dict[str, Any]:
        if not self.draws:
            raise InputError("resamples=0 left no draws to make a band from. Fit with resamples=2000.")
        return self.draws

    def summary(self) -> dict[str, Any]:
        """The fit without its draws, as plain numbers and strings that `json.dumps` takes."""
        ends = {name: [float(end) for end in self.intervals[name]] for name in self.intervals}
        return {
            "law": self.law.name,
            "formula": self.formula,
            "target": self.target,
            "columns": list(self.law.columns),
            "objective": str(self.objective),
            "runs": len(self.runs),
            "ranges": {name: [float(x.min()), float(x.max())] for name, x in self.runs.columns.items()},
            "groups": {"by": self.runs.group_by or None, "count": self.runs.groups},
            "parameters": {
                name: {"estimate": float(self.parameters[name])}
                | ({"lower": ends[name][0], "upper": ends[name][1]} if name in ends and name not in self.fixed else {})
                for name in self.law.parameters
            },
            "fixed": {name: float(value) for name, value in self.fixed.items()},
            "level": self.level,
            "bootstrap": self.bootstrap,
            "interval": self.interval,
            "resamples": self.resamples,
            "rejected": self.rejected,
            "total": float(self.total),
            "rms_residual": self.rms_residual,
            "r_squared": self.r_squared if np.isfinite(self.r_squared) else None,
            "convergence": {
                "starts": len(self.convergence.totals),
                "share_at_optimum": float(self.convergence.share_at_optimum),
                "stationarity": float(self.convergence.stationarity),
                "dead_terms": list(self.convergence.dead_terms),
                "at_bound": list(self.convergence.at_bound),
                "unmoved": list(self.convergence.unmoved),
            },
            "flatness": {name: float(value) for name, value in self.flatness.items()},
            "caveats": [caveat(*warning) for warning in self.warnings],
        }


def plain(values: ArrayLike) -> list[float]:
    """An array of any shape as a list of floats."""
    return [float(value) for value in np.ravel(values)]


def plain_quantity(quantity: Quantity) -> dict[str, Any]:
    """A quantity, or one for each of several, as plain values."""
    estimate, (lower, upper) = quantity
    if np.ndim(estimate) == 0:
        return {"estimate": float(estimate), "lower": float(lower), "upper": float(upper)}
    return {"estimate": plain(estimate), "lower": plain(lower), "upper": plain(upper)}


def check_fit(name: str, value: object) -> None:
    """Raises InputError for anything but a fit."""
    if not isinstance(value, Fit):
        raise InputError(f"{name} is a {type(value).__name__}. Pass what laws.fit returns.")


def percentiles(draws: np.ndarray, level: float) -> Interval:
    """The middle `level` of draws (B, ...), of which some may be infinite."""
    shares = [(1 - level) / 2, (1 + level) / 2]
    with np.errstate(invalid="ignore"):  # between two infinities there is nothing to interpolate
        ends = np.quantile(draws, shares, axis=0)
    return Interval(*np.where(np.isnan(ends), np.quantile(draws, shares, axis=0, method="nearest"), ends))
