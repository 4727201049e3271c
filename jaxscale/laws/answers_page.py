"""Answers to what a fit was asked, as tables of a terminal and sections of its page."""

import html
from collections.abc import Iterator
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from jaxscale.laws.answered import at, key, known, quantity, size
from jaxscale.page.layout import ruled_table
from jaxscale.page.numerals import UNKNOWN, interval, percent

_DISTANCE = "how far from the runs"


class Answers(NamedTuple):
    """One table: what it is of, its columns, its rows, and what to know of it, a sentence each."""

    title: str
    headings: list[str]
    body: list[list[str]]
    notes: list[str]


def tables(document: dict[str, Any]) -> Iterator[Answers]:
    """A table for each kind of question that was asked."""
    if document.get("predictions"):
        yield _predictions(document)
    if document.get("budgets"):
        yield _budgets(document["budgets"])
    if document.get("isoflop"):
        yield _isoflop(document["isoflop"])


def print_answers(document: dict[str, Any], console: Console) -> None:
    """Prints what was asked, each kind as a table."""
    for answers in tables(document):
        table = Table(title=answers.title, title_justify="left", header_style="bold")
        for place, heading in enumerate(answers.headings):
            table.add_column(heading, justify="right" if place else "left")
        for row in answers.body:
            table.add_row(*map(Text, row))
        console.print(table)
        for note in answers.notes:
            console.print(Text(note))


def sections(document: dict[str, Any]) -> Iterator[str]:
    """The same for a page."""
    for answers in tables(document):
        table = ruled_table(
            [html.escape(heading) for heading in answers.headings],
            [[html.escape(cell) for cell in row] for row in answers.body],
            " ".join(answers.notes),
            numeric=[place for place, heading in enumerate(answers.headings) if place and heading != _DISTANCE],
        )
        yield f"<section><h2>{html.escape(answers.title)}</h2>{table}</section>"


def _predictions(document: dict[str, Any]) -> Answers:
    body = []
    for one in document["predictions"]:
        where = ", ".join(f"{name} = {size(value)}" for name, value in one["columns"].items())
        band = [one["new_run"]["lower"], one["new_run"]["upper"]]
        body.append(
            [
                where,
                quantity(one[key(document["target"])], 4),
                interval(band, 4) if known(band) else UNKNOWN,
                one["sentence"],
            ]
        )
    target = document["target"]
    notes = [f"The interval of the {target} is of the curve; a single new run scatters around that by its own noise."]
    if document["groups"]["by"]:
        notes.append(f"A new run has the error that runs of one {document['groups']['by']} share, too.")
    return Answers("Runs not yet trained", ["at", target, "one new run", _DISTANCE], body, [*notes, *_held(document)])


def _held(document: dict[str, Any]) -> list[str]:
    held = ", ".join(f"{name} = {size(value, 4)}" for name, value in document.get("fixed", {}).items())
    return [f"Conditional on {held}."] if held else []


def _budgets(split: dict[str, Any]) -> Answers:
    body = []
    for place, compute in enumerate(split["compute"]):
        cells = [quantity(at(split[name], place)) for name in ("size", "data", "tokens_per_parameter")]
        low, high = (size(split["valley"][end][place]) for end in ("lower", "upper"))
        beyond = split["beyond"][place]
        past = f"{beyond:.3g} times past the largest run" if beyond > 1 else "within the runs"
        body.append([size(compute), *cells, quantity(at(split["loss"], place), 4), f"{low} to {high}", past])
    within = f"{100 * split['valley']['within']:.3g}%"
    headings = ["C", "N*", "D*", "D* / N*", "loss", f"N within {within}", _DISTANCE]
    notes = [f"C = {split['flops']}. Any N in the valley has a loss within {within} of the best."]
    return Answers("Budgets", headings, body, notes + [one["text"] for one in split["caveats"]])


def _isoflop(found: dict[str, Any]) -> Answers:
    body = [
        [
            size(compute),
            quantity(at(found["size"], place)),
            quantity(at(found["surface"]["size"], place)),
            _off(found["size_bias"][place]),
        ]
        for place, compute in enumerate(found["compute"])
    ]
    body.append(
        [
            "exponent of C",
            quantity(found["size_exponent"]),
            quantity(found["surface"]["size_exponent"]),
            UNKNOWN if found["bias"] is None else f"{found['bias']:+.3f}",
        ]
    )
    notes = [
        f"C = {found['flops']}. Bias: what the method ({found['method']}) adds to the surface's own N* on the losses "
        "of the surface, without noise."
    ]
    headings = ["C", f"N*, {found['method']}", "N*, surface", "bias"]
    return Answers(
        "IsoFLOP curves beside the surface", headings, body, notes + [one["text"] for one in found["caveats"]]
    )


def _off(ratio: float | None) -> str:
    """A ratio as what it is more or less than one."""
    if ratio is None or not known([ratio]):
        return UNKNOWN
    return ("+" if ratio >= 1 else "−") + percent(abs(ratio - 1))
