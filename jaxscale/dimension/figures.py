"""Dimension against scale, and layer by layer, as plotly figures; small ones side by side for the page of layers."""

import html
import math
from typing import Any, TypeGuard

import plotly.graph_objects as go

from jaxscale.page.numerals import interval, number
from jaxscale.page.plots import MARKS, band, empty, literal, spread_colors, translucent

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
    _shade_noise(figure, [profile for _, profile in profiles])
    ticks = _round_numbers([scale for _, profile in profiles for scale in profile["scale"]])
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[f"{tick:g}" for tick in ticks])
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True)
    return figure


def layer_figure(clouds: list[dict[str, Any]], title: str) -> go.Figure:
    """Dimension against the number of the layer, with 95% intervals: measured, and a line for each plain reading."""
    figure = empty(title, "intrinsic dimension d")
    colors = _colors(clouds)
    clouds = [cloud | {"estimates": [*_as_estimate(cloud), *cloud["estimates"]]} for cloud in clouds]
    for name, color in colors.items():
        read = [
            (cloud["layer"], best["dimension"], best["interval"])
            for cloud in clouds
            for estimate in cloud["estimates"]
            if estimate["estimator"] == name
            for best in [estimate.get("calibrated", estimate)]
            if _known(best["dimension"])
        ]
        if not read:
            continue
        x, y = [layer for layer, *_ in read], [value for _, value, _ in read]
        lower, upper = ([ends[side] if _known(ends[side]) else value for _, value, ends in read] for side in (0, 1))
        figure.add_trace(band(x, lower, upper, color, name))
        figure.add_trace(
            go.Scatter(
                x=x,
                y=y,
                customdata=[html.escape(interval(ends)) for *_, ends in read],
                mode="lines+markers",
                line={"color": color, "width": 1.5},
                marker={"size": 7, "color": color},
                name=name,
                hovertemplate=f"{literal(name)}: layer %{{x}}, d = %{{y:.3g}} %{{customdata}}",
            )
        )
    figure.update_xaxes(tickformat="d")
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(showlegend=True)
    return figure


def _as_estimate(cloud: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"estimator": "d"} | cloud["measured"]] if "measured" in cloud else []


def scale_panels(clouds: list[dict[str, Any]]) -> list[tuple[str, go.Figure]]:
    """Dimension against scale, a small figure for each cloud, all with the same axes and colors; and their names."""
    profiles = [profile for cloud in clouds for profile in cloud.get("profiles", [])]
    scales = [scale for profile in profiles for scale in profile["scale"] if _known(scale) and scale > 0]
    tops = [d for profile in profiles for d in profile["dimension"] if _known(d)]
    if not scales or not tops:
        return []
    shades = profile_colors(clouds)
    low, high = math.log10(min(scales)), math.log10(max(scales))
    spare = 0.04 * (high - low) or 0.1
    panels = []
    for cloud in clouds:
        figure = empty("distance", "d")
        for profile in cloud.get("profiles", []):
            color = shades[profile["estimator"]]
            rows = list(zip(profile["scale"], profile["dimension"], profile["standard_error"], strict=True))
            rows = [(x, d, error if _known(error) else 0) for x, d, error in rows if _known(x) and x > 0 and _known(d)]
            x, lower, upper = [x for x, *_ in rows], [d - 2 * e for _, d, e in rows], [d + 2 * e for _, d, e in rows]
            figure.add_trace(band(x, lower, upper, color, profile["estimator"]))
            figure.add_trace(_panel_line(profile, rows, color))
        figure.update_xaxes(type="log", range=[low - spare, high + spare])
        figure.update_yaxes(range=[0, 1.08 * max(tops)])
        panels.append((cloud["cloud"], figure))
    return panels


def profile_colors(clouds: list[dict[str, Any]]) -> dict[str, str]:
    """The color of each estimator that has a profile, the same as in `layer_figure`."""
    profiled = {profile["estimator"] for cloud in clouds for profile in cloud.get("profiles", [])}
    return {name: color for name, color in _colors(clouds).items() if name in profiled}


def _colors(clouds: list[dict[str, Any]]) -> dict[str, str]:
    """The color of what was measured and of each estimator, in their order."""
    of_each = ([*_as_estimate(cloud), *cloud["estimates"]] for cloud in clouds)
    return spread_colors(list(dict.fromkeys(estimate["estimator"] for some in of_each for estimate in some)))


def _panel_line(profile: dict[str, Any], rows: list[tuple[float, float, float]], color: str) -> go.Scatter:
    """The readings, thicker where they are a plateau."""
    name, plateau = profile["estimator"], profile["plateau"]
    ends = (plateau["lower"], plateau["upper"]) if plateau["found"] else (math.inf, -math.inf)
    return go.Scatter(
        x=[x for x, *_ in rows],
        y=[d for _, d, _ in rows],
        customdata=[
            f"{number(error, 2)}{', on the plateau' if ends[0] <= x <= ends[1] else ''}" for x, _, error in rows
        ],
        mode="lines+markers",
        line={"color": color, "width": 3 if plateau["found"] else 1.2},
        marker={"size": 5, "color": color},
        name=name,
        hovertemplate=f"{literal(name)}: d = %{{y:.3g}} ± %{{customdata}}; at distance %{{x:.3g}}",
    )


def _sizes(profile: dict[str, Any], scales: list[float], size: int) -> list[int]:
    """Sizes of marks, in pixels: that of the recommended scale is larger."""
    best = profile.get("scales", {}).get("recommended_scale")
    return [size + 7 if _known(best) and scale == best else size for scale in scales]


def _shade_noise(figure: go.Figure, profiles: list[dict[str, Any]]) -> None:
    """Shades distances below the largest that noise fills, from the smallest scale read, where that is smaller."""
    filled = [profile["scales"]["noise"]["distance"] for profile in profiles if "scales" in profile]
    scales = [scale for profile in profiles for scale in profile["scale"] if _known(scale) and scale > 0]
    known = [distance for distance in filled if _known(distance)]
    if known and scales and max(known) > min(scales):
        figure.add_vrect(x0=min(scales), x1=max(known), fillcolor="gray", opacity=0.15, line_width=0, layer="below")


def _known(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


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
        marker={"size": _sizes(profile, profile["scale"], 8), "color": color, "symbol": mark},
        name=html.escape(name),  # plotly reads names as a little HTML
        legendgroup=name,
        hovertemplate=f"<b>{literal(name)}</b><br>d = %{{y:.3g}} ± %{{customdata[0]:.2g}} (one standard error)"
        "<br>at distance %{x:.3g}, %{customdata[1]} neighbors, %{customdata[2]:,} points<extra></extra>",
    )
