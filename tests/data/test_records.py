"""Records of files that hold many, read one after the other: the same however the bytes come in."""

import io
import json

import hypothesis
import pytest
from hypothesis import strategies as st

from jaxscale.data import records
from jaxscale.data.records import Broken

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**6), 10**6)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


def parts(text, size):
    return [text[i : i + size] for i in range(0, len(text), size)]


@hypothesis.settings(deadline=None, max_examples=60)
@hypothesis.given(st.lists(VALUES, max_size=6), st.integers(1, 30), st.sampled_from([None, 1]), st.booleans())
def test_elements_of_an_array_are_those_of_the_whole_text(values, size, indent, ascii):
    text = json.dumps(values, indent=indent, ensure_ascii=ascii)
    assert list(records.elements(parts(text, size))) == values


@pytest.mark.parametrize("size", [1, 3, 100])
@pytest.mark.parametrize(
    "text", ["[1, 2", "[1 2]", "[1,]", "[1] 2", "[1", '["a', "[tru", "[nil]", '{"a": 1}', "[,1]", "", '["\\uzzzz"]']
)
def test_what_is_no_array_is_told(text, size):
    with pytest.raises(ValueError, match=r"array|wanted|Expecting|Unterminated|Invalid"):
        list(records.elements(parts(text, size)))


def test_a_broken_record_ends_an_array_and_keeps_those_before():
    stream = io.BufferedReader(io.BytesIO(b'[{"a": 1},\n{"a": 2},\n{"a": }]'))
    *found, (place, broken) = records.json_records(stream)
    assert found == [("record 1", {"a": 1}), ("record 2", {"a": 2})]
    assert (
        place.startswith("record 3 near line 1") and isinstance(broken, Broken) and "Expecting value" in broken.sentence
    )


def test_an_array_is_not_read_as_a_whole():
    class Endless(io.RawIOBase):
        read_of_it = 0

        def readable(self):
            return True

        def readinto(self, into):
            some = (b'{"text": "x"},' * (len(into) // 14 + 1))[: len(into) // 14 * 14] if self.read_of_it else b"["
            self.read_of_it += len(some)
            into[: len(some)] = some
            return len(some)

    raw = Endless()
    found = records.json_records(io.BufferedReader(raw, 1 << 16))
    assert [next(found) for _ in range(100)][-1] == ("record 100", {"text": "x"})
    assert raw.read_of_it < 1 << 20


@pytest.mark.parametrize(
    ("text", "ending", "rows"),
    [
        ("a,b\n1,2\n", ".csv", [{"a": "1", "b": "2"}]),
        ("a;b\n1,5;2\n", ".csv", [{"a": "1,5", "b": "2"}]),
        ("a\tb,c\n1\t2\n", ".tsv", [{"a": "1", "b,c": "2"}]),
        ('a,"b;;;"\n\n"1\n1",""""\n', ".csv", [{"a": "1\n1", "b;;;": '"'}]),
        ("a,b\n1\n", ".csv", [{"a": "1"}]),
        ("", ".csv", []),
    ],
)
def test_tables_are_read_as_rfc_4180_says(text, ending, rows):
    for size in (1, 100):
        assert [row for _, row in records.table_rows(parts(text, size), ending)[1]] == rows


def test_a_row_with_too_many_cells_or_an_open_quotation_mark_is_broken():
    _, rows = records.table_rows(['a,b\n1,2,3\n4,5\n6,"7\n'], ".csv")
    (first, long), (_, whole), (last, open_) = rows
    assert (first, long.sentence) == ("row 1", "has 3 cells, the header 2") and whole == {"a": "4", "b": "5"}
    assert last == "row 3" and open_.sentence.startswith("is no row of a table")


def test_a_long_cell_is_a_document():
    _, rows = records.table_rows(parts("text\n" + "x" * 1_000_000, 1 << 16), ".csv")
    assert [len(row["text"]) for _, row in rows] == [1_000_000]


@pytest.mark.parametrize(
    ("rows", "field"),
    [
        ([{"id": "1", "story": "once"}], "story"),  # the other one is a number
        ([{"title": "x", "Body": "once"}], "Body"),
        ([{"document": "d", "content": "c"}], "content"),
        ([{"title": "x", "story": "once"}], None),
        ([{"a": None}, {"a": "late"}], "a"),
        ([{"a": 1}], None),
    ],
)
def test_the_field_that_holds_the_text_is_found_or_left_to_be_named(rows, field):
    found, names, again = records.field_of((f"row {i}", row) for i, row in enumerate(rows))
    assert (found, names, [row for _, row in again]) == (field, list(rows[0]), rows)
