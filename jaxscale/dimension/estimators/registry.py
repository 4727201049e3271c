"""The estimators by name, each as a function of neighborhoods alone: for tables, profiles and the command line."""

from __future__ import annotations

from collections.abc import Callable

from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.adaptive import abide, bide
from jaxscale.dimension.estimators.correlation import correlation_dimension
from jaxscale.dimension.estimators.danco import danco
from jaxscale.dimension.estimators.ess import ess
from jaxscale.dimension.estimators.fisher import fisher_separability
from jaxscale.dimension.estimators.knn_graph import knn_graph, neighbors_needed
from jaxscale.dimension.estimators.likelihood import mle
from jaxscale.dimension.estimators.local_pca import local_pca, pca
from jaxscale.dimension.estimators.mada import mada
from jaxscale.dimension.estimators.minimum_neighbor_distance import mind_ml
from jaxscale.dimension.estimators.moments import mom
from jaxscale.dimension.estimators.persistent_homology import ph0
from jaxscale.dimension.estimators.ratios import gride, twonn
from jaxscale.dimension.estimators.tight import tle
from jaxscale.dimension.neighborhood import Neighborhoods
from jaxscale.errors import InputError

Estimator = Callable[[Neighborhoods], Estimate]


def _with_k(function: Callable[..., Estimate], beyond: int = 0) -> Estimator:
    """`function` at the largest k that the neighborhoods allow, where it looks up `beyond` more than k neighbors."""
    return lambda hoods: function(hoods, k=hoods.k - beyond)


def _knn_graph(hoods: Neighborhoods) -> Estimate:
    fitting = [k for k in range(1, hoods.k) if neighbors_needed(k, 0.5) <= hoods.k]
    if not fitting:
        raise InputError(f"k={hoods.k} is too few for 'knn_graph', which needs {neighbors_needed(1, 0.5)}. Raise k.")
    return knn_graph(hoods, k=fitting[-1])


# Each reads all k neighbors it is given; those that need fewer, or none, read what they need.
ESTIMATORS: dict[str, Estimator] = {
    "abide": _with_k(abide),
    "bide": _with_k(bide),
    "correlation_dimension": lambda hoods: correlation_dimension(hoods, k1=hoods.k // 2, k2=hoods.k),
    "danco": _with_k(danco, beyond=1),
    "ess": _with_k(ess),
    "fisher_separability": fisher_separability,
    "gride": lambda hoods: gride(hoods, n1=hoods.k // 2, n2=hoods.k),
    "knn_graph": _knn_graph,
    "local_pca": _with_k(local_pca),
    "mada": _with_k(mada),
    "mind_ml": _with_k(mind_ml, beyond=1),
    "mle": _with_k(mle),
    "mom": _with_k(mom),
    "pca": pca,
    "ph0": ph0,
    "tle": _with_k(tle),
    "twonn": twonn,
}


# The fewest neighbors that each can be given; those that need none are not named.
LEAST_NEIGHBORS = {
    "abide": 4,
    "bide": 2,
    "correlation_dimension": 2,
    "danco": 4,
    "ess": 3,
    "gride": 2,
    "knn_graph": neighbors_needed(1, 0.5),
    "local_pca": 2,
    "mada": 4,
    "mind_ml": 2,
    "mle": 3,
    "mom": 2,
    "tle": 3,
    "twonn": 2,
}
# Those that cut at `Neighborhoods.width`.
BOUNDED_BY_WIDTH = frozenset({"danco", "mind_ml"})


def at_all_neighbors(estimator: str | Estimator) -> tuple[str, Estimator]:
    """The name of an estimator and the function itself, which reads all the neighbors it is given.

    Raises:
      InputError: if a name is not in `ESTIMATORS`.
    """
    if callable(estimator):
        return getattr(estimator, "__name__", type(estimator).__name__), estimator
    if estimator not in ESTIMATORS:
        raise InputError(f"estimator={estimator!r} is not known. There are {', '.join(ESTIMATORS)}.")
    return estimator, ESTIMATORS[estimator]
