"""Which networks are worth more steps: those that still did better lately."""

import itertools

import jax
import numpy as np


def stretches(first: int, steps: int) -> list[tuple[int, int]]:
    """Steps from one choice of the networks that go on to the next, doubling: [(0, 500), (500, 1000), (1000, 2000), …].

    Args:
      first: steps before the first choice.
      steps: at which all end.
    """
    ends = [0, first]
    while ends[-1] < steps:
        ends.append(2 * ends[-1])
    ends[-1] = steps
    return list(itertools.pairwise(ends))


def going_on(best_step_M: jax.Array | np.ndarray, since: int, after: float = 0.5) -> np.ndarray:
    """Which networks did best after a share of the first `since` steps: by default in their later half.

    A network that is left alone does not change, so what goes on from a checkpoint finds the same ones.
    """
    return np.flatnonzero(np.asarray(best_step_M) >= after * since)
