"""Text to integers and back: bytes, byte-level BPE trained on the training documents, or a published tokenizer.

    tokenizer = build(config.Tokenizer(kind="bpe", vocab_size=512), texts)
    tokenizer.encode("def f(x):")                       # a list of integers below tokenizer.vocab_size

Every tokenizer keeps one entry, `end_of_text`, that separates documents and occurs in none.
"""

import dataclasses
import functools
import json
import os
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, cast

from jaxscale.config import Tokenizer
from jaxscale.errors import InputError

if TYPE_CHECKING:
    import tokenizers

END_OF_TEXT = "<|endoftext|>"
# Characters that are tokenized at once.
PART = 1 << 18
# A space between words: byte-level BPE takes it to what follows, and no entry holds what is on both sides.
_BETWEEN = re.compile(r"(?<=\S)(?= \S)")


@dataclasses.dataclass(frozen=True)
class Bytes:
    """UTF-8 bytes; entry 256 ends a document."""

    vocab_size: int = 257
    end_of_text: int = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def encode_parts(self, text: str) -> Iterator[list[int]]:
        """What `encode` gives, in parts, so that a long text needs less memory."""
        return (self.encode(text[start : start + PART]) for start in range(0, len(text), PART))

    def decode(self, tokens: Iterable[int]) -> str:
        return bytes(t for t in tokens if t < 256).decode(errors="replace")

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Nothing to save: the configuration says it all."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """A tokenizer of the `tokenizers` library with its end-of-text entry."""

    inner: "tokenizers.Tokenizer"

    def __post_init__(self) -> None:
        self.inner.encode_special_tokens = True  # a text that spells end-of-text out is text, and does not end there

    @property
    def vocab_size(self) -> int:
        return self.inner.get_vocab_size()

    @property
    def end_of_text(self) -> int:
        return cast(int, self.inner.token_to_id(END_OF_TEXT))  # it has one, as `_pretrained` makes sure

    def encode(self, text: str) -> list[int]:
        return self.inner.encode(text, add_special_tokens=False).ids

    def encode_parts(self, text: str) -> Iterator[list[int]]:
        """What `encode` gives, in parts where the tokenizer lets it, so that a long text needs less memory."""
        return map(self.encode, _parts(text) if self._is_byte_level else [text])

    @functools.cached_property
    def _is_byte_level(self) -> bool:
        """Whether it is made as `build` makes one, so that no entry goes on over a space into a word."""
        said = json.loads(self.inner.to_str())
        how = said["pre_tokenizer"] or {}
        made = how.get("type") == "ByteLevel" and how.get("use_regex") and not how.get("add_prefix_space")
        added = [entry["content"] for entry in said["added_tokens"]]
        return bool(made and said["normalizer"] is None and added == [END_OF_TEXT])

    def decode(self, tokens: Iterable[int]) -> str:
        return self.inner.decode(list(tokens))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `tokenizer.json`, which any user of the `tokenizers` library can read."""
        self.inner.save(str(pathlib.Path(folder) / "tokenizer.json"))


def build(tokenizer: Tokenizer, texts: Iterable[str]) -> Bytes | Trained:
    """The tokenizer that a `config.Tokenizer` describes; BPE is trained on the iterator `texts`.

    Raises:
      InputError: the texts do not support the vocabulary asked for, or a pretrained one is not found or too small.
    """
    if tokenizer.kind == "bytes":
        return Bytes()
    import tokenizers

    if tokenizer.kind == "pretrained":
        return _pretrained(tokenizers, tokenizer)
    inner = tokenizers.Tokenizer(tokenizers.models.BPE())
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=tokenizer.vocab_size,
        special_tokens=[END_OF_TEXT],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    inner.train_from_iterator((part for text in texts for part in _parts(text)), trainer)
    if inner.get_vocab_size() < tokenizer.vocab_size:
        raise InputError(
            f"tokenizer.vocab_size={tokenizer.vocab_size} is more than the training text supports: its merges end at "
            f"{inner.get_vocab_size()} entries. Ask for at most that many, or give more text."
        )
    return Trained(inner)


def _parts(text: str) -> Iterator[str]:
    """A long text cut between words, after `PART` characters or somewhat more."""
    start = 0
    while len(text) - start > PART and (found := _BETWEEN.search(text, start + PART)):
        yield text[start : found.start()]
        start = found.start()
    yield text[start:]


def load(tokenizer: Tokenizer, folder: str | os.PathLike[str]) -> Bytes | Trained:
    """The tokenizer that `build(...).save(folder)` left there. Raises InputError if it is missing or damaged."""
    if tokenizer.kind == "bytes":
        return Bytes()
    import tokenizers

    path = pathlib.Path(folder) / "tokenizer.json"
    try:
        return Trained(tokenizers.Tokenizer.from_file(str(path)))
    except Exception as error:  # the library raises no other type
        raise InputError(
            f"{str(path)!r} cannot be read as a tokenizer: {error}. Delete the folder; the command that trained on it "
            "prepares it again."
        ) from None


def published(tokenizer: Bytes | Trained) -> "tokenizers.Tokenizer":
    """The same tokenizer as one of the `tokenizers` library, whose `tokenizer.json` others can read."""
    if isinstance(tokenizer, Trained):
        return tokenizer.inner
    import tokenizers

    letters = _letters()
    inner = tokenizers.Tokenizer(tokenizers.models.BPE(vocab={letters[b]: b for b in letters}, merges=[]))
    inner.add_special_tokens([END_OF_TEXT])
    inner.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = tokenizers.decoders.ByteLevel()
    return inner


def token_bytes(tokenizer: "tokenizers.Tokenizer", vocab_size: int, name: str = "the tokenizer") -> tuple[bytes, ...]:
    """What each entry of a tokenizer of the `tokenizers` library spells.

    Args:
      tokenizer: a byte-level BPE, or one that falls back on bytes, as sentencepiece makes them.
      vocab_size: of the model, entries beyond the tokenizer's included.
      name: for messages.

    Returns:
      `vocab_size` byte strings; empty for special entries and those that the tokenizer lacks.

    Raises:
      InputError: the tokenizer is of another kind, whose entries do not stand for bytes.
    """
    said = json.loads(tokenizer.to_str())
    model, decoder = said["model"], json.dumps(said["decoder"])
    spelled: Callable[[str], bytes]
    added = {entry["id"]: entry for entry in said["added_tokens"]}
    if '"ByteLevel"' in decoder:
        bytes_of = {letter: byte for byte, letter in _letters().items()}
        spelled = lambda entry: bytes(bytes_of[letter] for letter in entry)
    elif model.get("byte_fallback"):
        # A byte is written <0x0A>, a space as a low line of its own.
        is_byte = re.compile("<0x[0-9A-F]{2}>").fullmatch
        spelled = lambda entry: bytes([int(entry[3:5], 16)]) if is_byte(entry) else entry.replace("▁", " ").encode()
    else:
        raise InputError(
            f"model={name!r}: the entries of its tokenizer, a {model['type']}, do not stand for bytes. "
            "Give a model with a byte-level tokenizer."
        )
    found = [b""] * vocab_size
    for entry, number in tokenizer.get_vocab(with_added_tokens=True).items():
        if number not in added:
            found[number] = spelled(entry)
        elif not added[number]["special"]:
            found[number] = entry.encode()
    return tuple(found)


def _letters() -> dict[int, str]:
    """How byte-level BPE writes bytes: as the character of that number, but those that print nothing as 256, 257, …."""
    shown = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + i) for i, byte in enumerate(hidden)}


def vocab_size(tokenizer: Tokenizer) -> int:
    """Entries of the tokenizer a `config.Tokenizer` describes, without building it."""
    return Bytes.vocab_size if tokenizer.kind == "bytes" else tokenizer.vocab_size


def _pretrained(tokenizers: ModuleType, tokenizer: Tokenizer) -> Trained:
    try:
        trained = Trained(tokenizers.Tokenizer.from_pretrained(tokenizer.name))
    except Exception as error:  # the hub's client raises types of several libraries
        raise InputError(
            f"tokenizer.name={tokenizer.name!r} cannot be read from the Hugging Face hub: {error}. "
            "Check name and network."
        ) from None
    has_end = trained.inner.token_to_id(END_OF_TEXT) is not None
    if trained.vocab_size != tokenizer.vocab_size or not has_end:
        raise InputError(
            f"tokenizer.vocab_size={tokenizer.vocab_size}, but {tokenizer.name!r} has {trained.vocab_size} entries"
            f"{'' if has_end else f' and no {END_OF_TEXT}'}. Set the true size."
        )
    return trained
