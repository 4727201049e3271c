"""A study of position encodings as one web page: accuracy on prompts longer than those trained on.

render("runs/positions")      # PosixPath('runs/positions/report.html')
"""

import html
import os
import pathlib
from typing import Any

import plotly.graph_objects as go

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, interval, number

Verdict = dict[str, Any]
TITLE = "Length generalization: position encodings"


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `studies.PositionStudy`, whole or not at all, and returns its path."""
    folder = pathlib.Path(folder)
    path = folder / "report.html"
    files.write_text(path, page(files.read_json(folder / "verdict.json"), files.read_json(folder / "config.json")))
    return path


def page(verdict: Verdict, config: dict[str, Any]) -> str:
    """The whole page as one string of HTML."""
    laws = "".join(f"<li>{html.escape(f'{task}: {law}')}</li>" for task, law in verdict["laws"].items())
    sections = [
        *(_range(verdict, name) for name in verdict["ranges"][1:]),
        _table(verdict),
        _orders(verdict),
        f"<section><h2>Prompts</h2><ul>{laws}</ul></section>",
    ]
    return layout.conclusion(TITLE, verdict, sections, config)


def _range(verdict: Verdict, name: str) -> str:
    encodings = list(dict.fromkeys(cell["encoding"] for cell in verdict["cells"]))
    colors = plots.spread_colors(encodings)
    figure = plots.empty("", "prompts answered exactly")
    for encoding in encodings:
        cells = [cell for cell in verdict["cells"] if cell["encoding"] == encoding and cell["accuracy"]]
        found = [cell["accuracy"][name] for cell in cells]
        figure.add_trace(
            go.Bar(
                x=[cell["task"] for cell in cells],
                y=[one["mean"] for one in found],
                error_y={
                    "array": [one["interval"][1] - one["mean"] for one in found],
                    "arrayminus": [one["mean"] - one["interval"][0] for one in found],
                },
                marker={"color": colors[encoding]},
                name=encoding,
                customdata=[f"{cell['fitted']} of {cell['runs']} fitted" for cell in cells],
                hovertemplate="%{x}: %{y:.3f}, %{customdata}<extra>" + encoding + "</extra>",
            )
        )
    figure.update_layout(barmode="group", showlegend=True)
    figure.update_yaxes(range=[0, 1.05])
    description = f"Accuracy by task and encoding on prompts of {name} tokens."
    caption = "Means over the runs that fitted the training range; no bar where none did."
    drawing = plots.drawing(figure, f"figure-{name}", description)
    return figure_section(f"Prompts of {name} tokens", drawing, caption)


def _table(verdict: Verdict) -> str:
    def accuracy(cell: dict[str, Any], name: str) -> str:
        one = cell["accuracy"] and cell["accuracy"][name]
        return f"{number(one['mean'])} {interval(one['interval'])}" if one else UNKNOWN

    body = [
        [cell["task"], cell["encoding"], f"{cell['fitted']} of {cell['runs']}"]
        + [accuracy(cell, name) for name in verdict["ranges"]]
        for cell in verdict["cells"]
    ]
    headings = ["task", "encoding", "fitted", *verdict["ranges"]]
    caption = "Share of prompts answered exactly, by their length, with intervals."
    return (
        f"<section><h2>Every cell</h2>{ruled_table(headings, body, caption, numeric=range(2, len(headings)))}</section>"
    )


def _orders(verdict: Verdict) -> str:
    body = [
        [one["task"], " > ".join(one["order"]) or UNKNOWN, "; ".join(" > ".join(pair) for pair in one["surely_better"])]
        for one in verdict["orders"]
    ]
    caption = "By the mean beyond the training range; pairs whose order holds in the level's share of resamples."
    table = ruled_table(["task", "order", "beyond doubt of prompts and runs"], body, caption)
    return f"<section><h2>Order</h2>{table}</section>"
