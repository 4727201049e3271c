"""From a study's folder to something a person reads: one web page, one terminal table.

    from jaxscale import reports

    reports.render("runs/quickstart")                          # writes runs/quickstart/report.html
    reports.print_table(rows, verdict, rich.console.Console())
    reports.write_plot(measured, "scales.html")                # dimension against scale, from `jaxscale dimension`
    reports.write_law_page(document, "fit.html", "runs.csv")   # a fitted law, from `jaxscale fit`

plotly is imported in `figures.py` and `law_figures.py` and nowhere else in the library.
"""

from jaxscale.reports.clouds import check_plot, print_clouds, write_plot
from jaxscale.reports.laws import check_law_page, print_law, write_law_page
from jaxscale.reports.pages import render
from jaxscale.reports.table import print_table

__all__ = [
    "check_law_page",
    "check_plot",
    "print_clouds",
    "print_law",
    "print_table",
    "render",
    "write_law_page",
    "write_plot",
]
