"""The dimensions of clouds of points: a table on a terminal, and a figure of dimension against scale.

    print_clouds(measured, rich.console.Console())
    write_plot(measured, "scales.html")

`measured` is the verdict that `jaxscale dimension --json` prints, as `conclusion.conclude` makes it: plain values, a
cloud an entry of `clouds`.
"""

import html
import math
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import plotly.graph_objects as go
from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale import files
from jaxscale.dimension.conclusion import spans
from jaxscale.dimension.figures import layer_figure, profile_colors, scale_figure, scale_panels
from jaxscale.page import layout, pictures, plots, vectors
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import interval, number

HEADINGS_MEASURED = ("cloud", "d", "95% interval", "clouds most alike")
HEADINGS = ("cloud", "estimator", "plain d", "spread (95%)", "distance", "points", "left out")
HEADINGS_CALIBRATED = ("cloud", "estimator", "plain d", "spread (95%)", "calibrated", "its interval", "left out")
TEXTS = ("cloud", "estimator", "left out", "clouds most alike")
COMPARED = (
    "By comparison with clouds of known dimension of many kinds: the interval holds chance, the bias of readings from "
    "so many points, and the doubt about the kind of cloud."
)
SPREAD = "Their spread is chance alone; it knows nothing of bias."
# Where no picture can be drawn.
INSTEAD = "ask for .html"
# Figures of the page of layers, in pixels, and what stands beside its style sheet.
WIDE, NARROW, PANEL = (860, 430), (350, 300), (300, 210)
LAYER_STYLE = """
.narrow { display: none; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(230px, 1fr)); gap: 0.5rem 1rem; }
.panels h3 { font-size: 0.85rem; font-weight: 600; margin: 0.5rem 0 0; overflow-wrap: anywhere; }
.legend { display: flex; flex-wrap: wrap; gap: 0.2rem 1.1rem; margin: 0 0 0.25rem; font-size: 0.9rem; }
.legend i { display: inline-block; width: 0.9rem; height: 0.35rem; margin-right: 0.35rem; vertical-align: middle; }
@media (max-width: 600px) { .wide { display: none; } .narrow { display: block; } }
"""
LEFT_OUT = {"duplicates_collapsed": "duplicate", "nonfinite_dropped": "not finite"}


def print_clouds(measured: dict[str, Any], console: Console) -> None:
    """Prints the dimension of each cloud, its plain readings, what profiles say if there are any, and the caveats."""
    if found := list(_measured_rows(measured)):
        console.print(_table(HEADINGS_MEASURED, found))
    console.print(_table(_headings(measured), _rows(measured)))
    for sentence in (*_plateaus(measured), *(caveat["text"] for caveat in measured["caveats"])):
        console.print(Text(sentence))


def _table(headings: Iterable[str], rows: Iterable[list[str]]) -> Table:
    table = Table(header_style="bold")
    for heading in headings:
        # A narrow terminal folds names, never numbers.
        folds = heading in ("cloud", "left out", "clouds most alike")
        table.add_column(heading, justify="left" if heading in TEXTS else "right", overflow="fold", no_wrap=not folds)
    for cells in rows:
        table.add_row(*map(Text, cells))
    return table


def write_plot(measured: dict[str, Any], path: str) -> None:
    """Writes dimension against scale to a page that needs nothing but itself (.html), or a picture (.png).

    Raises:
      InputError: if `path` ends otherwise, or a picture is asked for and kaleido is not installed.
      RunError: if the disk is full, or the picture cannot be drawn.
    """
    check_plot(path)
    clouds = measured["clouds"]
    if pathlib.Path(path).suffix == ".html":
        layered = len(clouds) > 1 and all("layer" in cloud for cloud in clouds)
        files.write_text(path, _page_of_layers(measured) if layered else _page(measured, scale_figure(clouds)))
        return
    figure = scale_figure(clouds)
    pictures.write(path, figure, INSTEAD, width=1000, height=560)


def check_plot(path: str) -> None:
    """Raises InputError, before anything is measured, if no figure can be written to `path`."""
    pictures.check(path, INSTEAD, (".html", ".png"))


def _page(measured: dict[str, Any], figure: go.Figure) -> str:
    clouds = measured["clouds"]
    title = clouds[0]["cloud"] if len(clouds) == 1 else f"{len(clouds)} clouds"
    drawing = plots.drawing(figure, "figure-scale", " ".join(_plateaus(measured)) or "Dimension against scale.")
    caption = (
        "Bars: two standard errors; they measure spread, not bias. A band: the plateau, the widest range of scales "
        "over which the dimension is constant within its errors and two percent. The large mark: the recommended k. "
        "Shaded from the left: distances that noise fills. Small distances show noise, large ones curvature and the "
        "ends of the data."
    )
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _plateaus(measured))
    return layout.conclusion(
        f"Dimension of {title}",
        measured,
        [
            figure_section("Dimension against scale", drawing, caption),
            f"<ul>{said}</ul>" if said else "",
            _estimates(measured),
        ],
    )


def _page_of_layers(measured: dict[str, Any]) -> str:
    """Without scripts, so that the page is small: d by layer for each run, and d against scale in small figures."""
    clouds = measured["clouds"]
    runs = list(dict.fromkeys(cloud.get("run") for cloud in clouds))
    title = f"{len(clouds)} layers" if len(runs) == 1 else f"layers of {len(runs)} runs"
    sections = [f"<style>{LAYER_STYLE}</style>"]
    for place, run in enumerate(runs):
        of_run = [cloud for cloud in clouds if cloud.get("run") == run]
        figure = layer_figure(of_run, "layer")
        wide, narrow = (
            vectors.drawing(figure, f"figure-layers-{place}-{name}", measured["sentence"], size)
            for name, size in (("wide", WIDE), ("narrow", NARROW))
        )
        sections.append(
            figure_section(
                f"Dimension by layer{f', {run}' if run else ''}",
                f'<div class="wide">{wide}</div><div class="narrow">{narrow}</div>',
                "Bands: 95% intervals, that of d for all that is not known, those of plain readings for chance alone; "
                "documents count as independent where they are known, and otherwise rows.",
            )
        )
        if panels := scale_panels(of_run):
            sections.append(_panels(panels, profile_colors(of_run), run, place))
            said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _plateaus(measured | {"clouds": of_run}))
            sections.append(f"<details><summary>Plateaus</summary><ul>{said}</ul></details>" if said else "")
    return layout.conclusion(f"Dimension of {title}", measured, [*sections, _estimates(measured)], script=False)


def _panels(panels: list[tuple[str, go.Figure]], colors: dict[str, str], run: str | None, place: int) -> str:
    legend = "".join(
        f'<span><i style="background: {color}"></i>{html.escape(name)}</span>' for name, color in colors.items()
    )
    each = "".join(
        f"<div><h3>{html.escape(name)}</h3>"
        f"{vectors.drawing(figure, f'figure-scale-{place}-{at}', f'Dimension against scale, {name}', PANEL)}</div>"
        for at, (name, figure) in enumerate(panels)
    )
    return figure_section(
        f"Dimension against scale{f', {run}' if run else ''}",
        f'<p class="legend">{legend}</p><div class="panels">{each}</div>',
        "All have the same axes. Bands: two standard errors; they measure spread, not bias. A thick line has a "
        "plateau, over which the dimension is constant within its errors and two percent.",
    )


def _estimates(measured: dict[str, Any]) -> str:
    tables = [("Plain readings", _headings(measured), _rows(measured), f"{_how(measured)} {SPREAD}")]
    if found := list(_measured_rows(measured)):
        tables.insert(0, ("Dimension", HEADINGS_MEASURED, iter(found), COMPARED))
    sections = []
    for title, headings, rows, caption in tables:
        numeric = {place for place, heading in enumerate(headings) if heading not in TEXTS}
        body = [[html.escape(cell) for cell in cells] for cells in rows]
        sections.append(f"<section><h2>{title}</h2>{ruled_table(list(headings), body, caption, numeric)}</section>")
    return "".join(sections)


def _measured_rows(measured: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of text, by `HEADINGS_MEASURED`."""
    for cloud in measured["clouds"]:
        if found := cloud.get("measured"):
            alike = ", ".join(found["most_alike"])
            yield [cloud["cloud"], number(found["dimension"]), interval(found["interval"]), alike]


def _how(measured: dict[str, Any]) -> str:
    return f"{measured['k']} neighbors, {measured['metric']} metric."


def _headings(measured: dict[str, Any]) -> tuple[str, ...]:
    return HEADINGS_CALIBRATED if _is_calibrated(measured) else HEADINGS


def _is_calibrated(measured: dict[str, Any]) -> bool:
    return any("calibrated" in estimate for cloud in measured["clouds"] for estimate in cloud["estimates"])


def _rows(measured: dict[str, Any]) -> Iterator[list[str]]:
    """Cells of text, by `_headings`."""
    calibrated = _is_calibrated(measured)
    for cloud in measured["clouds"]:
        for estimate in cloud["estimates"]:
            if stands_for := estimate.get("calibrated"):
                details = [number(stands_for["dimension"]), interval(stands_for["interval"])]
            elif calibrated:  # it failed, or was interrupted, before this one
                details = ["", ""]
            else:
                details = [number(estimate["scale"]), number(estimate["points_used"])]
            left_out = [f"{number(estimate[field])} {word}" for field, word in LEFT_OUT.items() if estimate[field]]
            yield [
                cloud["cloud"],
                estimate["estimator"],
                number(estimate["dimension"]),
                interval(estimate["interval"]),
                *details,
                ", ".join(left_out),
            ]


def _plateaus(measured: dict[str, Any]) -> Iterator[str]:
    """A sentence for each profile; of layers without a plateau one for all of them."""
    none_in: dict[tuple[str | None, str], list[tuple[int, dict[str, Any]]]] = {}
    for cloud in measured["clouds"]:
        for profile in cloud.get("profiles", []):
            plateau, name = profile["plateau"], f"{cloud['cloud']}, {profile['estimator']}"
            if plateau["found"]:
                yield (
                    f"{name}: plateau at d = {number(plateau['dimension'])} ± {number(plateau['standard_error'], 2)} "
                    f"from distance {number(plateau['lower'])} to {number(plateau['upper'])}{_scales(profile)}"
                )
            elif len(profile["scale"]) > 1 and "layer" in cloud:
                none_in.setdefault((cloud.get("run"), profile["estimator"]), []).append((cloud["layer"], profile))
            elif len(profile["scale"]) > 1:
                yield f"{name}: no plateau; {_without_plateau(profile)}"
    for (run, estimator), found in none_in.items():
        place = f"{f'{run}, ' if run else ''}{spans([layer for layer, _ in found])}, {estimator}"
        yield f"{place}: no plateau; {_at_both_ends([profile for _, profile in found])}"


def _without_plateau(profile: dict[str, Any]) -> str:
    if (scales := profile.get("scales")) is None:
        return "the dimension depends on the scale"
    small, large = (
        f"{number(end['dimension'])} ± {number(end['standard_error'], 2)} at distance {number(end['scale'])}"
        for end in (scales["small"], scales["large"])
    )
    # The reason for no k names both ends.
    ends = "" if scales["recommended_k"] is None else f"d = {small} and {large}"
    return f"{ends}{_scales(profile)}".removeprefix("; ")


def _at_both_ends(profiles: list[dict[str, Any]]) -> str:
    """`d = 7.10 to 9.30 at the smallest distances, 5.20 to 6.00 at the largest`."""
    said = []
    for end, where in (("small", "smallest distances"), ("large", "largest")):
        values = [profile["scales"][end]["dimension"] for profile in profiles if "scales" in profile]
        if not (known := [value for value in values if value is not None and math.isfinite(value)]):
            return "the dimension depends on the scale"
        low, high = number(min(known)), number(max(known))
        said.append(f"{low if low == high else f'{low} to {high}'} at the {where}")
    return f"d = {', '.join(said)}"


def _scales(profile: dict[str, Any]) -> str:
    """What disturbs the readings, and the recommended k with its reason."""
    if (scales := profile.get("scales")) is None:
        return ""
    noise, curvature, said = scales["noise"], scales["curvature"], ""
    if noise["found"]:
        said += f"; noise fills distances below {number(noise['distance'])}, its standard deviation "
        said += f"{number(noise['deviation'])} ± {number(noise['standard_error'], 2)} in each column"
    if curvature["found"]:
        said += f"; bends like a sphere of radius {number(curvature['radius'])}"
    return f"{said}; {scales['reason']}"
