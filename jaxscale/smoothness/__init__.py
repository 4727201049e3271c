"""The smoothness β of labels over points: as the madogram reads it, as learning curves do, and when it is identified.

    found = smoothness.estimate(x, y, key=jax.random.key(0))      # points (n, D), labels (n,)
    found.beta, found.interval, smoothness.unidentified(found.beta, found.interval)

Every study and command calls a β identified by the one rule, `unidentified`.
"""

from jaxscale.smoothness.estimation import Smoothness, estimate, unidentified
from jaxscale.smoothness.increments import Madogram, fractional_field, madogram
from jaxscale.smoothness.learning_curves import LearningCurve, kernel_learning_curve, neighbor_learning_curve

__all__ = [
    "LearningCurve",
    "Madogram",
    "Smoothness",
    "estimate",
    "fractional_field",
    "kernel_learning_curve",
    "madogram",
    "neighbor_learning_curve",
    "unidentified",
]


def __dir__() -> list[str]:
    return list(__all__)
