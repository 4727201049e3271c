"""jaxscale: how will my transformer scale, and why?

    from jaxscale import dimension, theory
    d = dimension.mle(embeddings, k=20)                 # intrinsic dimension of (n, D) points, on device
    theory.data_exponent(d.dimension, beta=1.0)         # the exponent a transformer should scale with

Sub-packages load on first use: `import jaxscale` alone loads not even jax, and each costs what it needs.
"""

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "ahead",
    "config",
    "constructions",
    "data",
    "dimension",
    "ensembles",
    "errors",
    "laws",
    "lengths",
    "manifolds",
    "models",
    "page",
    "sharding",
    "smoothness",
    "studies",
    "testing",
    "theory",
    "training",
    "verdict",
]
if TYPE_CHECKING:
    from jaxscale import (
        ahead,
        config,
        constructions,
        data,
        dimension,
        ensembles,
        errors,
        laws,
        lengths,
        models,
        page,
        sharding,
        smoothness,
        studies,
        testing,
        theory,
        training,
        verdict,
    )
    from jaxscale.data import manifolds
_DEEPER = {"manifolds": "data.manifolds"}  # offered here for being wanted beside `dimension`


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{_DEEPER.get(name, name)}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
