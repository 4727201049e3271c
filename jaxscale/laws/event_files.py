"""Runs as TensorBoard has them: a folder of event files for each run, with a new file for every start.

found, said = rows(folder, runs(folder))
found                   # [{"run": "small", "step": 800, "loss": 3.1, "loss:step": 800, "loss:min": 3.0, …}, …]
"""

import pathlib
import struct
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxscale.laws.runs import Finding

if TYPE_CHECKING:
    from tensorboardX.proto import event_pb2

_EVENTS = "*tfevents*"
# What a tensor of one number may be kept in, by its type in TensorBoard's protocol.
_KINDS = {1: ("float_val", "<f4"), 2: ("double_val", "<f8"), 3: ("int_val", "<i4"), 9: ("int64_val", "<i8")}


class History(NamedTuple):
    """What a run wrote.

    Attributes:
      scalars: every scalar by its tag, as values by step.
      back_to: the steps to which it went back, to write on from there.
      replaced: how many values do not count for that.
    """

    scalars: dict[str, dict[int, float]]
    back_to: tuple[int, ...] = ()
    replaced: int = 0


def runs(folder: pathlib.Path) -> list[pathlib.Path]:
    """The folders that hold event files, in the order of their names."""
    return sorted({file.parent for file in folder.rglob(_EVENTS)})


def rows(folder: pathlib.Path, runs: Sequence[pathlib.Path]) -> tuple[list[dict[str, Any]], list[Finding]]:
    """One row for each of the folders `runs` in `folder`, and what is to be known of them.

    A row has its name under `run` and for every scalar `tag` its last value and the step of that, `tag:step`, and its
    least value and the step of that, `tag:min` and `tag:min:step`. `step` is the last of any scalar.
    """
    names = [str(run.relative_to(folder)) if run != folder else folder.name for run in runs]
    histories = [history(run) for run in runs]
    said = [
        ("resumed_run", f"Run {name} went back to step {min(found.back_to)}; {_replaced(found.replaced)}.")
        for name, found in zip(names, histories, strict=True)
        if found.replaced
    ]
    return [_row(name, found.scalars) for name, found in zip(names, histories, strict=True)], said


def _replaced(values: int) -> str:
    what = "one value that was" if values == 1 else f"{values} values that were"
    return f"{what} written before, at that step or later, {'does' if values == 1 else 'do'} not count"


def step_of(rows: list[dict[str, Any]], source: str) -> list[dict[str, Any]]:
    """The rows with `step` as the one at which `source` was written, where they have it."""
    return [row | {"step": row.get(f"{source}:step", row["step"])} for row in rows]


def history(run: pathlib.Path) -> History:
    """Every scalar of a run.

    A start goes back to a checkpoint. What was written from that step on is replaced: for all scalars where the file
    says where it starts, as TensorBoard does, and for each scalar from the first step that a later file has of it, or
    that the same file writes later though it is lower.
    """
    scalars: dict[str, dict[int, float]] = {}
    latest: dict[str, tuple[int, float]] = {}  # step and wall time of what was written last
    back_to: list[int] = []
    replaced = 0

    def drop_from(step: int, values: dict[int, float]) -> None:
        nonlocal replaced
        later = [other for other in values if other >= step]
        for other in later:
            del values[other]
        if later:
            back_to.append(step)
        replaced += len(later)

    for events in sorted((_events(file) for file in sorted(run.glob(_EVENTS))), key=_started):
        seen: set[str] = set()
        for event in events:
            if event.session_log.status == event.session_log.START:
                for values in scalars.values():
                    drop_from(event.step, values)
            for tag, value in _scalars(event):
                values = scalars.setdefault(tag, {})
                step, time = latest.get(tag, (event.step, event.wall_time))
                if tag not in seen or (event.step < step and event.wall_time >= time):
                    drop_from(event.step, values)
                seen.add(tag)
                values[event.step] = value
                latest[tag] = event.step, event.wall_time
    return History({tag: values for tag, values in scalars.items() if values}, tuple(back_to), replaced)


def _row(name: str, scalars: dict[str, dict[int, float]]) -> dict[str, Any]:
    row: dict[str, Any] = {"run": name, "step": max((max(values) for values in scalars.values()), default=0)}
    own = dict(row)
    for tag, values in scalars.items():
        last = max(values)
        # A loss that is no number is not the least.
        least = min(values, key=lambda step: (np.isnan(values[step]), values[step], step))
        row |= {tag: values[last], f"{tag}:step": last, f"{tag}:min": values[least], f"{tag}:min:step": least}
    return row | own  # whatever scalars are called


def _started(events: "Sequence[event_pb2.Event]") -> float:
    return events[0].wall_time if events else 0.0


def _events(file: pathlib.Path) -> "list[event_pb2.Event]":
    """The events of a file: records of length, checksum, event, checksum. A cut-off last one is left out."""
    from google.protobuf.message import DecodeError
    from tensorboardX.proto import event_pb2

    data, place, events = file.read_bytes(), 0, []
    while place + 12 <= len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        if place + 16 + length > len(data):
            break
        try:
            events.append(event_pb2.Event.FromString(data[place + 12 : place + 12 + length]))
        except DecodeError:
            raise ValueError(f"{file.name} is damaged at byte {place}") from None
        place += 16 + length
    return events


def _scalars(event: "event_pb2.Event") -> Iterator[tuple[str, float]]:
    """(tag, value) of every scalar, as a number or as a tensor of one."""
    for value in event.summary.value:
        if value.HasField("simple_value"):
            yield value.tag, value.simple_value
        elif value.HasField("tensor") and value.tensor.dtype in _KINDS:
            field, kind = _KINDS[value.tensor.dtype]
            content = value.tensor.tensor_content
            numbers = np.frombuffer(content, kind) if content else getattr(value.tensor, field)
            if len(numbers) == 1:
                yield value.tag, float(numbers[0])
