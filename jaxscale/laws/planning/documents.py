"""A plan as plain values: what `jaxscale plan --json` prints and its page is drawn from."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxscale.laws.planning.plans import Promise, RunPlan
from jaxscale.page.numerals import UNKNOWN, percent
from jaxscale.verdict import Stopwatch, caveat, complete, number

LIMITS = (
    "The law is taken to hold at every size that the plan names, beyond the largest run there is too.",
    "The noise of new runs is taken to be that of the runs there are; failed and badly tuned runs are not foreseen.",
    "A promise is for most tables, not for each: the interval that comes out scatters around it.",
)
_HOUR = 3600.0


def document(planned: RunPlan, flops_per_second: float | None = None, watch: Stopwatch | None = None) -> dict[str, Any]:
    """The verdict on a plan (docs/verdict.md), and beside its keys the runs, their cost and the curve.

    Args:
      planned: of `laws.plan`.
      flops_per_second: of one device, as training reaches it, for device hours; None for none.
      watch: of what came before.
    """
    hours = None if flops_per_second is None else planned.total / flops_per_second / _HOUR
    said = {
        "kind": "plan",
        "question": question(planned),
        "sentence": sentence(planned, hours),
        "agreement": None,
        "numbers": list(_numbers(planned, hours)),
        "caveats": [caveat(*warning) for warning in planned.warnings],
        "limits": list(LIMITS),
        "law": planned.law.name,
        "formula": planned.law.formula,
        "level": planned.level,
        "outcome": planned.outcome,
        "unit": planned.unit,
        "runs_now": planned.runs_now,
        "simulated_tables": planned.simulated,
        "runs": list(_runs(planned, flops_per_second)),
        "cost": planned.total,
        "device_hours": hours,
        "promises": [
            {
                "quantity": one.name,
                "wanted": one.wanted,
                "now": one.now,
                "promised": one.width,
                "spread": list(one.spread),
                "ratio_to_delta_method": one.ratio,
                "power": None if one.power is None else {"wanted": one.power[0], "simulated": one.power[1]},
            }
            for one in planned.promises
        ],
        "curve": {
            "cost": _plain(planned.curve_cost),
            "widths": {name: _plain(widths) for name, widths in planned.curve_widths.items()},
        },
    }
    return complete(said, Stopwatch() if watch is None else watch)


def question(planned: RunPlan) -> str:
    """What was asked, in words."""
    asked = " and ".join(
        f"tell d from twice d with probability {percent(one.power[0])}"
        if one.power
        else f"narrow the interval of {one.name} to {amount(one.wanted)}"
        for one in planned.promises
    )
    return f"Which runs should be trained next to {asked}?"


def sentence(planned: RunPlan, hours: float | None = None) -> str:
    """The answer."""
    level = percent(planned.level)
    if planned.outcome == "already":
        have = " and ".join(_already(one) for one in planned.promises)
        return f"None: with the {planned.runs_now} runs there are the {level} interval of {have} already."
    spent = f"{amount(planned.total)} {planned.unit}" + ("" if hours is None else f", {amount(hours)} device hours")
    sizes = len(planned.grouped()[1])
    runs = f"{len(planned)} run{'s' if len(planned) > 1 else ''} at {sizes} size{'s' if sizes > 1 else ''} ({spent})"
    made = ", ".join(_promise(one) for one in planned.promises)
    if planned.outcome == "reached":
        return f"{runs} should make the {level} interval of {made}."
    ends = {"budget": "The budget does not allow it", "runs": f"{len(planned)} runs are too few"}[planned.outcome]
    return f"{ends}. The best that can be reached: {runs} should make the {level} interval of {made}."


def _already(one: Promise) -> str:
    if one.power is not None:
        return f"the exponent excludes the prediction at 2d with probability {percent(one.power[1])}"
    return f"{one.name} is {amount(one.now)} wide (wanted {amount(one.wanted)})"


def _promise(one: Promise) -> str:
    if one.power is not None:
        return f"the exponent exclude the prediction at 2d with probability {percent(one.power[1])}"
    now = "" if np.isnan(one.now) else f", from {amount(one.now)} now"
    wanted = "" if one.width <= one.wanted * 1.1 else f"; wanted {amount(one.wanted)}"
    return f"{one.name} {amount(one.width)} wide{now}{wanted}"


def amount(value: float) -> str:
    """Three significant digits; beyond a million in powers of ten."""
    if not np.isfinite(value):
        return UNKNOWN
    if abs(value) >= 1e6:
        return f"{value:.2e}".replace("e+", "e")
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _numbers(planned: RunPlan, hours: float | None) -> Iterator[dict[str, Any]]:
    for one in planned.promises:
        spread = None if np.isnan(one.spread[0]) else one.spread
        if one.power is not None:
            yield number("probability of telling d from twice d", one.power[1])
        yield number(f"promised width of the interval of {one.name}", one.width, spread)
    yield number(f"cost in {planned.unit}", planned.total)
    yield number("runs", float(len(planned)))
    if hours is not None:
        yield number("device hours", hours)


def _runs(planned: RunPlan, flops_per_second: float | None) -> Iterator[dict[str, Any]]:
    """One for each size, the seeds it wants, and what all of them cost."""
    columns, seeds, cost = planned.grouped()
    for place, (count, each) in enumerate(zip(seeds, cost, strict=True)):
        row: dict[str, Any] = {name: float(x[place]) for name, x in columns.items()}
        row |= {"seeds": int(count), "cost": float(count * each)}
        if flops_per_second is not None:
            row["device_hours"] = float(count * each) / flops_per_second / _HOUR
        yield row


def _plain(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]
