"""The Hölder smoothness β of labels over a cloud of points, from how differences grow with distance.

The madogram is the mean of |y(x) - y(x')| over pairs at distance r. For a field of smoothness β it grows as r^β up to
β = 1 (Gneiting, Ševčíková & Percival 2012, Statistical Science 27); label noise adds a nugget that stays as r vanishes.
Its values at different distances err together, all the more the fewer dimensions there are, so the fit weighs them by
their covariance over simulated fields on the same points, and its interval comes from such fields too.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import Interval

MOST_POINTS = 1536
_FEWEST_POINTS = 128
_FIELDS = 128
_BINS = 14
_FEWEST_PAIRS = 30  # in a bin
_NEIGHBORS = 8  # one in so many points is a neighbor
STEP = 0.0125  # of the exponents tried
_BETAS = np.linspace(0.05, 1.5, 117)
# The share of the nugget in the squared madogram at the least distance; 0 is no nugget.
_ODDS = np.geomspace(0.02, 1e5, 45)
_NUGGETS = np.concatenate([[0.0], _ODDS / (1 + _ODDS)])
_SEES_A_NUGGET = 6.63  # by which a nugget must improve the fit: χ² of one degree of freedom at 99%
_PARTS = 8  # of the groups, each left out once
_LEAST_SPAN = 3.0  # of distances; over less a nugget cannot be told from a rough field
_ROUGHEST, _SMOOTHEST = 0.05, 0.98  # of the fields simulated
_SHRINK = 0.02  # of the covariance towards its diagonal


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Madogram:
    """How label differences grow with distance.

    Attributes:
      beta: the exponent; readings near 1 mean 1 or more, see `smoothness`.
      interval: of it, at 95%, over Gaussian fields of this smoothness and noise on the same points.
      noise: standard deviation of the label noise, 0 where none is seen.
      distances, values: (B,) the madogram.
      scales: the least and the greatest distance used.
      points: how many points were used.
    """

    beta: float
    interval: Interval
    noise: float
    distances: np.ndarray
    values: np.ndarray
    scales: Interval
    points: int = dataclasses.field(metadata={"static": True})


class _Design(NamedTuple):
    """Which pairs are compared, and how they are gathered."""

    first: np.ndarray  # (P,)
    second: np.ndarray  # (P,)
    bin: np.ndarray  # (P,)
    pairs: np.ndarray  # (B,) in each bin
    log_distance: np.ndarray  # (B,)


class _Reading(NamedTuple):
    """Estimates from F madograms."""

    beta: np.ndarray  # (F,)
    nugget: np.ndarray  # (F,) share of it in the squared madogram at the least distance


def madogram(
    x: np.typing.ArrayLike,
    y: np.typing.ArrayLike,
    *,
    key: jax.Array | int,
    groups: np.typing.ArrayLike | None = None,
) -> Madogram:
    """Fits r^β, with a nugget where the labels show one, to the madogram over near neighbors.

    Args:
      x: (n, D) points; at most 1536 of them, drawn at random, are used.
      y: (n,) labels; or (n, O) of several outputs, whose madograms are averaged. The interval is that of one output.
      key: a JAX random key, or an int for `jax.random.key`.
      groups: (n,) integers: points of one group, such as a document, depend on each other. The interval then allows for
        what leaving groups out changes too (a jackknife over eighths of them). None: no groups.

    Raises:
      InputError: for arrays of other shapes, fewer than 128 points, values that are not finite, labels that never vary
        or points of which many coincide.
    """
    rng = generator(key)
    x, y, which = drawn(x, y, rng, several=True, groups=groups)
    distance = distances(x)
    design = _design(distance)
    values = _mean_madogram(design, y)
    if not (values > 0).all():
        raise InputError("labels of near points never differ, so there is no slope to read. Pass labels that vary.")
    found = _read(np.log(values), design, np.diag(design.pairs / design.pairs.sum()), by_ratio=True)
    for _ in range(2):  # the covariance depends on the smoothness, and little on its second digit
        beta, nugget = float(found.beta[0]), float(found.nugget[0])
        simulated = np.log(_madograms(design, _labels(distance, design, beta, nugget, rng)))
        weight = _inverse_covariance(simulated)
        found = _read(np.log(values), design, weight)
    ratios = _read(simulated, design, weight).beta / np.clip(beta, _ROUGHEST, _SMOOTHEST)
    estimate = float(found.beta[0])
    low, high = np.quantile(ratios, [0.025, 0.975])
    ends = Interval(estimate / high, estimate / low)
    if between := _jackknife(design, y, which, weight):
        reach = np.hypot(1.96 * between, [estimate - ends.lower, ends.upper - estimate])
        ends = Interval(estimate - float(reach[0]), estimate + float(reach[1]))
    return Madogram(
        beta=estimate,
        interval=ends,
        # The mean of |a - b| over normal pairs of noise σ is 2σ/√π.
        noise=float(np.sqrt(found.nugget[0]) * values[0, 0] * np.sqrt(np.pi) / 2),
        distances=np.exp(design.log_distance),
        values=values[0],
        scales=Interval(float(np.exp(design.log_distance[0])), float(np.exp(design.log_distance[-1]))),
        points=len(y),
    )


def fractional_field(x: np.typing.ArrayLike, beta: float, *, key: jax.Array | int, fields: int = 1) -> np.ndarray:
    """Fractional Brownian fields of smoothness β in (0, 1) at points (n, D), each of variance 1; (fields, n).

    E (f(x) - f(x'))² = c |x - x'|^2β: fields of known smoothness, on which estimates are calibrated.

    Args:
      x: (n, D) points.
      beta: β.
      key: a JAX random key, or an int for `jax.random.key`.
      fields: how many.

    Raises:
      InputError: for points that are not finite, or β out of range.
    """
    beta, fields = arguments.real("beta", beta, 0.5), arguments.integer("fields", fields, 1)
    if not 0 < beta < 1:
        raise InputError(f"beta={beta} is not between 0 and 1, where such fields exist. Pass another value.")
    points = arguments.reals(x)
    if points is None or points.ndim != 2 or len(points) < 2 or not np.isfinite(points).all():
        raise InputError(f"x={_shown(x)} must be finite points, at least two. Pass an array of shape (n, D).")
    return _fields(distances(points), beta, fields, generator(key))


def drawn(
    x: np.typing.ArrayLike, y: np.typing.ArrayLike, rng: np.random.Generator, several: bool = False, groups: Any = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Checked points, labels and groups, at most `MOST_POINTS` of them; labels of mean 0."""
    points, labels = arguments.reals(x), arguments.reals(y)
    if points is None or labels is None:
        raise InputError(f"x={_shown(x)} and y={_shown(y)} must be numbers. Pass arrays (n, D) and (n,).")
    if points.ndim != 2 or labels.shape[:1] != points.shape[:1] or labels.ndim > 1 + several:
        raise InputError(
            f"x has shape {points.shape} and y {labels.shape}. Pass points (n, D) and a label for each, (n,)."
        )
    if len(points) < _FEWEST_POINTS:
        raise InputError(f"x holds {len(points)} points; a slope over scales needs {_FEWEST_POINTS}. Pass more points.")
    if not (np.isfinite(points).all() and np.isfinite(labels).all()):
        raise InputError("x or y holds values that are not finite. Drop those rows.")
    if np.ptp(labels, axis=0).max() == 0:
        raise InputError(
            f"all labels are {np.ravel(labels)[0]:g}; a constant has no smoothness to read. Pass labels that vary."
        )
    which = None if groups is None else np.asarray(groups)
    if which is not None and which.shape != points.shape[:1]:
        raise InputError(f"groups has shape {which.shape}, x {points.shape}. Pass the group of each point, (n,).")
    if len(points) > MOST_POINTS:
        chosen = rng.choice(len(points), MOST_POINTS, replace=False)
        points, labels = points[chosen], labels[chosen]
        which = None if which is None else which[chosen]
    return points, labels - labels.mean(axis=0), which


def _shown(values: np.typing.ArrayLike) -> str:
    """An array of any kind in a few words, anything else as it is."""
    array = np.asarray(values)
    return f"{array.dtype} of shape {array.shape}" if array.ndim else repr(values)


def distances(x: np.ndarray) -> np.ndarray:
    """All distances between points (n, D), (n, n)."""
    squares = np.sum(x * x, axis=1)
    apart: np.ndarray = np.sqrt(np.maximum(squares[:, None] + squares - 2 * x @ x.T, 0.0))
    return apart


def _design(distance: np.ndarray) -> _Design:
    """Pairs of near neighbors in bins even in the logarithm of their distance."""
    count = len(distance)
    k = max(count // _NEIGHBORS, 8)
    far = distance + np.where(np.eye(count, dtype=bool), np.inf, 0.0)
    second = np.argpartition(far, k, axis=1)[:, :k].ravel()
    first = np.repeat(np.arange(count), k)
    r = distance[first, second]
    apart = r > 1e-6 * r.max()  # distances are differences of squares, good to half the digits
    if np.mean(apart) < 0.9:
        raise InputError("more than a tenth of near pairs coincide. Drop duplicate points.")
    first, second, r = first[apart], second[apart], r[apart]
    edges = np.linspace(np.log(np.quantile(r, 0.001)), np.log(r.max()), _BINS + 1)
    place = np.clip(np.searchsorted(edges, np.log(r)) - 1, 0, _BINS - 1)
    full = np.bincount(place, minlength=_BINS) >= _FEWEST_PAIRS
    kept = full[place]
    place = (np.cumsum(full) - 1)[place[kept]]
    size = np.bincount(place)
    return _Design(first[kept], second[kept], place, size, np.bincount(place, np.log(r[kept])) / size)


def _madograms(design: _Design, labels_FxN: np.ndarray) -> np.ndarray:
    """(F, B) the mean absolute difference in every bin."""
    gaps: Callable[[np.ndarray], np.ndarray] = lambda y: np.bincount(
        design.bin, np.abs(y[design.first] - y[design.second])
    )
    madograms: np.ndarray = np.array([gaps(y) for y in labels_FxN]) / design.pairs
    return madograms


def _mean_madogram(design: _Design, labels: np.ndarray) -> np.ndarray:
    """(1, B) of labels (n,), or the mean over outputs of labels (n, O)."""
    mean: np.ndarray = _madograms(design, labels.reshape(len(labels), -1).T).mean(axis=0, keepdims=True)
    return mean


def _jackknife(design: _Design, labels: np.ndarray, groups: np.ndarray | None, weight_BxB: np.ndarray) -> float:
    """Standard error of β from leaving out an eighth of the groups at a time; 0 where there are none."""
    if groups is None:
        return 0.0
    part = np.unique(groups, return_inverse=True)[1] % _PARTS
    found = []
    for left_out in range(_PARTS):
        kept = (part[design.first] != left_out) & (part[design.second] != left_out)
        pairs = np.bincount(design.bin[kept], minlength=len(design.pairs))
        if (pairs > 0).all():
            some = design._replace(first=design.first[kept], second=design.second[kept], bin=design.bin[kept])
            values = _mean_madogram(some._replace(pairs=pairs), labels)
            found.append(float(_read(np.log(values), design, weight_BxB).beta[0]))
    return float(np.sqrt((_PARTS - 1) * np.var(found))) if len(found) > 1 else 0.0


def _read(log_values_FxB: np.ndarray, design: _Design, weight_BxB: np.ndarray, by_ratio: bool = False) -> _Reading:
    """The best β with and without a nugget, by generalized least squares over a grid; a nugget only where it shows.

    The model of log γ(r) is a + ½ log(s + (1 - s) (r / r_0)^2β), s the nugget's share at the least distance r_0:
    squared differences of noise and of the field add, and for normal ones the madogram is the root of their mean. The
    level a is projected out.
    """
    rise = design.log_distance - design.log_distance[0]
    beta, nugget = (grid.ravel() for grid in np.meshgrid(_BETAS, _NUGGETS, indexing="ij"))
    model_GxB = 0.5 * np.log(nugget[:, None] + (1 - nugget[:, None]) * np.exp(2 * beta[:, None] * rise))
    level = weight_BxB.sum(1)
    projected = weight_BxB - np.outer(level, level) / level.sum()
    misfit_FxG = (
        np.sum(log_values_FxB @ projected * log_values_FxB, axis=1)[:, None]
        - 2 * log_values_FxB @ projected @ model_GxB.T
        + np.sum(model_GxB @ projected * model_GxB, axis=1)
    )
    without = np.argmin(np.where(nugget == 0, misfit_FxG, np.inf), axis=1)
    best = np.argmin(misfit_FxG, axis=1)
    rows = np.arange(len(misfit_FxG))
    before, after = misfit_FxG[rows, without], misfit_FxG[rows, best]
    shows = after < 0.5 * before if by_ratio else before - after > _SEES_A_NUGGET
    chosen = np.where(shows & (rise[-1] >= np.log(_LEAST_SPAN)), best, without)
    return _Reading(beta[chosen], nugget[chosen])


def _inverse_covariance(samples_FxB: np.ndarray) -> np.ndarray:
    """Of samples, their covariance a little nearer to its diagonal, (B, B)."""
    covariance = np.cov(samples_FxB.T)
    return np.linalg.inv(covariance + _SHRINK * np.diag(np.diag(covariance)))


def _labels(distance: np.ndarray, design: _Design, beta: float, nugget: float, rng: np.random.Generator) -> np.ndarray:
    """Labels (F, n) like those read: fields with noise that has the nugget's share at the least distance."""
    fields = _fields(distance, float(np.clip(beta, _ROUGHEST, _SMOOTHEST)), _FIELDS, rng)
    least = design.bin == 0
    rise = fields[:, design.first[least]] - fields[:, design.second[least]]
    noise = np.sqrt(nugget / (1 - nugget) * np.mean(rise**2) / 2)
    labels: np.ndarray = fields + noise * rng.normal(size=fields.shape)
    return labels


def _fields(distance: np.ndarray, beta: float, count: int, rng: np.random.Generator) -> np.ndarray:
    """Fractional Brownian fields (F, n), 0 at the first point before they are centered."""
    power = distance ** (2 * beta)
    covariance = 0.5 * (power[1:, :1] + power[:1, 1:] - power[1:, 1:])
    ridge = 1e-10 * np.mean(np.diag(covariance)) * np.eye(len(covariance))
    fields = np.zeros((count, len(distance)))
    fields[:, 1:] = rng.normal(size=(count, len(covariance))) @ np.linalg.cholesky(covariance + ridge).T
    standardized: np.ndarray = (fields - fields.mean(1, keepdims=True)) / fields.std(1, keepdims=True)
    return standardized
