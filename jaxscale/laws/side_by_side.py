"""A law fitted to each part of a table, and whether the parts share its exponents.

each = laws.fit_each(table, "dataset", "chinchilla", key=key)
each.fits["c4"].parameters["alpha"], each.tests[0].p_value
print(each.sentence)      # The exponents differ by dataset (Wald test, …, p = 0.003).
"""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.errors import InputError
from jaxscale.laws.diagnosis import exponents
from jaxscale.laws.fitting import fit
from jaxscale.laws.law import Law
from jaxscale.laws.minimize import Progress, named_progress
from jaxscale.laws.results import STATIC, Fit
from jaxscale.laws.runs import Table, TableRows, columns_of
from jaxscale.page.numerals import interval
from jaxscale.page.numerals import number as written

SIGNIFICANT = 0.05
_MOST_PARTS = 20
_SAME = 1e-6  # exponents that differ by less, relatively, are one: tables without noise have intervals without width


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SharedExponents:
    """Whether the parts of a table can have the same exponents: a Wald test, by the covariance of the draws.

    Q = Σ (a_k - a)ᵀ V_k⁻¹ (a_k - a) over the parts k, with a the mean weighted by V_k⁻¹, is χ² of (K - 1) P degrees of
    freedom where all K parts share the P exponents.

    Attributes:
      exponents: which parameters, P of them.
      statistic: Q.
      freedom: (K - 1) P.
      p_value: how often exponents that are the same look at least as different.
      shared: the one value of each that fits all parts best.
    """

    exponents: tuple[str, ...] = dataclasses.field(metadata=STATIC)
    statistic: float
    freedom: int
    p_value: float
    shared: dict[str, float]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SideBySide:
    """Fits of one law to the parts of a table.

    Attributes:
      by: the column by whose values the table was parted.
      fits: a `Fit` for each value.
      tests: whether they share all exponents, and where there are several also each; () for fits without draws.
      sentence: the answer.
    """

    by: str = dataclasses.field(metadata=STATIC)
    fits: dict[str, Fit]
    tests: tuple[SharedExponents, ...]
    sentence: str = dataclasses.field(metadata=STATIC)


def fit_each(
    table: Table,
    by: str,
    law: str | Law = "data",
    *,
    key: jax.Array | int | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> SideBySide:
    """Fits a law to the rows of each value of a column, and tests whether the exponents differ.

    Args:
      table: as `laws.fit` takes it.
      by: the column whose values part the table.
      law: a name that `laws.named` knows, or a `Law`.
      key: a JAX random key, or an int for `jax.random.key`. Needed unless `resamples` is 0; each part has its own.
      progress: as in `laws.fit`, what is under way with the name of its part before it.
      options: as `laws.fit` takes them.

    Raises:
      InputError: for a column that is not there, has one value only or more than 20, or a part that cannot be fitted.
    """
    columns = columns_of(table, (by,))
    labels = np.array([_label(cell) for cell in columns[by]], dtype=object)
    values = parts_of(table, by)
    if not 2 <= len(values) <= _MOST_PARTS:
        told = f"only the value {values[0]!r}" if len(values) == 1 else f"{len(values)} values"
        distinct = {name: len({_label(cell) for cell in cells} - {None}) for name, cells in columns.items()}
        few = [name for name, count in distinct.items() if 2 <= count <= _MOST_PARTS]
        raise InputError(
            f"by={by!r}: the column has {told}; a fit for each needs 2 to {_MOST_PARTS}. "
            f"Columns with as many: {', '.join(few) or 'none'}. Name one: --by {few[0] if few else 'COLUMN'}"
        )
    if key is not None:
        key = random_key("key", key)
    fits = {}
    for place, value in enumerate(values):
        rows = np.flatnonzero(labels == value)
        part = {name: cells[rows] for name, cells in columns.items()}
        try:
            own = None if key is None else jax.random.fold_in(key, place)
            fits[value] = fit(part, law, key=own, progress=named_progress(progress, value), **options)
        except InputError as error:
            said = f"{by}={value}: {str(error).rstrip('.')}"
            raise InputError(f'{said}; or leave it out: --where "{by} != {value!r}"') from None
    found = tuple(_tests(list(fits.values())))
    return SideBySide(by, fits, found, _sentence(by, fits, found))


def parts_of(table: Table, by: str) -> list[str]:
    """The values of a column by which a table is parted, in the order in which they appear."""
    labels = map(_label, columns_of(table, (by,))[by])
    return [value for value in dict.fromkeys(labels) if value is not None]


def findings(table: Table) -> tuple[tuple[str, str], ...]:
    """What is to be known of how a table was read, which no part of it says again."""
    return table.findings if isinstance(table, TableRows) else ()


def _label(cell: Any) -> str | None:
    """A cell as the name of a part; None for what is missing."""
    if cell is None or cell == "" or cell != cell:
        return None
    return f"{cell:.12g}" if isinstance(cell, float) else str(cell)


def _tests(fits: list[Fit]) -> Iterator[SharedExponents]:
    if not all(one.draws for one in fits):
        return
    names = exponents(fits[0])
    yield shared_exponents(fits, names)
    if len(names) > 1:
        yield from (shared_exponents(fits, [name]) for name in names)


def shared_exponents(fits: list[Fit], names: list[str]) -> SharedExponents:
    """Whether fits with draws share some parameters."""
    from scipy import stats

    estimates = np.array([[one.parameters[name] for name in names] for one in fits])  # (K, P)
    least = np.square(_SAME * np.maximum(np.abs(estimates), _SAME))
    spread = [np.atleast_2d(np.cov([one.draws[name] for name in names])) for one in fits]
    weights = np.array([np.linalg.pinv(of_fit + np.diag(floor)) for of_fit, floor in zip(spread, least, strict=True)])
    mean = np.linalg.pinv(weights.sum(0)) @ np.einsum("kpq,kq->p", weights, estimates)
    off = estimates - mean
    statistic = float(np.einsum("kp,kpq,kq->", off, weights, off))
    freedom = (len(fits) - 1) * len(names)
    shared = {name: float(value) for name, value in zip(names, mean, strict=True)}
    return SharedExponents(tuple(names), statistic, freedom, float(stats.chi2.sf(statistic, freedom)), shared)


def p_value_written(p_value: float) -> str:
    """`p = 0.0123`, or that it is less than can be told."""
    return "p < 0.0001" if p_value < 1e-4 else f"p = {p_value:.2g}"


def _sentence(by: str, fits: dict[str, Fit], tests: tuple[SharedExponents, ...]) -> str:
    names = exponents(next(iter(fits.values())))
    said = []
    for name in names:
        each = (
            f"{written(one.parameters[name])}{f' {interval(one.intervals[name])}' if one.intervals else ''} at {value}"
            for value, one in fits.items()
        )
        said.append(f"{name} is {', '.join(each)}.")
    if not tests:
        return " ".join([*said, "Without draws there is no test of whether they differ: --resamples 2000."])
    whole = tests[0]
    what = "the exponents differ" if len(names) > 1 else f"{names[0]} differs"
    how = (
        f"Wald test, χ² = {whole.statistic:.3g} with {whole.freedom} degree{'s' * (whole.freedom > 1)} of freedom, "
        f"{p_value_written(whole.p_value)}"
    )
    if whole.p_value < SIGNIFICANT:
        said.append(f"{what.replace('the', 'The')} by {by} ({how}).")
    else:
        shared = ", ".join(f"{name} = {written(value)}" for name, value in whole.shared.items())
        said.append(f"The runs do not show that {what} by {by} ({how}); one value for all would be {shared}.")
    if len(tests) > 1:
        alone = ", ".join(f"{one.exponents[0]} {p_value_written(one.p_value)}" for one in tests[1:])
        said.append(f"One by one: {alone}.")
    unknown = [
        value for value, one in fits.items() if any(c == "irreducible_loss_not_identified" for c, _ in one.warnings)
    ]
    if unknown:
        said.append(
            f"The irreducible loss of {', '.join(unknown)} is not identified, and the exponents depend on it: a "
            "difference may be one of the floors."
        )
    return " ".join(said)
