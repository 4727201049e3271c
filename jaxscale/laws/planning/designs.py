"""The cheapest set of runs whose interval is narrow enough, by the delta method.

For T likely truths the variance of a quantity is cᵀ A⁻¹ B A⁻¹ c, with A = Σ x xᵀ over the slopes x of the runs in the
parameters and B = σ² A + τ² Σ_g s_g s_gᵀ, s_g the sum of x over runs that share an error: that of least squares, which
does not know who shares one. A design lowers its mean logarithm over the truths (a Bayesian c-optimal design; Chaloner
& Verdinelli 1995, Statistical Science 10). It is built greedily per FLOP and improved by exchange (Fedorov 1972).
"""

import dataclasses
from collections.abc import Iterator
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from jaxscale.laws.bootstrap import linearized
from jaxscale.laws.planning.beliefs import FEWEST_SPARE, Belief, grouped
from jaxscale.laws.planning.choices import Choices
from jaxscale.laws.planning.wants import Want
from jaxscale.laws.search import FitProblem

_PRICES = 8  # of a run beside its FLOPs, between the cheapest and the dearest run
_ROUNDS = 4  # of exchange
_SECOND = 0.05  # weight of all quantities beside the one furthest from what is wanted
_RIDGE = 1e-8  # of the information, where the runs there are leave a direction open
_STEP = 1e-5


@dataclasses.dataclass(frozen=True)
class Ground:
    """What designs are judged by; shapes of T truths, K runs to choose from, J quantities, G groups, P coordinates.

    Attributes:
      slopes: (T, K, P) of what the objective compares, in scaled coordinates.
      gradients: (T, J, P) of the quantities.
      own, shared: (T,) standard deviations.
      group: (K,); groups: G.
      information: (T, P, P) of the runs there are; sums: (T, G, P) of their slopes.
      cost: (K,).
    """

    slopes: np.ndarray
    gradients: np.ndarray
    own: np.ndarray
    shared: np.ndarray
    group: np.ndarray
    groups: int
    information: np.ndarray
    sums: np.ndarray
    cost: np.ndarray

    def variance(self, counts: np.ndarray) -> np.ndarray:
        """(T, J) of every quantity after training `counts` (K,) of each run."""
        inverse, sums = self._state(counts)
        u = np.einsum("tpq,tjq->tjp", inverse, self.gradients)
        own = np.einsum("tjp,tjp->tj", self.gradients, u)
        shared = np.sum(np.einsum("tgp,tjp->tgj", sums, u) ** 2, axis=1)
        return self._total(own, shared)

    def variance_with_each(self, counts: np.ndarray) -> np.ndarray:
        """(K, T, J) the same after one more run of each kind."""
        inverse, sums = self._state(counts)
        u = np.einsum("tpq,tjq->tjp", inverse, self.gradients)
        h = np.einsum("tkp,tpq->tkq", self.slopes, inverse)
        leverage = np.einsum("tkp,tkp->tk", h, self.slopes)
        along = np.einsum("tkp,tjp->tkj", self.slopes, u) / (1 + leverage)[..., None]
        own = np.einsum("tjp,tjp->tj", self.gradients, u)[:, None] - np.einsum(
            "tkj,tkp,tjp->tkj", along, h, self.gradients, optimize=True
        )
        of_groups = (
            np.einsum("tgp,tjp->tgj", sums, u)[:, :, None]
            - np.einsum("tgp,tkp->tgk", sums, h)[..., None] * along[:, None]
        )  # (T, G, K, J)
        here = np.take_along_axis(of_groups, self.group[None, None, :, None], axis=1)[:, 0]
        extra = np.einsum("tkp,tjp->tkj", self.slopes, u) - along * leverage[..., None]
        shared = np.sum(of_groups**2, axis=1) - here**2 + (here + extra) ** 2
        return np.moveaxis(self._total(own, shared), 1, 0)

    def leverage(self, counts: np.ndarray) -> np.ndarray:
        """(K,) of one more run of each kind, the geometric mean over truths."""
        inverse, _ = self._state(counts)
        leverage = np.einsum("tkp,tpq,tkq->tk", self.slopes, inverse, self.slopes, optimize=True)
        return np.asarray(np.exp(np.mean(np.log(np.maximum(leverage, 1e-300)), axis=0)))

    def after(self, counts: np.ndarray) -> "Ground":
        """The same once `counts` (K,) of each run are there."""
        weighted = self.slopes * counts[:, None]
        return dataclasses.replace(
            self,
            information=self.information + np.einsum("tkp,tkq->tpq", weighted, self.slopes),
            sums=self._state(counts)[1],
        )

    def _state(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weighted = self.slopes * counts[:, None]
        inverse = np.linalg.inv(self.information + np.einsum("tkp,tkq->tpq", weighted, self.slopes))
        sums = self.sums + np.einsum("gk,tkp->tgp", np.eye(self.groups)[:, self.group], weighted)
        return inverse, sums

    def _total(self, own: np.ndarray, shared: np.ndarray) -> np.ndarray:
        spread = (slice(None),) + (None,) * (own.ndim - 1)
        total = (self.own**2)[spread] * own + (self.shared**2)[spread] * shared
        return np.asarray(np.maximum(total, 1e-300))


class Goal(NamedTuple):
    """What a design is to reach: standard deviations (J,) within a budget and a number of runs."""

    deviation: np.ndarray
    budget: float
    runs: int

    def missing(self, variance: np.ndarray) -> np.ndarray:
        """(...,) the log ratio of variance to what is wanted, of (..., T, J); at or below 0 where all are reached."""
        each = np.mean(np.log(variance), axis=-2) - 2 * np.log(self.deviation)
        missing: np.ndarray = np.max(each, axis=-1) + _SECOND * np.mean(np.minimum(each, 0), axis=-1)
        return missing

    def reached(self, variance: np.ndarray) -> np.ndarray:
        """(...,) whether all are, of (..., T, J)."""
        each = np.mean(np.log(variance), axis=-2) - 2 * np.log(self.deviation)
        reached: np.ndarray = np.max(each, axis=-1) <= 0
        return reached


class Path(NamedTuple):
    """Runs in the order in which they were added.

    Attributes:
      picks: (M,) of the choices.
      cost: (M + 1,) of none, one, two and so on.
      deviations: (M + 1, J) geometric means over truths.
      missing: (M + 1,) as `Goal.missing` has it; reached: (M + 1,).
    """

    picks: np.ndarray
    cost: np.ndarray
    deviations: np.ndarray
    missing: np.ndarray
    reached: np.ndarray


class Design(NamedTuple):
    """How many of each run to train, (K,), whether that reaches the goal, and the paths that were looked at."""

    counts: np.ndarray
    reached: bool
    paths: list[Path]


def ground(belief: Belief, choices: Choices, wants: tuple[Want, ...]) -> Ground:
    """What designs are judged by, at each truth of a belief."""
    law = belief.law
    pilot = belief.pilot.runs.columns if belief.pilot else {name: x[:0] for name, x in choices.columns.items()}
    columns = [np.concatenate([pilot[name], choices.columns[name]]) for name in law.columns]
    there = len(next(iter(pilot.values())))
    units = law.units_of(columns)
    scaled = np.stack([x / unit for x, unit in zip(columns, units, strict=True)])
    ones, free = np.ones(scaled.shape[1]), np.full(len(law.coordinates), np.nan)
    task = FitProblem(law, belief.objective, scaled, units, ones, ones, free)
    z = law.coordinates_of(belief.parameters, units).T  # (T, P)
    slopes = np.stack([linearized(task, at)[1] for at in z])
    gradients = _gradients(task, z, wants)
    size = np.sqrt(np.mean(slopes**2, axis=(0, 1)))
    size = np.where(size > 0, size, 1.0)
    slopes, gradients = slopes / size, gradients / size
    old, group, groups = grouped(belief, choices.columns)
    before, slopes = slopes[:, :there], slopes[:, there:]
    information = np.einsum("trp,trq->tpq", before, before)
    information = information + _RIDGE * np.eye(len(size))
    sums = np.einsum("gr,trp->tgp", np.eye(groups)[:, old], before)
    return Ground(slopes, gradients, belief.own, belief.shared, group, groups, information, sums, choices.cost)


def _gradients(task: FitProblem, z: np.ndarray, wants: tuple[Want, ...]) -> np.ndarray:
    """(T, J, P) of the quantities in the coordinates, by central differences."""
    truths, P = z.shape
    step = _STEP * np.maximum(np.abs(z), 1e-3)
    moved = z[:, None, None] + np.stack([1, -1])[:, None, None] * (np.eye(P) * step[:, None])[:, None]  # (T, 2, P, P)
    parameters = task.parameters(moved)
    found = []
    for want in wants:
        values = np.broadcast_to(np.asarray(want.of(parameters)), (truths, 2, P))
        found.append((values[:, 0] - values[:, 1]) / (2 * step))
    return np.asarray(np.nan_to_num(np.stack(found, axis=1)))


def greedy(ground: Ground, goal: Goal, price: float) -> Path:
    """Runs one by one, each that which lowers what is missing most for its cost and a price for every run."""
    counts = np.zeros(len(ground.cost))
    picks: list[int] = []
    costs, variances = [0.0], [ground.variance(counts)]
    while len(picks) < goal.runs:
        left = goal.budget - costs[-1]
        after = ground.variance_with_each(counts)
        gain = (goal.missing(variances[-1]) - goal.missing(after)) / (ground.cost + price)
        gain = np.where(ground.cost <= left * (1 + 1e-9), gain, -np.inf)
        best = int(np.argmax(gain))
        if not gain[best] > 0:
            break
        counts[best] += 1
        picks.append(best)
        costs.append(costs[-1] + float(ground.cost[best]))
        variances.append(after[best])
    every = np.stack(variances)
    return Path(
        np.array(picks, int),
        np.array(costs),
        deviations(every),
        goal.missing(every),
        goal.reached(every),
    )


def footing(ground: Ground, goal: Goal) -> np.ndarray:
    """(K,) runs at different places that determine every parameter, for a plan that begins without any.

    Greedily D-optimal for their cost: each lowers the log determinant of the covariance most, at sizes not yet taken
    as long as there are such.
    """
    wanted = ground.slopes.shape[-1] + FEWEST_SPARE
    counts = np.zeros(len(ground.cost))
    price = float(np.median(ground.cost))
    while counts.sum() < min(wanted, goal.runs, len(counts)):
        free = (counts == 0) & (ground.cost <= goal.budget - counts @ ground.cost)
        taken = np.isin(ground.group, ground.group[counts > 0])
        free = free & ~taken if (free & ~taken).any() else free
        if not free.any():
            break
        gain = np.log1p(ground.leverage(counts)) / (ground.cost + price)
        counts[int(np.argmax(np.where(free, gain, -np.inf)))] += 1
    return counts


def deviations(variance: np.ndarray) -> np.ndarray:
    """(..., J) the geometric mean over truths of (..., T, J)."""
    return np.asarray(np.exp(0.5 * np.mean(np.log(variance), axis=-2)))


def paths(ground: Ground, goal: Goal) -> list[Path]:
    """Greedy designs at several prices of a run: from many cheap runs to few dear ones."""
    prices = np.geomspace(ground.cost.min(), ground.cost.max(), _PRICES) if len(ground.cost) > 1 else [0.0]
    return [greedy(ground, goal, float(price)) for price in prices]


def cheapest(ground: Ground, goal: Goal) -> Design:
    """The least cost that reaches the goal, else the narrowest within the budget and the number of runs."""
    found = paths(ground, goal)
    reaching = [
        (path, max(int(np.argmax(path.reached)), 1)) for path in found if path.reached.any() and len(path.picks)
    ]
    if reaching:
        path, place = min(reaching, key=lambda one: one[0].cost[one[1]])
    else:
        path = min(found, key=lambda path: path.missing.min())
        place = int(np.argmin(path.missing))
    counts = exchanged(ground, goal, np.bincount(path.picks[:place], minlength=len(ground.cost)))
    return Design(counts, bool(goal.reached(ground.variance(counts))), found)


def exchanged(ground: Ground, goal: Goal, counts: np.ndarray) -> np.ndarray:
    """The same with runs left out or replaced, while that is cheaper, or narrower where the goal is not reached."""
    counts = counts.copy()
    for _ in range(_ROUNDS):
        before = counts.copy()
        for place in np.argsort(-ground.cost):
            if counts[place]:
                _exchange(ground, goal, counts, int(place))
        if (counts == before).all():
            break
    return counts


def _exchange(ground: Ground, goal: Goal, counts: np.ndarray, place: int) -> None:
    """Leaves one run out, or puts another in its place, where that helps."""
    now = ground.variance(counts)
    without = counts.copy()
    without[place] -= 1
    if goal.reached(now):
        if without.any() and goal.reached(ground.variance(without)):
            counts[place] -= 1
            return
        fits = goal.reached(ground.variance_with_each(without)) & (ground.cost < ground.cost[place])
        if fits.any():
            counts[place] -= 1
            counts[int(np.argmin(np.where(fits, ground.cost, np.inf)))] += 1
        return
    left = goal.budget - float(without @ ground.cost)
    missing = goal.missing(ground.variance_with_each(without))
    missing = np.where(ground.cost <= left * (1 + 1e-9), missing, np.inf)
    best = int(np.argmin(missing))
    if missing[best] < goal.missing(now) - 1e-9:
        counts[place] -= 1
        counts[best] += 1


def in_order(ground: Ground, goal: Goal, counts: np.ndarray) -> np.ndarray:
    """The runs of a design, (M,) of the choices, each next the one that helps most for its cost."""
    left, done = counts.astype(int), np.zeros(len(counts))
    order = []
    price = float(np.median(ground.cost[counts > 0])) if counts.any() else 0.0
    while left.any():
        gain = goal.missing(ground.variance(done)) - goal.missing(ground.variance_with_each(done))
        gain = np.where(left > 0, gain / (ground.cost + price), -np.inf)
        best = int(np.argmax(gain))
        order.append(best)
        left[best] -= 1
        done[best] += 1
    return np.array(order, int)


def envelope(found: list[Path], points: int) -> Iterator[tuple[float, np.ndarray]]:
    """The narrowest deviations (J,) of all paths at costs even in the logarithm."""
    costs = np.concatenate([path.cost[1:] for path in found]) if found else np.zeros(0)
    if not len(costs):
        return
    for budget in np.geomspace(costs.min(), costs.max(), points):
        reach = [
            (path.missing[place], path.deviations[place])
            for path in found
            for place in [_lowest_within(path, budget * (1 + 1e-9))]
        ]
        yield float(budget), min(reach, key=lambda one: one[0])[1]


def _lowest_within(path: Path, budget: float) -> int:
    return int(np.argmin(np.where(path.cost <= budget, path.missing, np.inf)))


def widths(deviation: np.ndarray, level: float) -> np.ndarray:
    """Of normal intervals with these standard deviations."""
    return 2 * NormalDist().inv_cdf((1 + level) / 2) * deviation
