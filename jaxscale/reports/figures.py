"""The figures of a report, as plotly figures: loss against n, its excess over E, learning curves, dimension by layer.

    figure = loss_figure(study.rows, study.verdict)
    markup = drawing(figure, "figure-loss", "Loss against n")      # needs `plotly_script()` once on the page

Every figure takes plain rows and dictionaries and returns a `plotly.graph_objects.Figure`. Colours are of middle
lightness, so that they stand out on white paper and on a dark screen alike; text and grid take their colour from
the page's style sheet.
"""

import html
import itertools
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import plotly.io
from plotly.colors import sample_colorscale
from plotly.offline import get_plotlyjs

from jaxscale.reports.folder import Curve, Row
from jaxscale.reports.numerals import number

POINT, FIT, PREDICTION = "#64748b", "#2f7de1", "#d9772b"
SIZES = ["#22a39a", "#3b82d6", "#8b5cf6", "#d6478f"]  # small n to large n
MARKS = ["circle", "square", "diamond", "triangle-up", "cross"]
MOST_TICKS = 12
ROOM = 0.03  # of the axis, left free at both ends


def loss_figure(rows: list[Row], verdict: dict[str, Any]) -> go.Figure:
    """Loss against n: every run a point, the fitted law and the predicted exponent each a curve in its band."""
    figure = empty("n, training tokens", "validation loss, nats per token")
    observed = verdict["observed"]
    _add_law(figure, observed.get("curve"), f"fit, α = {number(observed['exponent'])}", FIT, "solid")
    predicted = f"predicted exponent, α = {number(verdict['predicted']['exponent'])}"
    _add_law(figure, verdict.get("prediction_curve"), predicted, PREDICTION, "dash")
    figure.add_trace(_points(rows, [row["loss"] for row in rows]))
    _size_axis(figure, rows)
    return figure


def excess_figure(rows: list[Row], verdict: dict[str, Any]) -> go.Figure | None:
    """Loss above the fitted E against n, both logarithmic, with the two slopes; None where no fitted power law exists.

    The fitted law A n^-α is a straight line here; the prediction is drawn as a slope through that line's middle.
    """
    observed = verdict["observed"]
    floor, scale, exponent = (observed.get(key) for key in ("irreducible_loss", "scale", "exponent"))
    if floor is None or scale is None or exponent is None:
        return None
    above = [row for row in rows if row["loss"] > floor]
    if not above:
        return None
    sizes = [min(row["n"] for row in above), max(row["n"] for row in above)]
    middle = math.sqrt(sizes[0] * sizes[1])
    slope = verdict["predicted"]["exponent"]
    figure = empty("n, training tokens", "loss − fitted E, nats per token")
    fitted = [scale * n**-exponent for n in sizes]
    figure.add_trace(_line(sizes, fitted, f"fit, slope −{number(exponent)}", FIT, "solid"))
    if slope is not None:
        guide = [scale * middle**-exponent * (n / middle) ** -slope for n in sizes]
        figure.add_trace(_line(sizes, guide, f"predicted slope −{number(slope)}", PREDICTION, "dash"))
    figure.add_trace(_points(above, [row["loss"] - floor for row in above]))
    _size_axis(figure, above)
    figure.update_yaxes(type="log", dtick="D2")
    return figure


def curves_figure(rows: list[Row], curves: dict[str, Curve]) -> go.Figure:
    """Validation loss against step, a line for each run coloured by its n, a diamond at each run's minimum."""
    figure = empty("step", "validation loss, nats per token")
    colors = _size_colors(rows)
    for n, group in itertools.groupby(rows, key=lambda row: row["n"]):
        for i, row in enumerate(group):
            figure.add_trace(_learning_curve(row, curves[row["run"]], colors[n], in_legend=i == 0))
            figure.add_trace(_minimum(row, colors[n]))
    return figure


def dimension_figure(dimension: dict[str, Any]) -> go.Figure:
    """Dimension by layer with bars of two standard errors; the layer the verdict uses is filled."""
    layers = sorted(dimension.get("by_layer", []), key=lambda entry: entry["layer"])
    figure = empty("layer", "intrinsic dimension d")
    figure.add_trace(
        go.Scatter(
            x=[entry["layer"] for entry in layers],
            y=[entry["dimension"] for entry in layers],
            error_y={"array": [2 * entry["standard_error"] for entry in layers], "color": FIT, "thickness": 1.5},
            customdata=[entry["standard_error"] for entry in layers],
            mode="lines+markers",
            line={"color": FIT, "width": 1, "dash": "dot"},
            marker={
                "size": 10,
                "color": FIT,
                "symbol": ["circle" if entry["layer"] == dimension.get("layer") else "circle-open" for entry in layers],
                "line": {"width": 2, "color": FIT},
            },
            hovertemplate="layer %{x}<br>d = %{y:.2f} ± %{customdata:.2f} (one standard error)<extra></extra>",
            showlegend=False,
        )
    )
    figure.update_xaxes(tickvals=[entry["layer"] for entry in layers])
    figure.update_yaxes(rangemode="tozero")
    return figure


def scale_figure(clouds: list[dict[str, Any]]) -> go.Figure:
    """Dimension against scale: a line for each cloud and estimator with bars of two standard errors, plateaus as bands.

    Clouds, or the estimators of a single one, differ in colour; the estimators of several in their marks too.
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


def _points(rows: list[Row], heights: list[float]) -> go.Scatter:
    """Runs as points at `heights`; hollow where the loss was still falling when the budget ended."""
    return go.Scatter(
        x=[row["n"] for row in rows],
        y=heights,
        customdata=[_hover_text(row) for row in rows],
        mode="markers",
        marker={
            "size": 10,
            "color": POINT,
            "symbol": ["circle-open" if row.get("edge") else "circle" for row in rows],
            "line": {"width": 1.5, "color": POINT},
        },
        hovertemplate="%{customdata}<extra></extra>",
        name="runs",
    )


def _hover_text(row: Row) -> str:
    """Plotly reads hover text as a little HTML, hence the escape."""
    return (
        f"<b>{html.escape(row['run'])}</b><br>n = {number(row['n'])}, seed {row['seed']}"
        f"<br>loss {number(row['loss'], 5)} at step {number(row.get('step'))}"
    )


def _add_law(figure: go.Figure, curve: dict[str, Any] | None, name: str, color: str, dash: str) -> None:
    """A curve over n in its band; one click in the legend hides both. Points keep the hover to themselves."""
    if not curve:
        return
    sizes = curve["n"]
    if curve.get("lower") and curve.get("upper"):
        band = go.Scatter(
            x=[*sizes, *reversed(sizes)],
            y=[*curve["upper"], *reversed(curve["lower"])],
            fill="toself",
            fillcolor=translucent(color),
            line={"width": 0},
            mode="lines",
            hoverinfo="skip",
            legendgroup=name,
            showlegend=False,
        )
        figure.add_trace(band)
    figure.add_trace(_line(sizes, curve["loss"], name, color, dash))


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str, dash: str) -> go.Scatter:
    style = {"color": color, "width": 2.5, "dash": dash}
    return go.Scatter(x=x, y=y, mode="lines", line=style, hoverinfo="skip", legendgroup=name, name=name)


def _learning_curve(row: Row, curve: Curve, color: str, in_legend: bool) -> go.Scatter:
    return go.Scatter(
        x=curve.steps,
        y=curve.losses,
        mode="lines",
        line={"color": color, "width": 1.5},
        name=f"n = {number(row['n'])}",
        legendgroup=str(row["n"]),
        showlegend=in_legend,
        hovertemplate=f"<b>{literal(row['run'])}</b><br>step %{{x:,}}, loss %{{y:.4f}}<extra></extra>",
    )


def _minimum(row: Row, color: str) -> go.Scatter:
    return go.Scatter(
        x=[row.get("step")],
        y=[row["loss"]],
        customdata=[_hover_text(row)],
        mode="markers",
        marker={"symbol": "diamond", "size": 9, "color": color},
        legendgroup=str(row["n"]),
        showlegend=False,
        hovertemplate="%{customdata}<br>the run's minimum<extra></extra>",
    )


def literal(text: str) -> str:
    """`text` as itself inside a hover template, where `%{` opens a variable and `<` a tag."""
    return html.escape(text).replace("%", "&#37;")


def _size_colors(rows: list[Row]) -> dict[int, str]:
    """A colour for each n, evenly spaced over the sizes present."""
    return spread_colors(sorted({row["n"] for row in rows}))


def spread_colors(keys: Sequence[Any]) -> dict[Any, str]:
    """A colour for each key, evenly spaced in their order, as `#rrggbb`."""
    places = [i / max(1, len(keys) - 1) for i in range(len(keys))]
    channels = sample_colorscale(SIZES, places, colortype="tuple")
    return {key: "#" + "".join(f"{round(255 * c):02x}" for c in rgb) for key, rgb in zip(keys, channels, strict=True)}


def _size_axis(figure: go.Figure, rows: list[Row]) -> None:
    """A logarithmic axis that carries the sizes themselves as ticks while they are few enough to read."""
    sizes = sorted({row["n"] for row in rows})
    figure.update_xaxes(type="log")
    if len(sizes) <= MOST_TICKS:
        figure.update_xaxes(tickvals=sizes, ticktext=[number(n) for n in sizes])


def translucent(color: str) -> str:
    red, green, blue = (int(color[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},0.16)"
