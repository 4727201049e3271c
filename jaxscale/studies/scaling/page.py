"""A study's folder as one web page that needs nothing but itself: data, figures and plotly.js in a single file.

    render("runs/text_loss")      # PosixPath('runs/text_loss/report.html')

The page is built top down from small functions, each a section that takes values and returns markup. Everything
that comes from the folder passes through `html.escape` on its way in.
"""

import html
import os
import pathlib
from typing import Any

from jaxscale import files
from jaxscale.page import layout, plots
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import interval, number, percent
from jaxscale.studies.scaling import figures
from jaxscale.studies.scaling.folder import FinishedStudy, Row, read
from jaxscale.studies.scaling.table import stopped_by


def render(folder: str | os.PathLike[str]) -> pathlib.Path:
    """Writes `report.html` into the folder of a `DataScaling`, whole or not at all, and returns its path."""
    path = pathlib.Path(folder) / "report.html"
    files.write_text(path, page(read(folder)))
    return path


def page(study: FinishedStudy) -> str:
    """The whole page as one string of HTML."""
    verdict = study.verdict
    sections = [
        _headline(verdict),
        _loss(study.rows, verdict),
        _excess(study.rows, verdict),
        _curves(study),
        _dimension(verdict["dimension"]),
        _fitted(verdict),
        _runs(study.rows),
        layout.pairs("Corpus", verdict.get("corpus", {})),
    ]
    return layout.conclusion(study.name, verdict, sections, study.config)


def _headline(verdict: dict[str, Any]) -> str:
    dimension, predicted, observed = verdict["dimension"], verdict["predicted"], verdict["observed"]
    measured = f"layer {dimension.get('layer')}, k = {dimension.get('k')}, {dimension.get('metric')} metric"
    numbers = [
        ("Intrinsic dimension d", dimension["estimate"], dimension.get("interval"), measured),
        ("Predicted exponent α", predicted["exponent"], predicted.get("interval"), _prediction(predicted)),
        ("Observed exponent α", observed["exponent"], observed.get("exponent_interval"), _law(observed)),
    ]
    return f'<dl class="headline">{"".join(_number(*entry) for entry in numbers)}</dl>'


def _number(name: str, value: float | None, ends: list[float] | None, source: str) -> str:
    return f"""<div><dt>{html.escape(name)}</dt>
<dd class="value">{number(value)}</dd>
<dd>interval {interval(ends)}</dd>
<dd class="soft">{html.escape(source)}</dd></div>"""


def _prediction(predicted: dict[str, Any]) -> str:
    return f"{predicted.get('formula', '')}, β = {number(predicted.get('beta'))}"


def _law(observed: dict[str, Any]) -> str:
    level = observed.get("level")
    law: str = observed.get("law", "") + (f", at {percent(level)}" if level else "")
    return law


def _loss(rows: list[Row], verdict: dict[str, Any]) -> str:
    losses = [row["loss"] for row in rows]
    description = (
        f"Validation loss of {len(rows)} runs against the size of the training set, "
        f"n from {number(rows[0]['n'])} to {number(rows[-1]['n'])}; losses lie between {number(min(losses))} "
        f"and {number(max(losses))}. "
        "Two curves, each in its band: the fitted law and the law with the predicted exponent."
    )
    caption = (
        f"Each point is the smallest validation loss of one run. Solid: {verdict['observed'].get('law', 'the law')}, "
        "all parameters fitted. Dashed: the same law with the predicted exponent, the rest fitted again."
        f"{_hollow(rows)}"
    )
    drawing = plots.drawing(figures.loss_figure(rows, verdict), "figure-loss", description)
    return figure_section("Loss against the amount of data", drawing, caption)


def _hollow(rows: list[Row]) -> str:
    """Explains hollow points when there are any."""
    if not any(row.get("edge") for row in rows):
        return ""
    return " Hollow points: the minimum lies at the edge of the evaluations and may not be one."


def _excess(rows: list[Row], verdict: dict[str, Any]) -> str:
    figure = figures.excess_figure(rows, verdict)
    if figure is None:
        return ""
    observed = verdict["observed"]
    floor = observed["irreducible_loss"]
    hidden = sum(row["loss"] <= floor for row in rows)
    caption = (
        f"For the eye only: the height of every point depends on the fitted E = {number(floor)}, known no better than "
        f"{interval(observed.get('irreducible_loss_interval'))}. With another E the points bend and the slope changes; "
        "the exponent’s interval above accounts for that, this figure does not."
    )
    if hidden:
        caption += f" Not shown: {hidden} of {len(rows)} runs, with a loss below the fitted E."
    description = "Loss above the fitted irreducible loss against n, both axes logarithmic, with two slopes."
    return figure_section(
        "Excess loss, after subtracting the fitted E", plots.drawing(figure, "figure-excess", description), caption
    )


def _curves(study: FinishedStudy) -> str:
    description = f"Validation loss against training step for {len(study.rows)} runs, colored by training set size."
    drawing = plots.drawing(figures.curves_figure(study.rows, study.curves), "figure-curves", description)
    caption = "A line for each run; a diamond marks the minimum that enters the fit. Click a size to hide its runs."
    return figure_section("Learning curves", drawing, caption)


def _dimension(dimension: dict[str, Any]) -> str:
    layers = dimension.get("by_layer", [])
    listed = "; ".join(f"layer {entry['layer']}: {number(entry['dimension'])}" for entry in layers)
    drawing = plots.drawing(
        figures.dimension_figure(dimension), "figure-dimension", f"Intrinsic dimension by layer. {listed}."
    )
    caption = f"Bars: two standard errors. Filled: layer {dimension.get('layer')}, the one the prediction uses."
    return figure_section("Intrinsic dimension by layer", drawing, caption)


def _fitted(verdict: dict[str, Any]) -> str:
    """Every estimate with its interval, and the dimension run by run."""
    dimension, predicted, observed = verdict["dimension"], verdict["predicted"], verdict["observed"]
    rows = [
        ("d, intrinsic dimension", dimension["estimate"], dimension.get("interval")),
        ("α, predicted", predicted["exponent"], predicted.get("interval")),
        *_at_measured_beta(predicted.get("measured_beta")),
        ("α, observed", observed["exponent"], observed.get("exponent_interval")),
        ("d implied by the observed α", observed.get("implied_dimension"), observed.get("implied_dimension_interval")),
        ("α for a loss in cross-entropy, between", None, predicted.get("cross_entropy")),
        ("E, irreducible loss", observed.get("irreducible_loss"), observed.get("irreducible_loss_interval")),
        ("A, scale", observed.get("scale"), observed.get("scale_interval")),
    ]
    body = [[html.escape(name), number(value), interval(ends)] for name, value, ends in rows]
    for entry in dimension.get("per_seed", []):
        error = f"± {number(entry['standard_error'], 2)} (standard error)"
        body.append([f"d in <code>{html.escape(entry['run'])}</code>", number(entry["dimension"]), error])
    caption = f"Intervals of the fit at {percent(observed['level'])}." if observed.get("level") else ""
    return (
        f"<section><h2>Estimates</h2>{ruled_table(['', 'estimate', 'interval'], body, caption, numeric={1})}</section>"
    )


def _at_measured_beta(found: dict[str, Any] | None) -> list[tuple[str, float, list[float]]]:
    if not found:
        return []
    return [
        ("β, measured", found["beta"], found["beta_interval"]),
        ("α, predicted at that β", found["exponent"], found["interval"]),
    ]


def _runs(rows: list[Row]) -> str:
    headings = ["run", "n", "seed", "loss", "at step", "planned", "epochs", "parameters", "stopped by"]
    body = [
        [
            f"<code>{html.escape(row['run'])}</code>",
            number(row["n"]),
            number(row["seed"]),
            number(row["loss"], 4),
            number(row.get("step")),
            number(row.get("steps")),
            number(row.get("epochs")),
            number(row.get("parameters")),
            html.escape(stopped_by(row)),
        ]
        for row in rows
    ]
    caption = "Loss: minimum of the validation curve, nats per token. Epochs: passes over the data up to there."
    return f"<section><h2>Runs</h2>{ruled_table(headings, body, caption, numeric=set(range(1, 8)))}</section>"
