"""A fitted law on a terminal, and as one web page: what was fitted, what to hold against it, and every figure.

    print_law(document, rich.console.Console())
    write_law_page(document, "fit.html", "runs.csv")

`document` is what `jaxscale fit --json` prints.
"""

import html
import pathlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale import files
from jaxscale.errors import InputError
from jaxscale.laws import answers_page, figures
from jaxscale.laws.answered import size as number
from jaxscale.laws.runs import LOSS
from jaxscale.page import layout, vectors
from jaxscale.page.layout import figure_section, ruled_table
from jaxscale.page.numerals import UNKNOWN, percent

_PARAMETER_HEADINGS = ("parameter", "estimate", "interval")
_MOST_INFLUENCES = 12


def print_law(document: dict[str, Any], console: Console) -> None:
    """Prints the caveats, the parameters with their intervals, and what else was asked for."""
    console.print(Text(f"{document['formula']}   ({_how(document)})"))
    for caveat in document["caveats"]:
        console.print(Text.assemble("- ", (caveat["code"], "bold"), f": {caveat['text']}"))
    table = Table(header_style="bold")
    for place, heading in enumerate(_PARAMETER_HEADINGS):
        table.add_column(heading, justify="right" if place else "left", no_wrap=True)
    for cells in _parameters(document):
        table.add_row(*map(Text, cells))
    console.print(table)
    answers_page.print_answers(document, console)
    for sentence in _sentences(document):
        console.print(Text(sentence))


def write_law_page(document: dict[str, Any], path: str, name: str) -> None:
    """Writes a page that needs nothing but itself.

    Args:
      document: what there is to say.
      path: a file that ends in .html.
      name: of the table.

    Raises:
      InputError: if `path` cannot be such a file.
      RunError: if the page cannot be written.
    """
    check_law_page(path)
    files.write_text(path, _page(document, name))


def check_law_page(path: str) -> None:
    """Raises InputError, before anything is fitted, if no page can be written to `path`."""
    target = pathlib.Path(path)
    if target.suffix != ".html":
        raise InputError(f"page={path!r} must end in .html. Give such a name.")
    if target.is_dir() or not target.parent.is_dir():
        raise InputError(f"page={path!r} cannot be a file there. Give a file in a folder that exists.")


def interval(ends: Iterable[float | None] | None, digits: int = 3) -> str:
    """`[low, high]`, or an em dash where there is none."""
    return UNKNOWN if ends is None else f"[{', '.join(number(end, digits) for end in ends)}]"


def _page(document: dict[str, Any], name: str) -> str:
    sections = [
        _headline(document),
        *answers_page.sections(document),
        *(_along(document, column) for column in document["columns"]),
        _theory(document),
        _frontier(document),
        _comparison(document),
        _back_test(document),
        *(_residuals(document, column) for column in (*document["columns"], f"fitted {document['target']}")),
        *(_profile(profile) for profile in document.get("profiles", [])),
        _starts(document),
        _influences(document),
        _estimates(document),
    ]
    return layout.conclusion(f"{document['law']} fitted to {name}", document, sections, script=False)


def _how(document: dict[str, Any]) -> str:
    groups = document["groups"]
    shared = f", {groups['count']} groups by {groups['by']}" if groups["by"] else ", runs taken as independent"
    held = "".join(f"; {name} held at {number(value, 4)}" for name, value in document["fixed"].items())
    given = f" conditional on {' and '.join(document['fixed'])}" if held else ""
    spread = (
        f"; {percent(document['level'])} intervals{given}, {document['bootstrap']}" if document["resamples"] else ""
    )
    return f"{document['runs']} runs{shared}; {document['objective']}{held}{spread}"


def _parameters(document: dict[str, Any]) -> Iterator[list[str]]:
    for name, value in document["parameters"].items():
        ends = interval([value["lower"], value["upper"]], 4) if "lower" in value else interval(None)
        ends = "held" if name in document["fixed"] else ends
        yield [name, number(value["estimate"], 4), ends]


def _sentences(document: dict[str, Any]) -> Iterator[str]:
    state = document["convergence"]
    yield _explained(document)
    yield f"{percent(state['share_at_optimum'])} of {state['starts']} starts reached the optimum."
    if "back_test" in document and document["back_test"]["error"] is not None:
        test = document["back_test"]
        yield (
            f"Forecasts of larger {test['column']} err by {_share(test['error'])} (root mean square); "
            f"{_share(test['coverage'])} of the runs fell into their {percent(test['level'])} interval."
        )
    if "frontier" in document:
        best = document["frontier"]
        yield (
            f"Best size grows as C^{_quantity(best['size_exponent'])}, the reducible loss falls as "
            f"C^-{_quantity(best['loss_exponent'])}."
        )
    if "theory" in document:
        yield from _theory_sentences(document["theory"])
    if "comparison" in document:
        yield document["comparison"]["verdict"]


def _theory_sentences(theory: dict[str, Any]) -> Iterator[str]:
    for entry in theory["exponents"]:
        found = entry["agreement"]
        if entry["floor_unknown"]:
            found += ", since the exponent depends on a floor E that these runs do not identify"
        elif entry["law_fails"]:
            found += ", and this law does not describe the runs (see the warnings)"
        implied = "" if entry["law_fails"] else f" It implies d = {_quantity(entry['implied_dimension'])}."
        yield (
            f"{entry['parameter']}: observed {_quantity(entry['observed'])}, predicted at d = {_quantity(theory['d'])} "
            f"{_quantity(entry['predicted'])}: {found}.{implied}"
        )
    if theory["delta"]:
        yield f"1/α_D - 1/α_N = {_quantity(theory['delta'])}; theory says 1 with label noise, 0 without, at any d."


def _quantity(value: dict[str, Any]) -> str:
    if value["lower"] is None or value["lower"] == value["upper"]:
        return number(value["estimate"])
    return f"{number(value['estimate'])} {interval([value['lower'], value['upper']])}"


def _share(fraction: float | None) -> str:
    return UNKNOWN if fraction is None else percent(fraction)


def _headline(document: dict[str, Any]) -> str:
    numbers = "".join(
        f"""<div><dt>{html.escape(name)}</dt>
<dd class="value">{number(value["estimate"])}</dd>
<dd>{_ends(document, name)}</dd></div>"""
        for name, value in document["parameters"].items()
    )
    how = html.escape(f"{_how(document)}. {_explained(document)}")
    return f'<dl class="headline">{numbers}</dl><p class="soft">{how}</p>'


def _ends(document: dict[str, Any], name: str) -> str:
    value = document["parameters"][name]
    if name in document["fixed"]:
        return "held"
    return f"interval {interval([value['lower'], value['upper']] if 'lower' in value else None)}"


def _explained(document: dict[str, Any]) -> str:
    """R² and the typical residual."""
    r_squared, rms = document["r_squared"], document["rms_residual"]
    of_logarithms = document["objective"].endswith("log residuals")
    typical = percent(rms) if of_logarithms else number(rms)
    known = UNKNOWN if r_squared is None else f"{r_squared:.5g}"
    of = f" of the log {document['target']}" if of_logarithms else ""
    return f"R² = {known}{of}, root mean square residual {typical}."


def _along(document: dict[str, Any], column: str) -> str:
    held = any(curve["held"] for curve in document["curves"])
    others = [name for name in document["columns"] if name != column]
    colored = f", in the color of their {others[0]}" if len(others) == 1 else ""
    caption = f"Points: runs{colored}. Curves: the fitted law" + (
        " with the other columns held at the 10%, 50% and 90% quantiles of the runs" if held else ""
    )
    caption += f", to ten times the largest {column}; bands: intervals of the expected {document['target']}."
    drawing = vectors.drawing(
        figures.along_figure(document, column),
        f"figure-along-{column}",
        f"{_title(document)} against {column} with the fit.",
    )
    return figure_section(f"{_title(document)} along {column}", drawing, caption)


def _title(document: dict[str, Any]) -> str:
    """What was fitted, at the beginning of a sentence."""
    return "Loss" if document["target"] == LOSS else str(document["target"])


def _residuals(document: dict[str, Any], column: str) -> str:
    caption = "Scatter should not depend on the column; a bend says that the law's form fails along it."
    name = f"figure-residuals-{column.replace(' ', '-')}"
    drawing = vectors.drawing(figures.residual_figure(document, column), name, f"Residuals against {column}.")
    return figure_section(f"Residuals against {column}", drawing, caption)


def _profile(profile: dict[str, Any]) -> str:
    ends = interval([profile["lower"], profile["upper"]])
    caption = (
        f"How much worse the law fits with {profile['name']} held, all else fitted again. It must rise above the "
        f"dashed line on both sides for the runs to determine {profile['name']}; it is below it in {ends}, runs taken "
        "as independent."
    )
    drawing = vectors.drawing(
        figures.profile_figure(profile), f"figure-profile-{profile['name']}", f"Profile of {profile['name']}."
    )
    return figure_section(f"Profile of {profile['name']}", drawing, caption)


def _starts(document: dict[str, Any]) -> str:
    state = document["convergence"]
    caption = (
        f"{percent(state['share_at_optimum'])} of {state['starts']} starts ended within 1e-6 of the best optimum. "
        f"A further step would lower the objective by a share of {state['stationarity']:.1e}."
    )
    drawing = vectors.drawing(figures.starts_figure(document), "figure-starts", "Where the starts ended.")
    return figure_section("Starts", drawing, caption)


def _back_test(document: dict[str, Any]) -> str:
    test = document.get("back_test")
    if not test or not any(cut["runs"] for cut in test["cuts"]):
        return ""
    caption = (
        f"The law fitted to the runs below a cut in {test['column']}, and the runs above it. Root mean square error "
        f"{_share(test['error'])}; {_share(test['coverage'])} of the runs lie in their {percent(test['level'])} "
        "interval. Points that drift away from 1 say that the law does not extrapolate."
    )
    drawing = vectors.drawing(figures.back_test_figure(document), "figure-back-test", "Forecasts of larger runs.")
    return figure_section("Back-test", drawing, caption)


def _theory(document: dict[str, Any]) -> str:
    theory = document.get("theory")
    if not theory:
        return ""
    drawing = vectors.drawing(figures.theory_figure(theory), "figure-theory", "Observed and predicted exponents.")
    said = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in _theory_sentences(theory))
    low, high = theory["cross_entropy"]
    said += (
        f"<li>For losses in cross-entropy the data exponent lies between {number(low)} and {number(high)}, depending "
        "on how often class probabilities are small; for transformers on manifolds no theorem says where.</li>"
    )
    figure = figure_section("Against theory", drawing, "Bars: intervals. Crosses: what others predict from d.")
    return f"{figure}<ul>{said}</ul>"


def _frontier(document: dict[str, Any]) -> str:
    best = document.get("frontier")
    if not best:
        return ""
    at: Callable[[str, int], dict[str, float]] = lambda name, i: {
        end: best[name][end][i] for end in ("estimate", "lower", "upper")
    }
    body = [
        [number(compute)] + [_quantity(at(name, i)) for name in ("size", "data", "tokens_per_parameter", "loss")]
        for i, compute in enumerate(best["compute"])
    ]
    caption = (
        f"N* grows as C^{_quantity(best['size_exponent'])}, D* as C^{_quantity(best['data_exponent'])}; the reducible "
        f"loss falls as C^-{_quantity(best['loss_exponent'])}. C = {best['flops']}."
    )
    headings = ["C, FLOP", "N*", "D*", "tokens per parameter", "loss"]
    return f"<section><h2>Best use of compute</h2>{ruled_table(headings, body, caption, numeric=range(1, 5))}</section>"


def _comparison(document: dict[str, Any]) -> str:
    comparison = document.get("comparison")
    if not comparison:
        return ""
    body = [
        [
            html.escape(entry["law"]),
            number(entry["parameters"]),
            number(entry["aicc_above_best"]),
            _share(entry["forecast_error"]),
            _share(entry["forecast_coverage"]),
        ]
        for entry in comparison["laws"]
    ]
    headings = ["law", "parameters", "AICc above the best", "error of forecasts", "inside their interval"]
    table = ruled_table(headings, body, comparison["verdict"], numeric=range(1, 5))
    return f"<section><h2>Which law</h2>{table}</section>"


def _influences(document: dict[str, Any]) -> str:
    """The choices that move a parameter out of its interval, and the least of every kind that do not."""
    if "influence" not in document:
        return ""
    moved = [entry for entry in document["influence"] if entry["outside"]]
    others = [entry for entry in document["influence"] if not entry["outside"] and entry["kind"] != "run"]
    names = list(document["parameters"])
    shown = (moved + others)[:_MOST_INFLUENCES]
    body = [
        [html.escape(entry["choice"])]
        + [
            f"<strong>{number(entry['parameters'][name])}</strong>"
            if name in entry["outside"]
            else number(entry["parameters"][name])
            for name in names
        ]
        for entry in shown
    ]
    left = len(document["influence"]) - len(shown)
    caption = f"Bold: outside the interval. {left} more choices, single runs among them, are not listed."
    table = ruled_table(["choice", *map(html.escape, names)], body, caption, numeric=range(1, len(names) + 1))
    return f"<section><h2>Under other choices</h2>{table}</section>"


def _estimates(document: dict[str, Any]) -> str:
    body = [[html.escape(cell) for cell in cells] for cells in _parameters(document)]
    table = ruled_table(list(_PARAMETER_HEADINGS), body, _how(document), numeric={1})
    return f"<section><h2>Estimates</h2>{table}</section>"
