"""Tables like the one that was fitted, from which intervals are read: whole groups redrawn, or their errors turned.

Every design returns what `search.refit` takes: targets (B, R) or weights (B, R). The numbers are few, so the arithmetic
is float64 numpy.
"""

from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxscale.laws.random_draws import generator
from jaxscale.laws.search import FitProblem, Search

Bootstrap = Literal["auto", "wild-cluster", "pairs-cluster", "pairs"]
BOOTSTRAPS = ("auto", "wild-cluster", "pairs-cluster", "pairs")

# Webb 2023, "Reworking wild bootstrap-based inference for clustered errors": six points, mean 0, variance 1.
_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
# With this many groups signs alone give enough different tables, and signs keep the size of every error. Robust
# objectives are as certain as errors are dense around zero, where Webb's smaller points put more than there were.
_MANY_GROUPS = 8
# A resampled log loss stays within this of the curve, so that a far Student tail cannot overflow.
_LARGEST_SHIFT = 3.0
# Beyond this leverage the curve follows the group: what remains is second order in the noise, not to be magnified.
_LARGEST_LEVERAGE = 1 - 1e-4


class Resamples(NamedTuple):
    """B tables over the same R runs; what is None is as in the table itself."""

    target: np.ndarray | None = None
    weight: np.ndarray | None = None


def pairs(key: jax.Array, task: FitProblem, group: np.ndarray, resamples: int) -> Resamples:
    """Tables of whole groups drawn with replacement, as how often each run was drawn."""
    groups = int(group.max()) + 1
    drawn = generator(key).integers(groups, size=(resamples, groups))
    places = drawn + groups * np.arange(resamples)[:, None]
    times = np.bincount(places.ravel(), minlength=resamples * groups).reshape(resamples, groups)
    return Resamples(weight=times[:, group] * task.weight)


def wild_cluster(key: jax.Array, task: FitProblem, found: Search, group: np.ndarray, resamples: int) -> Resamples:
    """Tables that keep the sizes and redraw the losses around the fitted curve, one random factor for each group.

    The residuals e_g of group g become t_b v_bg (I - H_gg)^(-1/2) e_g in draw b: H_gg, the leverage of the group on
    itself, makes up for the curve having followed its errors (Bell & McCaffrey 2002); v_bg is a random sign, or with
    fewer than 8 groups one of Webb's six weights (Webb 2023); t_b = √(ν/χ²_ν), one per draw, makes the draws
    Student-t with Bell & McCaffrey's degrees of freedom ν, the fewest over the parameters.
    """
    fitted, jacobian = linearized(task, found.z)
    residual, freedom = corrected_residuals(task.target - fitted, jacobian * np.sqrt(task.weight)[:, None], group)
    rng = generator(key)
    groups = int(group.max()) + 1
    points = np.array([-1.0, 1.0]) if groups >= _MANY_GROUPS else _WEBB
    factor = rng.choice(points, (resamples, groups))
    chi_square = rng.chisquare(freedom, resamples)
    shift = np.sqrt(freedom / chi_square)[:, None] * factor[:, group] * residual
    if task.logarithmic:
        return Resamples(target=fitted + np.clip(shift, -_LARGEST_SHIFT, _LARGEST_SHIFT))
    return Resamples(target=np.maximum(fitted + shift, np.exp(-_LARGEST_SHIFT) * fitted))


def linearized(task: FitProblem, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The curve (R,) at coordinates (P,), as targets are, and its derivatives (R, P); 0 along coordinates at a bound.

    A coordinate at its bound is not a direction the fit can take to both sides.
    """
    loss, slope = task.losses(z), task.derivatives(z)
    free = (z > task.bounds[:, 0]) & (z < task.bounds[:, 1])
    jacobian = np.where(free & np.isfinite(slope), slope, 0.0)
    if task.logarithmic:
        return np.log(loss), jacobian / loss[:, None]
    return loss, jacobian


def corrected_residuals(residual: np.ndarray, jacobian: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, float]:
    """(I - H_gg)^(-1/2) e_g of every group as (R,), and the degrees of freedom of the least certain coordinate.

    Args:
      residual: (R,).
      jacobian: (R, P), multiplied by the roots of the weights.
      group: (R,).
    """
    inverse = np.linalg.pinv(jacobian)  # (P, R)
    corrected = np.empty_like(residual)
    spread = np.zeros((len(residual), inverse.shape[0], int(group.max()) + 1))
    for g in range(int(group.max()) + 1):
        runs = np.flatnonzero(group == g)
        leverage, directions = np.linalg.eigh(jacobian[runs] @ inverse[:, runs])
        root = (directions / np.sqrt(1 - np.clip(leverage, 0, _LARGEST_LEVERAGE))) @ directions.T
        corrected[runs] = root @ residual[runs]
        # The variance estimate of coordinate p is Σ_g (q_pgᵀ e)²; q_pg holds the group's corrected share of it.
        spread[runs, :, g] = root @ inverse[:, runs].T
    return corrected, _freedom(spread, jacobian, inverse)


def _freedom(spread_RxPxG: np.ndarray, jacobian: np.ndarray, inverse: np.ndarray) -> float:
    """The fewest degrees of freedom over coordinates, at least 1: (tr B)² / tr B² under independent errors.

    For coordinate p the estimate is eᵀ B e with B = M Q Qᵀ M, M = I - H and Q the columns q_pg; tr B and tr B² follow
    from the G x G matrix Qᵀ M Q (Satterthwaite).
    """
    freedoms = []
    for p in range(spread_RxPxG.shape[1]):
        q = spread_RxPxG[:, p]
        if not q.any():
            continue
        q = q / np.abs(q).max()  # whose squares might be too small for numbers
        inner = q.T @ q - (q.T @ jacobian) @ (inverse @ q)
        freedoms.append(np.trace(inner) ** 2 / np.sum(inner * inner))
    return max(min(freedoms, default=np.inf), 1.0) if freedoms else float(len(jacobian))
