"""What a command concludes, in one shape: `verdict.json` of every study (docs/verdict.md).

    check(files.read_json("runs/quickstart/verdict.json")).numbers[0]      # Number("intrinsic dimension d", 5.0, …)

A study adds keys of its own to these; whatever reads only these can read every verdict.
"""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any, Literal

Agreement = Literal["consistent", "inconsistent", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Number:
    """One number of a verdict.

    Attributes:
      name: what it is, in words.
      value: None where it is not known.
      interval: lower and upper end at the level of the study; an end is None where it is not known.
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
    """What is the same in the verdicts of all studies.

    Attributes:
      kind: of the study, as in its `config.json`.
      question: what was asked.
      sentence: the answer.
      agreement: of what was observed with what was predicted; None where nothing is predicted.
      numbers: those that the answer rests on, the most important first.
      caveats: what to know before relying on them.
      limits: what the answer leaves open, whatever was measured.
      seconds: wall time of all stages over all starts.
      processor_seconds: processor time of the same, in the processes of the study itself.
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
    """The JSON schema of a verdict; a study's own keys are allowed beside these."""
    import pydantic

    return pydantic.TypeAdapter(Verdict).json_schema()


def check(document: Mapping[str, Any]) -> Verdict:
    """The `Verdict` in a document; raises `pydantic.ValidationError`, a `ValueError`, if it is none."""
    import pydantic

    own = {field.name: document[field.name] for field in dataclasses.fields(Verdict) if field.name in document}
    return pydantic.TypeAdapter(Verdict).validate_python(own)


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
