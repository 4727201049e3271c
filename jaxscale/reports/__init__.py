"""From a study's folder to something a person reads: one web page, one terminal table.

    from jaxscale import reports

    reports.render("runs/quickstart")                          # writes runs/quickstart/report.html
    reports.print_table(rows, verdict, rich.console.Console())

plotly is imported in `figures.py` and nowhere else in the library.
"""

from jaxscale.reports.page import render
from jaxscale.reports.table import print_table

__all__ = ["print_table", "render"]
