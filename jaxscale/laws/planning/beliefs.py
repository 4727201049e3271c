"""What is believed of a law and of the noise of runs before they are trained: from a pilot, or from ranges."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.bootstrap import linearized
from jaxscale.laws.law import Law, Values
from jaxscale.laws.objective import Objective
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import Fit
from jaxscale.laws.runs import Runs
from jaxscale.laws.search import refit

FEWEST_SPARE = 3  # runs beyond the parameters of the law, to tell the noise
LARGEST_SHIFT = 3.0  # of a log loss, so that no simulated loss overflows
_TRUTHS = 128
_ERRORS = 1000
_BANDWIDTH = 1.06
_PRIOR_DRAWS = 256
_LEAST_NOISE = 1e-6
_DEAD = 1e-12  # a scale below it leaves its exponent without meaning


@dataclasses.dataclass(frozen=True)
class Belief:
    """T equally likely truths, and the runs there are.

    Attributes:
      law, objective, level: of the fit to come.
      groups: which runs err together, as in `laws.fit`.
      parameters: every parameter by name, (T,).
      own: (T,) standard deviation of the error of a run of its own, of what the objective compares.
      shared: (T,) that of the error that runs of a group share.
      errors: (K,) errors of runs of their own, of mean 0 and variance 1, to draw from.
      pilot: the fit of the runs there are, None without.
    """

    law: Law
    objective: Objective
    level: float
    groups: str | None
    parameters: dict[str, np.ndarray]
    own: np.ndarray
    shared: np.ndarray
    errors: np.ndarray
    pilot: Fit | None

    def some(self, count: int, *, key: jax.Array | int) -> "Belief":
        """`count` of the truths, drawn without replacement as far as there are so many."""
        truths, rng = len(self.own), generator(key)
        chosen = rng.permutation(truths)[:count] if count <= truths else rng.integers(truths, size=count)
        parameters = {name: values[chosen] for name, values in self.parameters.items()}
        return dataclasses.replace(self, parameters=parameters, own=self.own[chosen], shared=self.shared[chosen])

    def with_parameters(self, values: Values) -> "Belief":
        """The same noise around one law for certain."""
        parameters = {name: np.full(len(self.own), float(values[name])) for name in self.law.parameters}
        return dataclasses.replace(self, parameters=parameters)


def of_pilot(fit: Fit, groups: str | None, *, key: jax.Array | int) -> Belief:
    """Laws around a fit, each fitted to losses simulated around it with the noise that its residuals show.

    A parametric bootstrap (Efron 1985, Biometrika 72): the fit's own draws are wider, for they make up for not knowing
    the noise from few runs, and would tell of laws that these runs speak against.

    Raises:
      InputError: for a fit without draws, or of too few runs to tell the noise.
    """
    runs, spare = fit.runs, len(fit.runs) - len(fit.search.z)
    if spare < FEWEST_SPARE:
        needed = len(fit.search.z) + FEWEST_SPARE
        raise InputError(
            f"the pilot has {len(fit.runs)} runs, too few to tell their noise from a law of {len(fit.search.z)} "
            f"parameters. Train at least {needed}, better twice as many, or pass prior instead of a pilot."
        )
    if not fit.draws:
        raise InputError("pilot is a fit without draws. Fit it with resamples=500.")
    rng = generator(key)
    own, shared, shape = noise(fit)
    # Smoothed (Silverman 1986): a robust fit is as certain as errors are dense around 0, which few of them do not tell.
    errors = rng.choice(shape, _ERRORS) + _BANDWIDTH * len(runs) ** -0.2 * rng.normal(size=_ERRORS)
    errors = np.concatenate([errors, -errors]) / np.sqrt(np.mean(errors**2))
    factor = np.sqrt(spare / rng.chisquare(spare, _TRUTHS))
    task = fit.problem
    group = np.arange(len(runs)) if runs.group is None else runs.group
    error = own * rng.choice(errors, (_TRUTHS, len(runs))) + shared * rng.normal(size=(_TRUTHS, runs.groups))[:, group]
    center = task.objective.target(task.losses(fit.search.z))
    target = center + np.clip(factor[:, None] * error, -LARGEST_SHIFT, LARGEST_SHIFT)
    if not task.logarithmic:
        target = np.maximum(target, np.exp(-LARGEST_SHIFT) * center)
    drawn = task.parameters(refit(task, fit.search, target=target).z)
    alive = np.ones(_TRUTHS, bool)
    for name, values in drawn.items():
        alive &= np.isfinite(values) & ((values > _DEAD) | (name == "E") | (name not in fit.law.linear))
    if not alive.any():
        raise InputError("the pilot does not show the loss falling along every column. Train more sizes first.")
    return Belief(
        law=fit.law,
        objective=fit.objective,
        level=fit.level,
        groups=groups,
        parameters={name: np.asarray(values)[alive] for name, values in drawn.items()},
        own=own * factor[alive],
        shared=shared * factor[alive],
        errors=errors,
        pilot=fit,
    )


def noise(fit: Fit) -> tuple[float, float, np.ndarray]:
    """Standard deviations of the errors of runs of their own and of those that groups share, and the former's shape.

    Residuals are those of least squares, e = (I - H) r: the fit itself goes through some runs exactly. The two
    variances are those at which the sums of squares within and between groups have their expectations (Henderson 1953,
    Biometrics 9).
    """
    task = fit.problem
    fitted, jacobian = linearized(task, fit.search.z)
    residual = task.target - fitted
    q, r = np.linalg.qr(jacobian / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300))
    q = q[:, np.abs(np.diag(r)) > 1e-10]
    maker = np.eye(len(residual)) - q @ q.T
    left = maker @ residual
    shape = left / np.sqrt(np.maximum(np.diag(maker), 1e-3))
    shape = shape / max(float(np.sqrt(np.mean(shape**2))), 1e-300)
    whole = float(left @ left / np.trace(maker))
    if fit.runs.group is None:
        return max(np.sqrt(whole), _LEAST_NOISE), 0.0, shape
    members = np.eye(fit.runs.groups)[fit.runs.group]  # (R, G)
    means = members @ (members / members.sum(0)).T
    together = members @ members.T
    parts = (np.eye(len(left)) - means, means)
    sums = np.array([left @ part @ left for part in parts])
    expected = np.array(
        [[np.trace(maker @ part @ maker @ of) for of in (np.eye(len(left)), together)] for part in parts]
    )
    own, shared = np.linalg.lstsq(expected, sums, rcond=None)[0]
    if shared <= 0 or own <= 0:
        own, shared = (whole, 0.0) if shared <= 0 else (0.05 * whole, 0.95 * whole)
    return max(np.sqrt(own), _LEAST_NOISE), float(np.sqrt(shared)), shape


def of_prior(
    prior: Mapping[str, Sequence[float]],
    law: Law,
    objective: Objective,
    level: float,
    groups: str | None,
    *,
    key: jax.Array | int,
) -> Belief:
    """Laws between given ends: scales even in the logarithm, all else even, noise normal.

    Args:
      prior: (least, greatest) of every parameter, and of "noise", the standard deviation of a run's log loss; of
        "shared_noise" too, the part that runs of one size share, 0 where it is not named.
      law, objective, level, groups: of the fit to come.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: for a parameter that is missing or unknown, or ends out of order.
    """
    known = (*law.parameters, "noise", "shared_noise")
    if not isinstance(prior, Mapping):
        raise InputError(f"prior={prior!r} is no mapping. Pass (least, greatest) by name: {', '.join(known[:-1])}.")
    unknown = [name for name in prior if name not in known]
    missing = [name for name in known[:-1] if name not in prior]
    if unknown or missing:
        said = f"names {unknown[0]!r}, which is none of" if unknown else f"lacks {', '.join(missing)} of"
        raise InputError(f"prior {said} {', '.join(known)}. Pass (least, greatest) for each of them.")
    rng = generator(key)
    drawn: dict[str, Any] = {"shared_noise": np.zeros(_PRIOR_DRAWS)}
    for name, ends in prior.items():
        read = arguments.reals(ends)
        if read is None or read.shape != (2,) or not (np.isfinite(read).all() and 0 <= read[0] <= read[1]):
            raise InputError(
                f"prior[{name!r}]={ends!r} must be (least, greatest), from 0 up. Pass for example (0.2, 0.5)."
            )
        share = rng.uniform(size=_PRIOR_DRAWS)
        logarithmic = name in law.linear and name != "E" and read[0] > 0
        drawn[name] = read[0] * (read[1] / read[0]) ** share if logarithmic else read[0] + (read[1] - read[0]) * share
    normal = rng.normal(size=_PRIOR_DRAWS)
    return Belief(
        law=law,
        objective=objective,
        level=level,
        groups=groups,
        parameters={name: drawn[name] for name in law.parameters},
        own=np.maximum(drawn["noise"], _LEAST_NOISE),
        shared=drawn["shared_noise"],
        errors=np.concatenate([normal, -normal]) / np.sqrt(np.mean(normal**2)),
        pilot=None,
    )


def grouped(belief: Belief, columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, int]:
    """Which group each run of the pilot (R,) and each other run (K,) errs with, and how many groups there are.

    Runs that share the column by which the pilot's groups go share a group, and where there are none yet, the law's
    first column, as `runs.read` has it; by any other mark every new run is a group of its own.
    """
    runs: Runs | None = belief.pilot.runs if belief.pilot else None
    count = len(next(iter(columns.values())))
    there = np.arange(len(runs)) if runs is not None else np.zeros(0, int)
    by = runs.group_by if runs is not None and runs.group is not None else belief.law.columns[0]
    if belief.groups is None or by not in belief.law.columns:
        if runs is not None and runs.group is not None:
            there = runs.group
        first = int(there.max()) + 1 if len(there) else 0
        return there, first + np.arange(count), first + count
    old = runs.columns[by] if runs is not None else np.zeros(0)
    logs = np.round(np.log(np.concatenate([old, columns[by]])) * 1e5).astype(int)
    index = np.unique(logs, return_inverse=True)[1]
    return index[: len(old)], index[len(old) :], int(index.max()) + 1
