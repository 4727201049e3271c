"""Whether residuals say that the form of a law is wrong: smooth trends along a column, and labels that part them.

Both are F tests of what would be added to the curve, linearized at the optimum: cubic polynomials of a column's
logarithm, or a level for each value of a label. Errors that runs of a group share are one variance more, estimated by
restricted maximum likelihood (Patterson & Thompson 1971), so that such errors do not pass for a trend.
"""

from typing import NamedTuple

import numpy as np
from scipy import special

from jaxscale.laws.bootstrap import basis, linearized, shared_ratio, whitened
from jaxscale.laws.runs import Runs
from jaxscale.laws.search import FitProblem

_DEGREE = 3
# Degrees that errors shared by groups are estimated beside, where there are groups enough: a bend is not such an error.
_BESIDE = 5
# Directions that the law's own parameters can follow but for this share are its own.
_LEAST_LEFT = 0.03


class FTest(NamedTuple):
    """An F test of directions that the law does not have.

    Attributes:
      p: of the residuals, were the law true; 1 where nothing is left to test.
      size: root mean square of what would be added to the curve, in units of the residuals.
    """

    p: float
    size: float


def trend(task: FitProblem, z: np.ndarray, runs: Runs, column: str) -> FTest:
    """Of a smooth trend of the residuals along a column."""
    logarithm = np.log(runs.columns[column])
    low, high = logarithm.min(), logarithm.max()
    # Along a single column the law and a cubic may leave too few sizes for more.
    degree = _BESIDE if len(runs.columns) > 1 else _DEGREE
    legendre = np.polynomial.legendre.legvander(2 * (logarithm - low) / max(high - low, 1e-9) - 1, degree)
    return _test(task, z, runs, legendre[:, 1 : _DEGREE + 1], legendre[:, _DEGREE + 1 :])


def levels(task: FitProblem, z: np.ndarray, runs: Runs, index: np.ndarray) -> FTest:
    """Of a level of the residuals for each value of a label, (R,) integers from 0.

    Where hardly two groups have the same label, as where it names the sizes, its levels are their shared errors under
    another name, and nothing is tested.
    """
    count = int(index.max()) + 1
    each = np.eye(count)[index][:, 1:]
    if runs.group is not None and runs.groups < 2 * count and _constant(each, runs.group):
        return FTest(1.0, 0.0)
    return _test(task, z, runs, each, np.empty((len(runs), 0)))


def _test(task: FitProblem, z: np.ndarray, runs: Runs, added_RxA: np.ndarray, beside_RxB: np.ndarray) -> FTest:
    fitted, jacobian = linearized(task, z)
    root = np.sqrt(task.weight)[:, None]
    residual, own, added = root[:, 0] * (task.target - fitted), root * jacobian, root * added_RxA
    group, share = runs.group, 0.0
    if group is not None:
        ratio = shared_ratio(residual, np.concatenate([own, added, root * beside_RxB], axis=1), group)
        residual, own, added = (whitened(values, group, ratio) for values in (residual[:, None], own, added))
        residual = residual[:, 0]
        share = ratio / (ratio + runs.groups / len(runs)) if _constant(added_RxA, group) else 0.0
    own = basis(own)
    scale = np.linalg.norm(added, axis=0)
    left, sizes, _ = np.linalg.svd(_without(own, added / np.where(scale > 0, scale, 1.0)), full_matrices=False)
    added, residual = left[:, sizes > _LEAST_LEFT], _without(own, residual)
    tested, spare = added.shape[1], len(residual) - own.shape[1] - added.shape[1]
    if share:
        # The share of the variance of a group's mean that the few groups say is as uncertain as they are few.
        few = max(runs.groups - 1 - tested, 0.5)
        spare = 1 / (share**2 / few + (1 - share) ** 2 / spare) if spare > 0 else 0.0
    if not tested or spare < 1:
        return FTest(1.0, 0.0)
    explained = float(np.sum((added.T @ residual) ** 2))
    rest = max(float(residual @ residual) - explained, 0.0) / (len(residual) - own.shape[1] - tested)
    if explained <= 1e-20 * len(residual):  # a table without noise
        return FTest(1.0, 0.0)
    size = float(np.sqrt(explained / len(residual)))
    return FTest(float(special.fdtrc(tested, spare, explained / tested / max(rest, 1e-300))), size)


def _without(basis_RxK: np.ndarray, values: np.ndarray) -> np.ndarray:
    """What is left of values (R, …) beside an orthonormal basis."""
    left: np.ndarray = values - basis_RxK @ (basis_RxK.T @ values)
    return left


def _constant(values: np.ndarray, group: np.ndarray) -> bool:
    """Whether all runs of a group have the same values."""
    first = np.unique(group, return_index=True)[1]
    return bool(np.allclose(values, values[first][group], rtol=1e-6, atol=1e-9))
