"""A study of length generalization as one web page: how loss grows with length, where it stops, what theorems ask.

render("runs/simple")      # PosixPath('runs/simple/report.html')
"""

import html
import os
import pathlib
from collections.abc import Callable
from typing import Any

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, duration, interval, number, percent
from jaxscale.studies.lengths import figures
from jaxscale.studies.lengths.config import NAMES
from jaxscale.studies.lengths.figures import Verdict, distinct, label

TITLES = {
    "simple": "Length generalization: the sine of a difference of counts",
    "mod_p": "Length generalization: the mean over one residue",
    "k_gram": "Length generalization: the in-context k-gram",
}


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `studies.LengthStudy`, whole or not at all, and returns its path."""
    folder = pathlib.Path(folder)
    verdict, rows = files.read_json(folder / "verdict.json"), files.read_json_lines(folder / "table.jsonl")
    path = folder / "report.html"
    files.write_text(path, page(verdict, rows, files.read_json(folder / "config.json")))
    return path


def page(verdict: Verdict, rows: list[dict[str, Any]], config: dict[str, Any]) -> str:
    """The whole page as one string of HTML."""
    sections = [
        _lengths(verdict, rows),
        _plateaus(verdict),
        _attention(verdict),
        _thresholds(verdict, config),
        _hard(verdict, config),
        _bounds(verdict),
        _certificates(verdict),
        _table(verdict),
    ]
    return layout.conclusion(TITLES[verdict["task"]], verdict, sections, config)


def _lengths(verdict: Verdict, rows: list[dict[str, Any]]) -> str:
    """Loss against test length, a panel for each task parameter."""
    sections = []
    for i, one in enumerate(distinct([entry["parameters"] for entry in verdict["plateaus"]])):
        description = f"Test loss against test length at {label(one)}, a line for each train length."
        drawing = plots.drawing(figures.length_figure(rows, one), f"figure-lengths-{i}", description)
        caption = "Lines: the median over seeds; bands: all of them. Diamonds: the length trained on."
        caption += _without_runs([entry for entry in verdict["plateaus"] if entry["parameters"] == one])
        sections.append(figure_section(f"Loss against test length, {label(one)}", drawing, caption))
    return "\n".join(sections)


def _plateaus(verdict: Verdict) -> str:
    description = "Loss at infinite length against train length."
    drawing = plots.drawing(figures.plateau_figure(verdict), "figure-plateaus", description)
    caption = (
        "Geometric means over seeds with bootstrap intervals. Dotted: the loss at the train length itself, which is "
        "the optimizer's; the rest of the plateau is the price of length."
    )
    caption += _without_runs(verdict["plateaus"])
    return figure_section("The plateau against the train length", drawing, caption)


def _attention(verdict: Verdict) -> str:
    look = verdict["attention"]
    if not look:
        return ""
    description = "Attention of the last token over the positions of a string."
    figure = figures.attention_figure(look["weights"], look["wanted"])
    caption = (
        f"{label(look['parameters'])}, a string of the train length {number(look['train_length'])}. "
        f"{percent(look['mass'])} of the attention lies on the right residue; the theorem assumes all of it."
    )
    drawing = plots.drawing(figure, "figure-attention", description)
    return figure_section("Where a trained network looks", drawing, caption)


def _thresholds(verdict: Verdict, config: dict[str, Any]) -> str:
    sections = []
    for name in verdict["plateaus"][0]["parameters"]:
        if len({entry["parameters"][name] for entry in verdict["plateaus"]}) > 1:
            figure = figures.threshold_figure(verdict, name)
            description = f"Least sufficient train length against {NAMES[name]}."
            drawing = plots.drawing(figure, f"figure-thresholds-{name}", description)
            caption = "ε: root of the mean square. Triangles: the threshold lies above (up) or below (down) the grid."
            caption += _without_threshold(verdict)
            sections.append(figure_section(f"How long is long enough, against {NAMES[name]}", drawing, caption))
    body = [
        [
            f"ε = {group['epsilon']:g}, in {NAMES[one['in']]}" + (f" at {label(one['at'])}" if one["at"] else ""),
            number(one["exponent"]),
            interval(one["interval"]),
            number(one["quoted"]),
        ]
        for group in verdict["thresholds"]
        for one in group["exponents"]
    ]
    caption = f"Of N*(ε); intervals at {percent(config['level'])}. A bound is from above: measured values lie below it."
    table = ruled_table(["exponent", "measured", "interval", "bound, quoted"], body, caption, numeric={1, 3})
    exponents = f"<section><h2>Exponents</h2>{table}</section>" if body else ""
    return "\n".join([*sections, _sufficient_lengths(verdict, config), exponents])


def _sufficient_lengths(verdict: Verdict, config: dict[str, Any]) -> str:
    """Every N*(ε), those beyond the grid and those without runs too."""
    grid = [min(config["train_lengths"]), max(config["train_lengths"])]
    said = {
        "no": "",
        "left": f"at most {number(grid[0])}, the shortest",
        "right": f"above {number(grid[1])}, the longest",
    }
    body = []
    for group in verdict["thresholds"]:
        for entry in group["thresholds"]:
            found = entry["censored"] == "no"
            body.append(
                [
                    f"ε = {group['epsilon']:g}",
                    html.escape(label(entry["parameters"])),
                    number(entry["length"]) if found else said.get(entry["censored"], entry["censored"]),
                    interval(entry["interval"]) if entry["interval"] else UNKNOWN,
                ]
            )
    caption = (
        f"Intervals at {percent(config['level'])}, over runs; an end without a number lies outside the lengths known. "
        "A threshold is read beyond the lengths of which all runs collapsed."
    )
    table = ruled_table(["error", "", "N*(ε)", "interval"], body, caption)
    return f"<section><h2>Sufficient train lengths</h2>{table}</section>"


def _without_runs(entries: list[dict[str, Any]]) -> str:
    """Which cells no figure shows, for all their runs collapsed."""
    gone = [
        f"{label(entry['parameters'])} at N = {number(entry['train_length'])}" for entry in entries if not entry["runs"]
    ]
    return f" Not shown, as all runs collapsed: {'; '.join(gone)}." if gone else ""


def _without_threshold(verdict: Verdict) -> str:
    gone = distinct(
        [e["parameters"] for group in verdict["thresholds"] for e in group["thresholds"] if not e["length"]]
    )
    listed = "; ".join(label(one) for one in gone)
    return f" Not shown, as all runs of a train length that may suffice collapsed: {listed}." if gone else ""


def _hard(verdict: Verdict, config: dict[str, Any]) -> str:
    if not verdict["hard"]:
        return ""
    longest, train_length = max(e["length"] for e in verdict["hard"]), max(config["train_lengths"])
    figure = figures.hard_figure(verdict, train_length, longest)
    description = f"Largest error by kind of string at length {longest}."
    caption = (
        f"Networks trained at N = {number(train_length)}, strings of {number(longest)} tokens: the largest error among "
        "those tried, median over seeds. A mean over the trained law says little of these. Shorter strings and "
        "networks of shorter training strings are in verdict.json."
    )
    caption += _without_runs([e for e in verdict["plateaus"] if e["train_length"] == train_length])
    return figure_section("Strings to fail on", plots.drawing(figure, "figure-hard", description), caption)


def _bounds(verdict: Verdict) -> str:
    body = [
        [
            html.escape(label(entry["parameters"])),
            html.escape(entry["theorem"]),
            number(entry["heads"]),
            *(number(entry["construction"][name]) for name in ("quoted", "derived")),
            *(number(entry["trained"][name]) for name in ("quoted", "derived", "gap", "lipschitz", "log10_constant")),
        ]
        for entry in verdict["bounds"]
    ]
    headings = ["", "theorem", "heads", "built: quoted", "derived", "trained: quoted", "derived", "γ", "L", "log C"]
    caption = (
        "log10 of a sufficient train length at ε = 0.1, constants taken as one: compare orderings, not values. Of "
        "trained networks: medians over those of the largest N."
    )
    table = ruled_table(headings, body, caption, numeric=range(2, 10))
    return f"<section><h2>What the theorems ask for</h2>{table}</section>"


def _certificates(verdict: Verdict) -> str:
    parts = ("network", "target", "short", "bound", "error")
    body = [
        [
            html.escape(label(entry["parameters"])),
            number(entry["long"]),
            number(entry["length"]),
            *(number(entry[part]) for part in parts),
        ]
        for entry in verdict["certificates"]
    ]
    headings = ["", "|x|", "|z|", "|f(x) − f(z)|", "|g(x) − g(z)|", "|f(z) − g(z)|", "sum", "|f(x) − g(x)|"]
    caption = (
        "Means over long strings x and the short z that stand for them: the sum bounds the last column. One network of "
        "the largest N for each task parameter."
    )
    longest = max((entry["train_length"] for entry in verdict["plateaus"]), default=0)
    caption += _without_runs([entry for entry in verdict["plateaus"] if entry["train_length"] == longest])
    return f"<section><h2>Certificates</h2>{ruled_table(headings, body, caption, numeric=range(1, 8))}</section>"


def _table(verdict: Verdict) -> str:
    mean: Callable[[Any, str], str] = lambda entry, name: number(entry[name]["mean"]) if entry[name] else UNKNOWN
    body = [
        [
            html.escape(label(entry["parameters"])),
            *(number(entry[name]) for name in ("train_length", "runs", "collapsed")),
            *(mean(entry, name) for name in ("own", "ten", "inf")),
            interval(entry["inf"]["interval"]) if entry["inf"] else UNKNOWN,
            number(entry.get("length_gap")),
        ]
        for entry in verdict["plateaus"]
    ]
    headings = ["", "N", "runs", "collapsed", "loss at N", "at 10 N", "at ∞", "interval", "gap of length"]
    took, processor = verdict["training_seconds"], verdict["training_processor_seconds"]
    caption = f"Training took {duration(took)}, {duration(processor)} of processor time."
    return f"<section><h2>Plateaus</h2>{ruled_table(headings, body, caption, numeric=range(1, 9))}</section>"
