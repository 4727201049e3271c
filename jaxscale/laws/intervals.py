"""Intervals from draws: percentile, or corrected for the bias and the skewness of the estimate (BCa)."""

from statistics import NormalDist

import numpy as np

from jaxscale.laws.results import Fit, Interval, percentiles
from jaxscale.laws.search import FitProblem, refit


def of(fit: Fit, task: FitProblem) -> dict[str, Interval]:
    """The interval of every parameter of a fit that has draws; its references have none."""
    fitted = {name: draws for name, draws in fit.draws.items() if name not in fit.law.references}
    if fit.interval == "percentile":
        return {name: percentiles(draws, fit.level) for name, draws in fitted.items()}
    group = np.arange(len(fit.runs)) if fit.runs.group is None else fit.runs.group
    weight = np.array([np.where(group == g, 0.0, task.weight) for g in range(group.max() + 1)])
    without = task.parameters(refit(task, fit.search, weight=weight).z)
    return {name: bca(draws, fit.parameters[name], without[name], fit.level) for name, draws in fitted.items()}


def bca(draws: np.ndarray, estimate: float, without: np.ndarray, level: float) -> Interval:
    """The bias-corrected and accelerated interval of Efron 1987 (JASA 82).

    Args:
      draws: (B,) of the parameter.
      estimate: of the parameter.
      without: (G,) the parameter fitted without each group, from which the acceleration is read.
      level: in (0, 1).
    """
    normal = NormalDist()
    count = len(draws)
    below = (np.sum(draws < estimate) + 0.5 * np.sum(draws == estimate)) / count
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / count, 1 - 0.5 / count)))
    influence = np.mean(without) - without
    spread = np.sum(influence**2)
    acceleration = np.sum(influence**3) / (6 * spread**1.5) if spread > 0 else 0.0
    ends = []
    for share in ((1 - level) / 2, (1 + level) / 2):
        z = bias + normal.inv_cdf(share)
        ends.append(normal.cdf(bias + z / max(1 - acceleration * z, 0.05)))
    return Interval(*np.quantile(draws, ends))
