"""The figures of a study on a manifold: error against size beside the references, local slopes, widths, dimension.

Every figure takes the verdict and the table of a study and returns a `plotly.graph_objects.Figure`.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.numerals import number
from jaxscale.page.plots import FIT, MARKS, POINT, PREDICTION, add_curve, add_line, empty, spread_colors

Verdict = dict[str, Any]
Rows = list[dict[str, Any]]
ERROR = {"squared_error": "excess squared error", "cross_entropy": "excess cross-entropy, nats"}
SIGN = {"data": "n", "parameters": "N"}
REFERENCE = {
    "best": "best linear predictor",
    "kernel": "kernel regression",
    "neighbors": "nearest neighbors",
    "n_grams": "smoothed n-grams",
}


def error_figure(verdict: Verdict, rows: Rows) -> go.Figure:
    """Error against n, or N: every seed a point, hollow where left out of the fit; the fit and the predicted slope."""
    series = "parameters" if verdict["series"] == "parameters" else "data"
    law, column = verdict[series], "parameters" if series == "parameters" else "n"
    title = "N, parameters" if series == "parameters" else "n, training points"
    figure = empty(title, ERROR[verdict["setting"]["objective"]])
    fitted = [row for row in rows if row["noisy"] == (series == "data")]
    counted = set(law.get("sizes") or [row[column] for row in fitted])
    figure.add_trace(
        go.Scatter(
            x=[row[column] for row in fitted],
            y=[row["loss"] for row in fitted],
            customdata=[[row["seed"], row["width"], row["step"]] for row in fitted],
            mode="markers",
            name="networks",
            marker={
                "size": 8,
                "color": POINT,
                "symbol": ["circle" if row[column] in counted else "circle-open" for row in fitted],
            },
            hovertemplate=f"{SIGN[series]} = %{{x:,}}, seed %{{customdata[0]}}<br>error %{{y:.4g}}"
            "<br>width %{customdata[1]}, step %{customdata[2]}<extra></extra>",
        )
    )
    ends = [min(counted), max(counted)]
    curve: Callable[[float], float] = lambda at: law["scale"] * at ** -law["exponent"]
    middle, predicted = math.sqrt(ends[0] * ends[1]), verdict["prediction"]
    if verdict["series"] == "compute":
        predicted = law["predicted"]
    guide = [curve(middle) * (at / middle) ** -predicted for at in ends]
    add_line(figure, ends, [curve(at) for at in ends], f"fit, α = {number(law['exponent'])}", FIT, "solid")
    add_line(figure, ends, guide, f"predicted slope, α = {number(predicted)}", PREDICTION, "dash")
    references = verdict.get("references", {})
    colors = spread_colors(list(references))
    for index, (name, one) in enumerate(references.items()):
        label = f"{REFERENCE[name]}, α = {number(one['exponent'])}"
        add_curve(figure, one["by_size"], "n", label, colors[name], MARKS[1 + index])
    if "budget_reaches" in verdict:
        label = "reached on data in excess without noise"
        sizes = [one["n"] for one in law["by_size"]]
        add_line(figure, [sizes[0], sizes[-1]], [verdict["budget_reaches"]] * 2, label, POINT, "dot")
    return _logarithmic(figure, [one[column] for one in law["by_size"]])


def slope_figure(verdict: Verdict) -> go.Figure:
    """The slope from each size to the next with bars of two standard errors, beside the prediction."""
    figure = empty("n, training points (middle of two sizes)", "local exponent −d log error / d log n")
    curves = {"networks": verdict["data"]} | {REFERENCE[name]: one for name, one in verdict["references"].items()}
    colors = dict(zip(curves, [FIT, *spread_colors(list(curves)[1:]).values()], strict=True))
    for index, (name, curve) in enumerate(curves.items()):
        slopes = curve["local_slopes"]
        figure.add_trace(
            go.Scatter(
                # Side by side, so that bars do not hide each other.
                x=[math.sqrt(one["from"] * one["to"]) * 1.04**index for one in slopes],
                y=[one["slope"] for one in slopes],
                error_y={"array": [2 * (one["standard_error"] or 0) for one in slopes], "thickness": 1.5},
                mode="lines+markers",
                line={"color": colors[name], "width": 1.5, "dash": "dot"},
                marker={"size": 8, "color": colors[name], "symbol": MARKS[index]},
                name=name,
                hovertemplate="n = %{x:.3g}<br>slope %{y:.3f}<extra>" + name + "</extra>",
            )
        )
    ends = [verdict["data"]["by_size"][0]["n"], verdict["data"]["by_size"][-1]["n"]]
    predicted = verdict["data"]["predicted"]
    add_line(figure, ends, [predicted] * 2, f"predicted, {number(predicted)}", PREDICTION, "dash")
    figure.update_xaxes(type="log", tickvals=[one["n"] for one in verdict["data"]["by_size"]])
    figure.update_yaxes(zeroline=True)
    return figure


def width_figure(verdict: Verdict) -> go.Figure:
    """Error against n of the best network of each width; what was chosen follows their lower envelope."""
    figure = empty("n, training points", ERROR[verdict["setting"]["objective"]])
    by_width = verdict["data"]["by_width"]
    colors = spread_colors(list(by_width))
    for index, (width, entries) in enumerate(by_width.items()):
        add_curve(figure, entries, "n", f"width {width}", colors[width], MARKS[index % len(MARKS)])
    return _logarithmic(figure, [one["n"] for one in verdict["data"]["by_size"]])


def scale_figure(verdict: Verdict) -> go.Figure:
    """The maximum-likelihood dimension of the points by number of neighbors, with bars of two standard errors."""
    figure = empty("nearest neighbors k", "intrinsic dimension")
    entries = verdict["dimension"]["by_scale"]
    figure.add_trace(
        go.Scatter(
            x=[one["k"] for one in entries],
            y=[one["dimension"] for one in entries],
            error_y={"array": [2 * one["standard_error"] for one in entries], "thickness": 1.5},
            mode="lines+markers",
            line={"color": FIT, "width": 2},
            marker={"size": 8},
            name="estimated",
            customdata=[one["distance"] for one in entries],
            hovertemplate="k = %{x}, distance %{customdata:.3g}<br>d = %{y:.3f}<extra></extra>",
        )
    )
    ends, d = [entries[0]["k"], entries[-1]["k"]], verdict["dimension"].get("known", verdict["setting"]["dimension"])
    add_line(figure, ends, [d, d], f"known, {number(d)}", PREDICTION, "dash")
    figure.update_xaxes(type="log", tickvals=[one["k"] for one in entries])
    figure.update_yaxes(rangemode="tozero")
    return figure


def _logarithmic(figure: go.Figure, ticks: Sequence[float]) -> go.Figure:
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[number(tick) for tick in ticks])
    figure.update_yaxes(type="log", dtick=1, exponentformat="power")
    figure.update_layout(showlegend=True)
    return figure
