"""Which runs to train next: `plan` of a pilot or of a prior."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.catalogue import named
from jaxscale.laws.fitting import checked_level, fit, with_draws
from jaxscale.laws.identifiability import held
from jaxscale.laws.law import Law
from jaxscale.laws.objective import Objective, checked
from jaxscale.laws.planning import beliefs, choices, designs, plans, rehearsal, wants
from jaxscale.laws.planning.beliefs import Belief
from jaxscale.laws.planning.choices import Choices
from jaxscale.laws.planning.designs import Goal, Ground
from jaxscale.laws.planning.plans import Promise, RunPlan
from jaxscale.laws.planning.rehearsal import Rehearsal
from jaxscale.laws.planning.wants import Want
from jaxscale.laws.results import Fit
from jaxscale.laws.runs import LOSS, Table

_PILOT_DRAWS = 400
_TRUTHS = 12  # at which designs are judged
_ROUNDS = 3  # of design and rehearsal
_MORE_POWER = 1.1  # narrower, where the power is not reached
_CLOSE = 0.05  # of the wanted width: a rehearsal this near ends the rounds
_FIRST_RATIO = 1.3  # of widths by our fit and by the delta method, before either is known
_RATIOS = (0.3, 30.0)  # what is believed of that ratio
_CURVE_POINTS = 24
_FEWEST_TABLES = 8
_POWER_TABLES = 100


def plan(
    pilot: Table | Fit | None,
    law: str | Law = "chinchilla",
    *,
    want: Mapping[str, float],
    key: jax.Array | int,
    max_compute: float | None = None,
    max_runs: int = 40,
    prior: Mapping[str, Sequence[float]] | None = None,
    ranges: Mapping[str, Sequence[float]] | None = None,
    candidates: Table | None = None,
    cost: str | None = None,
    d: float | None = None,
    beta: float = 1.0,
    objective: Objective | None = None,
    groups: str | None = "auto",
    level: float = 0.95,
    tables: int = 32,
    resamples: int = 100,
) -> RunPlan:
    """The cheapest runs to train next so that the interval of a quantity becomes as narrow as wanted.

    An optimal design by the delta method at several of the pilot's draws, greedy per FLOP and then improved by
    exchange; runs of one size may share an error, as much as the pilot's residuals show. Its promise is then checked:
    the runs are simulated around truths drawn from the pilot, fitted as `laws.fit` does, and the promise is corrected
    by the ratio of the widths, until both agree. The law is taken to hold at all sizes there are to choose from.

    Args:
      pilot: the runs there are, as `laws.fit` takes them; or a fit of them with draws; None with `prior`.
      law: what is fitted.
      want: the width of the interval by quantity: a parameter; "alpha_C" or "size_exponent", the powers of C of the
        best loss and model size, where the law has terms in N and D; "loss@N=7e9,D=2e12". Or "power": a probability
        with which the interval of the data exponent is to exclude the prediction at 2d when that at d holds.
      key: a JAX random key, or an int for `jax.random.key`.
      max_compute: what all runs together may cost, in FLOP or the unit of `cost`; no limit where None.
      max_runs: how many runs there may be.
      prior: without a pilot, (least, greatest) of every parameter and of "noise", the standard deviation of log losses.
      ranges: (least, greatest) of columns of runs to choose from; from the pilot's least to ten times its greatest.
      candidates: the runs to choose from, with the columns of the law; a grid over `ranges` where None.
      cost: of a run: a product such as "6*N*D", or a column of the pilot or the candidates; 6 N D or C where None.
      d, beta: intrinsic dimension and smoothness, for "power".
      objective, groups, level: of the fit to come, as in `laws.fit`.
      tables: how many tables to simulate, at least 8; 0 to take the delta method's word, corrected by the pilot's.
      resamples: behind the interval of each.

    Raises:
      InputError: for a pilot that is too small, a quantity the law does not have, or an argument out of range.
    """
    key = arguments.random_key("key", key)
    law = _law(pilot, law)
    objective, level = checked(objective), checked_level(level)
    tables = arguments.integer("tables", tables, 0)
    if 0 < tables < _FEWEST_TABLES:
        raise InputError(f"tables={tables} is too few to simulate. Pass at least {_FEWEST_TABLES}, or 0 for none.")
    resamples, max_runs = arguments.integer("resamples", resamples, 50), arguments.integer("max_runs", max_runs, 1)
    if isinstance(pilot, Fit):
        objective, level = pilot.objective, pilot.level
    asked = wants.checked(want, law, level, d, beta)
    if not tables and any(one.power is not None for one in asked):
        raise InputError("tables=0 simulates nothing, and want='power' is read from simulations. Pass tables=32.")
    budget = np.inf if max_compute is None else arguments.real("max_compute", max_compute, 1e21)
    if not budget > 0:
        raise InputError(f"max_compute={max_compute!r} must be positive. Pass a budget such as 1e21.")
    fit_key, draw_key, rehearse_key = jax.random.split(key, 3)
    if (pilot is None) == (prior is None):
        raise InputError("pass either pilot, a table of runs, or prior, ranges of the parameters and of the noise.")
    fitted = None
    if pilot is not None:
        fitted = pilot if isinstance(pilot, Fit) else _fitted(pilot, law, objective, groups, level, fit_key)
    there = _choices(law, fitted, candidates, ranges, cost, pilot, budget)
    if fitted is not None:
        belief = beliefs.of_pilot(fitted, groups, key=draw_key)
    else:
        belief = beliefs.of_prior(prior or {}, law, objective, level, groups, key=draw_key)
    return _Planner(belief, there, asked, budget, max_runs, tables, resamples, rehearse_key).plan()


def _law(pilot: Any, law: str | Law) -> Law:
    if isinstance(pilot, Fit) and pilot.target != LOSS:
        raise InputError(f"pilot is a fit of {pilot.target!r}, and plans are of losses. Pass a fit of the loss.")
    law = pilot.law if isinstance(pilot, Fit) else law if isinstance(law, Law) else named(law)
    if law.references:
        raise InputError(
            f"law={law.name!r} has parameters that depend on the runs, {', '.join(law.references)}, and cannot be "
            "planned for. Pass another, such as 'chinchilla'."
        )
    return law


def _fitted(pilot: Any, law: Law, objective: Objective, groups: str | None, level: float, key: jax.Array) -> Fit:
    optimum = fit(pilot, law, objective=objective, groups=groups, level=level, resamples=0)
    return with_draws(optimum, key, "auto", _PILOT_DRAWS)


def _choices(
    law: Law,
    fitted: Fit | None,
    candidates: Table | None,
    ranges: Mapping[str, Sequence[float]] | None,
    cost: str | None,
    pilot: Table | Fit | None,
    budget: float,
) -> Choices:
    table = None if isinstance(pilot, Fit) else pilot
    if candidates is not None:
        found = choices.given(candidates, law, cost, table)
    else:
        columns = fitted.runs.columns if fitted else {}
        ends = choices.checked_ranges(ranges, law, columns)
        found = choices.grid(law, ends, columns, *choices.price(cost, law, table))
    return choices.affordable(found, budget)


@dataclasses.dataclass
class _Planner:
    """One call of `plan`."""

    belief: Belief
    choices: Choices
    wants: tuple[Want, ...]
    budget: float
    max_runs: int
    tables: int
    resamples: int
    key: jax.Array

    def plan(self) -> RunPlan:
        now = self._now()
        wanted = np.array([want.width for want in self.wants])
        powered = np.array([want.power is not None for want in self.wants])
        if ((now <= wanted) | powered).all():
            nothing = np.zeros(len(self.choices.cost))
            power = self._power(self._rehearsed(nothing, _ROUNDS)) if powered.any() and self.belief.pilot else None
            if not powered.any() or (power is not None and power[1] >= power[0]):
                return self._nothing(now, power)
        few = self._at_truth().some(_TRUTHS, key=jax.random.fold_in(self.key, _ROUNDS + 1))
        ground = designs.ground(few, self.choices, self.wants)
        first = np.zeros(len(self.choices.cost))
        if self.belief.pilot is None:
            first = designs.footing(ground, Goal(wanted, self.budget, self.max_runs))
            ground = ground.after(first)
        spent, trained = float(first @ self.choices.cost), int(first.sum())
        goal = Goal(wanted, self.budget - spent, self.max_runs - trained)
        ratio, ratios, aim = self._first_ratio(ground, now), [], np.ones(len(self.wants))
        rehearsed = None
        design = self._designed(ground, goal, ratio * aim)
        for turn in range(_ROUNDS if self.tables else 0):
            rehearsed = self._rehearsed(first + design.counts, turn)
            delta = self._delta(ground, design.counts)
            ratios.append(np.log(np.clip(np.median(rehearsed.widths, axis=0) / delta, *_RATIOS)))
            # Of all rounds: a round that ends the search because it was lucky would promise too much.
            ratio = np.exp(np.mean(ratios, axis=0))
            off = float(np.max(delta * ratio / wanted)) - 1
            power = self._power(rehearsed)
            if power is not None and power[0] > power[1]:
                aim = aim * _MORE_POWER
            elif -2 * _CLOSE <= off <= _CLOSE or (off > 0 and not design.reached):
                break
            if power is None or turn + 1 < _ROUNDS:
                design = self._designed(ground, goal, ratio * aim)
        order = np.concatenate(
            [np.repeat(np.arange(len(first)), first.astype(int)), designs.in_order(ground, goal, design.counts)]
        )
        return self._planned(ground, design, order, rehearsed, ratio, now, spent)

    def _designed(self, ground: Ground, goal: Goal, ratio: np.ndarray) -> designs.Design:
        """The cheapest design whose widths, by the delta method and this ratio, are those that are wanted."""
        scale = ratio * designs.widths(np.ones(1), self.belief.level)[0]
        return designs.cheapest(ground, goal._replace(deviation=goal.deviation / scale))

    def _at_truth(self) -> Belief:
        """The belief at which to design: for "power" the law whose data exponent is the prediction at d."""
        for want in self.wants:
            if want.power is None:
                continue
            if self.belief.pilot is not None:
                values = held(self.belief.pilot, want.parameter, np.array([want.true]))
                return self.belief.with_parameters({name: float(value[0]) for name, value in values.items()})
            truths = self.belief.parameters | {want.parameter: np.full(len(self.belief.own), want.true)}
            return dataclasses.replace(self.belief, parameters=truths)
        return self.belief

    def _now(self) -> np.ndarray:
        """Widths from the pilot alone."""
        pilot = self.belief.pilot
        if pilot is None:
            return np.full(len(self.wants), np.inf)
        ends = [pilot.quantity(want.of).interval for want in self.wants]
        return np.array([float(end.upper - end.lower) for end in ends])

    def _delta(self, ground: Ground, counts: np.ndarray) -> np.ndarray:
        """Widths by the delta method, the geometric mean over truths, (J,)."""
        return designs.widths(designs.deviations(ground.variance(counts)), self.belief.level)

    def _first_ratio(self, ground: Ground, now: np.ndarray) -> np.ndarray:
        """Of the pilot's own intervals to what the delta method says of them."""
        if self.belief.pilot is None:
            return np.full(len(self.wants), _FIRST_RATIO)
        delta = self._delta(ground, np.zeros(len(self.choices.cost)))
        return np.asarray(np.clip(now / delta, *_RATIOS))

    def _rehearsed(self, counts: np.ndarray, turn: int) -> Rehearsal:
        each = np.repeat(np.arange(len(counts)), counts.astype(int))
        columns = {name: x[each] for name, x in self.choices.columns.items()}
        power = any(want.power for want in self.wants)
        return rehearsal.rehearse(
            self._at_truth(),
            columns,
            self.wants,
            key=jax.random.fold_in(self.key, turn),
            tables=max(self.tables, _POWER_TABLES) if power else self.tables,
            resamples=self.resamples,
            redrawn=power,
        )

    def _power(self, rehearsed: Rehearsal) -> tuple[float, float] | None:
        """The wanted and the simulated probability of excluding the prediction at 2d."""
        for j, want in enumerate(self.wants):
            if want.power is not None:
                lower, upper = rehearsed.lower[:, j], rehearsed.upper[:, j]
                return want.power, float(np.mean((lower > want.excluded) | (upper < want.excluded)))
        return None

    def _promises(
        self, ground: Ground, counts: np.ndarray, rehearsed: Rehearsal | None, ratio: np.ndarray, now: np.ndarray
    ) -> tuple[Promise, ...]:
        promised = []
        for j, want in enumerate(self.wants):
            width = float((self._delta(ground, counts) * ratio)[j])
            spread = (np.nan, np.nan)
            power = None
            if rehearsed is not None:
                low, middle, high = np.quantile(rehearsed.widths[:, j], [0.1, 0.5, 0.9])
                spread = float(width * low / middle), float(width * high / middle)
                power = self._power(rehearsed) if want.power is not None else None
            before = float(now[j]) if np.isfinite(now[j]) else np.nan
            promised.append(Promise(want.name, want.width, before, width, spread, float(ratio[j]), power))
        return tuple(promised)

    def _nothing(self, now: np.ndarray, power: tuple[float, float] | None) -> RunPlan:
        nan = (np.nan, np.nan)
        promises = tuple(
            Promise(want.name, want.width, float(width), float(width), nan, 1.0, None if want.power is None else power)
            for want, width in zip(self.wants, now, strict=True)
        )
        return self._result(np.zeros(0, int), promises, "already", np.zeros(0), {}, 0)

    def _planned(
        self,
        ground: Ground,
        design: designs.Design,
        order: np.ndarray,
        rehearsed: Rehearsal | None,
        ratio: np.ndarray,
        now: np.ndarray,
        spent: float,
    ) -> RunPlan:
        promises = self._promises(ground, design.counts, rehearsed, ratio, now)
        power = promises[0].power if len(promises) == 1 else None
        met = all(one.width <= one.wanted * (1 + 2 * _CLOSE) for one in promises)
        if power is not None:
            met = power[1] >= power[0] - 0.05
        outcome = "reached" if met else "runs" if len(order) >= self.max_runs else "budget"
        curve = list(designs.envelope(design.paths, _CURVE_POINTS))
        cost = np.array([one for one, _ in curve]) + spent
        scale = designs.widths(np.ones(1), self.belief.level)[0] * ratio
        widths = {
            want.name: np.array([float(deviation[j] * scale[j]) for _, deviation in curve])
            for j, want in enumerate(self.wants)
        }
        return self._result(order, promises, outcome, cost, widths, 0 if rehearsed is None else len(rehearsed.widths))

    def _result(
        self,
        order: np.ndarray,
        promises: tuple[Promise, ...],
        outcome: str,
        curve_cost: np.ndarray,
        curve_widths: dict[str, np.ndarray],
        simulated: int,
    ) -> RunPlan:
        pilot = self.belief.pilot
        planned = RunPlan(
            law=self.belief.law,
            columns={name: x[order] for name, x in self.choices.columns.items()},
            cost=self.choices.cost[order],
            unit=self.choices.unit,
            promises=promises,
            outcome=outcome,
            curve_cost=curve_cost,
            curve_widths=curve_widths,
            runs_now=len(pilot.runs) if pilot else 0,
            level=self.belief.level,
            simulated=simulated,
            warnings=(),
        )
        said = plans.warnings(planned, self.belief, planned.unit not in self.choices.columns or planned.unit == "C")
        return dataclasses.replace(planned, warnings=tuple(said))
