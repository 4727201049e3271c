"""The dimensions of clouds of points: a table on a terminal, and a figure of dimension against scale.

    print_clouds(measured, rich.console.Console())
    write_plot(measured, "scales.html")

`measured` is the verdict that `jaxscale dimension --json` prints, as `conclusion.conclude` makes it: plain values, a
cloud an entry of `clouds`.
"""

import html
import pathlib
from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale import files
from jaxscale.dimension.figures import layer_figure, scale_figure
from jaxscale.page import layout, pictures, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import interval, number

HEADINGS = ("cloud", "estimator", "d", "95% interval", "distance", "points", "left out")
HEADINGS_CALIBRATED = ("cloud", "estimator", "d", "95% interval", "calibrated", "its interval", "left out")
TEXTS = ("cloud", "estimator", "left out")
# Where no picture can be drawn.
INSTEAD = "ask for .html"
LEFT_OUT = {"duplicates_collapsed": "duplicate", "nonfinite_dropped": "not finite"}


def print_clouds(measured: dict[str, Any], console: Console) -> None:
    """Prints a line for each cloud and estimator, what the profiles say where there are any, and the caveats."""
    table = Table(header_style="bold")
    for heading in _headings(measured):
        # A narrow terminal folds names, never numbers.
        folds = heading in ("cloud", "left out")
        table.add_column(heading, justify="left" if heading in TEXTS else "right", overflow="fold", no_wrap=not folds)
    for cells in _rows(measured):
        table.add_row(*map(Text, cells))
    console.print(table)
    for sentence in (*_plateaus(measured), *(caveat["text"] for caveat in measured["caveats"])):
        console.print(Text(sentence))


def write_plot(measured: dict[str, Any], path: str) -> None:
    """Writes dimension against scale to a page that needs nothing but itself (.html), or a picture (.png).

    Raises:
      InputError: if `path` ends otherwise, or a picture is asked for and kaleido is not installed.
      RunError: if the disk is full, or the picture cannot be drawn.
    """
    check_plot(path)
    figure = scale_figure(measured["clouds"])
    if pathlib.Path(path).suffix == ".html":
        files.write_text(path, _page(measured, figure))
        return
    pictures.write(path, figure, INSTEAD, width=1000, height=560)


def check_plot(path: str) -> None:
    """Raises InputError, before anything is measured, if no figure can be written to `path`."""
    pictures.check(path, INSTEAD, (".html", ".png"))


def _page(measured: dict[str, Any], figure: go.Figure) -> str:
    clouds = measured["clouds"]
    title = clouds[0]["cloud"] if len(clouds) == 1 else f"{len(clouds)} clouds"
    drawing = plots.drawing(figure, "figure-scale", " ".join(_plateaus(measured)) or "Dimension against scale.")
    by_layer = [cloud for cloud in clouds if "layer" in cloud]
    layers = (
        figure_section(
            "Dimension by layer",
            plots.drawing(layer_figure(by_layer), "figure-layers", measured["sentence"]),
            "Bars: 95% intervals; documents count as independent, tokens of one document do not.",
        )
        if len(by_layer) > 1
        else ""
    )
    caption = (
        "Bars: two standard errors; they measure spread, not bias. A band: the plateau, the widest range of scales "
        "over which the dimension is constant within its errors and two percent. Small distances show noise, large "
        "ones curvature and the ends of the data."
    )
    headings = _headings(measured)
    numeric = {place for place, heading in enumerate(headings) if heading not in TEXTS}
    body = [[html.escape(cell) for cell in cells] for cells in _rows(measured)]
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _plateaus(measured))
    return layout.conclusion(
        f"Dimension of {title}",
        measured,
        [
            layers,
            figure_section("Dimension against scale", drawing, caption),
            f"<ul>{said}</ul>" if said else "",
            f"<section><h2>Estimates</h2>{ruled_table(list(headings), body, _how(measured), numeric)}</section>",
        ],
    )


def _how(measured: dict[str, Any]) -> str:
    return f"{measured['k']} neighbors, {measured['metric']} metric."


def _headings(measured: dict[str, Any]) -> tuple[str, ...]:
    return HEADINGS_CALIBRATED if _is_calibrated(measured) else HEADINGS


def _is_calibrated(measured: dict[str, Any]) -> bool:
    return any("calibrated" in estimate for cloud in measured["clouds"] for estimate in cloud["estimates"])


def _rows(measured: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of text, by `_headings`."""
    calibrated = _is_calibrated(measured)
    for cloud in measured["clouds"]:
        for estimate in cloud["estimates"]:
            if stands_for := estimate.get("calibrated"):
                details = [number(stands_for["dimension"]), interval(stands_for["interval"])]
            elif calibrated:  # it failed, or was interrupted, before this one
                details = ["", ""]
            else:
                details = [number(estimate["scale"]), number(estimate["points_used"])]
            left_out = [f"{number(estimate[field])} {word}" for field, word in LEFT_OUT.items() if estimate[field]]
            yield [
                cloud["cloud"],
                estimate["estimator"],
                number(estimate["dimension"]),
                interval(estimate["interval"]),
                *details,
                ", ".join(left_out),
            ]


def _plateaus(measured: dict[str, Any]) -> Iterator[str]:
    for cloud in measured["clouds"]:
        for profile in cloud.get("profiles", []):
            plateau, name = profile["plateau"], f"{cloud['cloud']}, {profile['estimator']}"
            if plateau["found"]:
                yield (
                    f"{name}: plateau at d = {number(plateau['dimension'])} ± {number(plateau['standard_error'], 2)} "
                    f"from distance {number(plateau['lower'])} to {number(plateau['upper'])}"
                )
            elif len(profile["scale"]) > 1:
                yield f"{name}: no plateau; the dimension depends on the scale"
