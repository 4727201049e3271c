"""The pieces of a page, from the whole document down to a table.

    layout.document("Known geometry", [layout.header("Known geometry", question, sentence), …])

The page is one file that needs nothing but itself: style sheet, figures or plotly.js, and data lie in it.
"""

import html
import json
import string
from collections.abc import Iterable, Mapping
from typing import Any

from jaxscale.page import plots
from jaxscale.page.numerals import UNKNOWN, duration, number
from jaxscale.page.stylesheet import STYLE

SIGNS = {"consistent": "✓", "inconsistent": "✗", "inconclusive": "?"}  # a badge is told apart without color

# The policy forbids the page every request, so "opens offline" is enforced by the browser and not merely intended.
_DOCUMENT = string.Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<link rel="icon" href="data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E\
%3Cpath d='M2 2 Q4 13 14 13' fill='none' stroke='%232f7de1' stroke-width='3'/%3E%3C/svg%3E">
<style>$style</style>
$plotly
</head>
<body>
<main>
$body
</main>
</body>
</html>
""")


def document(title: str, sections: Iterable[str], script: bool = True) -> str:
    """The whole page as one string of HTML; empty sections are left out.

    `script` puts plotly.js (5 MB) into it, which figures of `plots.drawing` need and those of `vectors.drawing` do not.
    """
    return _DOCUMENT.substitute(
        title=html.escape(f"{title} · jaxscale"),
        style=STYLE,
        plotly=plots.plotly_script() if script else "",
        body="\n".join(section for section in sections if section),
    )


def header(title: str, question: str, sentence: str, agreement: str = "") -> str:
    """Title, question and answer, with a badge where the answer agrees with a prediction or not."""
    sign = SIGNS.get(agreement, "")
    badge = (
        f'<span class="badge {html.escape(agreement)}"><span aria-hidden="true">{sign}</span> '
        f"{html.escape(agreement)}</span>\n"
        if agreement
        else ""
    )
    return f"""<header>
<h1>{html.escape(title)}</h1>
<p class="question">{html.escape(question)}</p>
<div class="verdict">
{badge}<p id="verdict">{html.escape(sentence)}</p>
</div>
</header>"""


def caveats(found: Iterable[Mapping[str, str]]) -> str:
    """What to know before relying on the answer: a `text` each, with its `code`."""
    items = "".join(
        f"<li>{html.escape(caveat['text'])} <code>{html.escape(caveat['code'])}</code></li>" for caveat in found
    )
    if not items:
        return ""
    return f"""<section class="caveats" aria-labelledby="caveats">
<h2 id="caveats">Before you rely on this</h2>
<ul>{items}</ul>
</section>"""


def limits(found: Iterable[str]) -> str:
    """What the answer leaves open."""
    items = "".join(f"<li>{html.escape(limit)}</li>" for limit in found)
    return f"<section><h2>What this does not say</h2><ul>{items}</ul></section>" if items else ""


def figure_section(title: str, drawing: str, caption: str) -> str:
    """A figure, as `plots.drawing` makes it, under its title and above its caption."""
    return f"""<section>
<h2>{html.escape(title)}</h2>
<figure>
{drawing}
<figcaption>{html.escape(caption)}</figcaption>
</figure>
</section>"""


def ruled_table(headings: list[str], body: Iterable[list[str]], caption: str, numeric: Iterable[int] = ()) -> str:
    """A table of ready markup; the first cell of a row is its header, the columns `numeric` align right."""
    right = {i: ' class="right"' for i in numeric}
    head = "".join(f'<th scope="col"{right.get(i, "")}>{name}</th>' for i, name in enumerate(headings))
    lines = []
    for first, *rest in body:
        cells = "".join(f"<td{right.get(i, '')}>{cell}</td>" for i, cell in enumerate(rest, start=1))
        lines.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    return f"""<div class="scroll" tabindex="0"><table>
{f"<caption>{html.escape(caption)}</caption>" if caption else ""}
{f"<thead><tr>{head}</tr></thead>" if headings else ""}
<tbody>{"".join(lines)}</tbody>
</table></div>"""


def pairs(title: str, values: Mapping[str, Any]) -> str:
    """Names and plain values, a line each."""
    if not values:
        return ""
    body = [[html.escape(name.replace("_", " ")), html.escape(_plain(value))] for name, value in values.items()]
    return f"<section><h2>{html.escape(title)}</h2>{ruled_table([], body, '')}</section>"


def _plain(value: Any) -> str:
    """Integers with thousands apart, mappings as `name: value, …`, everything else as it stands."""
    if value is None:
        return UNKNOWN
    if isinstance(value, dict):
        return ", ".join(f"{name}: {_plain(one)}" for name, one in value.items()) or "nothing"
    return number(value) if isinstance(value, int) and not isinstance(value, bool) else str(value)


def config(values: Mapping[str, Any]) -> str:
    """A configuration to unfold."""
    text = html.escape(json.dumps(values, indent=2, ensure_ascii=False))
    return f"""<section><h2>Configuration</h2>
<details><summary>Everything needed to repeat the study</summary><pre>{text}</pre></details></section>"""


def took(seconds: float | None, stages: Mapping[str, float]) -> str:
    """All starts together; verdicts of before the stages were timed count the training alone."""
    if seconds is None:
        return ""
    if not stages:
        return f'<p class="soft">Training took {duration(seconds)}.</p>'
    each = ", ".join(f"{html.escape(name)} {duration(spent)}" for name, spent in stages.items())
    return f'<p class="soft">All of it took {duration(seconds)}: {each}.</p>'


def conclusion(
    title: str,
    verdict: Mapping[str, Any],
    sections: Iterable[str],
    config_values: Mapping[str, Any] | None = None,
    script: bool = True,
) -> str:
    """The page of a verdict: sections of its own between what the pages of all verdicts say.

    Args:
      title: plain text.
      verdict: the content of `verdict.json`, or what a command prints with `--json` (docs/verdict.md).
      sections: markup, in order.
      config_values: the content of `config.json`, for a study.
      script: as in `document`.
    """
    opening = header(title, verdict["question"], verdict["sentence"], verdict.get("agreement") or "")
    return document(
        title,
        [
            opening,
            caveats(verdict.get("caveats", [])),
            *sections,
            limits(verdict.get("limits", [])),
            config(config_values) if config_values else "",
            pairs("Versions", verdict.get("versions", {}) | {"device": verdict.get("device")}),
            took(verdict.get("seconds"), verdict.get("stage_seconds", {})),
        ],
        script,
    )
