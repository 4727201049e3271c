"""What others predict for the same exponents, to be drawn beside the prediction of Havrilla & Liao.

{name: predict(d=10.0) for name, predict in OVERLAYS.items()}
"""

from collections.abc import Callable
from typing import Literal

from jax.typing import ArrayLike

from jaxscale.arguments import choice
from jaxscale.theory.ranges import Numbers, dimension

_INTERPOLATION = {"lipschitz": 1, "smooth_loss": 2, "piecewise_linear": 4}


def sharma_kaplan_exponent(d: ArrayLike) -> Numbers:
    """α_N ≈ 4/d, Sharma & Kaplan 2022 (JMLR 23): networks that cut the data manifold into linear pieces.

    For squared loss and twice differentiable targets; it is 2β/d at β = 2.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.

    Raises:
      InputError: if a concrete `d` is not positive.
    """
    return 4 / dimension(d)


def bahri_exponent(
    d: ArrayLike,
    regime: Literal["resolution", "variance"] = "resolution",
    interpolation: Literal["lipschitz", "smooth_loss", "piecewise_linear"] = "piecewise_linear",
) -> Numbers:
    """Exponents of Bahri et al. 2024 (PNAS 121, arXiv 2102.06701), in data or model size, whichever is scarce.

    In the variance-limited regime, with the other resource held and plentiful, the loss approaches its limit with
    exponent 1. In the resolution-limited one the scarce resource resolves the data manifold: k/d with k = 1 for
    Lipschitz loss, model and target, 2 for a loss that is quadratic about its minimum, and 4
    for squared loss of a piecewise linear model of a smooth target.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      regime: "resolution" or "variance".
      interpolation: "lipschitz", "smooth_loss" or "piecewise_linear".

    Raises:
      InputError: if a concrete `d` is not positive, or a name is unknown.
    """
    choice("regime", regime, ("resolution", "variance"))
    choice("interpolation", interpolation, tuple(_INTERPOLATION))
    d = dimension(d)
    return d / d if regime == "variance" else _INTERPOLATION[interpolation] / d


# Predictions from d alone, as (which exponent, what to call it, how to compute it).
OVERLAYS: tuple[tuple[str, str, Callable[[ArrayLike], Numbers]], ...] = (
    ("N", "Sharma & Kaplan 2022: 4/d", sharma_kaplan_exponent),
    ("N", "Bahri et al. 2024, resolution-limited: 4/d", bahri_exponent),
    ("n", "Bahri et al. 2024, resolution-limited: 4/d", bahri_exponent),
)
