"""What a reader must know before trusting a fit: each finding a code and one sentence."""

import numpy as np

from jaxscale.laws.projection import EXPONENT_RANGE
from jaxscale.laws.table import Runs

FEWEST_RELIABLE_SIZES = 5
FEWEST_RELIABLE_DECADES = 1.5
WIDEST_USEFUL_RATIO = 2.0

Finding = tuple[str, str]


def findings(runs: Runs, column: str, parameters, intervals, flat_floor: bool, exponent_without) -> tuple[Finding, ...]:
    """Every warning that applies, the gravest for the meaning of the exponent first.

    Args:
      runs: the table.
      column: what its sizes are called.
      parameters: estimates by name.
      intervals: (lower, upper) by name.
      flat_floor: whether the objective hardly rises when the irreducible loss is held at 0.
      exponent_without: the exponent fitted without each run, (R,); NaN where that leaves too few sizes.
    """
    found = (
        _floor(intervals["irreducible_loss"], runs, flat_floor),
        _bound(parameters),
        _width(intervals["exponent"]),
        _influence(runs, parameters["exponent"], intervals["exponent"], exponent_without),
        _monotone(runs, column),
        _sizes(runs, column),
        _decades(runs, column),
    )
    return tuple(finding for finding in found if finding is not None)


def _floor(interval, runs: Runs, flat_floor: bool) -> Finding | None:
    reaches_zero = interval[0] <= 1e-9 * runs.loss.min()
    if not (reaches_zero or flat_floor):
        return None
    reason = "its interval reaches 0" if reaches_zero else "holding it at 0 fits almost as well"
    return (
        "irreducible_loss_not_identified",
        f"The irreducible loss is not identified ({reason}), and the exponent depends on it; train larger sizes.",
    )


def _bound(parameters) -> Finding | None:
    low, high = EXPONENT_RANGE
    exponent = float(parameters["exponent"])
    if parameters["scale"] > 0 and low * (1 + 1e-6) < exponent < high * (1 - 1e-6):
        return None
    if parameters["scale"] > 0:
        sentence = f"The exponent {exponent:.3g} lies at the end of the range {low:g} to {high:g}; no power law fits."
    else:
        sentence = "The best curve is a constant, so the exponent means nothing; the loss does not fall with size."
    return "exponent_at_bound", sentence


def _width(interval) -> Finding | None:
    lower, upper = interval
    if upper <= WIDEST_USEFUL_RATIO * lower:
        return None
    return (
        "wide_interval",
        f"The exponent is only known to lie between {lower:.3g} and {upper:.3g}; add sizes, decades or seeds.",
    )


def _influence(runs: Runs, exponent, interval, exponent_without) -> Finding | None:
    shift = abs(exponent_without - exponent)
    # Without noise the interval is as narrow as rounding; a shift must be visible to count.
    outside = ((exponent_without < interval[0]) | (exponent_without > interval[1])) & (shift > 1e-6 * exponent)
    if not outside.any():
        return None
    worst = int(np.argmax(np.where(outside, shift, -np.inf)))
    return (
        "influential_run",
        f"Without {runs.names[worst]} the exponent would be {exponent_without[worst]:.3g}, outside its interval "
        f"{interval[0]:.3g} to {interval[1]:.3g}; check or repeat that run.",
    )


def _monotone(runs: Runs, column: str) -> Finding | None:
    index = runs.size_index
    mean_loss = np.bincount(index, runs.loss) / np.bincount(index)
    rises = np.diff(mean_loss)
    if (rises <= 0).all():
        return None
    sizes = np.unique(runs.size)
    worst = int(np.argmax(rises))
    return (
        "non_monotone",
        f"The mean loss rises from {mean_loss[worst]:.4g} at {column}={sizes[worst]:.4g} to {mean_loss[worst + 1]:.4g} "
        f"at {column}={sizes[worst + 1]:.4g}; a power law cannot.",
    )


def _sizes(runs: Runs, column: str) -> Finding | None:
    sizes = len(np.unique(runs.size))
    if sizes >= FEWEST_RELIABLE_SIZES:
        return None
    means = "runs are resampled as if independent" if sizes <= 3 else "little is left to estimate the noise"
    return "few_sizes", f"With {sizes} distinct values of {column} for 3 parameters {means}; use 7 or more."


def _decades(runs: Runs, column: str) -> Finding | None:
    decades = float(np.log10(runs.size.max() / runs.size.min()))
    if decades >= FEWEST_RELIABLE_DECADES:
        return None
    return (
        "few_decades",
        f"The values of {column} span {decades:.2g} decades; an exponent needs {FEWEST_RELIABLE_DECADES} or more.",
    )
