"""The formulas read backwards: the dimension that an exponent implies.

dimension_from_data_exponent(0.286)         # 5.0 at β = 1
"""

from jax.typing import ArrayLike

from jaxscale.theory.ranges import Numbers, in_range, positive, smoothness


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
