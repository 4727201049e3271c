"""Dimension against scale, and layer by layer, as plotly figures."""

import html
import itertools
import math
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.numerals import interval
from jaxscale.page.plots import MARKS, empty, literal, spread_colors, translucent

MOST_TICKS = 12


def scale_figure(clouds: list[dict[str, Any]]) -> go.Figure:
    """Dimension against scale: a line for each cloud and estimator with bars of two standard errors, plateaus as bands.

    Clouds, or the estimators of a single one, differ in color; the estimators of several in their marks too.
    """
    figure = empty("distance at which the dimension is read", "intrinsic dimension d")
    profiles = [(cloud["cloud"], profile) for cloud in clouds for profile in cloud.get("profiles", [])]
    marks = list(dict.fromkeys(profile["estimator"] for _, profile in profiles))
    names = list(dict.fromkeys(cloud for cloud, _ in profiles))
    several = len(names) > 1
    shades = spread_colors(names if several else marks)
    for cloud, profile in profiles:
        estimator = profile["estimator"]
        color = shades[cloud if several else estimator]
        name = f"{cloud}, {estimator}" if several else estimator
        _add_plateau(figure, profile["plateau"], name, color)
        figure.add_trace(_profile_line(profile, name, color, MARKS[marks.index(estimator) % len(MARKS)]))
    ticks = _round_numbers([scale for _, profile in profiles for scale in profile["scale"]])
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True)
    return figure


def layer_figure(clouds: list[dict[str, Any]]) -> go.Figure:
    """Dimension against the number of the layer, with 95% intervals: a line for each estimator, calibrated if so."""
    figure = empty("layer; 0 is the embedding", "intrinsic dimension d")
    names = list(dict.fromkeys(estimate["estimator"] for cloud in clouds for estimate in cloud["estimates"]))
    for name, color, mark in zip(names, spread_colors(names).values(), itertools.cycle(MARKS)):
        read = [
            (cloud["layer"], estimate.get("calibrated", estimate))
            for cloud in clouds
            for estimate in cloud["estimates"]
            if estimate["estimator"] == name
        ]
        values = [best["dimension"] for _, best in read]
        lower, upper = zip(*(best["interval"] for _, best in read), strict=True)
        above, below = (
            [abs(end - value) if math.isfinite(end - value) else None for end, value in zip(ends, values, strict=True)]
            for ends in (upper, lower)
        )
        figure.add_trace(
            go.Scatter(
                x=[layer for layer, _ in read],
                y=values,
                error_y={"array": above, "arrayminus": below, "symmetric": False, "color": color, "thickness": 1.5},
                customdata=[interval(best["interval"]) for _, best in read],
                mode="lines+markers",
                line={"color": color, "width": 1.5},
                marker={"size": 8, "color": color, "symbol": mark},
                name=html.escape(name),
                hovertemplate=f"<b>{literal(name)}</b><br>layer %{{x}}: d = %{{y:.3g}} %{{customdata}}<extra></extra>",
            )
        )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True)
    return figure


def _round_numbers(values: list[float]) -> list[float]:
    """1, 2 and 5 times powers of ten, from just below the values to just above; powers alone over many decades."""
    positive = [value for value in values if math.isfinite(value) and value > 0]
    if not positive:
        return []
    first, last = (math.floor(math.log10(end(positive))) for end in (min, max))
    steps = (1, 2, 5) if last - first < MOST_TICKS / 3 else (1,)
    return [float(f"{step}e{power}") for power in range(first, last + 2) for step in steps]


def _add_plateau(figure: go.Figure, plateau: dict[str, Any], name: str, color: str) -> None:
    """A band of two standard errors over the scales of the plateau, where there is one."""
    if not plateau["found"]:
        return
    low, high = (plateau["dimension"] + side * 2 * plateau["standard_error"] for side in (-1, 1))
    left, right = plateau["lower"], plateau["upper"]
    band = go.Scatter(
        x=[left, right, right, left],
        y=[low, low, high, high],
        fill="toself",
        fillcolor=translucent(color),
        line={"width": 6, "color": translucent(color)},  # seen even where errors are tiny
        mode="lines",
        hoverinfo="skip",
        legendgroup=name,
        showlegend=False,
    )
    figure.add_trace(band)


def _profile_line(profile: dict[str, Any], name: str, color: str, mark: str) -> go.Scatter:
    errors = profile["standard_error"]
    return go.Scatter(
        x=profile["scale"],
        y=profile["dimension"],
        error_y={"array": [None if error is None else 2 * error for error in errors], "color": color, "thickness": 1.5},
        customdata=list(zip(errors, profile["k"], profile["points"], strict=True)),
        mode="lines+markers",
        line={"color": color, "width": 1.5},
        marker={"size": 8, "color": color, "symbol": mark},
        name=html.escape(name),  # plotly reads names as a little HTML
        legendgroup=name,
        hovertemplate=f"<b>{literal(name)}</b><br>d = %{{y:.3g}} ± %{{customdata[0]:.2g}} (one standard error)"
        "<br>at distance %{x:.3g}, %{customdata[1]} neighbors, %{customdata[2]:,} points<extra></extra>",
    )
