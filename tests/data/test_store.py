"""A corpus on disk: split by document, duplicates gone, order decided by content."""

import dataclasses
import shutil

import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import data
from jaxscale.data import tokenizers
from jaxscale.errors import InputError

BYTES = configs.Tokenizer(kind="bytes")


def pieces(split, tokenizer):
    ends = split.starts[1:]
    return [tokenizer.decode(split.tokens[a:b]) for a, b in zip(split.starts[:-1], ends, strict=True)]


def test_no_document_is_in_both_splits_and_duplicates_are_counted(text_folder, tmp_path):
    store = data.prepare(
        configs.Corpus(kind="files", path=str(text_folder), held_out_fraction=0.3), BYTES, tmp_path / "c"
    )
    train, held_out = (set(pieces(split, tokenizers.Bytes())) for split in (store.train, store.held_out))
    texts = {d.text for d in data.documents(configs.Corpus(kind="files", path=str(text_folder)))}
    assert train | held_out == texts
    assert not train & held_out
    assert store.facts["documents_read"] == 61
    assert store.facts["duplicates_removed"] == 1
    assert len(train) + len(held_out) == 60
    assert 8 <= len(held_out) <= 28  # binomial(60, 0.3), far into the tails


def test_passages_of_training_documents_are_shuffled_and_held_out_documents_whole(tiny_store):
    lengths = np.diff(tiny_store.train.starts)
    assert lengths.max() == 128
    assert len(lengths) > 1000
    held_out = pieces(tiny_store.held_out, tokenizers.Bytes())
    assert len(held_out) == tiny_store.facts["documents_held_out"]


def test_a_document_more_moves_no_other(text_folder, tmp_path):
    fewer = tmp_path / "fewer"
    shutil.copytree(text_folder, fewer)
    next(fewer.glob("b*.txt")).unlink()
    more = data.prepare(configs.Corpus(kind="files", path=str(text_folder)), BYTES, tmp_path / "a")
    less = data.prepare(configs.Corpus(kind="files", path=str(fewer)), BYTES, tmp_path / "b")
    order = [p for split in (more.train, more.held_out) for p in pieces(split, tokenizers.Bytes())]
    rest = [p for split in (less.train, less.held_out) for p in pieces(split, tokenizers.Bytes())]
    assert [p for p in order if p in set(rest)] == rest


def test_prepared_once_and_refused_for_another_corpus(tiny_run, tiny_store, tmp_path):
    folder = tmp_path / "c"
    first = data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder)
    made = (folder / "train.bin").stat().st_mtime_ns
    again = data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder)
    assert (folder / "train.bin").stat().st_mtime_ns == made
    np.testing.assert_array_equal(first.train.tokens, again.train.tokens)
    np.testing.assert_array_equal(first.train.tokens, tiny_store.train.tokens)
    with pytest.raises(InputError, match=r"another corpus"):
        data.prepare(dataclasses.replace(tiny_run.corpus, seed=1), tiny_run.tokenizer, folder)


def test_bpe_is_trained_on_training_documents_alone(text_folder, tmp_path, monkeypatch):
    build, seen = tokenizers.build, []

    def watched(tokenizer, texts):
        seen.extend(texts)
        return build(tokenizer, seen)

    monkeypatch.setattr(tokenizers, "build", watched)
    tokenizer = configs.Tokenizer(kind="bpe", vocab_size=400)
    corpus = configs.Corpus(kind="files", path=str(text_folder), held_out_fraction=0.3)
    store = data.prepare(corpus, tokenizer, tmp_path / "c")
    trained = tokenizers.load(tokenizer, tmp_path / "c")
    assert sorted(seen) == sorted(pieces(store.train, trained))
    assert not set(seen) & set(pieces(store.held_out, trained))


def test_vocabulary_larger_than_the_text_supports_is_refused(tmp_path):
    (tmp_path / "texts").mkdir()
    for i in range(20):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"a{i}")
    with pytest.raises(InputError, match=r"vocab_size=5000 is more than the training text supports"):
        data.prepare(
            configs.Corpus(kind="files", path=str(tmp_path / "texts")),
            configs.Tokenizer(kind="bpe", vocab_size=5000),
            tmp_path / "c",
        )
    assert not (tmp_path / "c").exists()


def test_a_folder_of_empty_files_is_no_corpus(tmp_path):
    (tmp_path / "texts").mkdir()
    for i in range(3):
        (tmp_path / "texts" / f"{i}.txt").write_text("")
    corpus = configs.Corpus(kind="files", path=str(tmp_path / "texts"))
    with pytest.raises(InputError, match="gave no text: every document is empty"):
        data.prepare(corpus, configs.Tokenizer(kind="bpe"), tmp_path / "c")


def test_one_document_cannot_be_split(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("only one")
    with pytest.raises(InputError, match=r"leaves no (train|held-out) document"):
        data.prepare(configs.Corpus(kind="files", path=str(tmp_path / "texts")), BYTES, tmp_path / "c")


@pytest.mark.parametrize("name", ["train.bin", "held_out.bin", "train_starts.npy"])
def test_a_store_cut_short_is_refused_and_not_read_as_a_shorter_one(name, tiny_run, tmp_path):
    data.prepare(tiny_run.corpus, tiny_run.tokenizer, tmp_path / "c")
    path = tmp_path / "c" / name
    for cut in (path.read_bytes()[:-200], b""):
        path.write_bytes(cut)
        with pytest.raises(InputError, match=rf"is damaged in {name.split('_s')[0].split('.')[0]}.*Delete it"):
            data.open_store(tmp_path / "c")
