"""The lowest optimum of a table, and of tables like it: starts by variable projection, then polish.

A first round starts where relative least squares is lowest. Unless nearly all its starts come to one optimum, a second
starts where it is so with the weights that this optimum gives to outliers, and if hardly a start came to the best
optimum found, a third looks closer.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.laws import starts as lattices
from jaxscale.laws.holding import hold
from jaxscale.laws.law import Curve, Law
from jaxscale.laws.minimize import Report, bucket, minimize
from jaxscale.laws.objective import Objective, value
from jaxscale.laws.polish import Lane
from jaxscale.laws.runs import Runs
from jaxscale.laws.starts import Lattice, Starts

SAME_OPTIMUM = 1e-6  # relative: starts that end within it are said to have reached the optimum
_STARTS, _MORE_STARTS = 16, 128
_UNANIMOUS = 0.9  # share of the first starts at one optimum after which no others are tried
_AGREEMENT = 0.2  # share of starts at the best optimum that ends the search
# Of rounds around the best optimum where starts do not agree: how many, values along each coordinate, and points around
# it at this relative distance.
_ROUNDS, _ALONG, _AROUND, _NEARBY = 12, 24, 32, 0.15
# With more coordinates than these a lattice is too coarse to trust even starts that agree.
_MANY_NONLINEAR = 2
_RESAMPLED_STARTS = 3
# Of a law with more coordinates than these, of which most starts came to one optimum, a resample has none of its own:
# three of them take five times as long as the optimum of the table, and moved no interval in the third digit.
_COSTLY_NONLINEAR, _CLEAR = 6, 0.75
_RESAMPLED_POINTS = 48
_TABLES = 256  # projected at a time
_SMOOTH = 3.0  # δ over the typical residual beyond which hardly a residual meets a corner
_MANY_WITHIN = 8
_LEAST_RESIDUAL = 1e-9  # a table without noise has rounding for residuals


class FitProblem(NamedTuple):
    """A table and what is asked of it, in the units of the fit."""

    law: Law
    objective: Objective
    columns: np.ndarray  # (X, R)
    units: tuple[float, ...]
    loss: np.ndarray  # (R,)
    weight: np.ndarray  # (R,)
    held: np.ndarray  # (P,) coordinates that are not fitted, NaN for those that are

    @property
    def free(self) -> int:
        """How many coordinates are fitted."""
        return int(np.sum(np.isnan(self.held)))

    @property
    def bounds(self) -> np.ndarray:
        """Hard ends of every coordinate, (P, 2); those of one that is held meet."""
        return np.where(np.isnan(self.held)[:, None], self.law.bounds, self.held[:, None])

    @property
    def target(self) -> np.ndarray:
        """(R,) what the curve is compared with."""
        return self.objective.target(self.loss)

    @property
    def logarithmic(self) -> bool:
        """Whether that is the logarithm of the loss."""
        return self.objective.residual == "log"

    def losses(self, z: np.ndarray) -> np.ndarray:
        """The curve (..., R) at coordinates (..., P)."""
        z, runs = np.asarray(z, float), len(self.loss)
        flat = z.reshape(-1, z.shape[-1])
        padded = np.pad(flat, ((0, bucket(len(flat)) - len(flat)), (0, 0)), "edge")
        with jax.enable_x64(True):
            losses = np.asarray(_losses(self.law.curve, padded, _padded_columns(self)))
        return losses[: len(flat), :runs].reshape(*z.shape[:-1], runs)

    def derivatives(self, z: np.ndarray) -> np.ndarray:
        """Of the curve over coordinates (P,), (R, P)."""
        with jax.enable_x64(True):
            return np.asarray(_derivatives(self.law.curve, np.asarray(z, float), _padded_columns(self)))[
                : len(self.loss)
            ]

    def residuals(self, z: np.ndarray, target: np.ndarray | None = None) -> np.ndarray:
        """Residuals (..., R) at coordinates (..., P)."""
        with np.errstate(divide="ignore", invalid="ignore"):
            residuals: np.ndarray = self.objective.target(self.losses(z)) - (self.target if target is None else target)
            return residuals

    def parameters(self, z: np.ndarray) -> dict[str, Any]:
        """Parameters by name, for the columns as they are, at coordinates (..., P)."""
        with jax.enable_x64(True), np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            scaled = self.law.parameters_at(np.moveaxis(np.asarray(z, float), -1, 0))
            raw = self.law.in_raw_units(scaled, self.units)
            return {name: np.asarray(raw[name], float)[()] for name in self.law.parameters}


class Search(NamedTuple):
    """What a search found.

    Attributes:
      z: (P,) the lowest optimum.
      total: the objective there.
      starts: (S, P) where each polish began.
      ends: (S, P) where it ended.
      totals: (S,) the objective there.
      delta: the δ worked with.
      typical: the size of a typical residual.
      lattice: points at which to project tables like this one; None for a search from given starts.
    """

    z: np.ndarray
    total: float
    starts: np.ndarray
    ends: np.ndarray
    totals: np.ndarray
    delta: float
    typical: float
    lattice: Lattice | None

    @property
    def share_at_optimum(self) -> float:
        """Share of the starts that ended at the lowest optimum."""
        return float(np.mean(self.totals <= self.total * (1 + SAME_OPTIMUM) + 1e-300))


@functools.partial(jax.jit, static_argnames=("curve",))
def _losses(curve: Curve, z_BxP: jax.Array, columns_XxR: jax.Array) -> jax.Array:
    at: Callable[[jax.Array], jax.Array] = lambda z: curve(z, columns_XxR) + jnp.zeros(columns_XxR.shape[1])
    return jax.vmap(at)(z_BxP)


@functools.partial(jax.jit, static_argnames=("curve",))
def _derivatives(curve: Curve, z_P: jax.Array, columns_XxR: jax.Array) -> jax.Array:
    slopes: jax.Array = jax.jacfwd(lambda z: curve(z, columns_XxR) + jnp.zeros(columns_XxR.shape[1]))(z_P)
    return slopes


def problem(runs: Runs, law: Law, objective: Objective, fixed: Mapping[str, float] | None = None) -> FitProblem:
    """The table of `runs` in the units of the fit, parameters held at their values in `fixed`."""
    units, held = hold(law, runs.values, fixed or {})
    columns = np.stack([x / unit for x, unit in zip(runs.values, units, strict=True)])
    return FitProblem(law, objective, columns, units, runs.loss, runs.weight, held)


def find(task: FitProblem, report: Report | None = None) -> Search:
    """The lowest optimum of a table, from starts by variable projection; `report` is told of every round of starts."""
    lattice = _lattice(task)
    first = _lowest(lattice, task, np.ones_like(task.weight), _STARTS).z[0]
    found = _polished(task, first, _typical(task, first[:1]), report)
    many = len(task.law.nonlinear) > _MANY_NONLINEAR
    if found.share_at_optimum < _UNANIMOUS or many:
        found = _searched_again(task, lattice, found, many, report)
    if found.share_at_optimum < _AGREEMENT or many:
        found = _descended(task, found, report)
    places = _lowest(lattice, task, _tempering(task, found), _RESAMPLED_POINTS, apart=0.5).place[0]
    return found._replace(lattice=Lattice(*(part[places] for part in lattice)))


def _searched_again(task: FitProblem, lattice: Lattice, found: Search, closely: bool, report: Report | None) -> Search:
    """The lowest optimum of a second round, and of a third where starts still disagree or `closely` is asked for."""
    again = _lowest(lattice, task, _tempering(task, found), _STARTS).z[0]
    found = _joined(found, _polished(task, again, _typical(task, found.z[None]), report))
    if found.share_at_optimum < _AGREEMENT or closely:
        closer = _lowest(lattice, task, _tempering(task, found), _MORE_STARTS, apart=0.5).z[0]
        found = _joined(found, _polished(task, closer, found.typical, report))
    return found


def _descended(task: FitProblem, found: Search, report: Report | None) -> Search:
    """The lowest optimum of further rounds around the best so far, till one finds none that is lower.

    Starts may agree on a wide valley and miss a narrow one. A round moves every coordinate that is not linear to other
    values of its range, alone, and all of them a little, and projects the linear ones.
    """
    linear = len(task.law.linear)
    ranges = list(task.law.nonlinear.values())
    free = np.flatnonzero(np.isnan(task.held[linear:]))
    if not len(free):
        return found
    lines = np.stack([ranges[q].at((np.arange(_ALONG) + 0.5) / _ALONG) for q in free])  # (Q, _ALONG)
    failed = 0
    for number in range(_ROUNDS):
        best = found.z[linear:]
        moved = np.repeat(best[None], lines.size, axis=0)
        for place, (q, line) in enumerate(zip(free, lines, strict=True)):
            moved[place * _ALONG : (place + 1) * _ALONG, q] = line
        rng = np.random.default_rng(number)
        near = best * np.exp(_NEARBY * rng.normal(size=(_AROUND, len(ranges))))
        theta = np.clip(np.concatenate([moved, near]), task.law.bounds[linear:, 0], task.law.bounds[linear:, 1])
        theta = np.where(np.isnan(task.held[linear:]), theta, task.held[linear:])
        # The weights of an optimum keep what it took for outliers out of sight: every second round is without.
        weight = task.weight * (_tempering(task, found) if number % 2 == 0 else 1.0)
        again = _polished(task, _with_linear(task, theta, weight), found.typical, report)
        failed = 0 if again.total < found.total * (1 - SAME_OPTIMUM) else failed + 1
        found = _joined(found, again)
        if failed == 2:
            break
    return found


def _with_linear(task: FitProblem, theta: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Coordinates (S, P) of which those that are not linear are given, and the others projected."""
    linear = len(task.law.linear)
    spare = bucket(len(task.loss)) - len(task.loss)
    weight = weight / task.loss**2 if task.logarithmic else weight
    loss, weight = np.pad(task.loss, (0, spare), constant_values=1.0), np.pad(weight, (0, spare))
    with jax.enable_x64(True):
        basis = lattices.basis(task.law, theta, _padded_columns(task))
        projected = lattices.project(basis, loss[None], weight[None], task.held[:linear])
        return np.concatenate([np.asarray(projected.linear[0]), theta], axis=1)


def find_from(task: FitProblem, z: np.ndarray) -> Search:
    """The lowest optimum reached from given coordinates (S, P), the linear ones of which are projected first.

    Starts that differ in those alone are one start, and are polished once.
    """
    linear = len(task.law.linear)
    given = np.where(np.isnan(task.held), np.asarray(z, float), task.held)
    theta, same = np.unique(given[:, linear:], axis=0, return_inverse=True)
    start = _with_linear(task, theta, task.weight)
    found = _polished(task, start, _typical(task, start))
    return found._replace(starts=given, ends=found.ends[same], totals=found.totals[same])


class Refit(NamedTuple):
    """The lowest optimum of each of B tables."""

    z: np.ndarray  # (B, P)
    total: np.ndarray  # (B,)


def refit(
    task: FitProblem,
    found: Search,
    target: np.ndarray | None = None,
    weight: np.ndarray | None = None,
    delta: np.ndarray | None = None,
    held: np.ndarray | None = None,
    warm: np.ndarray | None = None,
    report: Report | None = None,
) -> Refit:
    """The optimum of tables like the one that was searched: each from its optimum, and from three starts of its own.

    Of a law of many coordinates whose starts agree it is from the former alone, unless coordinates are held.

    Args:
      task: the table that was searched.
      found: what was found.
      target: (B, R) what the curves are compared with; that of the table where None.
      weight: (B, R) of the runs; that of the table where None.
      delta: (B,) δ of each objective; that of the search where None.
      held: (B, P) coordinates to hold, NaN for those that are free.
      warm: (B, P) where to begin instead, and nowhere else: a quarter of the work, for tables that lie around one whose
        optimum is known, where a better optimum elsewhere that is missed now and then does not matter.
      report: told how many tables are done.
    """
    count = next(len(given) for given in (target, weight, delta, held) if given is not None)
    many = held is None and int(np.sum(np.isnan(task.held[len(task.law.linear) :]))) > _COSTLY_NONLINEAR
    fill: Callable[[np.typing.ArrayLike | None, np.typing.ArrayLike], np.ndarray] = lambda given, own: (
        np.broadcast_to(own, (count, *np.shape(own))) if given is None else np.asarray(given)
    )
    target, weight = fill(target, task.target), fill(weight, task.weight)
    delta, held = fill(delta, found.delta), fill(held, task.held)
    held = np.where(np.isnan(task.held), held, task.held)
    if warm is not None:
        z = warm[:, None]
    else:
        z = np.broadcast_to(found.z, (count, 1, len(found.z)))
        if not (many and found.share_at_optimum > _CLEAR):
            z = np.concatenate([z, own_starts(task, found, target, weight)], axis=1)
    z = np.where(np.isnan(held)[:, None], z, held[:, None])
    each = z.shape[1]
    bounds = np.where(np.isnan(held)[..., None], task.law.bounds, held[..., None])
    repeat: Callable[[np.ndarray], np.ndarray] = lambda values: np.repeat(values, each, axis=0)
    sharp, quantile = _sharp(task, delta, found.typical), np.full(count, task.objective.quantile)
    lanes = Lane(*map(repeat, (target, weight, delta, sharp, quantile, bounds)))
    # Near an optimum corners that are few beside the residuals within δ need no rounding.
    few_within = _within(task, delta, found.typical) <= _MANY_WITHIN
    smoothing = np.where(few_within, np.maximum(delta, 0.3 * found.typical), 0.0)
    told = None if report is None else lambda done, _: report(done // each, count)
    start = z.reshape(count * each, -1)
    optimum = minimize(task.law, task.logarithmic, task.columns, lanes, start, repeat(smoothing), told)
    totals, ends = optimum.total.reshape(count, each), optimum.z.reshape(count, each, -1)
    # With rounded corners a lane may leave the optimum it began at, and end above it.
    at_start = _totals(task, z[:, 0], target, weight, delta)
    stay = at_start < totals[:, 0]
    totals[:, 0], ends[:, 0] = np.where(stay, at_start, totals[:, 0]), np.where(stay[:, None], z[:, 0], ends[:, 0])
    take = np.arange(count), np.argmin(totals, axis=1)
    return Refit(ends[take], totals[take])


def _totals(task: FitProblem, z: np.ndarray, target: np.ndarray, weight: np.ndarray, delta: np.ndarray) -> np.ndarray:
    """The objective (B,) of tables at coordinates (B, P), its corners sharp; infinite where the curve has no value."""
    residual, quantile = task.residuals(z, target), task.objective.quantile
    with jax.enable_x64(True):
        each = np.asarray(value(jnp.asarray(residual), jnp.asarray(delta)[:, None], None, jnp.asarray(quantile)))
    total = np.sum(np.where(weight > 0, weight * each, 0.0), axis=1)
    return np.where(np.isnan(total), np.inf, total)


def own_starts(
    task: FitProblem, found: Search, target: np.ndarray | None = None, weight: np.ndarray | None = None
) -> np.ndarray:
    """Starts (B, S, P) by variable projection of tables like the one that was searched; arguments as in `refit`."""
    given = target if target is not None else weight
    assert given is not None  # there is one of them, or there are no tables
    count = len(given)
    loss = np.broadcast_to(task.loss, (count, len(task.loss)))
    if target is not None:
        loss = np.exp(target) if task.logarithmic else target
    weight = np.broadcast_to(task.weight, (count, len(task.loss))) if weight is None else weight
    assert found.lattice is not None  # a search from given starts is given the lattice of one that was not
    starts: np.ndarray = _projected(found.lattice, task, loss, weight * _tempering(task, found), _RESAMPLED_STARTS).z
    return starts


def _polished(task: FitProblem, z: np.ndarray, typical: float, report: Report | None = None) -> Search:
    count = len(z)
    delta = task.objective.working_delta(typical)
    tile = lambda values: np.broadcast_to(values, (count, *np.shape(values)))
    sharp = _sharp(task, delta, typical)
    lanes = Lane(*map(tile, (task.target, task.weight, delta, sharp, task.objective.quantile, task.bounds)))
    with np.errstate(invalid="ignore"):
        own = np.nan_to_num(np.median(np.abs(task.residuals(z)), axis=-1), nan=1.0, posinf=1.0)
    smoothing = np.where(delta < _SMOOTH * typical, np.maximum(own, typical), 0.0)
    optimum = minimize(task.law, task.logarithmic, task.columns, lanes, z, smoothing, report)
    best = int(np.argmin(optimum.total))
    return Search(
        optimum.z[best], float(optimum.total[best]), np.array(z), optimum.z, optimum.total, delta, typical, None
    )


def _sharp(task: FitProblem, delta: float | np.ndarray, typical: float) -> np.ndarray:
    """The width below which to take corners for sharp: earlier where many residuals lie within δ and few on corners."""
    return np.where(_within(task, delta, typical) > _MANY_WITHIN, 0.3, 0.02) * delta


def _within(task: FitProblem, delta: float | np.ndarray, typical: float) -> float | np.ndarray:
    """About how many residuals lie within δ."""
    return len(task.loss) * delta / (2 * typical)


def lower(one: Search, other: Search) -> Search:
    """The search that found the lower optimum."""
    return other if other.total < one.total else one


def _joined(one: Search, other: Search) -> Search:
    return lower(one, other)._replace(
        starts=np.concatenate([one.starts, other.starts]),
        ends=np.concatenate([one.ends, other.ends]),
        totals=np.concatenate([one.totals, other.totals]),
    )


def _typical(task: FitProblem, z: np.ndarray) -> float:
    """The median absolute residual at the best of coordinates (S, P)."""
    return max(float(np.min(np.median(np.abs(task.residuals(z)), axis=-1))), _LEAST_RESIDUAL)


def _tempering(task: FitProblem, found: Search) -> np.ndarray:
    """(R,) the weights of iteratively reweighted least squares at the optimum, which outliers have little of."""
    size = np.abs(task.residuals(found.z))
    share: np.ndarray = np.minimum(1.0, max(found.delta, 0.1 * found.typical) / np.maximum(size, 1e-150))
    return share


def _padded_columns(task: FitProblem) -> np.ndarray:
    return np.pad(task.columns, ((0, 0), (0, bucket(len(task.loss)) - len(task.loss))), constant_values=1.0)


def _lattice(task: FitProblem) -> Lattice:
    with jax.enable_x64(True):
        whole = lattices.lattice(task.law, _padded_columns(task), task.held)
    return whole._replace(basis=whole.basis[:, :, : len(task.loss)])


def _lowest(lattice: Lattice, task: FitProblem, tempered: np.ndarray, count: int, apart: float = 1.0) -> Starts:
    """Starts of the table itself, its weights tempered."""
    return _projected(lattice, task, task.loss[None], (task.weight * tempered)[None], count, apart)


def _projected(
    lattice: Lattice, task: FitProblem, loss: np.ndarray, weight: np.ndarray, count: int, apart: float = 1.0
) -> Starts:
    """`count` starts of tables with losses (B, R) and weights (B, R) of their squared residuals."""
    tables, runs = loss.shape
    spare = bucket(runs) - runs
    if task.logarithmic:
        weight = weight / loss**2
    size = 1 if tables == 1 else _TABLES
    pad: Callable[[np.ndarray, float], np.ndarray] = lambda values, fill: np.pad(
        values, ((0, -tables % size), (0, spare)), constant_values=fill
    )
    loss, weight, basis = pad(loss, 1.0), pad(weight, 0.0), np.pad(lattice.basis, ((0, 0), (0, 0), (0, spare)))
    blocks = []
    with jax.enable_x64(True):
        for first in range(0, len(loss), size):
            block = slice(first, first + size)
            projected = lattices.project(basis, loss[block], weight[block], task.held[: len(task.law.linear)])
            count_here = min(count, len(lattice.theta))
            blocks.append(lattices.lowest(lattice.share, lattice.theta, projected, count_here, apart))
        return Starts(*(np.concatenate(parts)[:tables] for parts in zip(*blocks, strict=True)))
