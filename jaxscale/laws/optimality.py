"""Whether a point is an optimum, and how the search came to it: for a fit of ours or published parameters alike."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxscale.laws.bootstrap import linearized
from jaxscale.laws.catalogue import named
from jaxscale.laws.law import Law, Values
from jaxscale.laws.objective import Objective, checked, pieces
from jaxscale.laws.results import Convergence
from jaxscale.laws.runs import LOSS, Table, read
from jaxscale.laws.search import FitProblem, Search, find, find_from, lower, problem

_DEAD = 1e-9  # share of the loss of any run
_AT_BOUND = 1e-6  # relative
_UNMOVED = 1e-12
_NOTHING = 1e-300


class Evaluation(NamedTuple):
    """Parameters of any origin, held against a table.

    Attributes:
      total: the objective there.
      best: the objective at the optimum of the same law.
      excess: total / best - 1, how far from an optimum it is.
      stationarity: share of the objective that a step from there is predicted to remove.
      residuals: (R,), runs ordered as in `Fit`.
      parameters: at the optimum, by name.
    """

    total: float
    best: float
    excess: float
    stationarity: float
    residuals: np.ndarray
    parameters: dict[str, Any]


def evaluate(
    table: Table,
    law: str | Law,
    parameters: Values,
    *,
    objective: Objective | None = None,
    weights: str | None = None,
    target: str = LOSS,
) -> Evaluation:
    """Holds parameters, such as published ones, against a table: their objective, and how far below it the optimum is.

    Args:
      table, law, objective, weights, target: as in `laws.fit`.
      parameters: numbers by name, all that the law has.

    Raises:
      InputError: for a table that cannot be fitted or parameters that are missing.
    """
    law = law if isinstance(law, Law) else named(law)
    law.check_parameters(parameters)
    task = problem(read(table, law, weights, None, target=target), law, checked(objective))
    z = law.coordinates_of(parameters, task.units)
    found = lower(find(task), find_from(task, z[None]))
    total, best = (float(task.objective.total(task.residuals(at), task.weight)) for at in (z, found.z))
    return Evaluation(
        total,
        best,
        total / max(best, _NOTHING) - 1,
        stationarity(task, z, found.delta),
        task.residuals(z),
        task.parameters(found.z),
    )


def convergence(task: FitProblem, found: Search) -> Convergence:
    """How the optimum of a search was found."""
    best = found.starts[int(np.argmin(found.totals))]
    names = task.law.coordinates
    unmoved = np.abs(best - found.z) <= _UNMOVED * np.abs(found.z)
    bounds, free = task.law.bounds, np.isnan(task.held)
    near = np.abs(found.z[:, None] - bounds) <= _AT_BOUND * np.abs(bounds)
    at_bound = np.any(near & np.isfinite(bounds), axis=1) & free
    dead = _dead(task, found.z) & free[: len(task.law.linear)]
    return Convergence(
        starts=task.parameters(found.starts),
        totals=found.totals,
        share_at_optimum=found.share_at_optimum,
        stationarity=stationarity(task, found.z, found.delta),
        dead_terms=tuple(name for name, is_dead in zip(task.law.linear, dead, strict=True) if is_dead and name != "E"),
        at_bound=tuple(
            name
            for name, is_at in zip(names, at_bound, strict=True)
            if is_at and (name == "E" or name not in task.law.linear)
        ),
        unmoved=tuple(
            name for name, still, is_at in zip(names, unmoved & free, at_bound, strict=True) if still and not is_at
        ),
    )


def stationarity(task: FitProblem, z: np.ndarray, delta: float) -> float:
    """Share of the objective that one step of reweighted least squares is predicted to remove: g H⁻¹ g / 2F.

    H is the matrix of that step, so the step does remove it, to second order. The number does not change with the
    units of parameters, columns or weights, and is rounding at an optimum.
    """
    fitted, jacobian = linearized(task, z)
    residual = fitted - task.target
    with jax.enable_x64(True):
        rho = pieces(residual, delta, None, task.objective.quantile)
    gradient = jacobian.T @ (task.weight * np.asarray(rho.slope))
    gram = (jacobian.T * (task.weight * np.asarray(rho.majorizer))) @ jacobian
    scale = np.sqrt(np.maximum(np.diag(gram), _NOTHING))
    step = np.linalg.lstsq(gram / np.outer(scale, scale), gradient / scale, rcond=1e-14)[0]
    working = Objective(delta, task.objective.quantile).total(residual, task.weight)
    return float(0.5 * gradient @ (step / scale) / max(working, _NOTHING))


def _dead(task: FitProblem, z: np.ndarray) -> np.ndarray:
    """Which linear coordinates contribute to no run, (K,)."""
    whole = task.losses(z)
    dead = []
    for k in range(len(task.law.linear)):
        without = np.array(z)
        without[k] = 0.0
        share = np.abs(whole - np.nan_to_num(task.losses(without))) / whole
        dead.append(bool(np.max(share) < _DEAD))
    return np.array(dead)
