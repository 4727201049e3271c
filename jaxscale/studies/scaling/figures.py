"""The figures of a study of scaling: loss against n, its excess over E, learning curves, dimension by layer."""

import html
import itertools
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.numerals import number
from jaxscale.page.plots import FIT, POINT, PREDICTION, band, empty, literal, spread_colors
from jaxscale.studies.scaling.folder import LossCurve, Row

MOST_TICKS = 12


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


def curves_figure(rows: list[Row], curves: dict[str, LossCurve]) -> go.Figure:
    """Validation loss against step, a line for each run colored by its n, a diamond at each run's minimum."""
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
        figure.add_trace(band(sizes, curve["lower"], curve["upper"], color, name))
    figure.add_trace(_line(sizes, curve["loss"], name, color, dash))


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str, dash: str) -> go.Scatter:
    style = {"color": color, "width": 2.5, "dash": dash}
    return go.Scatter(x=x, y=y, mode="lines", line=style, hoverinfo="skip", legendgroup=name, name=name)


def _learning_curve(row: Row, curve: LossCurve, color: str, in_legend: bool) -> go.Scatter:
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


def _size_colors(rows: list[Row]) -> dict[int, str]:
    """A color for each n, evenly spaced over the sizes present."""
    return spread_colors(sorted({row["n"] for row in rows}))


def _size_axis(figure: go.Figure, rows: list[Row]) -> None:
    """A logarithmic axis that carries the sizes themselves as ticks while they are few enough to read."""
    sizes = sorted({row["n"] for row in rows})
    figure.update_xaxes(type="log")
    if len(sizes) <= MOST_TICKS:
        figure.update_xaxes(tickvals=sizes, ticktext=[number(n) for n in sizes])
