"""The figures of a study with a teacher: error against n, exponents by layer, geometry by layer, settings.

Every figure takes the verdict of a study and returns a `plotly.graph_objects.Figure`.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.numerals import number
from jaxscale.page.plots import FIT, MARKS, POINT, PREDICTION, add_curve, add_line, band, empty, spread_colors

Verdict = dict[str, Any]
Rows = list[dict[str, Any]]


def error_figure(verdict: Verdict, rows: Rows) -> go.Figure:
    """Squared error against n: every seed a point, hollow where left out; fit, predicted slope and references."""
    law, layers = verdict["squared"], verdict["layers"]
    figure = empty("n, labels", "squared error of the probabilities")
    counted, noisy = set(law["sizes"]), [row for row in rows if row["noisy"]]
    figure.add_trace(
        go.Scatter(
            x=[row["n"] for row in noisy],
            y=[row["squared_error"] for row in noisy],
            customdata=[[row["seed"], row["width"], row["step"]] for row in noisy],
            mode="markers",
            name="students",
            marker={
                "size": 8,
                "color": POINT,
                "symbol": ["circle" if row["n"] in counted else "circle-open" for row in noisy],
            },
            hovertemplate="n = %{x:,}, seed %{customdata[0]}<br>error %{y:.4g}"
            "<br>width %{customdata[1]}, step %{customdata[2]}<extra></extra>",
        )
    )
    ends = [min(counted), max(counted)]
    fitted = [law["scale"] * n ** -law["exponent"] for n in ends]
    add_line(figure, ends, fitted, f"fit, α = {number(law['exponent'])}", FIT, "solid")
    predicted = layers[-1]["predicted"]["at_one"]
    if predicted:
        middle = math.sqrt(ends[0] * ends[1])
        at = law["scale"] * middle ** -law["exponent"]
        guide = [at * (n / middle) ** -predicted["exponent"] for n in ends]
        name = f"slope of the last layer's d at β = 1, α = {number(predicted['exponent'])}"
        add_line(figure, ends, guide, name, PREDICTION, "dash")
    with_neighbors = [one for one in layers if "neighbors" in one["references"]]
    colors = spread_colors([one["layer"] for one in with_neighbors])
    for index, one in enumerate(with_neighbors):
        found = one["references"]["neighbors"]
        name = f"neighbors at layer {one['layer']}, α = {number(found['exponent'])}"
        add_curve(figure, found["by_size"], "n", name, colors[one["layer"]], MARKS[(1 + index) % len(MARKS)])
    sizes = [one["n"] for one in law["by_size"]]
    constant = verdict["facts"]["constant"]["squared"]
    add_line(figure, [sizes[0], sizes[-1]], [constant, constant], "the best constant", POINT, "dot")
    return _logarithmic(figure, sizes)


def divergence_figure(verdict: Verdict) -> go.Figure:
    """Excess cross-entropy against n: means over seeds with bars of two standard errors, and the fit."""
    law = verdict["divergence"]
    figure = empty("n, labels", "excess cross-entropy, nats")
    figure.add_trace(
        go.Scatter(
            x=[one["n"] for one in law["by_size"]],
            y=[one["loss"] for one in law["by_size"]],
            error_y={"array": [2 * one["standard_error"] for one in law["by_size"]], "thickness": 1.5},
            mode="markers",
            marker={"size": 8, "color": POINT},
            name="students",
            hovertemplate="n = %{x:,}<br>%{y:.4g} nats<extra></extra>",
        )
    )
    ends = [min(law["sizes"]), max(law["sizes"])]
    fitted = [law["scale"] * n ** -law["exponent"] for n in ends]
    add_line(figure, ends, fitted, f"fit, α = {number(law['exponent'])}", FIT, "solid")
    return _logarithmic(figure, [one["n"] for one in law["by_size"]])


def exponent_figure(verdict: Verdict) -> go.Figure:
    """Exponents by layer: predicted at β = 1 and at the measured β, of the references there, and of the students."""
    layers = verdict["layers"]
    figure = empty("layer of the teacher", "exponent α of the squared error")
    students = verdict["squared"]
    ends = [layers[0]["layer"], layers[-1]["layer"]]
    low, high = students["interval"]
    students_name = f"students, {number(students['exponent'])}"
    figure.add_trace(band(ends, [low, low], [high, high], FIT, students_name))
    add_line(figure, ends, [students["exponent"]] * 2, students_name, FIT, "solid")
    series = [
        ("predicted at β = 1", PREDICTION, [(one["layer"], one["predicted"]["at_one"]) for one in layers]),
        ("predicted at the measured β", "#8b5cf6", [(one["layer"], one["predicted"]["measured"]) for one in layers]),
        ("nearest neighbors", "#16a34a", [(one["layer"], one["references"].get("neighbors")) for one in layers]),
        ("kernel regression", "#a16207", [(one["layer"], one["references"].get("kernel")) for one in layers]),
    ]
    for index, (name, color, found) in enumerate(series):
        known = [(layer, one) for layer, one in found if one and one["exponent"] is not None]
        if not known:
            continue
        figure.add_trace(
            go.Scatter(
                # Side by side, so that bars do not hide each other.
                x=[layer + 0.25 * (index - 1.5) for layer, _ in known],
                y=[one["exponent"] for _, one in known],
                error_y={
                    "array": [one["interval"][1] - one["exponent"] for _, one in known],
                    "arrayminus": [one["exponent"] - one["interval"][0] for _, one in known],
                    "thickness": 1.5,
                },
                mode="markers",
                marker={"size": 8, "color": color, "symbol": MARKS[index % len(MARKS)]},
                name=name,
                customdata=[layer for layer, _ in known],
                hovertemplate="layer %{customdata}<br>α = %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    figure.update_xaxes(tickvals=[one["layer"] for one in layers])
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True)
    return figure


def geometry_figure(verdict: Verdict) -> go.Figure:
    """Dimension by layer, with its interval."""
    figure = empty("layer of the teacher", "intrinsic dimension d")
    known = [one for one in verdict["layers"] if one["dimension"]["dimension"] is not None]
    figure.add_trace(
        go.Scatter(
            x=[one["layer"] for one in known],
            y=[one["dimension"]["dimension"] for one in known],
            error_y={
                "array": [one["dimension"]["interval"][1] - one["dimension"]["dimension"] for one in known],
                "arrayminus": [one["dimension"]["dimension"] - one["dimension"]["interval"][0] for one in known],
                "thickness": 1.5,
            },
            mode="lines+markers",
            line={"color": FIT, "width": 2},
            marker={"size": 8},
            hovertemplate="layer %{x}<br>d = %{y:.2f}<extra></extra>",
        )
    )
    figure.update_xaxes(tickvals=[one["layer"] for one in known])
    figure.update_yaxes(rangemode="tozero")
    return figure


def setting_figure(verdict: Verdict) -> go.Figure:
    """Validation error against n of each setting that was tried; what was chosen follows their lower envelope."""
    figure = empty("n, labels", "squared error on validation documents")
    settings = verdict["by_setting"]
    colors = spread_colors(list(range(len(settings))))
    for index, one in enumerate(settings):
        name = f"width {one['width']}, rate {number(one['learning_rate'])}, decay {number(one['weight_decay'])}"
        add_curve(figure, one["by_size"], "n", name, colors[index], MARKS[index % len(MARKS)])
    return _logarithmic(figure, [one["n"] for one in verdict["squared"]["by_size"]])


def _logarithmic(figure: go.Figure, ticks: Sequence[float]) -> go.Figure:
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[number(tick) for tick in ticks])
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_layout(showlegend=True)
    return figure
