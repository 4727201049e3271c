"""Answers to what a fit was asked, as plain values: what a document says of them, in keys, sentences and numbers."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from jaxscale.laws.answers import BudgetSplit, Prediction
from jaxscale.laws.compute_optimal import IsoFlop
from jaxscale.laws.results import plain, plain_quantity
from jaxscale.laws.runs import LOSS
from jaxscale.page.numerals import interval
from jaxscale.page.numerals import number as written
from jaxscale.verdict import caveat, number


def key(target: str) -> str:
    """Where documents keep values of what was fitted: "loss", or "target" for any other column."""
    return LOSS if target == LOSS else "target"


def document(
    predictions: Sequence[Prediction], split: BudgetSplit | None, isoflop: IsoFlop | None, target: str = LOSS
) -> dict[str, Any]:
    """The answers by the keys `predictions`, `budgets` and `isoflop`, as far as something was asked."""
    said: dict[str, Any] = {}
    if predictions:
        said["predictions"] = [_prediction(one, key(target)) for one in predictions]
    if split is not None:
        said["budgets"] = _split(split)
    if isoflop is not None:
        said["isoflop"] = _isoflop(isoflop)
    return said


def _prediction(one: Prediction, own: str) -> dict[str, Any]:
    return {
        "columns": dict(one.columns),
        own: plain_quantity(one.loss),
        "new_run": {"lower": float(one.new_run.lower), "upper": float(one.new_run.upper)},
        "level": one.level,
        "beyond": dict(one.beyond),
        "sentence": one.sentence,
    }


def _split(split: BudgetSplit) -> dict[str, Any]:
    names = ("size", "data", "tokens_per_parameter", "loss")
    return {
        "flops": split.flops,
        "compute": plain(split.best.compute),
        **{name: plain_quantity(getattr(split.best, name)) for name in names},
        "valley": {"within": split.within, "lower": plain(split.valley.lower), "upper": plain(split.valley.upper)},
        "beyond": plain(split.beyond),
        "caveats": [caveat(*finding) for finding in split.findings],
    }


def _isoflop(found: IsoFlop) -> dict[str, Any]:
    return {
        "method": found.method,
        "flops": found.flops,
        "compute": plain(found.compute),
        "size": {
            "estimate": plain(found.size),
            "lower": plain(found.size_interval.lower),
            "upper": plain(found.size_interval.upper),
        },
        "loss": plain(found.loss),
        "size_exponent": plain_quantity(found.size_exponent),
        "bias": float(found.bias),
        "size_bias": plain(found.size_bias),
        "surface": {name: plain_quantity(getattr(found.surface, name)) for name in ("size", "loss", "size_exponent")},
        "caveats": [caveat(*finding) for finding in found.findings],
    }


def sentences(answers: dict[str, Any], target: str = LOSS) -> Iterator[str]:
    """What was answered, in words."""
    for one in answers.get("predictions", []):
        where = ", ".join(f"{name} = {size(value)}" for name, value in one["columns"].items())
        band = [one["new_run"]["lower"], one["new_run"]["upper"]]
        run = f", a single new run in {interval(band, 4)}" if known(band) else ""
        yield f"At {where} the {target} is {quantity(one[key(target)], 4)}{run}. {one['sentence']}"
    if split := answers.get("budgets"):
        for place, compute in enumerate(split["compute"]):
            N, D, loss = (quantity(at(split[name], place), digits) for name, digits in _DIGITS)
            low, high = (size(split["valley"][end][place]) for end in ("lower", "upper"))
            yield (
                f"C = {size(compute)} is best split as N = {N} and D = {D}, for a loss of {loss}; any N from {low} to "
                f"{high} comes within {100 * split['valley']['within']:.3g}% of that."
            )
    if found := answers.get("isoflop"):
        yield (
            f"The bottoms of isoFLOP curves ({found['method']}) put the exponent of N* at "
            f"{quantity(found['size_exponent'])}, the surface at {quantity(found['surface']['size_exponent'])}; "
            f"without noise the method would be {found['bias']:+.3f} off."
        )


_DIGITS = (("size", 3), ("data", 3), ("loss", 4))


def verdict_numbers(answers: dict[str, Any], target: str = LOSS) -> Iterator[dict[str, Any]]:
    """The answers among the numbers of a verdict."""
    for one in answers.get("predictions", []):
        where = ", ".join(f"{name} = {size(value)}" for name, value in one["columns"].items())
        loss = one[key(target)]
        yield number(f"{target} at {where}", loss["estimate"], _ends([loss["lower"], loss["upper"]]))
        band = _ends([one["new_run"]["lower"], one["new_run"]["upper"]])
        yield number(f"{target} of a new run at {where}", loss["estimate"], band)
    if split := answers.get("budgets"):
        for place, compute in enumerate(split["compute"]):
            for name, title in (("size", "best N"), ("data", "best D"), ("loss", "best loss")):
                one = at(split[name], place)
                yield number(
                    f"{title} at C = {size(compute)}", _finite(one["estimate"]), _ends([one["lower"], one["upper"]])
                )
    if found := answers.get("isoflop"):
        one = found["size_exponent"]
        title = f"exponent of N* by isoFLOP curves ({found['method']})"
        yield number(title, _finite(one["estimate"]), _ends([one["lower"], one["upper"]]))


def at(quantity: dict[str, list[float]], place: int) -> dict[str, float]:
    """One of several quantities."""
    return {end: values[place] for end, values in quantity.items()}


def size(value: float | None, digits: int = 3) -> str:
    """A number of parameters, tokens or FLOP: beyond a million in powers of ten, as it has a dozen digits and more."""
    if value is not None and math.isfinite(value) and abs(value) >= 1e6:
        return f"{value:.{digits - 1}e}".replace("e+", "e")
    return written(value, digits)


def known(ends: Sequence[float | None]) -> bool:
    """Whether there is an interval with two ends."""
    return all(end is not None and math.isfinite(end) for end in ends)


def quantity(value: dict[str, Any], digits: int = 3) -> str:
    """An estimate and its interval, where it has one."""
    ends = [value["lower"], value["upper"]]
    estimate = size(value["estimate"], digits)
    return f"{estimate} [{', '.join(size(end, digits) for end in ends)}]" if known(ends) else estimate


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _ends(ends: Sequence[float]) -> list[float | None] | None:
    found = [_finite(end) for end in ends]
    return None if found == [None, None] else found
