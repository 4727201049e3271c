"""What a reader must know before trusting a fit: each finding a code and one sentence."""

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from scipy import special

from jaxscale.laws import misfit
from jaxscale.laws.results import Fit
from jaxscale.laws.runs import LOSS, Finding

FEWEST_RELIABLE_SIZES = 5
FEWEST_RELIABLE_DECADES = 1.5
WIDEST_USEFUL_RATIO = 2.0
FEWEST_STARTS_AT_OPTIMUM = 0.05
LARGEST_GAIN = 1e-6
FEWEST_DECADES_APART = 1 / 3  # of a column beside the others, below which nothing is known of its exponent
# Errors of a true law look like a misfit in this share of tables, over all columns together.
MISFIT = 0.01
OUTLIER = 0.02  # expected runs so far out, among as many
RISE = 4.0  # robust standard deviations of a run
_LIKELY = 1.92  # half of what χ² with one degree of freedom exceeds in 5%
_NAMED_OUTLIERS = 3
_SCALE_OF_MEDIAN = 1.4826  # from median absolute deviation to standard deviation, for normal errors


def findings(fit: Fit) -> tuple[Finding, ...]:
    """Every warning that applies, the gravest for the meaning of the parameters first."""
    together = list(_collinear(fit))
    # Where columns vary together their terms are one, and what would be said of each is said by that.
    of_terms = () if together else (_influence, _flatness, _bounds, _optimum, _widths)
    checks = (_trends, _labels, *of_terms, _outliers, _monotone, _sizes, _decades, _groups, _held)
    found = [*together, *(finding for check in checks for finding in check(fit))]
    return tuple(found) + fit.runs.findings


def exponents(fit: Fit) -> list[str]:
    """The parameters a reader came for: those that the law names, or its exponents, else all that are not linear."""
    named = dict.fromkeys(fit.law.headline or fit.law.exponents.values())
    return [name for name in named or fit.law.nonlinear if name in fit.parameters]


def _trends(fit: Fit) -> Iterator[Finding]:
    """Smooth trends of the residuals, which a law that holds does not leave."""
    for column in fit.runs.columns:
        test = misfit.trend(fit.problem, fit.search.z, fit.runs, column)
        if test.p < MISFIT / len(fit.runs.columns):
            yield (
                "residual_trend",
                f"The residuals follow a smooth trend along {column} of {_percent(test.size)} of the {fit.target} (F "
                f"test, p = {test.p:.1g}): this law does not describe these runs, so do not trust its exponents and "
                "forecasts. Compare other laws, or leave out the sizes where it fails.",
            )


def _labels(fit: Fit) -> Iterator[Finding]:
    """A column of labels whose runs lie on different curves."""
    for name, index in fit.runs.labels.items():
        test = misfit.levels(fit.problem, fit.search.z, fit.runs, index)
        if test.p < MISFIT / len(fit.runs.labels):
            yield (
                "several_laws",
                f"Runs that differ in {name} lie at different levels, {_percent(test.size)} of the {fit.target} apart "
                f"from one curve (F test, p = {test.p:.1g}). Fit each of them alone.",
            )


def _percent(size: float) -> str:
    return f"{100 * size:.2g}%"


def _collinear(fit: Fit) -> Iterator[Finding]:
    """Columns that vary together, such as runs at one ratio of D to N."""
    if len(fit.runs.columns) < 2:
        return
    logarithms = {name: np.log10(values) for name, values in fit.runs.columns.items()}
    for name, own in logarithms.items():
        others = np.stack([np.ones_like(own), *(x for other, x in logarithms.items() if other != name)], axis=1)
        slope = np.linalg.lstsq(others, own, rcond=None)[0]
        left = own - others @ slope
        if left.max() - left.min() < FEWEST_DECADES_APART:
            names = " and ".join(fit.runs.columns)
            yield (
                "collinear_columns",
                f"{names} vary together: of {name} only {left.max() - left.min():.2g} decades are its own. The runs "
                "cannot tell the terms apart, so their exponents and scales mean nothing, though the curve may fit. "
                f"Add runs at other ratios, or fit a law of one column, such as additive:{name}.",
            )
            return


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
        what = "irreducible loss" if fit.target == LOSS else f"floor E of the {fit.target}"
        yield (
            "irreducible_loss_not_identified",
            f"The {what} is not identified ({reason}), and the exponents depend on it; train larger sizes.",
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
            f"The term of {', '.join(state.dead_terms)} contributes nothing, so its exponent means nothing; the "
            f"{fit.target} does not fall along that column.",
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
        if name in fit.law.if_zero and low <= 0 <= high:
            yield _zero(fit, name)
            continue
        least, most = sorted((abs(low), abs(high)))
        if low <= 0 < high or most > WIDEST_USEFUL_RATIO * least:
            yield (
                "wide_interval",
                f"{name} is only known to lie between {low:.3g} and {high:.3g}; add sizes, decades or seeds.",
            )


def _zero(fit: Fit, name: str) -> Finding:
    """What it means that an exponent that may have either sign may be none."""
    low, high = fit.intervals[name]
    said = fit.law.if_zero[name].replace("{target}", fit.target)
    return (
        "zero_exponent",
        f"The interval of {name}, {low:.3g} to {high:.3g}, holds 0: the runs do not show that {said}.",
    )


def _outliers(fit: Fit) -> Iterator[Finding]:
    """Runs further from the curve than errors with tails as heavy as these would bring one."""
    size = np.abs(fit.residuals - np.median(fit.residuals))
    if np.median(size) <= 1e-9:
        return
    far = np.flatnonzero(_tail(size) * len(size) < OUTLIER)
    if not len(far):
        return
    worst = far[np.argsort(-size[far])][:_NAMED_OUTLIERS]
    listed = ", ".join(f"{fit.runs.names[i]} ({100 * np.expm1(-fit.residuals[i]):+.2g}%)" for i in worst)
    more = f" and {len(far) - len(worst)} more" if len(far) > len(worst) else ""
    yield "outlier_runs", f"Far from the curve: {listed}{more}; check how they were trained."


def _tail(size: np.ndarray) -> np.ndarray:
    """How likely each residual is to be as large as it is (R,), of Student's t fitted to all but the largest tenth.

    Of the tails that the others allow, at the 95% level, the heaviest is taken.
    """
    aside = max(1, len(size) // 10)
    cut = np.sort(size)[-aside]
    inner = size[size < cut]
    freedoms = np.array([1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 10.0, 30.0])
    scales = np.median(size) * np.geomspace(0.3, 4.0, 60)
    nu, scale = freedoms[:, None], scales[None, :]
    density = np.sum(np.log1p((inner / scale[..., None]) ** 2 / nu[..., None]), axis=-1)
    constant = special.gammaln((nu + 1) / 2) - special.gammaln(nu / 2) - 0.5 * np.log(nu)
    likelihood = len(inner) * (constant - np.log(scale)) - (nu + 1) / 2 * density
    likelihood += (len(size) - len(inner)) * np.log(special.stdtr(nu, -cut / scale))
    best = likelihood.max(axis=1)
    heaviest = int(np.argmax(best > best.max() - _LIKELY))
    chance: np.ndarray = 2 * special.stdtr(freedoms[heaviest], -size / scales[int(np.argmax(likelihood[heaviest]))])
    return chance


def _monotone(fit: Fit) -> Iterator[Finding]:
    if len(fit.runs.columns) > 1 or not fit.law.exponents:
        return
    ((column, values),) = fit.runs.columns.items()
    index = fit.runs.size_index(column)
    mean_loss = np.bincount(index, fit.runs.loss) / np.bincount(index)
    rises = np.diff(mean_loss)
    # Sizes may share errors: the mean of many runs is taken to be no better known than one.
    # Around a curve that does not fall residuals are no noise.
    noise = (
        (not fit.convergence.dead_terms)
        * RISE
        * _SCALE_OF_MEDIAN
        * float(np.median(np.abs(fit.residuals)))
        * mean_loss[1:]
    )
    if (rises <= noise).all():
        return
    sizes = values[np.unique(index, return_index=True)[1]]
    worst = int(np.argmax(rises - noise))
    yield (
        "non_monotone",
        f"The mean {fit.target} rises from {mean_loss[worst]:.4g} at {column}={sizes[worst]:.4g} to "
        f"{mean_loss[worst + 1]:.4g} at {column}={sizes[worst + 1]:.4g}; a power law cannot.",
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
        if decades < FEWEST_DECADES_APART and column in fit.law.exponents:
            yield (
                "not_identified",
                f"The runs do not determine {fit.law.exponents[column]}: the values of {column} span {decades:.2g} "
                "decades. Add runs over two decades or more.",
            )
        elif decades < FEWEST_RELIABLE_DECADES:
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
