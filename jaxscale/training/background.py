"""What orbax prints of an error that it also raises: not shown, since the one who meets the error tells it.

A write that fails, fails in many threads and coroutines at once. Each of them logs its traceback, and those that find
the event loop closed print another, before the caller learns of the first and says in a sentence what to do.
"""

import logging
import sys
import traceback
from collections.abc import Callable
from types import TracebackType


def leave_out_raised_errors() -> None:
    """From now on leaves out orbax's log records with a traceback, and what is left of its event loops."""
    for name in ("absl", "asyncio"):
        logger = logging.getLogger(name)
        if _is_worth_showing not in logger.filters:
            logger.addFilter(_is_worth_showing)
    if not isinstance(sys.unraisablehook, _Hook):
        sys.unraisablehook = _Hook(sys.unraisablehook)


def _is_worth_showing(record: logging.LogRecord) -> bool:
    if not (record.exc_info and record.exc_info[0]):
        return True
    return not _is_of_orbax(record.pathname) and not any(map(_is_of_orbax, _files_of(record.exc_info[2])))


class _Hook:
    """Leaves out that a callback of tensorstore found its event loop closed, and coroutines of orbax that failed."""

    def __init__(self, before: Callable[["sys.UnraisableHookArgs"], object]) -> None:
        self._before = before

    def __call__(self, unraisable: "sys.UnraisableHookArgs") -> None:
        closed = isinstance(unraisable.exc_value, RuntimeError) and str(unraisable.exc_value) == "Event loop is closed"
        at = _files_of(unraisable.exc_traceback)
        from_outside = bool(at) and all("asyncio" in file for file in at)  # no caller in Python
        coroutine = getattr(unraisable.object, "cr_code", None)
        if not (closed and from_outside) and not (coroutine and _is_of_orbax(coroutine.co_filename)):
            self._before(unraisable)


def _files_of(trace: TracebackType | None) -> list[str]:
    return [frame.filename for frame in traceback.extract_tb(trace)]


def _is_of_orbax(file: str) -> bool:
    return "/orbax/" in file.replace("\\", "/")
