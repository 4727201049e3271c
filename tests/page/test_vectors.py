"""Figures as SVG: points where their values are, and nothing of the text taken for markup."""

import xml.etree.ElementTree as ET

import plotly.graph_objects as go
import pytest

from jaxscale.page import plots, vectors


def drawn(figure):
    """The markup read as XML, with what is inside the axes."""
    root = ET.fromstring(vectors.drawing(figure, "figure-one", "One <figure>."))
    assert root.get("id") == "figure-one" and root.get("aria-label") == "One <figure>."
    return root


def inside(root):
    left, top, width, height = map(float, root.find("svg/svg").get("viewBox").split())
    return left, top, width, height


def texts(root):
    return [element.text for element in root.iter("text")]


def figure_of(*traces, **layout):
    figure = plots.empty("x <b>", "y & z")
    figure.add_traces(traces)
    figure.update_layout(**layout)
    return figure


def test_points_lie_where_their_values_are():
    points = go.Scatter(
        x=[1, 10, 1000, 0],
        y=[0, 5, 10, 5],
        mode="markers",
        marker={"size": 6, "color": "#123456"},
        customdata=[plots.literal(name) for name in ("<one>", "two", "50%", "nowhere")],
        hovertemplate="<b>%{customdata}</b><br>loss %{y:.1f}<extra></extra>",
    )
    figure = figure_of(points)
    figure.update_xaxes(type="log", range=[0, 3])
    figure.update_yaxes(range=[0, 10])
    root = drawn(figure)
    left, top, width, height = inside(root)
    circles = [(float(c.get("cx")), float(c.get("cy"))) for c in root.iter("circle")]  # x = 0 has no place
    expected = [(left + share * width, top + rise * height) for share, rise in ((0, 1), (1 / 3, 0.5), (1, 0))]
    assert circles == [pytest.approx(place, abs=0.06) for place in expected]
    assert [title.text for title in root.iter("title")] == ["<one>; loss 0.0", "two; loss 5.0", "50%; loss 10.0"]
    assert {"x <b>", "y & z", "1", "10", "100", "1000", "4"} <= set(texts(root))


def test_few_decades_have_ticks_between_them_and_one_is_even():
    line = lambda x: go.Scatter(x=x, y=[1, 2], mode="lines", line={"color": "#000000"})
    of = lambda x: texts(drawn(figure_of(line(x), xaxis_type="log")))
    assert {"1e20", "2e20", "5e20", "1e21"} <= set(of([1e20, 3e21]))
    assert {"2", "2.5", "3"} <= set(of([1.9, 3.2]))
    assert {"1e-6", "1e6"} <= set(of([1e-7, 1e7]))


def test_bands_lines_bars_and_names():
    band = plots.band([1, 2, 3], [0, 0, 0], [1, 1, 1], "#123456", "law")
    line = go.Scatter(x=[1, 2, 3], y=[0.5, None, 0.5], mode="lines", line={"color": "#123456"}, name="law <1>")
    error = {"array": [0.5], "arrayminus": [0.25], "color": "#ff0000", "thickness": 2}
    bar = go.Scatter(
        x=[2], y=[0.5], mode="markers", marker={"size": 10, "color": "#ff0000", "symbol": "x"}, error_x=error
    )
    figure = figure_of(band, line, bar, showlegend=True)
    figure.add_hline(y=0.75, line={"color": "#888888", "width": 1, "dash": "dash"})
    figure.update_xaxes(range=[0, 4])
    root = drawn(figure)
    left, _, width, _ = inside(root)
    paths = [path.get("d") for path in root.find("svg/svg").iter("path")]
    assert any(path.endswith("Z") for path in paths)
    assert any(path.count("M") == 2 for path in paths)  # a line is broken where there is nothing
    low, high = left + 1.75 / 4 * width, left + 2.5 / 4 * width
    assert any(path.startswith(f"M{low:.1f}") and path.endswith(f"H{high:.1f}") for path in paths)
    assert 'stroke-dasharray="8 5"' in vectors.drawing(figure, "a", "b")
    assert "law <1>" in texts(root) and "law" not in texts(root)


def test_bars_are_as_high_as_their_counts():
    root = drawn(
        figure_of(
            go.Histogram(x=[0.5, 0.6, 1.5, 9], xbins={"start": 0, "end": 3, "size": 1}, marker={"color": "#123456"})
        )
    )
    two, one = (float(bar.get("height")) for bar in root.find("svg/svg").iter("rect"))
    assert two == pytest.approx(2 * one, abs=0.2)


def test_names_on_an_axis_are_rows_from_the_top_where_reversed():
    row = go.Scatter(x=[1, 2], y=["first", "second & last"], mode="markers", marker={"size": 6, "color": "#123456"})
    root = drawn(figure_of(row, yaxis_autorange="reversed", xaxis_rangemode="tozero"))
    first, second = (float(circle.get("cy")) for circle in root.iter("circle"))
    assert first < second
    assert {"first", "second & last", "0"} <= set(texts(root))


def test_colors_go_from_small_to_large():
    marker = {"color": [0.0, 0.5, 1.0], "cmin": 0.0, "cmax": 1.0, "size": 6}
    marker |= {"colorbar": {"title": {"text": "D"}, "tickvals": [0.0, 1.0], "ticktext": ["1", "10"]}}
    root = drawn(figure_of(go.Scatter(x=[1, 2, 3], y=[1, 2, 3], mode="markers", marker=marker)))
    assert [circle.get("fill") for circle in root.iter("circle")] == [plots.color_at(s) for s in (0.0, 0.5, 1.0)]
    assert {"D", "1", "10"} <= set(texts(root))
