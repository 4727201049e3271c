"""Cells of text as the numbers that people write: 1,234,567 and 1.234.567, 3.25 and 3,25, 70M, 1.3B and 1e9.

    convert(rows, ";")      # in every column the numbers, by what the whole column says of its decimals

A point is a decimal point unless the file writes decimals with a comma. A comma is one or the other by the cells of its
own column; where these do not tell, the cell stays text that knows what to say to whoever needs the number.
"""

import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

Decimal = Literal["auto", "comma", "point"]
DECIMALS = ("auto", "comma", "point")
MISSING = frozenset({"", "na", "n/a", "#n/a", "#na", "null", "none", "-", "--", "—", "."})

_UNITS = {"": 0, "k": 3, "m": 6, "b": 9, "g": 9, "t": 12}
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?P<body>\d[\d.,'_ ]*|[.,]\d+)(?:e(?P<exponent>[+-]?\d{1,5}))? ?(?P<unit>[kmbgt]?)", re.IGNORECASE
)
# Thousands apart by what is never a decimal mark.
_APART = re.compile(r"\d{1,3}([ _'])\d{3}(?:\1\d{3})*(?:[.,]\d*)?")
_PLAIN = re.compile(r"\d*\.?\d*")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d*)?")
_OTHER_MARK = str.maketrans(",.", ".,")
_SPACES = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u2009": " ", "\u2212": "-", "\u2019": "'"})


class Undecided(str):
    """A cell that looks like a number and is not known to be one; `why` says so to whoever needs the number."""

    why: str

    def __new__(cls, cell: str, why: str) -> "Undecided":
        undecided = super().__new__(cls, cell)
        undecided.why = why
        return undecided


def readings(cell: str) -> dict[str, float]:
    """What a text may say, by the mark of its decimals: under "point" and "comma", as far as it can be read so."""
    match = _NUMBER.fullmatch(cell.strip().translate(_SPACES))
    if match is None:
        return {}
    body = match["body"].strip()
    if apart := bool(_APART.fullmatch(body)):
        body = re.sub(r"[ _']", "", body)
    found = {}
    for mark, written in (("point", body), ("comma", body.translate(_OTHER_MARK))):
        if not apart and _GROUPED.fullmatch(written):
            written = written.replace(",", "")
        if _PLAIN.fullmatch(written) and written != ".":
            exponent = int(match["exponent"] or 0) + _UNITS[match["unit"].lower()]
            found[mark] = float(f"{match['sign']}{written}e{exponent}")
    return found


def sure(cell: str) -> float | None:
    """A text as a number where only one is meant, or None."""
    if isinstance(cell, Undecided):
        return None
    try:
        if "_" not in cell:
            return float(cell)
    except ValueError:
        pass
    found = set(readings(cell).values())
    return found.pop() if len(found) == 1 else None


def convert(
    rows: Sequence[Mapping[str, Any]], delimiter: str = ",", decimal: Decimal = "auto", texts: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Rows with the numbers that their texts are; other cells are left alone, and what is missing becomes None.

    Args:
      rows: by column.
      delimiter: of the file. Beside a comma a lone comma in a cell stands between thousands.
      decimal: what all columns write decimals with; "auto" for what each says itself.
      texts: columns that hold no numbers, whatever they look like.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    read = {name: _readings(cells) for name, cells in columns.items() if name not in texts}
    numeric = {name: found for name, found in read.items() if found is not None}
    commas = any(_only("comma", found) and not _only("point", found) for found in numeric.values())
    for name, found in numeric.items():
        mark = _mark(found, delimiter, decimal, commas)
        columns[name] = [_number(cell, found, mark) if isinstance(cell, str) else cell for cell in columns[name]]
    return [{name: columns[name][i] for name in row} for i, row in enumerate(rows)]


def _readings(cells: Sequence[Any]) -> dict[str, dict[str, float]] | None:
    """What each text of a column may say; None for a column that holds words, in at least half of its texts."""
    written = {cell for cell in cells if isinstance(cell, str)}
    found = {cell: _fast(cell) or readings(cell) for cell in written}
    told = [cell for cell in cells if isinstance(cell, str) and not _missing(cell)]
    return found if 2 * sum(bool(found[cell]) for cell in told) > len(told) else None


def _fast(cell: str) -> dict[str, float]:
    """Readings of what has no mark in it and needs no rules, infinities and NaN among them."""
    if "." in cell or "_" in cell:
        return {}
    try:
        return dict.fromkeys(("point", "comma"), float(cell))
    except ValueError:
        return {}


def _missing(cell: str) -> bool:
    return cell.strip().lower() in MISSING


def _only(mark: str, found: Mapping[str, Mapping[str, float]]) -> bool:
    """Whether some cell can be read in one way alone."""
    return any(set(reading) == {mark} for reading in found.values())


def _mark(
    found: Mapping[str, Mapping[str, float]], delimiter: str, decimal: Decimal, commas: bool
) -> Literal["comma", "point", "unknown"]:
    """What a column writes decimals with, as far as it matters."""
    if decimal != "auto":
        return decimal
    point, comma = _only("point", found), _only("comma", found)
    if point != comma:
        return "point" if point else "comma"
    if delimiter == ",":
        return "point"
    doubtful = [cell for cell, reading in found.items() if len(set(reading.values())) > 1]
    # Both at once: nothing that has a mark is known.
    return "unknown" if point or commas or any("," in cell for cell in doubtful) else "point"


def _number(cell: str, found: Mapping[str, Mapping[str, float]], mark: str) -> float | str | None:
    reading = found[cell]
    if not reading:
        return None if _missing(cell) else cell
    if len(reading) == 2 and (reading["point"] == reading["comma"] or math.isnan(reading["point"])):
        return reading["point"]
    if mark in reading:
        return reading[mark]
    if mark != "unknown":
        (other,) = reading
        return Undecided(
            cell,
            f"is no number with a decimal {mark}. Write all decimals of the column alike, or say --decimal {other}",
        )
    meant = " or ".join(f"{value:.12g} (--decimal {way})" for way, value in sorted(reading.items()))
    return Undecided(cell, f"may be {meant}, and its column does not tell. Say --decimal comma or --decimal point")
