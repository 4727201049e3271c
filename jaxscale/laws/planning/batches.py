"""Runs trained in batches until an interval is as narrow as wanted."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.catalogue import named
from jaxscale.laws.fitting import checked_level, fit, with_draws
from jaxscale.laws.law import Law
from jaxscale.laws.objective import Objective
from jaxscale.laws.planning.planner import plan
from jaxscale.laws.planning.wants import checked
from jaxscale.laws.results import STATIC, Fit, Interval
from jaxscale.laws.runs import Table, numbers

_FEWEST_RESAMPLES = 100
_LOOKS = 2  # in a row at which the interval has to be narrow enough
_FURTHER = 0.9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Campaign:
    """What was trained until intervals were narrow enough.

    Attributes:
      table: the pilot and all runs after it, by column, in the order in which they were trained.
      fit: of all of them.
      intervals: of every quantity by name.
      widths: of every quantity by name, before each batch and after the last.
      cost: of the runs after the pilot.
      outcome: "reached", or "budget" or "runs" where those ended before.
    """

    table: dict[str, np.ndarray]
    fit: Fit
    intervals: dict[str, Interval]
    widths: dict[str, np.ndarray]
    cost: float
    outcome: str = dataclasses.field(metadata=STATIC)


def train_until(
    pilot: Table,
    law: str | Law = "chinchilla",
    *,
    want: Mapping[str, float],
    train: Callable[[dict[str, np.ndarray]], np.typing.ArrayLike],
    key: jax.Array | int,
    batch: int = 4,
    max_compute: float | None = None,
    max_runs: int = 100,
    objective: Objective | None = None,
    groups: str | None = "auto",
    level: float = 0.95,
    resamples: int = 400,
    **options: Any,
) -> Campaign:
    """Trains runs in batches, each planned from all before it, until every interval is as narrow as wanted.

    It stops on the width alone and never looks at where the interval lies: a rule that stopped on significance would
    miss the truth too often (Chow & Robbins 1965, Annals of Mathematical Statistics 36). An interval may still be
    narrow by luck with the noise, and such ones hold the truth less often; so a batch more is trained after it is
    first narrow enough, and the rule stops if it is so again. benchmarks/laws_plan.py measures the coverage.

    Args:
      pilot, law, want, objective, groups, level: as in `laws.plan`, but for "power"; `groups` is "auto" or None.
      train: the losses (M,) of runs whose columns (M,) it is given.
      key: a JAX random key, or an int for `jax.random.key`.
      batch: how many runs to train between two looks.
      max_compute, max_runs: what all runs after the pilot may cost, and how many there may be.
      resamples: behind each look.
      **options: `ranges`, `candidates`, `cost`, of `laws.plan`.

    Raises:
      InputError: as `laws.plan`, or if `train` returns another number of losses.
    """
    law = law if isinstance(law, Law) else named(law)
    level, batch = checked_level(level), arguments.integer("batch", batch, 1)
    resamples = arguments.integer("resamples", resamples, _FEWEST_RESAMPLES)
    if "power" in want:
        raise InputError("want='power' is for a plan made in one go. Name the width of an interval, such as alpha.")
    asked = checked(want, law, level)
    table = numbers(pilot, (*law.columns, "loss"))
    budget = np.inf if max_compute is None else arguments.real("max_compute", max_compute, 1e21)
    left, spent = arguments.integer("max_runs", max_runs, 1), 0.0
    widths: list[list[float]] = []
    key = arguments.random_key("key", key)
    while True:
        key, fit_key, plan_key = jax.random.split(key, 3)
        optimum = fit(table, law, objective=objective, groups=groups, level=level, resamples=0)
        fitted = with_draws(optimum, fit_key, "auto", resamples)
        found = {one.name: fitted.quantity(one.of).interval for one in asked}
        widths.append([float(found[one.name].upper - found[one.name].lower) for one in asked])
        narrow = [all(w <= one.width for w, one in zip(row, asked, strict=True)) for row in widths[-_LOOKS:]]
        outcome = "reached" if len(narrow) == _LOOKS and all(narrow) else ""
        if not outcome and left <= 0:
            outcome = "runs"
        if not outcome:
            # Where the interval is narrow enough already, a batch that would narrow it further confirms that.
            aim = {one.name: min(one.width, _FURTHER * width) for one, width in zip(asked, widths[-1], strict=True)}
            columns, cost = _next(fitted, aim, plan_key, batch, budget - spent, left, groups, options)
            outcome = "" if len(cost) else "budget"
        if outcome:
            of_each = {one.name: np.array([row[j] for row in widths]) for j, one in enumerate(asked)}
            return Campaign(table, fitted, found, of_each, spent, outcome)
        losses = arguments.reals(train(columns))
        if losses is None or losses.shape != cost.shape:
            raise InputError(f"train returned {losses!r} for {len(cost)} runs. Return a loss for each, in their order.")
        table = {name: np.concatenate([x, columns.get(name, losses)]) for name, x in table.items()}
        spent, left = spent + float(np.sum(cost)), left - len(cost)


def _next(
    fitted: Fit,
    want: Mapping[str, float],
    key: jax.Array,
    batch: int,
    budget: float,
    left: int,
    groups: str | None,
    options: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The columns and costs of the next runs; none where nothing fits into what is left."""
    try:
        planned = plan(
            fitted, want=want, key=key, max_compute=budget, max_runs=left, groups=groups, tables=0, **options
        )
    except InputError:
        if budget < np.inf:  # not even the cheapest run
            return {}, np.zeros(0)
        raise
    return {name: x[:batch] for name, x in planned.columns.items()}, planned.cost[:batch]
