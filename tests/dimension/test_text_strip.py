"""Texts stand on the page as they are, each token with its color and its reading, and nothing in them is markup."""

import re

import numpy as np

from jaxscale.dimension.text_strip import BINS, write_text_strips

TEXTS = [
    ("<b>one</b> é\n two  ", [(0, 0, 3), (1, 3, 6), (2, 11, 12), (3, 11, 12), (4, 13, 17)]),
    ("three", [(5, 0, 5)]),
]
DIMENSION = np.array([1.0, 5.0, 9.0, 3.0, np.nan, 2.0])


def written(tmp_path, layers):
    path = tmp_path / "tokens.html"
    write_text_strips(TEXTS, layers, str(path), "tiny, 4 neighbors")
    return path.read_text()


def test_every_token_has_its_reading_and_the_text_is_whole(tmp_path):
    page = written(tmp_path, [("layer 0", DIMENSION * 2, DIMENSION / 10), ("layer 6", DIMENSION, DIMENSION / 10)])
    assert "<script" not in page and "<b>one" not in page
    first, last = re.findall(r"<details.*?</details>", page, re.DOTALL)
    assert "open" in last[:20] and "open" not in first[:20]
    strips = re.findall(r'<p class="strip">(.*?)</p>', last, re.DOTALL)
    assert [re.sub(r"<[^>]*>", "", strip) for strip in strips] == ["&lt;b&gt;one&lt;/b&gt; é\n two", "three"]
    tokens = re.findall(r'<b class=(\w+) title="([^"]*)">([^<]*)</b>', strips[0])
    assert tokens == [
        ("d0", "d = 1.00 ± 0.10", "&lt;b&gt;"),
        ("d4", "d = 5.00 ± 0.50", "one"),
        (f"d{BINS - 1}", "d = 9.00 ± 0.90", "é"),
        ("none", "no reading", " two"),
    ]
    assert "In layer 6 the dimension around a token is 3.00" in page
    key = re.search(r'<p class="key">(.*?)</p>', last)[1]
    assert key.count("<b class=d") == BINS


def test_readings_that_are_alike_or_missing_draw_a_page_too(tmp_path):
    assert "class=d0" in written(tmp_path, [("layer 0", np.full(6, 2.0), np.full(6, 0.1))])
    assert "no reading" in written(tmp_path, [("layer 0", np.full(6, np.nan), np.full(6, np.nan))])
