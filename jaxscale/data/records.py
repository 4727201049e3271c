"""Records of files that hold many: JSON lines, JSON arrays, tables and Parquet, read one after the other.

for place, record in json_records(stream):          # "line 1", {"text": "…"}
    ...

A record that cannot be read is a `Broken` in its place. Files are read in parts; only a single JSON object is read
whole.
"""

import codecs
import csv
import dataclasses
import io
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import IO, Any

from jaxscale.encoded import is_binary

# Names of a field that holds the text where none is called as asked for, in this order.
USUAL = ("text", "content", "body", "document")
# Records that are looked at to find the field.
LOOKED_AT = 20
# Bytes of an object over many lines; characters of a cell.
LARGEST = 1 << 26
# Characters of what may be cut off without being a text: an escaped character, the rest of a number.
SHORT = 12
DELIMITERS = (",", ";", "\t", "|")


@dataclasses.dataclass(frozen=True)
class Broken:
    """Why a record cannot be read, and what to do about it: a reason to count it by, a sentence, a remedy."""

    reason: str
    sentence: str
    remedy: str = "Mend it."


# A record and its place.
Found = tuple[str, Any]


def json_records(stream: io.BufferedReader, errors: str = "strict") -> Iterator[Found]:
    """Of JSON lines, or of one JSON array or object over any number of lines, in UTF-8.

    Args:
      stream: of bytes.
      errors: "strict" or "replace", of bytes that are not UTF-8.
    """
    number = 1
    while (ahead := stream.peek(1 << 12)) and ahead.isspace():
        number += stream.read(len(ahead)).count(b"\n")
    if ahead.lstrip()[:1] == b"[":
        yield from _of_array(stream, number, errors)
        return
    # The first line that is not blank: space before it ends within what was peeked at.
    line = stream.readline()
    while line and not line.strip():
        line, number = stream.readline(), number + 1
    if not line:
        return
    rest: Iterable[bytes] = stream
    if not isinstance(_parsed(line), dict):  # an object over many lines, or damaged in its first
        whole = line + stream.read(LARGEST) + stream.readline()
        if not stream.peek(1) and isinstance(value := _parsed(whole), dict):
            yield f"line {number}", value
            return
        rest = itertools.chain(io.BytesIO(whole), stream)
    else:
        rest = itertools.chain([line], stream)
    for place, line in enumerate(rest, number):
        if line.strip():
            yield f"line {place}", _of_line(line, errors)


def _parsed(data: bytes) -> Any:
    """A JSON value; None for what is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _of_line(line: bytes, errors: str) -> Any:
    try:
        text = line.decode(errors=errors)
    except UnicodeDecodeError as error:
        if is_binary(line):
            return Broken("binary", "holds binary data, no text", "")
        return Broken("not UTF-8", f"is not UTF-8: byte {line[error.start]:#04x} at offset {error.start}", "")
    if "\0" in text:
        return Broken("binary", "holds NUL characters: it is binary data, or UTF-16 without a byte-order mark", "")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        return Broken("broken JSON lines", f"is not JSON: {error}")


def _of_array(stream: io.BufferedReader, number: int, errors: str) -> Iterator[Found]:
    """Elements of an array; of what is none, a `Broken`, and nothing of what comes after it."""
    lines = _Lines(stream, number, errors)
    index = 0
    try:
        for index, value in enumerate(elements(lines), 1):
            yield f"record {index}", value
    except UnicodeDecodeError as error:
        yield (
            f"record {index + 1} near line {lines.number}",
            Broken("not UTF-8", f"is not UTF-8: byte {error.object[error.start]:#04x}", ""),
        )
    except (ValueError, RecursionError) as error:
        yield f"record {index + 1} near line {lines.number}", Broken("broken JSON lines", f"is not JSON: {error}")


class _Lines:
    """Text of a stream in parts, and the line of what was handed out last."""

    def __init__(self, stream: io.BufferedReader, number: int, errors: str) -> None:
        self.stream, self.number, self.ahead = stream, number, 0
        self.decoder = codecs.getincrementaldecoder("utf-8")(errors)

    def __iter__(self) -> Iterator[str]:
        while data := self.stream.read(1 << 18):
            text = self.decoder.decode(data)
            self.number, self.ahead = self.number + self.ahead, text.count("\n")
            yield text
        self.decoder.decode(b"", final=True)


def elements(chunks: Iterable[str]) -> Iterator[Any]:
    """Values of a JSON array whose text comes in parts. Memory is bounded by the longest value.

    Raises:
      ValueError: it is no array, or not whole.
      RecursionError: a value is too deep.
    """
    parts, decoder = iter(chunks), json.JSONDecoder()
    buffer, at, state = next(parts, ""), 0, "open"
    while True:
        while at < len(buffer) and buffer[at] in " \t\r\n":
            at += 1
        if at == len(buffer):
            if (buffer := next(parts, "")) == "":
                break
            at = 0
            continue
        sign = buffer[at]
        if state == "open" and sign == "[":
            state, at = "first", at + 1
        elif sign == "]" and state in ("first", "between"):
            state, at = "closed", at + 1
        elif sign == "," and state == "between":
            state, at = "next", at + 1
        elif state in ("first", "next"):
            value, buffer, at = _value(decoder, buffer, at, parts)
            state = "between"
            yield value
        else:
            wanted = {"open": "an array", "between": "',' or ']'", "closed": "nothing more"}[state]
            raise ValueError(f"{wanted} is wanted, and {buffer[at : at + 20]!r} follows")
    if state != "closed":
        raise ValueError("the array is never closed")


def _value(decoder: json.JSONDecoder, buffer: str, at: int, parts: Iterator[str]) -> tuple[Any, str, int]:
    """The value at a place of the buffer, what the buffer became, and the place after the value."""
    while True:
        try:
            value, end = decoder.raw_decode(buffer, at)
            # A number may go on, as 0 does in 0.5.
            if end < len(buffer) and (not isinstance(value, int | float) or _ends(buffer, end)):
                return value, buffer, end
            cut = None
        except json.JSONDecodeError as error:
            # What is cut off ends at the end, or in a text; what is broken elsewhere stays so.
            if error.pos < len(buffer) - SHORT and not error.msg.startswith("Unterminated string"):
                raise
            cut = error
        if len(buffer) - at > LARGEST:
            raise ValueError(f"a record of more than {LARGEST:,} characters, or one that never ends")
        more, size = [], 0
        while size < max(1, len(buffer) - at) and (part := next(parts, "")):  # twice as much, to parse it seldom
            more.append(part)
            size += len(part)
        if not more:
            if cut is None:
                return value, buffer, end
            raise cut
        buffer, at = buffer[at:] + "".join(more), 0


def _ends(buffer: str, end: int) -> bool:
    """Whether a number ends at a place, or what follows is none of it."""
    return buffer[end] in " \t\r\n,]" or len(buffer) - end > SHORT


def table_rows(chunks: Iterable[str], ending: str) -> tuple[list[str], Iterator[Found]]:
    """The header of a table apart by commas (semicolons, tabs, bars), and its rows, quoted as RFC 4180 says.

    Args:
      chunks: its text, in parts.
      ending: of the file; that of .tsv is a tab, of others what occurs most in the header.
    """
    lines = (line for line in _lines(chunks))
    first = next((line for line in lines if line.strip()), "")
    outside = re.sub(r'"[^"]*"', "", first)
    delimiter = "\t" if ending == ".tsv" else max(DELIMITERS, key=outside.count)
    csv.field_size_limit(max(csv.field_size_limit(), LARGEST))  # of the process; there is no other
    reader = csv.reader(itertools.chain([first], lines), delimiter=delimiter, strict=True)
    try:
        names = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        return [], iter([("line 1", _broken_table(error))])
    return names, _rows(reader, names, delimiter)


def _rows(reader: Any, names: Sequence[str], delimiter: str) -> Iterator[Found]:
    index = 0
    try:
        for cells in reader:
            if not cells:
                continue
            index += 1
            if len(cells) > len(names):
                yield (
                    f"row {index}",
                    Broken(
                        "table rows with too many cells",
                        f"has {len(cells)} cells, the header {len(names)}",
                        f"Put cells that hold {delimiter!r} in quotation marks.",
                    ),
                )
            else:
                yield f"row {index}", dict(zip(names, cells, strict=False))
    except csv.Error as error:
        yield f"row {index + 1}", _broken_table(error)


def _broken_table(error: csv.Error) -> Broken:
    return Broken("broken tables", f"is no row of a table: {error}", "Double quotation marks within cells.")


def _lines(chunks: Iterable[str]) -> Iterator[str]:
    """Lines with their ends, which are \\n alone."""
    rest = ""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split("\n") if "\n" in chunk else [rest + chunk]
        for line in whole:
            yield f"{line}\n"
    if rest:
        yield rest


def parquet_fields(file: IO[bytes]) -> tuple[list[str], list[str]]:
    """Names of the columns of a Parquet file, and of those that hold text.

    Raises:
      OSError: the file is damaged.
      ModuleNotFoundError: pyarrow is not installed.
    """
    import pyarrow
    import pyarrow.parquet

    try:
        schema = pyarrow.parquet.ParquetFile(file).schema_arrow
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from None
    kinds = {one.name: getattr(one.type, "value_type", one.type) for one in schema}  # of a dictionary its values
    return schema.names, [name for name, kind in kinds.items() if str(kind) in ("string", "large_string")]


def parquet_rows(file: IO[bytes], field: str) -> Iterator[Found]:
    """One column of a Parquet file, a row group at a time. Raises as `parquet_fields` does."""
    import pyarrow
    import pyarrow.parquet

    try:
        place = 0
        for batch in pyarrow.parquet.ParquetFile(file).iter_batches(1 << 10, columns=[field]):
            for text in batch.column(0).to_pylist():
                place += 1
                yield f"row {place}", {field: text}
    except pyarrow.ArrowException as error:
        raise OSError(str(error)) from None


def field_of(records: Iterable[Found]) -> tuple[str | None, list[str], Iterator[Found]]:
    """The field that seems to hold the text, all fields of the first record, and the same records again.

    It is one that is called text, content, body or document, or the only one that holds text and not only numbers.
    """
    rest = iter(records)
    looked = list(itertools.islice(rest, LOOKED_AT))
    some = [record for _, record in looked if isinstance(record, dict)]
    names = list(some[0]) if some else []
    texts = {name: None for record in some for name, value in record.items() if _is_text(value)}
    return usual(list(texts)), names, itertools.chain(looked, rest)


def usual(texts: Sequence[str]) -> str | None:
    """Of fields that hold text the one that seems to be meant; None if that is unclear."""
    named = (name for wanted in USUAL for name in texts if name.lower() == wanted)
    return next(named, texts[0] if len(texts) == 1 else None)


def is_record(line: str) -> bool:
    """Whether a line is a JSON object with a text in it."""
    value = _parsed(line.encode("utf-8", "replace"))
    return isinstance(value, dict) and any(isinstance(one, str) for one in value.values())


def _is_text(value: Any) -> bool:
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        float(value.replace(",", ""))
        return False
    except ValueError:
        return True
