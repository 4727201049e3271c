"""Tables like the one that was fitted, from which intervals are read: whole groups redrawn, or their errors turned.

Every design returns what `search.refit` takes: targets (B, R) or weights (B, R). The numbers are few, so the arithmetic
is float64 numpy.
"""

from typing import Literal, NamedTuple

import jax
import numpy as np

from jaxscale.laws.random_draws import generator
from jaxscale.laws.search import FitProblem, Search

Bootstrap = Literal["auto", "wild-cluster", "components", "mixed", "pairs-cluster", "pairs"]
BOOTSTRAPS = ("auto", "wild-cluster", "components", "mixed", "pairs-cluster", "pairs")
# With fewer groups, or fewer independent runs, turning the errors that there are gives intervals that are too narrow.
_MANY_GROUPS, _MANY_RUNS = 10, 40
# Ratios of the variance that groups share to a run's own: to solve the quadratic form at, and to compare likelihoods.
_RATIOS = np.geomspace(1e-4, 1e6, 121)
_LIKELY_RATIOS = np.concatenate([[0.0], np.geomspace(0.03, 100.0, 24)])
# Residuals to spare from which errors are drawn as these are distributed.
_MANY_ERRORS = 24

# Webb 2023, "Reworking wild bootstrap-based inference for clustered errors": six points, mean 0, variance 1.
_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
# With this many groups signs alone give enough different tables, and signs keep the size of every error. Robust
# objectives are as certain as errors are dense around zero, where Webb's smaller points put more than there were.
_MANY_SIGNS = 8
# A resampled log loss stays within this of the curve, so that a far Student tail cannot overflow.
_LARGEST_SHIFT = 3.0
# Beyond this leverage the curve follows the group: what remains is second order in the noise, not to be magnified.
_LARGEST_LEVERAGE = 1 - 1e-4


class Resamples(NamedTuple):
    """B tables over the same R runs; what is None is as in the table itself."""

    target: np.ndarray | None = None
    weight: np.ndarray | None = None


def suited(runs: int, groups: int | None) -> Bootstrap:
    """The design that "auto" stands for, with so many groups of runs that err together, or None."""
    if groups is None or groups == runs:
        return "components" if runs < _MANY_RUNS else "wild-cluster"
    return "mixed" if groups < _MANY_GROUPS else "wild-cluster"


def redrawn(
    kind: Bootstrap, key: jax.Array, task: FitProblem, found: Search, group: np.ndarray | None, resamples: int
) -> Resamples:
    """Tables by a design, of which "auto" is none; `group` (R,) is None where runs err independently."""
    if kind == "components" or (kind == "mixed" and group is None):
        return components(key, task, found, group, resamples)
    if kind == "mixed" and group is not None:
        return mixed(key, task, found, group, resamples)
    of = np.arange(len(task.loss)) if group is None or kind == "pairs" else group
    if kind == "wild-cluster":
        return wild_cluster(key, task, found, of, resamples)
    return pairs(key, task, of, resamples)


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
    root = np.sqrt(task.weight)
    ratio = shared_ratio(root * (task.target - fitted), root[:, None] * jacobian, group)
    residual, freedom = corrected_residuals(task.target - fitted, jacobian * root[:, None], group, ratio)
    rng = generator(key)
    groups = int(group.max()) + 1
    points = np.array([-1.0, 1.0]) if groups >= _MANY_SIGNS else _WEBB
    factor = rng.choice(points, (resamples, groups))
    chi_square = rng.chisquare(freedom, resamples)
    return _shifted(task, fitted, np.sqrt(freedom / chi_square)[:, None] * factor[:, group] * residual)


def components(key: jax.Array, task: FitProblem, found: Search, group: np.ndarray | None, resamples: int) -> Resamples:
    """Tables around the fitted curve whose errors are drawn anew, after how large these are.

    An error is that of a run plus, with groups, one that its group shares. How large both are is drawn for each table
    from their generalized fiducial distribution given the residuals of the linearized curve (Weerahandi 1995, chapter
    6): the sum of squares within groups over the first variance is χ², and so is, of what is left, the quadratic form
    with both. Few groups leave the second variance open, and draws say so: they are Student-t then.
    """
    fitted, jacobian = linearized(task, found.z)
    root = np.sqrt(task.weight)
    design = basis(root[:, None] * jacobian)
    error = root * (task.target - fitted)
    error = error - design @ (design.T @ error)
    rng = generator(key)
    runs = len(error)
    if group is None or group.max() + 1 == runs:
        freedom = max(runs - design.shape[1], 1)
        own_B = np.sqrt(error @ error / rng.chisquare(freedom, resamples))
        shift = own_B[:, None] * _units(rng, error, freedom, (resamples, runs))
    else:
        own_B, shared_B = _sizes_of_errors(rng, error, design, group, resamples)
        within = error - (np.bincount(group, error) / np.bincount(group))[group]
        shift = own_B[:, None] * _units(rng, within, runs - int(group.max()) - 1, (resamples, runs))
        shift += (shared_B[:, None] * rng.normal(size=(resamples, int(group.max()) + 1)))[:, group]
    return _shifted(task, fitted, shift / root)


def mixed(key: jax.Array, task: FitProblem, found: Search, group: np.ndarray, resamples: int) -> Resamples:
    """Tables of `wild_cluster`, but every fourth of `components`.

    With fewer than ten groups intervals of the one alone are too narrow, as it knows no errors but those that it turns,
    and those of the other too wide, as it holds any size of shared errors for possible that cannot be excluded
    (benchmarks/laws_coverage.py).
    """
    one = wild_cluster(jax.random.fold_in(key, 0), task, found, group, resamples).target
    other = components(jax.random.fold_in(key, 1), task, found, group, resamples).target
    assert one is not None and other is not None
    return Resamples(np.where(np.arange(resamples)[:, None] % 4 == 3, other, one))


def basis(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis (R, k) of columns (R, K) of any units."""
    norms = np.linalg.norm(columns, axis=0)
    left, sizes, _ = np.linalg.svd(columns / np.where(norms > 0, norms, 1.0), full_matrices=False)
    kept: np.ndarray = left[:, sizes > 1e-10 * max(sizes.max(initial=0.0), 1e-300)]
    return kept


def _units(rng: np.random.Generator, error: np.ndarray, freedom: int, shape: tuple[int, int]) -> np.ndarray:
    """Errors of variance 1: as the residuals are distributed where there are many, else normal."""
    if freedom < _MANY_ERRORS:
        return rng.normal(size=shape)
    centered = error - error.mean()
    units: np.ndarray = rng.choice(centered / max(np.sqrt(np.mean(centered**2)), 1e-300), shape)
    return units


def _sizes_of_errors(
    rng: np.random.Generator, error: np.ndarray, design: np.ndarray, group: np.ndarray, resamples: int
) -> tuple[np.ndarray, np.ndarray]:
    """Standard deviations of a run's own error and of that its group shares, (B,) each, drawn as `components` says."""
    counts = np.bincount(group)
    inside = basis(np.concatenate([np.eye(len(counts))[group], design], axis=1))
    within = max(float(error @ error - np.sum((inside.T @ error) ** 2)), 0.0)
    spare = len(error) - inside.shape[1]
    between = len(error) - design.shape[1] - spare
    if spare < 1 or between < 1:  # groups cannot be told from runs, or from the curve
        freedom = max(len(error) - design.shape[1], 1)
        own = np.sqrt(error @ error / rng.chisquare(freedom, resamples))
        return own, own if between < 1 else np.zeros(resamples)
    own = within / rng.chisquare(spare, resamples)
    left = np.array([_form(error, design, group, ratio) for ratio in _RATIOS]) - within
    # It falls with the ratio; where even none is too large, groups share nothing.
    wanted = own * rng.chisquare(between, resamples)
    ratio = np.exp(np.interp(-np.log(np.maximum(wanted, 1e-300)), -np.log(np.maximum(left, 1e-300)), np.log(_RATIOS)))
    shared = np.where(wanted >= left[0], 0.0, own * ratio)
    return np.sqrt(own), np.sqrt(shared)


def _form(error: np.ndarray, design: np.ndarray, group: np.ndarray, ratio: float) -> float:
    """The residual sum of squares of generalized least squares, in units of the variance of a run's own error."""
    both = whitened(np.concatenate([error[:, None], design], axis=1), group, ratio)
    return float(both[:, 0] @ both[:, 0] - np.sum((basis(both[:, 1:]).T @ both[:, 0]) ** 2))


def whitened(values: np.ndarray, group: np.ndarray, ratio: float) -> np.ndarray:
    """Columns (R, K) whose errors are independent, if those of a group share a variance `ratio` times a run's own."""
    counts = np.bincount(group)
    means = np.stack([np.bincount(group, column) for column in values.T], axis=1) / counts[:, None]
    share = 1 - 1 / np.sqrt(1 + ratio * counts)
    white: np.ndarray = values - (share[:, None] * means)[group]
    return white


def shared_ratio(residual: np.ndarray, columns: np.ndarray, group: np.ndarray) -> float:
    """The variance that runs of a group share over a run's own, by restricted maximum likelihood."""
    columns = basis(columns)
    counts = np.bincount(group)

    def likelihood(ratio: float) -> float:
        y, x = whitened(residual[:, None], group, ratio)[:, 0], whitened(columns, group, ratio)
        gram = x.T @ x
        left = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
        spare = len(y) - x.shape[1]
        if spare < 1:
            return 0.0
        determinant = np.linalg.slogdet(gram)[1]
        return float(-spare * np.log(max(left @ left, 1e-300)) - np.sum(np.log1p(ratio * counts)) - determinant)

    return float(_LIKELY_RATIOS[int(np.argmax([likelihood(ratio) for ratio in _LIKELY_RATIOS]))])


def _shifted(task: FitProblem, fitted: np.ndarray, shift: np.ndarray) -> Resamples:
    """Tables whose losses lie so far from the curve."""
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


def corrected_residuals(
    residual: np.ndarray, jacobian: np.ndarray, group: np.ndarray, ratio: float = 0.0
) -> tuple[np.ndarray, float]:
    """(I - H_gg)^(-1/2) e_g of every group as (R,), and the degrees of freedom of the least certain coordinate.

    Args:
      residual: (R,).
      jacobian: (R, P), multiplied by the roots of the weights.
      group: (R,).
      ratio: of the variance that a group shares to that of a run's own error.
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
    return corrected, _freedom(spread, jacobian, inverse, group, ratio)


def _freedom(
    spread_RxPxG: np.ndarray, jacobian: np.ndarray, inverse: np.ndarray, group: np.ndarray, ratio: float
) -> float:
    """The fewest degrees of freedom over coordinates, at least 1: (tr BV)² / tr BVBV for errors of covariance V.

    For coordinate p the estimate is eᵀ B e with B = M Q Qᵀ M, M = I - H and Q the columns q_pg; both traces follow from
    the G x G matrix Qᵀ M V M Q (Satterthwaite).
    """
    freedoms = []
    members = np.eye(int(group.max()) + 1)[group]
    of_members = inverse @ members
    for p in range(spread_RxPxG.shape[1]):
        q = spread_RxPxG[:, p]
        if not q.any():
            continue
        q = q / np.abs(q).max()  # whose squares might be too small for numbers
        inner = q.T @ q - (q.T @ jacobian) @ (inverse @ q)
        of_groups = q.T @ members - (q.T @ jacobian) @ of_members
        inner = inner + ratio * of_groups @ of_groups.T
        freedoms.append(np.trace(inner) ** 2 / np.sum(inner * inner))
    return max(min(freedoms, default=np.inf), 1.0) if freedoms else float(len(jacobian))
