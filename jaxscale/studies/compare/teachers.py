"""Finished studies with a teacher side by side: does the exponent change from text to text as their dimension says?

    found = compare([pathlib.Path("runs/code"), pathlib.Path("runs/prose"), pathlib.Path("runs/language")])
    found["line"]["slope"], found["line"]["slope_interval"]

Havrilla & Liao 2024 (arXiv 2411.06646) say α = 2β/(2β + d), so that 1/α is a straight line in d: 1/α = 1 + d/(2β).
Each study is a point, d of the teacher's last layer with its error and 1/α of its students with its own, and the line
through them needs no β to be known beforehand: its intercept should be 1, its slope gives β. d and α are read from
different documents, so that their errors do not depend on each other. Nearest neighbors, in the coordinates of every
layer of every study, give a second line.

Which studies a line is put through is a rule stated beforehand: those with enough sizes for an exponent that is surely
above zero, a known d, and no smoothness known to be below 1, for which the theory's line at β = 1 does not speak.
"""

import pathlib
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from jaxscale import theory
from jaxscale.studies.compare import folders, lines
from jaxscale.verdict import Agreement, caveat, device, number, versions

Part = dict[str, Any]  # of a verdict, or all of it
Point = dict[str, Any]  # d and an exponent, each with its interval

FEWEST_STUDIES = 3
# The theory's line at β = 1, in d; at half and twice the dimension its slope is half and twice as large.
INTERCEPT, SLOPE = 1.0, 0.5
# Scatter that is less probable than this is said to be more than the intervals explain.
SURPRISING = 0.05
# A line's band is given at so many d, from zero to so many times the largest that any interval reaches.
BAND, BEYOND = 33, 1.05
QUESTION = "From text to text, does the inverse of the exponent grow with dimension as 1 + d/2, the theory at β = 1?"
LIMITS = (
    "The theory's line is that of β = 1. Where the probabilities are rougher, 1/α lies above it.",
    "What is wrong alike in all studies, such as a bias in d or students that are too small, no interval shows.",
    "Theorem 1 bounds the error from above: a line below the theory's does not contradict it.",
    "Layers of a study share documents and labels. The intervals of the line of neighbors come from leaving out whole "
    "studies; those of the points do not know of it.",
    "Seconds are those of the studies, not of this comparison.",
)


def compare(paths: Sequence[pathlib.Path]) -> Part:
    """What studies with a teacher say together, as plain values.

    Args:
      paths: folders of two or more finished `studies.TeacherStudy`s, of different names.

    Returns:
      The content of `verdict.json`. Its own keys are `level`; `studies`, for each its `name`, `corpus`, `teacher` and
      `outcome`, the exponents `squared` and `divergence` over n = `sizes`, the `last_layer` and `best_layer` with d,
      what is `predicted` from the last, the `agreement` of the study, the `neighbors` of every layer, and why it is
      `left_out` of the line, or None; `line` and `line_of_neighbors`, or None of fewer than three studies: `intercept`
      and `slope`, the implied `beta`, that with an `intercept` of 1, each with its interval, and the `band`.

    Raises:
      InputError: a folder holds no finished study.
    """
    read = [folders.read(path) for path in paths]
    level = read[0].config["level"]
    studies = [_study(one) for one in read]
    found: Part = {"kind": "compare", "question": QUESTION, "level": level, "studies": studies}
    kept = [one for one in studies if one["left_out"] is None]
    right = max(_right(point) for one in studies for point in (one["last_layer"], *one["neighbors"]))
    places = np.linspace(0, BEYOND * right, BAND)
    found["line"], found["theory"] = _line(kept, level, places) if len(kept) >= FEWEST_STUDIES else (None, None)
    found["line_of_neighbors"] = _line_of_neighbors(studies, level, places)
    found["caveats"] = list(_caveats(found, read))
    found["agreement"] = _agreement(found)
    return found | {
        "sentence": _sentence(found),
        "numbers": list(_numbers(found)),
        "limits": list(LIMITS),
        "seconds": sum(one.verdict["seconds"] for one in read),
        "processor_seconds": sum(one.verdict["processor_seconds"] for one in read),
        "stage_seconds": {},
        "versions": versions(),
        "device": device(),
    }


def _study(read: folders.StoredStudy) -> Part:
    config, verdict = read.config, read.verdict
    layers = verdict["layers"]
    last = layers[-1]
    best = next((one for one in layers if one["layer"] == verdict["best_layer"]), None)
    teacher, law = config["teacher"], verdict["squared"]
    known = teacher["beta"] if teacher["name"] == "language" else None
    found: Part = {
        "name": read.name,
        "corpus": _corpus(config),
        "teacher": verdict["teacher"],
        "outcome": teacher["outcome"],
        "level": config["level"],
        "known_smoothness": known,
        "sizes": [min(law["sizes"]), max(law["sizes"])],
        "squared": _observed(law),
        "divergence": _observed(verdict["divergence"]),
        "last_layer": _dimension(last),
        "best_layer": best and _dimension(best),
        "predicted": last["predicted"],
        "agreement": verdict["agreement"],
        "caveats": [one["code"] for one in verdict["caveats"]],
    }
    found["neighbors"] = [
        _dimension(one) | _observed(one["references"]["neighbors"])
        for one in layers
        if "neighbors" in one["references"] and one["dimension"]["dimension"] is not None
    ]
    return found | {"left_out": _left_out(found, law)}


def _corpus(config: Mapping[str, Any]) -> str:
    corpus, teacher = config["corpus"], config["teacher"]
    if teacher["name"] == "language":
        return f"language of d = {teacher['dimension']}, β = {teacher['beta']:g}"
    return str(corpus["path"] or corpus["name"] or corpus["kind"])


def _observed(law: Part) -> Part:
    return {"exponent": law["exponent"], "interval": law["interval"]}


def _dimension(layer: Part) -> Part:
    read = layer["dimension"]
    return {"layer": layer["layer"], "dimension": read["dimension"], "dimension_interval": read["interval"]}


def _left_out(study: Part, law: Part) -> str | None:
    """Why a study is no point of the line."""
    if not law["enough_sizes"]:
        return "too few of its sizes count"
    if study["last_layer"]["dimension"] is None:
        return "the dimension of its last layer is not known"
    if not law["interval"][0] > 0:
        return "its exponent may be zero"
    if study["known_smoothness"] not in (None, 1.0):
        return f"its smoothness is known to be {study['known_smoothness']:g}, and the line is that of β = 1"
    return None


def _neighbors(studies: Sequence[Part]) -> list[Point]:
    """The layers in whose coordinates neighbors have an exponent surely above zero, with the number of their study."""
    return [
        point | {"study": index, "level": study["level"]}
        for index, study in enumerate(studies)
        if study["known_smoothness"] in (None, 1.0)
        for point in study["neighbors"]
        if point["interval"][0] > 0
    ]


def _right(point: Point) -> float:
    return float(point["dimension_interval"][1]) if point["dimension"] is not None else 0.0


def _coordinates(points: Sequence[Point]) -> lines.Points:
    """d and 1/α of points, and the standard deviations of both; that of 1/α to first order."""
    d = np.array([point["dimension"] for point in points])
    alpha = np.array([point["exponent"] for point in points])
    of_d = [_deviation(point["dimension"], point["dimension_interval"], point["level"]) for point in points]
    of_alpha = [_deviation(point["exponent"], point["interval"], point["level"]) for point in points]
    return lines.Points(d, 1 / alpha, np.array(of_d), np.array(of_alpha) / alpha**2)


def _deviation(value: float, interval: Sequence[float], level: float) -> float:
    """The standard deviation of which a normal interval is as wide; of two sides the wider: one may be cut off."""
    return max(interval[1] - value, value - interval[0]) / statistics.NormalDist().inv_cdf((1 + level) / 2)


def _line(studies: Sequence[Part], level: float, places: np.ndarray) -> tuple[Part, Part]:
    """The line through the studies, and whether it refutes the theory's and those at half and twice the dimension."""
    points = _coordinates([one["last_layer"] | one["squared"] | {"level": one["level"]} for one in studies])
    line, held = lines.fit(points), lines.fit(points, INTERCEPT)
    held_interval = held.slope_interval(level)
    found = _described(line, line, level, places) | {
        "points": len(studies),
        "chi_squared": line.chi_squared,
        "degrees_of_freedom": line.degrees_of_freedom,
        "scatter_probability": line.scatter_probability(),
        "widening": line.widening,
        "with_intercept_one": {
            "slope": held.slope,
            "slope_interval": list(held_interval),
            "beta": _smoothness(held.slope),
            "beta_interval": _smoothness_interval(held_interval),
        },
    }
    excludes = {factor: line.excludes(INTERCEPT, factor * SLOPE, level) for factor in (1, 0.5, 2)}
    return found, {
        "intercept": INTERCEPT,
        "slope": SLOPE,
        "excluded": excludes[1],
        "half_excluded": excludes[0.5],
        "twice_excluded": excludes[2],
    }


def _line_of_neighbors(studies: Sequence[Part], level: float, places: np.ndarray) -> Part | None:
    """The line through the layers of all studies; None of fewer studies than take a jackknife."""
    points = _neighbors(studies)
    group = [point["study"] for point in points]
    if len(set(group)) < FEWEST_STUDIES or min(len(group) - group.count(one) for one in group) < FEWEST_STUDIES:
        return None
    line = lines.fit_groups(_coordinates(points), group)
    return _described(line.whole, line, level, places) | {"points": len(points), "studies": len(set(group))}


def _described(line: lines.Line, open_to: lines.Line | lines.GroupedLine, level: float, places: np.ndarray) -> Part:
    slope_interval = open_to.slope_interval(level)
    band = [(float(d), line.value(float(d)), open_to.value_interval(float(d), level)) for d in places]
    return {
        "intercept": line.intercept,
        "intercept_interval": list(open_to.value_interval(0.0, level)),
        "slope": line.slope,
        "slope_interval": list(slope_interval),
        "beta": _smoothness(line.slope),
        "beta_interval": _smoothness_interval(slope_interval),
        "band": [{"d": d, "value": value, "lower": lower, "upper": upper} for d, value, (lower, upper) in band],
    }


def _smoothness(slope: float) -> float | None:
    """β of a slope 1/(2β); None of a slope that no β has."""
    return 1 / (2 * slope) if slope > 0 else None


def _smoothness_interval(slopes: lines.Ends) -> list[float | None] | None:
    """Those of β, an end None where slopes reach zero or infinity; None where all lie below zero."""
    low, high = slopes
    if high is not None and high <= 0:
        return None
    return [None if high is None else 1 / (2 * high), 1 / (2 * low) if low is not None and low > 0 else None]


def _within(interval: Sequence[float | None], value: float) -> bool:
    low, high = interval
    return (low is None or low <= value) and (high is None or value <= high)


def _agreement(found: Part) -> Agreement:
    """That of the students' line with the theory's at β = 1.

    As `laws.agreement`: "inconsistent" where the points refute the theory's line; "consistent" where they do not, the
    intervals of intercept and slope hold its own, 1/α surely grows with d, and the points could have refuted the lines
    at half and twice the dimension. Lines are refuted as a whole, by the joint region of both parameters: intercept and
    slope err together, so that two wide intervals can hold a line far from every point, and of two intervals one misses
    too often.
    """
    line, against = found["line"], found["theory"]
    if line is None:
        return "inconclusive"
    if against["excluded"]:
        return "inconsistent"
    held = _within(line["intercept_interval"], INTERCEPT) and _within(line["slope_interval"], SLOPE)
    tested = _grows(line) and against["half_excluded"] and against["twice_excluded"]
    return "consistent" if held and tested else "inconclusive"


def _grows(line: Part) -> bool:
    """Whether the points say that 1/α grows with d at all."""
    low, high = line["slope_interval"]
    return low is not None and high is not None and low > 0


def _caveats(found: Part, read: Sequence[folders.StoredStudy]) -> Iterator[dict[str, str]]:
    studies, line = found["studies"], found["line"]
    left = [one for one in studies if one["left_out"]]
    if line is None:
        yield caveat(
            "few_studies",
            f"{len(studies) - len(left)} of {len(studies)} studies count, and a line takes {FEWEST_STUDIES}: there is "
            "none. Add studies of other texts.",
        )
    for one in left:
        yield caveat("left_out", f"{one['name']} is no point of the line: {one['left_out']}.")
    if line:
        if line["scatter_probability"] < SURPRISING:
            yield caveat(
                "scatter",
                f"Studies scatter about the line more than their intervals explain, χ² = {line['chi_squared']:.1f} at "
                f"{line['degrees_of_freedom']} degrees of freedom: intervals are widened {line['widening']:.1f} times.",
            )
        elif line["degrees_of_freedom"] < 3:
            yield caveat(
                "scatter_unknown",
                f"Whether studies scatter more than their intervals say, {line['points']} of them can hardly show.",
            )
        if None in line["slope_interval"]:
            yield caveat(
                "slope_unknown",
                "The dimensions of the studies lie too close together, for how well they are known, to say a slope. "
                "Add texts of other dimensions.",
            )
    shared: dict[tuple[str, ...], list[str]] = {}
    for one in read:
        corpus, teacher = one.config["corpus"], one.config["teacher"]
        if teacher["name"] != "language":
            same = tuple(str(corpus[field]) for field in ("kind", "path", "name", "subset", "split"))
            shared.setdefault((*same, one.verdict["teacher"]), []).append(one.name)
    for names in shared.values():
        if len(names) > 1:
            yield caveat(
                "shared_text",
                f"{' and '.join(names)} read the same text with the same teacher: their errors depend on each other, "
                "and a line takes them for independent.",
            )
    having: dict[str, list[str]] = {}
    for one in studies:
        for code in dict.fromkeys(one["caveats"]):
            having.setdefault(code, []).append(one["name"])
    if having:
        own = [f"{code} ({'all' if len(of) == len(studies) else ', '.join(of)})" for code, of in having.items()]
        yield caveat("caveats_of_studies", f"Studies have caveats of their own: {'; '.join(own)}.")


def _sentence(found: Part) -> str:
    line, studies = found["line"], found["studies"]
    if line is None:
        said = []
        for one in studies:
            last, law = one["last_layer"], one["squared"]
            d_read = _value(last["dimension"], last["dimension_interval"], 1)
            said.append(f"{one['name']} has d = {d_read} and α = {_value(law['exponent'], law['interval'], 3)}")
        return f"Too few studies for a line: {'; '.join(said)}."
    d = [one["last_layer"]["dimension"] for one in studies if one["left_out"] is None]
    held = line["with_intercept_one"]
    parts = [
        f"Over {line['points']} studies whose last layers have d from {min(d):.1f} to {max(d):.1f}, the line of 1/α of "
        f"students against d has {_equation(line)}, where theory at β = 1 says 1 and 0.5: {found['agreement']}"
        f"{_reason(found)}."
    ]
    if line["beta"] is None:
        parts.append("No β has such a slope.")
    else:
        with_one = _value(held["beta"], held["beta_interval"], 2)
        implied = _value(line["beta"], line["beta_interval"], 2)
        parts.append(f"The slope implies β = {implied}; that with the intercept held at 1, {with_one}.")
    if neighbors := found["line_of_neighbors"]:
        parts.append(f"The line of nearest neighbors in {neighbors['points']} layers has {_equation(neighbors)}.")
    return " ".join(parts)


def _reason(found: Part) -> str:
    """Why nothing is decided."""
    if found["agreement"] != "inconclusive":
        return ""
    open_to = [name for name in ("half", "twice") if not found["theory"][f"{name}_excluded"]]
    if open_to:
        return f", since lines at {' and '.join(open_to)} the dimension are not refuted either"
    if not _grows(found["line"]):
        return ", since whether 1/α grows with d is not known"
    return ", since one of them lies outside its interval, though the line as a whole is not refuted"


def _equation(line: Part) -> str:
    intercept = _value(line["intercept"], line["intercept_interval"], 2)
    return f"intercept {intercept} and slope {_value(line['slope'], line['slope_interval'], 2)}"


def _value(value: float | None, interval: Sequence[float | None] | None, digits: int) -> str:
    """A number with its interval; `…` for what is not known."""
    written: Callable[[float | None], str] = lambda one: "…" if one is None else f"{one:.{digits}f}"
    return written(value) + (f" [{', '.join(map(written, interval))}]" if interval else "")


def _numbers(found: Part) -> Iterator[dict[str, Any]]:
    for name, of in (("line", "students"), ("line_of_neighbors", "neighbors")):
        if line := found[name]:
            yield number(f"intercept of 1/α of {of} in d", line["intercept"], line["intercept_interval"], INTERCEPT)
            yield number(f"slope of 1/α of {of} in d", line["slope"], line["slope_interval"], SLOPE)
            yield number(f"β that the slope of {of} implies", line["beta"], line["beta_interval"], 1.0)
            if held := line.get("with_intercept_one"):
                yield number(f"β of {of} with an intercept of 1", held["beta"], held["beta_interval"], 1.0)
    for one in found["studies"]:
        name, at_one = one["name"], one["predicted"]["at_one"]
        squared, divergence = one["squared"], one["divergence"]
        predicted = at_one and at_one["exponent"]
        if at_one and one["known_smoothness"] is not None:
            predicted = float(theory.data_exponent(one["last_layer"]["dimension"], one["known_smoothness"]))
        yield number(f"exponent of the squared error of {name}", squared["exponent"], squared["interval"], predicted)
        yield number(f"exponent of the excess cross-entropy of {name}", divergence["exponent"], divergence["interval"])
        for which in ("last", "best"):
            if layer := one[f"{which}_layer"]:
                said = f"d of the {which} layer of {name}"
                yield number(said, layer["dimension"], layer["dimension_interval"])
