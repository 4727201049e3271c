"""Writing files so that a reader never sees half of one, and a full disk is told plainly."""

import contextlib
import errno
import fcntl
import json
import os
import pathlib
import re
import shutil
import warnings

from jaxscale.errors import InputError, RunError

_writes = True


def only_read(flag):
    """Of several processes of one program one writes; in the others (`flag` true) this module only reads."""
    global _writes
    _writes = not flag


def writes():
    """Whether this process writes files."""
    return _writes


ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")
# What flock says where another holds the lock; anything else means that there are none.
HELD = {errno.EAGAIN, errno.EACCES}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
# Libraries that write for us (tensorstore under orbax) report the system's error as text in an error of their own.
FULL_TEXT = re.compile(r"No space left on device|Disk quota exceeded|File too large|RESOURCE_EXHAUSTED.*writ", re.S)


def refuse_address(name, value):
    """Raises InputError, naming the argument, if `value` is an address such as gs://bucket/folder and not a path.

    Only text is looked at, and paths, in which `//` has become `/`.
    """
    if isinstance(value, str | os.PathLike) and ADDRESS.match(os.fspath(value)):
        raise InputError(
            f"{name}={os.fspath(value)!r} is an address, and jaxscale reads and writes files of this host. Mount the "
            "storage (for a bucket: gcsfuse, mount-s3, blobfuse2) and give the path where it is mounted."
        )


def write_bytes(path, data):
    """Replaces `path` by `data` in one step: after a crash the file holds the old or the new content, never a part.

    Raises:
      RunError: the disk is full or the folder cannot be written to; what was there is untouched.
    """
    if not _writes:
        return
    path = pathlib.Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with full_disk_told(path):
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
    except OSError as error:
        raise RunError(f"cannot write {str(path)!r}: {error.strerror}. Choose a folder you can write to.") from error
    finally:
        with contextlib.suppress(OSError):
            part.unlink()


def write_text(path, text):
    """`write_bytes` of text in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path, value):
    """`write_text` of indented JSON. Non-finite numbers are refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path, rows):
    """`write_text` of one JSON document a line."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows))


def read_json(path):
    """The JSON document in a file. Raises InputError, naming the file, if it cannot be read or is something else."""
    try:
        return json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} cannot be read as JSON: {error}. Delete it if it was damaged.") from None


def read_json_lines(path):
    """Rows of a file of JSON lines; a last line cut short by a crash is left out."""
    # Not splitlines, which also ends lines at characters that JSON leaves as they are.
    *whole, _ = pathlib.Path(path).read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in whole]


@contextlib.contextmanager
def workplace(folder):
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
def full_disk_told(where):
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
def whole_folder(folder):
    """A new folder to write into, which becomes `folder` when it is left; if that raises, nothing has changed.

    A folder that is there keeps its other files; those of the same names are replaced.

    Raises:
      InputError: `folder` is a file, or cannot be made.
    """
    folder = pathlib.Path(folder).absolute()
    if not _writes:
        yield folder
        return
    place = next(parent for parent in folder.parents if parent.exists())
    part = place / f".{folder.name}.{os.getpid()}.part"
    cannot = lambda reason: InputError(f"the folder {str(folder)!r} cannot be made: {reason}. Choose another.")
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
