"""Estimators whose rate is known to be minimax, on the same points as the networks, chosen on the same validation set.

The mean of the k nearest labels reaches n^(-2β/(2β+d)) for β up to 1, with d the intrinsic dimension (Kpotufe 2011,
NeurIPS 24); ridge regression with the Laplace kernel exp(-|x - x'|/ℓ) reaches it for β up to d + 1 where the ridge is
chosen well (Caponnetto & De Vito 2007; the kernel's space is that of (d+1)/2 derivatives).

Of a text there are n-grams too: how often symbols came after the last k, smoothed by the same of k - 1, down to k = 0
and chance (MacKay & Peto 1995, Natural Language Engineering 1, 289).

The best linear predictor knows what the others do not: the covariance of the random targets and the size of the noise.
For Gaussian targets, which sums of many waves nearly are, nothing errs less on average (kriging; Stein 1999, section
1.2). Its slope is what the rate looks like at these sizes.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg
import scipy.spatial
import scipy.special

from jaxscale.studies.manifolds.config import Objective

# Predictions by setting: numbers of neighbors, ridges, concentrations.
BySetting = dict[float, np.ndarray]
# Of values at two points, by their distance.
Covariance = Callable[[np.ndarray], np.ndarray]

MOST_NEIGHBORS = 2048
# Queries whose distances to all points are held at once.
CHUNK = 1024
RIDGES = np.geomspace(1e-2, 1e2, 6)
# Distances that a covariance is tabulated at, at the least.
GRID = 20_000
# Of n-grams: how many symbols the shorter context counts as.
CONCENTRATIONS = 4.0 ** np.arange(8)
# Probabilities of classes are kept this far from 0.
LEAST = 1e-3


def nearest_neighbors(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> BySetting:
    """Means of the labels (n, O) of the k nearest points of x (n, D), for k = 1, 2, 4, …: {k: (q, O)}."""
    ks = [1 << i for i in range(min(MOST_NEIGHBORS, len(x)).bit_length())]
    # Trees are slower than all distances at so many neighbors.
    nearest = np.concatenate(
        [_nearest(x, part, ks[-1]) for part in np.split(queries, range(CHUNK, len(queries), CHUNK))]
    )
    return {k: y[nearest[:, :k]].mean(axis=1) for k in ks}


def _nearest(x: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Which k points of x are nearest to each query, in order, (q, k)."""
    squared = np.sum(x * x, axis=1) - 2 * queries @ x.T
    among = np.argpartition(squared, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(squared, among, axis=1), axis=1)
    return np.take_along_axis(among, order, axis=1)


def kernel_regression(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> BySetting:
    """Laplace-kernel ridge regression on x (n, D), y (n, O), ℓ the median distance, by ridge: {ridge: (q, O)}.

    The mean label is taken off first. Costs n³ a ridge and memory n² + n q, in float64.
    """
    distance = scipy.spatial.distance.cdist(x, x)
    scale, mean = np.median(distance), y.mean(axis=0)
    kernel = np.exp(-distance / scale)
    across = np.exp(-scipy.spatial.distance.cdist(queries, x) / scale)
    solve: Callable[[float], np.ndarray] = lambda ridge: scipy.linalg.solve(
        kernel + ridge * np.eye(len(x)), y - mean, assume_a="pos"
    )
    return {float(ridge): mean + across @ solve(ridge) for ridge in RIDGES}


def n_grams(x: np.ndarray, y: np.ndarray, queries: np.ndarray) -> BySetting:
    """Shares of the next symbol after the last symbols of a context, by concentration: {concentration: (q, K)}.

    Args:
      x, queries: contexts (n, L, K) and (q, L, K) of one-hot symbols, the newest last.
      y: the symbols that came next, one-hot, (n, K).
    """
    newest_first_NxL = np.argmax(np.concatenate([x, queries]), axis=2)[:, ::-1]
    context, levels = np.zeros(len(newest_first_NxL), int), []
    for older_N in [*newest_first_NxL.T, None]:
        counts = np.zeros((context.max() + 1, y.shape[1]))
        np.add.at(counts, context[: len(x)], y)
        levels.append(counts[context[len(x) :]])
        if older_N is not None:
            context = np.unique(context * x.shape[2] + older_N, return_inverse=True)[1]
    smoothed = {}
    for concentration in CONCENTRATIONS:
        shares = np.full((len(queries), y.shape[1]), 1 / y.shape[1])
        for counts in levels:
            shares = (counts + concentration * shares) / (counts.sum(axis=1, keepdims=True) + concentration)
        smoothed[float(concentration)] = shares
    return smoothed


def best_linear(x: np.ndarray, y: np.ndarray, queries: np.ndarray, covariance: Covariance, noise: float) -> np.ndarray:
    """The linear predictor of least mean squared error at queries (q, W) from noisy labels (n, O) at x (n, W); (q, O).

    Args:
      x, y, queries: points where waves were, and labels whose mean is taken off first.
      covariance: of targets of variance 1, a function of distances.
      noise: σ of the labels.
    """
    spatial = scipy.spatial.distance.cdist
    mean, labels = y.mean(axis=0), covariance(spatial(x, x)) + noise**2 * np.eye(len(x))
    predicted: np.ndarray = mean + covariance(spatial(queries, x)) @ scipy.linalg.solve(
        labels, y - mean, assume_a="pos"
    )
    return predicted


def wave_covariance(width: int, beta: float, octaves: int, waves: int, reach: float) -> Covariance:
    """Covariance of `data.fields.weierstrass` over its directions and phases, for distances from 0 to `reach`.

    A wave of length |ω| has Γ(w) (2/u)^(w-1) J_{w-1}(u), u = |ω| r and w = W/2: the mean of cos(ω·x) over directions.
    """
    lengths = 2.0 ** ((np.arange(octaves * waves) + 0.5) / waves)
    weights, order = lengths ** (-2 * beta) / np.sum(lengths ** (-2 * beta)), width / 2 - 1
    # Linear between points so near that the matrix of a sample stays positive with little noise.
    at = np.linspace(0, reach, max(GRID, int(20 * reach * lengths[-1] / (2 * np.pi)) + 2))
    u = np.maximum(at[:, None] * lengths, 1e-9)
    values = scipy.special.gamma(order + 1) * (2 / u) ** order * scipy.special.jv(order, u) @ weights
    return lambda distance: np.interp(distance, at, values)


def excess(objective: Objective, predicted: np.ndarray, truth: np.ndarray) -> float:
    """Mean squared error, or the mean Kullback-Leibler divergence of predicted probabilities, from the truth."""
    if objective == "squared_error":
        return float(np.mean(np.sum((predicted - truth) ** 2, axis=-1)))
    predicted = np.clip(predicted, LEAST, None)
    predicted = predicted / predicted.sum(axis=-1, keepdims=True)
    return float(np.mean(np.sum(truth * np.log(np.maximum(truth, 1e-30) / predicted), axis=-1)))
