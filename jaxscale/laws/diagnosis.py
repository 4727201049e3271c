"""What a reader must know before trusting a fit: each finding a code and one sentence."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np

from jaxscale.laws.results import Fit
from jaxscale.laws.runs import Finding

FEWEST_RELIABLE_SIZES = 5
FEWEST_RELIABLE_DECADES = 1.5
WIDEST_USEFUL_RATIO = 2.0
FEWEST_STARTS_AT_OPTIMUM = 0.05
LARGEST_GAIN = 1e-6
OUTLIER = 6.0  # robust standard deviations
_NAMED_OUTLIERS = 3
_SCALE_OF_MEDIAN = 1.4826  # from median absolute deviation to standard deviation, for normal errors


def findings(fit: Fit) -> tuple[Finding, ...]:
    """Every warning that applies, the gravest for the meaning of the parameters first."""
    checks = (
        _influence,
        _flatness,
        _bounds,
        _optimum,
        _widths,
        _outliers,
        _monotone,
        _sizes,
        _decades,
        _groups,
        _held,
    )
    return tuple(finding for check in checks for finding in check(fit)) + fit.runs.findings


def exponents(fit: Fit) -> list[str]:
    """The parameters a reader came for: exponents where the law names them, else all that are not linear."""
    named = dict.fromkeys(fit.law.exponents.values())
    return [name for name in named or fit.law.nonlinear if name in fit.parameters]


def _influence(fit: Fit) -> Iterator[Finding]:
    """The choice that moves an exponent furthest beyond its interval, one finding for each kind of choice."""
    if fit.influence is None:
        return
    codes = {
        "run": ("influential_run", "check or repeat that run"),
        "worst": ("influential_outliers", "a few runs decide; look at them first"),
        "small": ("influential_small_sizes", "the law may not hold down to these sizes"),
        "delta": ("depends_on_objective", "outliers or the shape of the errors decide"),
    }
    kinds = np.array(fit.influence.kinds)
    for kind, (code, remedy) in codes.items():
        worst: tuple[float, str, int] | None = None
        for name in exponents(fit):
            interval, values = fit.intervals[name], fit.influence.parameters[name]
            width, past = interval.upper - interval.lower, np.maximum(interval.lower - values, values - interval.upper)
            # Anything is infinitely far beyond an interval without width, which a table without noise has.
            beyond = past / width if width > 0 else np.where(past > 0, np.inf, 0.0)
            beyond = np.where((kinds == kind) & fit.influence.outside[name], beyond, -np.inf)
            if np.max(beyond) > (worst[0] if worst else -np.inf):
                worst = float(np.max(beyond)), name, int(np.argmax(beyond))
        if worst is None or worst[0] == -np.inf:
            continue
        _, name, place = worst
        low, high = fit.intervals[name]
        choice = fit.influence.choices[place]
        yield (
            code,
            f"{choice[0].upper()}{choice[1:]} {name} would be {fit.influence.parameters[name][place]:.3g}, outside its "
            f"interval {low:.3g} to {high:.3g}; {remedy}.",
        )


def _flatness(fit: Fit) -> Iterator[Finding]:
    """Parameters the runs do not determine: a likelihood-ratio test would not reject an end of their range."""
    threshold = NormalDist().inv_cdf((1 + fit.level) / 2) ** 2
    flat = {name for name, statistic in fit.flatness.items() if statistic < threshold}
    at_zero = {
        name
        for name, interval in fit.intervals.items()
        if name in fit.law.linear and name not in fit.fixed and interval.lower <= 1e-9 * abs(fit.parameters[name])
    }
    if "E" in flat | at_zero:
        reason = "holding it at 0 fits almost as well" if "E" in flat else "its interval reaches 0"
        yield (
            "irreducible_loss_not_identified",
            f"The irreducible loss is not identified ({reason}), and the exponents depend on it; train larger sizes.",
        )
    others = [name for name in fit.law.coordinates if name in flat | at_zero and name != "E"]
    if others:
        yield (
            "not_identified",
            f"The runs do not determine {', '.join(others)}: the end of the range, or no such term, fits almost as "
            "well. Add runs that vary more in that column, or fit a law with fewer parameters.",
        )


def _bounds(fit: Fit) -> Iterator[Finding]:
    state = fit.convergence
    if state.dead_terms:
        yield (
            "dead_term",
            f"The term of {', '.join(state.dead_terms)} contributes nothing, so its exponent means nothing; the loss "
            "does not fall along that column.",
        )
    alive = [name for name in state.at_bound if name != "E"]
    if alive and not state.dead_terms:
        ends = ", ".join(f"{name} = {float(fit.search.z[fit.law.coordinates.index(name)]):.3g}" for name in alive)
        yield "exponent_at_bound", f"{ends} lies at the end of its range; no such law fits."


def _optimum(fit: Fit) -> Iterator[Finding]:
    state = fit.convergence
    if state.stationarity > LARGEST_GAIN and fit.total > 1e-20 * len(fit.runs):
        yield (
            "not_stationary",
            f"One more step would lower the objective by a share of {state.stationarity:.1e}; this is not an optimum.",
        )
    if state.share_at_optimum < FEWEST_STARTS_AT_OPTIMUM:
        yield (
            "rare_optimum",
            f"{state.share_at_optimum:.1%} of {len(state.totals)} starts reached the best optimum; there are many, and "
            "a better one may have been missed.",
        )
    if state.unmoved:
        yield "unmoved", f"{', '.join(state.unmoved)} did not move from the start; the runs say nothing about it."


def _widths(fit: Fit) -> Iterator[Finding]:
    for name in exponents(fit):
        if name not in fit.intervals:
            continue
        low, high = fit.intervals[name]
        if high > WIDEST_USEFUL_RATIO * low:
            yield (
                "wide_interval",
                f"{name} is only known to lie between {low:.3g} and {high:.3g}; add sizes, decades or seeds.",
            )


def _outliers(fit: Fit) -> Iterator[Finding]:
    size = np.abs(fit.residuals - np.median(fit.residuals))
    spread = _SCALE_OF_MEDIAN * np.median(size)
    far = np.flatnonzero(size > OUTLIER * spread) if spread > 1e-9 else np.array([], int)
    # Robust errors have long tails; a tenth of all runs is a different distribution rather than outliers.
    if not len(far) or len(far) > 0.1 * len(size) + 1:
        return
    worst = far[np.argsort(-size[far])][:_NAMED_OUTLIERS]
    listed = ", ".join(f"{fit.runs.names[i]} ({100 * np.expm1(-fit.residuals[i]):+.2g}%)" for i in worst)
    more = f" and {len(far) - len(worst)} more" if len(far) > len(worst) else ""
    yield "outlier_runs", f"Far from the curve: {listed}{more}; check how they were trained."


def _monotone(fit: Fit) -> Iterator[Finding]:
    if len(fit.runs.columns) > 1 or not fit.law.exponents:
        return
    ((column, values),) = fit.runs.columns.items()
    index = fit.runs.size_index(column)
    mean_loss = np.bincount(index, fit.runs.loss) / np.bincount(index)
    rises = np.diff(mean_loss)
    if (rises <= 0).all():
        return
    sizes = values[np.unique(index, return_index=True)[1]]
    worst = int(np.argmax(rises))
    yield (
        "non_monotone",
        f"The mean loss rises from {mean_loss[worst]:.4g} at {column}={sizes[worst]:.4g} to {mean_loss[worst + 1]:.4g} "
        f"at {column}={sizes[worst + 1]:.4g}; a power law cannot.",
    )


def _sizes(fit: Fit) -> Iterator[Finding]:
    for column in fit.runs.columns:
        sizes = int(fit.runs.size_index(column).max()) + 1
        if sizes < FEWEST_RELIABLE_SIZES:
            yield (
                "few_sizes",
                f"With {sizes} distinct values of {column} little is left to estimate the noise; use 7 or more.",
            )


def _decades(fit: Fit) -> Iterator[Finding]:
    for column, values in fit.runs.columns.items():
        decades = float(np.log10(values.max() / values.min()))
        if decades < FEWEST_RELIABLE_DECADES:
            yield (
                "few_decades",
                f"The values of {column} span {decades:.2g} decades; an exponent needs {FEWEST_RELIABLE_DECADES} or "
                "more.",
            )


def _groups(fit: Fit) -> Iterator[Finding]:
    if fit.runs.group is not None or len(fit.runs.columns) > 1:
        return
    (column,) = fit.runs.columns
    if fit.runs.size_index(column).max() + 1 == len(fit.runs):
        yield (
            "one_run_per_size",
            "No two runs share a size, so their noise is seen only as scatter about the curve, and an error of the "
            "law's form would pass for noise; repeat some sizes with other seeds.",
        )


def _held(fit: Fit) -> Iterator[Finding]:
    if not fit.fixed:
        return
    values = ", ".join(f"{name} = {float(value):.4g}" for name, value in fit.fixed.items())
    them, their = ("it", "its value") if len(fit.fixed) == 1 else ("them", "their values")
    yield (
        "held_parameters",
        f"{values} {'was' if len(fit.fixed) == 1 else 'were'} held: everything else is conditional on {their}, and "
        f"intervals do not hold the doubt about {them}.",
    )
