"""The bytes of a file as text: decompressed by what they begin with, decoded by their byte-order mark.

text(content(path))      # runs.csv, runs.csv.gz, what Excel calls Unicode text, …
"""

import io
import pathlib

from jaxscale import encoded
from jaxscale.encoded import bare
from jaxscale.errors import InputError

__all__ = ["Unreadable", "bare", "content", "text"]

_NO_TEXT = ((b"PK\x03\x04", "a ZIP archive or a workbook of Excel"), (b"\xd0\xcf\x11\xe0", "a workbook of old Excel"))


class Unreadable(ValueError):
    """Why a file is no table, and what to do about it, in two sentences."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.remedy = remedy


def content(path: pathlib.Path) -> bytes:
    """What a file holds, decompressed. A name says nothing of it: what is called .gz may have been unpacked on its way.

    Raises:
      OSError: the file cannot be read.
      Unreadable: it is damaged.
      InputError: it is compressed by zstd, and no package that is installed reads that.
    """
    data = path.read_bytes()
    try:
        stream, ending = encoded.decompressed(io.BufferedReader(io.BytesIO(data)))
        return stream.read() if ending else data
    except ModuleNotFoundError as error:
        raise InputError(
            f"the table is compressed by zstd. Install a package that reads it: pip install {error.name}"
        ) from None
    except (*encoded.DAMAGE, ValueError) as error:
        raise Unreadable(f"it is compressed, and damaged or cut off ({error})", "Copy or compress it anew.") from None


def text(data: bytes) -> str:
    """Bytes as text: UTF-8, or what the byte-order mark says.

    Raises:
      Unreadable: they are no text.
    """
    for magic, kind in _NO_TEXT:
        if data.startswith(magic):
            raise Unreadable(f"it is {kind}", "Export the table as .csv.")
    mark, encoding = encoded.mark(data)
    encoding = encoding or "utf-8"
    try:
        found = data[len(mark) :].decode(encoding)
    except UnicodeDecodeError as error:
        where = f"byte {data[len(mark) + error.start]:#04x} at offset {len(mark) + error.start}"
        raise Unreadable(f"it is not {encoding.upper()} ({where})", "Save it as UTF-8.") from None
    if "\0" in found:
        raise Unreadable("it holds binary data, or UTF-16 without a byte-order mark", "Save it as UTF-8.")
    return found
