"""Local text as people have it: plain text, JSON lines and Parquet, compressed or not, told apart by content.

    for path in paths("books/", "error", skip):
        for name, text in texts(path, "text", "error", skip):
            ...

`skip(reason, name)` hears of whatever is left out. Nothing is read as something that it is not: binary data, damaged
archives and records without text are refused or, with `corpus.undecodable="skip"`, left out.
"""

import bz2
import codecs
import dataclasses
import fnmatch
import glob
import gzip
import io
import json
import lzma
import os
import pathlib
import re
import stat
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal

from jaxscale.errors import InputError

Undecodable = Literal["error", "replace", "skip"]
# Hears of the reason and the name of whatever is left out.
Skip = Callable[[str, str], None]

JSON_ENDINGS, TABLE_ENDINGS = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv")
COMPRESSED_ENDINGS = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd")
BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
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
# Errors of the system and of decompressors.
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
# Control characters that no text has: all but tab, backspace, escape and the ends of lines and pages.
CONTROL = bytes(set(range(32)) - set(b"\t\b\x1b\n\v\f\r")) + b"\x7f"


def paths(path: str, undecodable: Undecodable, skip: Skip) -> list[pathlib.Path]:
    """Files that `corpus.path` names, sorted: all below a folder, one file, or those that a glob matches.

    Hidden ones are left out. Links to folders are followed, and every folder is read once.

    Raises:
      InputError: there is no such folder, or no file; or, unless `undecodable` is "skip", a folder cannot be listed.
    """
    root, walk = pathlib.Path(path), _Walk(undecodable, skip)
    found: Iterable[pathlib.Path]
    if root.is_dir():
        found = walk.matching(root, ["**", "*"])
    elif root.is_file():
        found = [root]
    elif glob.has_magic(path):
        found = walk.matching(pathlib.Path(root.anchor), root.relative_to(root.anchor).parts)
    elif root.exists():
        raise InputError(f"corpus.path={path!r} is neither a folder nor a regular file. Save the text in a file.")
    else:
        raise InputError(
            f"corpus.path={path!r}: no such folder. Give an existing folder, or a glob such as 'books/**/*.txt'."
        )
    files = sorted(set(found))
    if not files:
        raise InputError(f"corpus.path={path!r} holds no files. Give a folder or a glob with text files in it.")
    return files


class _Walk:
    """Regular files below a folder whose path matches the parts of a glob, as `glob.glob` would have them."""

    def __init__(self, undecodable: Undecodable, skip: Skip) -> None:
        self.undecodable, self.skip = undecodable, skip
        self.entered: set[tuple[int, int, int]] = set()  # (device, inode, depth) of folders
        self.left_out: set[pathlib.Path] = set()

    def matching(self, folder: pathlib.Path, pattern: Sequence[str]) -> Iterator[pathlib.Path]:
        first, *rest = pattern
        if first == "**":
            if not self._enters(folder, len(pattern)):
                return
            yield from self.matching(folder, rest or ["*"])
            rest = list(pattern)
        for entry in self._entries(folder, "*" if first == "**" else first):
            mode = self._mode(entry)
            if rest and stat.S_ISDIR(mode):
                yield from self.matching(entry, rest)
            elif not rest and stat.S_ISREG(mode):
                yield entry
            elif mode and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                self._leave_out("no regular files", entry)

    def _enters(self, folder: pathlib.Path, depth: int) -> bool:
        """Whether a folder is new to `**`: a link may lead back to one that was read, or above it."""
        status = os.stat(folder)
        key = status.st_dev, status.st_ino, depth
        if key in self.entered:
            self._leave_out("links to a folder that was read already", folder)
            return False
        self.entered.add(key)
        return True

    def _entries(self, folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
        if not glob.has_magic(pattern):
            return [folder / pattern] if os.path.lexists(folder / pattern) else []
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._unreadable(folder, error)
            return []
        names = [name for name in names if fnmatch.fnmatch(name, pattern)]
        hidden = {name for name in names if name.startswith(".") and not pattern.startswith(".")}
        for name in sorted(hidden):
            self._leave_out("hidden", folder / name)
        return [folder / name for name in names if name not in hidden]

    def _mode(self, entry: pathlib.Path) -> int:
        """What an entry is, as of `os.stat`; 0 if that cannot be found out."""
        try:
            return os.stat(entry).st_mode
        except OSError as error:
            if entry.is_symlink():
                self._leave_out("links to nothing", entry)
            else:
                self._unreadable(entry, error)
            return 0

    def _unreadable(self, path: pathlib.Path, error: OSError) -> None:
        if self.undecodable != "skip":
            raise InputError(
                f"corpus.path: {str(path)!r} cannot be read: {error.strerror}. Make it readable, leave it out with a "
                "narrower corpus.path, or set corpus.undecodable='skip'."
            )
        self._leave_out("unreadable", path)

    def _leave_out(self, reason: str, path: pathlib.Path) -> None:
        if path not in self.left_out:
            self.left_out.add(path)
            self.skip(reason, path.as_posix())


def texts(
    path: pathlib.Path, text_field: str, undecodable: Undecodable, skip: Skip, name: str | None = None
) -> Iterator[tuple[str, str]]:
    """Names and texts of the documents in a file.

    A file is one document, but .json, .jsonl and .ndjson hold one in the field `text_field` of each record, and so do
    Parquet files. What is compressed by gzip, bzip2, xz or zstd is read as what it was; what is binary is known by its
    content. Text is UTF-8, or whatever its byte-order mark says.

    Args:
      path: the file.
      text_field: of records; "" to read JSON and tables as the text they are.
      undecodable: of a `config.Corpus`: "error", "replace" or "skip".
      skip: called with a reason and a name for every file or record that is left out.
      name: what the document is called; the path by default.

    Raises:
      InputError: naming the file (and the line), for what is no text, unless `undecodable` says otherwise; for records
        without `text_field`, with the fields they have; for a file that changes while it is read.
    """
    one = _File(path, path.as_posix() if name is None else name, text_field, undecodable, skip)
    try:
        with open(path, "rb") as file:
            before = os.fstat(file.fileno())
            yield from _documents(one, file)
            after = os.fstat(file.fileno())
    except DAMAGE as error:
        said = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return one.refuse("unreadable or damaged", f"cannot be read: {said}", f"Mend it. {LEAVE_OUT}")
    except ModuleNotFoundError as error:
        return one.refuse(
            "of a kind that needs a package", f"needs the package {error.name!r}", f"pip install {error.name}"
        )
    if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
        raise InputError(f"corpus file {str(path)!r} changed while it was read. Try again when it is whole.")


@dataclasses.dataclass(frozen=True)
class _File:
    """A file that is read, and what to do about what is no text in it."""

    path: pathlib.Path
    name: str
    text_field: str
    undecodable: Undecodable
    skip: Skip

    def error(self, sentence: str, remedy: str, where: str = "") -> InputError:
        return InputError(f"corpus file {str(self.path)!r}{where} {sentence}. {remedy}")

    def refuse(self, reason: str, sentence: str, remedy: str = LEAVE_OUT, where: str = "") -> None:
        if self.undecodable != "skip":
            raise self.error(sentence, remedy, where) from None
        self.skip(reason, self.name)


def _documents(one: _File, file: io.BufferedReader) -> Iterator[tuple[str, str]]:
    stream, ending = _decompressed(one.path, file)
    head = stream.peek(512)[:512]
    if head.startswith(b"PAR1\x15") and stream is file:
        yield from _of_records(one, _parquet_rows(one))
    elif head[257:262] == b"ustar":
        one.refuse("binary", "is a tar archive", "Unpack it first: tar -xf.")
    elif known := next((known for known in NO_TEXT if head.startswith(known[0])), None):
        one.refuse("binary", *known[1:])
    elif one.text_field and ending in TABLE_ENDINGS:
        one.refuse(
            "tables",
            "is a table",
            "Read it with corpus.kind='hf' and corpus.name='csv', write it as JSON lines, or set corpus.text_field='' "
            f"to read it as the text it is. {LEAVE_OUT}",
        )
    elif one.text_field and ending in JSON_ENDINGS and head:
        yield from _of_records(one, _json_records(one, stream))
    elif (text := _decoded(one, stream.read())) is not None:
        yield one.name, text


def _decompressed(path: pathlib.Path, file: io.BufferedReader) -> tuple[io.BufferedReader, str]:
    """What was compressed into a file, or the file itself, as a buffered stream; and the ending of its name."""
    opened = next((opened for magic, opened in COMPRESSIONS if magic.match(file.peek(16))), None)
    if opened is None:
        return file, path.suffix.lower()
    inner = path.with_suffix("") if path.suffix.lower() in COMPRESSED_ENDINGS else path
    return io.BufferedReader(opened(file)), inner.suffix.lower()


def _zstd(file: io.BufferedReader) -> io.RawIOBase:
    import pyarrow

    # By name: it would close a file of ours.
    stream: io.RawIOBase = pyarrow.CompressedInputStream(str(file.name), "zstd")
    return stream


COMPRESSIONS = (
    (re.compile(rb"\x1f\x8b\x08"), lambda file: gzip.GzipFile(fileobj=file)),
    (re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    (re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    (re.compile(rb"\x28\xb5\x2f\xfd"), _zstd),
)


def _decoded(one: _File, data: bytes, where: str = "") -> str | None:
    """Bytes as text; None for what was skipped."""
    mark, encoding = next((pair for pair in BYTE_ORDER_MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    data = data[len(mark) :]
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        some = data[: 1 << 16]
        if encoding == "utf-8" and len(some) - len(some.translate(None, CONTROL)) > len(some) / 100:
            one.refuse("binary", "holds binary data, no text", where=where)
            return None
        if one.undecodable == "replace":
            text = data.decode(encoding, errors="replace")
        else:
            one.refuse(
                "not UTF-8",
                f"is not {encoding.upper()}: byte {data[error.start]:#04x} at offset {error.start + len(mark)}",
                "Convert it, for instance with iconv, or set corpus.undecodable to 'replace' or 'skip'.",
                where,
            )
            return None
    if "\0" in text:
        sentence = "holds NUL characters: it is binary data, or UTF-16 without a byte-order mark"
        one.refuse("binary", sentence, where=where)
        return None
    return text


def _of_records(one: _File, records: Iterable[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    """The text fields of (place, record)s."""
    field = one.text_field
    for index, (place, record) in enumerate(records):
        where = f", {place},"
        if not isinstance(record, dict):
            one.refuse("records without fields", f"holds {_called(record)} and no object with fields", where=where)
        elif field not in record:
            sentence = f"has no field corpus.text_field={field!r}; it has {', '.join(map(repr, record)) or 'none'}"
            remedy = "Set corpus.text_field to the one that holds the text, or to '' to read JSON as the text it is."
            if index == 0:  # the name is wrong, not a record
                raise one.error(sentence, remedy, where)
            one.refuse("records without text", sentence, f"{remedy} {LEAVE_OUT}", where)
        elif not isinstance(text := "" if record[field] is None else record[field], str):
            sentence = f"holds {_called(text)} in corpus.text_field={field!r}, no text"
            one.refuse("records without text", sentence, f"Name a field that holds text. {LEAVE_OUT}", where)
        else:
            # Half of a surrogate pair, which JSON may hold, is no character.
            yield f"{one.name}:{place.split()[1]}", text.encode("utf-8", "replace").decode()


def _called(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "a string", bool: "true or false", type(None): "null"}.get(
        type(value), "a number" if isinstance(value, int | float) else f"a {type(value).__name__}"
    )


def _json_records(one: _File, stream: io.BufferedReader) -> Iterator[tuple[str, Any]]:
    """(place, record)s of JSON lines, or of one JSON array or object over any number of lines."""
    lines: io.BufferedIOBase = stream
    if mark := next((mark for mark, _ in BYTE_ORDER_MARKS if stream.peek(4).startswith(mark)), None):
        if mark == codecs.BOM_UTF8:
            stream.read(len(mark))
        else:
            text = _decoded(one, stream.read())
            lines = io.BytesIO((text or "").encode())
    number, line = next((pair for pair in enumerate(lines, 1) if pair[1].strip()), (1, b""))
    if isinstance(_parsed(line), dict):
        yield f"line {number}", _parsed(line)
    else:  # what does not begin with a record is one value, or damaged in its first line
        whole = line + lines.read()
        value = _parsed(whole)
        if isinstance(value, list):
            yield from ((f"record {index}", record) for index, record in enumerate(value, 1))
            return
        if isinstance(value, dict):
            yield f"line {number}", value
            return
        lines, number = io.BytesIO(whole), number - 1
    for place, line in enumerate(lines, number + 1):
        where = f", line {place},"
        if not line.strip() or (text := _decoded(one, line, where)) is None:
            continue
        try:
            yield f"line {place}", json.loads(text)
        except (ValueError, RecursionError) as error:
            one.refuse("broken JSON lines", f"is not JSON: {error}", f"Mend it. {LEAVE_OUT}", where)


def _parsed(data: bytes) -> Any:
    """A JSON value; None for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _parquet_rows(one: _File) -> Iterator[tuple[str, dict[str, Any]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.ParquetFile(one.path)
        if one.text_field not in (names := table.schema_arrow.names):
            yield "row 1", dict.fromkeys(names)
            return
        place = 0
        for batch in table.iter_batches(columns=[one.text_field]):
            for text in batch.column(0).to_pylist():
                place += 1
                yield f"row {place}", {one.text_field: text}
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from None
