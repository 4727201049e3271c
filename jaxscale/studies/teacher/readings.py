"""The geometry of contexts in a teacher's coordinates: dimension and smoothness, layer by layer.

Points are few positions of held-out documents that serve nothing else. The smoothness is that of the probabilities
themselves, without the noise of labels: of their square roots, whose distance is Hellinger's, in random directions.
"""

import math
import statistics
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxscale import dimension as estimators
from jaxscale import theory
from jaxscale.errors import InputError
from jaxscale.smoothness import madogram, unidentified
from jaxscale.studies.teacher.config import TeacherStudy

Reading = dict[str, Any]

# Random directions that the probabilities are read in.
DIRECTIONS = 8
# Points that a smoothness is read from, at a cost of their cube.
SMOOTH = 1000


def layer(study: TeacherStudy, points_NxD: np.ndarray, truth_NxK: np.ndarray, document_N: np.ndarray) -> Reading:
    """Dimension and smoothness in one layer's coordinates, as plain values; None for what cannot be read."""
    return {
        "points": len(points_NxD),
        "documents": len(np.unique(document_N)),
        "dimension": _dimension(study, points_NxD, document_N),
        "smoothness": _smoothness(study, points_NxD, truth_NxK, document_N),
    }


def _dimension(study: TeacherStudy, points_NxD: np.ndarray, document_N: np.ndarray) -> Reading | None:
    """By maximum likelihood, with the bias of finite samples taken off, in an interval for documents that cluster."""
    numbered = np.unique(document_N, return_inverse=True)[1]
    try:
        hoods = estimators.neighborhoods(jnp.asarray(points_NxD), study.k)
        estimate = estimators.mle(hoods, study.k)
        calibrated = estimators.calibrate(hoods, "mle", study.k)
    except InputError as error:
        return {"dimension": None, "interval": None, "reason": str(error)}
    clustered = float(estimators.clustered_standard_error(estimate, numbered, int(numbered.max()) + 1))
    reading, value = float(estimate.dimension), float(calibrated.dimension)
    if not (math.isfinite(value) and value > 0):
        return {"dimension": None, "interval": None, "reason": f"the reading is {reading:.3g}"}
    # A document's points depend on each other: their share of the reading's error is that of the calibrated one too.
    relative = clustered / reading if math.isfinite(clustered) else 0.0
    quantile = statistics.NormalDist().inv_cdf((1 + study.level) / 2)
    reach = quantile * math.hypot(float(calibrated.standard_error), relative * value)
    return {
        "dimension": value,
        "interval": [max(value - reach, 0.1 * value), value + reach],
        "reading": reading,
        "duplicates_collapsed": int(estimate.duplicates_collapsed),
    }


def _smoothness(study: TeacherStudy, points_NxD: np.ndarray, truth_NxK: np.ndarray, document_N: np.ndarray) -> Reading:
    generator = np.random.default_rng(0)
    first = np.sort(np.unique(points_NxD, axis=0, return_index=True)[1])
    if len(first) > SMOOTH:
        first = np.sort(generator.choice(first, SMOOTH, replace=False))
    directions_KxO = generator.normal(size=(truth_NxK.shape[1], DIRECTIONS))
    labels_NxO = np.sqrt(truth_NxK[first].astype(float)) @ directions_KxO
    try:
        found = madogram(points_NxD[first].astype(float), labels_NxO, key=0, groups=document_N[first])
    except InputError as error:
        return {"beta": None, "interval": None, "identified": False, "reasons": [str(error)]}
    low, high = float(found.interval[0]), float(found.interval[1])
    reasons = list(unidentified(found.beta, (low, high)))
    return {
        "beta": float(found.beta),
        "interval": [max(low, 0.01), high],
        "identified": not reasons,
        "reasons": reasons,
        "points": found.points,
        "distances": [float(one) for one in found.distances],
        "values": [float(one) for one in found.values],
    }


def predictions(study: TeacherStudy, reading: Mapping[str, Any]) -> dict[str, Any]:
    """Exponents 2β/(2β+d) that a layer's geometry predicts, at β = 1 and at the measured β.

    Where β may be 1 or more, its lower end is all that is known, and so it is of the exponent.
    """
    dimension, smoothness = reading["dimension"], reading["smoothness"]
    d, ends = dimension["dimension"], dimension["interval"]
    if d is None:
        return {"at_one": None, "measured": None}
    at_one = {
        "beta": 1.0,
        "exponent": float(theory.data_exponent(d, 1.0)),
        "interval": [float(end) for end in theory.exponent_interval(theory.data_exponent, d, ends, 1.0)],
    }
    measured = None
    if smoothness["identified"]:
        beta = smoothness["beta"]
        around = (smoothness["interval"][0], min(smoothness["interval"][1], 1.0))
        measured = {
            "beta": beta,
            "exponent": float(theory.data_exponent(d, beta)),
            "interval": [float(e) for e in theory.exponent_interval(theory.data_exponent, d, ends, beta, around)],
        }
    elif smoothness["beta"] is not None and smoothness["interval"][0] > 0.5:
        low = min(smoothness["interval"][0], 1.0)
        measured = {"beta": None, "exponent": None, "interval": [float(theory.data_exponent(ends[1], low)), None]}
    return {"at_one": at_one, "measured": measured}
