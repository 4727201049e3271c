"""How to spend compute: the best model size and data at every budget, three ways, with intervals.

    frontier(fit, [1e21, 1e24])             # from a fitted law of N and D
    isoflop(table, key=key)                 # from the bottom of each budget's curve, with the bias of that stated
    envelope(table, key=key)                # from the lowest learning curve at every budget

Compute is C = 6 N D (Kaplan et al. 2020), or counted as `flops.count_flops` says.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.fitting import checked_level, fit
from jaxscale.laws.flops import FLOPS, PLAIN, FlopCount, count_flops
from jaxscale.laws.law import Law, Values
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import STATIC, Fit, Interval, Quantity, check_fit, percentiles
from jaxscale.laws.runs import LOSS, Finding, Table, columns_of, numbers
from jaxscale.theory import compute_split
from jaxscale.theory.ranges import Numbers

# Of log N and loss of a budget's runs, where its curve is lowest and how low.
Bottom = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
# The powers of C with which N*, D* and the reducible loss go.
Slopes = tuple[Numbers, Numbers, Numbers]

_SAME_BUDGET = 0.05  # budgets within this ratio are one
_WIDEST_BUDGET = 0.25  # what a chain of such budgets may come to
_FEWEST_ON_A_BUDGET = 4
_FEWEST_BUDGETS = 3
_OFF_CENTER = 0.4  # of the half range, beyond which a parabola's vertex is called off-center
_GRID = 513
_DRAWS = 500
_ENVELOPE_POINTS = 24
_REACH = 9.2  # of the search for a best size, in logarithms: a factor of ten thousand to either side of N = D
_AROUND = np.array([0.5, 2.0])  # one budget, between which its exponents are read
LAWS_OF_BOTH = ("chinchilla", "tied", "kaplan", "kaplan_floor", "skaling", "farseer")
_VISIBLE_BIAS = 0.005  # of an exponent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Frontier:
    """The best split of each of K budgets.

    Attributes:
      compute: (K,).
      size, data, loss, tokens_per_parameter: `Quantity` of (K,) at the best split.
      size_exponent, data_exponent, loss_exponent: `Quantity` of the powers of C with which N*, D* and the reducible
        loss go; over the range of `compute` where there is no single one.
    """

    compute: np.ndarray
    size: Quantity
    data: Quantity
    loss: Quantity
    tokens_per_parameter: Quantity
    size_exponent: Quantity
    data_exponent: Quantity
    loss_exponent: Quantity


def frontier(fitted: Fit, compute: np.typing.ArrayLike, flops: FlopCount = PLAIN) -> Frontier:
    """The best model size and data at budgets, from a fitted law of N and D, with intervals from the fit's draws.

    In closed form for E + A N^-α + B D^-β and a C that goes with D and a power of N (Hoffmann et al. 2022, equation 4),
    else by search along the N and D that a budget affords.

    Args:
      fitted: of a law that reads N and D and nothing else.
      compute: budgets in FLOP, a number or (K,).
      flops: what `count_flops` returns.

    Raises:
      InputError: for a law of other columns or a budget that is not positive.
    """
    check_fit("fitted", fitted)
    check_splits(fitted)
    compute = checked_budgets(compute)
    if not isinstance(flops, FlopCount):
        raise InputError(f"flops={flops!r} is no count of FLOP. Pass what laws.count_flops returns.")
    is_additive = {"A", "B", "alpha", "beta"} <= set(fitted.parameters) and "k" not in fitted.parameters
    closed = is_additive and flops.power is not None
    size: Callable[[Values], np.ndarray] = (
        (lambda p: _closed(p, compute, flops)) if closed else (lambda p: _searched(fitted, p, compute, flops))
    )
    slopes: Callable[[Values], Slopes] = (
        (lambda p: _powers(p, flops)) if closed else (lambda p: _local_powers(fitted, p, compute, flops))
    )
    wide: Callable[[Callable[[Values, np.ndarray], Numbers]], Quantity] = lambda of: _quantity(
        fitted, lambda p: of(p, size(p))
    )
    # Draws without a term put all compute into the other one: a split of 0 or infinity, or none where both are gone.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return _frontier(compute, wide, slopes, fitted, flops)


def check_law_of_both(law: Law) -> None:
    """Raises InputError unless the law reads N and D and nothing else, as what is to split a budget must."""
    if sorted(law.columns) != ["D", "N"]:
        raise InputError(
            f"law={law.name!r} reads {', '.join(law.columns)}, and a budget is split between N and D. Pass a law of "
            f"these two: {', '.join(LAWS_OF_BOTH)} or additive:N,D."
        )
    if law.linear == ("c",):
        raise InputError(
            f"law={law.name!r} is a product of powers, which has no best split of a budget. Pass a law of the loss: "
            f"{', '.join(LAWS_OF_BOTH)} or additive:N,D."
        )


def check_splits(fitted: Fit) -> None:
    """Raises InputError unless a fit can say how to split a budget: that of a loss, by a law of N and D."""
    check_law_of_both(fitted.law)
    if fitted.target != LOSS:
        raise InputError(
            f"fitted is of {fitted.target!r}, and a budget is split for the least loss. Pass a fit of the loss."
        )


def checked_budgets(compute: np.typing.ArrayLike) -> np.ndarray:
    """Budgets (K,), refused unless positive and finite."""
    budgets = arguments.reals(compute)
    if budgets is None or budgets.ndim > 1 or not (np.isfinite(budgets) & (budgets > 0)).all():
        raise InputError(f"compute={compute!r} must be positive and finite. Pass budgets in FLOP.")
    return np.atleast_1d(budgets)


def _frontier(
    compute: np.ndarray,
    wide: Callable[[Callable[[Values, np.ndarray], Numbers]], Quantity],
    slopes: Callable[[Values], Slopes],
    fitted: Fit,
    flops: FlopCount,
) -> Frontier:
    return Frontier(
        compute=compute,
        size=wide(lambda p, N: N),
        data=wide(lambda p, N: flops.tokens(N, compute)),
        loss=wide(lambda p, N: loss_on_budget(fitted, p, N, compute, flops)),
        tokens_per_parameter=wide(lambda p, N: flops.tokens(N, compute) / N),
        size_exponent=_quantity(fitted, lambda p: slopes(p)[0]),
        data_exponent=_quantity(fitted, lambda p: slopes(p)[1]),
        loss_exponent=_quantity(fitted, lambda p: slopes(p)[2]),
    )


def _quantity(fitted: Fit, of: Callable[[Values], Numbers]) -> Quantity:
    """As `Fit.quantity`, of functions that take parameters with a trailing axis for budgets."""
    spread: Callable[[Values], Values] = lambda values: {
        name: np.asarray(value)[..., None] for name, value in values.items()
    }
    estimate = np.asarray(of(spread(fitted.parameters)))
    if not fitted.draws:
        return Quantity(estimate, Interval(np.full_like(estimate, np.nan), np.full_like(estimate, np.nan)))
    return Quantity(estimate, percentiles(np.asarray(of(spread(fitted.draws))), fitted.level))


def _closed(p: Values, compute: np.ndarray, flops: FlopCount) -> np.ndarray:
    """For C = c N^s D: the minimum of A N^-α + B (c N^s / C)^β."""
    assert flops.power is not None
    c, s = flops.power
    total = p["alpha"] + s * p["beta"]
    balance = (p["alpha"] * p["A"] / (s * p["beta"] * p["B"])) ** (1 / total)
    size: np.ndarray = balance * (compute / c) ** (p["beta"] / total)
    return size


def loss_on_budget(fitted: Fit, p: Values, N: np.ndarray, compute: np.ndarray, flops: FlopCount) -> np.ndarray:
    """The loss at sizes N with all the tokens that a budget affords; N, compute and parameters broadcast."""
    columns = {"N": N, "D": flops.tokens(N, compute)}
    return np.asarray(fitted.law.losses(p, *(columns[name] for name in fitted.law.columns)))


def _equal_sizes(compute: np.ndarray, flops: FlopCount) -> np.ndarray:
    """log N at which every budget affords a token for each parameter, (K,), to a step of the search."""
    log_N = np.linspace(-40.0, 80.0, 4 * _GRID)[:, None]
    gap = np.log(flops.tokens(np.exp(log_N), compute)) - log_N  # falls in N
    place: np.ndarray = log_N[np.argmin(np.abs(gap), axis=0), 0]
    return place


def _searched(fitted: Fit, p: Values, compute: np.ndarray, flops: FlopCount) -> np.ndarray:
    """N of least loss at each budget: the lowest of a fine grid over eight decades, its parabola's vertex."""
    center = 0.5 * np.log(compute / FLOPS) if flops.is_plain else _equal_sizes(compute, flops)
    log_N = np.linspace(center - _REACH, center + _REACH, _GRID)  # (grid, K)
    spread = {name: np.asarray(value)[None] for name, value in p.items()}
    lead = (slice(None),) + (None,) * (np.ndim(next(iter(p.values()))) - 1)
    losses = loss_on_budget(fitted, spread, np.exp(log_N)[lead], compute, flops)  # (grid, ..., K)
    low = np.clip(np.argmin(losses, axis=0), 1, _GRID - 2)
    at: Callable[[np.ndarray], np.ndarray] = lambda place: np.take_along_axis(losses, place[None], 0)[0]
    left, middle, right = at(low - 1), at(low), at(low + 1)
    step = log_N[1, 0] - log_N[0, 0]
    shift = 0.5 * (left - right) / np.maximum(left - 2 * middle + right, 1e-300)
    size: np.ndarray = np.exp(log_N[0] + step * (low + np.clip(shift, -1, 1)))
    return size


def _powers(p: Values, flops: FlopCount) -> Slopes:
    assert flops.power is not None
    _, s = flops.power
    split = compute_split(p["alpha"][..., 0], s * p["beta"][..., 0])
    return split.size / s, split.data, split.loss / s


def _local_powers(fitted: Fit, p: Values, compute: np.ndarray, flops: FlopCount) -> Slopes:
    """Between the least and the largest budget; around one that is alone."""
    ends = np.array([compute.min(), compute.max()])
    ends = ends * _AROUND if ends[0] == ends[1] else ends
    size = _searched(fitted, p, ends, flops)
    loss = loss_on_budget(fitted, p, size, ends, flops) - np.asarray(p.get("E", 0.0))
    growth: Callable[[np.ndarray], np.ndarray] = lambda values: (
        np.log(values[..., 1] / values[..., 0]) / np.log(ends[1] / ends[0])
    )
    return growth(size), growth(flops.tokens(size, ends)), -growth(loss)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IsoFlop:
    """The best size of each budget, read from the runs of that budget alone.

    Attributes:
      method: "parabola" or "akima".
      flops: how compute is counted.
      compute: (K,) budgets.
      size, loss: (K,) where each budget's curve is lowest, and how low; NaN where its runs show no lowest size.
      size_interval: `Interval` of (K,), over runs redrawn within each budget.
      size_exponent: `Quantity` of the power of C with which N* grows.
      bias: what the method adds to the exponent: its own on the losses of the surface without noise, less that of
        the surface's best sizes at the same budgets.
      size_bias: (K,) the method's N* on those losses over the surface's.
      surface: `Frontier` of the law fitted to the same runs, at these budgets.
      findings: (code, sentence) pairs.
    """

    method: str = dataclasses.field(metadata=STATIC)
    flops: str = dataclasses.field(metadata=STATIC)
    compute: np.ndarray
    size: np.ndarray
    loss: np.ndarray
    size_interval: Interval
    size_exponent: Quantity
    bias: float
    size_bias: np.ndarray
    surface: Frontier
    findings: tuple[Finding, ...] = dataclasses.field(metadata=STATIC)


def isoflop(
    table: Table,
    method: Literal["akima", "parabola"] = "akima",
    *,
    key: jax.Array | int,
    level: float = 0.95,
    flops: str | None = None,
    surface: Fit | None = None,
    **options: Any,
) -> IsoFlop:
    """Approach 2 of Hoffmann et al. 2022: the bottom of each budget's curve of loss against log N, and a line.

    Parabolas are biased even without noise where the grid is off-center or the exponents differ (arXiv 2603.22339): the
    same procedure is therefore applied to the losses of a law fitted to these runs, whose best sizes are known, and the
    difference returned as `bias`.

    Args:
      table: with N, `loss`, and D or C. Runs whose C differ by less than 5% form a budget, and a chain of such runs of
        more than 25% several.
      method: "akima", the lowest point of an Akima spline through the mean loss of every size, or "parabola".
      key: a JAX random key, or an int for `jax.random.key`. Intervals redraw the runs within each budget.
      level: of the intervals.
      flops: what budgets are counted in, as `count_flops` takes it; where None the table's own C if it has that
        column, else 6 N D.
      surface: a fit of a law of N and D to these runs; the additive law is fitted where None.
      **options: for that fit.

    Raises:
      InputError: for fewer than three budgets of four sizes, or a surface of other columns.
    """
    arguments.choice("method", method, ("akima", "parabola"))
    level = checked_level(level)
    fit_key, draw_key = jax.random.split(arguments.random_key("key", key))
    if surface is not None:
        check_fit("surface", surface)
        check_law_of_both(surface.law)
    count = count_flops(table, ("C" if "C" in columns_of(table) else "6ND") if flops is None else flops)
    N, D, spent, loss = _runs_on_budgets(count.table)
    budgets = _budgets(spent, N)
    fitted = fit(count.table, "chinchilla", key=fit_key, level=level, **options) if surface is None else surface
    compute = np.array([np.exp(np.mean(np.log(spent[b]))) for b in budgets])
    lowest: Bottom = {"parabola": _vertex, "akima": _akima}[method]
    bottoms = np.array([lowest(np.log(N[b]), loss[b]) for b in budgets])
    columns = {"N": N, "D": D}
    ideal = np.asarray(fitted.predict(*(columns[name] for name in fitted.law.columns)))
    noiseless = np.array([lowest(np.log(N[b]), ideal[b])[0] for b in budgets])
    best = frontier(fitted, compute, count)
    bias = _slope(compute, noiseless) - _slope(compute, np.log(best.size.estimate))
    draws = _redrawn(draw_key, N, loss, budgets, lowest)
    slopes = np.array([_slope(compute, draw) for draw in draws if np.isfinite(draw).sum() >= _FEWEST_BUDGETS - 1])
    return IsoFlop(
        method,
        count.formula,
        compute,
        np.exp(bottoms[:, 0]),
        bottoms[:, 1],
        Interval(*np.exp(np.array([_of_finite(draw, level) for draw in draws.T]).T)),
        Quantity(_slope(compute, bottoms[:, 0]), _of_finite(slopes, level)),
        bias,
        np.exp(noiseless) / best.size.estimate,
        best,
        (
            *_isoflop_findings(method, N, budgets, compute, bottoms, bias),
            *_budget_findings(spent, budgets),
            *_compute_findings(count, spent / (FLOPS * N * D)),
        ),
    )


def _of_finite(draws: np.ndarray, level: float) -> Interval:
    """The interval of the draws (B,) that have a value; NaN where none has."""
    draws = draws[np.isfinite(draws)]
    return percentiles(draws, level) if len(draws) else Interval(np.nan, np.nan)


def _runs_on_budgets(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """N, D, C and loss of every run, (R,), in an order that does not depend on that of the rows."""
    columns = numbers(table, ("N", "D", "C", "loss"))
    order = np.lexsort(tuple(columns.values()))
    return columns["N"][order], columns["D"][order], columns["C"][order], columns["loss"][order]


def _budgets(compute: np.ndarray, N: np.ndarray) -> list[np.ndarray]:
    """The runs of each budget with enough sizes, cheapest budget first."""
    order = np.argsort(compute)
    breaks = np.flatnonzero(np.diff(np.log(compute[order])) > np.log1p(_SAME_BUDGET)) + 1
    parts = [part for chain in np.split(order, breaks) for part in _narrow(np.log(compute), chain)]
    budgets = [part for part in parts if len(np.unique(N[part])) >= _FEWEST_ON_A_BUDGET]
    if len(budgets) < _FEWEST_BUDGETS:
        raise InputError(
            f"the table has {len(budgets)} budgets C with {_FEWEST_ON_A_BUDGET} sizes; {_FEWEST_BUDGETS} are needed. "
            "Use the parametric frontier of a fit instead."
        )
    return budgets


def _narrow(log_compute: np.ndarray, chain: np.ndarray) -> list[np.ndarray]:
    """A chain of runs, each close to the next, in parts of equal width that are not too wide."""
    place = log_compute[chain] - log_compute[chain].min()
    count = max(int(np.ceil(place.max() / np.log1p(_WIDEST_BUDGET))), 1)
    part = np.minimum((count * place / max(place.max(), 1e-300)).astype(int), count - 1)
    return [chain[part == number] for number in range(count)]


def _vertex(log_N: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """The bottom of the least-squares parabola; NaN where it opens downwards."""
    center = log_N.mean()
    curvature, slope, level = np.polyfit(log_N - center, loss, 2)
    if curvature <= 0:
        return np.nan, np.nan
    shift = -slope / (2 * curvature)
    return center + shift, level - curvature * shift**2


def _akima(log_N: np.ndarray, loss: np.ndarray) -> tuple[float, float]:
    """The lowest point of the Akima spline through the mean loss of every size; NaN where it is at an end."""
    from scipy.interpolate import Akima1DInterpolator

    sizes, index = np.unique(log_N, return_inverse=True)
    spline = Akima1DInterpolator(sizes, np.bincount(index, loss) / np.bincount(index))
    turns = spline.derivative().roots(extrapolate=False)
    # Where a piece is level its roots are NaN, and what is lowest at an end of it is level there too.
    places = np.concatenate([turns[np.isfinite(turns)], sizes])
    best = places[np.argmin(spline(places))]
    return (float(best), float(spline(best))) if sizes[0] < best < sizes[-1] else (np.nan, np.nan)


def _slope(compute: np.ndarray, log_size: np.ndarray) -> float:
    """The slope of log N* against log C over the budgets that have a bottom; NaN with fewer than two."""
    usable = np.isfinite(log_size)
    if usable.sum() < 2:
        return np.nan
    return float(np.polyfit(np.log(compute[usable]), log_size[usable], 1)[0])


def _redrawn(
    key: jax.Array, N: np.ndarray, loss: np.ndarray, budgets: Sequence[np.ndarray], lowest: Bottom
) -> np.ndarray:
    """log N* of tables whose budgets are redrawn run by run, (B, K); NaN where a budget shows no lowest size."""
    rng = generator(key)
    log_size = np.full((_DRAWS, len(budgets)), np.nan)
    for draw in range(_DRAWS):
        for place, budget in enumerate(budgets):
            chosen = rng.choice(budget, len(budget))
            if len(np.unique(N[chosen])) >= 3:
                log_size[draw, place] = lowest(np.log(N[chosen]), loss[chosen])[0]
    return log_size


def _isoflop_findings(
    method: str, N: np.ndarray, budgets: Sequence[np.ndarray], compute: np.ndarray, bottoms: np.ndarray, bias: float
) -> Iterator[Finding]:
    for budget, C, (log_size, _) in zip(budgets, compute, bottoms, strict=True):
        low, high = np.log(N[budget]).min(), np.log(N[budget]).max()
        if not np.isfinite(log_size):
            yield "no_minimum", f"The runs of C = {C:.3g} show no lowest size; widen their range of N."
        elif method == "parabola" and abs(log_size - (low + high) / 2) > _OFF_CENTER * (high - low) / 2:
            yield (
                "off_center",
                f"At C = {C:.3g} the best N = {np.exp(log_size):.3g} lies off the center of the sizes trained, "
                f"{np.exp(low):.3g} to {np.exp(high):.3g}; parabolas are biased there.",
            )
    if abs(bias) > _VISIBLE_BIAS:
        yield (
            "isoflop_bias",
            f"Without noise, on the fitted surface, this method's exponent of N* is {bias:+.3f} off the surface's own; "
            "use the surface's, `IsoFlop.surface`.",
        )


def _budget_findings(spent: np.ndarray, budgets: Sequence[np.ndarray]) -> Iterator[Finding]:
    """What the runs of a budget do not share, and runs that are on none."""
    width = max(np.ptp(np.log(spent[budget])) for budget in budgets)
    if width > np.log1p(_SAME_BUDGET):
        yield (
            "wide_budgets",
            f"The C of one budget's runs differ by up to {np.expm1(width):.0%}, and their losses with it; trust the "
            "surface, which knows the C of each run.",
        )
    left_out = len(spent) - sum(map(len, budgets))
    if left_out:
        yield (
            "runs_off_budgets",
            f"{left_out} of {len(spent)} runs are on no budget of {_FEWEST_ON_A_BUDGET} sizes and were left out.",
        )


def _compute_findings(count: FlopCount, ratio: np.ndarray) -> Iterator[Finding]:
    """What to know where C is no constant times 6 N D; ratio (R,)."""
    yield from count.findings
    if np.ptp(np.log(ratio)) > np.log1p(_SAME_BUDGET):
        yield (
            "other_compute",
            f"C is {ratio.min():.3g} to {ratio.max():.3g} times 6 N D; budgets, best sizes and exponents are of that.",
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Envelope:
    """The lowest learning curve at every budget.

    Attributes:
      compute: (K,) budgets at which curves were compared.
      size, loss: (K,) of the lowest curve there.
      size_exponent: `Quantity` of the power of C with which the size of the lowest curve grows.
    """

    compute: np.ndarray
    size: np.ndarray
    loss: np.ndarray
    size_exponent: Quantity


def envelope(table: Table, *, key: jax.Array | int, level: float = 0.95) -> Envelope:
    """Approach 1 of Hoffmann et al. 2022: which size has the lowest loss at each budget, from learning curves.

    Curves that were trained with a learning rate schedule longer than the budget read too high there: use it with
    constant or per-budget schedules only.

    Args:
      table: rows of checkpoints with `run`, N, `loss`, and D or C.
      key: a JAX random key, or an int for `jax.random.key`. Intervals redraw whole curves.
      level: of the interval.

    Raises:
      InputError: for a table without three curves that overlap in C.
    """
    level = checked_level(level)
    run, N, compute, loss = _checkpoints(table)
    curves = []
    for name in dict.fromkeys(run):
        mine = np.flatnonzero(run == name)
        mine = mine[np.argsort(compute[mine])]
        if len(mine) > 1:
            curves.append((np.log(N[mine[0]]), np.log(compute[mine]), np.log(loss[mine])))
    if len(curves) < 3:
        raise InputError(f"the table has {len(curves)} learning curves. Pass rows of checkpoints named by `run`.")
    ends = np.array([(x[0], x[-1]) for _, x, _ in curves])
    grid = np.linspace(np.sort(ends[:, 0])[1], np.sort(ends[:, 1])[-2], _ENVELOPE_POINTS)
    heights = np.array([np.interp(grid, x, y, left=np.inf, right=np.inf) for _, x, y in curves])
    sizes = np.array([size for size, *_ in curves])
    if (np.isfinite(heights).sum(0) < 2).any() or grid[0] >= grid[-1]:
        raise InputError("the learning curves do not overlap in C. Pass curves of several sizes at the same budgets.")
    rng = generator(key)
    draws = []
    for _ in range(_DRAWS):
        chosen = rng.choice(len(curves), len(curves))
        covered = np.isfinite(heights[chosen]).any(0)
        if covered.sum() > 1 and len(np.unique(sizes[chosen])) > 2:
            lowest = sizes[chosen][np.argmin(heights[chosen], axis=0)]
            draws.append(np.polyfit(grid[covered], lowest[covered], 1)[0])
    best = np.argmin(heights, axis=0)
    slope = float(np.polyfit(grid, sizes[best], 1)[0])
    return Envelope(
        np.exp(grid),
        np.exp(sizes[best]),
        np.exp(heights[best, np.arange(len(grid))]),
        Quantity(slope, percentiles(np.array(draws), level)),
    )


def _checkpoints(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    columns = numbers(table, ("N", "C", "loss"), labels=("run",))
    return columns["run"], columns["N"], columns["C"], columns["loss"]
