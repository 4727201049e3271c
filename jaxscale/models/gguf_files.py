"""GGUF, the files of llama.cpp: metadata, tensors, and the tokenizer in the metadata.

file = GGUF.open("model.gguf")                    # needs the package `gguf`
file.entry("llama.block_count"), file.tensors()["token_embd.weight"], file.tokenizer()
"""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxscale.errors import InputError

if TYPE_CHECKING:
    import tokenizers

INSTALL = "pip install gguf"
# Kinds of entries of a vocabulary that are no text: those that steer, and those that nothing is made of.
CONTROL, USER_DEFINED = 3, 4
# How byte-level BPE cuts text before it merges, by the names of llama.cpp: as GPT-2 does, which the library knows;
# digits one by one before that; or by a pattern.
DIGITS_APART = ("smollm", "starcoder", "refact")
PATTERNS = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+",
}
BEFORE_MERGES = ("gpt-2", *DIGITS_APART, *PATTERNS)


@dataclasses.dataclass(frozen=True)
class GGUF:
    """An open file.

    Attributes:
      path: where it is.
      metadata: its entries by name.
      reader: that of the package `gguf`.
    """

    path: str
    metadata: Mapping[str, Any]
    reader: Any

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> "GGUF":
        """Reads the metadata and where tensors lie.

        Raises:
          InputError: the package `gguf` is not installed, there is no such file, or it is damaged.
        """
        path = os.fspath(path)
        gguf = _package(path)
        if not pathlib.Path(path).is_file():
            raise InputError(f"model={path!r} is not there. Give the path of a GGUF file.")
        try:
            reader = gguf.GGUFReader(path)
            metadata = {name: field.contents() for name, field in reader.fields.items()}
        except Exception as error:  # a damaged file may fail anywhere in the package
            raise InputError(f"model={path!r} cannot be read as GGUF: {_said(error)}. Fetch it again.") from error
        return cls(path, metadata, reader)

    def entry(self, name: str) -> Any:
        """An entry of the metadata. Raises InputError if it is missing."""
        if name not in self.metadata:
            raise InputError(f"model={self.path!r}: its metadata does not say {name!r}. Give a whole GGUF file.")
        return self.metadata[name]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the tensors by name, rows first."""
        return {tensor.name: tuple(int(size) for size in reversed(tensor.shape)) for tensor in self.reader.tensors}

    def tensors(self) -> dict[str, np.ndarray]:
        """The tensors by name, float32, rows first; quantized ones as the numbers they stand for.

        Raises:
          InputError: one is damaged, or quantized in a way that the package does not know.
        """
        gguf, shapes = _package(self.path), self.shapes()
        found = {}
        for tensor in self.reader.tensors:
            try:
                values = np.asarray(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
                found[tensor.name] = values.reshape(shapes[tensor.name])
            except Exception as error:  # the package raises several
                raise InputError(
                    f"model={self.path!r}: tensor {tensor.name!r} of type {tensor.tensor_type.name} cannot be read: "
                    f"{_said(error)}. Fetch the file again, or give one of another quantization."
                ) from error
        return found

    def tokenizer(self) -> "tokenizers.Tokenizer":
        """The tokenizer in the metadata, a byte-level BPE; text that spells out a special entry is text.

        Raises:
          InputError: it is of another kind, or cuts text in a way that is not known here; the kind is named.
        """
        import tokenizers
        from tokenizers import decoders, models, pre_tokenizers, processors

        remedy = "Give a folder with config.json, safetensors and tokenizer.json instead"
        kind = self.entry("tokenizer.ggml.model")
        if kind != "gpt2":
            raise InputError(
                f"model={self.path!r}: its tokenizer is of kind {kind!r}; of GGUF files only byte-level BPE, kind "
                f"'gpt2', is read. {remedy}."
            )
        cut = self.metadata.get("tokenizer.ggml.pre", "gpt-2")
        if cut not in BEFORE_MERGES:
            raise InputError(
                f"model={self.path!r}: its tokenizer cuts text as {cut!r} does; known are {', '.join(BEFORE_MERGES)}. "
                f"{remedy}."
            )
        entries = self.entry("tokenizer.ggml.tokens")
        numbers = {entry: number for number, entry in enumerate(entries)}
        merges = [tuple(merge.split(" ")) for merge in self.entry("tokenizer.ggml.merges")]
        try:
            inner = tokenizers.Tokenizer(models.BPE(numbers, merges, ignore_merges=cut == "llama-bpe"))
        except Exception as error:  # the library raises no other type
            raise InputError(
                f"model={self.path!r}: its tokenizer is damaged: {_said(error)}. Fetch it again."
            ) from error
        whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=cut not in PATTERNS)
        if cut in PATTERNS:
            first = pre_tokenizers.Split(tokenizers.Regex(PATTERNS[cut]), "isolated")
            inner.pre_tokenizer = pre_tokenizers.Sequence([first, whole])
        elif cut in DIGITS_APART:
            inner.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), whole])
        else:
            inner.pre_tokenizer = whole
        inner.decoder = decoders.ByteLevel()
        kinds = self.metadata.get("tokenizer.ggml.token_type", [])
        of_kind: Callable[[int], list[str]] = lambda wanted: [
            entry for entry, kind in zip(entries, kinds, strict=False) if kind == wanted
        ]
        inner.add_special_tokens(of_kind(CONTROL))
        inner.add_tokens(of_kind(USER_DEFINED))
        inner.encode_special_tokens = True
        if self.metadata.get("tokenizer.ggml.add_bos_token", cut == "llama-bpe"):
            begin = self.entry("tokenizer.ggml.bos_token_id")
            inner.post_processor = processors.TemplateProcessing(
                single=f"{entries[begin]} $A", special_tokens=[(entries[begin], begin)]
            )
        return inner


def _package(path: str) -> Any:
    try:
        import gguf
    except ImportError:
        raise InputError(f"model={path!r} needs the package 'gguf'. Install it with: {INSTALL}") from None
    return gguf


def _said(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
