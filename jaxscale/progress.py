"""Progress of long work on standard error: bars for the runs and for the run under way, or plain lines in a log."""

import sys
from collections.abc import Callable, Mapping
from typing import Any, Self, TextIO

from rich import progress as rich_progress
from rich.console import Console


class Silent:
    """Says nothing; the default for those who call the library from their own program. A context manager."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    def say(self, text: str) -> None:
        """A sentence about what begins."""

    def run(self, name: str, index: int, total: int, kind: str = "run") -> Callable[..., None]:
        """A function that takes `step`, `steps` and what the training loop logs, for run `index` of `total`.

        What is not a run says its `kind`, a noun in the singular.
        """
        return lambda **values: None


class OnTerminal(Silent):
    """Bars on a terminal; elsewhere a line for each sentence and each run. A context manager."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._console = Console(file=stream or sys.stderr)
        self._bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(bar_width=24),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("{task.fields[detail]}"),
            console=self._console,
            disable=not self._console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._bars.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bars.__exit__(*error)

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def run(self, name: str, index: int, total: int, kind: str = "run") -> Callable[..., None]:
        if not self._console.is_terminal:
            self.say(f"{kind} {index + 1}/{total}: {name}")
            return lambda **values: None
        for task in self._bars.task_ids:
            self._bars.remove_task(task)
        self._bars.add_task(f"{kind}s", total=total, completed=index, detail="")
        task = self._bars.add_task(name, total=None, detail="compiling")
        seen: dict[str, float] = {}

        def report(step: int, steps: int, **values: float) -> None:
            seen.update(values)
            self._bars.update(task, completed=step, total=steps, detail=_detail(seen))

        return report


def _detail(values: Mapping[str, float]) -> str:
    """`loss 3.21, held out 3.40, 41 000 tokens/s, MFU 31%`, of what is known so far."""
    formats = {
        "train_loss": "loss {:.3f}",
        "validation_loss": "held out {:.3f}",
        "tokens_per_second": "{:,.0f} tokens/s",
        "model_flops_utilization": "MFU {:.0%}",
    }
    return ", ".join(form.format(values[name]) for name, form in formats.items() if name in values)
