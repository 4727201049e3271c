"""Texts colored by the dimension around each token, as a page without scripts."""

import html
import math
from collections.abc import Iterator, Sequence

import numpy as np

from jaxscale import files
from jaxscale.page import layout
from jaxscale.page.numerals import number
from jaxscale.page.plots import color_at

# A text, and of each token its row among the points and where in the text it begins and ends.
Text = tuple[str, Sequence[tuple[int, int, int]]]

BINS = 8
# Shares of the tokens beyond which all have the color of the end: few tokens are far out.
ENDS = (0.02, 0.98)
STYLE = """
.strip { white-space: pre-wrap; overflow-wrap: anywhere; line-height: 1.75; margin: 0 0 1rem; padding-bottom: 1rem;
  border-bottom: 1px solid var(--line); }
.strip b { font-weight: inherit; border-radius: 2px; }
.key { display: flex; flex-wrap: wrap; gap: 0.3rem; margin: 0 0 1rem; font-size: 0.9rem; }
.key b { font-weight: inherit; padding: 0 0.45rem; border-radius: 2px; }
.none { text-decoration: underline dotted; }
"""


def write_text_strips(
    texts: Sequence[Text], layers: Sequence[tuple[str, np.ndarray, np.ndarray]], path: str, how: str
) -> None:
    """Writes a page of the `texts`, once for each layer.

    Args:
      texts: what to show; characters that belong to no token are shown without color.
      layers: name, and dimension (n,) and standard error (n,) of each row; nan for rows without a reading, as those
        that repeat an earlier one.
      path: of the page.
      how: it was measured, for the page.

    Raises:
      RunError: if the disk is full.
    """
    shades = "".join(f".d{at} {{ background: {color_at(at / (BINS - 1))}66; }}\n" for at in range(BINS))
    known = layers[-1][1][np.isfinite(layers[-1][1])]
    middle = (
        f"{number(float(np.median(known)))}, half of the tokens from {_range(known, 0.25, 0.75)}" if len(known) else "—"
    )
    sentence = f"In {layers[-1][0]} the dimension around a token is {middle}."
    sections = [f"<style>{STYLE}{shades}</style>"]
    for place, (name, dimension, error) in enumerate(layers):
        is_last = place == len(layers) - 1
        strips = "".join(f'<p class="strip">{"".join(_strip(*text, dimension, error))}</p>' for text in texts)
        inside = f"<summary>{html.escape(name)}</summary>{_key(dimension)}{strips}"
        sections.append(f"<details{' open' if is_last else ''}>{inside}</details>")
    caption = (
        f"{how}. A token's color is the dimension around it, averaged over its neighborhood; the pointer shows it "
        "with its standard error. Underlined: without a reading, as where the token repeats an earlier one."
    )
    sections.insert(1, f'<p class="soft">{html.escape(caption)}</p>')
    header = layout.header("Dimension by token", "What is the dimension around each token?", sentence)
    limits = layout.limits(
        ["A dimension around a point is that of its neighbors among the tokens drawn here, at their distance."]
    )
    files.write_text(path, layout.document("Dimension by token", [header, *sections, limits], script=False))


def _range(values: np.ndarray, lower: float, upper: float) -> str:
    return " to ".join(number(float(end)) for end in np.quantile(values, (lower, upper)))


def _edges(dimension: np.ndarray) -> np.ndarray:
    """The BINS + 1 edges of equal bins; the outermost bins also hold the values beyond them."""
    known = dimension[np.isfinite(dimension)]
    low, high = np.quantile(known, ENDS) if len(known) else (0.0, 1.0)
    return np.linspace(low, high if high > low else low + 1, BINS + 1)


def _key(dimension: np.ndarray) -> str:
    edges = _edges(dimension)
    said = [f"to {number(float(edges[1]))}"]
    said += [number(float((edges[at] + edges[at + 1]) / 2)) for at in range(1, BINS - 1)]
    said.append(f"from {number(float(edges[-2]))}")
    return f'<p class="key">d: {"".join(f"<b class=d{at}>{text}</b>" for at, text in enumerate(said))}</p>'


def _strip(
    text: str, tokens: Sequence[tuple[int, int, int]], dimension: np.ndarray, error: np.ndarray
) -> Iterator[str]:
    """The text up to its last token; of tokens that share a character the first has it."""
    edges, at = _edges(dimension), 0
    for row, start, end in sorted(tokens, key=lambda token: token[1:]):
        start = max(start, at)
        if end <= start:
            continue
        yield html.escape(text[at:start])
        piece, value = html.escape(text[start:end]), float(dimension[row])
        if math.isfinite(value):
            shade = int(np.clip(np.searchsorted(edges, value) - 1, 0, BINS - 1))
            said = f"d = {number(value)} ± {number(float(error[row]), 2)}"
            yield f'<b class=d{shade} title="{said}">{piece}</b>'
        else:
            yield f'<b class=none title="no reading">{piece}</b>'
        at = end
