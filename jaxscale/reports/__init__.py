"""From a study's folder to something a person reads: one web page, one terminal table.

    from jaxscale import reports

    reports.render("runs/quickstart")                          # writes runs/quickstart/report.html
    reports.print_table(rows, verdict, rich.console.Console())
    reports.write_plot(measured, "scales.html")                # dimension against scale, from `jaxscale dimension`

plotly is imported in `figures.py` and nowhere else in the library.
"""

from jaxscale.reports.clouds import check_plot, print_clouds, write_plot
from jaxscale.reports.page import render
from jaxscale.reports.table import print_table

__all__ = ["check_plot", "print_clouds", "print_table", "render", "write_plot"]
