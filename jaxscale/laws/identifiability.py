"""Whether the runs determine a parameter: the objective as a function of it, all others fitted again."""

import dataclasses
from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.minimize import Report
from jaxscale.laws.objective import pieces
from jaxscale.laws.results import STATIC, Fit, Interval, check_fit, percentiles
from jaxscale.laws.search import FitProblem, Refit, Search, refit

_POINTS = 41
_REACH = 2.0  # of the interval of the draws to that side of the estimate
_LEAST_REACH = 0.25  # of the reach to the other side
_LEAST_TOTAL = 1e-300


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Profile:
    """The likelihood-ratio statistic along one parameter, the others fitted again at every value.

    Attributes:
      name: the parameter.
      values: (K,) at which it was held.
      statistic: (K,) 0 at the optimum, infinite where the law has no value.
      threshold: of the statistic, at the level of the fit.
      interval: the values around the estimate whose statistic is below it; an end that the profile does not reach is
        infinite, or the end of the parameter's range.
    """

    name: str = dataclasses.field(metadata=STATIC)
    values: np.ndarray
    statistic: np.ndarray
    threshold: float
    interval: Interval


def profile(fit: Fit, name: str, values: Sequence[float] | np.ndarray | None = None) -> Profile:
    """The profile of a parameter that is a coordinate of the fit, such as E or an exponent.

    The statistic is (2/q) (R - P) log(F(θ)/F) for the objective F, R runs and P parameters, where q = Σ ψr / Σ ρ is
    the power of the objective at the residuals: -2 log likelihood ratio for errors of density exp(-|r|^q), 2 for least
    squares and 1 for absolute deviations. It takes runs as independent; the bootstrap intervals need not.

    Args:
      fit: of `laws.fit`.
      name: "E", an exponent, or another coordinate that has the same value in any units.
      values: (K,) to hold it at, in any order; 41, of which the estimate is one, where None.

    Raises:
      InputError: for a parameter without a profile.
    """
    index = _coordinate(fit, name)
    values = _around(fit, name, index) if values is None else _given(values)
    statistic = _ratio(fit.problem, fit.search, _with_held(fit, index, values).total)
    threshold = NormalDist().inv_cdf((1 + fit.level) / 2) ** 2
    around = _below(values, statistic, float(fit.parameters[name]), threshold, fit.law.bounds[index])
    return Profile(name, values, statistic, threshold, around)


def held(fit: Fit, name: str, values: Sequence[float] | np.ndarray) -> dict[str, Any]:
    """Every parameter by name, (K,), fitted again with one of them held at values (K,); arguments as in `profile`.

    Raises:
      InputError: for a parameter that cannot be held.
    """
    return fit.problem.parameters(_with_held(fit, _coordinate(fit, name), _given(values)).z)


def flatness(task: FitProblem, found: Search, report: Report | None = None) -> dict[str, float]:
    """For every coordinate, the statistic of `profile` at the end of its range where it is least.

    The ends are no irreducible loss, no term, and the ends of an exponent's range. Where the statistic stays below the
    threshold there, the runs do not determine the parameter to that side.
    """
    names, held, owner = task.law.coordinates, [], []
    for index in np.flatnonzero(np.isnan(task.held)):
        ends = task.law.bounds[index]
        for end in ends[np.isfinite(ends)]:
            row = np.full(len(names), np.nan)
            row[index] = end
            held.append(row)
            owner.append(names[index])
    statistic = _ratio(task, found, refit(task, found, held=np.array(held), report=report).total)
    return {
        name: float(min(s for s, o in zip(statistic, owner, strict=True) if o == name)) for name in dict.fromkeys(owner)
    }


def power(task: FitProblem, found: Search) -> float:
    """q = Σ ψr / Σ ρ, with which the objective grows around its residuals: from 1 for |r| to 2 for r²."""
    residual = task.residuals(found.z)
    with jax.enable_x64(True):
        slope = np.asarray(pieces(residual, found.delta, None, task.objective.quantile).slope)
    whole = found.total
    return float(np.clip(np.sum(task.weight * slope * residual) / max(whole, _LEAST_TOTAL), 1.0, 2.0))


def _ratio(task: FitProblem, found: Search, total: np.ndarray) -> np.ndarray:
    spare = max(len(task.loss) - task.free, 1)
    least = max(found.total, _LEAST_TOTAL)
    ratio: np.ndarray = 2 / power(task, found) * spare * np.log(np.maximum(total, least) / least)
    return ratio


def _given(values: Sequence[float] | np.ndarray) -> np.ndarray:
    found = arguments.reals(values)
    if found is None or found.ndim != 1 or not np.isfinite(found).all():
        raise InputError(f"values={values!r} must be a list of finite numbers, those to hold the parameter at.")
    return found


def _with_held(fit: Fit, index: int, values: np.ndarray) -> Refit:
    rows = np.full((len(values), len(fit.search.z)), np.nan)
    rows[:, index] = values
    return refit(fit.problem, fit.search, held=rows)


def _coordinate(fit: Fit, name: str) -> int:
    """The place of a parameter that is a coordinate of the fit, with the same value in any units."""
    check_fit("fit", fit)
    at = dict(zip(fit.law.coordinates, fit.search.z, strict=True))
    known = {*fit.fixed, *fit.law.references}
    own = [c for c in at if c in fit.parameters and c not in known and np.isclose(fit.parameters[c], at[c])]
    if isinstance(name, str) and name in fit.fixed:
        raise InputError(f"name={name!r} is held at {fit.fixed[name]:g} and has no profile. Pass one of {own}.")
    if not isinstance(name, str) or name not in own:
        raise InputError(
            f"name={name!r} has no profile in law {fit.law.name!r}; its scale depends on units. Pass one of {own}."
        )
    return fit.law.coordinates.index(name)


def _around(fit: Fit, name: str, index: int) -> np.ndarray:
    """Values to either side of the estimate, which is one of them, twice as far as the draws spread there."""
    estimate, (low, high) = float(fit.parameters[name]), fit.law.bounds[index]
    ends = np.array(percentiles(fit.draws[name], fit.level)) if fit.draws else np.array([0.5, 1.5]) * estimate
    reach = _REACH * np.maximum([estimate - ends[0], ends[1] - estimate], 0.0)
    # Draws may all lie to one side.
    reach = np.maximum(reach, _LEAST_REACH * reach[::-1])
    below = np.linspace(max(estimate - reach[0], low), estimate, _POINTS // 2 + 1)
    above = np.linspace(estimate, min(estimate + reach[1], high), _POINTS // 2 + 1)
    return np.concatenate([below, above[1:]])


def _below(
    values: np.ndarray, statistic: np.ndarray, estimate: float, threshold: float, bounds: np.ndarray
) -> Interval:
    """How far from the estimate, whose statistic is 0, it stays below the threshold; by linear interpolation."""
    ends = []
    for side, end in ((values < estimate, bounds[0]), (values > estimate, bounds[1])):
        outwards = np.argsort(np.abs(values[side] - estimate))
        x = np.append(estimate, values[side][outwards])
        s = np.append(0.0, statistic[side][outwards])
        above = np.flatnonzero(s > threshold)
        if not len(above):
            ends.append(float(end))
            continue
        i = above[0]
        share = (threshold - s[i - 1]) / (s[i] - s[i - 1]) if np.isfinite(s[i]) else 0.0
        ends.append(float(x[i - 1] + share * (x[i] - x[i - 1])))
    return Interval(*ends)
