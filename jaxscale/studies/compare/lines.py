"""The straight line through points that err in both coordinates, and what the points leave open about it.

    line = fit(Points(x, y, x_deviation, y_deviation))
    line.intercept, line.slope, line.slope_interval(0.95)

Least squares of y alone takes x for exact: where x errs the slope comes out too flat, by the share of the errors in the
variance of x. Here the distance of a point is counted in its own error across the line, and the line minimizes

    χ²(a, b) = Σ (y - a - b x)² / (σ_y² + b² σ_x²),

the likelihood of normal errors once the true x are those that fit best: York et al. 2004 (Am. J. Phys. 72, 367) for
errors that do not depend on each other, "effective variance" of Orear 1982 (Am. J. Phys. 50, 912). The minimum is
sought over all directions of the line, so that no start can miss it.

An interval holds the values at which χ², at its best in the other parameter, exceeds its minimum by less than the
quantile. Unlike standard errors of York's these ends are right where the errors of x are no small part of its range:
intervals become lopsided, and lose an end where the points do not exclude a vertical line (Fieller 1954). If the points
scatter more than their errors explain, the quantile grows with χ² per degree of freedom (Birge 1932; never below 1).

Points that come in groups whose members depend on each other keep that line, but the intervals come from leaving out
whole groups: the cluster jackknife with Student's t, which assumes nothing of what happens within a group (MacKinnon,
Nielsen & Webb 2023, arXiv 2301.04527).
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import scipy.optimize
import scipy.stats

from jaxscale.errors import InputError

Ends = tuple[float | None, float | None]  # of an interval; None where the points leave it open

DIRECTIONS = 720
ENVELOPE = 801


class Points(NamedTuple):
    """Coordinates of N points, and standard deviations of their errors, which do not depend on each other; each (N,).

    Those of x may be zero, those of y are positive.
    """

    x: np.ndarray
    y: np.ndarray
    x_deviation: np.ndarray
    y_deviation: np.ndarray


@dataclasses.dataclass(frozen=True)
class Line:
    """A fitted line with its points.

    Attributes:
      points: that it was fitted to.
      held: the intercept, where it was not fitted.
    """

    points: Points
    held: float | None = None

    @property
    def slope(self) -> float:
        """b."""
        return self._slope(self._best[0])

    @property
    def intercept(self) -> float:
        """a."""
        return self.value(0.0)

    def value(self, x: float) -> float:
        """a + b x."""
        if self.held is not None:
            return self.held + self.slope * x
        return float(self._height(self._best[0], x)[0][0])

    @property
    def chi_squared(self) -> float:
        """Of the points about the line."""
        return self._best[1]

    @property
    def degrees_of_freedom(self) -> int:
        """Points less parameters."""
        return len(self.points.x) - (2 if self.held is None else 1)

    @property
    def widening(self) -> float:
        """By what errors would have to grow for the points to scatter as they do; 1 where they scatter less."""
        return math.sqrt(max(1.0, self.chi_squared / self.degrees_of_freedom)) if self.degrees_of_freedom else 1.0

    def scatter_probability(self) -> float:
        """Of scatter as large as this or larger, if the errors are as stated."""
        return float(scipy.stats.chi2.sf(self.chi_squared, self.degrees_of_freedom)) if self.degrees_of_freedom else 1.0

    def slope_interval(self, level: float) -> Ends:
        """The ends of b at a level."""
        low, high = self._directions(level)
        return (None if low is None else self._slope(low), None if high is None else self._slope(high))

    def value_interval(self, x: float, level: float) -> Ends:
        """The ends of a + b x at a level; at x = 0 those of the intercept."""
        low, high = self._directions(level)
        if low is None or high is None:
            return (None, None)
        if self.held is not None:
            ends = sorted(self.held + self._slope(angle) * x for angle in (low, high))
            return ends[0], ends[1]
        angles_A = np.linspace(low, high, ENVELOPE)
        height_A, weight_A, chi_A = self._height(angles_A, x)
        left_A = np.maximum(self._reach(level) - (chi_A - self.chi_squared), 0)
        reach_A = np.sqrt(left_A / weight_A)
        return float(np.min(height_A - reach_A)), float(np.max(height_A + reach_A))

    def excludes(self, intercept: float, slope: float, level: float) -> bool:
        """Whether the points refute a line, both of whose parameters are given: it lies outside their joint region."""
        variance_N = self.points.y_deviation**2 + (slope * self.points.x_deviation) ** 2
        chi = float(np.sum((self.points.y - intercept - slope * self.points.x) ** 2 / variance_N))
        return (chi - self.chi_squared) / self.widening**2 > float(scipy.stats.chi2.ppf(level, 2))

    # A line is a direction: its angle θ in coordinates in which both ranges are 1. Vertical ones are no special case.

    @functools.cached_property
    def _scales(self) -> tuple[float, float]:
        scale: Callable[[np.ndarray, np.ndarray], float] = lambda values, deviations: float(
            max(np.ptp(values), np.sqrt(np.mean(deviations**2)), 1e-12)
        )
        return scale(self.points.x, self.points.x_deviation), scale(self.points.y, self.points.y_deviation)

    def _slope(self, angle: float) -> float:
        along_x, along_y = self._scales
        return math.tan(angle) * along_y / along_x

    def _across(self, angles_A: np.ndarray, x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How far points lie across a line of each angle through (x, 0), (A, N), their weights, and cos θ, (A, 1)."""
        along_x, along_y = self._scales
        cos_Ax1, sin_Ax1 = np.cos(angles_A)[:, None], np.sin(angles_A)[:, None]
        x_N, y_N, x_deviation_N, y_deviation_N = self.points
        across_AxN = cos_Ax1 * y_N / along_y - sin_Ax1 * (x_N - x) / along_x
        variance_AxN = (cos_Ax1 * y_deviation_N / along_y) ** 2 + (sin_Ax1 * x_deviation_N / along_x) ** 2
        return across_AxN, 1 / np.maximum(variance_AxN, 1e-300), cos_Ax1

    def _chi_squared(self, angles: np.ndarray | float) -> np.ndarray:
        """χ² of the best line of each angle."""
        angles_A = np.atleast_1d(angles)
        across_AxN, weight_AxN, cos_Ax1 = self._across(angles_A, 0.0)
        if self.held is None:
            center_Ax1 = np.sum(weight_AxN * across_AxN, axis=1, keepdims=True) / weight_AxN.sum(axis=1, keepdims=True)
        else:
            center_Ax1 = cos_Ax1 * self.held / self._scales[1]
        chi_A: np.ndarray = np.sum(weight_AxN * (across_AxN - center_Ax1) ** 2, axis=1)
        return chi_A

    def _height(self, angles: np.ndarray | float, x: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The best line's value at `x` for each angle, its weight there (one over its variance), and χ²."""
        angles_A = np.atleast_1d(angles)
        across_AxN, weight_AxN, cos_Ax1 = self._across(angles_A, x)
        total_A, cos_A = weight_AxN.sum(axis=1), cos_Ax1[:, 0]
        along_y = self._scales[1]
        center_A = np.sum(weight_AxN * across_AxN, axis=1) / total_A
        return center_A * along_y / cos_A, total_A * (cos_A / along_y) ** 2, self._chi_squared(angles_A)

    @functools.cached_property
    def _best(self) -> tuple[float, float]:
        """The angle of the line, and its χ²."""
        step = math.pi / DIRECTIONS
        angles_A = -math.pi / 2 + step * (np.arange(DIRECTIONS) + 0.5)
        at = float(angles_A[np.argmin(self._chi_squared(angles_A))])
        found = scipy.optimize.minimize_scalar(
            lambda angle: float(self._chi_squared(angle)[0]),
            bounds=(at - step, at + step),
            method="bounded",
            options={"xatol": 1e-12},
        )
        return float(found.x), float(found.fun)

    def _reach(self, level: float) -> float:
        """By how much χ² may exceed its minimum within an interval of one parameter."""
        return float(scipy.stats.chi2.ppf(level, 1)) * self.widening**2

    def _directions(self, level: float) -> tuple[float | None, float | None]:
        """The least and largest angle of an interval; None where it reaches a vertical line."""
        best, least = self._best
        beyond: Callable[[float], float] = lambda angle: float(self._chi_squared(angle)[0]) - least - self._reach(level)

        def end(sign: int) -> float | None:
            angles_A = np.linspace(best, sign * math.pi / 2, DIRECTIONS + 1)[1:]
            outside_A = self._chi_squared(angles_A) - least > self._reach(level)
            if not outside_A.any():
                return None
            first = int(np.argmax(outside_A))
            near = best if first == 0 else float(angles_A[first - 1])
            return float(scipy.optimize.brentq(beyond, near, float(angles_A[first]), xtol=1e-14))

        return end(-1), end(1)


@dataclasses.dataclass(frozen=True)
class GroupedLine:
    """A line through points of groups whose members depend on each other.

    Attributes:
      whole: the line through all points.
      without: those without each group.
    """

    whole: Line
    without: tuple[Line, ...]

    def slope_interval(self, level: float) -> Ends:
        """The ends of b at a level."""
        return self._interval(lambda line: line.slope, level)

    def value_interval(self, x: float, level: float) -> Ends:
        """The ends of a + b x at a level; at x = 0 those of the intercept."""
        return self._interval(lambda line: line.value(x), level)

    def _interval(self, of: Callable[[Line], float], level: float) -> Ends:
        value, groups = of(self.whole), len(self.without)
        each = np.array([of(line) for line in self.without])
        error = math.sqrt((groups - 1) / groups * float(np.sum((each - value) ** 2)))
        reach = float(scipy.stats.t.ppf((1 + level) / 2, groups - 1)) * error
        return value - reach, value + reach


def fit(points: Points, intercept: float | None = None) -> Line:
    """The line through points that err in both coordinates.

    Args:
      points: three or more; two or more with `intercept`.
      intercept: the line's value at x = 0, if it is not to be fitted.

    Raises:
      InputError: there are too few points, or a deviation is out of range.
    """
    fewest = 3 if intercept is None else 2
    if len(points.x) < fewest:
        raise InputError(f"points: {len(points.x)} of them are no line, which takes {fewest} or more. Give more.")
    for name, allowed in (("x_deviation", points.x_deviation >= 0), ("y_deviation", points.y_deviation > 0)):
        values = getattr(points, name)
        if not np.all(allowed & np.isfinite(values)):
            raise InputError(f"{name}={values.tolist()} must be standard deviations. Leave points without one out.")
    return Line(points, intercept)


def fit_groups(points: Points, group: Sequence[int]) -> GroupedLine:
    """The line through points of groups whose members depend on each other.

    Args:
      points: three or more without any one of the groups.
      group: of each point; three or more.

    Raises:
      InputError: as `fit`, and if there are fewer than three groups.
    """
    group_N = np.asarray(group)
    groups = np.unique(group_N)
    if len(groups) < 3:
        raise InputError(f"group={list(group)} names {len(groups)} groups, and a jackknife takes 3 or more. Give more.")
    without = tuple(fit(Points(*(column[group_N != one] for column in points))) for one in groups)
    return GroupedLine(fit(points), without)
