"""Many problems brought to their optimum: blocks of lanes through one compiled program, over every accelerator.

Programs are compiled for a number of runs and of lanes, so both are padded to the next of a few sizes, and lanes that
have arrived make room for others: a block is full of lanes that still move.
"""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxscale.laws import polish
from jaxscale.laws.law import Law
from jaxscale.laws.polish import Iterate, Lane

_FEWEST_RUNS = 16
_BLOCK = 16  # lanes; their Jacobians of 256 runs stay in a core's cache
_LANES_ON_ACCELERATOR = 4096  # on each, where there are many lanes
_ITERATIONS = 4  # between two looks at which lanes have arrived
_MOST_ROUNDS = 60
_LAST_ROUNDS = 20  # of lanes whose corners are not sharp by then
_ARRIVED = 1e-13  # share of the objective that another step would remove
_STALLED = 7


# Called with how much of a step is done and how much there is; a `Progress` gets the name of the step first.
Report = Callable[[int, int], None]
Progress = Callable[[str, int, int], None]


def report_of(progress: Progress | None, name: str) -> Report | None:
    """Reports of one step of the work, by its name."""
    return None if progress is None else functools.partial(progress, name)


def named_progress(progress: Progress | None, name: str) -> Progress | None:
    """Reports of the same steps, with `name` in front of theirs."""
    return None if progress is None else lambda work, done, total: progress(f"{name}, {work}", done, total)


class Optimum(NamedTuple):
    """Where lanes ended, (B, ...)."""

    z: np.ndarray  # (B, P)
    total: np.ndarray  # (B,) the objective; infinite where the curve has no value at the start
    iterations: np.ndarray  # (B,)


def minimize(
    law: Law,
    logarithmic: bool,
    columns: np.ndarray,
    lanes: Lane,
    start: np.ndarray,
    smoothing: np.ndarray,
    report: Report | None = None,
) -> Optimum:
    """The optimum of every lane from its start, in float64 whatever the global setting.

    Args:
      law: what is fitted.
      logarithmic: whether targets are logarithms of losses.
      columns: (X, R) in the units of the fit.
      lanes: numpy arrays of B problems.
      start: (B, P) coordinates.
      smoothing: (B,) the width over which corners are rounded at first, 0 for none.
      report: told how many lanes have arrived.
    """
    count, runs = lanes.target.shape
    spare = bucket(runs) - runs
    columns = np.pad(np.asarray(columns, float), ((0, 0), (0, spare)), constant_values=1.0)
    lanes = lanes._replace(
        target=np.pad(lanes.target, ((0, 0), (0, spare))), weight=np.pad(lanes.weight, ((0, 0), (0, spare)))
    )
    start = np.clip(start, lanes.bounds[..., 0], lanes.bounds[..., 1])
    with jax.enable_x64(True):
        state = Iterate(*map(np.array, polish.begin(start, np.asarray(smoothing, float))))
        iterations = np.zeros(count, int)
        arrive = functools.partial(_arrive, law, logarithmic, columns, lanes, state, iterations, report)
        arrive(np.arange(count), _MOST_ROUNDS)
        # Of rounded corners the objective is less than of sharp ones, and not what was asked for.
        round_still = np.flatnonzero(state.smoothing > 0)
        state.smoothing[round_still], state.reach[round_still], state.stalled[round_still] = 0.0, 1.0, 0.0
        arrive(round_still, _LAST_ROUNDS)
    return Optimum(state.z, state.total, iterations)


def _arrive(
    law: Law,
    logarithmic: bool,
    columns: np.ndarray,
    lanes: Lane,
    state: Iterate,
    iterations: np.ndarray,
    report: Report | None,
    left: np.ndarray,
    rounds: int,
) -> None:
    """Advances the lanes `left`, in place, until they have arrived or for so many rounds."""
    for _ in range(rounds):
        if report is not None:
            report(len(iterations) - len(left), len(iterations))
        if not len(left):
            return
        for rounded in (True, False):
            some = left[(state.smoothing[left] > 0) == rounded]
            for block, after in _advanced(law, logarithmic, rounded, columns, lanes, state, some):
                for values, new in zip(state, after, strict=True):
                    values[block] = new
        iterations[left] += _ITERATIONS
        moving = (state.gain > _ARRIVED) & (state.stalled < _STALLED)
        left = left[moving[left]]


def bucket(runs: int) -> int:
    """The number of runs a program is compiled for: 16, 64, 256 and so on."""
    size = _FEWEST_RUNS
    while size < runs:
        size *= 4
    return size


def _advanced(
    law: Law, logarithmic: bool, rounded: bool, columns: np.ndarray, lanes: Lane, state: Iterate, left: np.ndarray
) -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:
    """(lanes, their state after a few iterations) of every block; all are under way before the first is waited for."""
    devices = _devices()
    many = devices[0].platform != "cpu" and len(left) > 4 * _BLOCK
    each = _LANES_ON_ACCELERATOR if many else -(-_BLOCK // len(devices))
    size = each * len(devices)
    place = _sharded(tuple(devices)) if len(devices) > 1 else (lambda tree: tree)
    under_way = []
    for first in range(0, len(left), size):
        block = left[first : first + size]
        padded = np.pad(block, (0, size - len(block)), "edge")
        take = lambda values, padded=padded: values[padded]
        inputs = place((jax.tree.map(take, lanes), jax.tree.map(take, state)))
        after = polish.advance(law.curve, logarithmic, rounded, columns, law.strides, *inputs, iterations=_ITERATIONS)
        under_way.append((block, after))
    for block, after in under_way:
        yield block, [np.asarray(values)[: len(block)] for values in after]


def _devices() -> list[jax.Device]:
    """Every accelerator; of a host's devices one, for they share its cores, and eight cost four times as much."""
    devices = jax.devices()
    return devices[:1] if devices[0].platform == "cpu" else devices


@functools.cache
def _sharded(devices: tuple[jax.Device, ...]) -> Callable[[Any], Any]:
    mesh = jax.sharding.Mesh(np.array(devices), ("lanes",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("lanes"))
    return lambda tree: jax.device_put(tree, sharding)
