"""The figures of a fitted law, as plotly figures, from the document that `jaxscale fit --json` prints."""

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.laws.answered import key
from jaxscale.page.plots import FIT, POINT, PREDICTION, SIZES, band, color_at, empty, literal, spread_colors

_LEAST_EXCESS = 1e-16
_MOST_EXCESS = 1e6


def along_figure(document: dict[str, Any], column: str) -> go.Figure:
    """What was fitted along a column: every run a point, the law with the others held; of two, the other in color."""
    target, own = document["target"], key(document["target"])
    figure = empty(column, target)
    table = document["table"]
    curves = [curve for curve in document["curves"] if curve["column"] == column]
    colors = spread_colors(range(len(curves))) if len(curves) > 1 else {0: FIT}
    others = [name for name in table["columns"] if name != column]
    shade = Shade(others[0], table["columns"][others[0]]) if len(others) == 1 else None
    if shade:
        colors = {place: shade.at(curve["held"][others[0]]) for place, curve in enumerate(curves)}
    for place, curve in enumerate(curves):
        held = ", ".join(f"{name} = {value:.3g}" for name, value in curve["held"].items())
        name = f"law at {held}" if held else "fitted law"
        if "lower" in curve:
            figure.add_trace(band(curve["x"], curve["lower"], curve["upper"], colors[place], name))
        line = {"color": colors[place], "width": 2.5}
        figure.add_trace(
            go.Scatter(
                x=curve["x"], y=curve[own], mode="lines", line=line, name=name, legendgroup=name, hoverinfo="skip"
            )
        )
    runs = _runs(table, table["columns"][column], table[own], target)
    if shade:
        named = zip(table["names"], shade.values, strict=True)
        labels = [literal(f"{name}, {shade.name} = {value:.3g}") for name, value in named]
        runs.update(marker=shade.marker, customdata=labels)
    figure.add_trace(runs)
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    figure.update_layout(showlegend=True)
    return figure


class Shade:
    """The color of every value of a column, from small to large in its logarithm."""

    def __init__(self, name: str, values: Sequence[float]) -> None:
        self.name, self.values = name, values
        self._low, self._high = math.log10(min(values)), math.log10(max(values))

    def at(self, value: float) -> str:
        """The color of one value, as `#rrggbb`."""
        share = (math.log10(value) - self._low) / max(self._high - self._low, 1e-12)
        return color_at(min(max(share, 0.0), 1.0))

    @property
    def marker(self) -> dict[str, Any]:
        """A plotly marker with these colors and their scale."""
        ticks = [self._low, (self._low + self._high) / 2, self._high]
        return {
            "size": 7,
            "opacity": 0.85,
            "color": [math.log10(value) for value in self.values],
            "cmin": self._low,
            "cmax": self._high,
            "colorscale": [[place / (len(SIZES) - 1), color] for place, color in enumerate(SIZES)],
            "colorbar": {
                "title": {"text": self.name},
                "thickness": 12,
                "tickvals": ticks,
                "ticktext": [f"{10**tick:.2g}" for tick in ticks],
            },
        }


def residual_figure(document: dict[str, Any], column: str) -> go.Figure:
    """Residuals against one column; a trend says that the law's form is wrong along it."""
    table = document["table"]
    x = table["columns"].get(column, table["fitted"])
    figure = empty(column, f"residual, log(fitted / {document['target']})")
    figure.add_hline(y=0, line={"color": "#888888", "width": 1})
    figure.add_trace(_runs(table, x, table["residuals"], "residual"))
    figure.update_xaxes(type="log")
    return figure


def profile_figure(profile: dict[str, Any]) -> go.Figure:
    """The likelihood-ratio statistic along one parameter, with the level it must rise above on both sides."""
    figure = empty(profile["name"], "likelihood-ratio statistic")
    line = {"color": FIT, "width": 2}
    statistic = [min(value, 10 * profile["threshold"]) for value in profile["statistic"]]
    figure.add_trace(
        go.Scatter(x=profile["values"], y=statistic, mode="lines+markers", line=line, marker={"size": 5, "color": FIT})
    )
    figure.add_hline(y=profile["threshold"], line={"color": PREDICTION, "width": 1.5, "dash": "dash"})
    figure.update_yaxes(range=[0, 4 * profile["threshold"]])
    figure.update_layout(showlegend=False)
    return figure


def starts_figure(document: dict[str, Any]) -> go.Figure:
    """How far above the best optimum each start ended."""
    excess = [min(max(value, _LEAST_EXCESS), _MOST_EXCESS) for value in document["starts"]["excess"]]
    figure = empty("objective above the best optimum, relative, log10", "starts")
    figure.add_trace(
        go.Histogram(
            x=[math.log10(value) for value in excess],
            xbins={"start": -16.5, "end": 6.5, "size": 1},
            marker={"color": FIT},
            hovertemplate="10^%{x}: %{y} starts<extra></extra>",
        )
    )
    figure.update_xaxes(range=[-17, max(1.0, math.log10(max(excess)) + 1)])
    figure.update_layout(showlegend=False, bargap=0.1)
    return figure


def back_test_figure(document: dict[str, Any]) -> go.Figure:
    """Forecasts of larger runs by fits to the smaller ones: loss over forecast, with the predictive interval."""
    test, target, own = document["back_test"], document["target"], key(document["target"])
    figure = empty(test["column"], f"{target} / forecast")
    cuts = [cut for cut in test["cuts"] if cut["runs"]]
    colors = spread_colors(range(len(cuts)))
    figure.add_hline(y=1, line={"color": "#888888", "width": 1})
    for place, cut in enumerate(cuts):
        ahead = sorted(cut["runs"], key=lambda run: run["x"])
        x, name = [run["x"] for run in ahead], f"fitted below {cut['below']:.3g}"
        relative = {end: [run[end] / run["forecast"] for run in ahead] for end in (own, "lower", "upper")}
        figure.add_trace(band(x, relative["lower"], relative["upper"], colors[place], name))
        figure.add_trace(
            go.Scatter(
                x=x,
                y=relative[own],
                mode="markers",
                marker={"size": 7, "color": colors[place]},
                customdata=[literal(run["name"]) for run in ahead],
                hovertemplate=f"<b>%{{customdata}}</b><br>{html.escape(target)} / forecast %{{y:.4f}}<extra></extra>",
                name=name,
                legendgroup=name,
            )
        )
    figure.update_xaxes(type="log")
    figure.update_layout(showlegend=True)
    return figure


def theory_figure(theory: dict[str, Any]) -> go.Figure:
    """Observed and predicted exponents with their intervals, one line for each, rivals as crosses."""
    figure = empty("exponent", "")
    for kind, color in (("observed", FIT), ("predicted", PREDICTION)):
        entries = [entry for entry in theory["exponents"]]
        figure.add_trace(
            go.Scatter(
                x=[entry[kind]["estimate"] for entry in entries],
                y=[f"{entry['parameter']}, {kind}" for entry in entries],
                error_x={
                    "array": [_gap(entry[kind], "upper") for entry in entries],
                    "arrayminus": [_gap(entry[kind], "lower") for entry in entries],
                    "color": color,
                    "thickness": 2,
                },
                mode="markers",
                marker={"size": 10, "color": color},
                hovertemplate="%{y} %{x:.3f}<extra></extra>",
                showlegend=False,
            )
        )
    for entry in theory["exponents"]:
        for name, value in entry["rivals"].items():
            figure.add_trace(
                go.Scatter(
                    x=[value],
                    y=[f"{entry['parameter']}, {name}"],
                    mode="markers",
                    marker={"size": 10, "color": POINT, "symbol": "x"},
                    hovertemplate=f"{html.escape(name)} %{{x:.3f}}<extra></extra>",
                    showlegend=False,
                )
            )
    figure.update_xaxes(rangemode="tozero")
    figure.update_yaxes(autorange="reversed")
    return figure


def _gap(quantity: dict[str, Any], end: str) -> float:
    """The length of an error bar; 0 where there is no interval, whose ends are then NaN or None."""
    gap = abs(quantity[end] - quantity["estimate"]) if quantity[end] is not None else math.nan
    return gap if math.isfinite(gap) else 0.0


def _runs(table: dict[str, Any], x: Sequence[float], y: Sequence[float], what: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="markers",
        marker={"size": 6, "color": POINT, "opacity": 0.7},
        customdata=[literal(name) for name in table["names"]],
        hovertemplate=f"<b>%{{customdata}}</b><br>{html.escape(what)} %{{y:.4g}}<extra></extra>",
        name="runs",
    )
