"""Local text as people have it: plain text, JSON lines, tables and Parquet, compressed or not, told apart by content.

    corpus = config.Corpus(kind="files", path="books/")
    for document in texts(pathlib.Path("books/one.txt"), corpus):
        ...

`skip(reason, name)` is called for whatever is left out. Nothing is read as something that it is not: binary data,
damaged archives and records without text are refused or, with `corpus.undecodable="skip"`, left out.
"""

import codecs
import collections
import dataclasses
import io
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

from jaxscale import encoded
from jaxscale.config import Corpus
from jaxscale.data import passages, records
from jaxscale.data.passages import Document
from jaxscale.data.records import Broken, Found
from jaxscale.data.text_paths import Skip
from jaxscale.errors import InputError

# Called with a group ("files" or "changes"), a description of what was read or changed, and the number to add.
Count = Callable[[str, str, int], None]

JSON_ENDINGS, TABLE_ENDINGS = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv")
# What begins with these is no text, though some of it has no NUL byte for a while; and what to do about each.
NO_TEXT = (
    (b"%PDF-", "is a PDF", "Extract its text first, for instance with pdftotext."),
    (b"PK\x03\x04", "is a ZIP archive, or a document in one", "Unpack it, or save it as text, first."),
    (b"7z\xbc\xaf\x27\x1c", "is a 7z archive", "Unpack it first."),
    (b"Rar!\x1a\x07", "is a RAR archive", "Unpack it first."),
    (b"\x04\x22\x4d\x18", "is compressed by lz4", "Decompress it first: lz4 -d."),
    (b"\x1f\x9d", "is compressed by compress", "Decompress it first: uncompress."),
    (b"ARROW1\x00\x00", "is an Arrow file", "Read it with corpus.kind='hf' and corpus.name='arrow'."),
)
LEAVE_OUT = "Leave it out with a narrower corpus.path, such as 'books/**/*.txt', or set corpus.undecodable='skip'."
NUL = "holds NUL characters: it is binary data, or UTF-16 without a byte-order mark"
# Bytes that are read at once.
PART = 1 << 18


def nothing(*_: object) -> None:
    """Ignores its arguments: the default where nobody counts."""


def texts(
    path: pathlib.Path, corpus: Corpus, skip: Skip = nothing, count: Count = nothing, name: str | None = None
) -> Iterator[Document]:
    """The documents in a file.

    A file is one document, but .json, .jsonl, .ndjson, .csv, .tsv and Parquet files hold one in the field
    `corpus.text_field` of each record, and text is split by `corpus.separator`. What is compressed by gzip, bzip2, xz
    or zstd is read as what it was; what is binary is known by its content. Text is in `corpus.encoding`, or whatever
    its byte-order mark says. Memory is bounded by the longest document.

    Args:
      path: the file.
      corpus: of kind "files"; what is read of it is all but `path`.
      skip: called with a reason and a name for every file or record that is left out.
      count: called with "files" and the kind the file was read as, and with "changes" and what was done to its text.
      name: what the document is called; the path by default.

    Raises:
      InputError: naming the file (and the line), for what is no text, unless `corpus.undecodable` says otherwise; for
        records without `text_field`, with the fields they have; for a file that changes while it is read.
    """
    one = _File(path, path.as_posix() if name is None else name, corpus, skip, count)
    try:
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            yield from _documents(one, file)
            after = os.fstat(file.fileno())
    except encoded.DAMAGE as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return one.refuse("unreadable or damaged", f"cannot be read: {said}", f"Mend it. {LEAVE_OUT}")
    except ModuleNotFoundError as error:
        return one.refuse(
            "of a kind that needs a package", f"needs the package {error.name!r}", f"pip install {error.name}"
        )
    except _NoTextError as error:
        return one.refuse(*error.args)
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"corpus file {str(path)!r} changed while it was read. Try again when it is whole.")


class _NoTextError(Exception):
    """A file is no text: a reason to count it by, a sentence and a remedy."""


@dataclasses.dataclass(frozen=True)
class _File:
    """A file that is read, and what to do about what is no text in it."""

    path: pathlib.Path
    name: str
    corpus: Corpus
    skip: Skip
    count: Count
    said: set[str] = dataclasses.field(default_factory=set)

    def error(self, sentence: str, remedy: str, where: str = "") -> InputError:
        return InputError(f"corpus file {str(self.path)!r}{where} {sentence}. {remedy}")

    def refuse(self, reason: str, sentence: str, remedy: str = LEAVE_OUT, where: str = "") -> None:
        if self.corpus.undecodable != "skip":
            raise self.error(sentence, remedy, where) from None
        self.skip(reason, self.name)

    def note(self, group: str, words: str) -> None:
        """Counts this file as one more of `group`, of which `words` are true; once."""
        if words not in self.said:
            self.said.add(words)
            self.count(group, words, 1)

    def document(self, name: str, text: str) -> Document:
        """A document of this file."""
        if self.corpus.line_ends == "lf" and "\r\n" in text:
            self.note_line_ends()
            text = text.replace("\r\n", "\n")
        return Document(name, text)

    def note_line_ends(self) -> None:
        self.note("changes", "with Windows line ends, read as \\n (corpus.line_ends='kept' keeps them)")


def _documents(one: _File, file: io.BufferedReader) -> Iterator[Document]:
    stream, compression = encoded.decompressed(file)
    bare = encoded.bare(one.path) if compression else one.path
    ending, field = bare.suffix.lower(), one.corpus.text_field
    kind = f"{ending}{compression}" or "without ending"
    head = stream.peek(512)[:512]
    if head.startswith(b"PAR1\x15"):
        with _seekable(stream, file) as seekable:
            names, texts = records.parquet_fields(seekable)
            field = _field(one, names, records.usual(texts), "row 1")
            yield from _of_records(one, kind, field, records.parquet_rows(seekable, field))
    elif head[257:262] == b"ustar":
        one.refuse("binary", "is a tar archive", "Unpack it first: tar -xf.")
    elif known := next((known for known in NO_TEXT if head.startswith(known[0])), None):
        one.refuse("binary", *known[1:])
    elif field and ending in TABLE_ENDINGS and head:
        names, rows = records.table_rows(_characters(one, stream), ending)
        found, _, rows = records.field_of(rows)
        if names:
            field = _field(one, names, found, "line 1")
        yield from _of_records(one, kind, field, rows)
    elif field and ending in JSON_ENDINGS and head:
        found, names, rows = records.field_of(_json_records(one, stream))
        if names and field == "text" and field not in names and found is not None:
            field = found
        yield from _of_records(one, kind, field, rows)
    else:
        yield from _of_text(one, kind, stream)


def _seekable(stream: io.BufferedReader, file: io.BufferedReader) -> IO[bytes]:
    """A file that can be read from its end; what was compressed is decompressed to the disk."""
    if stream is file:
        return open(file.name, "rb")
    whole = tempfile.TemporaryFile()  # noqa: SIM115  closed by the one who asked for it
    shutil.copyfileobj(stream, whole)
    return whole


def _field(one: _File, names: Sequence[str], found: str | None, place: str) -> str:
    """The field that holds the text, of those there are; "text", the default, stands for what seems to be meant too."""
    field = one.corpus.text_field
    if field in names:
        return field
    if field == "text" and found is not None:
        return found
    raise _no_field(one, field, names, f", {place},")


def _no_field(one: _File, field: str, names: Iterable[str], where: str) -> InputError:
    return one.error(f"{_lacks(field, names)}", FIELD_REMEDY, where)


def _lacks(field: str, names: Iterable[str]) -> str:
    return f"has no field corpus.text_field={field!r}; it has {', '.join(map(repr, names)) or 'none'}"


FIELD_REMEDY = "Set corpus.text_field to the one that holds the text, or to '' to read the file as the text it is."


def _of_text(one: _File, kind: str, stream: io.BufferedReader) -> Iterator[Document]:
    """A text, or the documents that it is split into."""
    corpus = one.corpus
    if not (corpus.separator or corpus.separator_pattern or corpus.passage_characters):
        if (text := _decoded(one, stream)) is not None:
            one.note("files", kind)
            _look_like_json(one, text)
            yield one.document(one.name, text)
        return
    if corpus.undecodable == "skip":  # a file is left out as a whole
        with open(one.path, "rb") as again:
            collections.deque(_characters(one, encoded.decompressed(again)[0]), maxlen=0)
    chunks = _characters(one, stream)
    first = next(chunks, "")
    one.note("files", kind)
    _look_like_json(one, first)
    chunks = _chained(first, chunks)
    if corpus.separator or corpus.separator_pattern:
        pieces = passages.split(chunks, passages.separator(corpus.separator, corpus.separator_pattern))
        number = 0
        for number, piece in enumerate(pieces, 1):
            yield Document(f"{one.name}:{number}", piece)
        if number == 1:
            one.note("changes", "without corpus.separator, read as one document each")
        elif not number:
            yield Document(one.name, "")
    else:
        yield from cut(corpus, one.name, chunks, one.count)


def cut(corpus: Corpus, name: str, chunks: Iterable[str], count: Count) -> Iterator[Document]:
    """A text as passages of `corpus.passage_characters`, or as one document where it is no longer."""
    characters = corpus.passage_characters
    if characters is None:
        yield Document(name, "".join(chunks))
        return
    lost = lambda characters: count("changes", "characters left out around held-out passages", characters)
    gap = characters // 10 if corpus.gap is None else corpus.gap
    how = {"salt": corpus.seed, "fraction": corpus.held_out_fraction}
    found = False
    for document in passages.cut(name, chunks, characters, gap, left_out=lost, **how):  # type: ignore[arg-type]
        if document.held_out is not None:
            count("changes", "passages cut of longer texts", 1)
        found = True
        yield document
    if not found:
        yield Document(name, "")


def _look_like_json(one: _File, text: str) -> None:
    line = text[: text.find("\n")].strip()
    if one.corpus.text_field and line.startswith("{") and line.endswith("}") and records.is_record(line):
        one.note("changes", "that look like JSON lines, read as text (call them .jsonl to read their records)")


def _chained(first: str, rest: Iterable[str]) -> Iterator[str]:
    yield first
    yield from rest


def _encoding(one: _File, head: bytes) -> tuple[bytes, str]:
    """The byte-order mark, and the encoding that it or the corpus says."""
    mark, encoding = encoded.mark(head)
    if mark:
        one.note("changes", f"with a byte-order mark ({encoding}), which is no text")
        return mark, encoding
    if one.corpus.encoding != "detect":
        return b"", codecs.lookup(one.corpus.encoding).name
    with open(one.path, "rb") as again:
        found = encoded.detected(encoded.decompressed(again)[0])
    if found is None:
        raise _NoTextError("binary", "holds binary data, or text whose encoding cannot be detected", LEAVE_OUT)
    if found != "utf-8":
        one.note("changes", f"taken to be {found}")
    return b"", found


def _undecodable(one: _File, encoding: str, byte: int, offset: int) -> tuple[str, str, str]:
    return (
        f"not {encoding.upper()}",
        f"is not {encoding.upper()}: byte {byte:#04x} at offset {offset}",
        UTF8_REMEDY,
    )


UTF8_REMEDY = (
    "Convert it, for instance with iconv, name its encoding in corpus.encoding ('detect' to have it found), or set "
    "corpus.undecodable to 'replace' or 'skip'."
)


def _decoded(one: _File, stream: io.BufferedReader) -> str | None:
    """A text as a whole; None if it was skipped."""
    data = stream.read()
    mark, encoding = _encoding(one, data)
    data = data[len(mark) :]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8" and encoded.is_binary(data):
            one.refuse("binary", "holds binary data, no text")
            return None
        if one.corpus.undecodable == "replace":
            text = data.decode(encoding, errors="replace")
        else:
            one.refuse(*_undecodable(one, encoding, data[error.start], error.start + len(mark)))
            return None
    if "\0" in text:
        one.refuse("binary", NUL)
        return None
    return text


def _characters(one: _File, stream: io.BufferedReader) -> Iterator[str]:
    """A text in parts, with line ends as the corpus wants them.

    Raises:
      _NoTextError: it is none, or cannot be decoded.
    """
    mark, encoding = _encoding(one, stream.peek(4)[:4])
    offset = len(stream.read(len(mark)))
    rule = one.corpus.undecodable == "replace"
    decoder = codecs.getincrementaldecoder(encoding)("replace" if rule and encoding != "utf-8" else "strict")
    kept, ends = "", one.corpus.line_ends == "lf"
    head = stream.peek(1 << 16)
    while True:
        data = stream.read(PART)
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            whole = error.object
            if encoding == "utf-8" and encoded.is_binary(head):
                raise _NoTextError("binary", "holds binary data, no text") from None
            if not rule:
                place = offset + len(data) - len(whole) + error.start
                raise _NoTextError(*_undecodable(one, encoding, whole[error.start], place)) from None
            decoder = codecs.getincrementaldecoder(encoding)("replace")
            text = decoder.decode(whole, final=not data)
        if "\0" in text:
            raise _NoTextError("binary", NUL)
        offset += len(data)
        if ends:
            text, kept = kept + text, ""
            if text.endswith("\r") and data:  # its line may end in what comes next
                text, kept = text[:-1], "\r"
            if "\r\n" in text:
                one.note_line_ends()
                text = text.replace("\r\n", "\n")
        if text:
            yield text
        if not data:
            return


def _of_records(one: _File, kind: str, field: str, found: Iterable[Found]) -> Iterator[Document]:
    """The text fields of (place, record)s."""
    for index, (place, record) in enumerate(found):
        where = f", {place},"
        if isinstance(record, Broken):
            remedy = {"not UTF-8": UTF8_REMEDY}.get(record.reason, f"{record.remedy} {LEAVE_OUT}".strip())
            one.refuse(record.reason, record.sentence, remedy, where)
        elif not isinstance(record, dict):
            one.refuse("records without fields", f"holds {_called(record)} and no object with fields", where=where)
        elif field not in record:
            if index == 0:  # the name is wrong, not a record
                raise _no_field(one, field, record, where)
            one.refuse("records without text", _lacks(field, record), f"{FIELD_REMEDY} {LEAVE_OUT}", where)
        elif not isinstance(text := "" if record[field] is None else record[field], str):
            sentence = f"holds {_called(text)} in corpus.text_field={field!r}, no text"
            one.refuse("records without text", sentence, f"Name a field that holds text. {LEAVE_OUT}", where)
        else:
            one.note("files", f"{kind} (field {field!r})")
            # Half of a surrogate pair, which JSON may hold, is no character.
            yield one.document(f"{one.name}:{place.split()[1]}", text.encode("utf-8", "replace").decode())


def _called(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}.get(
        type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    )


def _json_records(one: _File, stream: io.BufferedReader) -> Iterator[Found]:
    """(place, record)s of JSON lines, or of one JSON array or object over any number of lines."""
    mark, encoding = _encoding(one, stream.peek(4)[:4])
    if encoding == "utf-8":  # decoded line by line, so one bad line does not refuse the file
        stream.read(len(mark))
    else:
        stream = io.BufferedReader(_Encoded(_characters(one, stream)), PART)
    return records.json_records(stream, "replace" if one.corpus.undecodable == "replace" else "strict")


class _Encoded(io.RawIOBase):
    """Text in parts as a stream of its bytes in UTF-8."""

    def __init__(self, chunks: Iterator[str]) -> None:
        self.chunks, self.rest = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        while not self.rest and (chunk := next(self.chunks, "")):
            self.rest = chunk.encode("utf-8", "surrogatepass")
        some, self.rest = self.rest[: len(into)], self.rest[len(into) :]
        into[: len(some)] = some
        return len(some)
