"""How fast simple learners improve with the number of points: the data's own exponent 2β/d, without knowing β or d.

Regression with the Laplace kernel exp(-|x - x'|/ℓ) learns a field of smoothness β on a d-dimensional set at the rate
n^(-min(2β, 2(d+1))/d) (Spigler, Geiger & Wyart 2021, arXiv 1905.10843), and the nearest neighbor at n^(-2 min(β, 1)/d)
(Kpotufe 2011, NeurIPS 24; Kpotufe & Garg 2013, arXiv 1303.6017), both above the noise of the labels.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import Interval
from jaxscale.smoothness.increments import distances, drawn

_SIZES = 6
_LEAST_SHARE = 1 / 12  # of the points for the smallest size
_TEST_SHARE = 0.25
_SPLITS = 4
_RIDGES = np.geomspace(1e-9, 10.0, 24)
_LEAST_EXCESS = 1e-3  # share of the test error that must be left after the noise


class LearningCurve(NamedTuple):
    """Test error against the number of points.

    Attributes:
      exponent: with which the error above the noise falls in n; NaN where it is not above the noise at every size.
      interval: of it, at 95%, over splits of these points; other points of the same field are not in it.
      sizes: (K,).
      errors: (K,) mean squared test errors less the noise, means over splits.
    """

    exponent: float
    interval: Interval
    sizes: np.ndarray
    errors: np.ndarray


def kernel_learning_curve(
    x: np.typing.ArrayLike, y: np.typing.ArrayLike, *, key: jax.Array | int, noise: float = 0.0
) -> LearningCurve:
    """The learning curve of Laplace-kernel regression, its ridge chosen by leave-one-out at every size.

    Sees smoothness above 1, which no difference of two labels can; within 20% for β up to 1.5 on sets of two dimensions
    at 1536 points, and little of it in eight.

    Args:
      x: (n, D) points; at most 1536 of them, drawn at random, are used.
      y: (n,) labels.
      key: a JAX random key, or an int for `jax.random.key`. It draws the splits.
      noise: standard deviation of the label noise, such as `madogram` finds, whose square is taken off test errors.

    Raises:
      InputError: as `madogram`, or for a negative noise.
    """
    return _curve(x, y, key, noise, _kernel_error, shared_noise=1.0)


def neighbor_learning_curve(
    x: np.typing.ArrayLike, y: np.typing.ArrayLike, *, key: jax.Array | int, noise: float = 0.0
) -> LearningCurve:
    """The learning curve of the nearest neighbor, whose error is the squared difference to its label.

    Args:
      x, y, noise: as for `kernel_learning_curve`.
      key: a JAX random key, or an int for `jax.random.key`. It draws the splits.
    """
    return _curve(x, y, key, noise, _neighbor_error, shared_noise=2.0)


def _curve(
    x: np.typing.ArrayLike,
    y: np.typing.ArrayLike,
    key: jax.Array | int,
    noise: float,
    error_of: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], float],
    shared_noise: float,
) -> LearningCurve:
    rng = generator(key)
    noise = arguments.real("noise", noise, 0.1)
    if not noise >= 0:
        raise InputError(f"noise={noise} must be 0 or more. Pass a standard deviation, such as `Madogram.noise`.")
    x, y, _ = drawn(x, y, rng)
    distance = distances(x)
    most = len(y) - round(_TEST_SHARE * len(y))
    sizes = np.unique(np.geomspace(_LEAST_SHARE * len(y), most, _SIZES).astype(int))
    errors = np.empty((_SPLITS, len(sizes)))
    for split in range(_SPLITS):
        order = rng.permutation(len(y))
        test, train = order[most:], order[:most]
        for place, size in enumerate(sizes):
            errors[split, place] = error_of(distance, y, train[:size], test)
    above = errors - shared_noise * noise**2
    mean = above.mean(0)
    if (mean <= _LEAST_EXCESS * errors.mean(0)).any():
        return LearningCurve(np.nan, Interval(np.nan, np.nan), sizes, mean)
    slope: Callable[[np.ndarray], float] = lambda values: -np.polyfit(np.log(sizes), np.log(values), 1)[0]
    # Splits overlap; leaving one out at a time says how far their mean depends on each.
    without = np.array([slope(np.delete(above, split, 0).mean(0)) for split in range(_SPLITS)])
    spread = 1.96 * np.sqrt((_SPLITS - 1) * np.mean((without - without.mean()) ** 2))
    exponent = slope(mean)
    return LearningCurve(float(exponent), Interval(exponent - spread, exponent + spread), sizes, mean)


def _neighbor_error(distance: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    nearest = train[np.argmin(distance[np.ix_(test, train)], axis=1)]
    return float(np.mean((y[test] - y[nearest]) ** 2))


def _kernel_error(distance: np.ndarray, y: np.ndarray, train: np.ndarray, test: np.ndarray) -> float:
    """Test error of the ridge with the least leave-one-out error, Σ (α_i / (K + λI)⁻¹_ii)² in closed form."""
    scale = np.median(distance)
    eigenvalue, vector = np.linalg.eigh(np.exp(-distance[np.ix_(train, train)] / scale))
    projected = vector.T @ y[train]
    best, coefficients = np.inf, np.zeros(len(train))
    for ridge in _RIDGES * len(train) / 100:
        inverse = 1 / (np.maximum(eigenvalue, 0.0) + ridge)
        dual = vector @ (inverse * projected)
        left_out = np.mean((dual / ((vector * vector) @ inverse)) ** 2)
        if left_out < best:
            best, coefficients = left_out, dual
    predicted = np.exp(-distance[np.ix_(test, train)] / scale) @ coefficients
    return float(np.mean((y[test] - predicted) ** 2))
