"""Tables of docs pages that are filled from the committed ones in benchmarks/results, by `make results`.

A page holds a comment, and below it, up to the next empty line, the table that the comment asks for:

    <!-- studies: manifold_sphere1 manifold_sphere2 -->
    <!-- comparison: compare_ambient -->
    <!-- errors: manifold_sphere2 -->
    <!-- losses: text_loss -->
    <!-- verdict: text_loss -->
    <!-- teacher: quickstart teacher_reference -->
    <!-- layers: quickstart -->
    <!-- menu: dimension_menu -->
    <!-- scales: dimension_scales -->
"""

import json
import pathlib
import re

RESULTS = pathlib.Path(__file__).parent / "results" / "studies"
DOCS = pathlib.Path(__file__).parents[1] / "docs"
KINDS = "studies|comparison|errors|losses|verdict|teacher|layers|menu|scales"
MARK = re.compile(rf"^<!-- ({KINDS}): ([\w. ]+?) -->\n(?:\|.*\n)*", re.MULTILINE)


def filled(text):
    """A page with every table as the committed results have it."""

    def made(found):
        kind, names = found[1], found[2].split()
        folder = RESULTS.parent if kind in ("menu", "scales") else RESULTS
        measured = [name for name in names if (folder / f"{name}.json").is_file()]
        lines = [MAKERS[kind](measured)] if measured else []
        if missing := [_name(name) for name in names if name not in measured]:
            lines.append(f"| not measured: {', '.join(missing)} |")
        return f"<!-- {kind}: {found[2]} -->\n" + "\n".join(lines) + "\n"

    return MARK.sub(made, text)


def pages():
    """(path, text) of every page with a table to fill."""
    for path in sorted(DOCS.glob("*.md")):
        text = path.read_text(encoding="utf-8")
        if MARK.search(text):
            yield path, text


def _verdict(name):
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["verdict"]


def _interval(one):
    if one["interval"] is None:
        return f"{one['exponent']:.3f}"
    low, high = one["interval"]
    return f"{one['exponent']:.3f} [{low:.3f}, {high:.3f}]"


def _table(headings, rows):
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))


def _name(name):
    return name.removeprefix("manifold_").replace("_", " ")


def _studies(names):
    """Exponents of networks and references beside theory."""
    rows = []
    for name in names:
        data, references = _verdict(name)["data"], _verdict(name)["references"]
        sizes = f"{min(data['sizes'])} to {max(data['sizes'])}" + ("" if data["enough_sizes"] else " (too few count)")
        cells = [_name(name), f"{data['predicted']:.3f}", f"**{_interval(data)}**", sizes]
        cells += [_interval(data["over_all_sizes"]), _interval(data["with_offset"])]
        cells.append(_interval(data["narrower"]) if data["narrower"] else "—")
        rows.append(
            cells
            + [_interval(references[one]) if one in references else "—" for one in ("best", "kernel", "neighbors")]
        )
    headings = ["study", "theory", "networks", "sizes that count", "all sizes", "with a free offset", "a stricter rule"]
    return _table([*headings, "best linear", "kernel", "neighbors"], rows)


def _comparison(names):
    """What differs from the first study, and by how much."""
    rows = []
    for one in _verdict(names[0])["studies"]:
        found, ratio = one.get("difference"), one.get("ratio_where_it_counts")
        sizes = f"{min(one['sizes'])} to {max(one['sizes'])}" + ("" if one["enough_sizes"] else " (too few count)")
        rows.append(
            [
                _name(one["name"]),
                f"{one['dimension']:.2f}",
                _interval(one),
                sizes,
                f"{found['exponent']:+.3f} [{found['interval'][0]:+.3f}, {found['interval'][1]:+.3f}]"
                if found
                else "—",
                f"{ratio[0]:.2f} to {ratio[1]:.2f}" if ratio else "—",
                f"{one['references']['neighbors']:.3f}",
            ]
        )
    headings = ["study", "dimension read", "exponent", "sizes that count", "difference", "ratio of errors", "neighbors"]
    return _table(headings, rows)


def _errors(names):
    """Errors by size of the networks of several studies, and of the references of the first."""
    found = {_name(name): _verdict(name)["data"]["by_size"] for name in names}
    found |= {name: one["by_size"] for name, one in _verdict(names[0])["references"].items()}
    by_name = {name: {one["n"]: one["loss"] for one in entries} for name, entries in found.items()}
    sizes = sorted(next(iter(by_name.values())))
    rows = [[str(n), *(f"{one[n]:.4f}" if n in one else "—" for one in by_name.values())] for n in sizes]
    return _table(["n", *by_name], rows)


def _losses(names):
    """Of one study of text the loss of every run, a row for each seed."""
    runs = json.loads((RESULTS / f"{names[0]}.json").read_text(encoding="utf-8"))["runs"]
    by_run = {(one["seed"], one["n"]): one["loss"] for one in runs}
    seeds, sizes = (sorted(set(column)) for column in zip(*by_run, strict=True))
    rows = [[f"loss, seed {seed}", *(f"{by_run[seed, n]:.3f}" for n in sizes)] for seed in seeds]
    return _table(["n", *(f"{n:,}".replace(",", " ") for n in sizes)], rows)


def _text_verdict(names):
    """What one study of text measured, predicted and observed."""
    found = _verdict(names[0])
    d, predicted, observed = found["dimension"], found["predicted"], found["observed"]
    beta, ahead = d["smoothness"], observed["back_test"]
    ends = lambda interval: f"{interval[0]:.2f} to {interval[1]:.2f}"
    identified = "identified" if beta["identified"] else "not identified"
    rows = [
        ["dimension d of the last layer", f"{d['estimate']:.2f}", ends(d["interval"])],
        ["predicted α", f"{predicted['exponent']:.2f}", ends(predicted["interval"])],
        ["observed α", f"{observed['exponent']:.2f}", ends(observed["exponent_interval"])],
        ["irreducible loss E", f"{observed['irreducible_loss']:.2f}", ends(observed["irreducible_loss_interval"])],
        [
            "forecasts of larger n, from smaller n alone",
            f"{ahead['error']:.1%} off",
            f"{ahead['coverage']:.0%} inside their 95% interval",
        ],
        [
            f"smoothness β of next-token probabilities, {identified}",
            f"{beta['beta']:.2f}",
            ends(beta["interval"]),
        ],
        [f"agreement: **{found['agreement']}**", "", ""],
    ]
    return _table(["", "estimate", "95% interval"], rows)


def _ends(interval, digits=3):
    low, high = ("…" if end is None else f"{end:.{digits}f}" for end in interval)
    return f"[{low}, {high}]"


def _teacher(names):
    """Of studies with a teacher: exponents of students, and what the last layer's dimension predicts."""
    rows = []
    for name in names:
        found = _verdict(name)
        squared, last = found["squared"], found["layers"][-1]
        dimension, predicted = last["dimension"], last["predicted"]["at_one"]
        rows.append(
            [
                name.removeprefix("teacher_"),
                f"{min(squared['sizes'])} to {max(squared['sizes'])}",
                f"**{_interval(squared)}**",
                _interval(found["divergence"]),
                f"{dimension['dimension']:.1f} {_ends(dimension['interval'], 1)}",
                f"{predicted['exponent']:.3f} {_ends(predicted['interval'])}",
                found["agreement"],
            ]
        )
    headings = ["study", "n", "squared error", "excess cross-entropy", "d, last layer", "predicted at β = 1"]
    return _table([*headings, "agreement"], rows)


def _layers(names):
    """Of one study with a teacher, what each layer's geometry predicts and what nearest neighbors show there."""
    rows = []
    for one in _verdict(names[0])["layers"]:
        dimension, smoothness, measured = one["dimension"], one["smoothness"], one["predicted"]["measured"]
        at_one, neighbors = one["predicted"]["at_one"], one["references"].get("neighbors")
        beta = f"{smoothness['beta']:.2f}" if smoothness["beta"] is not None else "—"
        rows.append(
            [
                str(one["layer"]),
                f"{dimension['dimension']:.1f} {_ends(dimension['interval'], 1)}",
                f"{beta} {_ends(smoothness['interval'], 2)}" if smoothness["identified"] else f"{beta}, not identified",
                f"{at_one['exponent']:.3f} {_ends(at_one['interval'])}",
                f"{_ends(measured['interval'])}" if measured else "—",
                _interval(neighbors) if neighbors else "—",
                str(one["agreement"]["at_one"]),
            ]
        )
    headings = ["layer", "d", "β", "predicted at β = 1", "at the measured β", "neighbors there", "students, at β = 1"]
    return _table(headings, rows)


def _menu(names):
    """What each estimator of dimension reads, can do and costs."""
    rows = []
    for one in json.loads((RESULTS.parent / f"{names[0]}.json").read_text(encoding="utf-8"))["rows"]:
        can = ["yes" if one[what] else "no" for what in ("gradient", "jit", "vmap", "sharded")]
        seconds = [f"{one[what]:.2g}" for what in ("seconds", "first_seconds")]
        function, _, rule = one["name"].partition(", ")
        name = f"`{function}`, `{rule}`" if rule else f"`{function}`"
        rows.append([name, one["reads"], one["neighbors"], *can, one["cost"], *seconds, one["use"]])
    headings = ["estimator", "reads", "k; fewest", "gradient", "jit", "vmap", "sharded", "cost", "s", "s to compile"]
    return _table([*headings, "for, and not for"], rows)


def _scales(names):
    """How often noise, curvature and plateaus are told right, by kind of cloud and by number of columns."""
    found = json.loads((RESULTS.parent / f"{names[0]}.json").read_text(encoding="utf-8"))
    parts = {f"*{name}*" if name in found["unseen_clouds"] else name: part for name, part in found["clouds"].items()}
    parts |= {"all": found["all"], "*those in italics*": found["unseen"]}
    parts |= {f"all, in {width} columns": part for width, part in found["widths"].items()}
    share = lambda counts: f"{counts[0]} of {counts[1]}" if counts else "flat"
    rows = []
    for name, part in parts.items():
        middle, low, high = part["deviation_ratio"]
        rows.append(
            [
                name,
                share(part["noise_claimed_without_noise"]),
                share(part["noise_found"]),
                f"{middle:.2f} ({low:.2f} to {high:.2f})",
                share(part["curvature_claimed_bent_without_noise"]),
                share(part["plateaus_that_hold_d"]),
            ]
        )
    headings = [
        "cloud",
        "noise claimed where there is none",
        "noise found",
        "its standard deviation, over the true one",
    ]
    return _table([*headings, "curvature found", "plateaus that hold d"], rows)


MAKERS = {
    "studies": _studies,
    "comparison": _comparison,
    "errors": _errors,
    "losses": _losses,
    "verdict": _text_verdict,
    "teacher": _teacher,
    "layers": _layers,
    "menu": _menu,
    "scales": _scales,
}
