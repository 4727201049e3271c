"""Contexts of real documents: windows of tokens. Each held-out document serves one purpose."""

import dataclasses
import hashlib
import heapq
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from jaxscale import files
from jaxscale.data.store import distinct, is_held_out, nothing_yet
from jaxscale.errors import InputError
from jaxscale.studies.teacher.config import TeacherStudy

# What a window is for. A held-out document serves one purpose.
PARTS = ("training", "validation", "geometry", "test")
ARRAYS = ("tokens", "document", "part")
# Of the held-out documents; the rest is to test on.
VALIDATION, GEOMETRY = 0.25, 0.25


@dataclasses.dataclass(frozen=True)
class Windows:
    """Windows of documents, those to train on first.

    Attributes:
      tokens: (W, T + 1) int32; the last token only says what came next.
      document: (W,) int32, which document a window is from.
      part: (W,) int8, its place in `PARTS`.
      facts: counts of the documents and tokens that were read.
    """

    tokens: np.ndarray
    document: np.ndarray
    part: np.ndarray
    facts: dict[str, Any]

    def of(self, part: str) -> np.ndarray:
        """Places of the windows of a part, (w,)."""
        return np.flatnonzero(self.part == PARTS.index(part))

    def save(self, folder: pathlib.Path) -> None:
        """Writes them into a folder that exists, `facts.json` last."""
        for name in ARRAYS:
            files.write_array(folder / f"{name}.npy", getattr(self, name))
        files.write_json(folder / "facts.json", self.facts)


def load(folder: pathlib.Path) -> Windows:
    """What `Windows.save` wrote."""
    tokens, document, part = (np.load(folder / f"{name}.npy", allow_pickle=False) for name in ARRAYS)
    return Windows(tokens, document, part, files.read_json(folder / "facts.json", ()))


def of_text(study: TeacherStudy, encode: Callable[[str], list[int]]) -> Windows:
    """Windows of a study's corpus, drawn by hashes of content: no document moves another's.

    Raises:
      InputError: the corpus cannot be read, or has too few documents as long as a window.
    """
    wanted, length = study.contexts, study.contexts.window + 1
    facts: dict[str, Any] = nothing_yet() | {"documents_short": 0, "tokens": 0}
    training: list[tuple[int, int, list[int]]] = []  # a heap of those drawn, the last drawn on top
    documents: list[tuple[int, list[list[int]]]] = []
    for number, (document, digest) in enumerate(distinct(study.corpus, facts)):
        tokens = encode(document.text)
        facts["tokens"] += len(tokens)
        starts = range(0, len(tokens) - length + 1, length)
        if not starts:
            facts["documents_short"] += 1
            continue
        places = sorted((_place(digest, start), start) for start in starts)
        if is_held_out(document, digest, study.corpus):
            drawn = [tokens[start : start + length] for _, start in places[: wanted.windows_per_document]]
            documents.append((_place(digest, -1), drawn))
            continue
        for place, start in places:
            window = (-place, number, tokens[start : start + length])
            if len(training) < wanted.training:
                heapq.heappush(training, window)
            elif window > training[0]:
                heapq.heapreplace(training, window)
            else:
                break  # those after it come later still
    if len(training) < wanted.training:
        raise InputError(
            f"contexts.training={wanted.training}: the training documents hold only {len(training)} windows of "
            f"{length} tokens. Give more text, or lower contexts.training and sizes."
        )
    chosen = [(tokens, number, 0) for _, number, tokens in sorted(training, reverse=True)]
    chosen += _held_out(study, documents, len(chosen))
    facts["windows"] = len(chosen)
    columns = zip(*chosen, strict=True)
    tokens_WxT, document_W, part_W = (np.asarray(list(column)) for column in columns)
    return Windows(tokens_WxT.astype(np.int32), document_W.astype(np.int32), part_W.astype(np.int8), facts)


def _held_out(
    study: TeacherStudy, documents: list[tuple[int, list[list[int]]]], first: int
) -> list[tuple[list[int], int, int]]:
    """Windows of held-out documents with numbers of their own and the part of each document."""
    found: list[tuple[list[int], int, int]] = []
    documents = sorted(documents)
    wanted = study.contexts.held_out
    total = sum(len(windows) for _, windows in documents)
    if total < wanted:
        raise InputError(
            f"contexts.held_out={wanted}: the {len(documents)} held-out documents that are long enough give {total} "
            "windows. Raise corpus.held_out_fraction or contexts.windows_per_document, give more text, or lower it."
        )
    for number, (_, windows) in enumerate(documents):
        share = len(found) / wanted
        part = 1 if share < VALIDATION else 2 if share < VALIDATION + GEOMETRY else 3
        found += [(tokens, 1_000_000_000 + number, part) for tokens in windows]
        if len(found) >= wanted:
            break
    return found


def _place(digest: bytes, start: int) -> int:
    """Where in a random order a window of a document comes, or the document itself."""
    hashed = hashlib.blake2b(start.to_bytes(8, "big", signed=True), digest_size=8, key=digest).digest()
    return int.from_bytes(hashed, "big")
