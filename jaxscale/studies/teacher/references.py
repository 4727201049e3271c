"""Estimators that read contexts in a teacher's coordinates: what (d, β) of a layer predicts is their exponent.

They learn from the same contexts and labels as the students, at a few positions of the held-out windows.

Letters: N training contexts, D coordinates, Q queries, K outcomes.
"""

from collections.abc import Callable

import numpy as np
import scipy.linalg

# Numbers of neighbors, even in their logarithm, and so near that it hardly matters which of them are tried: were each
# twice the one before, steps from one to the next would move an exponent of smooth targets by a hundredth. Ridges over
# the mean of the kernel's diagonal.
NEIGHBORS = (1, 2, 3, 4, 6, 8, 11, 16, 23, 32, 45, 64, 91, 128, 181, 256, 362, 512)
RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)
# Queries whose neighbors are ordered at a time: they fit in a processor's cache.
AT_ONCE = 32

# Predictions (Q, K) by setting.
BySetting = dict[float, np.ndarray]


def squared_distances(queries_QxD: np.ndarray, points_NxD: np.ndarray) -> np.ndarray:
    """Squared distances (Q, N), float32."""
    center = points_NxD.mean(axis=0)
    queries, points = queries_QxD - center, points_NxD - center
    squared: np.ndarray = np.sum(queries**2, axis=1)[:, None] + np.sum(points**2, axis=1) - 2 * queries @ points.T
    np.maximum(squared, 0, out=squared)
    return squared


def nearest_neighbors(squared_QxN: np.ndarray, labels_N: np.ndarray, outcomes: int) -> BySetting:
    """Shares of the labels of the k nearest contexts, for k of `NEIGHBORS` up to a half of them."""
    most = max(k for k in NEIGHBORS if k <= max(1, len(labels_N) // 2))
    labels_QxM = np.concatenate(
        [
            _labels_by_distance(squared_QxN[start : start + AT_ONCE], labels_N, most)
            for start in range(0, len(squared_QxN), AT_ONCE)
        ]
    )
    counts_QxK, found, before = np.zeros((len(labels_QxM), outcomes), np.float32), {}, 0
    for k in NEIGHBORS:
        if k > most:
            break
        np.add.at(counts_QxK, (np.arange(len(labels_QxM))[:, None], labels_QxM[:, before:k]), 1)
        found[float(k)], before = counts_QxK / k, k
    return found


def _labels_by_distance(squared_QxN: np.ndarray, labels_N: np.ndarray, most: int) -> np.ndarray:
    """Labels of the nearest contexts, the nearest first, (Q, most)."""
    among = np.argpartition(squared_QxN, most - 1, axis=1)[:, :most]
    order = np.argsort(np.take_along_axis(squared_QxN, among, axis=1), axis=1, kind="stable")
    labels: np.ndarray = labels_N[np.take_along_axis(among, order, axis=1)]
    return labels


def label_variance(shares_QxK: np.ndarray, k: float) -> float:
    """Variance of labels among the k > 1 nearest contexts, the mean over queries, from shares of their labels (Q, K).

    Of one-hot labels, in all K coordinates together: chance, and what the truth differs by among the neighbors.
    """
    return float(np.mean(1 - np.sum(shares_QxK.astype(float) ** 2, axis=1)) * k / (k - 1))


def kernel_regression(within_NxN: np.ndarray, across_QxN: np.ndarray, labels_N: np.ndarray, outcomes: int) -> BySetting:
    """Laplace-kernel ridge regression of the labels as one-hot rows, from squared distances, by ridge.

    The length is the median distance; the mean label is taken off first. float32; costs N³ a ridge.
    """
    length = float(np.sqrt(np.median(within_NxN)))
    kernel_of: Callable[[np.ndarray], np.ndarray] = lambda squared: np.exp(-np.sqrt(squared) / length)
    kernel, across = kernel_of(within_NxN), kernel_of(across_QxN)
    labels_NxK = np.zeros((len(labels_N), outcomes), np.float32)
    labels_NxK[np.arange(len(labels_N)), labels_N] = 1
    mean_K = labels_NxK.mean(axis=0)
    found = {}
    for ridge in RIDGES:
        solved = scipy.linalg.solve(
            kernel + np.float32(ridge) * np.eye(len(kernel), dtype=np.float32), labels_NxK - mean_K, assume_a="pos"
        )
        found[ridge] = mean_K + across @ solved
    return found


def squared_error(predicted_QxK: np.ndarray, truth_QxK: np.ndarray) -> np.ndarray:
    """Squared distance to the truth at each query, (Q,)."""
    distance: np.ndarray = np.sum((predicted_QxK - truth_QxK) ** 2, axis=1)
    return distance
