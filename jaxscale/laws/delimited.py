"""Text with a delimiter as rows of cells: comma, semicolon, tab, vertical bar or spaces, found by what fits.

rows("n;loss\\n100;3,5\\n")      # [{"n": "100", "loss": "3,5"}], ";"
"""

import csv
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from jaxscale.laws.cells import readings
from jaxscale.laws.decoding import Unreadable

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "bar": "|", "spaces": " "}

_SNIFFED = 200  # rows that tell the delimiter
_TOLD = re.compile(r"sep=(?P<delimiter>[,;|\t])", re.IGNORECASE)  # the first line of what is written for Excel
_RULE = re.compile(r":?-{2,}:?")  # between the header and the rows of a table in Markdown

# The number of a line, and its cells.
_Line = tuple[int, list[str]]


def rows(text: str, delimiter: str | None = None) -> tuple[list[dict[str, Any]], str]:
    """Rows by column, each cell a text or None where the row ends before it; and the delimiter.

    Lines that begin with # are comments. Without a header, that is where the first line is all numbers, columns are
    called as the last comment before it says, as NumPy writes it, or else 1, 2, 3. A name that several columns have is
    kept where they are the same; else they are `name:1`, `name:2`.

    Raises:
      Unreadable: a line has more cells than the header, or a quotation mark is never closed.
    """
    lines, comment = _without_comments(text)
    if told := _TOLD.fullmatch(lines[0].strip()):
        delimiter, lines[0] = delimiter or told["delimiter"], "\n"
    found = delimiter or _sniffed(lines)
    try:
        table = list(_split(lines, found))
    except csv.Error as error:
        raise Unreadable(f"its quotation marks do not match ({error})", _another(found)) from None
    if found == "|":
        table = _without_frame(table)
    if not table:
        return [], found
    if delimiter and len(table[0][1]) == 1 and (other := _sniffed(lines)) != delimiter:
        name = next(name for name, mark in DELIMITERS.items() if mark == other)
        raise Unreadable(f"{delimiter!r} separates no columns of it", f"Name what does: --delimiter {name}")
    names, table = _header(table, comment, found)
    for number, line in table:
        if any(cell.strip() for cell in line[len(names) :]):
            raise Unreadable(
                f"line {number} has {len(line)} cells, the header {len(names)}",
                f"Put cells that hold {found!r} in quotation marks. {_another(found)}",
            )
    columns = _once(names, [[line[i] if i < len(line) else None for _, line in table] for i in range(len(names))])
    return [{name: column[i] for name, column in columns.items()} for i in range(len(table))], found


def _another(delimiter: str) -> str:
    name = "semicolon" if delimiter == "," else "comma"
    return f"If {delimiter!r} is not what separates the columns, name what does: --delimiter {name}"


def _without_comments(text: str) -> tuple[list[str], str]:
    """The lines with comments emptied, so that lines keep their numbers; and the last comment before the first line."""
    lines: list[str] = []
    comment, begun, quoted = "", False, False
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if not quoted and line.lstrip().startswith("#"):
            comment = comment if begun else line.strip().lstrip("#")
            line = ""
        quoted ^= bool(line.count('"') % 2)
        begun = begun or bool(line.strip())
        lines.append(f"{line}\n")
    return lines, comment


def _split(lines: Sequence[str], delimiter: str) -> Iterator[_Line]:
    """Lines that hold anything, as their cells."""
    if delimiter == " ":
        for number, line in enumerate(lines, 1):
            if cells := line.split():
                yield number, cells
        return
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True, strict=True)
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield reader.line_num, cells


def _sniffed(lines: Sequence[str]) -> str:
    """The delimiter by which most rows have as many cells as the header."""
    best, score = "", (0.0, 1)
    # Of several that fit alike the first: decimals and words hold commas.
    for delimiter in "\t;|,":
        try:
            counts = [len(cells) for _, cells in itertools.islice(_split(lines, delimiter), _SNIFFED)]
        except csv.Error:
            continue
        share = counts.count(counts[0]) / len(counts) if counts and counts[0] > 1 else 0.0
        if share > score[0]:
            best, score = delimiter, (share, counts[0])
    if best:
        return best
    spaced = {len(cells) for _, cells in itertools.islice(_split(lines, " "), _SNIFFED)}
    return " " if len(spaced) == 1 and spaced != {1} else ","


def _without_frame(table: list[_Line]) -> list[_Line]:
    """Of a table in Markdown what it says."""
    if all(len(line) > 2 and not line[0].strip() and not line[-1].strip() for _, line in table):
        table = [(number, line[1:-1]) for number, line in table]
    return [line for line in table if not all(_RULE.fullmatch(cell.strip()) for cell in line[1])]


def _header(table: list[_Line], comment: str, delimiter: str) -> tuple[list[str], list[_Line]]:
    """Names of the columns, and the rows."""
    first = table[0][1]
    if not all(readings(cell) for cell in first):
        # A delimiter may end every line.
        while len(first) > 1 and not any("".join(line[len(first) - 1 :]).strip() for _, line in table):
            first = first[:-1]
        return [name.strip() or f"column {i}" for i, name in enumerate(first, 1)], table[1:]
    told = [cell for _, line in _split([comment], delimiter) for cell in line]
    if len(told) == len(first) > 1 and not any(readings(cell) for cell in told):
        return [name.strip() for name in told], table
    return [str(i) for i in range(1, len(first) + 1)], table


def _once(names: Sequence[str], columns: Sequence[list[str | None]]) -> dict[str, list[str | None]]:
    """Columns by name, each name once."""
    found: dict[str, list[str | None]] = {}
    for name in dict.fromkeys(names):
        same = [column for other, column in zip(names, columns, strict=True) if other == name]
        if all(column == same[0] for column in same):
            found[name] = same[0]
        else:
            found |= {f"{name}:{i}": column for i, column in enumerate(same, 1)}
    return found
