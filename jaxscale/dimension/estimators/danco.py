"""Intrinsic dimension from two things that concentrate as it grows: norms of neighbors, and angles between them.

danco(x, k=10)                                    # compared with simulated balls, which are kept in memory
references = danco_references(2500, k=10, max_dimension=100, folder="references")
danco(x, k=10, references=references)             # simulated once, read from disk after
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale import arguments
from jaxscale.dimension.estimate import Estimate, from_influence, refuse_if_none_used
from jaxscale.dimension.estimators import von_mises
from jaxscale.dimension.estimators.norms_and_angles import norms_and_angles
from jaxscale.dimension.estimators.reference_balls import MAX_DIMENSION, DancoReferences, check_k, danco_references
from jaxscale.dimension.gradients import without_gradient
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods, vectors
from jaxscale.dimension.points import Metric, is_traced
from jaxscale.errors import InputError


def danco(
    x: jax.typing.ArrayLike | Neighborhoods,
    k: int = 10,
    integer: bool = False,
    max_dimension: int | None = None,
    references: DancoReferences | None = None,
    key: jax.Array | int | None = None,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
) -> Estimate:
    """Intrinsic dimension from angle and norm concentration (DANCo, Ceruti et al. 2014).

    Three statistics are read from the cloud and, for each dimension d, from simulated samples of the unit ball of R^d:

        δ   the likeliest dimension for minimum neighbor distances, `mind_ml`, without an upper bound
        ν   the mean direction, and
        τ   the concentration of the angles between two neighbors of a point, as seen from it: parameters of a
            von Mises distribution by maximum likelihood over the k(k-1)/2 angles, means over the points

    The estimate is the d whose references are nearest in the sum of two Kullback-Leibler divergences, between the
    distributions of the minimum distance given by δ and between the von Mises distributions given by ν and τ; cloud
    first, reference second. As the references share number of points, k and boundary with the cloud, so they share its
    bias. `integer=True` takes the minimum over the integers, DANCo as published; otherwise δ, ν and τ are interpolated
    between the dimensions simulated (Hermite cubics) and the minimum is taken over 1 ≤ d ≤ max_dimension.

    Noise counts. δ is read from the nearest neighbors, at whose distance noise fills all D columns long before it shows
    elsewhere: a Swiss roll of 2000 points, 14 wide, with noise of 0.05, 0.2 and 0.5 in its three columns reads 2.04,
    2.27 and 2.68, and with that noise in ten columns 2.23, 3.76 and 6.56 (DANCoFit of scikit-dimension: 2.24, 2.46 and
    3.00; 2.32, 5.95 and 7.99). It is never above D. Read noisy clouds at a larger scale: `gride` over n1, see `by_k`.

    The standard error is the delta method on δ, ν and τ, whose influences are means over the points, with overlap as in
    `graph_variance`; it allows for the chance in the references as well. That of the continuous minimum is given for
    the integer too. At the ends of the range of d it is that without the range.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least k+1; integers and half precision are taken as float32.
      k: neighbors between which angles are taken; one more is looked up for the norms. At least 3; static.
      integer: whether the dimension must be an integer. Static.
      max_dimension: upper bound, at most 256; if None, D or the greatest dimension of the references. Static.
      references: from `danco_references`; made for this cloud if None, and kept in memory for the next.
      key: a JAX random key, or an int for `jax.random.key`. Of the references made here; 0 if None, as references are
        a table more than a draw.
      metric: "euclidean", or "cosine" for the angle between rows in radians; see `neighbors`. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out and counts them. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.

    Returns:
      `Estimate`; its scale is the distance T_(k+1). Differentiable in `x` wherever distances are distinct and positive,
        with a gradient of zero at the ends of the range; with `integer` taking the gradient raises `InputError`. Under
        `jit` the references made here are constants, for as many points as x has rows; otherwise for as many as are
        used.

    Raises:
      InputError: if an argument cannot be used, or concrete points are not finite or not more than k+1 when distinct.
        Traced values are not checked: too few points yield nan, as do rows that are not finite under "raise".

    References:
      Ceruti, Bassis, Rozza, Lombardi, Casiraghi & Campadelli, DANCo: an intrinsic dimensionality estimator exploiting
        angle and norm concentration, Pattern Recognition 47, 2014.
    """
    k = check_k(k)
    hoods = neighborhoods(x, k + 1, metric, nonfinite, duplicates)
    n, width = vectors(hoods, "danco").shape[0], hoods.width
    max_dimension = None if max_dimension is None else arguments.integer("max_dimension", max_dimension)
    if references is None:
        max_dimension = min(width, MAX_DIMENSION) if max_dimension is None else max_dimension
        points = n if is_traced(hoods.used) else int(jnp.sum(hoods.used))
        references = danco_references(points, k, max_dimension, key)
    elif references.k != k:
        raise InputError(f"references are for k={references.k}; k={k}. Pass danco_references(n, k={k}, ...).")
    greatest = int(references.max_dimension)
    max_dimension = min(width, greatest) if max_dimension is None else max_dimension
    if not 1 <= max_dimension <= greatest:
        raise InputError(
            f"max_dimension must lie in [1, {greatest}], which the references reach; it is {max_dimension}. "
            "Pass danco_references(..., max_dimension=) that reach farther."
        )
    estimate = refuse_if_none_used(_danco(hoods, references, integer, max_dimension), k=k + 1)
    if not integer:
        return estimate
    return without_gradient(estimate, hoods, "danco with integer=True takes steps", "Pass integer=False")


def _danco(hoods: Neighborhoods, references: DancoReferences, integer: bool, max_dimension: int) -> Estimate:
    # Three programs: the search, slow to compile, does not depend on the shape of the cloud.
    statistics, influence, used = norms_and_angles(vectors(hoods, "danco"), hoods)
    dimension, sensitivity = _nearest_reference(statistics, references, max_dimension, integer)
    estimate: Estimate = _estimate(hoods, dimension, influence @ sensitivity, used, references)
    return estimate


@jax.jit
def _estimate(
    hoods: Neighborhoods, dimension: jax.Array, influence: jax.Array, used: jax.Array, references: DancoReferences
) -> Estimate:
    count = jnp.sum(used)
    estimate = from_influence(
        "danco",
        hoods,
        dimension=jnp.where(hoods.sound & (count > 0), dimension, jnp.nan),
        influence=influence,
        used=used,
    )
    # The references are means over a sample like the cloud, but for the number of points.
    chance = jnp.sqrt(1 + count / references.reads)
    return dataclasses.replace(
        estimate,
        standard_error=chance * estimate.standard_error,
        analytic_standard_error=chance * estimate.analytic_standard_error,
    )


@functools.partial(jax.jit, static_argnames="integer")
def _nearest_reference(
    statistics_3: jax.Array, references: DancoReferences, max_dimension: jax.Array, integer: bool
) -> tuple[jax.Array, jax.Array]:
    """The d in [1, max_dimension] of least divergence, and the derivatives (3,) in the statistics of the continuous d.

    The continuous d is the best of a grid and from there found by bisection of the slope.
    """

    def divergence(d: jax.Array) -> jax.Array:
        return _divergence(statistics_3, _statistics_at(d, references), references.k)

    def best_of(candidates: np.ndarray) -> jax.Array:
        divergences = jax.vmap(divergence)(jnp.asarray(candidates, statistics_3.dtype))
        return jnp.argmin(jnp.where(candidates <= max_dimension, divergences, jnp.inf))

    # Sixteen points to the step from 1 to 2, the coarsest in relative terms, and steps of at most a twentieth above.
    nodes = np.concatenate([np.linspace(1, 2, 16, endpoint=False), np.geomspace(2, references.max_dimension, 100)])
    best = best_of(nodes)
    grid = jnp.asarray(nodes, statistics_3.dtype)
    low = grid[jnp.maximum(best - 1, 0)]
    high = jnp.minimum(grid[jnp.minimum(best + 1, len(nodes) - 1)], max_dimension)

    def halve(_: jax.Array, ends: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = ends
        middle = (low + high) / 2
        rising = jax.grad(divergence)(middle) > 0
        return jnp.where(rising, low, middle), jnp.where(rising, middle, high)

    low, high = lax.stop_gradient(lax.fori_loop(0, 24, halve, (low, high)))
    continuous = (low + high) / 2
    sensitivity_3 = _sensitivity(continuous, statistics_3, references)
    if not integer:
        return _with_derivative(continuous, statistics_3, references, max_dimension), lax.stop_gradient(sensitivity_3)
    return 1.0 + best_of(np.arange(1, references.max_dimension + 1)), sensitivity_3


def _with_derivative(
    d: jax.Array, statistics_3: jax.Array, references: DancoReferences, max_dimension: jax.Array
) -> jax.Array:
    """The minimizing `d`, which does not move with the statistics as far as jax can see, with the derivative it has.

    The slope of the divergence is zero there: a Newton's step from `d` goes nowhere, and has the derivative of the
    minimum (implicit function theorem). At an end of the range the minimum stays where it is.
    """
    slope = jax.grad(lambda d, s: _divergence(s, _statistics_at(d, references), references.k))
    curvature = lax.stop_gradient(jax.grad(slope)(d, statistics_3))
    step = slope(d, statistics_3) / jnp.where(curvature > 0, curvature, 1)
    inside = (curvature > 0) & (d > 1 + 1e-5) & (d < max_dimension * (1 - 1e-6))
    return d - jnp.where(inside, step - lax.stop_gradient(step), 0)


def _sensitivity(d: jax.Array, statistics_3: jax.Array, references: DancoReferences) -> jax.Array:
    """Derivatives (3,) of the minimizing d in the cloud's statistics.

    By the implicit function theorem -(∂²F/∂d²)⁻¹ ∂²F/∂d∂s, with the second derivative in d to the order of Gauss and
    Newton, exact where the divergence vanishes: it is positive and needs no second derivative of the interpolation.
    """
    reference_3, along_3 = jax.jvp(lambda d: _statistics_at(d, references), (d,), (jnp.ones_like(d),))
    by_reference = jax.grad(lambda s, r: _divergence(s, r, references.k), argnums=1)
    curvature = jnp.vdot(along_3, jax.jvp(lambda r: by_reference(statistics_3, r), (reference_3,), (along_3,))[1])
    mixed_3: jax.Array = jax.grad(lambda s: jnp.vdot(along_3, by_reference(s, reference_3)))(statistics_3)
    return -mixed_3 / curvature


def _statistics_at(d: jax.Array, references: DancoReferences) -> jax.Array:
    """The references (3,) at any d between the first and the last, by cubics through them (Hermite)."""
    at_M, value_Mx3 = references.dimensions, references.statistics
    step_M, rise_Mx3 = jnp.diff(at_M)[:, None], jnp.diff(value_Mx3, axis=0)
    secant_Mx3 = rise_Mx3 / step_M
    # The slope of the parabola through a point and its two neighbors; at the ends that of the last step.
    inner = (step_M[1:] * secant_Mx3[:-1] + step_M[:-1] * secant_Mx3[1:]) / (step_M[1:] + step_M[:-1])
    slope_Mx3 = jnp.concatenate([secant_Mx3[:1], inner, secant_Mx3[-1:]])
    i = jnp.clip(jnp.searchsorted(at_M, d, side="right") - 1, 0, len(at_M) - 2)
    h = step_M[i, 0]
    t = (d - at_M[i]) / h
    return (
        value_Mx3[i]
        + t**2 * (3 - 2 * t) * rise_Mx3[i]
        + h * t * (1 - t) * ((1 - t) * slope_Mx3[i] - t * slope_Mx3[i + 1])
    )


def _divergence(statistics_3: jax.Array, reference_3: jax.Array, k: int) -> jax.Array:
    """The sum of the divergences of norms and of angles, cloud first."""
    norms = norm_divergence(reference_3[0] / statistics_3[0], k)
    return norms + von_mises.divergence(statistics_3[1], statistics_3[2], reference_3[1], reference_3[2])


def norm_divergence(ratio: jax.Array, k: int) -> jax.Array:
    """Kullback-Leibler divergence of the minimum distance g(r; k, ratio d) from g(r; k, d), at any d; a scalar.

    Its closed form is an alternating sum of digamma functions times binomial coefficients, which loses four digits at
    k=10 and all of them at k=30. Instead ∫ (w - 1 - log w) k (1-u)^(k-1) du over u = r^d in (0, 1), with w the ratio of
    the densities, is summed as is: no term is negative. The trapezoidal rule after u = 1 / (1 + e^(-π sinh t))
    converges exponentially (Takahasi & Mori 1974).
    """
    # From u = 2e-34 to 1-u = 2e-17, whose square does not vanish in second derivatives.
    t = np.linspace(-3.9, 3.2, 143)
    logit = jnp.asarray(np.pi * np.sinh(t), ratio.dtype)
    log_u, log_rest = -jnp.logaddexp(0, -logit), -jnp.logaddexp(0, logit)
    log_weight = jnp.asarray(np.log(k * np.pi * np.cosh(t) * (t[1] - t[0])), ratio.dtype) + log_u + k * log_rest
    log_w = jnp.log(ratio) + (ratio - 1) * log_u + (k - 1) * (jnp.log(-jnp.expm1(ratio * log_u)) - log_rest)
    return jnp.sum(jnp.exp(log_weight + log_w) - jnp.exp(log_weight) * (1 + log_w))
