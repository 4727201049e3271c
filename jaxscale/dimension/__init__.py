"""Intrinsic dimension of a cloud of points, with error bars, on any device.

from jaxscale import dimension
est = dimension.mle(x, k=20)                      # x: (n, D), sharded or not
est.dimension, est.standard_error, est.local
"""

from jaxscale.dimension.adaptive import abide, bide, constant_density
from jaxscale.dimension.calibration import Calibrated, References, apply_references, calibrate, read_references
from jaxscale.dimension.correlation import correlation_dimension
from jaxscale.dimension.danco import danco
from jaxscale.dimension.ess import ess
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.fisher import fisher_separability
from jaxscale.dimension.knn_graph import knn_graph
from jaxscale.dimension.likelihood import mle, mle_radius
from jaxscale.dimension.local_pca import local_pca, pca
from jaxscale.dimension.mada import mada
from jaxscale.dimension.minimum_neighbor_distance import mind_ml
from jaxscale.dimension.moments import mom
from jaxscale.dimension.nearest import Neighbors, neighbors
from jaxscale.dimension.neighborhoods import Neighborhoods, neighborhoods
from jaxscale.dimension.persistent_homology import ph0
from jaxscale.dimension.place import Places, by_group, by_layer, per_point
from jaxscale.dimension.ratios import GammaPosterior, gride, twonn, twonn_posterior
from jaxscale.dimension.reference_balls import DancoReferences, danco_references
from jaxscale.dimension.registry import ESTIMATORS
from jaxscale.dimension.scale import Plateau, Profile, by_decimation, by_k, plateau
from jaxscale.dimension.standard_errors import clustered_standard_error
from jaxscale.dimension.tight import tle

__all__ = [
    "ESTIMATORS",
    "Calibrated",
    "DancoReferences",
    "Estimate",
    "GammaPosterior",
    "Neighborhoods",
    "Neighbors",
    "Places",
    "Plateau",
    "Profile",
    "References",
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
    "ess",
    "fisher_separability",
    "gride",
    "knn_graph",
    "local_pca",
    "mada",
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
    "tle",
    "twonn",
    "twonn_posterior",
]
