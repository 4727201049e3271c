"""A study on a manifold as one web page: what was found, the figures it rests on, and what speaks against it.

render("runs/sphere2")      # PosixPath('runs/sphere2/report.html')
"""

import os
import pathlib
from collections.abc import Callable
from typing import Any

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, interval, number, percent
from jaxscale.studies.manifolds import figures

Verdict = dict[str, Any]
Rows = list[dict[str, Any]]
TITLE = "Known geometry"


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `studies.ManifoldStudy`, whole or not at all, and returns its path."""
    folder = pathlib.Path(folder)
    path = folder / "report.html"
    rows = files.read_json_lines(folder / "table.jsonl")
    files.write_text(
        path, page(files.read_json(folder / "verdict.json"), rows, files.read_json(folder / "config.json"))
    )
    return path


def page(verdict: Verdict, rows: Rows, config: dict[str, Any]) -> str:
    """The whole page as one string of HTML."""
    sections = [
        *_figures(verdict, rows),
        _exponents(verdict, config),
        _compute(verdict),
        _readings(verdict, config),
        _sizes(verdict),
        _choices(verdict),
    ]
    return layout.conclusion(TITLE, verdict, sections, config)


def _figures(verdict: Verdict, rows: Rows) -> list[str]:
    over = "N" if verdict["series"] == "parameters" else "n"
    drawn = [
        (
            f"Error against {over}",
            figures.error_figure(verdict, rows),
            "Every point a seed; width, rate and decay chosen by validation for every n, the step for every network; "
            "hollow: left out of the fit. "
            "The error of the best possible predictor is taken off exactly.",
        )
    ]
    if "data" in verdict:
        drawn += [
            (
                "Slope from size to size",
                figures.slope_figure(verdict),
                "Means over seeds with bars of two standard errors.",
            ),
            (
                "Each width by itself",
                figures.width_figure(verdict),
                "The best rate, decay and step of each width: means over seeds.",
            ),
        ]
    drawn.append(
        (
            "Dimension of the points",
            figures.scale_figure(verdict),
            f"By maximum likelihood from {number(verdict['dimension']['points'])} points of each seed; "
            "distances in root mean square radii.",
        )
    )
    return [
        figure_section(title, plots.drawing(figure, f"figure-{i}", title), caption)
        for i, (title, figure, caption) in enumerate(drawn)
    ]


def _exponents(verdict: Verdict, config: dict[str, Any]) -> str:
    row: Callable[[str, Any, Any], list[Any]] = lambda name, one, predicted: [
        name,
        number(one["exponent"]),
        interval(one["interval"]),
        number(predicted),
        number(one["rms_residual"]),
    ]
    body = []
    if "data" in verdict:
        data = verdict["data"]
        body += [
            row("networks, sizes that count", data, data["predicted"]),
            row("networks, all sizes", data["over_all_sizes"], data["predicted"]),
            row("networks, with a free offset", data["with_offset"], data["predicted"]),
        ]
        if data["narrower"]:
            body.append(row("networks, by a rule twice as strict", data["narrower"], data["predicted"]))
        body += [row(figures.REFERENCE[name], one, one["predicted"]) for name, one in verdict["references"].items()]
    if "parameters" in verdict:
        body.append(row("networks, in N", verdict["parameters"], verdict["prediction"]))
    headings = ["", "exponent", "interval", "predicted", "rms residual of log error"]
    caption = f"Power laws; intervals at {percent(config['level'])}, seeds resampled together."
    return f"<section><h2>Exponents</h2>{ruled_table(headings, body, caption, numeric={1, 3, 4})}</section>"


def _compute(verdict: Verdict) -> str:
    if "compute" not in verdict:
        return ""
    found = verdict["compute"]
    names = {
        "size_exponent": "best N, in C",
        "parameters_exponent": "error, in N (of the surface)",
        "data_exponent": "error, in n (of the surface)",
    }
    body = [["error, in C", number(found["exponent"]), interval(found["interval"]), number(found["predicted"])]]
    body += [
        [title, number(found[name]["exponent"]), interval(found[name]["interval"]), UNKNOWN]
        for name, title in names.items()
    ]
    caption = "From A N^-α + B n^-β over all widths and sizes, along its best split of C = 6 N n."
    table = ruled_table(["", "exponent", "interval", "predicted"], body, caption, numeric={1, 3})
    return f"<section><h2>Along the compute-optimal frontier</h2>{table}</section>"


def _readings(verdict: Verdict, config: dict[str, Any]) -> str:
    """The dimension and the smoothness that estimators read, and what theory predicts from them."""
    dimension, smoothness = verdict["dimension"], verdict["smoothness"]
    at_measured = verdict.get("data", {}).get("at_measured", {})

    def row(name: str, truth: float, reading: float, of: str, source: dict[str, Any]) -> list[str]:
        found = at_measured.get(of)
        predicted = (
            [number(found["exponent"]), interval(found["interval"]), found["agreement"]] if found else ["", "", ""]
        )
        return [name, number(truth), number(reading), interval(source["interval"]), *predicted]

    beta, known = verdict["setting"]["beta"], dimension.get("known", config["dimension"])
    body = [
        row("dimension, from points", known, dimension["mle"], "true_beta", dimension),
        *(
            row(f"smoothness, from {words}", beta, smoothness[name]["beta"], name, smoothness[name])
            for name, words in (("labels", "noisy labels"), ("truth", "labels without noise"))
            if name in smoothness
        ),
    ]
    headings = ["", "truth", "read", "interval", "exponent", "interval", "networks"]
    caption = (
        f"The dimension is from {number(dimension['points'])} points of each seed, the smoothness from "
        f"{' and '.join(number(one['points']) for one in smoothness.values())}. The exponent of a dimension is at the "
        "true β, that of a smoothness at the dimension read; blank where a reading identifies nothing."
    )
    table = ruled_table(headings, body, caption, numeric={1, 2, 4})
    return f"<section><h2>What estimators read</h2>{table}</section>"


def _sizes(verdict: Verdict) -> str:
    part = verdict["parameters" if verdict["series"] == "parameters" else "data"]
    column = "parameters" if verdict["series"] == "parameters" else "n"
    references = {
        name: {one["n"]: one["loss"] for one in found["by_size"]}
        for name, found in verdict.get("references", {}).items()
    }
    body = [
        [number(one[column]), number(one["loss"]), number(one["least"]), number(one["greatest"])]
        + [number(by_size.get(one[column])) for by_size in references.values()]
        for one in part["by_size"]
    ]
    headings = ["N" if column == "parameters" else "n", "networks", "least", "greatest"]
    headings += [figures.REFERENCE[name] for name in references]
    caption = "Excess error: geometric means over seeds, with the least and the greatest of the networks."
    return f"<section><h2>Errors</h2>{ruled_table(headings, body, caption, numeric=range(1, len(headings)))}</section>"


def _choices(verdict: Verdict) -> str:
    if "data" not in verdict:
        return ""
    body = [
        [
            number(one["n"]),
            *(number(one[name]) for name in ("width", "learning_rate", "weight_decay")),
            number(one["median_step"]),
            number(one["at_last_step"]),
        ]
        for one in verdict["data"]["chosen"]
    ]
    headings = ["n", "width", "learning rate", "weight decay", "median step", "at the last step"]
    caption = "What the validation set chose for all seeds, and how many of them did best at the last step."
    return f"<section><h2>Choices</h2>{ruled_table(headings, body, caption, numeric=range(1, 6))}</section>"
