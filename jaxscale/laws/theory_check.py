"""A fit held against what theory predicts from the dimension of the data and the smoothness of the target.

check = laws.against_theory(fit, d=10.0, d_interval=(9.0, 11.0))
check.exponents[0].agreement     # "consistent", "inconsistent" or "inconclusive"
check.delta                      # 1/α_D - 1/α_N, which theory fixes at 1 without d or β
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import arguments, theory
from jaxscale.errors import InputError
from jaxscale.laws.law import Law
from jaxscale.laws.results import STATIC, Fit, Interval, Quantity, check_fit, percentiles
from jaxscale.laws.runs import LOSS
from jaxscale.theory.ranges import Numbers

Agreement = Literal["consistent", "inconsistent", "inconclusive"]
Meeting = Literal["meet", "apart", "close"]

# Which exponent of theory a column's is, and the dimension that exponent implies.
_OF_COLUMN = {
    "n": (theory.data_exponent, theory.dimension_from_data_exponent),
    "D": (theory.data_exponent, theory.dimension_from_data_exponent),
    "N": (theory.model_exponent, theory.dimension_from_model_exponent),
    "C": (theory.compute_exponent, theory.dimension_from_compute_exponent),
}
# Of its width, how far an end of a bootstrap interval of 2000 draws moves from one bootstrap to another: three standard
# errors of a quantile at 2.5% of normal draws.
_REPEATS = 0.05
# Warnings that say the law does not describe the runs.
_OF_A_LAW_THAT_FAILS = {"residual_trend", "several_laws", "collinear_columns", "forecast_failed"}
_RIVAL_COLUMN = {"n": "n", "D": "n", "N": "N", "C": "C"}


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ExponentCheck:
    """One fitted exponent beside its prediction.

    Attributes:
      column, parameter: what the exponent is of, and what the law calls it.
      observed, predicted: `Quantity`.
      agreement: see `agreement`; "inconclusive" too where intervals are disjoint but the fit does not know its floor.
      floor_unknown: whether that is so. With E at the end of its range bootstrap intervals are too sure (Andrews 2000),
        and such a fit refutes nothing.
      law_fails: whether it is so since the law does not describe the runs: residuals follow a trend or a label, columns
        vary together, or forecasts of larger runs failed. No dimension is implied then.
      implied_dimension: the dimension at which theory predicts what was observed; NaN where it predicts that nowhere.
      rivals: what others predict, by name.
    """

    column: str = dataclasses.field(metadata=STATIC)
    parameter: str = dataclasses.field(metadata=STATIC)
    observed: Quantity
    predicted: Quantity
    agreement: Agreement = dataclasses.field(metadata=STATIC)
    floor_unknown: bool = dataclasses.field(metadata=STATIC)
    law_fails: bool = dataclasses.field(metadata=STATIC)
    implied_dimension: Quantity
    rivals: dict[str, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TheoryCheck:
    """A fit beside theory.

    Attributes:
      d, beta: as given, `Quantity`.
      exponents: one entry for each exponent of the law that theory speaks of.
      delta: 1/α_D - 1/α_N with its interval, for a law that has both exponents; else None.
      cross_entropy: the bracket of data exponents for losses in cross-entropy.
      limits: what to print next to every prediction.
    """

    d: Quantity
    beta: Quantity
    exponents: tuple[ExponentCheck, ...]
    delta: Quantity | None
    cross_entropy: theory.Bracket
    limits: tuple[str, ...] = dataclasses.field(default=theory.LIMITS, metadata=STATIC)


def against_theory(
    fitted: Fit,
    d: float,
    d_interval: Sequence[float] | None = None,
    beta: float = 1.0,
    beta_interval: Sequence[float] | None = None,
) -> TheoryCheck:
    """Compares every exponent of a fit with its prediction at dimension d and smoothness β (Havrilla & Liao 2024).

    Args:
      fitted: of a law with an irreducible loss: exponents fitted without one come out several times too small, and are
        refused.
      d, d_interval: intrinsic dimension of the data and its interval; exact where None.
      beta, beta_interval: Hölder smoothness of the target, in (0, 1], and its interval.

    Raises:
      InputError: for a law without irreducible loss or without an exponent of n, D, N or C, or a value out of range.
    """
    check_fit("fitted", fitted)
    if fitted.target != LOSS:
        raise InputError(f"fitted is of {fitted.target!r}, and theory speaks of the loss. Pass a fit of the loss.")
    spoken_of, given_d, given_beta = checked_prediction(fitted.law, d, d_interval, beta, beta_interval, fitted.fixed)
    (d, d_interval), (beta, beta_interval) = given_d, given_beta
    return TheoryCheck(
        d=given_d,
        beta=given_beta,
        exponents=tuple(
            _check(fitted, column, name, d, d_interval, beta, beta_interval) for column, name in spoken_of.items()
        ),
        delta=_delta(fitted, spoken_of),
        cross_entropy=theory.cross_entropy_bracket(d, beta),
    )


def checked_prediction(
    law: Law,
    d: float,
    d_interval: Sequence[float] | None = None,
    beta: float = 1.0,
    beta_interval: Sequence[float] | None = None,
    held: Collection[str] = (),
) -> tuple[dict[str, str], Quantity, Quantity]:
    """What there is to compare: the exponents by column, d and β as `Quantity`; for checks before anything is fitted.

    Exponents that are `held` were not observed.

    Raises:
      InputError: as `against_theory`.
    """
    if not law.has_floor:
        raise InputError(
            f"law {law.name!r} has no irreducible loss E, and exponents fitted without one are several times too small "
            "to compare with theory. Fit a law with E, such as 'data' or 'chinchilla'."
        )
    spoken_of = {column: name for column, name in law.exponents.items() if column in _OF_COLUMN and name not in held}
    if not spoken_of:
        free = " that is not held" if held else ""
        raise InputError(f"law {law.name!r} has no exponent of n, D, N or C{free}. Theory predicts those only.")
    d, beta = arguments.real("d", d, 8.0), arguments.real("beta", beta, 1.0)
    d_interval = _ends("d_interval", (d, d) if d_interval is None else d_interval)
    beta_interval = _ends("beta_interval", (beta, beta) if beta_interval is None else beta_interval)
    theory.exponent_interval(theory.data_exponent, d, d_interval, beta, beta_interval)
    return spoken_of, Quantity(d, d_interval), Quantity(beta, beta_interval)


def _ends(name: str, interval: Sequence[float]) -> Interval:
    """Two numbers; their order and range are checked where the prediction is made."""
    ends = arguments.reals(interval)
    if ends is None or ends.shape != (2,):
        raise InputError(f"{name}={interval!r} must be two numbers, (lower, upper).")
    return Interval(*map(float, ends))


def agreement(
    exponent: Callable[..., Numbers],
    observed: Interval,
    d: float,
    d_interval: Sequence[float],
    beta: float = 1.0,
    beta_interval: Sequence[float] | None = None,
) -> Agreement:
    """Compares an observed interval with those that theory predicts at d, at half of d and at twice d.

    Returns:
      "inconsistent" where the intervals of observation and prediction are apart; "consistent" where they meet and the
      observation could have refuted another dimension, half or twice d; else "inconclusive", also where the ends of
      intervals are too close to say whether they meet (`meeting`).
    """
    d, (low, high) = arguments.real("d", d, 8.0), _ends("d_interval", d_interval)
    observed = _ends("observed", observed)
    at: Callable[[float], tuple[float, float]] = lambda factor: theory.exponent_interval(
        exponent, factor * d, (factor * low, factor * high), beta, beta_interval
    )
    here, half, twice = (meeting(observed, at(factor)) for factor in (1.0, 0.5, 2.0))
    if here == "apart":
        return "inconsistent"
    return "consistent" if (here, half, twice) == ("meet", "apart", "apart") else "inconclusive"


def meeting(observed: Interval, predicted: Sequence[float]) -> Meeting:
    """Whether two intervals "meet" or are "apart"; "close" where another bootstrap might say otherwise."""
    gap = max(observed[0] - predicted[1], predicted[0] - observed[1])  # below 0 where they overlap
    if abs(gap) <= _REPEATS * (observed[1] - observed[0]) and observed[0] < observed[1]:
        return "close"
    return "apart" if gap > 0 else "meet"


def _check(
    fitted: Fit,
    column: str,
    name: str,
    d: float,
    d_interval: Sequence[float],
    beta: float,
    beta_interval: Sequence[float],
) -> ExponentCheck:
    exponent, dimension = _OF_COLUMN[column]
    observed = fitted.quantity(lambda p: p[name])
    predicted = Quantity(
        float(exponent(d, beta)), Interval(*theory.exponent_interval(exponent, d, d_interval, beta, beta_interval))
    )
    said: Agreement = "inconclusive"
    if fitted.draws:
        said = agreement(exponent, observed.interval, d, d_interval, beta, beta_interval)
    codes = dict(fitted.warnings)
    floor_unknown = said == "inconsistent" and "irreducible_loss_not_identified" in codes
    implied = lambda p: _implied(dimension, p[name], beta)
    found = ExponentCheck(
        column=column,
        parameter=name,
        observed=observed,
        predicted=predicted,
        agreement="inconclusive" if floor_unknown else said,
        floor_unknown=floor_unknown,
        law_fails=False,
        implied_dimension=_finite_quantity(fitted, implied),
        rivals={title: float(predict(d)) for of, title, predict in theory.OVERLAYS if of == _RIVAL_COLUMN[column]},
    )
    return _failed(found) if codes.keys() & _OF_A_LAW_THAT_FAILS else found


def without_trust(check: TheoryCheck) -> TheoryCheck:
    """A check of a fit whose forecasts failed: nothing is refuted by it, and no dimension implied."""
    return dataclasses.replace(check, exponents=tuple(map(_failed, check.exponents)))


def _failed(check: ExponentCheck) -> ExponentCheck:
    nothing = Quantity(np.nan, Interval(np.nan, np.nan))
    said = "inconclusive" if check.agreement == "inconsistent" else check.agreement
    return dataclasses.replace(check, agreement=said, law_fails=True, implied_dimension=nothing)


def _implied(dimension: Callable[..., Numbers], alpha: np.typing.ArrayLike, beta: float) -> Any:
    """The dimension each exponent implies; NaN beyond 1, where some exponents never are, and infinite at 0."""
    alpha = np.asarray(alpha, float)
    possible = (alpha > 0) & ((alpha < 1) | (dimension is theory.dimension_from_model_exponent))
    return np.where(possible, dimension(np.where(possible, alpha, 0.5), beta), np.where(alpha > 0, np.nan, np.inf))[()]


def _finite_quantity(fitted: Fit, of: Callable[[Mapping[str, Any]], Any]) -> Quantity:
    """As `Fit.quantity`, over the draws that have a value."""
    estimate = of(fitted.parameters)
    if not fitted.draws:
        return Quantity(estimate, Interval(np.nan, np.nan))
    draws = np.asarray(of(fitted.draws))
    draws = draws[np.isfinite(draws)]
    return Quantity(estimate, percentiles(draws, fitted.level) if len(draws) else Interval(np.nan, np.nan))


def _delta(fitted: Fit, spoken_of: Mapping[str, str]) -> Quantity | None:
    data = spoken_of.get("D", spoken_of.get("n"))
    model = spoken_of.get("N")
    if data is None or model is None:
        return None
    positive: Callable[[np.ndarray], np.ndarray] = lambda alpha: np.maximum(alpha, 1e-12)
    return fitted.quantity(lambda p: theory.consistency(positive(p[data]), positive(p[model])))
