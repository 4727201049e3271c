"""What a long fit is doing, on standard error, once it has been silent for a while."""

import time
from collections.abc import Callable
from typing import Any, Self

from jaxscale import progress

_SILENT_SECONDS = 5.0
_OF_FIT = ("starts", "resamples", "ends of ranges", "other choices")
_OF_DOCUMENT = ("back-test", "profiles")


def steps(resamples: int, parts: int = 1, compared: int = 0) -> int:
    """How many steps there are of `parts` fits and their documents, and of as many laws `compared`."""
    of_fit = len(_OF_FIT) if resamples else 1
    of_document = len(_OF_DOCUMENT) if resamples else 0
    return parts * (of_fit + of_document) + compared * (of_fit + 1)


class Told:
    """Called by `laws.fit` and the like with what is under way; silent of what is quickly done. A context manager.

    Args:
      steps: how many works there will be.
      bars: where it is said.
    """

    def __init__(self, steps: int, bars: progress.Silent | None = None) -> None:
        self._steps, self._bars = steps, bars or progress.OnTerminal()
        self._began, self._names, self._shown = time.monotonic(), list[str](), ""
        self._report: Callable[..., None] = lambda **values: None

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.__exit__(*error)

    def __call__(self, work: str, done: int, total: int) -> None:
        if work not in self._names:
            self._names.append(work)
        if time.monotonic() - self._began < _SILENT_SECONDS:
            return
        if work != self._shown:
            self._shown, place = work, self._names.index(work)
            self._report = self._bars.run(f"{work}, {total}", place, max(self._steps, place + 1), "step")
        self._report(step=done, steps=total)
