"""Documents out of long texts, read piece by piece: split where a separator is, or cut into passages with gaps.

pieces = split(["one<|endoftext|>t", "wo"], separator("<|endoftext|>"))        # "one", "two"
document = Document("a.txt", "a long text " * 1000)
passages = cut(document.name, [document.text], 4000, 400, salt=0, fraction=0.1)

A passage that is held out and one that is trained on are never neighbors: of those to train on, `gap` characters are
left out where they touch one that is held out.
"""

import dataclasses
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator

# The separator of a corpus that is one or several lines without any text.
BLANK_LINE = "blank_line"
# Characters: a longer match of a separator may be taken for several; a pattern looks so far back.
LONGEST, BEHIND = 1 << 16, 1 << 8


@dataclasses.dataclass(frozen=True)
class Document:
    """A piece of text that is never split between training and evaluation.

    Attributes:
      name: where it was found.
      text: what it says.
      held_out: whether it is held out; None to decide that by a hash of its text, as for all but passages.
    """

    name: str
    text: str
    held_out: bool | None = None


def digest(text: str, salt: int) -> bytes:
    """16 bytes that decide everything about a document with this text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16, salt=salt.to_bytes(8, "big")).digest()


def held_out(digest: bytes, fraction: float) -> bool:
    """Whether the document with this digest is held out: the digest's first 8 bytes as a number below `fraction`."""
    return int.from_bytes(digest[:8], "big") < fraction * 2**64


def separator(text: str = "", pattern: str = "") -> re.Pattern[str]:
    """What separates documents, as a pattern: "blank_line", another literal `text`, or a regular expression."""
    if pattern:
        return re.compile(pattern, re.MULTILINE)
    return re.compile(r"\n(?:[^\S\n]*\n)+" if text == BLANK_LINE else re.escape(text))


def split(chunks: Iterable[str], pattern: re.Pattern[str]) -> Iterator[str]:
    """The pieces of a text between matches of `pattern`, without the line ends around them; empty ones are left out.

    Memory is bounded by the longest piece. A match of more than 65,536 characters may be found as several.
    """
    before: list[str] = []  # of the piece under way, what no match can begin in any more
    buffer, start, looked = "", 0, 0  # the piece goes on at `start`; no match begins before `looked`

    def matched(end: int) -> Iterator[str]:
        """Pieces that matches end before `end` of the buffer."""
        nonlocal start, looked
        for match in pattern.finditer(buffer, looked):
            if match.end() > end:
                looked = max(looked, min(match.start(), end))
                return
            if match.start() == match.end() <= start and not before:
                continue  # of no width, where a piece begins anyway
            before.append(buffer[start : match.start()])
            yield "".join(before)
            before.clear()
            start = looked = match.end()
        looked = max(looked, end)

    def stripped(pieces: Iterable[str]) -> Iterator[str]:
        return (piece.strip("\r\n") for piece in pieces if not piece.isspace() and piece)

    for chunk in chunks:
        buffer += chunk
        if len(buffer) <= 2 * LONGEST:
            continue
        yield from stripped(matched(len(buffer) - LONGEST))
        keep = max(0, min(looked, len(buffer) - LONGEST) - BEHIND)
        if keep > start:
            before.append(buffer[start:keep])
            start = keep
        buffer, start, looked = buffer[keep:], start - keep, looked - keep
    yield from stripped(matched(len(buffer)))
    yield from stripped(["".join([*before, buffer[start:]])])


def lengths(chunks: Iterable[str], characters: int) -> Iterator[str]:
    """A text cut into pieces of at most `characters`, at the end of a paragraph, a line or a word where one is near.

    All but the last have at least half as many.
    """
    buffer = ""
    for chunk in chunks:
        buffer += chunk
        start = 0
        while len(buffer) - start > characters:
            end = _end(buffer, start, characters)
            yield buffer[start:end]
            start = end
        buffer = buffer[start:]
    if buffer:
        yield buffer


def _end(text: str, start: int, characters: int) -> int:
    for mark in ("\n\n", "\n", " "):
        found = text.rfind(mark, start + characters // 2, start + characters)
        if found >= 0:
            return min(found + len(mark), start + characters)
    return start + characters


def cut(
    name: str,
    chunks: Iterable[str],
    characters: int,
    gap: int,
    *,
    salt: int,
    fraction: float,
    left_out: Callable[[int], None] = lambda characters: None,
) -> Iterator[Document]:
    """Passages of a text, of at most `characters`, held out or not by the hash of what they say.

    Where a passage to train on touches one that is held out, it is `gap` characters shorter, so that at least as many
    lie between the two.

    Args:
      name: of the text; a passage is called `name@START`, by the place in the text where it begins.
      chunks: the text, in parts.
      characters: of a passage at most; those before the last have at least half as many.
      gap: characters, at most half of `characters`.
      salt: of the hash, from 0; the seed of the corpus.
      fraction: of the passages to hold out.
      left_out: called with the number of characters that a gap takes from a passage.
    """
    place, previous, waiting = 0, False, ""
    of_waiting = False
    first = True

    def done(following: bool) -> Iterator[Document]:
        start, end = place, place + len(waiting)
        if not of_waiting:
            start, end = start + gap * previous, end - gap * following
        if (lost := len(waiting) - max(0, end - start)) > 0:
            left_out(lost)
        text = waiting[start - place : max(start, end) - place]
        if text:
            yield Document(f"{name}@{start}", text, of_waiting)

    for piece in lengths(chunks, characters):
        chosen = held_out(digest(piece, salt), fraction)
        if not first:
            yield from done(chosen)
            place, previous = place + len(waiting), of_waiting
        first, waiting, of_waiting = False, piece, chosen
    if first:
        return
    if place == 0:
        yield Document(name, waiting)  # short enough as it is, and like any other document
        return
    yield from done(False)
