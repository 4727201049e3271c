"""The smoothness β of a target, which theory needs beside the dimension: measured where it can be, and said where not.

found = smoothness.estimate(x, y, key=jax.random.key(0))
found.beta, found.interval          # 0.48, Interval(0.41, 0.56); NaN where not identified
found.data_exponent                 # the exponent 2β/d that learning curves show, without β or d
print(found.sentence)
"""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.laws.results import Interval
from jaxscale.smoothness.increments import STEP, Madogram, madogram
from jaxscale.smoothness.learning_curves import LearningCurve, kernel_learning_curve, neighbor_learning_curve

# Differences saturate at β = 1: a reading above `_LARGEST` may stand for any greater smoothness, and so may one whose
# interval reaches `_SATURATED`. Labels that do not depend on place read as the roughest fields.
_LARGEST, _SATURATED, _ROUGHEST = 0.8, 1.0, 0.1


def unidentified(beta: float, interval: Sequence[float]) -> tuple[str, ...]:
    """Why a madogram's reading does not identify β; empty where it does.

    A reading must clear each limit by a step of the grid of exponents. Machines that add in another order read values
    that differ by less than that, and give the same answer unless a value lies at the edge of that step.

    Args:
      beta: the reading.
      interval: of it.
    """
    low, high = interval
    reasons = []
    if not low > _ROUGHEST + STEP:  # nor where it is NaN
        reasons.append("tokens or labels drawn by chance may read so too")
    if not (beta < _LARGEST - STEP and high < _SATURATED - STEP):
        reasons.append("β may be 1 or more, where the madogram saturates")
    return tuple(reasons)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Smoothness:
    """What the points say about the smoothness of their labels.

    Attributes:
      beta: the madogram's exponent where it is identified (see `unidentified`), else NaN.
      interval: of it, at 95%; where not identified, from the lower end or 0.8, whichever is less, to infinity.
      data_exponent: that of the Laplace kernel's learning curve, 2β/d, which does not saturate at β = 1.
      madogram: the measurement of differences.
      kernel, neighbor: the learning curves.
      sentence: all of it for a reader, with the scales that were used.
    """

    beta: float
    interval: Interval
    data_exponent: float
    madogram: Madogram
    kernel: LearningCurve
    neighbor: LearningCurve
    sentence: str = dataclasses.field(metadata={"static": True})

    @property
    def identified(self) -> bool:
        """Whether there is a β."""
        return bool(np.isfinite(self.beta))


def estimate(x: np.typing.ArrayLike, y: np.typing.ArrayLike, *, key: jax.Array | int) -> Smoothness:
    """The Hölder smoothness β of labels y over points x, by the madogram, beside two learning curves.

    benchmarks/smoothness.py reads fractional Brownian fields of known β on flat tori, with and without label noise.

    Args:
      x: (n, D) points; at most 1536 of them, drawn at random, are used.
      y: (n,) labels.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: for arrays of other shapes, too few points, values that are not finite or that never vary.
    """
    keys = jax.random.split(random_key("key", key), 3)
    differences = madogram(x, y, key=keys[0])
    kernel = kernel_learning_curve(x, y, key=keys[1], noise=differences.noise)
    neighbor = neighbor_learning_curve(x, y, key=keys[2], noise=differences.noise)
    reasons = unidentified(differences.beta, differences.interval)
    low, high = differences.interval
    return Smoothness(
        beta=np.nan if reasons else differences.beta,
        interval=Interval(min(low, _LARGEST), np.inf) if reasons else Interval(low, high),
        data_exponent=kernel.exponent,
        madogram=differences,
        kernel=kernel,
        neighbor=neighbor,
        sentence=_sentence(differences, kernel, reasons),
    )


def _sentence(differences: Madogram, kernel: LearningCurve, unidentified: tuple[str, ...]) -> str:
    low, high = differences.interval
    reading = f"{differences.beta:.2g} [{low:.2g}, {high:.2g}]"
    said = f"β = {reading}"
    if unidentified:
        said = f"β is not identified: the madogram reads {reading}, and {', and '.join(unidentified)}"
    curve = "the kernel's learning curve is lost in the noise"
    if np.isfinite(kernel.exponent):
        curve = (
            f"the kernel's learning curve falls as n^-{kernel.exponent:.2g} "
            f"[{kernel.interval.lower:.2g}, {kernel.interval.upper:.2g}]"
        )
    noise = f"; label noise of {differences.noise:.2g} was taken off" if differences.noise > 0 else ""
    return (
        f"{said}, over distances {differences.scales.lower:.2g} to {differences.scales.upper:.2g} of "
        f"{differences.points} points; {curve}{noise}."
    )
