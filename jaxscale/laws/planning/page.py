"""A plan on a terminal, and as one web page: the runs, and the width promised at each cost.

    print_plan(document, rich.console.Console())
    write_plan_page(document, "plan.html", "pilot.csv")

`document` is what `jaxscale plan --json` prints.
"""

import html
import math
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale import files
from jaxscale.laws.page import check_law_page
from jaxscale.laws.planning.documents import amount
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, percent


def print_plan(document: dict[str, Any], console: Console) -> None:
    """Prints the answer, the caveats, and the runs."""
    console.print(Text(document["sentence"]))
    for caveat in document["caveats"]:
        console.print(Text.assemble("- ", (caveat["code"], "bold"), f": {caveat['text']}"))
    if not document["runs"]:
        return
    table = Table(header_style="bold")
    headings, rows = _table(document)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for cells in rows:
        table.add_row(*map(Text, cells))
    console.print(table)


def write_plan_page(document: dict[str, Any], path: str, name: str) -> None:
    """Writes a page that needs nothing but itself.

    Args:
      document: what there is to say.
      path: a file that ends in .html.
      name: of the pilot.

    Raises:
      InputError: if `path` cannot be such a file.
      RunError: if the page cannot be written.
    """
    check_law_page(path)
    sections = [_headline(document), *map(str, _curves(document)), _runs(document), _promises(document)]
    files.write_text(path, layout.conclusion(f"Runs to train after {name}", document, sections))


def width_figure(document: dict[str, Any], quantity: str) -> go.Figure:
    """The width promised against cost, with what is wanted, what there is, and the plan."""
    promise = next(one for one in document["promises"] if one["quantity"] == quantity)
    curve = document["curve"]
    figure = plots.empty(f"cost of the runs, {document['unit']}", f"width of the interval of {quantity}")
    line = {"color": plots.FIT, "width": 2.5}
    figure.add_trace(
        go.Scatter(
            x=curve["cost"], y=curve["widths"][quantity], mode="lines", line=line, name="best design at each cost"
        )
    )
    ends = [min(curve["cost"]), max(curve["cost"])]
    plots.add_line(figure, ends, [promise["wanted"]] * 2, "wanted", plots.PREDICTION, "dash")
    if _known(promise["now"]):
        plots.add_line(figure, ends, [promise["now"]] * 2, "now", plots.POINT, "dot")
    spread = promise["spread"]
    error = (
        {
            "symmetric": False,
            "array": [spread[1] - promise["promised"]],
            "arrayminus": [promise["promised"] - spread[0]],
        }
        if _known(spread[0])
        else None
    )
    figure.add_trace(
        go.Scatter(
            x=[document["cost"]],
            y=[promise["promised"]],
            error_y=error,
            mode="markers",
            marker={"size": 11, "color": plots.FIT, "symbol": "diamond"},
            name="this plan",
            hovertemplate="%{x:.3g}<br>%{y:.3g}<extra>this plan</extra>",
        )
    )
    figure.update_xaxes(type="log")
    figure.update_yaxes(type="log")
    figure.update_layout(showlegend=True)
    return figure


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _curves(document: dict[str, Any]) -> list[str]:
    if not document["runs"] or not document["curve"]["cost"]:
        return []
    caption = (
        "The curve is the narrowest interval that a design of each cost promises; the diamond is this plan, with the "
        "range of the middle 80% of simulated tables. Dashed: what is wanted. Dotted: the width that the runs there "
        "are happen to give, by luck more or less than is typical of such runs."
    )
    return [
        figure_section(
            f"Width against cost: {one['quantity']}",
            plots.drawing(
                width_figure(document, one["quantity"]),
                f"figure-width-{place}",
                f"Width of {one['quantity']} against cost.",
            ),
            caption,
        )
        for place, one in enumerate(document["promises"])
    ]


def _headline(document: dict[str, Any]) -> str:
    hours = document["device_hours"]
    facts = [("runs", str(sum(row["seeds"] for row in document["runs"])), f"after {document['runs_now']} there are")]
    facts.append(
        (
            "cost",
            f"{amount(document['cost'])} {document['unit']}",
            "" if hours is None else f"{amount(hours)} device hours",
        )
    )
    for one in document["promises"]:
        facts.append(
            (f"interval of {one['quantity']}", amount(one["promised"]), f"wide; wanted {amount(one['wanted'])}")
        )
    cells = "".join(
        f'<div><dt>{html.escape(name)}</dt>\n<dd class="value">{html.escape(value)}</dd>\n'
        f"<dd>{html.escape(more)}</dd></div>"
        for name, value, more in facts
    )
    return f'<dl class="headline">{cells}</dl>'


def _table(document: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    headings = [name for name in document["runs"][0] if name not in ("cost", "device_hours")]
    headings += [f"cost, {document['unit']}"] + (["device hours"] if "device_hours" in document["runs"][0] else [])
    return headings, [
        [str(row[name]) if name == "seeds" else amount(row[name]) for name in row] for row in document["runs"]
    ]


def _runs(document: dict[str, Any]) -> str:
    if not document["runs"]:
        return ""
    headings, rows = _table(document)
    body = [[html.escape(cell) for cell in cells] for cells in rows]
    table = ruled_table(
        [html.escape(one) for one in headings], body, "Cost is of all seeds of a size.", numeric=range(1, len(headings))
    )
    return f"<section><h2>Runs to train</h2>{table}</section>"


def _promises(document: dict[str, Any]) -> str:
    body = []
    for one in document["promises"]:
        spread = f"{amount(one['spread'][0])} to {amount(one['spread'][1])}" if _known(one["spread"][0]) else UNKNOWN
        now = amount(one["now"]) if _known(one["now"]) else UNKNOWN
        body.append([html.escape(one["quantity"]), now, amount(one["wanted"]), amount(one["promised"]), spread])
    caption = (
        f"Widths of {percent(document['level'])} intervals, from {document['simulated_tables']} simulated tables."
        if document["simulated_tables"]
        else "Widths by the delta method, corrected by the pilot's."
    )
    headings = ["quantity", "now", "wanted", "promised", "middle 80% of tables"]
    return f"<section><h2>Promises</h2>{ruled_table(headings, body, caption, numeric=range(1, 5))}</section>"
