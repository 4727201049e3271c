"""What a fit is asked: the loss of a run not yet trained, and how to split a budget.

answer = predict_run(fit, {"N": 7e9, "D": 2e12}, key=key)
answer.loss, answer.new_run         # the expected loss with its interval; where one run should lie
answer.sentence
split_budget(fit, [1e24]).valley    # the sizes whose loss is within 0.1% of the best
"""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.bootstrap import linearized
from jaxscale.laws.compute_optimal import Frontier, checked_budgets, frontier, loss_on_budget
from jaxscale.laws.flops import FLOPS, PLAIN, FlopCount
from jaxscale.laws.law import Law
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import STATIC, Fit, Interval, Quantity, check_fit, percentiles
from jaxscale.laws.runs import Finding, derived, sources_of

_UNITS = {"": 1.0, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_NUMBER = re.compile(r"^\s*([-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-z]?)\s*$")
_ROUNDING = 1e-6
_LARGEST_SHIFT = 3.0  # of a log loss, so that a far Student tail cannot overflow
_VALLEY_REACH = 30.0  # of the search for its ends, in logarithms of N
_BISECTIONS = 60
_FEWEST_NEW_RUNS = 20_000  # behind an interval
_MOST_ALIKE = 1e10  # condition of the equations for both parts of a variance


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prediction:
    """The loss at sizes that need not have been trained.

    Attributes:
      columns: the sizes, by column of the law.
      loss: `Quantity`, the expected loss: the curve.
      new_run: `Interval` of a single new run, which has noise of its own, and where runs share a group the error that
        a new group has.
      beyond: how many times past the largest run each column is, below 1 how far below the smallest; only those that
        are. A law of N and D has C = 6 N D among them.
      level: of both intervals.
    """

    columns: dict[str, float]
    loss: Quantity
    new_run: Interval
    beyond: dict[str, float]
    level: float = dataclasses.field(metadata=STATIC)

    @property
    def sentence(self) -> str:
        """Whether that is an extrapolation, and how far."""
        if not self.beyond:
            return "Within the range of the runs."
        past = [
            f"{name} is {ratio:.3g} times past the largest" if ratio > 1 else f"{name} is {ratio:.3g} of the smallest"
            for name, ratio in self.beyond.items()
        ]
        return f"An extrapolation: {', '.join(past)}."


def predict_run(fitted: Fit, sizes: Mapping[str, float], *, key: jax.Array | int) -> Prediction:
    """The expected loss at sizes with its interval, and the interval of one new run there.

    Args:
      fitted: a fit; without resamples there are no intervals.
      sizes: a number for each column of the law, {"N": 7e9, "D": 2e12}; C, D, N and M = D/N are computed from one
        another as in a table.
      key: a JAX random key, or an int for `jax.random.key`. Of the noise of the new run.

    Raises:
      InputError: for a column that is missing or unknown, or a number that is not positive.
    """
    check_fit("fitted", fitted)
    key = arguments.random_key("key", key)
    columns = checked_sizes(fitted.law, sizes)
    at = tuple(columns.values())
    loss = Quantity(float(fitted.predict(*at)), Interval(np.nan, np.nan))
    new_run = Interval(np.nan, np.nan)
    if fitted.draws:
        curve = np.asarray(fitted.law.losses(fitted.draws, *at), float)
        loss = Quantity(loss.estimate, Interval(*map(float, percentiles(curve, fitted.level))))
        new_run = Interval(*map(float, percentiles(_new_runs(fitted, curve, key), fitted.level)))
    return Prediction(columns, loss, new_run, dict(_beyond(fitted, columns)), fitted.level)


def parse_sizes(text: str) -> dict[str, float]:
    """Sizes by column from "N=7B,D=2T".

    Raises:
      InputError: for anything else.
    """
    found: dict[str, float] = {}
    for part in str(text).split(","):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or name.strip() in found:
            raise InputError(f"predict={text!r} is not COLUMN=NUMBER,…, each column once. Pass for example N=7B,D=2T.")
        found[name.strip()] = parse_number("predict", value)
    return found


def parse_number(name: str, text: str) -> float:
    """A positive number with or without a unit of K, M, B or G, T: "7B", "1e24", "1.5e3M"; for the argument `name`.

    Raises:
      InputError: for anything else.
    """
    match = _NUMBER.match(str(text))
    unit = _UNITS.get(match[2].upper()) if match else None
    value = float(match[1]) * unit if match and unit else 0.0
    if not (0 < value < np.inf):
        raise InputError(f"{name}={text!r} is not a positive number. Pass one such as 7B, 1.5T or 1e24 (K M B G T).")
    return value


def checked_sizes(law: Law, sizes: Mapping[str, float]) -> dict[str, float]:
    """A number for each column of the law; for checks before anything is fitted.

    Raises:
      InputError: as `predict_run`.
    """
    if not isinstance(sizes, Mapping):
        raise InputError(f"sizes={sizes!r} is no mapping. Pass for example {{'N': 7e9, 'D': 2e12}}.")
    given = {str(name): arguments.real(str(name), value, 7e9) for name, value in sizes.items()}
    columns: dict[str, float] = {}
    for name in law.columns:
        value = given.get(name, derived(name, given))
        if value is None:
            raise InputError(
                f"sizes={', '.join(given) or 'none'} lack {name}, which law {law.name!r} reads. Pass "
                f"{','.join(f'{column}=NUMBER' for column in law.columns)}."
            )
        columns[name] = float(value)
    used = set(columns) | {source for name in columns if name not in given for source in sources_of(name)}
    unknown = [name for name in given if name not in used]
    if unknown:
        raise InputError(f"sizes={', '.join(unknown)} is no column of law {law.name!r}. Pass {', '.join(law.columns)}.")
    law.checked_columns(tuple(columns.values()))
    return columns


def _beyond(fitted: Fit, columns: Mapping[str, float]) -> Iterator[tuple[str, float]]:
    ranges: dict[str, np.ndarray] = dict(fitted.runs.columns)
    at = dict(columns)
    if {"N", "D"} <= set(ranges) and "C" not in ranges:
        ranges["C"] = FLOPS * ranges["N"] * ranges["D"]
        at["C"] = FLOPS * at["N"] * at["D"]
    for name, values in ranges.items():
        if at[name] > values.max() * (1 + _ROUNDING):
            yield name, float(at[name] / values.max())
        elif at[name] < values.min() * (1 - _ROUNDING):
            yield name, float(at[name] / values.min())


@dataclasses.dataclass(frozen=True)
class _Scatter:
    """Errors of single runs about the curve, as `Fit.residuals` counts them, made up for what the curve followed."""

    center: float  # 0 but for the curve of a quantile other than 1/2
    deviations: np.ndarray  # (R,) from it, of runs like these
    freedom: float  # degrees of freedom of their size


def scatter(fitted: Fit) -> _Scatter:
    """The errors that new runs have about the curve: the fit's residuals, as large as before the curve followed them.

    A new run is in a new group and has both parts of the variance, its own and its group's.
    """
    task, runs, group = fitted.problem, len(fitted.runs), fitted.runs.group
    residual = np.asarray(fitted.residuals, float)
    center = 0.0 if fitted.objective.quantile == 0.5 else float(np.mean(residual))
    deviations = residual - center
    jacobian = linearized(task, fitted.search.z)[1]
    root = np.sqrt(task.weight)[:, None]
    own, shared = variances(deviations, jacobian, np.linalg.pinv(jacobian * root) * root.T, group)
    freedom = float(max(runs - task.free, 1))
    if shared > 0:
        groups = fitted.runs.groups
        # Satterthwaite's, of a sum of two estimates.
        doubt = own**2 / max(runs - groups, 1) + shared**2 / max(groups - task.free, 1)
        freedom = max((own + shared) ** 2 / doubt, 1.0)
    spread = np.mean(deviations**2)
    return _Scatter(center, deviations * np.sqrt((own + shared) / spread if spread > 0 else 0.0), freedom)


def variances(
    residual: np.ndarray, jacobian: np.ndarray, hat: np.ndarray, group: np.ndarray | None
) -> tuple[float, float]:
    """The variance σ² that each run has to itself, and τ² that the runs of a group share; neither below 0.

    For residuals r = M ε, M = I - J H, the expectations of r'r and of the squared sums of r over groups are linear in
    σ² and τ², and so give both. Without groups that is r'r / |M|², r'r / (R - P) in least squares.

    Args:
      residual: (R,).
      jacobian: J, (R, P).
      hat: H, (P, R), from errors to coordinates.
      group: (R,), or None.
    """
    runs = len(residual)
    squares = residual @ residual
    # |M|²; M itself would be (R, R).
    spare = runs - 2 * np.trace(hat @ jacobian) + np.sum((jacobian.T @ jacobian) * (hat @ hat.T))
    alone = float(squares / max(spare, 1.0)), 0.0
    if group is None:
        return alone
    member = np.eye(int(group.max()) + 1)[group]  # (R, G)
    by_group = member - jacobian @ (hat @ member)
    of_sums = member.T - (member.T @ jacobian) @ hat
    expected = np.array([[spare, np.sum(by_group**2)], [np.sum(of_sums**2), np.sum((member.T @ by_group) ** 2)]])
    seen = np.array([squares, np.sum((member.T @ residual) ** 2)])
    if np.linalg.cond(expected) > _MOST_ALIKE:  # a run to a group, or no run to spare
        return alone
    own, shared = np.linalg.solve(expected, seen)
    if shared <= 0:
        return alone
    return (float(own), float(shared)) if own > 0 else (0.0, float(squares / expected[0, 1]))


def _new_runs(fitted: Fit, curve: np.ndarray, key: jax.Array) -> np.ndarray:
    """Losses of new runs, several on every draw of the curve (B,)."""
    found, rng = scatter(fitted), generator(key)
    curve = np.tile(curve, max(_FEWEST_NEW_RUNS // len(curve), 1))
    student = np.sqrt(found.freedom / rng.chisquare(found.freedom, len(curve)))
    errors = found.center + rng.choice(found.deviations, len(curve)) * student
    if fitted.objective.residual == "log":
        errors = curve * -np.expm1(-np.clip(errors, -_LARGEST_SHIFT, _LARGEST_SHIFT))
    new: np.ndarray = curve - errors
    return new


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BudgetSplit:
    """How K budgets are best split.

    Attributes:
      flops: how compute is counted.
      best: `Frontier` of the budgets.
      valley: `Interval` of (K,), the sizes N whose loss at that budget is within `within` of the best; an end is
        infinite or 0 where the loss does not rise so far.
      beyond: (K,) how many times past the largest compute among the runs each budget is.
      within: relative.
      findings: (code, sentence) pairs of the count of FLOP.
    """

    flops: str = dataclasses.field(metadata=STATIC)
    best: Frontier
    valley: Interval
    beyond: np.ndarray
    within: float = dataclasses.field(metadata=STATIC)
    findings: tuple[Finding, ...] = dataclasses.field(metadata=STATIC)


def split_budget(
    fitted: Fit, compute: np.typing.ArrayLike, *, flops: FlopCount = PLAIN, within: float = 1e-3
) -> BudgetSplit:
    """The best N and D at budgets and their loss, with intervals, and how far from that N hardly anything is lost.

    Args:
      fitted: of a law that reads N and D and nothing else.
      compute: budgets in FLOP, a number or (K,).
      flops: what `count_flops` returns.
      within: how far above the best loss the valley reaches, relative.

    Raises:
      InputError: as `frontier`, or for `within` that is not positive.
    """
    within = arguments.real("within", within, 1e-3)
    if not 0 < within < np.inf:
        raise InputError(f"within={within} must be positive. Pass 0.001 for a tenth of a percent.")
    best = frontier(fitted, compute, flops)
    budgets = checked_budgets(compute)
    columns = fitted.runs.columns
    largest = np.max(flops.per_token(columns["N"]) * columns["D"])
    valley = _valley(fitted, best, budgets, flops, within)
    return BudgetSplit(flops.formula, best, valley, budgets / largest, within, flops.findings)


def _valley(fitted: Fit, best: Frontier, compute: np.ndarray, flops: FlopCount, within: float) -> Interval:
    """Where the loss crosses (1 + within) of the best, by bisection of log N to either side."""
    N = np.asarray(best.size.estimate, float)
    loss: Callable[[np.ndarray], np.ndarray] = lambda log_N: loss_on_budget(
        fitted, fitted.parameters, np.exp(log_N), compute, flops
    )
    limit = (1 + within) * np.asarray(best.loss.estimate)
    ends: list[Any] = []
    for side, none in ((-1.0, 0.0), (1.0, np.inf)):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            inside, outside = np.log(N), np.log(N) + side * _VALLEY_REACH
            rises = loss(outside) > limit
            for _ in range(_BISECTIONS):
                middle = (inside + outside) / 2
                below = loss(middle) <= limit
                inside, outside = np.where(below, middle, inside), np.where(below, outside, middle)
            ends.append(np.where(np.isfinite(N) & (N > 0), np.where(rises, np.exp(inside), none), np.nan))
    return Interval(*ends)
