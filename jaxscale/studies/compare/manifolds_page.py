"""Studies on manifolds side by side: what their page shows."""

from typing import Any

import plotly.graph_objects as go

from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import interval, number
from jaxscale.page.plots import add_curve
from jaxscale.studies.manifolds.figures import ERROR

Verdict = dict[str, Any]
TITLE = "Known geometry, side by side"


def page(verdict: Verdict) -> str:
    """The whole page as one string of HTML."""
    drawn = [
        (
            "Exponents",
            exponent_figure(verdict),
            "Bars are intervals; diamonds: what theory predicts. A hollow mark: fewer sizes count than make a test.",
        ),
        ("Errors", error_figure(verdict), "Geometric means over seeds."),
        (
            "Ratio of errors",
            ratio_figure(verdict),
            f"To the error of {verdict['base']} for the same seeds: geometric means.",
        ),
    ]
    sections = [
        *(
            figure_section(title, plots.drawing(figure, f"figure-{i}", title), caption)
            for i, (title, figure, caption) in enumerate(drawn)
        ),
        _table(verdict),
    ]
    return layout.conclusion(TITLE, verdict, sections, {})


def picture(verdict: Verdict) -> go.Figure:
    """The figure that says most: exponents with their intervals, beside predictions."""
    return exponent_figure(verdict)


def exponent_figure(verdict: Verdict) -> go.Figure:
    """A mark for each study with its interval, and a diamond at its prediction."""
    figure = plots.empty("exponent of the error in n", "")
    studies = verdict["studies"]
    names = [one["name"] for one in studies]
    exponents = [one["exponent"] for one in studies]
    ends = [one["interval"] for one in studies]
    figure.add_trace(
        go.Scatter(
            x=exponents,
            y=names,
            error_x={
                "array": [high - x for x, (_, high) in zip(exponents, ends, strict=True)],
                "arrayminus": [x - low for x, (low, _) in zip(exponents, ends, strict=True)],
                "thickness": 1.5,
            },
            mode="markers",
            marker={
                "size": 9,
                "color": plots.FIT,
                "symbol": ["circle" if one["enough_sizes"] else "circle-open" for one in studies],
            },
            name="networks",
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.add_trace(
        go.Scatter(
            x=[one["prediction"] for one in studies],
            y=names,
            mode="markers",
            marker={"size": 9, "color": plots.PREDICTION, "symbol": "diamond"},
            name="predicted",
            hovertemplate="%{y}: %{x:.3f}<extra></extra>",
        )
    )
    figure.update_layout(height=180 + 36 * len(studies), showlegend=True)
    figure.update_yaxes(autorange="reversed", type="category", automargin=True)
    return figure


def error_figure(verdict: Verdict) -> go.Figure:
    """Error against n, a curve for each study."""
    figure = plots.empty("n, training points", ERROR[verdict["objective"]])
    for (name, (color, mark)), one in zip(_styles(verdict), verdict["studies"], strict=True):
        add_curve(figure, one["by_size"], "n", name, color, mark)
    return _over_sizes(figure, verdict)


def ratio_figure(verdict: Verdict) -> go.Figure:
    """Error over that of the first study against n, a curve for each of the others."""
    figure = plots.empty("n, training points", f"error over that of {verdict['base']}")
    for (name, (color, mark)), one in list(zip(_styles(verdict), verdict["studies"], strict=True))[1:]:
        add_curve(figure, one["ratio"], "n", name, color, mark, value="ratio")
    figure.add_hline(y=1, line={"color": plots.POINT, "dash": "dot"})
    return _over_sizes(figure, verdict)


def _styles(verdict: Verdict) -> list[tuple[str, tuple[str, str]]]:
    names = [one["name"] for one in verdict["studies"]]
    colors = plots.spread_colors(names)
    return [(name, (colors[name], plots.MARKS[i % len(plots.MARKS)])) for i, name in enumerate(names)]


def _over_sizes(figure: go.Figure, verdict: Verdict) -> go.Figure:
    ticks = [one["n"] for one in verdict["studies"][0]["by_size"]]
    figure.update_xaxes(type="log", tickvals=ticks, ticktext=[number(tick) for tick in ticks])
    figure.update_yaxes(type="log", exponentformat="power")
    figure.update_layout(showlegend=True)
    return figure


def _table(verdict: Verdict) -> str:
    body = []
    for one in verdict["studies"]:
        found, ratio = one.get("difference"), one.get("ratio_where_it_counts")
        body.append(
            [
                one["name"],
                ", ".join(f"{name} = {value}" for name, value in one.get("changed", {}).items()),
                number(one["dimension"]),
                number(one["prediction"]),
                number(one["exponent"]),
                interval(one["interval"]),
                f"{min(one['sizes'])} to {max(one['sizes'])}",
                f"{found['exponent']:+.3f}" if found else "",
                interval(found["interval"]) if found else "",
                f"{ratio[0]:.2f} to {ratio[1]:.2f}" if ratio else "",
            ]
        )
    headings = ["study", "changed", "dimension read", "predicted", "exponent", "interval", "sizes that count"]
    headings += ["difference", "interval", "ratio of errors"]
    caption = (
        f"Differences of exponents from {verdict['base']}, from ratios of errors at the sizes that count in both; "
        "their intervals hold together. None where fewer than four sizes do."
    )
    return f"<section><h2>As a table</h2>{ruled_table(headings, body, caption, numeric={2, 3, 4, 7})}</section>"
