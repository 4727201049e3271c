"""Figures as plain SVG, for pages that are to be small: what plotly.js (5 MB) would draw of points, lines and bars.

    markup = drawing(figure, "figure-loss", "Loss against n")      # needs no script on the page

The pointer over a point shows its text, as a browser shows titles. Of a plotly figure this draws scatter traces (lines,
markers, filled bands, horizontal error bars), histograms with given bins, horizontal lines, a color scale, and linear,
logarithmic and categorical axes.
"""

import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from jaxscale.page.plots import color_at

_WIDTH, _HEIGHT = 860, 430
_LEFT, _RIGHT, _BOTTOM, _TOP = 66, 18, 50, 12
_SCALE = 74  # width of a color scale with its labels
_LEGEND_LINE = 20
_LETTER = 7.2  # width of a letter of the legend
_PADDING = 0.04  # of an axis, beyond its data
_TICKS = 6
_APART = 55  # the ticks of a short axis
_ONE_DECADE, _FEW_DECADES = 1.2, 2.2  # of a logarithmic axis with evenly spaced ticks, and with `_FACTORS`
_FACTORS = (1, 2, 5)
_DASHES = {"dash": "8 5", "dot": "2 4", "dashdot": "8 4 2 4"}


def drawing(figure: go.Figure, name: str, description: str, size: tuple[int, int] | None = None) -> str:
    """`figure` as markup: a div with id `name` that holds an SVG, read out as `description`.

    Args:
      figure: what of it can be drawn, the module says.
      name: the id.
      description: for who does not see it.
      size: width and height in pixels, which it does not exceed; None for a figure as wide as the page.
    """
    width, height = size or (_WIDTH, _HEIGHT)
    parts = "".join(_Plot(figure.to_plotly_json(), width, height).parts())
    label = html.escape(description)
    style = f' style="height: auto; max-width: {width}px"' if size else ""
    return (
        f'<div class="plot" id="{html.escape(name)}"{style} role="img" aria-label="{label}">'
        f'<svg viewBox="0 0 {width} {height}" width="100%" height="100%" font-size="13" fill="currentColor">'
        f"{parts}</svg></div>"
    )


class _Axis:
    """From values to places between `start` and `end`, with ticks."""

    def __init__(self, layout: Mapping[str, Any], values: Sequence[Any], start: float, end: float) -> None:
        self.title = str((layout.get("title") or {}).get("text") or "")
        self.is_log = layout.get("type") == "log"
        self._is_whole = layout.get("tickformat") == "d"
        self.names = list(dict.fromkeys(values)) if any(isinstance(value, str) for value in values) else []
        low, high = self._range(layout, values)
        if layout.get("autorange") == "reversed":
            low, high = high, low
        self._low, self._high, self._start, self._end = low, high, start, end
        # A short axis has room for few.
        self._most = min(_TICKS, max(2, round(abs(end - start) / _APART)))

    def _range(self, layout: Mapping[str, Any], values: Sequence[Any]) -> tuple[float, float]:
        if layout.get("range"):
            low, high = layout["range"]
            return float(low), float(high)
        if self.names:
            return -0.5, len(self.names) - 0.5
        finite = [v for value in values if (v := self.value(value)) is not None]
        low, high = min(finite, default=0.0), max(finite, default=1.0)
        spare = _PADDING * (high - low) or 0.5
        return (0.0 if layout.get("rangemode") == "tozero" and low >= 0 else low - spare), high + spare

    def value(self, given: Any) -> float | None:
        """On the axis's own scale; None for what has no place."""
        if isinstance(given, str):
            return float(self.names.index(given))
        if given is None or not math.isfinite(given) or (self.is_log and given <= 0):
            return None
        return math.log10(given) if self.is_log else float(given)

    def place(self, given: Any) -> float | None:
        """In the units of the drawing."""
        value = self.value(given)
        return None if value is None else self._place(value)

    def _place(self, value: float) -> float:
        return self._start + (value - self._low) / (self._high - self._low) * (self._end - self._start)

    def ticks(self) -> Iterator[tuple[float, str]]:
        """(place, text) of round values in the range."""
        low, high = sorted((self._low, self._high))
        if self.names:
            yield from ((self._place(i), name) for i, name in enumerate(self.names))
        elif self.is_log and high - low > _ONE_DECADE:
            every = max(1, math.ceil((high - low) / self._most))
            for decade in range(math.floor(low), math.floor(high) + 1):
                for factor in _FACTORS if high - low < _FEW_DECADES else (1,):
                    value = decade + math.log10(factor)
                    if low <= value <= high and decade % every == 0:
                        yield self._place(value), _power(factor, decade)
        else:
            ends = (10**low, 10**high) if self.is_log else (low, high)
            step = _round_step((ends[1] - ends[0]) / self._most)
            step = max(step, 1.0) if self._is_whole else step
            for count in range(math.ceil(ends[0] / step), math.floor(ends[1] / step) + 1):
                place = self.place(count * step) if self.is_log else self._place(count * step)
                if place is not None:
                    yield place, f"{count * step:.4g}"


def _power(factor: int, decade: int) -> str:
    return f"{factor * 10.0**decade:g}" if -3 <= decade <= 3 else f"{factor}e{decade}"


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten, `least` or the next above."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))


class _Plot:
    """One figure under way."""

    def __init__(self, figure: Mapping[str, Any], width: int, height: int) -> None:
        self.width, self.height = width, height
        self.traces = list(figure["data"])
        self.layout = figure["layout"]
        self.scale = next((m for t in self.traces if (m := t.get("marker") or {}).get("colorbar")), None)
        self.legend = list(self._legend()) if self.layout.get("showlegend") else []
        bottom, right = height - _BOTTOM, width - _RIGHT - (_SCALE if self.scale else 0)
        self.top = _TOP + _LEGEND_LINE * (1 + max((line for line, *_ in self.legend), default=-1))
        self.bottom, self.right = bottom, right
        xs, ys = zip(*(self._values(trace) for trace in self.traces), strict=True) if self.traces else ((), ())
        names = [str(y) for values in ys for y in values if isinstance(y, str)]
        self.left = max(_LEFT, 24 + _LETTER * max(map(len, names), default=0))
        shapes = [shape["y0"] for shape in self.layout.get("shapes", ())]
        self.x = _Axis(self.layout.get("xaxis", {}), [x for values in xs for x in values], self.left, right)
        heights = [y for values in ys for y in values] + ([] if names else shapes)
        self.y = _Axis(self.layout.get("yaxis", {}), heights, bottom, self.top)

    def parts(self) -> Iterator[str]:
        """The markup, from the back to the front."""
        yield from self._axes()
        yield f'<svg x="{self.left:.0f}" y="{self.top:.0f}" width="{self.right - self.left:.0f}" '
        yield f'height="{self.bottom - self.top:.0f}" '
        yield f'viewBox="{self.left:.0f} {self.top:.0f} {self.right - self.left:.0f} {self.bottom - self.top:.0f}">'
        for shape in self.layout.get("shapes", ()):
            y = self.y.place(shape["y0"])
            if y is not None:
                yield f'<path d="M{self.left:.0f} {y:.1f}H{self.right:.0f}" {_stroke(shape["line"])}/>'
        for trace in self.traces:
            yield from self._histogram(trace) if trace["type"] == "histogram" else self._scatter(trace)
        yield "</svg>"
        yield from self._names()
        yield from self._colors()

    def _values(self, trace: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
        """What the axes must hold of a trace."""
        if trace["type"] == "histogram":
            bins = _bins(trace)
            return [end for low, high, _ in bins for end in (low, high)], [0.0, *(count for *_, count in bins)]
        x, y = list(trace["x"]), list(trace["y"])
        error = trace.get("error_x") or {}
        ends = [v - e for v, e in zip(x, error.get("arrayminus", ()), strict=False)]
        return [*x, *ends, *(v + e for v, e in zip(x, error.get("array", ()), strict=False))], y

    def _axes(self) -> Iterator[str]:
        grid = '<path d="{}" stroke="var(--grid)" fill="none"/>'
        for place, text in self.x.ticks():
            yield grid.format(f"M{place:.1f} {self.top:.0f}V{self.bottom:.0f}")
            yield f'<text x="{place:.1f}" y="{self.bottom + 18:.0f}" text-anchor="middle">{html.escape(text)}</text>'
        for place, text in self.y.ticks():
            yield grid.format(f"M{self.left:.0f} {place:.1f}H{self.right:.0f}")
            yield f'<text x="{self.left - 8:.0f}" y="{place + 4:.1f}" text-anchor="end">{html.escape(text)}</text>'
        frame = f"M{self.left:.0f} {self.top:.0f}V{self.bottom:.0f}H{self.right:.0f}"
        yield f'<path d="{frame}" stroke="#888888" fill="none"/>'
        middle, height = (self.left + self.right) / 2, (self.top + self.bottom) / 2
        yield f'<text x="{middle:.0f}" y="{self.height - 8}" text-anchor="middle">{html.escape(self.x.title)}</text>'
        turned = f'transform="translate(15 {height:.0f}) rotate(-90)"'
        yield f'<text {turned} text-anchor="middle">{html.escape(self.y.title)}</text>'

    def _scatter(self, trace: Mapping[str, Any]) -> Iterator[str]:
        points = [(self.x.place(x), self.y.place(y)) for x, y in zip(trace["x"], trace["y"], strict=True)]
        mode = trace.get("mode", "lines")
        if trace.get("fill") == "toself":
            yield f'<path d="{_path(points)}Z" fill="{trace["fillcolor"]}"/>'
        elif "lines" in mode:
            yield f'<path d="{_path(points)}" {_stroke(trace.get("line") or {})}/>'
        if "error_x" in trace:
            yield from self._bars(trace, points)
        if "markers" in mode:
            yield from self._markers(trace, points)

    def _bars(self, trace: Mapping[str, Any], points: Iterable[tuple[float | None, float | None]]) -> Iterator[str]:
        error = trace["error_x"]
        for x, (_, y), less, more in zip(trace["x"], points, error["arrayminus"], error["array"], strict=True):
            low, high = self.x.place(x - less), self.x.place(x + more)
            if None not in (y, low, high):
                stroke = _stroke({"color": error["color"], "width": error["thickness"]})
                yield f'<path d="M{low:.1f} {y:.1f}H{high:.1f}" {stroke}/>'

    def _markers(self, trace: Mapping[str, Any], points: Iterable[tuple[float | None, float | None]]) -> Iterator[str]:
        marker = trace["marker"]
        radius, opacity = marker.get("size", 6) / 2, marker.get("opacity", 1)
        yield f'<g fill-opacity="{opacity}">'
        for place, (x, y) in enumerate(points):
            if x is None or y is None:
                continue
            color = _marker_color(marker, place)
            title = _title(trace, place)
            if marker.get("symbol") == "x":
                arms = f"M{x - radius:.1f} {y - radius:.1f}l{2 * radius:.1f} {2 * radius:.1f}"
                arms += f"m0 {-2 * radius:.1f}l{-2 * radius:.1f} {2 * radius:.1f}"
                yield f'<path d="{arms}" {_stroke({"color": color, "width": 3})}>{title}</path>'
            else:
                yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" fill="{color}">{title}</circle>'
        yield "</g>"

    def _histogram(self, trace: Mapping[str, Any]) -> Iterator[str]:
        gap = float(self.layout.get("bargap") or 0)
        for low, high, count in _bins(trace):
            left, right, top, bottom = self.x.place(low), self.x.place(high), self.y.place(count), self.y.place(0.0)
            if count and left is not None and right is not None and top is not None and bottom is not None:
                left, width = left + gap / 2 * (right - left), (1 - gap) * (right - left)
                box = f'x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{bottom - top:.1f}"'
                yield f'<rect {box} fill="{trace["marker"]["color"]}"><title>{count}</title></rect>'

    def _legend(self) -> Iterator[tuple[int, float, str, str]]:
        """(line, place, color, name) of every trace that has a name."""
        line, place = 0, float(_LEFT)
        for trace in self.traces:
            name = trace.get("name")
            if not name or trace.get("showlegend") is False:
                continue
            width = 34 + _LETTER * len(name)
            if place + width > self.width - _RIGHT and place > _LEFT:
                line, place = line + 1, float(_LEFT)
            marker, stroke = trace.get("marker") or {}, trace.get("line") or {}
            color = _marker_color(marker, 0) if "markers" in trace.get("mode", "") else stroke.get("color", "")
            yield line, place, color, name
            place += width

    def _names(self) -> Iterator[str]:
        for line, place, color, name in self.legend:
            y = _TOP + _LEGEND_LINE * line
            yield f'<rect x="{place:.0f}" y="{y}" width="14" height="5" fill="{color}"/>'
            yield f'<text x="{place + 19:.0f}" y="{y + 7}">{html.escape(name)}</text>'

    def _colors(self) -> Iterator[str]:
        """The scale of colors, small at the bottom."""
        if self.scale is None:
            return
        bar, x, steps = self.scale["colorbar"], self.right + 14, 24
        height = (self.bottom - self.top - 24) / steps
        for step in range(steps):
            y = self.bottom - (step + 1) * height
            box = f'x="{x:.0f}" y="{y:.1f}" width="12" height="{height + 0.5:.1f}"'
            yield f'<rect {box} fill="{color_at((step + 0.5) / steps)}"/>'
        low, high = self.scale["cmin"], self.scale["cmax"]
        for value, text in zip(bar["tickvals"], bar["ticktext"], strict=True):
            y = self.bottom - (value - low) / ((high - low) or 1) * steps * height
            yield f'<text x="{x + 17:.0f}" y="{y + 4:.1f}" font-size="11">{html.escape(text)}</text>'
        yield f'<text x="{x:.0f}" y="{self.top + 12:.0f}">{html.escape(bar["title"]["text"])}</text>'


def _bins(trace: Mapping[str, Any]) -> list[tuple[float, float, int]]:
    """(lower end, upper end, count) of a histogram's bins."""
    bins = trace["xbins"]
    count = round((bins["end"] - bins["start"]) / bins["size"])
    counts = [0] * count
    for value in trace["x"]:
        place = math.floor((value - bins["start"]) / bins["size"])
        if 0 <= place < count:
            counts[place] += 1
    return [(bins["start"] + i * bins["size"], bins["start"] + (i + 1) * bins["size"], n) for i, n in enumerate(counts)]


def _path(points: Iterable[tuple[float | None, float | None]]) -> str:
    """A line through the points, broken where one has no place."""
    said, broken = [], True
    for x, y in points:
        if x is None or y is None:
            broken = True
            continue
        said.append(f"{'M' if broken else 'L'}{x:.1f} {y:.1f}")
        broken = False
    return "".join(said)


def _stroke(line: Mapping[str, Any]) -> str:
    dash = _DASHES.get(line.get("dash") or "")
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'fill="none" stroke="{line.get("color", "currentColor")}" stroke-width="{line.get("width", 2)}"{dashed}'


def _marker_color(marker: Mapping[str, Any], place: int) -> str:
    color = marker.get("color", "currentColor")
    if isinstance(color, str):
        return color
    low, high = marker["cmin"], marker["cmax"]
    return color_at(min(max((color[place] - low) / ((high - low) or 1), 0.0), 1.0))


def _title(trace: Mapping[str, Any], place: int) -> str:
    """What the pointer over a point shows: plotly's template of it, without markup."""
    template = trace.get("hovertemplate")
    if not template:
        return ""
    given = {"x": trace["x"][place], "y": trace["y"][place]}
    given |= {"customdata": trace["customdata"][place]} if trace.get("customdata") is not None else {}
    text = re.sub(r"<extra>.*?</extra>", "", template).replace("<br>", "; ")
    text = re.sub(r"<.*?>", "", text)
    filled = re.sub(r"%\{(\w+)(?::([^}]*))?\}", lambda match: _filled(given[match[1]], match[2] or ""), text)
    return f"<title>{filled}</title>"


def _filled(value: Any, form: str) -> str:
    """A value in a template; text is markup already."""
    return str(value) if isinstance(value, str) else format(value, form)
