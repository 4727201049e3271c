"""Intrinsic dimension of a cloud of points, with error bars, on any device.

from jaxscale import dimension
est = dimension.mle(x, k=20)                      # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local
"""

from jaxscale.dimension.calibration import Calibrated, References, apply_references, calibrate, read_references
from jaxscale.dimension.changes import DimensionChange, dimension_change
from jaxscale.dimension.differences import Difference, difference
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.adaptive import abide, bide, constant_density
from jaxscale.dimension.estimators.correlation import correlation_dimension
from jaxscale.dimension.estimators.danco import danco
from jaxscale.dimension.estimators.ess import ess
from jaxscale.dimension.estimators.fisher import fisher_separability
from jaxscale.dimension.estimators.knn_graph import knn_graph
from jaxscale.dimension.estimators.likelihood import mle, mle_radius
from jaxscale.dimension.estimators.local_pca import local_pca, pca
from jaxscale.dimension.estimators.mada import mada
from jaxscale.dimension.estimators.minimum_neighbor_distance import mind_ml
from jaxscale.dimension.estimators.moments import mom
from jaxscale.dimension.estimators.persistent_homology import ph0
from jaxscale.dimension.estimators.ratios import gride, twonn
from jaxscale.dimension.estimators.reference_balls import DancoReferences, danco_references
from jaxscale.dimension.estimators.registry import ESTIMATORS
from jaxscale.dimension.estimators.tight import tle
from jaxscale.dimension.measurement import Measurement, measure
from jaxscale.dimension.neighborhood import Neighborhoods, neighborhoods
from jaxscale.dimension.place import Places, by_group, by_layer, per_point
from jaxscale.dimension.residuals import Residuals, residuals_by_k
from jaxscale.dimension.samples import Reservoir, reservoir
from jaxscale.dimension.scale import Plateau, ScaleProfile, by_decimation, by_k, plateau
from jaxscale.dimension.scale_reading import ScaleEnd, ScaleReading, read_scales
from jaxscale.dimension.search.nearest import Neighbors, neighbors
from jaxscale.dimension.standard_errors import clustered_standard_error

__all__ = [
    "ESTIMATORS",
    "Calibrated",
    "DancoReferences",
    "Difference",
    "DimensionChange",
    "Estimate",
    "Measurement",
    "Neighborhoods",
    "Neighbors",
    "Places",
    "Plateau",
    "References",
    "Reservoir",
    "Residuals",
    "ScaleEnd",
    "ScaleProfile",
    "ScaleReading",
    "abide",
    "apply_references",
    "bide",
    "by_decimation",
    "by_group",
    "by_k",
    "by_layer",
    "calibrate",
    "clustered_standard_error",
    "constant_density",
    "correlation_dimension",
    "danco",
    "danco_references",
    "difference",
    "dimension_change",
    "ess",
    "fisher_separability",
    "gride",
    "knn_graph",
    "local_pca",
    "mada",
    "measure",
    "mind_ml",
    "mle",
    "mle_radius",
    "mom",
    "neighborhoods",
    "neighbors",
    "pca",
    "per_point",
    "ph0",
    "plateau",
    "read_references",
    "read_scales",
    "reservoir",
    "residuals_by_k",
    "tle",
    "twonn",
]


def __dir__() -> list[str]:
    return list(__all__)
