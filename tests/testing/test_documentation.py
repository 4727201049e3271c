"""What docs/testing.md shows is what happens."""

import pathlib
import re

import pytest
from hypothesis import settings

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "testing.md"


def test_the_page_fails_and_passes_where_it_says_so():
    page = PAGE.read_text(encoding="utf-8")
    naive, sound, with_hypothesis = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (shown,) = re.findall(r"```\nAssertionError: (.*?)\n```", page, re.DOTALL)
    names: dict = {}
    with pytest.raises(AssertionError) as raised:
        exec(naive, names)
    assert str(raised.value) == shown
    exec(sound, names)
    exec(with_hypothesis, names)
    settings(max_examples=20)(names["test_twonn_is_finite_and_forgets_the_order"])()
