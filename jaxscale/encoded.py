"""How files are compressed and encoded, detected from their first bytes and not from their names.

stream, ending = decompressed(open("a.txt.gz", "rb"))        # a stream of what was compressed, and ".gz"
"""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import pathlib
import re
import zlib
from collections.abc import Callable
from typing import Any

ENDINGS = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd")
# Errors of the system and of decompressors.
DAMAGE = (OSError, EOFError, zlib.error, lzma.LZMAError)
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# Control characters that no text has: all but tab, backspace, escape and the ends of lines and pages.
_CONTROL = bytes(set(range(32)) - set(b"\t\b\x1b\n\v\f\r")) + b"\x7f"


def bare(path: pathlib.Path) -> pathlib.Path:
    """`path` without the ending of a compression: runs.csv of runs.csv.gz."""
    return path.with_suffix("") if path.suffix.lower() in ENDINGS else path


def mark(data: bytes) -> tuple[bytes, str]:
    """The byte-order mark that `data` begins with, and the encoding it stands for; empty where there is none."""
    return next((pair for pair in _MARKS if data.startswith(pair[0])), (b"", ""))


def is_binary(data: bytes) -> bool:
    """Whether bytes that are not UTF-8 are no text in any other encoding either: whether a hundredth are controls."""
    some = data[: 1 << 16]
    return len(some) - len(some.translate(None, _CONTROL)) > len(some) / 100


def detected(stream: io.BufferedReader) -> str | None:
    """The encoding of a text without a byte-order mark, as Python calls it: UTF-8 if it is that, else a good guess.

    None for what seems to be no text.

    Raises:
      ModuleNotFoundError: it is not UTF-8, and charset_normalizer, which detects others, is not installed.
    """
    decoder, head, some = codecs.getincrementaldecoder("utf-8")(), b"", b""
    while True:
        data = stream.read(1 << 18)
        if not head:
            head = some = data[: 1 << 16]
            if data.count(b"\0") > len(data) / 4:  # of every two bytes of UTF-16 one, for letters of Europe
                return "utf-16-le" if data[1::2].count(b"\0") > data[::2].count(b"\0") else "utf-16-be"
        try:
            decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            some = head + error.object[max(0, error.start - (1 << 15)) : error.start + (1 << 15)]
            break
        if not data:
            return "utf-8"
    if is_binary(head):
        return None
    import charset_normalizer

    best = charset_normalizer.from_bytes(some).best()
    return None if best is None else codecs.lookup(best.encoding).name


def decompressed(file: io.BufferedReader) -> tuple[io.BufferedReader, str]:
    """What gzip, bzip2, xz or zstd compressed, and the usual ending of such files; or the file itself, and "".

    Reading the stream raises one of `DAMAGE` where the file is damaged or cut off.

    Raises:
      ModuleNotFoundError: the file is compressed by zstd, and no package that is installed reads that.
    """
    head = file.peek(16)
    for ending, magic, opened in _COMPRESSIONS:
        if magic.match(head):
            return io.BufferedReader(opened(file), 1 << 16), ending
    return file, ""


def _zstd(file: io.BufferedReader) -> io.RawIOBase:
    for name, opened in _ZSTD.items():
        try:
            return _WithOSErrors(opened(importlib.import_module(name), file))
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError("no package that is installed reads zstd", name="zstandard")


def _by_pyarrow(pyarrow: Any, file: io.BufferedReader) -> Any:
    # By name where there is one: it would close a file of ours.
    name = getattr(file, "name", None)
    return pyarrow.CompressedInputStream(name if isinstance(name, str) else pyarrow.BufferReader(file.read()), "zstd")


class _WithOSErrors(io.RawIOBase):
    """A stream that raises OSError where its library raises errors of its own type."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        try:
            data = self.stream.read(len(into))
        except Exception as error:  # each library has its own
            raise OSError(str(error)) from None
        into[: len(data)] = data
        return len(data)


_ZSTD: dict[str, Callable[[Any, io.BufferedReader], Any]] = {
    "compression.zstd": lambda zstd, file: zstd.ZstdFile(file),  # of Python 3.14
    "zstandard": lambda zstd, file: zstd.ZstdDecompressor().stream_reader(file, read_across_frames=True, closefd=False),
    "pyarrow": _by_pyarrow,
}
_COMPRESSIONS: tuple[tuple[str, re.Pattern[bytes], Callable[[io.BufferedReader], Any]], ...] = (
    (".gz", re.compile(rb"\x1f\x8b\x08"), lambda file: gzip.GzipFile(fileobj=file)),
    (".bz2", re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)"), bz2.BZ2File),
    (".xz", re.compile(rb"\xfd7zXZ\x00"), lzma.LZMAFile),
    (".zst", re.compile(rb"\x28\xb5\x2f\xfd"), _zstd),
)
