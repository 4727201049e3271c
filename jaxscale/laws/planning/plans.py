"""What `laws.plan` returns, and what to know before the money is spent."""

import dataclasses
from collections.abc import Iterator

import jax
import numpy as np

from jaxscale.laws.law import Law
from jaxscale.laws.planning.beliefs import Belief
from jaxscale.laws.results import STATIC
from jaxscale.laws.runs import Finding

_FAR = 3.0  # times the largest of the pilot, beyond which a plan extrapolates
_FEW_SPARE = 20  # runs beyond the parameters, below which the noise is known to worse than a sixth
_OF_THE_PILOT = ("dead_term", "exponent_at_bound", "outlier_runs", "few_groups")


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Promise:
    """What a plan says of one quantity.

    Attributes:
      name: the quantity.
      wanted: the width of its interval; for "power", that at which intervals have the wanted power.
      now: the width from the pilot alone; NaN without one.
      width: promised: that of the delta method, corrected by `ratio`.
      spread: the tenth and the ninetieth percentile of the simulated widths; NaN without.
      ratio: of simulated widths to those of the delta method, medians; of the pilot's where none were simulated.
      power: of "power", the wanted and the simulated probability; else None.
    """

    name: str = dataclasses.field(metadata=STATIC)
    wanted: float
    now: float
    width: float
    spread: tuple[float, float]
    ratio: float
    power: tuple[float, float] | None


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RunPlan:
    """Runs to train next, M of them in the order in which to train them.

    Attributes:
      law: that is to be fitted to them, together with the pilot.
      columns: of the runs by name, (M,); a size that comes several times wants as many seeds.
      cost: (M,) of each run, in `unit`.
      unit: "FLOP", or the column that costs are counted in.
      promises: one for each quantity.
      outcome: "reached" where every wanted width is promised, "already" where the pilot has it and nothing is planned,
        "budget" or "runs" where `max_compute` or `max_runs` ends before.
      curve_cost: (K,) budgets; curve_widths: the width promised at each by quantity, (K,).
      runs_now: of the pilot.
      level: of the intervals.
      simulated: how many tables stand behind the promise.
      warnings: (code, sentence) pairs.
    """

    law: Law = dataclasses.field(metadata=STATIC)
    columns: dict[str, np.ndarray]
    cost: np.ndarray
    unit: str = dataclasses.field(metadata=STATIC)
    promises: tuple[Promise, ...]
    outcome: str = dataclasses.field(metadata=STATIC)
    curve_cost: np.ndarray
    curve_widths: dict[str, np.ndarray]
    runs_now: int = dataclasses.field(metadata=STATIC)
    level: float = dataclasses.field(metadata=STATIC)
    simulated: int = dataclasses.field(metadata=STATIC)
    warnings: tuple[Finding, ...] = dataclasses.field(metadata=STATIC)

    def __len__(self) -> int:
        return len(self.cost)

    @property
    def total(self) -> float:
        """The cost of all runs."""
        return float(np.sum(self.cost))

    def grouped(self) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
        """Sizes that differ, by column (U,), how many seeds each wants (U,), and what one run of it costs (U,)."""
        rows = np.stack(list(self.columns.values()), axis=1) if len(self) else np.zeros((0, len(self.law.columns)))
        unique, first, seeds = np.unique(rows, axis=0, return_index=True, return_counts=True)
        return {name: unique[:, i] for i, name in enumerate(self.columns)}, seeds, self.cost[first]


def warnings(planned: RunPlan, belief: Belief, priced: bool) -> Iterator[Finding]:
    """What to know before relying on a plan.

    Args:
      planned: the plan.
      belief: what it was made from.
      priced: whether its costs are compute.
    """
    if planned.outcome in ("budget", "runs"):
        remedy = "max_compute" if planned.outcome == "budget" else "max_runs"
        short = ", ".join(
            f"{one.name} {one.width:.3g} instead of {one.wanted:.3g}"
            for one in planned.promises
            if one.power is not None or one.width > one.wanted
        )
        yield (
            "budget_too_small" if planned.outcome == "budget" else "too_few_runs",
            f"What is wanted is not reached: {short}. Raise {remedy}, allow larger runs, or want less.",
        )
    if not priced:
        yield (
            "cost_is_no_compute",
            f"Nothing says what a run computes, so cost is counted in {planned.unit}; give the cost, such as "
            f"6*PARAMETERS*{planned.unit}.",
        )
    if belief.pilot is None:
        yield (
            "no_pilot",
            "The plan rests on ranges that were given, not on runs. Train its first runs, and plan again from them.",
        )
        return
    yield from _of_pilot(planned, belief)


def _of_pilot(planned: RunPlan, belief: Belief) -> Iterator[Finding]:
    fit = belief.pilot
    assert fit is not None
    spare = len(fit.runs) - len(fit.search.z)
    if spare < _FEW_SPARE and len(planned):
        yield (
            "noise_uncertain",
            f"The noise is known from {spare} runs beyond the parameters, to about {100 / np.sqrt(2 * spare):.0f}%, "
            "and so is every promised width.",
        )
    for name, x in planned.columns.items():
        largest = float(fit.runs.columns[name].max())
        if len(x) and x.max() > _FAR * largest:
            yield (
                "extrapolates",
                f"The largest {name} to train is {x.max() / largest:.2g} times the largest there is; that the law "
                "holds there is an assumption.",
            )
    if fit.runs.group is None and belief.groups is not None and len(planned):
        yield (
            "shared_errors_unseen",
            "No two runs share a size, so an error that runs of one size share cannot be seen; the plan assumes none.",
        )
    yield from (finding for finding in fit.warnings if finding[0] in _OF_THE_PILOT)
