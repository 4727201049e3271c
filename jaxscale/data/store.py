"""A corpus as integers on disk: tokenized once, split by document, shuffled once, read through memory maps.

    store = prepare(config.Corpus(), config.Tokenizer(), "runs/text_loss/corpus")
    store.train.tokens, store.held_out.tokens           # memory maps of integers

A document's content decides everything about it: whether it is a duplicate, whether it is held out, and the place of
its passages in the shuffled order. Neither the order of the files nor other documents move it.
"""

import array
import contextlib
import dataclasses
import hashlib
import itertools
import os
import pathlib
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np

from jaxscale import files
from jaxscale.config import Corpus, Tokenizer
from jaxscale.config.types import check_types, require
from jaxscale.data import corpora, passages, tokenizers
from jaxscale.errors import InputError

# Hears of progress, a sentence at a time.
Report = Callable[[str], None]
# Characters: documents of which half are shorter may well be lines of longer ones.
SHORT = 300


@dataclasses.dataclass(frozen=True)
class Split:
    """Tokens of many pieces: `tokens[starts[i]:starts[i + 1]]` is piece i.

    A piece is a document ended by end-of-text or, in training with `corpus.passage`, a passage of one.
    """

    tokens: np.ndarray
    starts: np.ndarray


@dataclasses.dataclass(frozen=True)
class Store:
    """A prepared corpus. `train` and `held_out` are memory-mapped; `facts` counts what was read."""

    train: Split
    held_out: Split
    vocab_size: int
    facts: dict[str, Any]


def prepare(
    corpus: Corpus,
    tokenizer: Tokenizer,
    folder: str | os.PathLike[str],
    report: Report = lambda text: None,
    *,
    documents: corpora.Given | None = None,
) -> Store:
    """Reads, deduplicates, splits, tokenizes and shuffles a corpus into `folder`, unless that was done before.

    Args:
      corpus: a `config.Corpus`.
      tokenizer: a `config.Tokenizer`; BPE is trained on the training documents only.
      folder: where the tokens live; written under another name first, so it is whole or absent.
      report: called with a sentence now and then, and at the end, whether the corpus was read or found, with what was
        read of it and what was left out (`account`).
      documents: those of a corpus of kind "python": texts, (name, text) pairs or `Document`s, in a list or whatever
        else can be gone through several times, or a function without arguments that gives such. They are read only
        where `folder` was not prepared before.

    Returns:
      A `Store`.

    Raises:
      InputError: the corpus cannot be read, has no held-out document, or does not support the vocabulary; or `folder`
        was prepared from another corpus or tokenizer.
      RunError: the disk is full.
    """
    for name, value, kind in (("corpus", corpus, Corpus), ("tokenizer", tokenizer, Tokenizer)):
        require(value, kind, name)
        check_types(value, f"{name}.")
    folder = pathlib.Path(folder)
    asked = {"corpus": dataclasses.asdict(corpus), "tokenizer": dataclasses.asdict(tokenizer)}
    if (folder / "facts.json").is_file():
        if _with_defaults(files.read_json(folder / "config.json")) != asked:
            raise InputError(f"{str(folder)!r} holds another corpus or tokenizer. Use another --workdir, or delete it.")
        return _reported(open_store(folder), report)
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with files.full_disk_told(folder):
            _build(corpus, tokenizer, part, report, documents)
            files.write_json(part / "config.json", asked)
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _reported(open_store(folder), report)


def _with_defaults(asked: Any) -> Any:
    """What a folder was prepared from, with the fields that there were not yet as they are by default."""
    if not isinstance(asked, dict) or not all(isinstance(asked.get(name), dict) for name in ("corpus", "tokenizer")):
        return asked
    defaults = {"corpus": dataclasses.asdict(Corpus()), "tokenizer": dataclasses.asdict(Tokenizer())}
    return asked | {name: fields | asked[name] for name, fields in defaults.items()}


def open_store(folder: str | os.PathLike[str]) -> Store:
    """The `Store` that `prepare` left in `folder`. Raises InputError if files of it are missing or damaged."""
    folder = pathlib.Path(folder)
    facts = files.read_json(folder / "facts.json", ("dtype", "vocab_size", "tokens_train", "tokens_held_out"))

    def split(name: str) -> Split:
        try:
            tokens = np.memmap(folder / f"{name}.bin", dtype=facts["dtype"], mode="r")
            starts, wanted = np.load(folder / f"{name}_starts.npy", allow_pickle=False), facts[f"tokens_{name}"]
            if not len(tokens) == starts[-1] == wanted:
                raise ValueError(
                    f"{len(tokens)} tokens in pieces that end at {starts[-1]}, where {wanted} were written"
                )
        except (OSError, ValueError, EOFError, TypeError, IndexError) as error:
            raise InputError(
                f"{str(folder)!r} is damaged in {name}.bin or {name}_starts.npy: {error}. Delete it; the same command "
                "prepares it again."
            ) from None
        return Split(tokens, starts)

    return Store(split("train"), split("held_out"), facts["vocab_size"], facts)


def account(facts: Mapping[str, Any]) -> list[str]:
    """What was read of a corpus and what was left out, as sentences; `facts` are those of a `Store`."""

    def of(*names: str) -> list[str]:
        return [f"{facts[name]:,}" if name in facts else "?" for name in names]

    said = [
        "corpus {}: {} documents read, of which {} duplicate and {} empty ones are left out".format(
            repr(facts["kind"]), *of("documents_read", "duplicates_removed", "documents_empty")
        ),
        "to train on: {} documents, {} tokens; held out: {} documents, {} tokens; all: {} bytes".format(
            *of("documents_train", "tokens_train", "documents_held_out", "tokens_held_out", "bytes")
        ),
    ]
    skipped = facts.get("skipped", {})
    if skipped:
        each = [f"{count:,} {reason} ({facts['skipped_first'][reason]!r} first)" for reason, count in skipped.items()]
        said.append(f"skipped: {'; '.join(each)}")
    elif "skipped" in facts:
        said.append("skipped: nothing")
    else:
        said.append("skipped: not counted, nor are bytes and empty documents: an earlier version prepared this corpus")
    middle = facts.get("median_characters")
    if middle is not None and middle < SHORT:
        said.append(
            f"half of the documents have at most {middle:,} characters: if they are lines or sentences of longer "
            "texts, neighbors are split between training and held-out text. Join them into whole texts first"
        )
    if read := facts.get("files"):
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in read.items())
        said.append(f"files: {sum(read.values()):,} read: {kinds}")
    if changes := facts.get("changes"):
        said.append("texts: " + "; ".join(f"{count:,} {words}" for words, count in changes.items()))
    return said


def _reported(store: Store, report: Report) -> Store:
    for sentence in account(store.facts):
        report(sentence)
    return store


def is_held_out(document: passages.Document, digest: bytes, corpus: Corpus) -> bool:
    """Whether a document with this digest is held out: as it says itself, or by its hash."""
    chosen = document.held_out
    return passages.held_out(digest, corpus.held_out_fraction) if chosen is None else chosen


def _build(
    corpus: Corpus, tokenizer: Tokenizer, folder: pathlib.Path, report: Report, given: corpora.Given | None
) -> None:
    report(f"reading corpus {corpus.kind!r}")
    _refuse_single(corpus, given)
    trained = tokenizers.build(tokenizer, _training_texts(corpus, tokenizer, given))
    trained.save(folder)
    dtype = np.dtype(np.uint16 if trained.vocab_size <= 2**16 else np.uint32)
    facts: dict[str, Any] = {
        "kind": corpus.kind,
        "tokenizer": tokenizer.kind,
        "vocab_size": trained.vocab_size,
        "dtype": dtype.name,
    }
    facts |= nothing_yet() | {"documents_train": 0, "documents_held_out": 0, "characters": 0, "bytes": 0}
    arrivals = {
        "train": _Arrivals(folder, "train", dtype, corpus.passage),
        "held_out": _Arrivals(folder, "held_out", dtype),
    }
    whole, lengths = hashlib.sha256(), array.array("Q")
    with contextlib.ExitStack() as stack:
        for arrival in arrivals.values():
            stack.enter_context(contextlib.closing(arrival.file))
        for document, digest in distinct(corpus, facts, given):
            name = "held_out" if is_held_out(document, digest, corpus) else "train"
            arrivals[name].add(digest, itertools.chain(trained.encode_parts(document.text), [[trained.end_of_text]]))
            facts[f"documents_{name}"] += 1
            facts["characters"] += len(document.text)
            facts["bytes"] += len(document.text.encode("utf-8", "surrogatepass"))
            lengths.append(len(document.text))
            whole.update(digest)
            if facts["documents_read"] % 10_000 == 0:
                report(f"tokenized {facts['documents_read']} documents")
    for name, arrival in arrivals.items():
        if not arrival.lengths:
            raise InputError(
                f"corpus.held_out_fraction={corpus.held_out_fraction} of {facts['documents_read']} documents leaves no "
                f"{name.replace('_', '-')} document. Give more documents or another fraction."
            )
        facts[f"tokens_{name}"] = arrival.shuffled()
    facts["median_characters"] = int(np.median(lengths))
    facts["fingerprint"] = whole.hexdigest()[:16]
    of_python = ("stdlib", "docstrings", "reference", "installed")
    facts["python"] = sys.version.split()[0] if corpus.kind in of_python else None
    files.write_json(folder / "facts.json", facts)


def _refuse_single(corpus: Corpus, given: corpora.Given | None) -> None:
    """Raises InputError if there is no text at all, or a single document, which cannot be split."""
    facts = nothing_yet()
    some = list(itertools.islice(distinct(corpus, facts, given), 2))
    if len(some) == 2:
        return
    ((document, _),) = some
    text, found = document.text, []
    for name, separator in (("<|endoftext|>", "<|endoftext|>"), ("blank lines", passages.BLANK_LINE)):
        if times := sum(1 for _ in passages.separator(separator).finditer(text)):
            found.append(f"it has {times:,} {name}, for corpus.separator={separator!r}")
    if corpus.passage_characters is not None:
        remedy = f"Lower corpus.passage_characters={corpus.passage_characters}, which is all of it, or give more text."
    else:
        there = f" ({'; '.join(found)})" if found else ""
        separate = f"Set corpus.separator to what separates its documents{there}"
        remedy = (
            f"{separate if corpus.kind == 'files' else 'Give more documents'}, or set corpus.passage_characters, such "
            f"as {min(10_000, 1 + len(text) // 20)}, to cut it into passages with gaps."
        )
    raise InputError(
        f"corpus.held_out_fraction={corpus.held_out_fraction} of a single document, {document.name!r} of "
        f"{len(text):,} characters, leaves no held-out document. {remedy}"
    )


def nothing_yet() -> dict[str, Any]:
    """Facts before anything is read."""
    counts = {"documents_read": 0, "duplicates_removed": 0, "documents_empty": 0}
    return counts | {"skipped": {}, "skipped_first": {}, "files": {}, "changes": {}}


def distinct(
    corpus: Corpus, facts: MutableMapping[str, Any], given: corpora.Given | None = None
) -> Iterator[tuple[passages.Document, bytes]]:
    """Documents and digests, exact duplicates and empty documents left out; counts into `facts`, of `nothing_yet`."""

    def skip(reason: str, name: str) -> None:
        facts["skipped"][reason] = facts["skipped"].get(reason, 0) + 1
        # A file's name need not be UTF-8, which `facts.json` is.
        facts["skipped_first"].setdefault(reason, name.encode("utf-8", "replace").decode())

    def count(group: str, words: str, number: int) -> None:
        facts[group][words] = facts[group].get(words, 0) + number

    seen = set()
    for document in corpora.documents(corpus, skip, count=count, given=given):
        facts["documents_read"] += 1
        digest = passages.digest(document.text, corpus.seed)
        if not document.text or digest in seen:
            facts["duplicates_removed" if document.text else "documents_empty"] += 1
            continue
        seen.add(digest)
        yield document, digest
    if not seen:
        skipped = ", ".join(f"{count} {reason}" for reason, count in facts["skipped"].items()) or "nothing"
        raise InputError(
            f"corpus.kind={corpus.kind!r} gave no text: every document is empty ({facts['documents_read']} were read), "
            f"and what was skipped is: {skipped}. Give text to read."
        )


def _training_texts(corpus: Corpus, tokenizer: Tokenizer, given: corpora.Given | None) -> Iterator[str]:
    """Texts the tokenizer may see: distinct training documents, at most `tokenizer.training_documents`."""
    seen: set[bytes] = set()
    for document in corpora.documents(corpus, given=given):
        digest = passages.digest(document.text, corpus.seed)
        if digest in seen or is_held_out(document, digest, corpus):
            continue
        seen.add(digest)
        yield document.text
        if len(seen) >= tokenizer.training_documents:
            return


class _Arrivals:
    """Documents appended to a file as they come; `shuffled` rewrites it in the order of their passages' digests."""

    def __init__(self, folder: pathlib.Path, name: str, dtype: np.dtype, passage: int | None = None) -> None:
        self.folder, self.name, self.dtype, self.passage = folder, name, dtype, passage
        self.file = open(folder / f"{name}.arrivals", "wb")  # noqa: SIM115  closed by the one who holds it
        self.places: list[int] = []
        self.lengths: list[int] = []

    def add(self, digest: bytes, parts: Iterable[Sequence[int]]) -> None:
        """A document, its tokens in parts."""
        length = 0
        for tokens in parts:
            self.file.write(np.asarray(tokens, self.dtype).tobytes())  # unlike tofile, says why a disk refuses
            length += len(tokens)
        for start in range(0, length, self.passage or length):
            place = hashlib.blake2b(start.to_bytes(8, "big"), digest_size=8, key=digest).digest()
            self.places.append(int.from_bytes(place, "big"))
            self.lengths.append(min(self.passage or length, length - start))

    def shuffled(self) -> int:
        """Writes `name.bin` and `name_starts.npy`; returns the number of tokens."""
        lengths = np.asarray(self.lengths, np.int64)
        ends = np.cumsum(lengths)
        order = np.argsort(np.asarray(self.places, np.uint64), kind="stable")
        size = self.dtype.itemsize
        # Read and not mapped: what is mapped counts as memory of the process.
        with (
            open(self.folder / f"{self.name}.arrivals", "rb") as arrivals,
            open(self.folder / f"{self.name}.bin", "wb") as file,
        ):
            for i in order:
                arrivals.seek(int(ends[i] - lengths[i]) * size)
                file.write(arrivals.read(int(lengths[i]) * size))
        np.save(self.folder / f"{self.name}_starts.npy", np.concatenate([[0], np.cumsum(lengths[order])]))
        (self.folder / f"{self.name}.arrivals").unlink()
        return int(ends[-1])
