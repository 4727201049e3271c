"""Files as people have them, written by other programs: read as what they are, or refused, or skipped and counted."""

import gzip
import json
import os
import pathlib
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile

import pytest

from jaxscale import config as configs
from jaxscale import data
from jaxscale.errors import InputError

RECORDS = [{"id": 1, "text": "one\nof two lines"}, {"id": "b", "text": "zwei: \N{LATIN SMALL LETTER U WITH DIAERESIS}"}]
TEXTS = [record["text"] for record in RECORDS]
LINES = "".join(json.dumps(record) + "\n" for record in RECORDS)
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
BYTES = configs.Tokenizer(kind="bytes")


def read(path, **fields):
    """Texts, and (reason, name of the file) of what was skipped."""
    skipped = []
    skip = lambda reason, name: skipped.append((reason, pathlib.Path(name).name))
    corpus = configs.Corpus(kind="files", path=str(path), **fields)
    return [document.text for document in data.documents(corpus, skip)], skipped


def refused(path, match, **fields):
    with pytest.raises(InputError, match=match):
        read(path, **fields)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonl", LINES),
        ("a.ndjson", LINES.replace("\n", "\r\n\r\n")),
        ("lines.json", LINES),
        ("array.json", json.dumps(RECORDS, indent=2)),
        ("array.json", json.dumps(RECORDS)),
        ("marked.jsonl", "\N{ZERO WIDTH NO-BREAK SPACE}" + LINES),
        ("cut.jsonl", LINES.rstrip("\n")),
    ],
)
def test_documents_of_json_are_the_text_fields_of_its_records(name, text, tmp_path):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert read(tmp_path) == (TEXTS, [])


def test_one_object_over_many_lines_is_one_record(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(RECORDS[0], indent=1))
    assert read(tmp_path) == (TEXTS[:1], [])


def test_another_field_can_hold_the_text_and_a_wrong_one_is_told_those_there_are(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"story": "here", "title": "there", "id": 1}\n{"story": null}\n')
    assert read(tmp_path, text_field="story") == (["here", ""], [])
    refused(tmp_path, r"a\.jsonl', line 1, has no field corpus\.text_field='text'; it has 'story', 'title', 'id'")
    # A wrong name is no fault of the file, so it is not left out either.
    refused(tmp_path, "has no field", undecodable="skip")
    refused(tmp_path, r"line 1, holds a number in corpus\.text_field='id', no text", text_field="id")
    assert read(tmp_path, text_field="")[0] == [(tmp_path / "a.jsonl").read_text()]


def test_broken_lines_are_named_or_counted(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "first"}\n{"text": "cut of\n7\n{"id": 3}\n{"text": "last"}\n')
    refused(tmp_path, r"a\.jsonl', line 2, is not JSON: .*Mend it\. Leave it out .* or set corpus\.undecodable='skip'")
    reasons = ["broken JSON lines", "records without fields", "records without text"]
    assert read(tmp_path, undecodable="skip") == (["first", "last"], [(reason, "a.jsonl") for reason in reasons])
    (tmp_path / "a.jsonl").write_text('"text": "first is broken"}\n{"text": "second"}\n')
    refused(tmp_path, "line 1, is not JSON")
    assert read(tmp_path, undecodable="skip") == (["second"], [("broken JSON lines", "a.jsonl")])
    (tmp_path / "a.jsonl").write_text("[" * 100_000)
    refused(tmp_path, "line 1, is not JSON: maximum recursion")


@pytest.mark.parametrize("program", ["gzip", "bzip2", "xz", "zstd"])
def test_what_was_compressed_is_read_as_what_it_was(program, tmp_path):
    if program == "zstd":
        pytest.importorskip("pyarrow", reason="needs pyarrow to read zstd")
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    (tmp_path / "a.jsonl").write_text(LINES)
    (tmp_path / "b.txt").write_text("plain")
    removed = ["--rm", "-q"] if program == "zstd" else []
    subprocess.run([program, *removed, tmp_path / "a.jsonl", tmp_path / "b.txt"], check=True)
    assert len(list(tmp_path.iterdir())) == 2
    assert read(tmp_path) == ([*TEXTS, "plain"], [])
    # By content, whatever the name; and a part of it is no text.
    path = next(tmp_path.glob("b*"))
    path.rename(tmp_path / "b.txt")
    assert read(tmp_path / "b.txt") == (["plain"], [])
    (tmp_path / "b.txt").write_bytes((tmp_path / "b.txt").read_bytes()[:-6])
    refused(tmp_path / "b.txt", r"b\.txt' cannot be read: ")
    assert read(tmp_path / "b.txt", undecodable="skip")[1] == [("unreadable or damaged", "b.txt")]


def test_parquet_is_read_by_its_column(tmp_path):
    arrow = pytest.importorskip("pyarrow", reason="needs pyarrow to read Parquet")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(
        arrow.table({"text": [*TEXTS, None], "id": [1, 2, 3]}), tmp_path / "a.parquet", row_group_size=2
    )
    assert read(tmp_path) == ([*TEXTS, ""], [])
    refused(tmp_path, r"has no field corpus\.text_field='body'; it has 'text', 'id'", text_field="body")
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "a.parquet").write_bytes(whole[:-20])
    refused(tmp_path, r"a\.parquet' cannot be read: ")


@pytest.mark.parametrize("rule", ["error", "replace"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (PNG, "a.txt' holds binary data, no text"),
        (b"%PDF-1.4\nstream of words", "is a PDF. Extract its text first"),
        (b"PK\x03\x04zipped", "is a ZIP archive, or a document in one. Unpack it, or save it as text"),
        (b"\x04\x22\x4d\x18framed", "is compressed by lz4. Decompress it first: lz4 -d"),
        (b"words, and a NUL \x00", "holds NUL characters"),
        ("no mark".encode("utf-16-le"), "UTF-16 without a byte-order mark"),
        (gzip.compress(PNG), "holds binary data, no text"),
        (gzip.compress(gzip.compress(b"twice")), "holds binary data, no text"),
    ],
    ids=["png", "pdf", "zip", "lz4", "nul", "utf-16", "png in gzip", "gzip in gzip"],
)
def test_binary_files_are_refused_by_content_and_no_advice_makes_them_text(content, told, rule, tmp_path):
    (tmp_path / "a.txt").write_bytes(content)
    refused(tmp_path, told, undecodable=rule)
    (tmp_path / "b.txt").write_bytes(b"text")
    assert read(tmp_path, undecodable="skip") == (["text"], [("binary", "a.txt")])


def test_an_archive_is_refused_with_what_to_do_and_a_table_is_read_by_its_column(tmp_path):
    (tmp_path / "b.txt").write_text("text")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "b.txt", "b.txt")
    refused(tmp_path, r"a\.tar\.gz' is a tar archive\. Unpack it first")
    (tmp_path / "a.tar.gz").unlink()
    (tmp_path / "a.csv").write_text("id,text\n1,hello\n")
    assert read(tmp_path) == (["hello", "text"], [])
    assert read(tmp_path, text_field="")[0] == ["id,text\n1,hello\n", "text"]
    (tmp_path / "a.csv").write_text("title,story\none,hello\n")
    refused(tmp_path, r"a\.csv', line 1, has no field corpus\.text_field='text'; it has 'title', 'story'\. Set corpus")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_is_believed_and_is_no_text(encoding, tmp_path):
    text = "Stra\N{LATIN SMALL LETTER SHARP S}e\r\n"
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    (tmp_path / "b.jsonl").write_bytes(LINES.encode(encoding))
    assert read(tmp_path, line_ends="kept") == ([text, *TEXTS], [])
    assert read(tmp_path) == ([text.replace("\r\n", "\n"), *TEXTS], [])


def test_latin_1_is_refused_replaced_or_skipped(tmp_path):
    (tmp_path / "a.txt").write_bytes("caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1"))
    (tmp_path / "b.jsonl").write_bytes(b'{"text": "x"}\n{"text": "caf\xe9"}\n')
    refused(tmp_path / "a.txt", r"is not UTF-8: byte 0xe9 at offset 3\. Convert it, for instance with iconv")
    refused(tmp_path / "b.jsonl", r"b\.jsonl', line 2, is not UTF-8")
    assert read(tmp_path, undecodable="replace")[0] == [
        "caf\N{REPLACEMENT CHARACTER}",
        "x",
        "caf\N{REPLACEMENT CHARACTER}",
    ]
    assert read(tmp_path, undecodable="skip") == (["x"], [("not UTF-8", "a.txt"), ("not UTF-8", "b.jsonl")])


def test_every_file_of_a_tree_of_links_is_read_once(tmp_path):
    for name in ("books/a.txt", "books/old/b.txt", "elsewhere/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(name)
    books = tmp_path / "books"
    (books / "linked").symlink_to(tmp_path / "elsewhere")
    (books / "old" / "loop").symlink_to(books)
    (books / "self").symlink_to("self")
    (books / "gone.txt").symlink_to(tmp_path / "nothing")
    (books / "d.txt").symlink_to(tmp_path / "elsewhere" / "c.txt")
    os.mkfifo(books / "pipe")
    texts, skipped = read(books)
    assert texts == ["books/a.txt", "elsewhere/c.txt", "elsewhere/c.txt", "books/old/b.txt"]
    assert sorted(skipped) == [
        ("links to a folder that was read already", "loop"),
        ("links to nothing", "gone.txt"),
        ("links to nothing", "self"),
        ("no regular files", "pipe"),
    ]
    assert read(books / "**" / "*.txt")[0] == texts
    assert read(books / "*" / "?.txt")[0] == ["elsewhere/c.txt", "books/old/b.txt"]
    refused(books / "pipe", "is neither a folder nor a regular file")


def test_hidden_files_are_counted(tmp_path):
    for name in (".git/index", ".hidden.txt", "a.txt", "sub/.b.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    texts, skipped = read(tmp_path)
    assert texts == ["a.txt"] and sorted(skipped) == [("hidden", name) for name in (".b.txt", ".git", ".hidden.txt")]
    assert read(tmp_path / ".*.txt")[0] == [".hidden.txt"]


def test_what_may_not_be_read_is_named_or_counted():
    # As another user than root, who may read everything; so the folder must not be pytest's, which is one's own.
    program = (
        "import os, sys; from jaxscale import config, data; from jaxscale.errors import InputError\n"
        "os.getuid() or os.setuid(65534)\n"
        "def read(rule):\n"
        "    skipped = []\n"
        "    corpus = config.Corpus(kind='files', path=sys.argv[1], undecodable=rule)\n"
        "    try: print([d.text for d in data.documents(corpus, lambda *one: skipped.append(one))], skipped)\n"
        "    except InputError as error: print(error)\n"
        "read('error'); read('skip')\n"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        (folder / "shut").mkdir()
        (folder / "shut" / "b.txt").write_text("not for you")
        (folder / "a.txt").write_text("open")
        (folder / "c.txt").write_text("nor this")
        (folder / "c.txt").chmod(0)
        folder.chmod(0o755)
        (folder / "shut").chmod(0)
        command = [sys.executable, "-c", program, name]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=True)
        finally:
            (folder / "shut").chmod(stat.S_IRWXU)
    first, second = done.stdout.splitlines()
    assert first.startswith(f"corpus.path: '{name}/shut' cannot be read: Permission denied. Make it readable")
    assert second == str(["open"]) + " " + str(
        [("unreadable", f"{name}/shut"), ("unreadable or damaged", f"{name}/c.txt")]
    )


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one"}\n' * 3)
    documents = data.documents(configs.Corpus(kind="files", path=str(path)))
    assert next(documents).text == "one"
    with open(path, "a") as file:
        file.write('{"text": "more"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl' changed while it was read"):
        list(documents)


def test_a_long_line_and_an_empty_file_are_documents(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x" * 3_000_000}) + "\n")
    (tmp_path / "b.jsonl").write_text("")
    (tmp_path / "c.txt").write_text("")
    texts, skipped = read(tmp_path)
    assert [len(text) for text in texts] == [3_000_000, 0, 0] and skipped == []


def test_what_was_read_and_skipped_is_said_whenever_a_corpus_is_opened(tmp_path):
    texts = tmp_path / "texts"
    texts.mkdir()
    lines = [{"text": f"document {i}: \N{LATIN SMALL LETTER E WITH ACUTE}"} for i in range(40)]
    lines += [{"text": "document 7: \N{LATIN SMALL LETTER E WITH ACUTE}"}, {"text": ""}]
    with gzip.open(texts / "a.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    (texts / "b.png").write_bytes(PNG)
    pathlib.Path(os.fsdecode(os.fsencode(texts) + b"/.hidden\xff")).write_text("x")  # a name that is not UTF-8
    said: list[str] = []
    corpus = configs.Corpus(kind="files", path=str(texts), undecodable="skip", held_out_fraction=0.3)
    store = data.prepare(corpus, BYTES, tmp_path / "corpus", said.append)
    facts = store.facts
    assert (facts["documents_read"], facts["duplicates_removed"], facts["documents_empty"]) == (42, 1, 1)
    assert facts["documents_train"] + facts["documents_held_out"] == 40
    assert facts["bytes"] == sum(len(line["text"].encode()) for line in lines[:40]) == facts["characters"] + 40
    # A token a byte, and one that ends each document.
    assert facts["tokens_train"] + facts["tokens_held_out"] == facts["bytes"] + 40
    assert facts["skipped"] == {"binary": 1, "hidden": 1}
    assert facts["skipped_first"]["binary"] == (texts / "b.png").as_posix()
    counts = said[1:]
    assert counts[0] == "corpus 'files': 42 documents read, of which 1 duplicate and 1 empty ones are left out"
    assert f"{facts['tokens_train']:,} tokens" in counts[1] and f"{facts['bytes']:,} bytes" in counts[1]
    assert "1 binary" in counts[2] and "b.png" in counts[2] and "1 hidden" in counts[2]
    assert "half of the documents have at most" in counts[3] and "neighbors are split" in counts[3]
    again: list[str] = []
    data.prepare(corpus, BYTES, tmp_path / "corpus", again.append)
    assert again == counts


def test_a_corpus_of_an_earlier_version_opens_and_says_what_it_does_not_know(tiny_run, tmp_path):
    folder = tmp_path / "corpus"
    store = data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder)
    old = {
        name: value
        for name, value in store.facts.items()
        if name not in ("bytes", "documents_empty", "skipped", "skipped_first", "median_characters")
    }
    (folder / "facts.json").write_text(json.dumps(old))
    said: list[str] = []
    again = data.prepare(tiny_run.corpus, tiny_run.tokenizer, folder, said.append)
    assert again.facts == old and len(again.train.tokens) == store.facts["tokens_train"]
    assert "61 documents read" in said[0] and "? bytes" in said[1] and "an earlier version" in said[2]
