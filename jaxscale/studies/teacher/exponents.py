"""Exponents of errors at a known floor of zero, from a table of seeds and documents.

The exponent is minus the slope of the logarithm of the mean error against log n, by least squares. Three things make
it uncertain, and their variances add: which documents it was measured on, resampled whole; the chance of seeds, by the
spread between the slopes of single seeds and Student's t, since there are few; and that no errors lie on an exact line,
since settings are chosen from a grid and theory speaks of large n. How far they lie from it, beyond what documents and
seeds explain, says how much that is, by the standard error of least squares and Student's t.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.stats

Curve = dict[str, Any]


def by_document(errors_xP: np.ndarray, document_W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean error of each document, (…, D), and its share of the positions, (D,), from errors (…, W, P)."""
    place_W = np.unique(document_W, return_inverse=True)[1]
    member_WxD = place_W[:, None] == np.arange(place_W.max() + 1)
    windows_D = member_WxD.sum(axis=0)
    return errors_xP.mean(axis=-1) @ member_WxD / windows_D, windows_D / windows_D.sum()


def power_law(
    sizes: Sequence[int],
    errors_NxSxD: np.ndarray,
    weight_D: np.ndarray,
    level: float,
    resamples: int,
    key: int = 0,
    variances: Sequence[float] | None = None,
) -> Curve:
    """The exponent of a power law without a floor, with its interval.

    Args:
      sizes: N numbers of labels.
      errors_NxSxD: mean errors of documents by size and seed.
      weight_D: shares of the documents in a mean over positions.
      level: of the interval.
      resamples: draws of the documents.
      key: seeds the draws.
      variances: N variances of the labels that are averaged: the error is then a power of n over them, as that of
        labels of one variance is of n. None: they are alike.

    Returns:
      A dict: `exponent`, `interval`, `scale` (the fitted line at n = 1), `rms_residual`, and `bend`: the `change` of
      the exponent from the least to the largest size, with its `interval` by the same rules; None of fewer than four.
    """
    x = np.log(np.asarray(sizes, float))
    if variances is not None:
        x = x - np.log(np.asarray(variances) / variances[-1])
    generator = np.random.default_rng(key)
    documents = len(weight_D)
    drawn_RxD = generator.multinomial(documents, np.full(documents, 1 / documents), size=resamples) * weight_D
    drawn_RxD = drawn_RxD / drawn_RxD.sum(axis=1, keepdims=True)
    over_seeds_NxD = errors_NxSxD.mean(axis=1)
    log_Nx1 = np.log(over_seeds_NxD @ weight_D)
    log_NxR = np.log(over_seeds_NxD @ drawn_RxD.T)
    log_NxS = np.log(errors_NxSxD @ weight_D)
    found: Curve = {"sizes": [int(n) for n in sizes]}
    line_NxC = np.stack([np.ones_like(x), x - x.mean()], axis=1)
    found["exponent"], found["interval"] = _estimate(-1.0, line_NxC, log_Nx1, log_NxR, log_NxS, level)
    intercept = float(np.mean(log_Nx1) + found["exponent"] * np.mean(x))
    residuals = log_Nx1 - (intercept - found["exponent"] * x)
    found |= {"scale": math.exp(intercept), "rms_residual": float(np.sqrt(np.mean(residuals**2)))}
    if len(x) >= 4:
        parabola_NxC = np.column_stack([line_NxC, (x - x.mean()) ** 2])
        change, ends = _estimate(-2 * (x.max() - x.min()), parabola_NxC, log_Nx1, log_NxR, log_NxS, level)
        found["bend"] = {"change": change, "interval": ends}
    else:
        found["bend"] = None
    return found


def _estimate(
    factor: float, design_NxC: np.ndarray, log_N: np.ndarray, log_NxR: np.ndarray, log_NxS: np.ndarray, level: float
) -> tuple[float, list[float]]:
    """`factor` times the last coefficient of a fit by least squares, and its interval."""
    weights_N = factor * np.linalg.pinv(design_NxC)[-1]
    value = float(weights_N @ log_N)
    of_documents = float(np.std(weights_N @ log_NxR))
    seeds = log_NxS.shape[1]
    reach = scipy.stats.norm.ppf((1 + level) / 2) * of_documents
    covariance_NxN = np.cov(log_NxR, ddof=0)
    if seeds > 1:
        of_seeds = float(np.std(weights_N @ log_NxS, ddof=1)) / math.sqrt(seeds)
        reach = math.hypot(reach, scipy.stats.t.ppf((1 + level) / 2, seeds - 1) * of_seeds)
        covariance_NxN = covariance_NxN + np.cov(log_NxS, ddof=1) / seeds
    if (free := len(design_NxC) - design_NxC.shape[1]) > 0:
        off_NxN = np.eye(len(design_NxC)) - design_NxC @ np.linalg.pinv(design_NxC)
        unexplained = float(np.sum((off_NxN @ log_N) ** 2) - np.trace(off_NxN @ covariance_NxN)) / free
        of_fit = math.sqrt(max(unexplained, 0.0) * float(np.sum(weights_N**2)))
        reach = math.hypot(reach, scipy.stats.t.ppf((1 + level) / 2, free) * of_fit)
    return value, [value - reach, value + reach]


def means(sizes: Sequence[int], errors_NxSxD: np.ndarray, weight_D: np.ndarray) -> list[dict[str, float]]:
    """The error at each size, with its standard error clustered by document, and the least and greatest over seeds."""
    rows = []
    for n, of_seeds_SxD in zip(sizes, errors_NxSxD, strict=True):
        of_documents = of_seeds_SxD.mean(axis=0)
        mean = float(of_documents @ weight_D)
        documents = len(weight_D)
        error = math.sqrt(np.sum((weight_D * (of_documents - mean)) ** 2) * documents / max(documents - 1, 1))
        seeds = of_seeds_SxD @ weight_D
        rows.append(
            {"n": int(n), "loss": mean, "standard_error": error}
            | {"least": float(seeds.min()), "greatest": float(seeds.max())}
        )
    return rows
