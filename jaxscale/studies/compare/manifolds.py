"""Finished studies on manifolds side by side: do they share an exponent, and how far apart are their errors?

    verdict = compare([pathlib.Path("runs/softmax"), pathlib.Path("runs/relu")])      # all are held against the first

Studies that differ in networks, training or ambient dimension have the same points, labels and targets for the same
seeds (`manifolds.problem`), so the ratio of two errors knows little of what those targets happen to be: its exponent
is the difference of both, in a narrower interval. Intervals of differences hold together (Bonferroni).
"""

import math
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale import laws
from jaxscale.errors import InputError
from jaxscale.studies.compare import folders
from jaxscale.studies.manifolds.verdict import FEWEST, POWER
from jaxscale.verdict import device, number, versions

Part = dict[str, Any]  # of a verdict, or all of it
Config = Mapping[str, Any]  # the content of `config.json`
Losses = dict[tuple[int, int], float]  # by n and seed; or their ratios
Finished = tuple[str, Config, Losses, Part]  # a study: its name, configuration, errors and verdict

# Draws of a difference, whose level is higher than that of a study.
RESAMPLES = 4000
LIMITS = (
    "Seconds are those of the studies' training, not of this comparison.",
    "Studies are compared with the first one alone; differences among the others have wider intervals.",
)


def compare(paths: Sequence[pathlib.Path]) -> dict[str, Any]:
    """The differences of studies from the first one, as plain values.

    Args:
      paths: folders of two or more finished `studies.ManifoldStudy`s of `series="data"`, of different names.

    Returns:
      A dict: `sentence`; `base`, the name of the first; `studies`, for each its `name`, what was `changed` in it,
      `exponent` and `interval` with their `prediction`, errors `by_size`, the `dimension` read from its points and,
      but for the first, the `ratio` of errors by size and the `difference` of exponents, or None.

    Raises:
      InputError: a folder holds no finished study of this kind, or shares no size or seed with the first.
    """
    read = [_read(path) for path in paths]
    base = read[0]
    for name, config, *_ in read:
        if config["objective"] != base[1]["objective"]:
            raise InputError(f"{name} measures {config['objective']}, {base[0]} {base[1]['objective']}. Leave one out.")
    # Of several differences one is outside its interval by chance more often than of one.
    level = 1 - (1 - base[1]["level"]) / (len(read) - 1)
    studies = [_study(*one) | (_against(base, one, level) if one is not base else {}) for one in read]
    found = {
        "kind": "compare",
        "question": "Do these studies share an exponent, and how far apart are their errors?",
        "base": studies[0]["name"],
        "objective": base[1]["objective"],
        "level": base[1]["level"],
        "level_of_a_difference": level,
        "studies": studies,
    }
    return found | {
        "sentence": _sentence(found),
        "agreement": None,
        "numbers": list(_numbers(studies)),
        "caveats": [],
        "limits": list(LIMITS),
        "seconds": sum(one[3]["training_seconds"] for one in read),
        "processor_seconds": sum(one[3].get("processor_seconds", 0.0) for one in read),
        "stage_seconds": {},
        "versions": versions(),
        "device": device(),
    }


def _numbers(studies: Sequence[Part]) -> Iterator[dict[str, Any]]:
    for one in studies:
        yield number(f"exponent of {one['name']}", one["exponent"], one["interval"], one["prediction"])
    for one in studies[1:]:
        if found := one["difference"]:
            yield number(f"{one['name']} less {studies[0]['name']}", found["exponent"], found["interval"])


def _read(folder: pathlib.Path) -> Finished:
    """A study's name, configuration, the errors of its networks by (n, seed), and its verdict."""
    name, config, rows, verdict = folders.read(folder)
    if verdict.get("series") != "data" or "data" not in verdict:
        raise InputError(f"{folder} holds no study of errors against n on a manifold. Leave it out.")
    return name, config, {(r["n"], r["seed"]): r["loss"] for r in rows if r["noisy"]}, verdict


def _study(name: str, _config: Config, _losses: Losses, verdict: Part) -> Part:
    data = verdict["data"]
    return {
        "name": name,
        "setting": verdict["setting"],
        "exponent": data["exponent"],
        "interval": data["interval"],
        "prediction": data["predicted"],
        "sizes": data["sizes"],
        "enough_sizes": data["enough_sizes"],
        "by_size": data["by_size"],
        "dimension": verdict["dimension"]["mle"],
        "references": {key: one["exponent"] for key, one in verdict["references"].items()},
    }


def _against(base: Finished, other: Finished, level: float) -> Part:
    """What was changed, the ratio of errors at each size, and the difference of exponents over sizes both count."""
    _, config, losses, _ = other
    shared = sorted(set(losses) & set(base[2]))
    if not shared:
        raise InputError(f"{other[0]} and {base[0]} share no size and seed, so that nothing can be compared.")
    log_ratio = {key: math.log(losses[key] / base[2][key]) for key in shared}
    of: Callable[[int], list[float]] = lambda n: [value for (size, _), value in log_ratio.items() if size == n]
    ratio = [
        {"n": n, "ratio": math.exp(np.mean(of(n))), "least": math.exp(min(of(n))), "greatest": math.exp(max(of(n)))}
        for n in sorted({n for n, _ in shared})
    ]
    data = [one[3]["data"] for one in (base, other)]
    # Where too few sizes count, `sizes` are all.
    count = set.intersection(*(set(one["sizes"]) if one["enough_sizes"] else set() for one in data))
    kept = [one["ratio"] for one in ratio if one["n"] in count]
    return {
        "changed": dict(_changes(base[1], config)),
        "ratio": ratio,
        "ratio_where_it_counts": [min(kept), max(kept)] if kept else None,
        "difference": _difference(config, level, {key: value for key, value in log_ratio.items() if key[0] in count}),
    }


def _difference(config: Config, level: float, log_ratio: Losses) -> Part | None:
    """Exponent of the other study less that of the base: that of their ratio, in an interval over seeds."""
    if len({n for n, _ in log_ratio}) < FEWEST:
        return None
    # A law's exponents are positive, so the ratio is fitted times n^-1.
    rows = [{"n": n, "seed": seed, "loss": math.exp(value) / n} for (n, seed), value in log_ratio.items()]
    fit = laws.fit(
        rows, POWER, key=jax.random.key(0), groups="seed", level=level, resamples=max(RESAMPLES, config["resamples"])
    )
    low, high = fit.intervals["alpha"]
    found = {"exponent": float(fit.parameters["alpha"]) - 1, "interval": [float(low) - 1, float(high) - 1]}
    return found | {"warnings": [sentence for code, sentence in fit.warnings if code == "few_groups"]}


def _changes(base: Config, other: Config, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(field, value) of a configuration where it differs from the base's."""
    for name, value in other.items():
        if isinstance(value, dict):
            yield from _changes(base.get(name, {}), value, f"{prefix}{name}.")
        elif value != base.get(name):
            yield prefix + name, value


def _sentence(verdict: Part) -> str:
    said = []
    for one in verdict["studies"][1:]:
        found = one["difference"]
        if found is None:
            said.append(f"{one['name']} has too few sizes that count in both")
            continue
        low, high = found["interval"]
        differs = "differs" if low > 0 or high < 0 else "cannot be told from it"
        said.append(f"{one['name']} {differs}, by {found['exponent']:+.3f} [{low:+.3f}, {high:+.3f}]")
    ratios = [end for one in verdict["studies"][1:] for end in one["ratio_where_it_counts"] or []]
    base = verdict["studies"][0]
    low, high = base["interval"]
    start = f"Beside {base['name']}, whose exponent is {base['exponent']:.3f} [{low:.3f}, {high:.3f}]: "
    errors = f" Errors where sizes count are {min(ratios):.2f} to {max(ratios):.2f} of its own." if ratios else ""
    return f"{start}{'; '.join(said)}.{errors}"
