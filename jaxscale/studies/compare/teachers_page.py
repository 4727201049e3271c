"""Studies with a teacher side by side: what their page shows."""

import html
from collections.abc import Callable
from typing import Any

import plotly.graph_objects as go

from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, interval, number, percent
from jaxscale.studies.compare import teachers_figures as figures

Verdict = dict[str, Any]
TITLE = "Real text with a known truth, side by side"


def page(verdict: Verdict) -> str:
    """The whole page as one string of HTML."""
    drawn = [
        (
            "Exponent against dimension",
            figures.exponent_figure(verdict),
            "Students of every study, at the dimension of its teacher's last layer, with both intervals; hollow: no "
            "point of the line. Dashed: 2β/(2β + d) at β = 1; shaded: the same at half and at twice the dimension.",
        ),
        (
            "Its inverse against dimension",
            figures.line_figure(verdict),
            "Theory says a straight line: 1/α = 1 + d/(2β). Large marks: students, at the last layer; small ones of "
            "that form: nearest neighbors in the coordinates of every layer. Shaded: the interval of a line at each d.",
        ),
    ]
    sections = [
        *(
            figure_section(title, plots.drawing(figure, f"figure-{i}", title), caption)
            for i, (title, figure, caption) in enumerate(drawn)
        ),
        _lines(verdict),
        _students(verdict),
        _geometry(verdict),
    ]
    return layout.conclusion(TITLE, verdict, sections, {})


def picture(verdict: Verdict) -> go.Figure:
    """Both figures as panels of one."""
    figure = figures.both(verdict)
    figure.update_layout(width=1300, height=600, font={"size": 15})
    return figure


def _lines(verdict: Verdict) -> str:
    def row(name: str, line: dict[str, Any], points: str) -> list[str]:
        return [
            name,
            points,
            number(line["intercept"]) if "intercept" in line else "1",
            interval(line["intercept_interval"]) if "intercept" in line else "held",
            number(line["slope"]),
            interval(line["slope_interval"]),
            number(line["beta"]),
            interval(line["beta_interval"]),
        ]

    body = [["theory at β = 1", "", "1", "", "0.5", "", "1", ""]]
    if line := verdict["line"]:
        body.append(row("students", line, f"{line['points']} studies"))
        body.append(row("students, intercept held at 1", line["with_intercept_one"], f"{line['points']} studies"))
    if line := verdict["line_of_neighbors"]:
        body.append(row("nearest neighbors", line, f"{line['points']} layers of {line['studies']} studies"))
    if len(body) == 1:
        return ""
    caption = (
        "1/α = intercept + slope · d, by least squares with errors in both variables (York et al. 2004), and β, one "
        f"over twice the slope. Intervals at {percent(verdict['level'])}: by χ² for students, widened where studies "
        "scatter more than their own intervals say; by leaving out whole studies for neighbors."
    )
    headings = ["line of", "points", "intercept", "interval", "slope", "interval", "β", "interval"]
    return f"<section><h2>Lines</h2>{ruled_table(headings, body, caption, numeric={2, 4, 6})}</section>"


def _students(verdict: Verdict) -> str:
    observed: Callable[[dict[str, Any]], str] = lambda law: f"{number(law['exponent'])} {interval(law['interval'])}"
    body = [
        [
            html.escape(one["name"]),
            html.escape(one["corpus"]),
            html.escape(f"{one['teacher']}, {one['outcome']}"),
            f"{number(one['sizes'][0])} to {number(one['sizes'][1])}",
            observed(one["squared"]),
            observed(one["divergence"]),
            "no" if one["left_out"] else "yes",
        ]
        for one in verdict["studies"]
    ]
    headings = [
        "study",
        "corpus",
        "teacher, outcome",
        "n",
        "α, squared error",
        "α, excess cross-entropy",
        "in the line",
    ]
    caption = "Exponents over the sizes that count, each with its interval."
    return f"<section><h2>Students</h2>{ruled_table(headings, body, caption)}</section>"


def _geometry(verdict: Verdict) -> str:
    def layer(one: dict[str, Any] | None) -> str:
        if one is None or one["dimension"] is None:
            return UNKNOWN
        return f"{number(one['dimension'])} {interval(one['dimension_interval'])}, layer {one['layer']}"

    def predicted(one: dict[str, Any] | None) -> str:
        if one is None:
            return UNKNOWN
        if one["exponent"] is None:
            return f"at least {number(one['interval'][0])}"
        return f"{number(one['exponent'])} {interval(one['interval'])}"

    body = [
        [
            html.escape(one["name"]),
            layer(one["last_layer"]),
            layer(one["best_layer"]),
            predicted(one["predicted"]["at_one"]),
            predicted(one["predicted"]["measured"]),
            str(one["agreement"] or UNKNOWN),
        ]
        for one in verdict["studies"]
    ]
    headings = ["study", "d of last layer", "d of best layer", "α at β = 1", "α at measured β", "agreement"]
    caption = (
        "The best layer is that in whose coordinates nearest neighbors err least. α is what the last layer predicts, "
        "at the measured β where that is identified; agreement is that of the squared error with α at β = 1."
    )
    return f"<section><h2>Geometry, and what it predicts</h2>{ruled_table(headings, body, caption)}</section>"
