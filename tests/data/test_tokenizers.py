"""Text to integers and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale import config as configs
from jaxscale.data import tokenizers
from jaxscale.errors import InputError

TEXTS = ["def area(r):\n    return 3.14159 * r ** 2\n", "naïve café, 東京 🙂\n"] * 20


@pytest.fixture(scope="module")
def bpe():
    return tokenizers.build(configs.Tokenizer(kind="bpe", vocab_size=300), TEXTS)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_bytes_give_back_any_text(text):
    tokens = tokenizers.Bytes().encode(text)
    assert tokenizers.Bytes().decode(tokens) == text
    assert all(0 <= token < 256 for token in tokens)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_bpe_gives_back_any_text_and_never_uses_end_of_text(bpe, text):
    tokens = bpe.encode(text)
    assert bpe.decode(tokens) == text
    assert bpe.end_of_text not in tokens


def test_a_text_that_spells_out_end_of_text_does_not_end_there(bpe, tmp_path):
    bpe.save(tmp_path)
    text = f"before{tokenizers.END_OF_TEXT}after"
    for tokenizer in (bpe, tokenizers.load(configs.Tokenizer(kind="bpe"), tmp_path)):
        assert tokenizer.end_of_text not in tokenizer.encode(text)
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_damaged_tokenizer_is_named(bpe, tmp_path):
    bpe.save(tmp_path)
    (tmp_path / "tokenizer.json").write_text((tmp_path / "tokenizer.json").read_text()[:100])
    with pytest.raises(InputError, match=r"tokenizer\.json' cannot be read as a tokenizer: .*Delete the folder"):
        tokenizers.load(configs.Tokenizer(kind="bpe"), tmp_path)


def test_bpe_is_shorter_than_bytes_on_its_own_text(bpe):
    assert len(bpe.encode(TEXTS[0])) < len(TEXTS[0]) / 1.5
    assert bpe.vocab_size == 300


def test_saved_tokenizer_is_the_same(bpe, tmp_path):
    bpe.save(tmp_path)
    loaded = tokenizers.load(configs.Tokenizer(kind="bpe"), tmp_path)
    assert loaded.encode(TEXTS[1]) == bpe.encode(TEXTS[1])
    assert loaded.end_of_text == bpe.end_of_text


@pytest.mark.parametrize("kind", ["bytes", "bpe"])
def test_a_published_tokenizer_encodes_alike(kind, bpe, tmp_path):
    import tokenizers as library

    tokenizer = tokenizers.Bytes() if kind == "bytes" else bpe
    tokenizers.published(tokenizer).save(str(tmp_path / "tokenizer.json"))
    read = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    every = "".join(map(chr, range(256))) + TEXTS[1] + "\x00\xad"
    for text in (TEXTS[0], every):
        assert read.encode(text).ids == tokenizer.encode(text)
        assert read.decode(read.encode(text).ids) == text
    assert read.get_vocab_size() == tokenizer.vocab_size
    assert read.token_to_id(tokenizers.END_OF_TEXT) == tokenizer.end_of_text


@given(
    words=st.lists(st.sampled_from([" ", "  ", "\n", "a", "'s", "don't", " def", "é東", "12", "<|endoftext|>", "\x1f"]))
)
def test_a_text_in_parts_has_the_same_tokens(bpe, words):
    text = "".join(words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenizers, "PART", 3)
        for tokenizer in (bpe, tokenizers.Bytes()):
            assert [token for part in tokenizer.encode_parts(text) for token in part] == tokenizer.encode(text)


def test_a_tokenizer_trained_on_texts_in_parts_is_the_same(monkeypatch):
    how = configs.Tokenizer(kind="bpe", vocab_size=290)
    text = " ".join(TEXTS)
    whole = tokenizers.build(how, [text]).inner.to_str()
    monkeypatch.setattr(tokenizers, "PART", 10)
    assert tokenizers.build(how, [text]).inner.to_str() == whole
