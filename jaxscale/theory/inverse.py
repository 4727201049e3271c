"""The formulas read backwards: the dimension or smoothness an exponent implies, the samples an error takes.

dimension_from_data_exponent(0.286)         # 5.0 at β = 1
samples_for_error(0.01, d=5.0)              # 1e7, if the error of one sample is 1
"""

import numpy as np
from jax.typing import ArrayLike

from jaxscale.theory.exponents import data_exponent, model_exponent
from jaxscale.theory.ranges import Numbers, dimension, in_range, positive, smoothness


def dimension_from_data_exponent(alpha: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """The intrinsic dimension at which `data_exponent` equals a measured `alpha`: d = 2β (1/α - 1).

    Args:
      alpha: data exponent, in (0, 1); scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      d, broadcast over `alpha` and `beta`.

    Raises:
      InputError: if a concrete `alpha` or `beta` is out of range.
    """
    alpha = in_range("alpha", alpha, lambda a: (a > 0) & (a < 1), "in (0, 1), where every data exponent lies")
    return 2 * smoothness(beta) * (1 - alpha) / alpha


def dimension_from_model_exponent(alpha: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """The intrinsic dimension at which `model_exponent` equals a measured `alpha`: d = 2β / α, for squared loss.

    Args:
      alpha: model exponent, > 0; scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      d, broadcast over `alpha` and `beta`.

    Raises:
      InputError: if a concrete `alpha` or `beta` is out of range.
    """
    return 2 * smoothness(beta) / positive("alpha", alpha)


def dimension_from_compute_exponent(alpha: ArrayLike, beta: ArrayLike = 1.0) -> Numbers:
    """The intrinsic dimension at which `compute_exponent` equals a measured `alpha`: d = β (1/α - 1).

    Args:
      alpha: compute exponent, in (0, 1); scalar or any array.
      beta: Hölder smoothness of the target, in (0, 1].

    Returns:
      d, broadcast over `alpha` and `beta`.

    Raises:
      InputError: if a concrete `alpha` or `beta` is out of range.
    """
    alpha = in_range("alpha", alpha, lambda a: (a > 0) & (a < 1), "in (0, 1), where every compute exponent lies")
    return smoothness(beta) * (1 - alpha) / alpha


def smoothness_from_data_exponent(alpha: ArrayLike, d: ArrayLike) -> Numbers:
    """The smoothness at which `data_exponent` equals a measured `alpha` at dimension `d`: β = d α / (2 (1 - α)).

    The theorems hold for β up to 1; a larger value says that the data scale better than they promise for any target.

    Args:
      alpha: data exponent, in (0, 1); scalar or any array.
      d: intrinsic dimension, > 0.

    Returns:
      β, broadcast over `alpha` and `d`.

    Raises:
      InputError: if a concrete `alpha` or `d` is out of range.
    """
    alpha = in_range("alpha", alpha, lambda a: (a > 0) & (a < 1), "in (0, 1), where every data exponent lies")
    return dimension(d) * alpha / (2 * (1 - alpha))


def error_of_samples(n: ArrayLike, d: ArrayLike, beta: ArrayLike = 1.0, error_of_one: ArrayLike = 1.0) -> Numbers:
    """The squared error the rate gives for n samples: error_of_one · n^-α_D, logarithms dropped.

    Args:
      n: samples, >= 1; scalar or any array.
      d: intrinsic dimension, > 0.
      beta: Hölder smoothness of the target, in (0, 1].
      error_of_one: the constant in front, > 0, for instance from a fit.

    Raises:
      InputError: if a concrete argument is out of range.
    """
    n = in_range("n", n, lambda n: n >= 1, "of at least 1")
    return positive("error_of_one", error_of_one) * n ** -data_exponent(d, beta)


def samples_for_error(error: ArrayLike, d: ArrayLike, beta: ArrayLike = 1.0, error_of_one: ArrayLike = 1.0) -> Numbers:
    """The number of samples at which `error_of_samples` falls to `error`: (error_of_one / error)^(1/α_D).

    Infinite beyond the largest number of its type, 1.8e308 of Python's: an error of 0.01 at d = 97.3 and β = 0.1 takes
    10^975 samples. The exponent 975 is log10(error_of_one / error) / data_exponent(d, beta).

    Args:
      error: squared error aimed at, in (0, error_of_one]; scalar or any array.
      d: intrinsic dimension, > 0.
      beta: Hölder smoothness of the target, in (0, 1].
      error_of_one: the constant in front, > 0.

    Raises:
      InputError: if a concrete argument is out of range.
    """
    return _inverse_power(error, error_of_one, data_exponent(d, beta))


def error_of_parameters(N: ArrayLike, d: ArrayLike, beta: ArrayLike = 1.0, error_of_one: ArrayLike = 1.0) -> Numbers:
    """The squared approximation error the rate gives for N parameters: error_of_one · N^-α_N, logarithms dropped.

    Args:
      N: parameters, >= 1; scalar or any array.
      d: intrinsic dimension, > 0.
      beta: Hölder smoothness of the target, in (0, 1].
      error_of_one: the constant in front, > 0.

    Raises:
      InputError: if a concrete argument is out of range.
    """
    N = in_range("N", N, lambda N: N >= 1, "of at least 1")
    return positive("error_of_one", error_of_one) * N ** -model_exponent(d, beta)


def parameters_for_error(
    error: ArrayLike, d: ArrayLike, beta: ArrayLike = 1.0, error_of_one: ArrayLike = 1.0
) -> Numbers:
    """The number of parameters at which `error_of_parameters` falls to `error`: (error_of_one / error)^(1/α_N).

    Infinite beyond the largest number of its type, as `samples_for_error`.

    Args:
      error: squared error aimed at, in (0, error_of_one]; scalar or any array.
      d: intrinsic dimension, > 0.
      beta: Hölder smoothness of the target, in (0, 1].
      error_of_one: the constant in front, > 0.

    Raises:
      InputError: if a concrete argument is out of range.
    """
    return _inverse_power(error, error_of_one, model_exponent(d, beta))


def _inverse_power(error: ArrayLike, error_of_one: ArrayLike, exponent: Numbers) -> Numbers:
    error_of_one = positive("error_of_one", error_of_one)
    error = in_range(
        "error", error, lambda e: (e > 0) & (e <= error_of_one), f"above 0 and up to error_of_one={error_of_one}"
    )
    with np.errstate(over="ignore"):
        try:
            return (error_of_one / error) ** (1 / exponent)
        except OverflowError:  # of Python's own numbers; arrays come to infinity by themselves
            return np.inf
