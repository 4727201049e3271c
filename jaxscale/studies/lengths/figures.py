"""The figures of a study of length generalization: loss against test length, plateaus, thresholds, attention, failures.

Every figure takes the rows and the verdict of a study and returns a `plotly.graph_objects.Figure`.
"""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.numerals import number
from jaxscale.page.plots import FIT, MARKS, PREDICTION, band, empty, spread_colors
from jaxscale.studies.lengths.config import NAMES

Verdict = dict[str, Any]
# T = ∞ stands on a logarithmic axis this many times beyond the last length.
BEYOND = 8
# Losses below are drawn here: a logarithmic axis has no zero.
SMALLEST = 1e-9


def label(parameters: dict[str, float]) -> str:
    """`k = 2, S = 3` and the like."""
    return ", ".join(f"{NAMES[name]} = {value:g}" for name, value in parameters.items())


def length_figure(rows: list[dict[str, Any]], parameters: dict[str, float]) -> go.Figure:
    """Test loss against test length, a line for each train length: the median run, in the band of all that count."""
    figure = empty("test length T", "test loss, mean squared error")
    runs = [row for row in rows if _is(row, parameters) and not row.get("collapsed")]
    trained = sorted({row["train_length"] for row in runs})
    colors = spread_colors(trained)
    longest = max([10 * n for n in trained] + [int(name) for name in rows[0]["losses"] if name.isdigit()])
    for n in trained:
        curves = [_curve(row, BEYOND * longest) for row in runs if row["train_length"] == n]
        lengths = [length for length, _ in curves[0]]
        losses = [sorted(curve[i][1] for curve in curves) for i in range(len(lengths))]
        name = f"N = {number(n)}"
        lower, upper = ([each[end] for each in losses] for end in (0, -1))
        figure.add_trace(band(lengths, lower, upper, colors[n], name))
        figure.add_trace(
            go.Scatter(
                x=lengths,
                y=[each[len(each) // 2] for each in losses],
                mode="lines+markers",
                line={"color": colors[n], "width": 2},
                marker={"size": 7, "symbol": ["diamond" if length == n else "circle" for length in lengths]},
                name=name,
                legendgroup=name,
                hovertemplate="T = %{x:,}<br>loss %{y:.3g}<extra>" + name + "</extra>",
            )
        )
    _log_axes(figure, [10**i for i in range(1, int(math.log10(longest)) + 1)], BEYOND * longest)
    return figure


def plateau_figure(verdict: Verdict) -> go.Figure:
    """Loss at T = ∞ against train length, a line for each task parameter; dotted, the part that is there at T = N."""
    figure = empty("train length N", "plateau, loss at T = ∞")
    parameters = distinct([entry["parameters"] for entry in verdict["plateaus"]])
    colors = spread_colors([label(one) for one in parameters])
    for i, one in enumerate(parameters):
        entries = [e for e in verdict["plateaus"] if e["parameters"] == one and e["inf"]]
        name, lengths = label(one), [entry["train_length"] for entry in entries]
        means, ends = ([entry["inf"][part] for entry in entries] for part in ("mean", "interval"))
        figure.add_trace(
            go.Scatter(
                x=lengths,
                y=[max(mean, SMALLEST) for mean in means],
                error_y={
                    "array": [end[1] - mean for end, mean in zip(ends, means, strict=True)],
                    "arrayminus": [mean - end[0] for end, mean in zip(ends, means, strict=True)],
                    "color": colors[name],
                    "thickness": 1.5,
                },
                mode="lines+markers",
                line={"color": colors[name], "width": 2},
                marker={"size": 8, "symbol": MARKS[i % len(MARKS)]},
                name=name,
                legendgroup=name,
                hovertemplate="N = %{x:,}<br>plateau %{y:.3g}<extra>" + name + "</extra>",
            )
        )
        figure.add_trace(
            go.Scatter(
                x=lengths,
                y=[max(entry["own"]["mean"], SMALLEST) for entry in entries],
                mode="lines",
                line={"color": colors[name], "width": 1, "dash": "dot"},
                legendgroup=name,
                showlegend=False,
                hovertemplate="N = %{x:,}<br>loss at N %{y:.3g}<extra>" + name + "</extra>",
            )
        )
    _log_axes(figure, sorted({entry["train_length"] for entry in verdict["plateaus"]}))
    return figure


def threshold_figure(verdict: Verdict, of: str) -> go.Figure:
    """N*(ε) against one task parameter, a line for each ε and value of the others; triangles are bounds."""
    figure = empty(f"task parameter {NAMES[of]}", "least sufficient train length N*(ε)")
    lines: dict[str, list[dict[str, Any]]] = {}
    for group in verdict["thresholds"]:
        for entry in group["thresholds"]:
            rest = {name: value for name, value in entry["parameters"].items() if name != of}
            name = f"ε = {group['epsilon']:g}" + (f", {label(rest)}" if rest else "")
            if entry["length"] is not None:
                lines.setdefault(name, []).append(entry)
    colors = spread_colors(list(lines))
    symbols = {"no": "circle", "left": "triangle-down", "right": "triangle-up"}
    for name, entries in lines.items():
        lengths, ends = [entry["length"] for entry in entries], [entry["interval"] for entry in entries]
        above = [0 if end[1] is None else max(0, end[1] - n) for end, n in zip(ends, lengths, strict=True)]
        below = [0 if end[0] is None else max(0, n - end[0]) for end, n in zip(ends, lengths, strict=True)]
        figure.add_trace(
            go.Scatter(
                x=[entry["parameters"][of] for entry in entries],
                y=lengths,
                error_y={"array": above, "arrayminus": below, "color": colors[name], "thickness": 1.5},
                mode="lines+markers",
                line={"color": colors[name], "width": 1.5},
                marker={"size": 9, "symbol": [symbols[entry["censored"]] for entry in entries]},
                name=name,
                hovertemplate="N* = %{y:.3g}<extra>" + name + "</extra>",
            )
        )
    _log_axes(figure, sorted({entry["parameters"][of] for entries in lines.values() for entry in entries}))
    trained = sorted({entry["train_length"] for entry in verdict["plateaus"]})
    figure.update_yaxes(tickvals=trained, ticktext=[number(n) for n in trained])
    return figure


def attention_figure(weights_T: Sequence[float], wanted_T: Sequence[bool]) -> go.Figure:
    """The attention of the last token over the positions of one string, in two colors: at the right residue, or not."""
    figure = empty("position t", "attention of the last token")
    for kind, color, name in ((True, FIT, "right residue"), (False, PREDICTION, "other residues")):
        places = [t for t, wanted in enumerate(wanted_T, start=1) if wanted is kind]
        figure.add_trace(
            go.Bar(
                x=places,
                y=[weights_T[t - 1] for t in places],
                marker={"color": color},
                name=name,
                hovertemplate="t = %{x}: %{y:.4f}<extra>" + name + "</extra>",
            )
        )
    figure.update_layout(showlegend=True)
    return figure


def hard_figure(verdict: Verdict, train_length: int, length: int) -> go.Figure:
    """Largest error on each kind of string at one test length, a bar for each task parameter."""
    figure = empty("", "largest error |f − f*|")
    entries = [e for e in verdict["hard"] if e["train_length"] == train_length and e["length"] == length]
    colors = spread_colors([label(entry["parameters"]) for entry in entries])
    for entry in entries:
        name = label(entry["parameters"])
        figure.add_trace(
            go.Bar(
                x=list(entry["largest"]),
                y=list(entry["largest"].values()),
                marker={"color": colors[name]},
                name=name,
                hovertemplate="%{x}: %{y:.3g}<extra>" + name + "</extra>",
            )
        )
    figure.update_layout(barmode="group", showlegend=True)
    return figure


def distinct(values: list[dict[str, float]]) -> list[dict[str, float]]:
    """`values` in their order, each once."""
    return [value for i, value in enumerate(values) if value not in values[:i]]


def _curve(row: dict[str, Any], at_infinity: float) -> list[tuple[float, float]]:
    """(T, loss) in the order of T; T = ∞ stands at `at_infinity`."""
    n, losses = row["train_length"], row["losses"]
    points = {float(name): loss for name, loss in losses.items() if name.isdigit()}
    points |= {float(n): losses["own"], at_infinity: losses["inf"]}
    return sorted((length, max(loss, SMALLEST)) for length, loss in points.items())


def _is(row: dict[str, Any], parameters: dict[str, float]) -> bool:
    return all(row[name] == value for name, value in parameters.items())


def _log_axes(figure: go.Figure, ticks: list[float], at_infinity: float | None = None) -> None:
    """Both axes logarithmic, with the values themselves as ticks; and ∞ where it stands."""
    texts = [f"{tick:,g}" if tick < 1e4 else f"10<sup>{round(math.log10(tick))}</sup>" for tick in ticks]
    if at_infinity is not None:
        ticks, texts = [*ticks, at_infinity], [*texts, "∞"]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=texts)
    figure.update_yaxes(type="log", exponentformat="power", dtick=1)
    figure.update_layout(showlegend=True)
