"""Long texts split by separators and cut into passages: the same however the text comes in, and gaps that hold."""

import itertools
import json
import re

import hypothesis
import pytest
from hypothesis import strategies as st

from jaxscale import config as configs
from jaxscale import data
from jaxscale.data import passages
from jaxscale.errors import InputError

BYTES = configs.Tokenizer(kind="bytes")


def parts(text, size):
    return [text[i : i + size] for i in range(0, len(text), size)]


def split(whole, size=1 << 20, **how):
    return list(passages.split(parts(whole, size), passages.separator(**how)))


def expected(text, pattern):
    """What Python splits a whole text into."""
    return [piece.strip("\r\n") for piece in re.split(pattern, text, flags=re.MULTILINE) if piece.strip()]


def test_pieces_are_without_what_separates_them():
    assert split("a\n<|endoftext|>\nb<|endoftext|>", text="<|endoftext|>") == ["a", "b"]
    assert split("\n\na\nb\n \n\nc\r\n\r\nd\n", text="blank_line") == ["a\nb", "c", "d"]
    assert split("CHAPTER I\none\nCHAPTER II\ntwo", pattern="^CHAPTER .*$") == ["one", "two"]
    # Nothing is left out by what has no width.
    assert split("CHAPTER I\none\nCHAPTER II\ntwo", pattern="^(?=CHAPTER )") == ["CHAPTER I\none", "CHAPTER II\ntwo"]
    assert split("a.b", text=".") == ["a", "b"] and split("", text=".") == [] and split("ab", text=".") == ["ab"]


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
    text=st.lists(st.sampled_from(["\n", "\n\n", "a", "CHAPTER 1\n", "word ", "<|endoftext|>"]), max_size=60).map(
        "".join
    ),
    size=st.integers(1, 40),
    pattern=st.sampled_from([r"\n\n+", r"^CHAPTER .*$", r"<\|endoftext\|>", "^(?=CHAPTER )"]),
)
def test_pieces_do_not_depend_on_the_parts_a_text_comes_in(text, size, pattern):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passages, "LONGEST", 24)  # so that these texts are long
        patch.setattr(passages, "BEHIND", 4)
        assert split(text, size, pattern=pattern) == expected(text, pattern)


@hypothesis.settings(deadline=None, max_examples=40)
@hypothesis.given(
    words=st.lists(st.sampled_from(["a", "long word ", "\n", "\n\n", "x" * 30]), min_size=1, max_size=200),
    characters=st.integers(4, 60),
    size=st.integers(1, 100),
    seed=st.integers(0, 5),
)
def test_passages_are_parts_of_the_text_and_lie_apart_from_those_held_out(words, characters, size, seed):
    text, gap, lost = "".join(words), characters // 3, []
    how = {"salt": seed, "fraction": 0.3, "left_out": lost.append}
    found = list(passages.cut("t", parts(text, size), characters, gap, **how))
    assert found == list(passages.cut("t", [text], characters, gap, salt=seed, fraction=0.3))
    if len(text) <= characters:
        assert found == [data.Document("t", text)]
        return
    ends = [(int(one.name.split("@")[1]), one) for one in found]
    for start, one in ends:
        assert one.text == text[start : start + len(one.text)] and len(one.text) <= characters
    for (start, one), (after, other) in itertools.pairwise(ends):
        assert after - (start + len(one.text)) >= (gap if one.held_out != other.held_out else 0)
    assert sum(len(one.text) for one in found) + sum(lost) == len(text)


def test_a_single_long_text_is_split_into_training_and_held_out_text_that_do_not_touch(tmp_path):
    text = "".join(f"Sentence number {i}. " for i in range(4000))
    (tmp_path / "book.txt").write_text(text)
    corpus = configs.Corpus(kind="files", path=str(tmp_path / "book.txt"), passage_characters=1000, gap=150)
    said = []
    facts = data.prepare(corpus, BYTES, tmp_path / "corpus", said.append).facts
    found = list(data.documents(corpus))
    assert facts["documents_held_out"] == sum(bool(one.held_out) for one in found) > 0
    assert facts["documents_train"] == sum(one.held_out is False for one in found) > 0
    edges = sum(a.held_out != b.held_out for a, b in itertools.pairwise(found))
    assert facts["changes"]["characters left out around held-out passages"] == 150 * edges > 0
    assert facts["characters"] == len(text) - 150 * edges
    assert any(f"{len(found)} passages cut of longer texts" in sentence for sentence in said)


def test_a_cache_of_before_these_fields_is_opened_as_it_is(tiny_run, tiny_store, tmp_path):
    folder = tmp_path / "c"
    data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder)
    asked = json.loads((folder / "config.json").read_text())
    new = ("separator", "separator_pattern", "passage_characters", "gap", "encoding", "line_ends")
    asked["corpus"] = {name: value for name, value in asked["corpus"].items() if name not in new}
    (folder / "config.json").write_text(json.dumps(asked))
    made = (folder / "train.bin").stat().st_mtime_ns
    again = data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder)
    assert (folder / "train.bin").stat().st_mtime_ns == made
    assert again.facts["fingerprint"] == tiny_store.facts["fingerprint"]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"separator": "x", "separator_pattern": "y"}, "corpus.separator_pattern='y' is given beside separator='x'"),
        ({"separator_pattern": "("}, r"corpus.separator_pattern='\(' is no regular expression"),
        ({"separator_pattern": "x*"}, r"corpus.separator_pattern='x\*' matches between any two letters"),
        ({"passage_characters": 0}, "corpus.passage_characters=0 must be positive"),
        ({"gap": 5}, "corpus.gap=5 is between passages, and there are none"),
        ({"gap": 51, "passage_characters": 100}, "corpus.gap=51 must be at least 0 and at most half"),
        ({"encoding": "utf-9"}, "corpus.encoding='utf-9' is no encoding of text that Python knows"),
        ({"encoding": "rot13"}, "corpus.encoding='rot13' is no encoding of text"),
        ({"kind": "stdlib", "separator": "x"}, "corpus.separator='x' is of corpus.kind='files', not of 'stdlib'"),
    ],
)
def test_fields_that_contradict_are_told_before_any_reading(fields, told):
    corpus = configs.Corpus(**{"kind": "files", "path": "nowhere"} | fields)
    with pytest.raises(InputError, match=told):
        configs.validate(configs.Run(corpus=corpus))
    with pytest.raises(InputError, match=told):
        data.documents(corpus)
