"""From losses to the least train length that suffices, N*(ε), its interval, and its exponent in a task's complexity.

    found = threshold(lengths, errors_NxR, epsilon=0.1, key=key)
    found.length, found.interval, found.censored       # 21.3, (18.0, 25.1), "no"
    exponent(complexities, lengths, thresholds)        # slope of log N* on log complexity, with its interval

N*(ε) is the length from which on the error stays within ε, between two lengths of the grid by straight lines in
logarithms. A grid may end before (N* above its largest: right-censored) or begin after it (left-censored): those values
are bounds, and enter the exponent as bounds. Float64 numpy; only the draws come from JAX.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import jax
import numpy as np
from scipy.special import log_ndtr

from jaxscale.arguments import random_key
from jaxscale.errors import InputError

EM_STEPS = 200


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Threshold:
    """N*(ε) of one task parameter.

    Attributes:
      length: N*; the end of the grid where censored.
      interval: of the bootstrap; 0 and infinity stand for the grid's outside.
      censored: "no", "left" (N* lies at or below the shortest length) or "right" (above the longest).
      draws: bootstrap draws of log N*, (B,) float64, -inf and inf where censored.
      runs: how many runs it rests on.
    """

    length: float
    interval: tuple[float, float]
    censored: Literal["no", "left", "right"] = dataclasses.field(metadata={"static": True})
    draws: np.ndarray
    runs: int = dataclasses.field(metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Exponent:
    """Slope of log N* on log complexity.

    Attributes:
      value: nan where fewer than two thresholds lie inside the grid.
      interval: of the same bootstrap as the thresholds.
    """

    value: float
    interval: tuple[float, float]


def threshold(
    lengths: np.typing.ArrayLike,
    errors_NxR: np.typing.ArrayLike,
    epsilon: float,
    level: float = 0.95,
    resamples: int = 1000,
    *,
    key: jax.Array | int,
) -> Threshold | None:
    """N*(ε) from the errors of R runs (seeds) at each of several train lengths.

    Errors are averaged over runs as geometric means; runs are resampled whole, the same at every length, as seeds share
    what they share.

    Args:
      lengths: (N,) train lengths, increasing.
      errors_NxR: positive; nan for runs left out.
      epsilon: ε.
      level, resamples: of the interval.
      key: a JAX random key, or an int for `jax.random.key`. Of the bootstrap.

    Returns:
      `Threshold`, or None if it may lie at or below a length that has no run left.
    """
    lengths, errors_NxR = np.asarray(lengths, float), np.asarray(errors_NxR, float)
    if len(lengths) != len(errors_NxR) or np.any(np.diff(lengths) <= 0):
        raise InputError(f"lengths={lengths} must increase, one for each of {len(errors_NxR)} rows of errors.")
    kept_NxR = np.isfinite(errors_NxR)
    # Of what is at most as long as a length without runs nothing is known; a crossing beyond it does not depend on it.
    first = int(np.flatnonzero(~kept_NxR.any(axis=1)).max(initial=-1)) + 1
    if first:
        found = (
            None
            if first == len(lengths)
            else threshold(lengths[first:], errors_NxR[first:], epsilon, level, resamples, key=key)
        )
        if found is None or found.censored == "left":
            return None
        return dataclasses.replace(found, draws=np.where(np.isneginf(found.draws), np.log(lengths[first]), found.draws))
    log_NxR = np.log(np.where(kept_NxR, errors_NxR, 1))
    runs = errors_NxR.shape[1]
    drawn_BxR = np.asarray(jax.random.randint(random_key("key", key), (resamples, runs), 0, runs))
    weight_BxR = (drawn_BxR[:, :, None] == np.arange(runs)).sum(1)
    means_BxN = _means(log_NxR, kept_NxR, np.concatenate([np.ones((1, runs)), weight_BxR]))
    crossings_B = np.array([_crossing(np.log(lengths), means_N, math.log(epsilon)) for means_N in means_BxN])
    first, draws = crossings_B[0], crossings_B[1:]
    ends = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2], method="nearest")
    return Threshold(
        length=float(np.clip(np.exp(first), lengths[0], lengths[-1])),
        interval=(float(np.exp(ends[0])), float(np.exp(ends[1]))),
        censored="no" if np.isfinite(first) else "left" if first < 0 else "right",
        draws=draws,
        runs=int(kept_NxR.any(axis=0).sum()),
    )


def exponent(
    complexities: np.typing.ArrayLike, lengths: Sequence[float], thresholds: Sequence[Threshold], level: float = 0.95
) -> Exponent:
    """The exponent of N* in a task's complexity, by maximum likelihood with censored values (Tobin 1958).

    Args:
      complexities: (P,) positive, such as ω or p.
      lengths: (N,) the train lengths of the grid.
      thresholds: P `Threshold`s.
      level: of the interval.
    """
    x_P, ends = np.log(np.asarray(complexities, float)), np.log([min(lengths), max(lengths)])
    first = [_log_length(found) for found in thresholds]
    draws_BxP = np.stack([np.array(first), *np.stack([found.draws for found in thresholds], axis=1)])
    slopes_B = _censored_slopes(x_P, draws_BxP, ends)
    drawn = slopes_B[1:][np.isfinite(slopes_B[1:])]
    if not np.isfinite(slopes_B[0]) or len(drawn) < 0.5 * len(slopes_B[1:]):
        return Exponent(math.nan, (math.nan, math.nan))
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return Exponent(float(slopes_B[0]), (float(low), float(high)))


def _log_length(found: Threshold) -> float:
    return {"no": math.log(found.length), "left": -math.inf, "right": math.inf}[found.censored]


def _means(log_NxR: np.ndarray, kept_NxR: np.ndarray, weight_BxR: np.ndarray) -> np.ndarray:
    """Weighted means over the runs kept, (B, N); where a draw holds none of them, over all that there are."""
    total_BxN = weight_BxR @ kept_NxR.T
    empty_BxN = total_BxN == 0
    means_BxN = (weight_BxR @ (log_NxR * kept_NxR).T) / np.where(empty_BxN, 1, total_BxN)
    overall_N = (log_NxR * kept_NxR).sum(1) / kept_NxR.sum(1)
    filled_BxN: np.ndarray = np.where(empty_BxN, overall_N, means_BxN)
    return filled_BxN


def _crossing(log_lengths_N: np.ndarray, log_errors_N: np.ndarray, log_epsilon: float) -> float:
    """log of the length from which on the error stays within ε; -inf below the grid, inf above it."""
    above_N = np.flatnonzero(log_errors_N > log_epsilon)
    if not len(above_N):
        return -math.inf
    last = above_N[-1]
    if last == len(log_lengths_N) - 1:
        return math.inf
    (x0, x1), (y0, y1) = log_lengths_N[last : last + 2], log_errors_N[last : last + 2]
    crossing: float = x0 + (x1 - x0) * (y0 - log_epsilon) / (y0 - y1)
    return crossing


def _censored_slopes(x_P: np.ndarray, y_BxP: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Slopes of normal regressions whose values may only be known to lie beyond the ends, (B,), by EM.

    Where a value is censored, its mean and variance given that it lies beyond stand for it; then a line and a variance
    are fitted as ever. nan with fewer than two values inside, or all of them at one complexity.
    """
    low_BxP, high_BxP = np.isneginf(y_BxP), np.isposinf(y_BxP)
    inside_BxP = ~low_BxP & ~high_BxP
    bound_BxP = np.where(low_BxP, ends[0], ends[1])
    sign_BxP = np.where(low_BxP, -1.0, 1.0)
    filled_BxP = np.where(inside_BxP, np.where(inside_BxP, y_BxP, 0), bound_BxP)
    spread_BxP = np.zeros_like(filled_BxP)
    design_Px2 = np.stack([np.ones_like(x_P), x_P], axis=1)
    solve_2xP = np.linalg.pinv(design_Px2)
    for _ in range(EM_STEPS):
        line_Bx2 = filled_BxP @ solve_2xP.T
        fit_BxP = line_Bx2 @ design_Px2.T
        variance_B = np.mean((filled_BxP - fit_BxP) ** 2 + spread_BxP, axis=1) + 1e-6
        scale_Bx1 = np.sqrt(variance_B)[:, None]
        # A normal variable beyond z standard deviations on the side `sign`: mean λ, variance 1 - λ (λ - z).
        z_BxP = sign_BxP * (bound_BxP - fit_BxP) / scale_Bx1
        hazard_BxP = np.exp(-0.5 * z_BxP**2 - 0.5 * math.log(2 * math.pi) - log_ndtr(-z_BxP))
        filled_BxP = np.where(inside_BxP, filled_BxP, fit_BxP + sign_BxP * scale_Bx1 * hazard_BxP)
        spread_BxP = np.where(inside_BxP, 0, scale_Bx1**2 * np.clip(1 - hazard_BxP * (hazard_BxP - z_BxP), 0, 1))
    varied_B = np.array([len(np.unique(x_P[inside_P])) > 1 for inside_P in inside_BxP])
    return np.where(varied_B, line_Bx2[:, 1], np.nan)
