"""A design through our own fit before any of it is trained: simulated tables, each fitted with its intervals."""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.laws import bootstrap as resampling
from jaxscale.laws.planning.beliefs import LARGEST_SHIFT, Belief
from jaxscale.laws.planning.wants import Want
from jaxscale.laws.random_draws import generator
from jaxscale.laws.runs import Runs, read
from jaxscale.laws.search import find, problem, refit


class Rehearsal(NamedTuple):
    """Intervals of J quantities on S simulated tables.

    Attributes:
      lower, upper: (S, J).
    """

    lower: np.ndarray
    upper: np.ndarray

    @property
    def widths(self) -> np.ndarray:
        """(S, J)."""
        widths: np.ndarray = self.upper - self.lower
        return widths


def rehearse(
    belief: Belief,
    columns: Mapping[str, np.ndarray],
    wants: tuple[Want, ...],
    *,
    key: jax.Array | int,
    tables: int,
    resamples: int,
    redrawn: bool = False,
) -> Rehearsal:
    """Trains the runs on paper: one table for each of `tables` truths, fitted as `laws.fit` would.

    Args:
      belief: the truths.
      columns: of the runs to train, (M,) each.
      wants: the quantities.
      key: a JAX random key, or an int for `jax.random.key`.
      tables: how many to simulate.
      resamples: of each.
      redrawn: whether the losses of the pilot are simulated too, for truths that are not those of its draws.

    Raises:
      InputError: for runs that with the pilot make no table that could be fitted.
    """
    truths_key, noise_key, *keys = jax.random.split(random_key("key", key), 2 + tables)
    truths = belief.some(tables, key=truths_key)
    runs, old = _together(belief, columns)
    targets = _targets(truths, runs, None if redrawn else old, generator(noise_key))
    logarithmic = belief.objective.residual == "log"
    losses = np.exp(targets) if logarithmic else targets
    first = dataclasses.replace(runs, loss=losses[0])
    task = problem(first, belief.law, belief.objective)
    found = find(task)
    optima = refit(task, found, target=targets).z
    kind = resampling.suited(len(runs), None if runs.group is None else runs.groups)
    tables_drawn = []
    for own_key, loss, z in zip(keys, losses, optima, strict=True):
        own_task, own_found = task._replace(loss=loss), found._replace(z=z)
        drawn = resampling.redrawn(kind, own_key, own_task, own_found, runs.group, resamples)
        assert drawn.target is not None  # these designs redraw losses, not runs
        tables_drawn.append(drawn.target)
    around = refit(task, found, target=np.concatenate(tables_drawn), warm=np.repeat(optima, resamples, axis=0))
    draws = task.parameters(around.z)
    ends = []
    for want in wants:
        values = np.broadcast_to(np.asarray(want.of(draws)), tables * resamples).reshape(tables, resamples)
        # Of few draws the usual quantiles lie too far inside; these are those of many.
        ends.append(np.quantile(values, [(1 - belief.level) / 2, (1 + belief.level) / 2], axis=1, method="weibull"))
    lower, upper = np.moveaxis(np.array(ends), 0, -1)  # from (J, 2, S)
    return Rehearsal(lower, upper)


def _together(belief: Belief, columns: Mapping[str, np.ndarray]) -> tuple[Runs, np.ndarray]:
    """The pilot and the new runs as one table, and the pilot's targets in it, NaN at new runs, (R,)."""
    count = len(next(iter(columns.values())))
    table = {name: np.asarray(columns[name], float) for name in belief.law.columns}
    loss, labels = np.ones(count), [f"new {i}" for i in range(count)]
    target = np.full(count, np.nan)
    groups = belief.groups
    if belief.pilot is not None:
        runs = belief.pilot.runs
        table = {name: np.concatenate([runs.columns[name], x]) for name, x in table.items()}
        loss = np.concatenate([runs.loss, loss])
        target = np.concatenate([belief.pilot.problem.target, target])
        own = runs.group if runs.group is not None else np.arange(len(runs))
        labels = [f"pilot {i}" for i in own] + labels
        if groups is not None and runs.group is not None and runs.group_by not in belief.law.columns:
            groups = "mark"
    marked = table | {"loss": loss, "mark": np.array(labels), "place": np.arange(1, len(loss) + 1)}
    together = read(marked, belief.law, "place", groups if groups in (None, "auto", "mark") else "auto")
    place = together.weight.astype(int) - 1
    return dataclasses.replace(together, weight=np.ones(len(place))), target[place]


def _targets(truths: Belief, runs: Runs, old: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """(S, R) what curves are compared with: the law at each truth with noise, where the table has no loss yet."""
    law, count, rows = truths.law, len(truths.own), len(runs)
    curve = law.losses({name: x[:, None] for name, x in truths.parameters.items()}, *(x[None] for x in runs.values))
    center = truths.objective.target(np.asarray(curve))
    if not np.isfinite(center).all():
        raise InputError("some of the believed laws have no finite loss at the runs to choose from. Narrow the ranges.")
    group = np.arange(rows) if runs.group is None else runs.group
    error = truths.own[:, None] * rng.choice(truths.errors, (count, rows))
    error = error + truths.shared[:, None] * rng.normal(size=(count, int(group.max()) + 1))[:, group]
    if truths.objective.residual == "log":
        target = center + np.clip(error, -LARGEST_SHIFT, LARGEST_SHIFT)
    else:
        target = np.maximum(center + error, np.exp(-LARGEST_SHIFT) * center)
    return target if old is None else np.where(np.isnan(old), target, old)
