"""A study with a teacher as one web page: what was found, the figures it rests on, and what speaks against it.

render("runs/teacher")      # PosixPath('runs/teacher/report.html')
"""

import os
import pathlib
from typing import Any

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, interval, number, percent
from jaxscale.studies.teacher import figures

Verdict = dict[str, Any]
TITLE = "Real text with a known truth"


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `studies.TeacherStudy`, whole or not at all, and returns its path."""
    folder = pathlib.Path(folder)
    path = folder / "report.html"
    verdict, config = (files.read_json(folder / name) for name in ("verdict.json", "config.json"))
    files.write_text(path, page(verdict, files.read_json_lines(folder / "table.jsonl"), config))
    return path


def page(verdict: Verdict, rows: list[dict[str, Any]], config: dict[str, Any]) -> str:
    """The whole page as one string of HTML."""
    sections = [
        *_figures(verdict, rows),
        _exponents(verdict, config),
        _layers(verdict, config),
        _sizes(verdict, rows),
        _choices(verdict),
        _facts(verdict),
    ]
    return layout.conclusion(TITLE, verdict, sections, config)


def _figures(verdict: Verdict, rows: list[dict[str, Any]]) -> list[str]:
    drawn = [
        (
            "Squared error against n",
            figures.error_figure(verdict, rows),
            "Students: every point a seed; validation chose the settings for every n, and the step for every student; "
            "hollow: left out of the fit. Nearest neighbors read the same contexts and labels in a layer's "
            "coordinates. The errors are exact: the truth is known, and the floor is zero.",
        ),
        (
            "Exponents by layer",
            figures.exponent_figure(verdict),
            "What the geometry of each layer predicts, 2β/(2β+d), beside what was observed: nearest neighbors and "
            "kernel regression in that layer's coordinates, and students, who see tokens and no layer. A prediction at "
            "the measured β is shown where β is identified.",
        ),
        (
            "Excess cross-entropy against n",
            figures.divergence_figure(verdict),
            "Kullback-Leibler divergence from the teacher, means over seeds; bars of two standard errors, clustered by "
            "document.",
        ),
        (
            "Dimension by layer",
            figures.geometry_figure(verdict),
            "By maximum likelihood, calibrated, from contexts of held-out documents that serve nothing else.",
        ),
        (
            "Every setting by itself",
            figures.setting_figure(verdict),
            "Means over seeds; the lowest was chosen at each n.",
        ),
    ]
    return [
        figure_section(title, plots.drawing(figure, f"figure-{i}", title), caption)
        for i, (title, figure, caption) in enumerate(drawn)
    ]


def _exponents(verdict: Verdict, config: dict[str, Any]) -> str:
    squared, divergence = verdict["squared"], verdict["divergence"]
    listed = [
        ("squared error, sizes that count", squared),
        ("squared error, all sizes", squared["over_all_sizes"]),
        ("excess cross-entropy, sizes that count", divergence),
        ("excess cross-entropy, all sizes", divergence["over_all_sizes"]),
    ]
    body = [
        [
            name,
            number(one["exponent"]),
            interval(one["interval"]),
            number(one["bend"]["change"]) if one["bend"] else UNKNOWN,
            interval(one["bend"]["interval"]) if one["bend"] else "",
        ]
        for name, one in listed
    ]
    caption = (
        f"Power laws without a floor; intervals at {percent(config['level'])}, documents resampled whole and seeds by "
        "their spread. The change is that of the exponent from the least to the largest n."
    )
    table = ruled_table(["students", "exponent", "interval", "change", "interval"], body, caption, numeric={1, 3})
    return f"<section><h2>Exponents of the students</h2>{table}</section>"


def _layers(verdict: Verdict, config: dict[str, Any]) -> str:
    def row(one: dict[str, Any]) -> list[str]:
        d, smoothness, predicted = one["dimension"], one["smoothness"], one["predicted"]
        at_one, measured = predicted["at_one"], predicted["measured"]
        neighbors = one["references"].get("neighbors")
        beta = number(smoothness["beta"]) if smoothness["identified"] else f"({number(smoothness['beta'])})"
        return [
            str(one["layer"]),
            number(d["dimension"]),
            interval(d["interval"]),
            beta,
            interval(smoothness["interval"]),
            number(at_one["exponent"]) if at_one else UNKNOWN,
            interval(measured["interval"]) if measured else "",
            f"{number(neighbors['exponent'])} {interval(neighbors['interval'])}" if neighbors else UNKNOWN,
            str(one["agreement"]["at_one"] or UNKNOWN),
            str((neighbors and neighbors["agreement"]["measured"]) or UNKNOWN),
        ]

    headings = [
        "layer",
        "d",
        "interval",
        "β",
        "interval",
        "at β = 1",
        "at measured β",
        "neighbors",
        "students",
        "neighbors",
    ]
    caption = (
        "Geometry, what it predicts, and what was observed. In parentheses: a β that is not identified. The last two "
        "columns say how the students agree with the prediction at β = 1, and neighbors with that at the measured β. "
        f"Intervals at {percent(config['level'])}, clustered by document."
    )
    table = ruled_table(headings, map(row, verdict["layers"]), caption, numeric={0, 1, 3, 5})
    return f"<section><h2>Layers</h2>{table}</section>"


def _sizes(verdict: Verdict, rows: list[dict[str, Any]]) -> str:
    divergence = {one["n"]: one for one in verdict["divergence"]["by_size"]}
    text = {
        n: sum(row["text_loss"] for row in rows if row["n"] == n and row["noisy"])
        / sum(row["n"] == n and row["noisy"] for row in rows)
        for n in divergence
    }
    body = [
        [
            number(one["n"]),
            number(one["loss"]),
            number(one["standard_error"]),
            number(divergence[one["n"]]["loss"]),
            number(divergence[one["n"]]["standard_error"]),
            number(text[one["n"]]),
        ]
        for one in verdict["squared"]["by_size"]
    ]
    headings = ["n", "squared error", "standard error", "excess cross-entropy", "standard error", "loss on the text"]
    caption = (
        "Means over seeds and test documents. The last column is the cross-entropy of what came next in the text, in "
        f"nats: the teacher's own is {number(verdict['facts']['teacher_nats_per_outcome'])}."
    )
    return f"<section><h2>Errors</h2>{ruled_table(headings, body, caption, numeric=range(6))}</section>"


def _choices(verdict: Verdict) -> str:
    names = ("n", "width", "learning_rate", "weight_decay", "median_step", "at_last_step")
    body = [[number(one[name]) for name in names] for one in verdict["chosen"]]
    headings = ["n", "width", "learning rate", "weight decay", "median step", "at the last step"]
    caption = "What validation chose for all seeds, and how many of them did best at the last step."
    return f"<section><h2>Choices</h2>{ruled_table(headings, body, caption, numeric=range(6))}</section>"


def _facts(verdict: Verdict) -> str:
    facts = verdict["facts"]
    return layout.pairs(
        "The truth",
        {
            "teacher": verdict["teacher"],
            "outcomes": facts["outcomes"],
            "training windows": facts["training_windows"],
            "test windows, of documents": f"{facts['test_windows']}, of {facts['test_documents']}",
            "teacher, nats a token of the text": facts["teacher_nats_per_token"],
            "entropy of the truth, nats": facts["entropy"],
            "squared error of the best constant": facts["constant"]["squared"],
            "excess cross-entropy of the best constant": facts["constant"]["divergence"],
            "squared error on windows trained on, with the truth to learn": verdict["fitted"],
        },
    )
