"""Estimators whose rate is known to be minimax, on the same points as the networks, chosen on the same validation set.

The mean of the k nearest labels reaches n^(-2β/(2β+d)) for β up to 1, with d the intrinsic dimension (Kpotufe 2011,
NeurIPS 24); ridge regression with the Laplace kernel exp(-|x - x'|/ℓ) reaches it for β up to d + 1 where the ridge is
chosen well (Caponnetto & De Vito 2007; the kernel's space is that of (d+1)/2 derivatives).
"""

import numpy as np
import scipy.linalg
import scipy.spatial

MOST_NEIGHBORS = 256
# Queries whose distances to all points are held at once.
CHUNK = 1024
RIDGES = np.geomspace(1e-2, 1e2, 6)
# Probabilities of classes are kept this far from 0.
LEAST = 1e-3


def nearest_neighbors(x, y, queries):
    """Means of the labels (n, O) of the k nearest points of x (n, D), for k = 1, 2, 4, …: {k: (q, O)}."""
    ks = [1 << i for i in range(min(MOST_NEIGHBORS, len(x)).bit_length())]
    # Trees are slower than all distances at so many neighbors.
    nearest = np.concatenate(
        [_nearest(x, part, ks[-1]) for part in np.split(queries, range(CHUNK, len(queries), CHUNK))]
    )
    return {k: y[nearest[:, :k]].mean(axis=1) for k in ks}


def _nearest(x, queries, k):
    """Which k points of x are nearest to each query, in order, (q, k)."""
    squared = np.sum(x * x, axis=1) - 2 * queries @ x.T
    among = np.argpartition(squared, k - 1, axis=1)[:, :k]
    order = np.argsort(np.take_along_axis(squared, among, axis=1), axis=1)
    return np.take_along_axis(among, order, axis=1)


def kernel_regression(x, y, queries):
    """Laplace-kernel ridge regression on x (n, D), y (n, O), ℓ the median distance, by ridge: {ridge: (q, O)}.

    The mean label is taken off first. Costs n³ a ridge and memory n² + n q, in float64.
    """
    distance = scipy.spatial.distance.cdist(x, x)
    scale, mean = np.median(distance), y.mean(axis=0)
    kernel = np.exp(-distance / scale)
    across = np.exp(-scipy.spatial.distance.cdist(queries, x) / scale)
    solve = lambda ridge: scipy.linalg.solve(kernel + ridge * np.eye(len(x)), y - mean, assume_a="pos")
    return {float(ridge): mean + across @ solve(ridge) for ridge in RIDGES}


def excess(objective, predicted, truth):
    """Mean squared error, or the mean Kullback-Leibler divergence of predicted probabilities, from the truth."""
    if objective == "squared_error":
        return float(np.mean(np.sum((predicted - truth) ** 2, axis=-1)))
    predicted = np.clip(predicted, LEAST, None)
    predicted = predicted / predicted.sum(axis=-1, keepdims=True)
    return float(np.mean(np.sum(truth * np.log(np.maximum(truth, 1e-30) / predicted), axis=-1)))
