"""From squared error, for which the rates are proved, to cross-entropy, in which language models are scored."""

from typing import NamedTuple

from jax.typing import ArrayLike

from jaxscale.theory.ranges import Numbers, dimension, in_range, smoothness


class Bracket(NamedTuple):
    """The least and the greatest exponent that assumptions leave open."""

    lower: Numbers
    upper: Numbers


def cross_entropy_exponent(d: ArrayLike, beta: ArrayLike = 1.0, small_value_index: ArrayLike = 1.0) -> Numbers:
    """Exponent of the excess cross-entropy in n, (1+a)β / ((1+a)β + d), for a small-value index a in [0, 1].

    The index says how rarely a class probability is small: P(p <= t) <= C t^a. At a = 1, probabilities bounded away
    from 0 included, the Kullback-Leibler divergence is quadratic in the error and the exponent is that of squared
    loss; at a = 0 nothing is assumed. Bos & Schmidt-Hieber 2022 (arXiv 2108.00969) prove it for ReLU networks
    on the cube, up to logarithms; for transformers on manifolds no theorem is known.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the class probabilities, in (0, 1].
      small_value_index: a, in [0, 1].

    Raises:
      InputError: if a concrete argument is out of range.
    """
    d, beta = dimension(d), smoothness(beta)
    index = in_range("small_value_index", small_value_index, lambda a: (a >= 0) & (a <= 1), "in [0, 1]")
    return (1 + index) * beta / ((1 + index) * beta + d)


def cross_entropy_bracket(d: ArrayLike, beta: ArrayLike = 1.0) -> Bracket:
    """β/(β+d) to 2β/(2β+d): the exponents of the excess cross-entropy in n for every small-value index.

    Args:
      d: intrinsic dimension of the data, > 0; scalar or any array.
      beta: Hölder smoothness of the class probabilities, in (0, 1].

    Raises:
      InputError: if a concrete argument is out of range.
    """
    return Bracket(cross_entropy_exponent(d, beta, 0.0), cross_entropy_exponent(d, beta, 1.0))
