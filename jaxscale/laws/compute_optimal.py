"""How to spend compute: the best model size and data at every budget, three ways, with intervals.

    frontier(fit, [1e21, 1e24])             # from a fitted law of N and D
    isoflop(table, "parabola", key=key)     # from the bottom of each budget's curve, with the bias of that stated
    envelope(table, key=key)                # from the lowest learning curve at every budget

Compute is C = 6 N D (Kaplan et al. 2020).
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.fitting import checked_level, fit
from jaxscale.laws.law import Values
from jaxscale.laws.random_draws import generator
from jaxscale.laws.results import STATIC, Fit, Interval, Quantity, check_fit, percentiles
from jaxscale.laws.runs import Finding, Table, numbers
from jaxscale.theory import compute_split
from jaxscale.theory.ranges import Numbers

# Of log N and loss of a budget's runs, where its curve is lowest and how low.
Bottom = Callable[[np.ndarray, np.ndarray], tuple[float, float]]
# The powers of C with which N*, D* and the reducible loss go.
Slopes = tuple[Numbers, Numbers, Numbers]

FLOPS = 6.0  # per parameter and token
_SAME_BUDGET = 0.05  # budgets within this ratio are one
_FEWEST_ON_A_BUDGET = 4
_FEWEST_BUDGETS = 3
_OFF_CENTER = 0.4  # of the half range, beyond which a parabola's vertex is called off-center
_GRID = 513
_DRAWS = 500
_ENVELOPE_POINTS = 24
_VISIBLE_BIAS = 0.005  # of an exponent


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Frontier:
    """The best split of each of K budgets.

    Attributes:
      compute: (K,).
      size, data, loss, tokens_per_parameter: `Quantity` of (K,) at the best split.
      size_exponent, data_exponent, loss_exponent: `Quantity` of the powers of C with which N*, D* and the reducible
        loss go; over the range of `compute` where the law has no single one.
    """

    compute: np.ndarray
    size: Quantity
    data: Quantity
    loss: Quantity
    tokens_per_parameter: Quantity
    size_exponent: Quantity
    data_exponent: Quantity
    loss_exponent: Quantity


def frontier(fitted: Fit, compute: np.typing.ArrayLike) -> Frontier:
    """The best model size and data at budgets, from a fitted law of N and D, with intervals from the fit's draws.

    In closed form for E + A N^-α + B D^-β (Hoffmann et al. 2022, equation 4), else by search along N D = C / 6.

    Args:
      fitted: of a law that reads N and D and nothing else.
      compute: budgets in FLOP, a number or (K,).

    Raises:
      InputError: for a law of other columns or a budget that is not positive.
    """
    check_fit("fitted", fitted)
    if sorted(fitted.law.columns) != ["D", "N"]:
        raise InputError(
            f"law {fitted.law.name!r} reads {fitted.law.columns}. Fit a law of N and D, such as chinchilla."
        )
    budgets = arguments.reals(compute)
    if budgets is None or budgets.ndim > 1 or not (np.isfinite(budgets) & (budgets > 0)).all():
        raise InputError(f"compute={compute!r} must be positive and finite. Pass budgets in FLOP.")
    compute = np.atleast_1d(budgets)
    is_additive = {"A", "B", "alpha", "beta"} <= set(fitted.parameters) and "k" not in fitted.parameters
    size: Callable[[Values], np.ndarray] = (
        (lambda p: _closed(p, compute)) if is_additive else (lambda p: _searched(fitted, p, compute))
    )
    slopes = _powers if is_additive else (lambda p: _local_powers(fitted, p, compute, size(p)))
    wide: Callable[[Callable[[Values, np.ndarray], Numbers]], Quantity] = lambda of: _quantity(
        fitted, lambda p: of(p, size(p))
    )
    # Draws without a term put all compute into the other one: a split of 0 or infinity, or none where both are gone.
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        return _frontier(compute, wide, slopes, fitted)


def _frontier(
    compute: np.ndarray,
    wide: Callable[[Callable[[Values, np.ndarray], Numbers]], Quantity],
    slopes: Callable[[Values], Slopes],
    fitted: Fit,
) -> Frontier:
    return Frontier(
        compute=compute,
        size=wide(lambda p, N: N),
        data=wide(lambda p, N: compute / FLOPS / N),
        loss=wide(lambda p, N: _loss(fitted, p, N, compute)),
        tokens_per_parameter=wide(lambda p, N: compute / FLOPS / N**2),
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


def _closed(p: Values, compute: np.ndarray) -> np.ndarray:
    total = p["alpha"] + p["beta"]
    balance = (p["alpha"] * p["A"] / (p["beta"] * p["B"])) ** (1 / total)
    size: np.ndarray = balance * (compute / FLOPS) ** (p["beta"] / total)
    return size


def _loss(fitted: Fit, p: Values, N: np.ndarray, compute: np.ndarray) -> np.ndarray:
    columns = {"N": N, "D": compute / FLOPS / N}
    return np.asarray(fitted.law.losses(p, *(columns[name] for name in fitted.law.columns)))


def _searched(fitted: Fit, p: Values, compute: np.ndarray) -> np.ndarray:
    """N of least loss at each budget: the lowest of a fine grid over eight decades, its parabola's vertex."""
    log_N = np.linspace(0.5 * np.log(compute / FLOPS) - 9.2, 0.5 * np.log(compute / FLOPS) + 9.2, _GRID)  # (grid, K)
    spread = {name: np.asarray(value)[None] for name, value in p.items()}
    lead = (slice(None),) + (None,) * (np.ndim(next(iter(p.values()))) - 1)
    losses = _loss(fitted, spread, np.exp(log_N)[lead], compute)  # (grid, ..., K)
    low = np.clip(np.argmin(losses, axis=0), 1, _GRID - 2)
    at: Callable[[np.ndarray], np.ndarray] = lambda place: np.take_along_axis(losses, place[None], 0)[0]
    left, middle, right = at(low - 1), at(low), at(low + 1)
    step = log_N[1, 0] - log_N[0, 0]
    shift = 0.5 * (left - right) / np.maximum(left - 2 * middle + right, 1e-300)
    size: np.ndarray = np.exp(log_N[0] + step * (low + np.clip(shift, -1, 1)))
    return size


def _powers(p: Values) -> Slopes:
    split = compute_split(p["alpha"][..., 0], p["beta"][..., 0])
    return split.size, split.data, split.loss


def _local_powers(fitted: Fit, p: Values, compute: np.ndarray, size: np.ndarray) -> Slopes:
    if len(compute) < 2:
        raise InputError("one budget has no exponent in this law. Pass two or more budgets.")
    span = np.log(compute[-1] / compute[0])
    a = np.log(size[..., -1] / size[..., 0]) / span
    loss = _loss(fitted, p, size, compute) - np.asarray(p.get("E", 0.0))
    return a, 1 - a, np.log(loss[..., 0] / loss[..., -1]) / span


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IsoFlop:
    """The best size of each budget, read from the runs of that budget alone.

    Attributes:
      method: "parabola" or "akima".
      compute: (K,) budgets.
      size, loss: (K,) where each budget's curve is lowest, and how low.
      size_exponent: `Quantity` of the power of C with which N* grows.
      bias: what the method adds to the exponent on a surface like this one without noise; both in powers of C = 6 N D.
      surface: `Frontier` of the additive law fitted to the same runs, at the mean 6 N D of each budget.
      findings: (code, sentence) pairs.
    """

    method: str = dataclasses.field(metadata=STATIC)
    compute: np.ndarray
    size: np.ndarray
    loss: np.ndarray
    size_exponent: Quantity
    bias: float
    surface: Frontier
    findings: tuple[Finding, ...] = dataclasses.field(metadata=STATIC)


def isoflop(
    table: Table,
    method: Literal["parabola", "akima"] = "parabola",
    *,
    key: jax.Array | int,
    level: float = 0.95,
    **options: Any,
) -> IsoFlop:
    """Approach 2 of Hoffmann et al. 2022: the bottom of each budget's curve of loss against log N, and a line.

    Parabolas are biased even without noise where the grid is off-center or the exponents differ (arXiv 2603.22339): the
    same procedure is therefore applied to the losses of the additive law fitted to these runs, whose exponent is known,
    and the difference returned as `bias`.

    Args:
      table: with N, `loss`, and D or C. Runs whose C differ by less than 5% form a budget: the table's own C where it
        has that column, else 6 N D.
      method: "parabola", or "akima", the lowest point of an Akima spline (needs a denser grid, assumes no shape).
      key: a JAX random key, or an int for `jax.random.key`. Intervals redraw the runs within each budget.
      level: of the interval.
      **options: for `laws.fit` of the additive law.

    Raises:
      InputError: for fewer than three budgets of four sizes.
    """
    arguments.choice("method", method, ("parabola", "akima"))
    fit_key, draw_key = jax.random.split(arguments.random_key("key", key))
    surface_fit = fit(table, "chinchilla", key=fit_key, level=level, **options)
    N, D, spent, loss = _runs_on_budgets(table)
    budgets = _budgets(spent, N)
    compute = np.array([np.exp(np.mean(np.log(spent[b]))) for b in budgets])
    lowest = {"parabola": _vertex, "akima": _akima}[method]
    bottoms = np.array([lowest(np.log(N[b]), loss[b]) for b in budgets])
    slope = _slope(compute, bottoms[:, 0])
    ideal = np.asarray(surface_fit.predict(N, D))
    noiseless = _slope(compute, np.array([lowest(np.log(N[b]), ideal[b])[0] for b in budgets]))
    nominal = FLOPS * N * D
    surface = frontier(surface_fit, [np.exp(np.mean(np.log(nominal[b]))) for b in budgets])
    bias = noiseless - float(surface.size_exponent.estimate)
    draws = _redrawn(draw_key, N, loss, budgets, compute, lowest)
    interval = percentiles(draws[np.isfinite(draws)], level) if np.isfinite(draws).any() else Interval(np.nan, np.nan)
    return IsoFlop(
        method,
        compute,
        np.exp(bottoms[:, 0]),
        bottoms[:, 1],
        Quantity(slope, interval),
        bias,
        surface,
        (
            *_isoflop_findings(N, budgets, compute, bottoms, bias),
            *_compute_findings(spent / nominal),
        ),
    )


def _runs_on_budgets(table: Table) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """N, D, C and loss of every run, (R,), C as the table gives it; in an order that does not depend on its rows'."""
    columns = numbers(table, ("N", "D", "C", "loss"))
    order = np.lexsort(tuple(columns.values()))
    return columns["N"][order], columns["D"][order], columns["C"][order], columns["loss"][order]


def _budgets(compute: np.ndarray, N: np.ndarray) -> list[np.ndarray]:
    """The runs of each budget with enough sizes, cheapest budget first."""
    order = np.argsort(compute)
    breaks = np.flatnonzero(np.diff(np.log(compute[order])) > np.log1p(_SAME_BUDGET)) + 1
    budgets = [part for part in np.split(order, breaks) if len(np.unique(N[part])) >= _FEWEST_ON_A_BUDGET]
    if len(budgets) < _FEWEST_BUDGETS:
        raise InputError(
            f"the table has {len(budgets)} budgets C with {_FEWEST_ON_A_BUDGET} sizes; {_FEWEST_BUDGETS} are needed. "
            "Use the parametric frontier of a fit instead."
        )
    return budgets


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
    fine = np.linspace(sizes[0], sizes[-1], _GRID)
    values = spline(fine)
    best = int(np.argmin(values))
    return (fine[best], values[best]) if 0 < best < _GRID - 1 else (np.nan, np.nan)


def _slope(compute: np.ndarray, log_size: np.ndarray) -> float:
    """The slope of log N* against log C over the budgets that have a bottom; NaN with fewer than two."""
    usable = np.isfinite(log_size)
    if usable.sum() < 2:
        return np.nan
    return float(np.polyfit(np.log(compute[usable]), log_size[usable], 1)[0])


def _redrawn(
    key: jax.Array, N: np.ndarray, loss: np.ndarray, budgets: Sequence[np.ndarray], compute: np.ndarray, lowest: Bottom
) -> np.ndarray:
    """Exponents of tables whose budgets are redrawn run by run, (B,); NaN where too few budgets kept a bottom."""
    rng = generator(key)
    slopes = np.full(_DRAWS, np.nan)
    for draw in range(_DRAWS):
        log_size = np.full(len(budgets), np.nan)
        for place, budget in enumerate(budgets):
            chosen = rng.choice(budget, len(budget))
            if len(np.unique(N[chosen])) >= 3:
                log_size[place] = lowest(np.log(N[chosen]), loss[chosen])[0]
        if np.isfinite(log_size).sum() >= _FEWEST_BUDGETS - 1:
            slopes[draw] = _slope(compute, log_size)
    return slopes


def _isoflop_findings(
    N: np.ndarray, budgets: Sequence[np.ndarray], compute: np.ndarray, bottoms: np.ndarray, bias: float
) -> Iterator[Finding]:
    for budget, C, (log_size, _) in zip(budgets, compute, bottoms, strict=True):
        low, high = np.log(N[budget]).min(), np.log(N[budget]).max()
        if not np.isfinite(log_size):
            yield "no_minimum", f"The runs of C = {C:.3g} show no lowest size; widen their range of N."
        elif abs(log_size - (low + high) / 2) > _OFF_CENTER * (high - low) / 2:
            yield (
                "off_center",
                f"At C = {C:.3g} the best N = {np.exp(log_size):.3g} lies off the center of the sizes trained, "
                f"{np.exp(low):.3g} to {np.exp(high):.3g}; parabolas are biased there.",
            )
    if abs(bias) > _VISIBLE_BIAS:
        yield (
            "isoflop_bias",
            f"On a noiseless surface like this one the method misses the exponent of N* by {bias:+.3f}; use the "
            "surface's own, `IsoFlop.surface`.",
        )


def _compute_findings(ratio: np.ndarray) -> Iterator[Finding]:
    """What to know where the table's own C is no constant times 6 N D; ratio (R,)."""
    if np.ptp(np.log(ratio)) > np.log1p(_SAME_BUDGET):
        yield (
            "other_compute",
            f"The table's C is {ratio.min():.3g} to {ratio.max():.3g} times 6 N D. The budgets and the exponent are of "
            "that C, the surface is of 6 N D, and `bias` holds the difference too.",
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
