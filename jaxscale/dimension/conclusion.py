"""The verdict on clouds of points, from what `summary` says of each (docs/verdict.md)."""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from jaxscale.page.numerals import interval
from jaxscale.page.numerals import number as written
from jaxscale.verdict import Stopwatch, caveat, complete, number

Cloud = Mapping[str, Any]

LIMITS = (
    "A dimension belongs to a scale, here the distance of the nearest neighbors: at smaller ones noise fills the "
    "space, at larger ones curvature and the ends of the data are felt.",
    "One number stands for a whole cloud, whose dimension may vary from place to place.",
)
BIASED = "Intervals measure the spread of a reading, not its bias: of many dimensions estimators read too few."
REMEDY = " --calibrate takes the bias off."
_LISTED = 3  # clouds whose readings fit in a sentence
_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


def conclude(measured: dict[str, Any], watch: Stopwatch, failed: bool = False) -> dict[str, Any]:
    """What `jaxscale dimension` prints with `--json`.

    Args:
      measured: how (`k`, `metric`, `seed`), and `clouds`, each a `summary` with its `cloud`, a name, and its `shape`.
      watch: what it took.
      failed: whether an error ended the work before everything was measured.

    Returns:
      A verdict with `measured` beside its keys. The clouds' caveats are among its own, their names in front.
    """
    clouds = measured["clouds"]
    calibrated = any("calibrated" in estimate for cloud in clouds for estimate in cloud["estimates"])
    calibrated = calibrated or all("measured" in cloud for cloud in clouds)
    found: dict[str, Any] = {
        "kind": "dimension",
        "question": "What is the intrinsic dimension of these points?",
        "sentence": _sentence(clouds),
        "agreement": None,
        "numbers": [*_measurements(clouds), *_readings(clouds), *_plateaus(clouds)],
        "caveats": [*_caveats(clouds)],
        "limits": [*([] if calibrated else [BIASED]), *LIMITS],
    }
    if failed:
        found["caveats"].insert(0, caveat("incomplete", "An error ended the work before everything was measured."))
    own = [{name: value for name, value in cloud.items() if name != "caveats"} for cloud in clouds]
    return complete(found | measured | {"clouds": own}, watch)


def _sentence(clouds: Sequence[Cloud]) -> str:
    several = "layers" if clouds and all("layer" in cloud for cloud in clouds) else "clouds"
    if len(clouds) <= _LISTED:
        return " ".join(_of_cloud(cloud) for cloud in clouds)
    said = []
    if measured := [(cloud["measured"]["dimension"], cloud["cloud"]) for cloud in clouds if "measured" in cloud]:
        (low, lowest), (high, highest) = min(measured), max(measured)
        said.append(f"{written(low)} ({lowest}) to {written(high)} ({highest})")
    for name in dict.fromkeys(estimate["estimator"] for cloud in clouds for estimate in cloud["estimates"]):
        read = [
            (_best(estimate)[0], cloud["cloud"])
            for cloud in clouds
            for estimate in cloud["estimates"]
            if estimate["estimator"] == name and _is_known(_best(estimate)[0])
        ]
        if read:
            (low, lowest), (high, highest) = min(read), max(read)
            said.append(f"{written(low)} ({lowest}) to {written(high)} ({highest}) by {name}")
    return f"Of {len(clouds)} {several} d is {', '.join(said) or 'not known'}."


def _of_cloud(cloud: Cloud) -> str:
    if (found := cloud.get("measured")) is None:
        return f"{cloud['cloud']}: d = {_listed(cloud['estimates'])}."
    plain = f" Plain readings: {_listed(cloud['estimates'])}." if cloud["estimates"] else ""
    return f"{cloud['cloud']}: d = {written(found['dimension'])} {interval(found['interval'])}.{plain}"


def _measurements(clouds: Sequence[Cloud]) -> Iterator[dict[str, Any]]:
    for cloud in clouds:
        if found := cloud.get("measured"):
            yield number(f"d of {cloud['cloud']}", found["dimension"], found["interval"])


def _listed(estimates: Sequence[Mapping[str, Any]]) -> str:
    """`2.01 [1.93, 2.09] by mle, 1.98 [1.87, 2.09] by twonn`."""
    return ", ".join(
        f"{written(value)} {interval(ends)} by {estimate['estimator']}{_reading(estimate)}"
        for estimate in estimates
        for value, ends in [_best(estimate)]
    )


def _best(estimate: Mapping[str, Any]) -> tuple[float | None, Sequence[float | None]]:
    """The dimension that a reading stands for, if it was calibrated, else the reading; and the interval."""
    best = estimate.get("calibrated", estimate)
    return best["dimension"], best["interval"]


def _reading(estimate: Mapping[str, Any]) -> str:
    return ", calibrated" if "calibrated" in estimate else ""


def _readings(clouds: Sequence[Cloud]) -> Iterator[dict[str, Any]]:
    for cloud in clouds:
        for estimate in cloud["estimates"]:
            value, ends = _best(estimate)
            name = f"d of {cloud['cloud']} by {estimate['estimator']}{_reading(estimate)}"
            yield number(name, _finite(value), [_finite(end) for end in ends])


def _plateaus(clouds: Sequence[Cloud]) -> Iterator[dict[str, Any]]:
    """The plateau of each profile; without one the readings at its finest and its coarsest scale."""
    for cloud in clouds:
        for profile in cloud.get("profiles", []):
            if (plateau := profile["plateau"])["found"]:
                value, error = plateau["dimension"], 1.96 * plateau["standard_error"]
                name = f"d of {cloud['cloud']} by {profile['estimator']}, plateau over scales"
                yield number(name, value, [_finite(value - error), _finite(value + error)])
                continue
            for end in ("small", "large") if "scales" in profile else ():
                reading = profile["scales"][end]
                name = f"d of {cloud['cloud']} by {profile['estimator']} at distance {written(reading['scale'])}"
                yield number(name, _finite(reading["dimension"]), [_finite(value) for value in reading["interval"]])


def _finite(value: float | None) -> float | None:
    return value if _is_known(value) else None


def _is_known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _caveats(clouds: Sequence[Cloud]) -> Iterator[dict[str, str]]:
    """Notes on readings first: they say that the numbers are off. What is said of many layers is said once."""
    found = []
    for cloud in clouds:
        for estimate in cloud["estimates"]:
            if estimate["note"] and "measured" not in cloud:
                remedy = "" if "calibrated" in estimate else REMEDY
                found.append((cloud, estimate["estimator"], "dimension_biased_down", estimate["note"] + remedy))
    for cloud in clouds:
        for one in cloud.get("caveats", []):
            # What an estimator says of itself begins with its name.
            name, colon, text = one["text"].partition(": ")
            of_estimator = bool(colon) and name in {estimate["estimator"] for estimate in cloud["estimates"]}
            found.append((cloud, name, one["code"], text) if of_estimator else (cloud, "", one["code"], one["text"]))
    alike: dict[Any, list[tuple[Cloud, str, str, str]]] = {}
    for said in found:
        cloud, estimator, code, text = said
        key = (
            (cloud.get("run"), code, _NUMBER.sub("#", text)) if "layer" in cloud else (cloud["cloud"], estimator, text)
        )
        alike.setdefault(key, []).append(said)
    for group in alike.values():
        yield caveat(group[0][2], f"{_places(group)}: {_in_one([text for *_, text in group])}")


def _places(group: Sequence[tuple[Cloud, str, str, str]]) -> str:
    """`roll.npy, mle`, or `layers 1 to 3, mle, gride`; where layers differ, `mle in layer 1, gride in layers 2, 4`."""
    first = group[0][0]
    names = list(dict.fromkeys(estimator for _, estimator, *_ in group))
    if len(group) == 1 or "layer" not in first:
        return ", ".join(filter(None, [first["cloud"], *names]))
    layers = {name: [cloud["layer"] for cloud, estimator, *_ in group if estimator == name] for name in names}
    run = f"{first['run']}, " if "run" in first else ""
    if len({tuple(places) for places in layers.values()}) == 1:
        return run + ", ".join(filter(None, [spans(layers[names[0]]), *names]))
    return run + ", ".join(f"{name} in {spans(places)}" for name, places in layers.items())


def spans(layers: Sequence[int]) -> str:
    """`layer 3`, `layers 0 to 4, 6`."""
    runs: list[list[int]] = []
    for layer in sorted(set(layers)):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    said = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"layer{'s' if len(set(layers)) > 1 else ''} {', '.join(said)}"


def _in_one(texts: Sequence[str]) -> str:
    """A text for several that differ in numbers alone: from the least of these to the largest."""
    numbers = zip(*(_NUMBER.findall(text) for text in texts), strict=True)
    value: Callable[[str], float] = lambda text: float(text.replace(",", ""))
    ranges = [
        min(said, key=value) if len(set(said)) == 1 else f"{min(said, key=value)} to {max(said, key=value)}"
        for said in numbers
    ]
    filled = iter(ranges)
    return _NUMBER.sub(lambda _: next(filled), texts[0])
