"""What the measured dimension depends on, as one web page: every reading beside the base's.

render("runs/ablation")      # PosixPath('runs/ablation/report.html')
"""

import os
import pathlib
from typing import Any

import plotly.graph_objects as go

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import interval, number

Verdict = dict[str, Any]
TITLE = "What the dimension depends on"


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `studies.DimensionAblation`, whole or not at all; returns its path."""
    folder = pathlib.Path(folder)
    path = folder / "report.html"
    files.write_text(path, page(files.read_json(folder / "verdict.json"), files.read_json(folder / "config.json")))
    return path


def page(verdict: Verdict, config: dict[str, Any]) -> str:
    """The whole page as one string of HTML."""
    drawing = plots.drawing(figure(verdict), "figure-readings", "Dimension by factor and value, beside the base's.")
    caption = (
        "Means over seeds in their intervals; the band is the base's. Filled: the interval of the difference from the "
        "base excludes 0."
    )
    return layout.conclusion(
        TITLE, verdict, [figure_section("Every reading", drawing, caption), _table(verdict)], config
    )


def figure(verdict: Verdict) -> go.Figure:
    """A row for each reading, the base's interval as a band behind them."""
    names = {"model": plots.FIT, "text": plots.PREDICTION, "measurement": plots.POINT}
    drawn = plots.empty("intrinsic dimension", "")
    low, high = verdict["base"]["interval"]
    drawn.add_vrect(x0=low, x1=high, fillcolor=plots.POINT, opacity=0.2, line_width=0)
    drawn.add_vline(x=verdict["base"]["dimension"], line={"color": plots.POINT, "dash": "dot"})
    for kind, color in names.items():
        readings = [
            (one["factor"], value) for one in verdict["factors"] if one["kind"] == kind for value in one["values"]
        ]
        found = [value for _, value in readings]
        drawn.add_trace(
            go.Scatter(
                x=[value["dimension"] for value in found],
                y=[f"{factor} {value['value']}" for factor, value in readings],
                error_x={
                    "array": [value["interval"][1] - value["dimension"] for value in found],
                    "color": color,
                },
                mode="markers",
                marker={
                    "color": color,
                    "size": 9,
                    "symbol": ["circle" if value["differs"] else "circle-open" for value in found],
                },
                name=f"of the {kind}",
                hovertemplate="%{y}: %{x:.3g}<extra></extra>",
            )
        )
    rows = sum(len(one["values"]) for one in verdict["factors"])
    drawn.update_layout(height=160 + 24 * rows, showlegend=True)
    drawn.update_yaxes(autorange="reversed", type="category", automargin=True)
    return drawn


def _table(verdict: Verdict) -> str:
    base = verdict["base"]
    body = [
        [
            "base",
            "",
            number(base["dimension"]),
            interval(base["interval"]),
            "",
            number(base["loss"]),
            number(base["points"]),
        ]
    ]
    body += [
        [
            one["factor"],
            str(value["value"]),
            number(value["dimension"]),
            interval(value["interval"]),
            "yes" if value["differs"] else "no",
            number(value["loss"]),
            number(value["points"]),
        ]
        for one in verdict["factors"]
        for value in one["values"]
    ]
    headings = ["what is changed", "to", "dimension", "interval", "differs", "loss", "points"]
    caption = f"k = {base['k']} neighbors, {base['metric']} metric, and the layer of the configuration, unless changed."
    return f"<section><h2>As a table</h2>{ruled_table(headings, body, caption, numeric=(2, 3, 5, 6))}</section>"
