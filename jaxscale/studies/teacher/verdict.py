"""What a study of real text with a known truth found: exponents with intervals beside what each layer's geometry says.

Which sizes count is a rule stated beforehand. A size counts where the students' squared error lies below `EARLY` of the
best constant's (before, hardly anything has been learned), and above `LATE` times what the same students come to on
windows they are trained on, with the truth itself to learn from (beyond, the network or the optimizer is what limits).
On real text errors fall slowly: half of the constant's, the rule for points on manifolds, is out of reach of small
students. What is lost in strictness is looked at instead: whether the exponent changes over the sizes.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxscale import laws, theory
from jaxscale.studies.teacher import exponents, own
from jaxscale.studies.teacher.config import TeacherStudy
from jaxscale.studies.teacher.contexts import Windows
from jaxscale.studies.teacher.forward import Truth
from jaxscale.verdict import Agreement, caveat, number

Row = dict[str, Any]  # of a table: a student, or what is said of one size or layer
Part = dict[str, Any]  # of the verdict, or all of it

EARLY, LATE = 0.9, 1.5
# Sizes an exponent is fitted to at the least; where fewer count, all do, and a caveat says so.
FEWEST = 4
# What validation chooses for every n; the step at which training stops it chooses for every student.
SETTINGS = ("width", "learning_rate", "weight_decay")
REFERENCES = {"neighbors": "Nearest neighbors", "kernel": "Kernel regression"}
LIMITS = (
    "The truth is the teacher's, not that of the text: what is tested is the theory, on real contexts.",
    "Labels are drawn for every position of a window, and the contexts of a window overlap: they are not independent.",
    "Theorem 1 bounds the error of transformers from above. An error that falls faster does not contradict it.",
    "Of nearest neighbors n is counted per variance of the labels among them where it is held against a prediction: "
    "neighbors whose probabilities differ are noisier, and the more of them there are, the less so.",
)


def facts_of(windows: Windows, truth: Truth, outcomes: Sequence[str], teacher_is_own: bool = False) -> Part:
    """Numbers about the truth itself: how much there is to learn, and how well the teacher knows the text."""
    test, log_mean_K = windows.of("test"), np.log(np.maximum(truth.mean, 1e-30))

    def of_window(window: int) -> tuple[np.ndarray, ...]:
        """At each position: the probability of what came next, −entropy, and two distances from the best constant."""
        (p_PxK,) = truth.probabilities_at(np.array([window])).astype(float)
        of_outcome_P = np.take_along_axis(p_PxK, truth.next_outcome[window][:, None], axis=-1)[:, 0]
        log_PxK = np.log(np.maximum(p_PxK, 1e-30))
        squared_P = np.sum((p_PxK - truth.mean) ** 2, axis=-1)
        return (
            of_outcome_P,
            np.sum(p_PxK * log_PxK, axis=-1),
            squared_P,
            np.sum(p_PxK * (log_PxK - log_mean_K), axis=-1),
        )

    of_outcome, minus_entropy, squared, divergence = map(np.stack, zip(*map(of_window, test), strict=True))
    return {
        "teacher_is_own": teacher_is_own,
        "outcomes": len(outcomes),
        "training_windows": len(windows.of("training")),
        "test_windows": len(test),
        "test_documents": len(np.unique(windows.document[test])),
        "teacher_nats_per_token": float(-truth.next_log_probability[test].mean()),
        "teacher_nats_per_outcome": float(-np.log(np.maximum(of_outcome, 1e-30)).mean()),
        "entropy": float(-minus_entropy.mean()),
        "constant": {"squared": float(squared.mean()), "divergence": float(divergence.mean())},
        "corpus": windows.facts,
    }


def verdict(
    study: TeacherStudy,
    rows: Sequence[Row],
    table: Sequence[Row],
    errors: Mapping[str, np.ndarray],
    document_W: np.ndarray,
    geometry: Sequence[Row],
    references: Sequence[Row],
    facts: Part,
) -> Part:
    """The content of `verdict.json` from `question` to `limits`, and keys of the study's own.

    Args:
      study: a `studies.TeacherStudy`.
      rows, table: of all students, and of those that validation chose.
      errors: of the chosen, "divergence" and "squared", (sizes, seeds, documents).
      document_W: of the test windows.
      geometry: a reading for each layer.
      references: errors of the other estimators.
      facts: of `facts_of`.
    """
    windows_D = np.bincount(np.unique(document_W, return_inverse=True)[1])
    weight_D = windows_D / windows_D.sum()
    sizes = sorted(study.sizes)
    reach = [row["squared_error_on_training_windows"] for row in table if not row["noisy"]]
    found: Part = {
        "question": "On real contexts with known next-token probabilities, does the error fall as their geometry says?",
        "teacher": own.WHAT if facts["teacher_is_own"] else study.teacher.name,
        "outcome": study.teacher.outcome,
        "facts": facts,
        "fitted": float(np.mean(reach)) if reach and None not in reach else None,
        "students": len(rows),
        "diverged": sum(row["validation"] is None for row in rows),
        "limits": list(LIMITS),
    }
    for name in ("squared", "divergence"):
        found[name] = _curve(study, sizes, errors[name], weight_D, found, name)
    found["chosen"] = _choices(table)
    found["by_setting"] = _by_setting(rows)
    layers = [_layer(study, one, references, weight_D, found["squared"]) for one in geometry]
    found["layers"] = layers
    best = _best(layers)
    found["best_layer"] = best and best["layer"]
    found["caveats"] = list(_caveats(study, found))
    found["tests"] = _tests(layers, best)
    found["agreement"] = _agreement(found)
    return found | {"sentence": _sentence(study, found), "numbers": _numbers(found)}


def _curve(
    study: TeacherStudy, sizes: Sequence[int], errors: np.ndarray, weight_D: np.ndarray, found: Part, name: str
) -> Part:
    """The error against n: its means, its exponent over the sizes that count, and over all."""
    by_size = exponents.means(sizes, errors, weight_D)
    counted = [i for i, one in enumerate(by_size) if _counts(one["loss"], found, name)]
    enough = len(counted) >= FEWEST
    kept = counted if enough else list(range(len(sizes)))
    fit: Callable[[Sequence[int]], Part] = lambda places: exponents.power_law(
        [sizes[i] for i in places], errors[places], weight_D, study.level, study.resamples
    )
    return fit(kept) | {"enough_sizes": enough, "over_all_sizes": fit(list(range(len(sizes)))), "by_size": by_size}


def _counts(loss: float, found: Part, name: str) -> bool:
    low = LATE * found["fitted"] if name == "squared" and found["fitted"] is not None else 0.0
    return bool(low < loss < EARLY * found["facts"]["constant"][name])


def _choices(table: Sequence[Row]) -> list[Row]:
    """By size, what was chosen for all seeds, when training stopped, and how often that was at its last step."""
    chosen = []
    for n in sorted({row["n"] for row in table if row["noisy"]}):
        those = [row for row in table if row["n"] == n and row["noisy"]]
        chosen.append(
            {"n": n}
            | {name: those[0][name] for name in SETTINGS}
            | {"median_step": float(np.median([row["step"] for row in those]))}
            | {"at_last_step": sum(row["step"] == row["steps"] for row in those)}
        )
    return chosen


def _by_setting(rows: Sequence[Row]) -> list[Row]:
    """Each setting's mean validation error against n, whose lower envelope was chosen."""
    found: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in rows:
        if row["noisy"] and row["validation"] is not None:
            setting = tuple(row[name] for name in SETTINGS)
            found.setdefault(setting, {}).setdefault(row["n"], []).append(row["validation"])
    return [
        dict(zip(SETTINGS, setting, strict=True))
        | {"by_size": [{"n": n, "loss": float(np.mean(losses))} for n, losses in sorted(of_size.items())]}
        for setting, of_size in sorted(found.items())
    ]


def _layer(study: TeacherStudy, reading: Row, references: Sequence[Row], weight_D: np.ndarray, students: Part) -> Part:
    """A layer's geometry, what it predicts, and the references in its coordinates, each beside the prediction."""
    found = dict(reading) | {"references": {}}
    for one in references:
        if one["layer"] != reading["layer"]:
            continue
        errors = np.array(one["errors"])
        by_size = exponents.means(one["sizes"], errors, weight_D)
        if len(one["sizes"]) >= FEWEST:
            fit = functools.partial(exponents.power_law, one["sizes"], errors, weight_D, study.level, study.resamples)
            law, compared = fit(), fit(variances=one.get("variances"))
            found["references"][one["reference"]] = law | {
                "at_equal_noise": {name: compared[name] for name in ("exponent", "interval")},
                "by_size": by_size,
                "settings": one["settings"],
                "agreement": {name: _beside(compared, reading, name) for name in ("at_one", "measured")},
            }
    found["agreement"] = {name: _beside(students, reading, name) for name in ("at_one", "measured")}
    return found


def _beside(law: Part, reading: Row, name: str) -> Agreement | None:
    """How an observed exponent agrees with a layer's prediction; None where there is none.

    As `laws.agreement`: "consistent" only where the observation could have refuted half and twice the dimension.
    """
    predicted = reading["predicted"][name]
    if predicted is None:
        return None
    observed = laws.Interval(*law["interval"])
    dimension, smoothness = reading["dimension"], reading["smoothness"]
    if name == "at_one":
        return laws.agreement(theory.data_exponent, observed, dimension["dimension"], dimension["interval"])
    if predicted["exponent"] is None:  # β is at least so much, and so is the exponent
        return "inconsistent" if observed.upper < predicted["interval"][0] else "inconclusive"
    around = (smoothness["interval"][0], min(smoothness["interval"][1], 1.0))
    return laws.agreement(
        theory.data_exponent, observed, dimension["dimension"], dimension["interval"], smoothness["beta"], around
    )


def _best(layers: Sequence[Part]) -> Part | None:
    """The layer in whose coordinates nearest neighbors err least at the most labels."""
    with_neighbors = [one for one in layers if "neighbors" in one["references"]]
    if not with_neighbors:
        return None
    return min(with_neighbors, key=lambda one: one["references"]["neighbors"]["by_size"][-1]["loss"])


def _tests(layers: Sequence[Part], best: Part | None) -> list[Row]:
    """The comparisons that decide: of students with the paper's prediction and the best layer's, and of neighbors."""
    last = layers[-1]
    tests = [
        {"of": "students", "layer": last["layer"], "prediction": "at_one", "agreement": last["agreement"]["at_one"]}
    ]
    if best:
        tests += [
            {"of": "students", "layer": best["layer"], "prediction": name, "agreement": best["agreement"][name]}
            for name in ("at_one", "measured")
            if (best["layer"], name) != (last["layer"], "at_one")
        ]
        of_neighbors = best["references"]["neighbors"]["agreement"]
        tests.append(
            {"of": "neighbors", "layer": best["layer"], "prediction": "measured", "agreement": of_neighbors["measured"]}
        )
    return tests


def _agreement(found: Part) -> Agreement:
    """That of the students with the paper's prediction, from the last layer at β = 1.

    Nothing is decided where too few sizes count, or where the exponent still changes so much over the sizes that
    either end of them would be judged otherwise.
    """
    said: Agreement | None = found["tests"][0]["agreement"]
    if said is None or not found["squared"]["enough_sizes"]:
        return "inconclusive"
    bent = any(one["code"] == "bend" for one in found["caveats"])
    return _bent(found) if bent else said


def _bent(found: Part) -> Agreement:
    """Of an exponent that changes over the sizes: inconsistent only if its ends lie on the same side."""
    law, predicted = found["squared"], found["layers"][-1]["predicted"]["at_one"]["interval"]
    half = law["bend"]["change"] / 2
    ends = sorted((law["exponent"] - half, law["exponent"] + half))
    return "inconsistent" if ends[1] < predicted[0] or ends[0] > predicted[1] else "inconclusive"


def _caveats(study: TeacherStudy, found: Part) -> Iterator[dict[str, str]]:
    law = found["squared"]
    if not law["enough_sizes"]:
        yield caveat(
            "few_sizes",
            f"Fewer than {FEWEST} sizes have a squared error below {EARLY:g} of a constant's and above {LATE:g} times "
            "what students come to on windows they are trained on: the exponent is over all.",
        )
    left = sorted({one["n"] for one in law["by_size"]} - set(law["sizes"]))
    if left:
        yield caveat("sizes_left_out", f"Sizes left out of the fit by the rule: {', '.join(map(str, left))}.")
    if found["facts"]["teacher_is_own"] and study.teacher.name != "trained":
        yield caveat(
            "own_teacher",
            f"{study.teacher.name!r} was not installed: the teacher is {own.WHAT}, small and briefly trained. What "
            "holds for its probabilities need not hold for those of a pretrained model.",
        )
    soft = study.contexts.soft
    if soft is not None and soft < study.contexts.training:
        yield caveat(
            "truth_of_few_windows",
            f"What students can fit at all was measured by learning the truth of {soft} of the "
            f"{study.contexts.training} training windows. Few windows are fitted more closely than many: sizes may "
            "count that the network or the optimizer limits.",
        )
    bend = law["bend"]
    if bend and not bend["interval"][0] <= 0 <= bend["interval"][1]:
        low, high = law["exponent"] - bend["change"] / 2, law["exponent"] + bend["change"] / 2
        yield caveat(
            "bend",
            f"The students' exponent changes over the sizes, from {low:.3f} at the least n to {high:.3f} at the "
            "largest: their error is no power law there yet.",
        )
    unread = [one["layer"] for one in found["layers"] if not one["smoothness"]["identified"]]
    if unread:
        reasons = next(one["smoothness"]["reasons"] for one in found["layers"] if one["layer"] == unread[-1])
        yield caveat(
            "smoothness_unidentified",
            f"β is not identified at layers {_listed(unread)}; at layer {unread[-1]}: {'; '.join(reasons)}.",
        )
    collapsed = {one["layer"]: one["dimension"].get("duplicates_collapsed", 0) for one in found["layers"]}
    repeats = {layer: count for layer, count in collapsed.items() if count}
    if repeats:
        said = ", ".join(f"{count} at layer {layer}" for layer, count in repeats.items())
        yield caveat("repeats", f"Points that repeat others up to rounding were left out: {said}.")
    chosen = found["chosen"]
    at_end = [one["n"] for one in chosen if one["at_last_step"] > len(study.seeds) / 2]
    if at_end:
        yield caveat(
            "last_step", f"Most seeds did best at the last step at n = {_listed(at_end)}: more might do better."
        )
    for name in SETTINGS:
        values = getattr(study.training, f"{name}s")
        for end, word in {min(values): "least", max(values): "largest"}.items() if len(values) > 1 else ():
            at = [one["n"] for one in chosen if one[name] == end]
            if at:
                said = f"Chosen was the {word} {name.replace('_', ' ')} tried, {end:g}, at n = {_listed(at)}."
                yield caveat("end_of_grid", said)
    if len(study.seeds) < 5:
        yield caveat("few_seeds", f"The spread between seeds rests on {len(study.seeds)} of them.")
    if found["diverged"]:
        yield caveat("diverged", f"{found['diverged']} of {found['students']} students diverged and were not chosen.")


def _listed(values: Sequence[object]) -> str:
    return ", ".join(map(str, values))


def _sentence(study: TeacherStudy, found: Part) -> str:
    law, last = found["squared"], found["layers"][-1]
    said = (
        f"From contexts of {_text(study, found)}, the squared error of students falls as n^-{law['exponent']:.3f} "
        f"{_ends(law['interval'])} over n = {min(law['sizes'])} to {max(law['sizes'])}, and the excess cross-entropy "
        f"as n^-{found['divergence']['exponent']:.3f} {_ends(found['divergence']['interval'])}, at a known floor of "
        "zero."
    )
    predicted = last["predicted"]["at_one"]
    if predicted:
        d = last["dimension"]
        said += (
            f" The last layer's dimension, {d['dimension']:.1f} {_ends(d['interval'], 1)}, at β = 1 predicts "
            f"{predicted['exponent']:.3f} {_ends(predicted['interval'])}: {found['tests'][0]['agreement']}."
        )
    if found["agreement"] != (found["tests"][0]["agreement"] or "inconclusive"):
        why = "the exponent changes over the sizes" if law["enough_sizes"] else "too few sizes count"
        said += f" The verdict is {found['agreement']} all the same, since {why}."
    best = next((one for one in found["layers"] if one["layer"] == found["best_layer"]), None)
    if best:
        neighbors = best["references"]["neighbors"]
        said += (
            f" In the coordinates of layer {best['layer']}, where nearest neighbors err least, theirs falls as "
            f"n^-{neighbors['exponent']:.3f} {_ends(neighbors['interval'])}"
        )
        equal = neighbors["at_equal_noise"]
        said += f", or of labels of equal noise as n^-{equal['exponent']:.3f} {_ends(equal['interval'])}"
        said += f"; {_measured(best, neighbors)}."
    return said


def _measured(best: Part, neighbors: Part) -> str:
    measured, d = best["predicted"]["measured"], best["dimension"]["dimension"]
    if measured is None or d is None:
        return "what its geometry predicts is not known, since β is not identified there"
    agreed = neighbors["agreement"]["measured"]
    if measured["exponent"] is None:
        low = measured["interval"][0]
        return f"its d of {d:.1f} and a β that may be 1 or more predict at least {low:.3f}: {agreed}"
    return (
        f"its d of {d:.1f} and β of {measured['beta']:.2f} predict {measured['exponent']:.3f} "
        f"{_ends(measured['interval'])}: {agreed}"
    )


def _text(study: TeacherStudy, found: Part) -> str:
    if study.teacher.name == "language":
        return f"a language of dimension {study.teacher.dimension} and smoothness {study.teacher.beta:g}"
    source = study.corpus.path or study.corpus.name or study.corpus.kind
    return f"{source}, with labels drawn from {found['teacher']}"


def _ends(interval: Sequence[float | None], digits: int = 3) -> str:
    low, high = ("…" if end is None else f"{end:.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


def _numbers(found: Part) -> list[dict[str, Any]]:
    last = found["layers"][-1]
    at_one = last["predicted"]["at_one"]
    predicted = at_one and at_one["exponent"]
    listed = [
        number(
            "exponent of the squared error in n", found["squared"]["exponent"], found["squared"]["interval"], predicted
        ),
        number(
            "exponent of the excess cross-entropy in n",
            found["divergence"]["exponent"],
            found["divergence"]["interval"],
        ),
    ]
    for one in found["layers"]:
        at = f"layer {one['layer']}"
        listed.append(number(f"d of {at}", one["dimension"]["dimension"], one["dimension"]["interval"]))
        smoothness = one["smoothness"]
        if smoothness["identified"]:
            listed.append(number(f"β of {at}", smoothness["beta"], smoothness["interval"]))
        for name, law in one["references"].items():
            measured = one["predicted"]["measured"]
            listed.append(
                number(
                    f"{REFERENCES[name]} at {at}: exponent in n",
                    law["exponent"],
                    law["interval"],
                    measured and measured["exponent"],
                )
            )
    return listed
