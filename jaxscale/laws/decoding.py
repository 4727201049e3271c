"""The bytes of a file as text: decompressed by what they begin with, decoded by their byte-order mark.

text(content(path))      # runs.csv, runs.csv.gz, what Excel calls Unicode text, …
"""

import bz2
import codecs
import gzip
import importlib
import io
import lzma
import pathlib
import zlib
from collections.abc import Callable

from jaxscale.errors import InputError

COMPRESSED = (".gz", ".gzip", ".bz2", ".xz", ".zst", ".zstd")
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_NO_TEXT = ((b"PK\x03\x04", "a ZIP archive or a workbook of Excel"), (b"\xd0\xcf\x11\xe0", "a workbook of old Excel"))
# Errors of the decompressors of Python. Those of zstd have one for each library.
_DAMAGE = (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError)


class Unreadable(ValueError):
    """Why a file is no table, and what to do about it, in two sentences."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def bare(path: pathlib.Path) -> pathlib.Path:
    """`path` without the ending of a compression: runs.csv of runs.csv.gz."""
    return path.with_suffix("") if path.suffix.lower() in COMPRESSED else path


def content(path: pathlib.Path) -> bytes:
    """What a file holds, decompressed. A name says nothing of it: what is called .gz may have been unpacked on its way.

    Raises:
      OSError: the file cannot be read.
      Unreadable: it is damaged.
      InputError: it is compressed by zstd, and no package that is installed reads that.
    """
    data = path.read_bytes()
    for magic, decompress in _COMPRESSIONS:
        if data.startswith(magic):
            try:
                return decompress(data)
            except InputError:
                raise
            except _DAMAGE as error:
                raise Unreadable(
                    f"it is compressed, and damaged or cut off ({error})", "Copy or compress it anew."
                ) from None
    return data


def text(data: bytes) -> str:
    """Bytes as text: UTF-8, or what the byte-order mark says.

    Raises:
      Unreadable: they are no text.
    """
    for magic, kind in _NO_TEXT:
        if data.startswith(magic):
            raise Unreadable(f"it is {kind}", "Export the table as .csv.")
    mark, encoding = next((pair for pair in _BYTE_ORDER_MARKS if data.startswith(pair[0])), (b"", "utf-8"))
    try:
        found = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {data[len(mark) + error.start]:#04x} at offset {len(mark) + error.start}"
        raise Unreadable(f"it is not {encoding.upper()} ({where})", "Save it as UTF-8.") from None
    if "\0" in found:
        raise Unreadable("it holds binary data, or UTF-16 without a byte-order mark", "Save it as UTF-8.")
    return found


def _zstd(data: bytes) -> bytes:
    readers: dict[str, Callable[..., bytes]] = {
        "compression.zstd": lambda zstd: zstd.decompress(data),  # of Python 3.14
        "zstandard": lambda zstd: (
            zstd.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
        ),
        "pyarrow": lambda arrow: arrow.CompressedInputStream(arrow.BufferReader(data), "zstd").read(),
    }
    for name, read in readers.items():
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        try:
            return read(module)
        except Exception as error:  # each library has its own
            raise OSError(str(error)) from None
    raise InputError("the table is compressed by zstd. Install a package that reads it: pip install zstandard")


_COMPRESSIONS: tuple[tuple[bytes, Callable[[bytes], bytes]], ...] = (
    (b"\x1f\x8b\x08", gzip.decompress),
    (b"BZh", bz2.decompress),
    (b"\xfd7zXZ\x00", lzma.decompress),
    (b"\x28\xb5\x2f\xfd", _zstd),
)
