"""What a command concludes, in one shape: `verdict.json` of every study, and what `jaxscale fit`, `dimension` and
`construct` print with `--json` (docs/verdict.md).

    check(files.read_json("runs/text_loss/verdict.json")).numbers[0]      # Number("intrinsic dimension d", 5.0, …)

A command adds keys of its own to these; whatever reads only these can read every verdict.
"""

import contextlib
import dataclasses
import functools
import importlib.metadata
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

Agreement = Literal["consistent", "inconsistent", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Number:
    """One number of a verdict.

    Attributes:
      name: what it is, in words.
      value: None where it is not known.
      interval: lower and upper end at the level of the study or fit; an end is None where it is not known.
      predicted: what theory says of it, where theory does.
    """

    name: str
    value: float | None
    interval: tuple[float | None, float | None] | None = None
    predicted: float | None = None


@dataclasses.dataclass(frozen=True)
class Caveat:
    """What to know before relying on a verdict: a sentence, and a short name of it that never changes."""

    code: str
    text: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What is the same in all verdicts.

    Attributes:
      kind: of the study, as in its `config.json`; or the command.
      question: what was asked.
      sentence: the answer.
      agreement: of what was observed with what was predicted; None where nothing is predicted.
      numbers: those that the answer rests on, the most important first.
      caveats: what to know before relying on them.
      limits: what the answer leaves open, whatever was measured.
      seconds: wall time of all stages over all starts.
      processor_seconds: processor time of the same, in the processes of the command itself.
      stage_seconds: wall time by stage.
      versions: what the numbers were made with: packages, Python, platform.
      device: number and kind of the devices.
    """

    kind: str
    question: str
    sentence: str
    agreement: Agreement | None
    numbers: tuple[Number, ...]
    caveats: tuple[Caveat, ...]
    limits: tuple[str, ...]
    seconds: float
    processor_seconds: float
    stage_seconds: dict[str, float]
    versions: dict[str, str]
    device: str


def schema() -> dict[str, Any]:
    """The JSON schema of a verdict; a command's own keys are allowed beside these."""
    described: dict[str, Any] = _reader().json_schema()
    return described


def check(document: Mapping[str, Any]) -> Verdict:
    """The `Verdict` in a document; raises `pydantic.ValidationError`, a `ValueError`, if it is none."""
    own = {field.name: document[field.name] for field in dataclasses.fields(Verdict) if field.name in document}
    read: Verdict = _reader().validate_python(own)
    return read


@functools.cache
def _reader() -> Any:
    import pydantic

    return pydantic.TypeAdapter(Verdict)


class Stopwatch:
    """Wall and processor time of each stage of what a process does.

    with (watch := Stopwatch()).stage("reading"):
        ...
    watch.by_stage      # {"reading": 0.2}
    """

    def __init__(self) -> None:
        self._spent: dict[str, list[float]] = {}

    @property
    def by_stage(self) -> dict[str, float]:
        """Wall time of each stage."""
        return {name: wall for name, (wall, _) in self._spent.items()}

    @property
    def wall(self) -> float:
        """Wall time of all stages."""
        return sum(wall for wall, _ in self._spent.values())

    @property
    def processor(self) -> float:
        """Processor time of all stages."""
        return sum(processor for _, processor in self._spent.values())

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Counts the time until it is left, by an error too."""
        begun = now()
        try:
            yield
        finally:
            self.count(name, begun)

    def count(self, name: str, begun: Iterable[float]) -> tuple[float, float]:
        """Adds what passed since `begun` to a stage, and returns the time that is now."""
        ended, before = now(), self._spent.get(name, [0.0, 0.0])
        self._spent[name] = [was + end - begin for was, end, begin in zip(before, ended, begun, strict=True)]
        return ended


def now() -> tuple[float, float]:
    """Wall and processor time, in seconds since some moment."""
    return time.monotonic(), time.process_time()


def complete(found: Mapping[str, Any], watch: Stopwatch) -> dict[str, Any]:
    """What was found, from `kind` to `limits`, with the time it took and what it was made with.

    Raises:
      ValueError: the whole is no `Verdict`.
    """
    whole = dict(found) | {
        "seconds": watch.wall,
        "processor_seconds": watch.processor,
        "stage_seconds": watch.by_stage,
        "versions": versions(),
        "device": device(),
    }
    check(whole)
    return whole


def overall(agreements: Iterable[Agreement]) -> Agreement | None:
    """Of several comparisons: "inconsistent" where one is, "consistent" where all are, None where there are none."""
    each = set(agreements)
    if "inconsistent" in each:
        return "inconsistent"
    return each.pop() if len(each) == 1 else "inconclusive" if each else None


def caveat(code: str, text: str) -> dict[str, str]:
    """A `Caveat` as a verdict holds it."""
    return {"code": code, "text": text}


def number(name: str, value: float | None, interval: Any = None, predicted: float | None = None) -> dict[str, Any]:
    """A `Number` as a verdict holds it."""
    return {"name": name, "value": value, "interval": interval and list(interval), "predicted": predicted}


def versions() -> dict[str, str]:
    """What numbers are made with."""
    from jaxscale import __version__

    packages = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "tokenizers")
    return (
        {"jaxscale": __version__}
        | {name: importlib.metadata.version(name) for name in packages}
        | {"python": platform.python_version(), "platform": platform.platform()}
    )


def device() -> str:
    """Number and kind of the devices, such as `8 × NVIDIA H200`."""
    import jax

    return f"{jax.device_count()} × {jax.devices()[0].device_kind}"
