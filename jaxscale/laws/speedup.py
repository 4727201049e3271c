"""How much compute one recipe saves over another at equal loss, from the fits of both."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.flops import FLOPS
from jaxscale.laws.law import Values
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import STATIC, Fit, Quantity, check_fit, percentiles
from jaxscale.page.numerals import interval, number

_DECADES, _POINTS = 8.0, 257  # of budgets around the one asked for; beyond them a recipe never gets there
_REACH = 9.2  # of log N around that of as many parameters as tokens
_GOLDEN = (5**0.5 - 1) / 2
_SECTIONS = 40


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Speedup:
    """What recipe B saves over recipe A at the loss that A reaches with each of K budgets.

    Attributes:
      compute: (K,) budgets of A.
      loss: (K,) the best loss of A there.
      ratio: `Quantity` of (K,): the compute of A over that of B at equal loss, above 1 where B saves; 0 where B never
        reaches the loss.
      never: (K,) share of the draws in which B never does.
      column: what is saved: "C", or the column of a law of one column.
      level: of the intervals.
      sentences: one for each budget.
    """

    compute: np.ndarray
    loss: np.ndarray
    ratio: Quantity
    never: np.ndarray
    column: str = dataclasses.field(metadata=STATIC)
    level: float = dataclasses.field(metadata=STATIC)
    sentences: tuple[str, ...] = dataclasses.field(metadata=STATIC)


def effective_speedup(
    fit_a: Fit, fit_b: Fit, compute: np.typing.ArrayLike | None = None, *, key: jax.Array | int
) -> Speedup:
    """How many times less compute recipe B takes to the loss that recipe A reaches with a budget.

    Both spend their budgets best: along the frontier N*(C), D*(C) where the law reads N and D, else along its one
    column, so that a law in n says how many samples B saves. Draws of the two fits are independent, so those of one are
    paired with those of the other at random, and the interval is of their ratio. A budget far beyond the runs of either
    is an extrapolation of both.

    Args:
      fit_a, fit_b: with draws, of laws that read the same columns: N and D, or one.
      compute: budgets of A in FLOP (C = 6 N D), or values of the column, a number or (K,); the largest among the runs
        of A where None.
      key: a JAX random key, or an int for `jax.random.key`. Of the pairing.

    Raises:
      InputError: for fits without draws or of other columns, or budgets that are not positive.
    """
    check_fit("fit_a", fit_a)
    check_fit("fit_b", fit_b)
    key = arguments.random_key("key", key)
    columns = sorted(fit_a.law.columns)
    if columns != sorted(fit_b.law.columns) or (columns != ["D", "N"] and len(columns) > 1):
        raise InputError(
            f"fit_a reads {', '.join(fit_a.law.columns)} and fit_b {', '.join(fit_b.law.columns)}. Fit both to laws of "
            "N and D, or of one and the same column."
        )
    for name, fitted in (("fit_a", fit_a), ("fit_b", fit_b)):
        if not fitted.draws:
            raise InputError(f"{name} has no draws to make an interval from. Fit it with resamples=2000.")
    budgets = _budgets(fit_a, compute)
    order = generator(key)
    count = min(len(_first(fit_a.draws)), len(_first(fit_b.draws)))
    paired = [
        {name: values[chosen] for name, values in fitted.draws.items()}
        for fitted in (fit_a, fit_b)
        for chosen in [order.permutation(len(_first(fitted.draws)))[:count]]
    ]
    loss = _best(fit_a, fit_a.parameters)(budgets)
    estimate = _ratio(_best(fit_b, fit_b.parameters), loss, budgets)
    losses = _best(fit_a, paired[0])(np.broadcast_to(budgets, (count, len(budgets))))
    draws = _ratio(_best(fit_b, paired[1]), losses, np.broadcast_to(budgets, losses.shape))
    ends = percentiles(draws, fit_a.level)
    found = Speedup(
        compute=budgets,
        loss=loss,
        ratio=Quantity(estimate, ends),
        never=np.mean(draws == 0, axis=0),
        column="C" if columns == ["D", "N"] else columns[0],
        level=fit_a.level,
        sentences=(),
    )
    return dataclasses.replace(found, sentences=tuple(_sentence(found, k) for k in range(len(budgets))))


def _first(draws: Values) -> Any:
    return next(iter(draws.values()))


def _budgets(fitted: Fit, compute: np.typing.ArrayLike | None) -> np.ndarray:
    if compute is None:
        columns = fitted.runs.columns
        values = FLOPS * columns["N"] * columns["D"] if len(columns) > 1 else next(iter(columns.values()))
        return np.array([float(values.max())])
    budgets = arguments.reals(compute)
    if budgets is None or budgets.ndim > 1 or not (np.isfinite(budgets) & (budgets > 0)).all() or not budgets.size:
        raise InputError(f"compute={compute!r} must be positive and finite. Pass budgets in FLOP.")
    return np.atleast_1d(budgets)


def _best(fitted: Fit, parameters: Values) -> Callable[[np.ndarray], np.ndarray]:
    """The best loss at budgets (..., K), of parameters that are numbers or arrays (...)."""

    def losses(*columns: np.ndarray) -> np.ndarray:
        extra = columns[0].ndim - np.ndim(_first(parameters))
        spread = {name: np.asarray(value)[(...,) + (None,) * extra] for name, value in parameters.items()}
        return np.asarray(fitted.law.losses(spread, *columns))

    if len(fitted.law.columns) == 1:
        return losses
    first = fitted.law.columns.index("N")
    return lambda budgets: _lowest(
        lambda N: losses(*(N, budgets / FLOPS / N)[:: 1 if first == 0 else -1]), np.log(budgets / FLOPS)
    )


def _lowest(loss: Callable[[np.ndarray], np.ndarray], log_product: np.ndarray) -> np.ndarray:
    """The least loss along N D = exp(log_product), by golden section over eight decades of N."""
    low, high = 0.5 * log_product - _REACH, 0.5 * log_product + _REACH
    left, right = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    of_left, of_right = loss(np.exp(left)), loss(np.exp(right))
    for _ in range(_SECTIONS):
        keep = of_left < of_right
        low, high = np.where(keep, low, left), np.where(keep, right, high)
        new = np.where(keep, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        of_new = loss(np.exp(new))
        left, right = np.where(keep, new, right), np.where(keep, left, new)
        of_left, of_right = np.where(keep, of_new, of_right), np.where(keep, of_left, of_new)
    return np.asarray(np.minimum(of_left, of_right))


def _ratio(best: Callable[[np.ndarray], np.ndarray], loss: np.ndarray, budgets: np.ndarray) -> np.ndarray:
    """(..., K) budgets over the compute at which the best loss is `loss`; 0 where it never is.

    The best loss is tabulated at sixteen budgets a decade, and its logarithm taken as straight between two of them.
    """
    offsets = np.linspace(-_DECADES, _DECADES, _POINTS) * np.log(10)
    table = best(budgets[..., None] * np.exp(offsets))  # (..., K, offsets)
    past = np.minimum(np.argmax(table <= loss[..., None], axis=-1), _POINTS - 1)
    never = ~(table[..., -1] <= loss)
    at: Callable[[np.ndarray], np.ndarray] = lambda place: np.take_along_axis(table, place[..., None], -1)[..., 0]
    above, below = at(np.maximum(past - 1, 0)), at(past)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip(np.nan_to_num(np.log(above / loss) / np.log(above / below)), 0, 1)
    offset = offsets[np.maximum(past - 1, 0)] + share * (offsets[1] - offsets[0])
    return np.where(never, 0.0, np.exp(-offset))


def _sentence(found: Speedup, k: int) -> str:
    what, unit = ("compute", " FLOP") if found.column == "C" else (found.column, f" {found.column}")
    budget = f"{found.compute[k]:.3g}{unit}".replace("e+", "e")
    ratio, ends = float(found.ratio.estimate[k]), [float(end[k]) for end in found.ratio.interval]
    if ratio == 0:
        return f"By its fit recipe B never reaches the loss {number(float(found.loss[k]), 4)} of recipe A at {budget}."
    between = interval(ends) if np.isfinite(ends).all() else "no interval"
    if ends[0] > 1:
        said = f"saves {what}: it takes {number(ratio)} {between} times less"
    elif ends[1] < 1:
        more = interval([1 / ends[1], 1 / ends[0]]) if ends[0] > 0 else f"at least {number(1 / ends[1])}"
        said = f"costs {what}: it takes {number(1 / ratio)} {more} times more"
    else:
        said = f"may save {what} or not: A takes {number(ratio)} {between} times what B takes"
    return f"To the loss {number(float(found.loss[k]), 4)} that recipe A reaches with {budget}, recipe B {said}."
