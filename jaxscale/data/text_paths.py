"""The files that `corpus.path` names: a folder, one file, or a glob, each folder read once however links lead.

files = paths("books/", "error", skip)            # skip(reason, name) is called for whatever is left out
"""

import fnmatch
import glob
import os
import pathlib
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal

from jaxscale.errors import InputError

Undecodable = Literal["error", "replace", "skip"]
# Called with the reason and the name of whatever is left out.
Skip = Callable[[str, str], None]


def paths(path: str, undecodable: Undecodable, skip: Skip) -> list[pathlib.Path]:
    """Files that `corpus.path` names, sorted: all below a folder, one file, or those that a glob matches.

    Hidden ones are left out. Links to folders are followed, and every folder is read once.

    Raises:
      InputError: there is no such folder, or no file; or, unless `undecodable` is "skip", a folder cannot be listed.
    """
    root, walk = pathlib.Path(path), _Walk(undecodable, skip)
    found: Iterable[pathlib.Path]
    if root.is_dir():
        found = walk.matching(root, ["**", "*"])
    elif root.is_file():
        found = [root]
    elif glob.has_magic(path):
        found = walk.matching(pathlib.Path(root.anchor), root.relative_to(root.anchor).parts)
    elif root.exists():
        raise InputError(f"corpus.path={path!r} is neither a folder nor a regular file. Save the text in a file.")
    else:
        raise InputError(
            f"corpus.path={path!r}: no such folder. Give an existing folder, or a glob such as 'books/**/*.txt'."
        )
    files = sorted(set(found))
    if not files:
        raise InputError(f"corpus.path={path!r} holds no files. Give a folder or a glob with text files in it.")
    return files


class _Walk:
    """Regular files below a folder whose path matches the parts of a glob, as `glob.glob` would have them."""

    def __init__(self, undecodable: Undecodable, skip: Skip) -> None:
        self.undecodable, self.skip = undecodable, skip
        self.entered: set[tuple[int, int, int]] = set()  # (device, inode, depth) of folders
        self.left_out: set[pathlib.Path] = set()

    def matching(self, folder: pathlib.Path, pattern: Sequence[str]) -> Iterator[pathlib.Path]:
        first, *rest = pattern
        if first == "**":
            if not self._enters(folder, len(pattern)):
                return
            yield from self.matching(folder, rest or ["*"])
            rest = list(pattern)
        for entry in self._entries(folder, "*" if first == "**" else first):
            mode = self._mode(entry)
            if rest and stat.S_ISDIR(mode):
                yield from self.matching(entry, rest)
            elif not rest and stat.S_ISREG(mode):
                yield entry
            elif mode and not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
                self._leave_out("no regular files", entry)

    def _enters(self, folder: pathlib.Path, depth: int) -> bool:
        """Whether a folder is new to `**`: a link may lead back to one that was read, or above it."""
        status = os.stat(folder)
        key = status.st_dev, status.st_ino, depth
        if key in self.entered:
            self._leave_out("links to a folder that was read already", folder)
            return False
        self.entered.add(key)
        return True

    def _entries(self, folder: pathlib.Path, pattern: str) -> list[pathlib.Path]:
        if not glob.has_magic(pattern):
            return [folder / pattern] if os.path.lexists(folder / pattern) else []
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            self._unreadable(folder, error)
            return []
        names = [name for name in names if fnmatch.fnmatch(name, pattern)]
        hidden = {name for name in names if name.startswith(".") and not pattern.startswith(".")}
        for name in sorted(hidden):
            self._leave_out("hidden", folder / name)
        return [folder / name for name in names if name not in hidden]

    def _mode(self, entry: pathlib.Path) -> int:
        """What an entry is, as of `os.stat`; 0 if that cannot be found out."""
        try:
            return os.stat(entry).st_mode
        except OSError as error:
            if entry.is_symlink():
                self._leave_out("links to nothing", entry)
            else:
                self._unreadable(entry, error)
            return 0

    def _unreadable(self, path: pathlib.Path, error: OSError) -> None:
        if self.undecodable != "skip":
            raise InputError(
                f"corpus.path: {str(path)!r} cannot be read: {error.strerror}. Make it readable, leave it out with a "
                "narrower corpus.path, or set corpus.undecodable='skip'."
            )
        self._leave_out("unreadable", path)

    def _leave_out(self, reason: str, path: pathlib.Path) -> None:
        if path not in self.left_out:
            self.left_out.add(path)
            self.skip(reason, path.as_posix())
