"""What becomes of a fit under other choices: without each run, without the worst, without small sizes, at other δ."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxscale.laws.objective import Objective
from jaxscale.laws.results import STATIC, Fit
from jaxscale.laws.search import refit

_WORST = 5
_SMALLEST = 0.3  # share of the sizes of a column that may be left out
_DELTAS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1, np.inf)
_FEWEST_SPARE = 1
_FEWEST_SIZES = 3

# Its kind, what it is in words, which runs take part (R,), and δ.
Choice = tuple[str, str, np.ndarray, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Influence:
    """The parameters under V other choices.

    Attributes:
      parameters: every parameter by name, (V,); NaN where too little is left to fit.
      outside: every parameter by name, (V,) whether it left its interval.
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


def influence(fit: Fit) -> Influence:
    """Refits without each run, without the worst fitted, without the smallest sizes, and at other δ, in one call."""
    task = fit.problem
    choices = [*_without_each(fit), *_without_worst(fit), *_without_small(fit), *_other_deltas(fit)]
    kinds, names, keeps, deltas = zip(*choices, strict=True)
    kept = np.array(keeps)
    z = refit(task, fit.search, weight=np.where(kept, task.weight, 0.0), delta=np.array(deltas)).z
    enough = np.array([_fits(fit, keep) for keep in kept])
    parameters = {name: np.where(enough, values, np.nan) for name, values in task.parameters(z).items()}
    outside = {}
    for name, interval in fit.intervals.items():
        values, estimate = parameters[name], fit.parameters[name]
        # Without noise intervals are as narrow as rounding; a shift must be visible to count.
        visible = np.abs(values - estimate) > 1e-6 * np.abs(estimate)
        outside[name] = visible & ((values < interval.lower) | (values > interval.upper))
    return Influence(parameters, outside, kept, kinds, names)


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
