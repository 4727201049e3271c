"""What every figure of a page is made of: empty axes, colors, and the markup of a finished one.

    figure = empty("n, training tokens", "loss")
    markup = drawing(figure, "figure-loss", "Loss against n")      # needs `plotly_script()` once on the page

Colors are of middle lightness, so they stand out on white paper and on a dark screen alike; text and grid take their
color from the page's style sheet.
"""

import html
from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

POINT, FIT, PREDICTION = "#64748b", "#2f7de1", "#d9772b"
SIZES = ["#22a39a", "#3b82d6", "#8b5cf6", "#d6478f"]  # small n to large n
MARKS = ["circle", "square", "diamond", "triangle-up", "cross"]


def drawing(figure: go.Figure, name: str, description: str) -> str:
    """`figure` as markup: a div with id `name` that plotly.js fills, read out as `description`."""
    markup = plotly.io.to_html(
        figure,
        div_id=name,
        full_html=False,
        include_plotlyjs=False,
        config={"displaylogo": False, "responsive": True, "modeBarButtonsToRemove": ["select2d", "lasso2d"]},
        default_height="100%",
    )
    height = f' style="height: {figure.layout.height}px"' if figure.layout.height else ""
    return f'<div class="plot"{height} role="img" aria-label="{html.escape(description)}">{markup}</div>'


def plotly_script() -> str:
    """The whole of plotly.js (5 MB), to be inlined once so that the page opens without a network."""
    return f"<script>{get_plotlyjs()}</script>"


def empty(x_title: str, y_title: str) -> go.Figure:
    """Axes without data; paper and plot are transparent, so the page's background shows."""
    axis = {"gridcolor": "#dddddd", "linecolor": "#888888", "zeroline": False, "automargin": True, "ticks": "outside"}
    return go.Figure(
        layout={
            "template": "none",
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 13},
            "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
            "hovermode": "closest",
            "hoverlabel": {"align": "left"},
            "xaxis": {**axis, "title": {"text": x_title, "standoff": 10}},
            "yaxis": {**axis, "title": {"text": y_title, "standoff": 10}},
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "modebar": {"orientation": "v", "bgcolor": "rgba(0,0,0,0)"},
        }
    )


def spread_colors(keys: Sequence[Any]) -> dict[Any, str]:
    """A color for each key, evenly spaced in their order, as `#rrggbb`."""
    return {key: color_at(i / max(1, len(keys) - 1)) for i, key in enumerate(keys)}


def color_at(share: float) -> str:
    """The color at a share, from 0 to 1, of the way from small to large, as `#rrggbb`."""
    (channels,) = sample_colorscale(SIZES, [share], colortype="tuple")
    return "#" + "".join(f"{round(255 * channel):02x}" for channel in channels)


def literal(text: str) -> str:
    """`text` as itself inside a hover template, where `%{` opens a variable and `<` a tag."""
    return html.escape(text).replace("%", "&#37;")


def translucent(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"


def band(x: Sequence[float], lower: Sequence[float], upper: Sequence[float], color: str, name: str) -> go.Scatter:
    """What lies between two curves over `x`, shaded; shown and hidden with the curve `name` of the legend."""
    return go.Scatter(
        x=[*x, *reversed(x)],
        y=[*upper, *reversed(lower)],
        fill="toself",
        fillcolor=translucent(color),
        line={"width": 0},
        mode="lines",
        hoverinfo="skip",
        legendgroup=name,
        showlegend=False,
    )


def add_line(figure: go.Figure, x: Sequence[float], y: Sequence[float], name: str, color: str, dash: str) -> None:
    """Adds a line that the pointer does not stop at."""
    style = {"color": color, "width": 2, "dash": dash}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", line=style, name=name, hoverinfo="skip"))


def add_curve(
    figure: go.Figure,
    entries: Sequence[Mapping[str, Any]],
    column: str,
    name: str,
    color: str,
    mark: str,
    value: str = "loss",
) -> None:
    """Adds `value` against `column`, of plain rows, as marks on a line."""
    figure.add_trace(
        go.Scatter(
            x=[one[column] for one in entries],
            y=[one[value] for one in entries],
            mode="lines+markers",
            line={"color": color, "width": 1.5},
            marker={"size": 7, "color": color, "symbol": mark},
            name=name,
            hovertemplate="%{x:,}<br>%{y:.4g}<extra>" + name + "</extra>",
        )
    )
