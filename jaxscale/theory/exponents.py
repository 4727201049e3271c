"""Scaling exponents of transformers on data of intrinsic dimension d, for targets of Hölder smoothness β.

    data_exponent(d=5.0), model_exponent(d=5.0), compute_exponent(d=5.0)    # 0.286, 0.4, 0.167

Every function broadcasts, traces under `jit`, `grad` and `vmap`, and returns numbers of the kind it was given: Python
floats stay float64 without any global switch. Concrete values out of range raise; traced values are not checked.
"""

from typing import Literal, NamedTuple

from jax.typing import ArrayLike

from jaxscale.arguments import choice
from jaxscale.theory.ranges import Numbers, dimension, positive, smoothness

LIMITS = (
    "The rates are upper bounds on the error; no lower bound for transformers says that training cannot do better.",
    "They hold for the empirical risk minimizer; nothing is assumed or proved about an optimizer reaching it.",
    "They are proved for squared loss in regression; cross-entropy shares them only if probabilities stay away from 0.",
    "The smoothness β of the target is unknown; β = 1 is an assumption, and the exponents grow with it.",
    "The constants in front of the rates may grow exponentially with d, so a finite range of sizes can look different.",
    "One global intrinsic dimension d stands for data whose dimension may vary from place to place and with scale.",
    "The class analysed has ReLU attention, fixed position encodings and bounded weights, unlike trained transformers.",
)


def data_exponent(d: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """Exponent α_D of the squared generalization error n^-α_D after training on n samples.

    α_D = 2β / (2β + d), Havrilla & Liao 2024, Theorem 1 (arXiv 2411.06646), up to logarithms; with label noise.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      α_D, broadcast over `d` and `beta`.

    Raises:
      InputError: if a concrete `d` or `beta` is out of range.
    """
    d, beta = dimension(d), smoothness(beta)
    return 2 * beta / (2 * beta + d)


def model_exponent(d: ArrayLike, beta: ArrayLike = 1.0, loss: Literal["squared", "norm"] = "squared") -> Numbers:
    """Exponent α_N of the approximation error N^-α_N of a transformer with N parameters.

    α_N = 2β / d for squared loss and β / d for a norm of the error (sup or L2): N = ε^(-d/β) parameters, up to
    logarithms, approximate a β-Hölder target on a d-dimensional manifold within ε (Havrilla & Liao 2024; derived, see
    docs/mathematics).

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].
      loss: "squared", or "norm" for the error itself.

    Returns:
      α_N, broadcast over `d` and `beta`.

    Raises:
      InputError: if a concrete `d` or `beta` is out of range, or `loss` is neither name.
    """
    choice("loss", loss, ("squared", "norm"))
    d, beta = dimension(d), smoothness(beta)
    return (2 * beta if loss == "squared" else beta) / d


def compute_exponent(d: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """Exponent α_C of the squared error C^-α_C when compute C = N·n is split best between model and data.

    α_C = α_N α_D / (α_N + α_D) = β / (β + d), with the exponents of `model_exponent` and `data_exponent`. Derived, see
    docs/mathematics; Havrilla & Liao 2024 leave it open.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      α_C, broadcast over `d` and `beta`.

    Raises:
      InputError: if a concrete `d` or `beta` is out of range.
    """
    d, beta = dimension(d), smoothness(beta)
    return beta / (beta + d)


def optimal_size_exponent(d: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """Exponent a of the compute-optimal model size N* ∝ C^a: a = α_D / (α_N + α_D) = d / (2 (β + d)), below 1/2.

    Derived, see docs/mathematics; the tokens then grow as C^(1-a).

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      a, broadcast over `d` and `beta`.

    Raises:
      InputError: if a concrete `d` or `beta` is out of range.
    """
    d, beta = dimension(d), smoothness(beta)
    return d / (2 * (beta + d))


class ComputeSplit(NamedTuple):
    """How the best split of compute C = N n scales."""

    loss: Numbers  # α_C: the excess loss falls as C^-α_C
    size: Numbers  # a: N* grows as C^a
    data: Numbers  # b = 1 - a: n* grows as C^b


def compute_split(alpha_model: ArrayLike, alpha_data: ArrayLike) -> ComputeSplit:
    """Exponents of the compute-optimal loss, model size and data for any two exponents, of theory or of a fit.

    For a N^-α_N + b n^-α_D at N n = C: α_C = α_N α_D / (α_N + α_D), N* ∝ C^(α_D / (α_N + α_D)). Derived, see
    docs/mathematics; the same as Hoffmann et al. 2022 (arXiv 2203.15556), equation 4.

    Args:
      alpha_model: exponent of the excess loss in the number of parameters, > 0; scalar or any array.
      alpha_data: exponent of the excess loss in the number of samples, > 0.

    Raises:
      InputError: if a concrete exponent is not positive.
    """
    alpha_model, alpha_data = positive("alpha_model", alpha_model), positive("alpha_data", alpha_data)
    total = alpha_model + alpha_data
    return ComputeSplit(alpha_model * alpha_data / total, alpha_data / total, alpha_model / total)


def consistency(alpha_data: ArrayLike, alpha_model: ArrayLike) -> Numbers:
    """Δ = 1/α_D - 1/α_N, which the theory fixes without knowing d or β: 1 with label noise, 0 without.

    Both exponents are of squared loss. A measured Δ away from 1 contradicts the theory whatever the geometry of the
    data. Derived, see docs/mathematics.

    Args:
      alpha_data: exponent of the loss in the number of samples, > 0; scalar or any array.
      alpha_model: exponent of the loss in the number of parameters, > 0.

    Returns:
      Δ, broadcast over both.

    Raises:
      InputError: if a concrete exponent is not positive.
    """
    alpha_data, alpha_model = positive("alpha_data", alpha_data), positive("alpha_model", alpha_model)
    return 1 / alpha_data - 1 / alpha_model
