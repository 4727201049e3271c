"""What a study on a manifold found: exponents with intervals beside their predictions, and the evidence for each.

Which sizes a law is fitted over is a rule stated beforehand. A size counts where the error lies below `EARLY` of that
of the best constant (before, nothing has been learned yet that could scale), and above `LATE` times what the same
networks and budget reach on data in excess without noise (beyond, the optimizer or the width is what limits). The fits
over all sizes, and by the rule twice as strict at both ends, stand beside it.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import laws, theory
from jaxscale.studies.manifolds.config import ManifoldStudy
from jaxscale.theory.ranges import Numbers
from jaxscale.verdict import Agreement, caveat, number

Row = dict[str, Any]  # of a table: a network or another estimator, or what is said of one size
Part = dict[str, Any]  # of the verdict, or all of it
Exponent = Callable[..., Numbers]  # of d and β, such as `theory.data_exponent`
Size = Literal["n", "parameters"]  # the column that a law is over

EARLY, LATE = 0.5, 3.0
# Sizes a law is fitted to at the least; where fewer count, all do, and a caveat says so.
FEWEST = 4
# What a validation set chooses, for every n; the step at which training stops it chooses for every network.
SETTINGS = ("width", "learning_rate", "weight_decay")
REFERENCES = {
    "best": "The best linear predictor",
    "kernel": "Kernel regression",
    "neighbors": "Nearest neighbors",
    "n_grams": "Smoothed n-grams",
}
# Above what power laws are fitted: nothing, since the floor is known exactly and taken off.
POWER = laws.additive(("n",), floor=False, name="power")
OVER_PARAMETERS = laws.additive(("N",), floor=False, name="power")
OVER_BOTH = laws.additive(("N", "D"), floor=False, name="power")


def verdict(
    study: ManifoldStudy,
    rows: Sequence[Row],
    table: Sequence[Row],
    references: Sequence[Row],
    dimension: Part,
    smoothness: Part,
) -> Part:
    """The content of `verdict.json` but for versions.

    Args:
      study: a `studies.ManifoldStudy`.
      rows: of all trained networks.
      table: those that the validation set chose.
      references: rows of the other estimators, for every setting.
      dimension, smoothness: what was read from the points and labels (`manifolds.readings`), and the `known` dimension.
    """
    d = dimension["known"]
    clean, noisy = ([row for row in table if row["noisy"] == kind] for kind in (False, True))
    found: dict[str, Any] = {
        "question": "Does the error fall as the dimension of the manifold and the smoothness of the target say?",
        "series": study.series,
        "setting": _setting(study),
        "predicted": _predicted(study, d),
        "dimension": dimension,
        "smoothness": smoothness,
        "networks": len(rows),
        "diverged": sum(row["validation"] is None for row in rows),
        "limits": list(theory.LIMITS[:3]),
    }
    if study.series == "parameters":
        law = _fitted(study, [row | {"N": row["parameters"]} for row in clean], OVER_PARAMETERS)
        beside = _beside(study, law, theory.model_exponent, d)
        evidence = {
            "by_size": _by_size(clean, "parameters"),
            "local_slopes": _local_slopes(clean, "parameters"),
            "chosen": _chosen(clean, "parameters"),
        }
        found |= {"parameters": law | beside | evidence}
        return found | _headline(study, found)
    found["budget_reaches"] = float(np.mean([row["loss"] for row in clean]))
    references = best_of(references, ("reference", "n"), ("setting",))
    means = [row for row in references if row["reference"] == "mean"]
    found["constant"] = float(np.mean([row["loss"] for row in means if row["n"] == max(study.sizes)]))
    data = _curve(study, noisy, found["budget_reaches"], found["constant"], d)
    kept = [row for row in noisy if row["n"] in data["sizes"]]
    found["data"] = data | {
        "narrower": _narrower(study, noisy, data["by_size"], found),
        "at_measured": _at_measured(study, data["interval"], dimension, smoothness),
        "over_all_sizes": _fitted(study, noisy, POWER),
        "with_offset": _fitted(study, kept, laws.named("data")),
        "chosen": _chosen(noisy, "n"),
        "by_width": _by_width(rows),
    }
    of = {name: [row for row in references if row["reference"] == name] for name in sorted(REFERENCES)}
    found["references"] = {
        name: _curve(study, some, 0.0, found["constant"], d)
        for name, some in of.items()
        if len({row["n"] for row in some}) >= FEWEST
    }
    if study.series == "compute":
        found["compute"] = _compute(study, rows, found)
    return found | _headline(study, found)


def _setting(study: ManifoldStudy) -> Part:
    names = ("manifold", "dimension", "ambient", "point_noise", "point_noise_kind", "objective")
    return {name: getattr(study, name) for name in names} | {
        "beta": study.target.beta,
        "label_noise": study.target.noise if study.objective == "squared_error" else None,
        "classes": study.target.classes if study.objective == "cross_entropy" else None,
        "mixer": study.network.mixer,
        "widths": sorted(study.training.widths),
        "seeds": len(study.seeds),
        "steps": study.training.steps,
        "batch_size": study.training.batch_size,
    }


def _predicted(study: ManifoldStudy, d: float) -> Part:
    """Exponents in n (with label noise, and without), in N and in C, at the true d and β."""
    beta = study.target.beta
    return {
        "minimax": float(theory.data_exponent(d, beta)),
        "noiseless": float(theory.model_exponent(d, beta)),
        "parameters": float(theory.model_exponent(d, beta)),
        "compute": float(theory.compute_exponent(d, beta)),
        "cross_entropy": list(map(float, map(np.asarray, theory.cross_entropy_bracket(d, beta)))),
        "smoothness_class": f"exact down to wavelengths of 2π / 2^{study.target.octaves}",
    }


def is_noiseless(study: ManifoldStudy) -> bool:
    """Whether labels are the truth, so that the rate in n is 2β/d and not 2β/(2β+d)."""
    return study.objective == "squared_error" and study.target.noise == 0


def _curve(study: ManifoldStudy, rows: Sequence[Row], reach: float, constant: float, d: float) -> Part:
    """The error against n: its means, its law over the sizes that count, and its slope from size to size."""
    by_size = _by_size(rows, "n")
    counted = _counted(by_size, reach, constant)
    enough = len(counted) >= FEWEST
    sizes = counted if enough else [one["n"] for one in by_size]
    law = _fitted(study, [row for row in rows if row["n"] in sizes], POWER)
    exponent = theory.model_exponent if is_noiseless(study) else theory.data_exponent
    return (
        law
        | {"sizes": sizes, "enough_sizes": enough}
        | _beside(study, law, exponent, d)
        | {"by_size": by_size, "local_slopes": _local_slopes(rows, "n")}
    )


def _counted(by_size: Sequence[Row], reach: float, constant: float, strictness: float = 1.0) -> list[int]:
    """The sizes that count by the rule, both of whose bounds are moved inwards by the factor `strictness`."""
    low, high = LATE * reach * strictness, EARLY * constant / strictness
    return [one["n"] for one in by_size if low < one["loss"] < high]


def _beside(study: ManifoldStudy, law: Part, exponent: Exponent, d: float) -> Part:
    """What `exponent` predicts at the true d and β, whether it is inside, and whether another d's would be too."""
    beta, ends = study.target.beta, laws.Interval(*law["interval"])
    predicted = float(exponent(d, beta))
    return {
        "predicted": predicted,
        "inside": bool(ends.lower <= predicted <= ends.upper),
        "agreement": laws.agreement(exponent, ends, d, (d, d), beta),
    }


def _narrower(study: ManifoldStudy, rows: Sequence[Row], by_size: Sequence[Row], found: Part) -> Part | None:
    """The law over the sizes that count by a rule twice as strict; None where they are too few."""
    sizes = _counted(by_size, found["budget_reaches"], found["constant"], strictness=2.0)
    if len(sizes) < FEWEST:
        return None
    law = _fitted(study, [row for row in rows if row["n"] in sizes], POWER)
    exponent = theory.model_exponent if is_noiseless(study) else theory.data_exponent
    return law | {"sizes": sizes} | _beside(study, law, exponent, found["dimension"]["known"])


def _at_measured(
    study: ManifoldStudy, interval: Sequence[float], dimension: Part, smoothness: Part
) -> dict[str, Part | None]:
    """The exponent that the measured d predicts, with the true β, and with β as read; None where it is not identified.

    Intervals of both are propagated. Under cross-entropy labels are symbols, whose smoothness is not the target's.
    """
    exponent = theory.model_exponent if is_noiseless(study) else theory.data_exponent

    def at(beta: float, ends: Sequence[float] | None) -> Part:
        predicted = theory.exponent_interval(exponent, dimension["mle"], dimension["interval"], beta, ends)
        return {
            "beta": beta,
            "exponent": float(exponent(dimension["mle"], beta)),
            "interval": [float(end) for end in predicted],
            "agreement": laws.agreement(
                exponent, laws.Interval(*interval), dimension["mle"], dimension["interval"], beta, ends
            ),
        }

    read = {
        name: at(smoothness[name]["beta"], smoothness[name]["interval"]) if smoothness[name]["identified"] else None
        for name in ("labels", "truth")
        if study.objective == "squared_error"
    }
    return {"true_beta": at(study.target.beta, None)} | read


def _fitted(study: ManifoldStudy, rows: Sequence[Row], law: laws.Law) -> Part:
    """Exponent, scale and offset of a law, in an interval for seeds that err together."""
    fit = laws.fit(rows, law, key=jax.random.key(0), groups="seed", level=study.level, resamples=study.resamples)
    name, codes = next(iter(law.exponents.values())), dict(fit.warnings)
    return {
        "formula": law.formula,
        "exponent": float(fit.parameters[name]),
        # Seeds that are no more than the parameters cannot be resampled together: no interval with an offset then.
        "interval": None if law.has_floor and "few_groups" in codes else [float(end) for end in fit.intervals[name]],
        "scale": float(fit.parameters["A"]),
        "offset": float(fit.parameters["E"]) if law.has_floor else 0.0,
        "rms_residual": float(np.sqrt(np.mean(fit.residuals**2))),
        "warnings": [sentence for _, sentence in fit.warnings],
    }


def _by_size(rows: Sequence[Row], column: Size) -> list[Row]:
    """Geometric means over seeds, and the extremes, of the error at each size."""
    found = []
    for size in sorted({row[column] for row in rows}):
        losses = [row["loss"] for row in rows if row[column] == size]
        mean = math.exp(np.mean(np.log(losses)))
        found.append({column: size, "loss": mean, "least": min(losses), "greatest": max(losses)})
    return found


def _local_slopes(rows: Sequence[Row], column: Size) -> list[Row]:
    """Between neighboring sizes: the mean over seeds, and its standard error."""
    losses = {(row[column], row["seed"]): row["loss"] for row in rows}
    sizes, seeds = (sorted({row[name] for row in rows}) for name in (column, "seed"))
    found = []
    for small, large in itertools.pairwise(sizes):
        slopes = [math.log(losses[small, s] / losses[large, s]) / math.log(large / small) for s in seeds]
        error = float(np.std(slopes, ddof=1) / math.sqrt(len(slopes))) if len(slopes) > 1 else None
        found.append({"from": small, "to": large, "slope": float(np.mean(slopes)), "standard_error": error})
    return found


def _chosen(rows: Sequence[Row], column: Size) -> list[Row]:
    """By size, what was chosen for all seeds, when training stopped, and how often that was at its last step."""
    found = []
    for size in sorted({row[column] for row in rows}):
        those = [row for row in rows if row[column] == size]
        found.append(
            {column: size}
            | {name: those[0][name] for name in SETTINGS}
            | {"median_step": float(np.median([row["step"] for row in those]))}
            | {"at_last_step": sum(row["step"] == row["steps"] for row in those)}
        )
    return found


def _by_width(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The error against n of the best of each width, means over seeds: curves whose lower envelope was chosen."""
    best = best_of([row for row in rows if row["noisy"]], ("width", "n"))
    return {
        str(width): _by_size([row for row in best if row["width"] == width], "n")
        for width in sorted({row["width"] for row in best})
    }


def best_of(rows: Iterable[Row], by: Sequence[str], settings: Sequence[str] = SETTINGS) -> list[Row]:
    """Of rows alike in the columns `by`, those of the settings of least mean validation error over seeds.

    One choice for all seeds: a validation set that knows more than n points do would otherwise lend each seed what it
    knows. Settings with which a seed diverged are not chosen.
    """
    found: dict[tuple[Any, ...], dict[tuple[Any, ...], list[dict[str, Any]]]] = {}
    for row in rows:
        alike = found.setdefault(tuple(row[name] for name in by), {})
        alike.setdefault(tuple(row[name] for name in settings), []).append(row)
    chosen = []
    for key in sorted(found):
        finite = [some for some in found[key].values() if all(row["validation"] is not None for row in some)]
        if finite:
            chosen += min(finite, key=lambda some: float(np.mean([row["validation"] for row in some])))
    return chosen


def _compute(study: ManifoldStudy, rows: Sequence[Row], found: Part) -> Part:
    """A N^-α + B n^-β over widths and sizes, and the exponent along its best split of C = 6 N n."""
    best = best_of([row for row in rows if row["noisy"]], ("width", "n"))
    means = {
        width: {one["n"]: one["loss"] for one in _by_size([row for row in best if row["width"] == width], "n")}
        for width in {row["width"] for row in best}
    }
    learned = [row for row in best if means[row["width"]][row["n"]] < EARLY * found["constant"]]
    enough = len({row["n"] for row in learned}) >= FEWEST
    table = [row | {"N": row["parameters"], "D": row["n"]} for row in (learned if enough else best)]
    fit = laws.fit(table, OVER_BOTH, key=jax.random.key(0), groups="seed", level=study.level, resamples=study.resamples)
    budgets = [6 * one([r["N"] for r in table]) * one([r["D"] for r in table]) for one in (min, max)]
    split = laws.frontier(fit, budgets)
    law = _quantity(split.loss_exponent)
    return law | {
        **_beside(study, law, theory.compute_exponent, found["dimension"]["known"]),
        "enough_sizes": enough,
        "size_exponent": _quantity(split.size_exponent),
        "parameters_exponent": _quantity(fit.quantity(lambda p: p["alpha"])),
        "data_exponent": _quantity(fit.quantity(lambda p: p["beta"])),
        "warnings": [sentence for _, sentence in fit.warnings],
        "networks": len(table),
    }


def _quantity(found: laws.Quantity) -> Part:
    """A `laws.Quantity`; of one along budgets, the first, as a power law has one exponent for all."""
    ends = [float(np.ravel(end)[0]) for end in found.interval]
    return {"exponent": float(np.ravel(found.estimate)[0]), "interval": ends}


def _headline(study: ManifoldStudy, found: Part) -> Part:
    """The series' own exponent beside its prediction, the sentence that opens the page, and what to know before."""
    part = found[study.series]
    predicted, inside = part["predicted"], part["inside"]
    column = {"data": "n", "parameters": "N", "compute": "C"}[study.series]
    low, high = part["interval"]
    place = _place(study, found["dimension"])
    over = f" over n = {min(part['sizes'])} to {max(part['sizes'])}" if study.series == "data" else ""
    source = {
        "data": "the rate of squared error, 2β/(2β+d)"
        if study.objective == "cross_entropy"
        else "without label noise 2β/d"
        if is_noiseless(study)
        else "minimax theory, 2β/(2β+d)",
        "parameters": "approximation theory, 2β/d",
        "compute": "theory, β/(β+d)",
    }[study.series]
    said = (
        f"{place} with a target of smoothness β = {study.target.beta:g}, the excess error of "
        f"{study.network.mixer.replace('_', '-')} networks falls as {column}^-{part['exponent']:.3f} "
        f"[{low:.3f}, {high:.3f}]{over}; {source}, says {predicted:.3f}: "
        f"{'inside' if inside else 'not inside'} our {100 * study.level:g}% interval."
    )
    if study.series == "data" and not part["enough_sizes"]:
        said += f" Fewer than {FEWEST} sizes count by the rule, so this is no test of the theory."
    for name, one in found.get("references", {}).items():
        low, high = one["interval"]
        in_n = "" if study.series == "data" else ", in n"
        said += f" {REFERENCES[name]} on the same points{in_n}: {one['exponent']:.3f} [{low:.3f}, {high:.3f}]."
    if study.series == "data":
        said += _said_at_measured(found)
    caveats = list(_caveats(study, found))
    return {"exponent": part["exponent"], "interval": part["interval"], "prediction": predicted, "inside": inside} | {
        "sentence": said,
        "agreement": _agreement(study, part, caveats),
        "numbers": _numbers(column, part, found),
        "caveats": caveats,
    }


def _agreement(study: ManifoldStudy, part: Part, caveats: Sequence[Mapping[str, str]]) -> Agreement:
    """That of the series; where too few sizes count, or training limits what lies outside, nothing is decided."""
    if study.series == "data":
        return part["agreement"] if part["enough_sizes"] else "inconclusive"
    limited = part["warnings"] or any(one["code"] == "last_step" for one in caveats)
    return "inconclusive" if part["agreement"] == "inconsistent" and limited else part["agreement"]


def _numbers(column: str, part: Part, found: Part) -> list[dict[str, Any]]:
    references = found.get("references", {})
    return [
        number(f"exponent of the error in {column}", part["exponent"], part["interval"], part["predicted"]),
        *(
            number(f"{REFERENCES[name]}: exponent in n", one["exponent"], one["interval"], one["predicted"])
            for name, one in references.items()
        ),
        number("intrinsic dimension of the points", found["dimension"]["mle"], found["dimension"]["interval"]),
    ]


def _place(study: ManifoldStudy, dimension: Part) -> str:
    if study.manifold != "language":
        return f"On the {study.manifold.replace('_', ' ')} of dimension {study.dimension} in R^{study.ambient}"
    count = study.target.classes
    known = f"{dimension['known']:.2f} dimensions"
    return f"In texts of {count} symbols whose contexts, {study.ambient // count} symbols, lie in {known}"


def _said_at_measured(found: Part) -> str:
    """What theory says where d and β are read from the sample instead of known."""
    at_measured, read = found["data"]["at_measured"], found["smoothness"]
    dimension = f"d = {found['dimension']['mle']:.2f}"
    for name, source in (("labels", "the labels"), ("truth", "the target without label noise")):
        if at_measured.get(name):
            one, (low, high) = at_measured[name], read[name]["interval"]
            source = f" and β = {one['beta']:.2f} [{low:.2f}, {high:.2f}], read from the points and {source}"
            break
    else:
        one, source = at_measured["true_beta"], " read from the points, and the true β"
    low, high = one["interval"]
    return f" At {dimension}{source}, theory says {one['exponent']:.3f} [{low:.3f}, {high:.3f}]: {one['agreement']}."


def _caveats(study: ManifoldStudy, found: Part) -> Iterator[dict[str, str]]:
    """What the numbers themselves say against relying on them."""
    curve = found.get("data")
    if curve:
        yield from _of_the_curve(study, found, curve)
    if study.series == "parameters":
        slopes = [one["slope"] for one in found["parameters"]["local_slopes"]]
        yield caveat("local_slopes", f"From size to size the slope goes from {slopes[0]:.3f} to {slopes[-1]:.3f}.")
        yield from _at_the_last_step(study, found["parameters"]["chosen"], "parameters")
    for sentence in found[study.series]["warnings"]:
        yield caveat("fit", f"Of the fit: {sentence}")
    if len(study.seeds) < 5:
        yield caveat("few_seeds", f"The interval rests on {len(study.seeds)} seeds, which err together at every n.")
    if found["diverged"]:
        said = f"{found['diverged']} of {found['networks']} networks diverged and were not chosen."
        yield caveat("diverged", said)


def _of_the_curve(study: ManifoldStudy, found: Part, curve: Part) -> Iterator[dict[str, str]]:
    if not curve["enough_sizes"]:
        yield caveat(
            "few_sizes",
            f"Fewer than {FEWEST} sizes lie between {LATE:g} times the {found['budget_reaches']:.3g} that these "
            f"networks reach on data in excess and {EARLY:g} of a constant's error: the law is over all.",
        )
    left = sorted({one["n"] for one in curve["by_size"]} - set(curve["sizes"]))
    if left:
        yield caveat("sizes_left_out", f"Sizes left out of the fit by the rule: {', '.join(map(str, left))}.")
    slopes = [one["slope"] for one in curve["local_slopes"] if {one["from"], one["to"]} <= set(curve["sizes"])]
    ends = f"Between the sizes fitted over, slopes go from {slopes[0]:.3f} to {slopes[-1]:.3f}. " if slopes else ""
    yield caveat(
        "other_fits",
        f"{ends}Over all sizes the exponent is {curve['over_all_sizes']['exponent']:.3f}, with a free offset "
        f"{curve['with_offset']['exponent']:.3f}{_by_a_stricter_rule(curve['narrower'])}.",
    )
    if not is_noiseless(study) and not curve["at_measured"].get("labels"):
        yield caveat("smoothness_unidentified", _unread(found["smoothness"].get("labels")))
    yield from _at_the_last_step(study, curve["chosen"], "n")
    yield from _ends_of_grids(study, curve["chosen"])


def _unread(labels: Part | None) -> str:
    if labels is None:
        return "The smoothness of probabilities is not read from symbols drawn from them."
    low, high = labels["interval"]
    return (
        f"Read from the noisy labels alone, β would be {labels['beta']:.2f} [{low:.2f}, {high:.2f}]: not identified, "
        "since it may be 1 or more, or noise."
    )


def _by_a_stricter_rule(narrower: Part | None) -> str:
    if narrower is None:
        return ""
    low, high = narrower["interval"]
    sizes = f"n = {min(narrower['sizes'])} to {max(narrower['sizes'])}"
    return f", and by the rule twice as strict, {sizes}, {narrower['exponent']:.3f} [{low:.3f}, {high:.3f}]"


def _at_the_last_step(study: ManifoldStudy, chosen: Sequence[Row], column: Size) -> Iterator[dict[str, str]]:
    at_end = [one[column] for one in chosen if one["at_last_step"] > len(study.seeds) / 2]
    if at_end:
        sign = "N" if column == "parameters" else column
        said = f"Most seeds did best at the last step at {sign} = {_listed(at_end)}: more might do better."
        yield caveat("last_step", said)


def _ends_of_grids(study: ManifoldStudy, chosen: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Where the end of what was tried was chosen, or most seeds stopped before a second look."""
    for name in SETTINGS:
        values = getattr(study.training, f"{name}s")
        ends = {min(values): "least", max(values): "largest"} if len(values) > 1 else {}
        for end, word in ends.items():
            at = [one["n"] for one in chosen if one[name] == end]
            if at:
                said = f"Chosen was the {word} {name.replace('_', ' ')} tried, {end:g}, at n = {_listed(at)}."
                yield caveat("end_of_grid", said)
    first = [one["n"] for one in chosen if one["median_step"] <= study.training.evaluate_every]
    if first:
        said = f"Most seeds did best at the first look, at n = {_listed(first)}: earlier might be better."
        yield caveat("first_look", said)


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))
