"""Writing files so that a reader never sees half of one, and a full disk is told plainly."""

import contextlib
import errno
import fcntl
import io
import json
import os
import pathlib
import re
import shutil
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any, NoReturn

import numpy as np

from jaxscale.errors import InputError, RunError

_writes = True


def only_read(flag: bool) -> None:
    """Of several processes of one program one writes; in the others (`flag` true) this module only reads."""
    global _writes
    _writes = not flag


def writes() -> bool:
    """Whether this process writes files."""
    return _writes


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# What flock says where another holds the lock; anything else means that there are none.
HELD = {errno.EAGAIN, errno.EACCES}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries that write for us (tensorstore under orbax) report the system's error as text in an error of their own. Its
# RESOURCE_EXHAUSTED does not tell: XLA says the same of a device's memory.
FULL_TEXT = re.compile("|".join(re.escape(os.strerror(code)) for code in sorted(FULL)))


def refuse_address(name: str, value: object) -> None:
    """Raises InputError, naming the argument, if `value` is an address such as gs://bucket/folder and not a path.

    Only text is looked at, and paths, in which `//` has become `/`.
    """
    if isinstance(value, str | os.PathLike) and ADDRESS.match(os.fspath(value)):
        raise InputError(
            f"{name}={os.fspath(value)!r} is an address, and jaxscale reads and writes files of this host. Mount the "
            "storage (for a bucket: gcsfuse, mount-s3, blobfuse2) and give the path where it is mounted."
        )


def write_bytes(path: str | os.PathLike[str], data: bytes | memoryview) -> None:
    """Replaces `path` by `data` in one step: after a crash the file holds the old or the new content, never a part.

    Raises:
      RunError: the disk is full or the folder cannot be written to; what was there is untouched.
    """
    _replace(path, lambda file: file.write(data))


def _replace(path: str | os.PathLike[str], fill: Callable[[IO[bytes]], object]) -> None:
    """`write_bytes` of what `fill` writes."""
    if not _writes:
        return
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with full_disk_told(path):
            with open(part, "wb") as file:
                fill(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
    except OSError as error:
        raise RunError(f"cannot write {str(path)!r}: {error.strerror}. Choose a folder you can write to.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """`write_bytes` of text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_array(path: str | os.PathLike[str], array: np.ndarray) -> None:
    """`write_bytes` of an array in NumPy's .npy format."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    write_bytes(path, buffer.getbuffer())


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray]) -> None:
    """`write_bytes` of arrays by name in NumPy's .npz format, however large: no copy is made in memory."""
    _replace(path, lambda file: np.savez(file, allow_pickle=False, **arrays))


def read_arrays(path: str | os.PathLike[str], remedy: str) -> dict[str, np.ndarray]:
    """What `write_arrays` wrote.

    Args:
      path: of the file.
      remedy: a sentence that says what to do if it is damaged.

    Raises:
      RunError: the file is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise RunError(f"{path} is damaged: {error}. {remedy}") from None


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """`write_text` of indented JSON. Non-finite numbers are refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: str | os.PathLike[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """`write_text` of one JSON document a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path: str | os.PathLike[str], fields: Sequence[str] | None = None) -> Any:
    """The JSON document in a file.

    Args:
      path: the file.
      fields: names; with them the document must be an object that has them all.

    Raises:
      InputError: the file, which is named, cannot be read, is not JSON, or lacks a field.
    """
    try:
        value = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as JSON: {error}. Delete it if it was damaged.") from None
    missing = [name for name in fields or () if not isinstance(value, dict) or name not in value]
    if missing or (fields is not None and not isinstance(value, dict)):
        what = f"has no {missing[0]!r}" if missing else "is no JSON object"
        raise InputError(f"{str(path)!r} {what}. Delete it if it was damaged.")
    return value


def read_json_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Rows of a file that `write_json_lines` wrote: JSON objects, one a line.

    Raises:
      InputError: the file cannot be read, or a line is no JSON object, whose number is named.
    """
    rows, damaged, cut = _objects(path)
    if damaged or cut:
        raise InputError(
            f"line {(damaged or [len(rows) + 1])[0]} of {str(path)!r} is damaged: it is no JSON object. "
            "Delete the file and give the command that wrote it again."
        )
    return rows


def read_log(
    path: str | os.PathLike[str], numbers: Sequence[str] = ("step",), note: Callable[[str], None] = warnings.warn
) -> list[dict[str, Any]]:
    """Rows of a file that grows line by line: JSON objects, without the lines that a crash has damaged.

    Args:
      path: the file.
      numbers: names; a line where one of them is missing or no number counts as damaged.
      note: called with a sentence if lines in the middle are left out. A last line cut short is how a kill leaves the
        file, and not worth one.

    Raises:
      InputError: the file cannot be read at all.
    """
    rows, damaged, _ = _objects(path, numbers)
    if damaged:
        lines = "1 damaged line is" if len(damaged) == 1 else f"{len(damaged)} damaged lines are"
        note(f"{lines} left out of {str(path)!r}, the first of them line {damaged[0]}.")
    return rows


def _objects(path: str | os.PathLike[str], numbers: Sequence[str] = ()) -> tuple[list[dict[str, Any]], list[int], bool]:
    """Rows, numbers of the lines that hold none, and whether the last line, which ends the file, is another."""
    try:
        # Not splitlines, which also ends lines at characters that JSON leaves as they are.
        *whole, last = pathlib.Path(path).read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read: {error.strerror}. Delete it if it was damaged.") from None
    found = {number: _object(line, numbers) for number, line in enumerate(whole, start=1) if line.strip()}
    end = _object(last, numbers)
    rows = [row for row in (*found.values(), end) if row is not None]
    return rows, [number for number, row in found.items() if row is None], bool(last) and end is None


def _object(line: bytes, numbers: Sequence[str]) -> dict[str, Any] | None:
    """The JSON object in some bytes, or None if there is none with all of these numbers."""
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    is_number: Callable[[object], bool] = lambda value: isinstance(value, int | float) and not isinstance(value, bool)
    return row if isinstance(row, dict) and all(is_number(row.get(name)) for name in numbers) else None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"JSON has no {constant}")


@contextlib.contextmanager
def workplace(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """Makes `folder` if need be and keeps other processes from working in it until left; a kill leaves it too.

    A file system without locks, as some networks have, gets a warning.

    Raises:
      InputError: the folder cannot be made or written to, or another process works in it.
    """
    refuse_address("workdir", folder)
    folder = pathlib.Path(folder)
    if not _writes:  # the one that does holds the folder for all
        yield folder
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a")  # noqa: SIM115  held while the caller works
    except OSError as error:
        raise InputError(
            f"workdir={str(folder)!r} cannot be used: {error.strerror}. Choose a folder you can write to."
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in HELD:
                raise InputError(
                    f"another process works in workdir={str(folder)!r}. Wait for it, or use another."
                ) from None
            warnings.warn(
                f"the file system of {str(folder)!r} has no locks ({error.strerror}): nothing will keep a second "
                "process from working there. Give the command once at a time.",
                stacklevel=3,
            )
        yield folder


@contextlib.contextmanager
def full_disk_told(where: str | os.PathLike[str]) -> Iterator[None]:
    """Turns any library's way of saying "disk full" into a RunError that names the place and the remedy."""
    try:
        yield
    except (OSError, ValueError, RuntimeError) as error:
        full = isinstance(error, OSError) and error.errno in FULL
        if not full and not FULL_TEXT.search(str(error)):
            raise
        raise RunError(
            f"the disk is full: cannot write {str(where)!r}. What was saved before is whole. "
            "Free some space and give the same command again; it continues."
        ) from error


@contextlib.contextmanager
def whole_folder(folder: str | os.PathLike[str]) -> Iterator[pathlib.Path]:
    """A new folder to write into, which becomes `folder` when it is left; if that raises, nothing has changed.

    A folder that is there keeps its other files; those of the same names are replaced.

    Raises:
      InputError: `folder` is a file, or cannot be made.
    """
    folder = pathlib.Path(folder).absolute()
    if not _writes:
        yield folder
        return
    # Beside its files, or where it will be: on the same file system, where renaming is one step.
    place = folder if folder.is_dir() else next(parent for parent in folder.parents if parent.exists())
    part = place / f".{folder.name}.{os.getpid()}.part"
    cannot: Callable[[str | None], InputError] = lambda reason: InputError(
        f"the folder {str(folder)!r} cannot be made: {reason}. Choose another."
    )
    if folder.exists() and not folder.is_dir():
        raise cannot("a file has that name")
    try:
        part.mkdir()
    except OSError as error:
        raise cannot(error.strerror) from None
    try:
        yield part
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(part, folder)
            return
        for entry in sorted(part.iterdir()):
            if entry.is_dir() and (folder / entry.name).is_dir():
                shutil.rmtree(folder / entry.name)
            os.replace(entry, folder / entry.name)
    finally:
        shutil.rmtree(part, ignore_errors=True)
