"""What becomes of a fit under other choices: without each run, without the worst, without small sizes, at other δ."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.laws.bootstrap import Resamples
from jaxscale.laws.minimize import Report
from jaxscale.laws.objective import Objective
from jaxscale.laws.results import STATIC, Fit
from jaxscale.laws.search import refit

_WORST = 5
_SMALLEST = 0.3  # share of the sizes of a column that may be left out
_DELTAS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, np.inf)
_FEWEST_SPARE = 1
# Robust standard deviations beyond which a choice moves a parameter further than chance does; of runs there are many.
_UNLIKELY = {"run": 6.0, "worst": 4.5, "small": 4.5, "delta": 4.5}
_SCALE_OF_MEDIAN = 1.4826
_FEWEST_SIZES = 3

# Its kind, what it is in words, which runs take part (R,), and δ.
Choice = tuple[str, str, np.ndarray, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Influence:
    """The parameters under V other choices.

    Attributes:
      parameters: every parameter by name, (V,); NaN where too little is left to fit.
      outside: every parameter by name, (V,) whether it left its interval, and moved further than the same choice
        moves it in tables drawn from the fitted law.
      kinds: (V,) "run", "worst", "small" or "delta".
      choices: (V,) in words, such as "without run 7" or "δ = 0.01".
      runs: (V, R) which runs took part.
    """

    parameters: dict[str, Any]
    outside: dict[str, Any]
    runs: Any
    kinds: tuple[str, ...] = dataclasses.field(metadata=STATIC)
    choices: tuple[str, ...] = dataclasses.field(metadata=STATIC)

    def of(self, kind: str) -> dict[str, Any]:
        """The parameters of one kind of choice."""
        chosen = np.array(self.kinds) == kind
        return {name: values[chosen] for name, values in self.parameters.items()}


def influence(fit: Fit, drawn: Resamples, z_MxP: np.ndarray, report: Report | None = None) -> Influence:
    """Refits without each run, without the worst fitted, without the smallest sizes, and at other δ, in one call.

    Args:
      fit: with draws.
      drawn: some tables of those that the draws come from, in which the law is true.
      z_MxP: their optima.
      report: told how many of the choices are done.
    """
    task = fit.problem
    choices = [*_without_each(fit), *_without_worst(fit), *_without_small(fit), *_other_deltas(fit)]
    kinds, names, keeps, deltas = zip(*choices, strict=True)
    kept, delta = np.array(keeps), np.array(deltas)
    z = refit(task, fit.search, weight=np.where(kept, task.weight, 0.0), delta=delta, report=report).z
    enough = np.array([_fits(fit, keep) for keep in kept])
    parameters = {name: np.where(enough, values, np.nan) for name, values in task.parameters(z).items()}
    left = {}
    for name, interval in fit.intervals.items():
        values, estimate = parameters[name], fit.parameters[name]
        # Without noise intervals are as narrow as rounding; a shift must be visible to count.
        visible = np.abs(values - estimate) > 1e-6 * np.abs(estimate)
        left[name] = visible & ((values < interval.lower) | (values > interval.upper))
    asked = np.flatnonzero(np.any(list(left.values()), axis=0))
    unlikely = _unlikely(fit, parameters, kinds, kept, delta, asked, drawn, z_MxP)
    outside = {name: left[name] & unlikely[name] for name in left}
    return Influence(parameters, outside, kept, kinds, names)


def _unlikely(
    fit: Fit,
    parameters: dict[str, np.ndarray],
    kinds: Sequence[str],
    kept: np.ndarray,
    delta: np.ndarray,
    asked: np.ndarray,
    drawn: Resamples,
    z_MxP: np.ndarray,
) -> dict[str, np.ndarray]:
    """For choices that are asked about, whether they move a parameter further than they would were the law true."""
    task, tables = fit.problem, len(z_MxP)
    whole = task.parameters(z_MxP)
    unlikely = {name: np.zeros(len(kinds), bool) for name in fit.intervals}
    target = None if drawn.target is None else drawn.target[:tables]
    weight = np.broadcast_to(task.weight, (tables, len(fit.runs))) if drawn.weight is None else drawn.weight[:tables]
    for choice in asked:
        keep = np.broadcast_to(kept[choice], weight.shape)
        if kinds[choice] == "worst":  # of each table its own
            size = np.abs(task.residuals(z_MxP, target)) * weight
            place = np.argsort(np.argsort(-size, axis=1), axis=1)
            keep = place >= np.sum(~kept[choice])
        moved = refit(task, fit.search, target, np.where(keep, weight, 0.0), np.full(tables, delta[choice]))
        there = task.parameters(moved.z)
        for name in fit.intervals:
            shift = there[name] - whole[name]
            middle = np.median(shift)
            spread = _SCALE_OF_MEDIAN * np.median(np.abs(shift - middle))
            own = parameters[name][choice] - fit.parameters[name]
            unlikely[name][choice] = np.abs(own - middle) > _UNLIKELY[kinds[choice]] * spread
    return unlikely


def _without_each(fit: Fit) -> Iterator[Choice]:
    for index, name in enumerate(fit.runs.names):
        keep = np.ones(len(fit.runs), bool)
        keep[index] = False
        yield "run", f"without {name}", keep, fit.search.delta


def _without_worst(fit: Fit) -> Iterator[Choice]:
    order = np.argsort(-np.abs(fit.residuals) * fit.runs.weight)
    for count in range(2, min(_WORST, len(order) - fit.problem.free) + 1):
        keep = np.ones(len(fit.runs), bool)
        keep[order[:count]] = False
        yield "worst", f"without the {count} runs worst fitted", keep, fit.search.delta


def _without_small(fit: Fit) -> Iterator[Choice]:
    for column in fit.runs.columns:
        index = fit.runs.size_index(column)
        sizes = index.max() + 1
        counts = sorted({max(1, round(share * sizes)) for share in (0.1, 0.2, _SMALLEST)}) if sizes > 1 else []
        for count in counts:
            yield "small", f"without the {count} smallest {column}", index >= count, fit.search.delta


def _other_deltas(fit: Fit) -> Iterator[Choice]:
    for delta in _DELTAS:
        if delta != fit.objective.delta:
            named = Objective(delta)
            every = np.ones(len(fit.runs), bool)
            yield "delta", str(named).split(",")[0], every, named.working_delta(fit.search.typical)


def _fits(fit: Fit, keep: np.ndarray) -> bool:
    """Whether enough is left for the law: a run to spare, and three sizes of each column or as many as there were."""
    if keep.sum() < fit.problem.free + _FEWEST_SPARE:
        return False
    for column in fit.runs.columns:
        index = fit.runs.size_index(column)
        if len(np.unique(index[keep])) < min(_FEWEST_SIZES, index.max() + 1):
            return False
    return True
