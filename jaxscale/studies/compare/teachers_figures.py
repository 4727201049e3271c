"""The figures of studies with a teacher side by side: exponents against dimension, and the straight line in them.

Every figure takes the verdict of a comparison and returns a `plotly.graph_objects.Figure`.
"""

import html
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from jaxscale import theory
from jaxscale.page.numerals import interval, number
from jaxscale.page.plots import FIT, MARKS, PREDICTION, add_line, band, empty, literal, spread_colors

Verdict = dict[str, Any]
NEIGHBORS = "#16a34a"
CURVE = 200


def exponent_figure(verdict: Verdict) -> go.Figure:
    """α of students against d of the last layer, a mark for each study, with the theory's curve and the line's."""
    figure = empty("intrinsic dimension d of the last layer", "exponent α of the squared error")
    studies = [one for one in verdict["studies"] if one["last_layer"]["dimension"] is not None]
    ends = [end for one in studies for end in one["last_layer"]["dimension_interval"]]
    heights = [end for one in studies for end in one["squared"]["interval"]]
    if not studies:
        return figure
    low, high = max(0.8 * min(ends), 0.1), 1.1 * max(ends)
    d = np.linspace(low, high, CURVE)
    predicted: Callable[[float, float], list[float]] = lambda factor, beta: [
        float(theory.data_exponent(factor * one, beta)) for one in d
    ]
    figure.add_trace(band(list(d), predicted(2.0, 1.0), predicted(0.5, 1.0), PREDICTION, "theory"))
    figure.data[-1].update(legendgroup=None, showlegend=True, name="half to twice the dimension")
    add_line(figure, list(d), predicted(1.0, 1.0), "theory, 2/(2 + d)", PREDICTION, "dash")
    for beta in sorted({one["known_smoothness"] for one in studies} - {None, 1.0}):
        add_line(figure, list(d), predicted(1.0, beta), f"theory at β = {beta:g}", PREDICTION, "dot")
    if line := verdict["line"]:
        height = line["intercept"] + line["slope"] * d
        shown = height > 0
        add_line(figure, list(d[shown]), list(1 / height[shown]), "line of students", FIT, "solid")
    for name, color, mark, one in _styled(verdict):
        if one in studies:
            figure.add_trace(_mark(one["last_layer"] | one["squared"], name, color, mark, one["left_out"]))
    figure.update_xaxes(range=[low, high])
    figure.update_yaxes(range=[0, 1.35 * max(heights)])
    figure.update_layout(showlegend=True)
    return figure


def line_figure(verdict: Verdict) -> go.Figure:
    """1/α against d with the line through the students and that through neighbors, and the theory's."""
    figure = empty("intrinsic dimension d", "1/α")
    studies = [one for one in verdict["studies"] if one["last_layer"]["dimension"] is not None]
    points = [one["last_layer"] | one["squared"] for one in studies if one["squared"]["interval"][0] > 0]
    everywhere = points + [point for one in verdict["studies"] for point in _neighbors(one)]
    if not everywhere:
        return figure
    high = 1.05 * max(point["dimension_interval"][1] for point in everywhere)
    for key, name, color in (("line_of_neighbors", "neighbors", NEIGHBORS), ("line", "students", FIT)):
        if line := verdict[key]:
            _add_band(figure, line["band"], name, color)
            d = [one["d"] for one in line["band"]]
            said = f"{name}, {line['intercept']:.2f} {'−' if line['slope'] < 0 else '+'} {abs(line['slope']):.2f} d"
            add_line(figure, d, [one["value"] for one in line["band"]], said, color, "solid")
            figure.data[-1].update(legendgroup=name)
    add_line(figure, [0, high], [1, 1 + high / 2], "theory, 1 + d/2", PREDICTION, "dash")
    for _, _, mark, one in _styled(verdict):
        if read := _neighbors(one):
            figure.add_trace(_layers(read, one["name"], mark))
    if figure.data[-1].mode == "markers":
        figure.data[-1].update(showlegend=True)
    for name, color, mark, one in _styled(verdict):
        if one in studies and one["squared"]["interval"][0] > 0:
            figure.add_trace(_mark(one["last_layer"] | _inverse(one["squared"]), name, color, mark, one["left_out"]))
    if line := verdict["line"]:
        figure.add_annotation(_said(line))
    tops = [1 / point["interval"][0] for point in points] + [1 / point["exponent"] for point in everywhere]
    figure.update_xaxes(range=[0, high])
    figure.update_yaxes(range=[0, 1.3 * max(tops)])
    figure.update_layout(showlegend=True)
    return figure


def both(verdict: Verdict) -> go.Figure:
    """The two figures as panels of one, for a slide or a paper."""
    parts = [exponent_figure(verdict), line_figure(verdict)]
    named = {trace.name for trace in parts[0].data}
    figure = make_subplots(rows=1, cols=2, horizontal_spacing=0.09)
    figure.update_layout(parts[0].layout)
    for column, part in enumerate(parts, start=1):
        for trace in part.data:
            if column == 2:
                trace.update(legend="legend2", showlegend=trace.showlegend is not False and trace.name not in named)
            figure.add_trace(trace, row=1, col=column)
        figure.update_xaxes(part.layout.xaxis, row=1, col=column)
        figure.update_yaxes(part.layout.yaxis, row=1, col=column)
        for note in part.layout.annotations:
            figure.add_annotation(note.update(xref=f"x{column} domain", yref=f"y{column} domain"))
    for column, axis in enumerate((figure.layout.xaxis, figure.layout.xaxis2), start=1):
        side = _free_side([trace for trace in parts[column - 1].data if trace.mode == "markers"], axis.range)
        corner = {"x": axis.domain[side == "right"], "xanchor": side, "y": 1, "yanchor": "top"}
        name = "legend" if column == 1 else "legend2"
        figure.update_layout({name: {"orientation": "v", "bgcolor": "rgba(255,255,255,0.75)", **corner}})
    return figure


def _free_side(marks: Sequence[go.Scatter], reach: Sequence[float] | None) -> str:
    """The side away from the highest mark, for a legend at the top."""
    highest = max(((y, x) for trace in marks for x, y in zip(trace.x, trace.y, strict=True)), default=None)
    return "left" if highest and reach and highest[1] > sum(reach) / 2 else "right"


def _neighbors(study: dict[str, Any]) -> list[dict[str, Any]]:
    """The layers of a study that are points of the line of neighbors."""
    known = study["known_smoothness"] in (None, 1.0)
    return [point for point in study["neighbors"] if known and point["interval"][0] > 0]


def _said(line: dict[str, Any]) -> dict[str, Any]:
    """What the line of students is, written where no point of a rising line lies."""
    listed = [(name, line[name], line[f"{name}_interval"]) for name in ("intercept", "slope", "beta")]
    lines = [f"{'β' if name == 'beta' else name} {number(value)} {interval(ends)}" for name, value, ends in listed]
    return {
        "text": "<br>".join(["students", *lines]),
        "align": "right",
        "showarrow": False,
        "font": {"color": FIT},
        "xref": "x domain",
        "yref": "y domain",
        "x": 0.98,
        "y": 0.03,
        "xanchor": "right",
        "yanchor": "bottom",
    }


def _styled(verdict: Verdict) -> list[tuple[str, str, str, dict[str, Any]]]:
    """Name, color, mark and entry of each study."""
    studies = verdict["studies"]
    colors = spread_colors([one["name"] for one in studies])
    return [
        (html.escape(one["name"]), colors[one["name"]], MARKS[i % len(MARKS)], one) for i, one in enumerate(studies)
    ]


def _inverse(law: dict[str, Any]) -> dict[str, Any]:
    low, high = law["interval"]
    return {"exponent": 1 / law["exponent"], "interval": [1 / high, 1 / low]}


def _bars(points: Sequence[dict[str, Any]], key: str, ends: str, color: str) -> dict[str, Any]:
    return {
        "array": [point[ends][1] - point[key] for point in points],
        "arrayminus": [point[key] - point[ends][0] for point in points],
        "color": color,
        "thickness": 1.5,
        "width": 0,
    }


def _mark(point: dict[str, Any], name: str, color: str, mark: str, left_out: str | None) -> go.Scatter:
    """A study, with its intervals; hollow where it is no point of the line."""
    return go.Scatter(
        x=[point["dimension"]],
        y=[point["exponent"]],
        error_x=_bars([point], "dimension", "dimension_interval", color),
        error_y=_bars([point], "exponent", "interval", color),
        mode="markers",
        marker={"size": 12, "color": color, "symbol": f"{mark}-open" if left_out else mark, "line": {"width": 2}},
        name=name,
        hovertemplate=f"<b>{literal(name)}</b><br>d = %{{x:.3g}}<br>%{{y:.3g}}"
        + (f"<br>left out: {literal(left_out)}" if left_out else "")
        + "<extra></extra>",
    )


def _faded(color: str, opacity: float) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"


def _layers(points: Sequence[dict[str, Any]], name: str, mark: str) -> go.Scatter:
    """Neighbors in the coordinates of the layers of a study."""
    inverse = [point | _inverse(point) for point in points]
    faint = _faded(NEIGHBORS, 0.45)
    return go.Scatter(
        x=[point["dimension"] for point in points],
        y=[point["exponent"] for point in inverse],
        error_x=_bars(points, "dimension", "dimension_interval", faint),
        error_y=_bars(inverse, "exponent", "interval", faint),
        mode="markers",
        marker={"size": 6, "color": NEIGHBORS, "symbol": f"{mark}-open"},
        name="neighbors, by layer",
        showlegend=False,
        legendgroup="neighbors",
        customdata=[point["layer"] for point in points],
        hovertemplate=f"<b>{literal(name)}</b>, layer %{{customdata}}<br>d = %{{x:.3g}}"
        "<br>1/α = %{y:.3g}<extra></extra>",
    )


def _add_band(figure: go.Figure, rows: Sequence[dict[str, Any]], name: str, color: str) -> None:
    """Where a line may lie; that of neighbors fainter, for it covers more."""
    known = [one for one in rows if one["lower"] is not None and one["upper"] is not None]
    if known:
        lower, upper = ([one[end] for one in known] for end in ("lower", "upper"))
        figure.add_trace(band([one["d"] for one in known], lower, upper, color, name))
        if color == NEIGHBORS:
            figure.data[-1].update(fillcolor=_faded(color, 0.07))
