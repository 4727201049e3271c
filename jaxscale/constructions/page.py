"""A certificate as one web page that needs nothing but itself."""

import html
import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import number

SIZES = {
    "L_T": "blocks L<sub>T</sub>",
    "l": "tokens ℓ",
    "m": "heads in a block, at most m",
    "d_embd": "rows of a token d<sub>embd</sub>",
    "L_FFN": "affine maps of an FFN L<sub>FFN</sub>",
    "w_FFN": "width of an FFN w<sub>FFN</sub>",
    "kappa": "largest parameter κ",
}


def page(document: dict[str, Any], title: str) -> str:
    """The whole page as one string of HTML."""
    sections = [
        _headline(document),
        _error(document),
        _sizes(document),
        _rounding(document),
        _blocks(document),
        _depth(document),
        _capacity(document),
    ]
    return layout.conclusion(f"{title} · certificate", document, sections)


def _headline(document: dict[str, Any]) -> str:
    if "measured" not in document:
        return ""
    measured = document["measured"]
    points = sum(measured["points"].values())
    proved = ("Proved: sup error at most", number(document["approximation_bound"]), "in exact arithmetic")
    if document.get("refuted_bound") is not None:
        proved = ("Refuted: sup error at most", number(document["refuted_bound"]), "if the stated smoothness were true")
    entries = [
        proved,
        ("Measured: sup error", number(measured["sup"]), f"{points:,} points, {measured['precision']}"),
        ("Measured: L² error", number(measured["l2"]), "random points"),
    ]
    return (
        '<dl class="headline">'
        + "".join(
            f'<div><dt>{name}</dt><dd class="value">{value}</dd><dd class="soft">{source}</dd></div>'
            for name, value, source in entries
        )
        + "</dl>"
    )


def _error(document: dict[str, Any]) -> str:
    series = document.get("series")
    if not series:
        return ""
    rows = series["rows"]
    figure = plots.empty("N, cells along a side", "sup error")
    grids = [row["grid"] for row in rows]
    if all(row["bound"] for row in rows):
        name = "refuted bound" if document["refuted"] else "proved bound"
        figure.add_trace(_line(grids, [row["bound"] for row in rows], name, plots.PREDICTION, "dash"))
    figure.add_trace(_line(grids, [row["sup"] for row in rows], "measured", plots.FIT, "solid"))
    figure.update_xaxes(type="log", tickvals=grids, ticktext=[number(N) for N in grids])
    figure.update_yaxes(type="log")
    slope = series["slope"]
    exponent = document["holder"]["exponent"] if document.get("holder") else None
    caption = (
        "Largest error at grid points, cell midpoints, random points and near rough places, both axes logarithmic. "
        f"Slope {number(slope)}" + (f"; the theorem says −{exponent:g} for this smoothness." if exponent else ".")
    )
    drawing = plots.drawing(figure, "figure-error", f"Error against N; slope {number(slope)}.")
    return figure_section("Error against the grid", drawing, caption)


def _line(x: Sequence[float], y: Sequence[float], name: str, color: str, dash: str) -> go.Scatter:
    return go.Scatter(
        x=x,
        y=y,
        mode="lines+markers",
        name=name,
        line={"color": color, "width": 2, "dash": dash},
        marker={"size": 8, "color": color},
        hovertemplate="N = %{x}<br>%{y:.3g}<extra></extra>",
    )


def _sizes(document: dict[str, Any]) -> str:
    stated = document.get("theorem", {})
    body = []
    for key, name in SIZES.items():
        entry = stated.get(key, {})
        body.append(
            [name, _value(document["class"][key]), _value(entry.get("value")), html.escape(entry.get("formula", "—"))]
        )
    body.append(["parameters, zeros included", number(document["class"]["parameters"]), "—", "—"])
    body.append(["parameters that are not zero", number(document["class"]["nonzeros"]), "—", "—"])
    caption = f"Encoding: {document['compiled']['encoding']}. The theorem’s sizes are upper bounds for the same grid."
    table = ruled_table(["", "this network", "theorem", "formula"], body, caption, numeric={1, 2})
    return f"<section><h2>The class T(L_T, m, d_embd, ℓ, L_FFN, w_FFN, R, κ)</h2>{table}</section>"


def _value(value: float | None) -> str:
    if value is None:
        return "—"
    return number(int(value)) if float(value).is_integer() and abs(value) < 1e6 else number(float(value))


def _rounding(document: dict[str, Any]) -> str:
    body = []
    for name, row in document["rounding"].items():
        verdict = "✓ safe" if row["safe"] else "✗ not safe"
        leaks = number(row["leaking_heads"])
        body.append([html.escape(name), verdict, _small(row["bound"]), _small(row["margin"]), leaks])
    caption = (
        "Bound: how far rounding can move an output. Margin: how far below zero every score stays that must not count, "
        "as a share of the largest score; heads with a negative one may leak. Safe: no head leaks, and the bound is at "
        f"most {_small(document['tolerance'])}."
    )
    headings = ["format", "", "rounding bound", "least margin", "heads that may leak"]
    return f"<section><h2>Rounding</h2>{ruled_table(headings, body, caption, numeric={2, 3, 4})}</section>"


def _small(value: float | None) -> str:
    if value is None:
        return "—"
    return f"{value:.2e}" if value and not 1e-3 <= abs(value) < 1e4 else number(float(value))


def _blocks(document: dict[str, Any]) -> str:
    body = []
    for row in document["blocks"]:
        hidden = " → ".join(map(str, row["hidden"])) or "none"
        first = [str(row["block"]), number(row["heads"]), hidden]
        for place in row["computes"]:
            where = [_span(place["tokens"]), _span(place["rows"])]
            body.append([*first, html.escape(place["name"]), number(place["entries"]), *where])
            first = ["", "", ""]
    headings = ["block", "heads", "FFN", "value", "numbers", "tokens", "row"]
    table = ruled_table(headings, body, "Where each value lies after the block that computes it.", numeric={1, 4})
    return f"<section><h2>What each block computes</h2>{table}</section>"


def _span(ends: Sequence[int]) -> str:
    return number(ends[0]) if ends[0] == ends[1] else f"{number(ends[0])} … {number(ends[1])}"


def _depth(document: dict[str, Any]) -> str:
    if "theorem" not in document:
        return ""
    dimensions = list(range(1, 33))
    cube = [2 + math.ceil(math.log2(d)) for d in dimensions]
    manifold = [3 + math.ceil(math.log2(d + 1)) for d in dimensions]
    figure = plots.empty("d", "blocks L_T")
    for depths, name, dash in ((cube, "cube, 2 + ⌈log2 d⌉", "solid"), (manifold, "manifold, 3 + ⌈log2(d+1)⌉", "dot")):
        figure.add_trace(
            go.Scatter(x=dimensions, y=depths, mode="lines", name=name, line={"shape": "hv", "dash": dash, "width": 2})
        )
    here = [document["dimension"]], [document["class"]["L_T"]]
    figure.add_trace(
        go.Scatter(x=here[0], y=here[1], mode="markers", name="this network", marker={"size": 12, "color": plots.FIT})
    )
    figure.update_yaxes(rangemode="tozero", dtick=1)
    figure.update_layout(showlegend=True)
    drawing = plots.drawing(figure, "figure-depth", "Depth against dimension: logarithmic, whatever the accuracy.")
    caption = (
        "The depth depends on the dimension alone: accuracy is bought with tokens and heads. The structured back end "
        "takes one block more, to bring values to the tokens that multiply them."
    )
    return figure_section("Depth against dimension", drawing, caption)


def _capacity(document: dict[str, Any]) -> str:
    found = document.get("capacity")
    if not found:
        return ""
    body = [
        ["target error ε", _small(found["epsilon"])],
        ["log covering number of the class at ε, at most", _small(found["log_covering_number"])],
        ["samples for a mean squared error of order ε²", _small(found["samples"])],
    ]
    caption = "Of learning in this class by empirical risk minimization: upper bounds, the last without its constant."
    return f"<section><h2>Learning instead of writing down</h2>{ruled_table([], body, caption)}</section>"
