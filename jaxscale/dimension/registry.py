"""The estimators by name, each as a function of neighborhoods alone: for tables, profiles and the command line."""

from __future__ import annotations

from collections.abc import Callable

from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.likelihood import mle
from jaxscale.dimension.neighborhoods import Neighborhoods
from jaxscale.dimension.ratios import gride, twonn
from jaxscale.errors import InputError

Estimator = Callable[[Neighborhoods], Estimate]


def _mle(hoods):
    return mle(hoods, k=hoods.k)


def _gride(hoods):
    return gride(hoods, n1=hoods.k // 2, n2=hoods.k)


# Each reads all k neighbors it is given, where its definition leaves that open.
ESTIMATORS: dict[str, Estimator] = {"gride": _gride, "mle": _mle, "twonn": twonn}


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
