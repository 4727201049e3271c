"""What others predict for the same exponents, to be drawn beside the prediction of Havrilla & Liao.

[(exponent, name, predict(10.0)) for exponent, name, predict in OVERLAYS]
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxscale.arguments import choice
from jaxscale.theory.ranges import Numbers, dimension, in_range, positive

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


def spigler_exponent(d: ArrayLike, teacher: ArrayLike, student: ArrayLike) -> Numbers:
    """Learning-curve exponent min(α_T - d, 2 α_S) / d of kernel regression, Spigler, Geiger & Wyart 2020.

    α_T and α_S are the powers with which the Fourier transforms of the kernels fall: of the Gaussian field that is
    learned, and of the kernel that learns (arXiv 1905.10843). A Laplace kernel has d + 1, a Matérn field of smoothness
    ν has d + 2ν; the exponent of a field that a Laplace kernel can follow is then 2ν/d.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      teacher: α_T, above d.
      student: α_S, above d.

    Raises:
      InputError: if a concrete argument is out of range.
    """
    d = dimension(d)
    teacher = in_range("teacher", teacher, lambda a: a > d, "above d, where the field is continuous")
    student = in_range("student", student, lambda a: a > d, "above d, where the kernel is continuous")
    plain = all(isinstance(value, (int, float, np.generic, np.ndarray)) for value in (d, teacher, student))
    exponent: Numbers = (np if plain else jnp).minimum(teacher - d, 2 * student) / d
    return exponent


def cagnetta_exponent(entropy_exponent: ArrayLike, correlation_exponent: ArrayLike) -> Numbers:
    """α_D = γ / (2β) from statistics of the text alone, Cagnetta et al. 2026 (arXiv 2602.07488): a rival without d.

    Args:
      entropy_exponent: γ, with which the conditional entropy of the next token given m tokens approaches its limit,
        m^-γ; > 0, scalar or any array.
      correlation_exponent: β, with which correlations between tokens at distance m fall, m^-β; > 0.

    Raises:
      InputError: if a concrete exponent is not positive.
    """
    return positive("entropy_exponent", entropy_exponent) / (2 * positive("correlation_exponent", correlation_exponent))


# Predictions from d alone, as (which exponent, what to call it, how to compute it).
OVERLAYS: tuple[tuple[str, str, Callable[[ArrayLike], Numbers]], ...] = (
    ("N", "Sharma & Kaplan 2022: 4/d", sharma_kaplan_exponent),
    ("N", "Bahri et al. 2024, resolution-limited: 4/d", bahri_exponent),
    ("n", "Bahri et al. 2024, resolution-limited: 4/d", bahri_exponent),
)
