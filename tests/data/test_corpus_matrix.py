"""Formats × compressions × oddities: each is read as said, with the counts made by hand, or refused with its remedy."""

import bz2
import csv
import gzip
import io
import json
import lzma

import pytest

from jaxscale import config as configs
from jaxscale import data
from jaxscale.errors import InputError

BYTES = configs.Tokenizer(kind="bytes")
# Quotation marks, commas, tabs, line ends and letters of two bytes, as texts have them.
TEXTS = ['He said "no", twice\nand\tleft', "caf\N{LATIN SMALL LETTER E WITH ACUTE}; {}[]", "# heading", *"defgh"]
EMPTY = "corpus.kind='files' gave no text: every document is empty"


def lines(texts, field="text"):
    return "".join(json.dumps({"id": i, field: text}, ensure_ascii=False) + "\n" for i, text in enumerate(texts))


def table(texts, delimiter, field="text"):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter).writerows([["id", field], *enumerate(texts)])
    return out.getvalue()


def parquet(texts, field="text"):
    arrow, writer = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    out = io.BytesIO()
    columns = {"id": arrow.array(range(len(texts))), field: arrow.array(texts, arrow.string())}
    writer.write_table(arrow.table(columns), out, row_group_size=3)
    return out.getvalue()


RECORDS = {
    ".jsonl": lambda *texts: lines(*texts).encode(),
    ".ndjson": lambda *texts: lines(*texts).replace("\n", "\r\n").encode(),
    ".json": lambda *texts: json.dumps(
        [json.loads(line) for line in lines(*texts).split("\n")[:-1]], indent=1, ensure_ascii=False
    ).encode(),
    ".csv": lambda texts, *field: table(texts, ",", *field).encode(),
    ".tsv": lambda texts, *field: table(texts, "\t", *field).encode(),
    ".parquet": parquet,
}
PROSE = dict.fromkeys((".txt", ".md", ".py", ""), lambda texts: "\n<|endoftext|>\n".join(texts).encode())
FORMATS = RECORDS | PROSE


def zstd(content):
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow to write zstd")
    return arrow.Codec("zstd").compress(content, asbytes=True)


COMPRESSIONS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}
EVERY = pytest.mark.parametrize("compression", COMPRESSIONS)
EACH = pytest.mark.parametrize("ending", FORMATS)


def folder_of(tmp_path, ending, compression, content):
    folder = tmp_path / "texts"
    folder.mkdir(exist_ok=True)
    (folder / f"a{ending}{compression}").write_bytes(COMPRESSIONS[compression](content))
    return folder


def corpus_of(folder, ending, **fields):
    split = {"separator": "<|endoftext|>"} if ending in PROSE else {}
    return configs.Corpus(**{"kind": "files", "path": str(folder), "held_out_fraction": 0.4} | split | fields)


def prepared(corpus, tmp_path):
    said = []
    return data.prepare(corpus, BYTES, tmp_path / "corpus", said.append).facts, said


def refused(corpus, tmp_path, match):
    with pytest.raises(InputError, match=match):
        data.prepare(corpus, BYTES, tmp_path / "corpus")


def label(ending, compression, field="text"):
    return (f"{ending}{compression}" or "without ending") + (f" (field {field!r})" if ending in RECORDS else "")


@EACH
@EVERY
def test_every_text_is_read_and_counted(ending, compression, tmp_path):
    corpus = corpus_of(folder_of(tmp_path, ending, compression, FORMATS[ending](TEXTS)), ending)
    assert [document.text for document in data.documents(corpus)] == TEXTS
    facts, said = prepared(corpus, tmp_path)
    assert (facts["documents_read"], facts["duplicates_removed"], facts["documents_empty"]) == (len(TEXTS), 0, 0)
    assert facts["bytes"] == sum(len(text.encode()) for text in TEXTS)
    assert facts["documents_train"] + facts["documents_held_out"] == len(TEXTS)
    assert facts["files"] == {label(ending, compression): 1}
    assert f"files: 1 read: 1 {label(ending, compression)}" in said


@EACH
@EVERY
def test_an_empty_file_is_refused_as_no_text(ending, compression, tmp_path):
    refused(corpus_of(folder_of(tmp_path, ending, compression, b""), ending), tmp_path, EMPTY)


@pytest.mark.parametrize("ending", RECORDS)
def test_a_file_without_records_is_refused_as_no_text(ending, tmp_path):
    refused(corpus_of(folder_of(tmp_path, ending, "", FORMATS[ending]([])), ending), tmp_path, EMPTY)


@EACH
@EVERY
def test_one_document_is_refused_with_the_fields_that_split_it(ending, compression, tmp_path):
    long = "".join(f"A sentence of some length, numbered {i}.\n" for i in range(100))
    corpus = corpus_of(folder_of(tmp_path, ending, compression, FORMATS[ending]([long])), ending, separator="")
    told = rf"set corpus\.passage_characters, such as {1 + len(long) // 20}, to cut it into passages"
    refused(corpus, tmp_path, f"of a single document, .*Set corpus.separator .*{told}")
    facts, _ = prepared(corpus_of(tmp_path / "texts", ending, separator="", passage_characters=200), tmp_path)
    assert facts["documents_held_out"] >= 1 and facts["duplicates_removed"] == 0
    # Two hundred characters are five lines, of 39 characters or 40.
    assert facts["changes"]["passages cut of longer texts"] == facts["documents_read"] == 20
    lost = facts["changes"]["characters left out around held-out passages"]
    assert facts["characters"] == len(long) - lost and lost % 20 == 0


@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != ".parquet"])
@EVERY
def test_a_nul_is_refused_or_left_out(ending, compression, tmp_path):
    whole = FORMATS[ending](TEXTS)
    folder = folder_of(tmp_path, ending, compression, whole.replace(b"heading", b"head\0ing"))
    told = r"is not JSON: Invalid control character" if ending == ".json" else "holds NUL characters"
    refused(corpus_of(folder, ending), tmp_path, f"{told}.*corpus.undecodable='skip'")
    texts = [document.text for document in data.documents(corpus_of(folder, ending, undecodable="skip"))]
    by_line, before = ending in (".jsonl", ".ndjson"), ending == ".json"
    assert texts == ([TEXTS[0], TEXTS[1], *TEXTS[3:]] if by_line else TEXTS[:2] if before else [])


@EACH
@pytest.mark.parametrize("compression", list(COMPRESSIONS)[1:])
def test_a_file_that_is_cut_off_is_refused(ending, compression, tmp_path):
    folder = folder_of(tmp_path, ending, compression, FORMATS[ending](TEXTS))
    path = next(folder.iterdir())
    path.write_bytes(path.read_bytes()[:-6])
    refused(corpus_of(folder, ending), tmp_path, r"cannot be read: .*\. Mend it\. Leave it out")


@pytest.mark.parametrize("ending", RECORDS)
def test_a_field_of_another_name_is_found_and_said_and_a_wrong_one_is_refused(ending, tmp_path):
    folder = folder_of(tmp_path, ending, "", FORMATS[ending](TEXTS, "story"))
    facts, said = prepared(corpus_of(folder, ending), tmp_path)
    assert facts["documents_read"] == len(TEXTS)
    assert f"files: 1 read: 1 {label(ending, '', 'story')}" in said
    told = r"has no field corpus\.text_field='body'; it has 'id', 'story'\. Set corpus\.text_field"
    with pytest.raises(InputError, match=told):
        list(data.documents(corpus_of(folder, ending, text_field="body")))


def test_a_mixed_folder_is_counted_by_kind(tmp_path):
    folder = tmp_path / "texts"
    for place, (ending, write) in enumerate(FORMATS.items()):
        for compression, compress in COMPRESSIONS.items():
            (folder / f"{place}{compression}").mkdir(parents=True)
            name = f"a{ending}{compression}"
            (folder / f"{place}{compression}" / name).write_bytes(compress(write([f"{place} {compression} text"])))
    (folder / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    (folder / "loop").symlink_to(folder)
    corpus = configs.Corpus(kind="files", path=str(folder))
    refused(corpus, tmp_path, r"picture\.png' holds binary data, no text.* or set corpus\.undecodable='skip'")
    facts, said = prepared(configs.Corpus(kind="files", path=str(folder), undecodable="skip"), tmp_path)
    assert facts["documents_read"] == 50 and facts["duplicates_removed"] == 0
    assert facts["files"] == {label(ending, compression): 1 for ending in FORMATS for compression in COMPRESSIONS}
    assert facts["skipped"] == {"binary": 1, "links to a folder that was read already": 1}
    assert any(sentence.startswith("files: 50 read: 1 ") for sentence in said)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "shift_jis", "koi8-r"])
@pytest.mark.parametrize("ending", [ending for ending in FORMATS if ending != ".parquet"])
def test_an_encoding_is_that_which_is_named(ending, encoding, tmp_path):
    letter = {"cp1252": "\xe9", "koi8-r": "\u0436"}.get(encoding, "\u8a9e")
    texts = [f"{letter}{text}" for text in TEXTS if text.isascii()]
    folder = folder_of(tmp_path, ending, "", FORMATS[ending](texts).decode().encode(encoding))
    assert [d.text for d in data.documents(corpus_of(folder, ending, encoding=encoding))] == texts


def test_encodings_are_detected_only_where_asked(tmp_path):
    pytest.importorskip("charset_normalizer", reason="needs charset_normalizer to tell encodings")
    text = "Съешь же ещё этих мягких французских булок. " * 40
    (tmp_path / "a.txt").write_bytes(text.encode("cp1251"))
    (tmp_path / "b.txt").write_bytes("plain".encode("utf-16-le"))
    (tmp_path / "c.txt").write_text("UTF-8: \xe9", encoding="utf-8")
    corpus = configs.Corpus(kind="files", path=str(tmp_path))
    with pytest.raises(InputError, match=r"a\.txt' is not UTF-8: .* name its encoding in corpus\.encoding"):
        list(data.documents(corpus))
    counts = {}
    count = lambda group, words, number: counts.update({(group, words): number})
    found = data.documents(configs.Corpus(kind="files", path=str(tmp_path), encoding="detect"), count=count)
    assert [document.text for document in found] == [text, "plain", "UTF-8: \xe9"]
    assert [words for group, words in counts if group == "changes"] == ["taken to be cp1251", "taken to be utf-16-le"]
