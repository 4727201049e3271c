"""Fit a scaling law to a table of runs: parameters, intervals, predictions and warnings from one call."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws import bootstrap as designs
from jaxscale.laws import diagnosis, holding, identifiability, influences, intervals
from jaxscale.laws.bootstrap import BOOTSTRAPS, Bootstrap, Resamples
from jaxscale.laws.catalogue import named
from jaxscale.laws.law import Law, Values
from jaxscale.laws.minimize import Progress, report_of
from jaxscale.laws.objective import Objective, checked
from jaxscale.laws.optimality import convergence
from jaxscale.laws.results import Fit
from jaxscale.laws.runs import LOSS, Runs, Table, read
from jaxscale.laws.search import find, find_from, problem, refit

_FEWEST_RESAMPLES = 100
_FEWEST_SIZES = 3  # of a column among the runs drawn, unless the table has no more
_SHOWN = 40  # tables whose refits say how far a choice moves parameters by chance
_INTERVALS = ("percentile", "bca")
_MIDDLE = 0.5  # the quantile that weighs errors to both sides alike


def fit(
    table: Table,
    law: str | Law = "data",
    *,
    key: jax.Array | int | None = None,
    objective: Objective | None = None,
    weights: str | None = None,
    groups: str | None = "auto",
    bootstrap: Bootstrap = "auto",
    interval: Literal["percentile", "bca"] = "percentile",
    level: float = 0.95,
    resamples: int = 2000,
    starts: Values | None = None,
    fixed: Mapping[str, float] | None = None,
    target: str = LOSS,
    progress: Progress | None = None,
) -> Fit:
    """Fits a law to a table of runs, with intervals that hold and a warning where they cannot.

    The objective is brought to its lowest optimum from starts by variable projection (Golub & Pereyra 1973), in float64
    whatever the global setting. Draws of the parameters come from tables like this one, each refitted from its own
    starts; every interval, `Fit.band` and `Fit.quantity` read the same draws.

    Runs that share a model size, a learning curve or a group err together, and intervals that ignore it are too narrow:
    by default such runs are redrawn together. "wild-cluster" turns the errors of whole groups around the curve, with
    corrections for leverage and for few groups; "components" draws errors anew, as large as those of runs and of groups
    may be; "mixed" is both; "pairs-cluster" draws whole groups, "pairs" single runs. "auto" is wild-cluster from ten
    groups or 40 independent runs on, mixed below, components for fewer independent runs, and pairs-cluster for other
    quantiles than 1/2; benchmarks/laws_coverage.py simulates its coverage. Bias shared by all runs, such as
    undertrained large models, is in no interval.

    Args:
      table: a mapping from column to array, a list of rows, or a data frame; needs `loss`, or `target`, and the columns
        of the law, and may name the rows under `run`.
      law: a name that `laws.named` knows, or a `Law`.
      key: a JAX random key, or an int for `jax.random.key`. The only source of randomness; needed unless
        `resamples` is 0.
      objective: what is minimized; `huber(1e-3)` where None.
      weights: a column that multiplies each run's term of the objective.
      groups: the column whose equal values mark runs that err together; "auto" and None as in `runs.read`.
      bootstrap: how the draws are made, see above.
      interval: "percentile", or "bca", corrected for bias and acceleration (Efron 1987).
      level: of the intervals, in (0, 1).
      resamples: number of draws, at least 100; 0 for the optimum alone, without intervals, influence or flatness.
      starts: parameters by name, (S,) each, to begin from instead, for audits of other recipes; those the law is
        linear in are solved for at once, so starts that differ in these alone are one.
      fixed: parameters to hold, with their values: {"E": 1.6}. The others are fitted with these held, in
        every resample too, and their intervals are conditional on them. Scales such as A are held in the table's units.
      target: the column that is fitted in place of the loss, of positive numbers: "lr", with a law such as
        "product:N,D". What is said of the loss here and in `Fit` is of that column then.
      progress: called now and then with what is under way, how much of it is done, and how much there is: "starts",
        "resamples", "ends of ranges" and "other choices".

    Returns:
      A `Fit`. Read `Fit.warnings` before its parameters.

    Raises:
      InputError: for a table that cannot be fitted (the row is named) or an argument out of range.
    """
    law = law if isinstance(law, Law) else named(law)
    objective = checked(objective)
    level, resamples = checked_level(level), arguments.integer("resamples", resamples, 0)
    _check_options(resamples, bootstrap, interval, key)
    _check_turned(bootstrap, objective)
    fixed = holding.checked(law, fixed)
    runs = read(table, law, weights, groups, law.free(fixed), target)
    task = problem(runs, law, objective, fixed)
    found = find(task, report_of(progress, "starts"))
    if starts is not None:
        law.check_parameters(starts, dimensions=1)
        audited = find_from(task, law.coordinates_of(starts, task.units).T)
        found = audited._replace(lattice=found.lattice)
    optimum = Fit(
        parameters=task.parameters(found.z),
        intervals={},
        draws={},
        total=float(objective.total(task.residuals(found.z), task.weight)),
        residuals=task.residuals(found.z),
        convergence=convergence(task, found),
        flatness={},
        influence=None,
        runs=runs,
        search=found,
        fixed=fixed,
        law=law,
        objective=objective,
        level=level,
        bootstrap="none",
        interval=interval,
        resamples=0,
        rejected=0,
        warnings=(),
    )
    if resamples:
        optimum, some, z = _drawn(optimum, arguments.random_key("key", key), bootstrap, resamples, progress)
        flat = identifiability.flatness(task, found, report_of(progress, "ends of ranges"))
        moved = influences.influence(optimum, some, z, report_of(progress, "other choices"))
        optimum = dataclasses.replace(optimum, flatness=flat, influence=moved)
    return dataclasses.replace(optimum, warnings=diagnosis.findings(optimum))


def with_draws(optimum: Fit, key: jax.Array, bootstrap: Bootstrap, resamples: int) -> Fit:
    """A fit without resamples, given draws and the intervals read from them; arguments as in `fit`."""
    return _drawn(optimum, key, bootstrap, resamples)[0]


def _drawn(
    optimum: Fit, key: jax.Array, bootstrap: Bootstrap, resamples: int, progress: Progress | None = None
) -> tuple[Fit, Resamples, np.ndarray]:
    """`with_draws`, and the first of the tables drawn with their optima."""
    task, found, runs = optimum.problem, optimum.search, optimum.runs
    kind = bootstrap
    if bootstrap == "auto":
        # Errors that are turned, or drawn to both sides alike, are none of another quantile than the middle.
        suited = designs.suited(len(runs), None if runs.group is None else runs.groups)
        kind = suited if optimum.objective.quantile == _MIDDLE else "pairs-cluster"
    drawn = designs.redrawn(kind, key, task, found, runs.group, resamples)
    accepted = np.ones(resamples, bool) if drawn.weight is None else _enough_sizes(drawn.weight, runs)
    z = refit(task, found, drawn.target, drawn.weight, report=report_of(progress, "resamples")).z[accepted]
    spread = dataclasses.replace(
        optimum,
        draws=task.parameters(z),
        bootstrap=kind,
        resamples=resamples,
        rejected=int(np.sum(~accepted)),
    )
    first = np.flatnonzero(accepted)[:_SHOWN]
    some = Resamples(*(None if part is None else part[first] for part in drawn))
    return dataclasses.replace(spread, intervals=intervals.of(spread, task)), some, z[: len(first)]


def _enough_sizes(weight_BxR: np.ndarray, runs: Runs) -> np.ndarray:
    """Which tables hold three sizes of every column, or as many as there are, (B,)."""
    enough = np.ones(len(weight_BxR), bool)
    for column in runs.columns:
        index = runs.size_index(column)
        sizes = (weight_BxR @ np.eye(index.max() + 1)[index] > 0).sum(-1)
        enough &= sizes >= min(_FEWEST_SIZES, index.max() + 1)
    return enough


def checked_level(level: float) -> float:
    """`level`, refused unless a number between 0 and 1."""
    level = arguments.real("level", level, 0.95)
    if not 0 < level < 1:
        raise InputError(f"level={level} is not between 0 and 1. Pass a coverage such as 0.95.")
    return level


def _check_turned(bootstrap: str, objective: Objective) -> None:
    """A tenth of the runs lie below the curve of the quantile 0.1; of their errors turned around it, half would."""
    if bootstrap in ("wild-cluster", "components", "mixed") and objective.quantile != _MIDDLE:
        raise InputError(
            f"bootstrap={bootstrap!r} draws errors to both sides alike, so its curves are not those of "
            f"quantile={objective.quantile:g}. Pass 'pairs-cluster' or 'auto'."
        )


def _check_options(resamples: int, bootstrap: str, interval: str, key: jax.Array | int | None) -> None:
    if resamples and resamples < _FEWEST_RESAMPLES:
        raise InputError(
            f"resamples={resamples} is too few for an interval. Pass at least {_FEWEST_RESAMPLES}, or 0 for none."
        )
    if resamples and key is None:
        raise InputError("key=None leaves the resamples without randomness. Pass jax.random.key(0), or resamples=0.")
    if resamples:
        arguments.random_key("key", key)
    arguments.choice("bootstrap", bootstrap, BOOTSTRAPS)
    arguments.choice("interval", interval, _INTERVALS)
