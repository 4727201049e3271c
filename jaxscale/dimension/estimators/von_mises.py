"""The von Mises distribution of angles: its parameters by maximum likelihood, and the divergence between two of them.

Density e^(τ cos(θ - ν)) / (2π I_0(τ)), with mean direction ν and concentration τ ≥ 0 (Mardia & Jupp 2000, Chapter 3).
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import i0e, i1e


def likeliest_parameters(
    mean_cosine: jax.Array, mean_sine: jax.Array, max_concentration: float
) -> tuple[jax.Array, jax.Array]:
    """ν and τ of greatest likelihood for angles with these mean cosines and sines; any shape.

    ν is their direction, and τ solves I_1(τ) / I_0(τ) = η, the length of the mean. Angles that all coincide have η = 1
    and no finite τ, hence the bound.
    """
    direction = jnp.arctan2(mean_sine, mean_cosine)
    return direction, _concentration(jnp.hypot(mean_cosine, mean_sine), max_concentration)


def divergence(
    direction: jax.Array, concentration: jax.Array, other_direction: jax.Array, other_concentration: jax.Array
) -> jax.Array:
    """Kullback-Leibler divergence of the second von Mises distribution from the first; broadcasts.

    log(I_0(τ') / I_0(τ)) + A (τ - τ' cos(ν - ν')) with A = I_1(τ) / I_0(τ), written in scaled Bessel functions
    I e^-τ, which do not overflow, and so that terms of size τ are not subtracted from each other.
    """
    resultant = i1e(concentration) / i0e(concentration)
    excess = other_concentration - concentration
    turn = 2 * jnp.sin((direction - other_direction) / 2) ** 2
    return (
        jnp.log(i0e(other_concentration) / i0e(concentration))
        + excess * (1 - resultant)
        + resultant * other_concentration * turn
    )


def _concentration(resultant: jax.Array, bound: float) -> jax.Array:
    """The τ ≤ `bound` with I_1(τ) / I_0(τ) = `resultant`, by Newton's method in the logarithm of τ.

    The start, η (2 - η²) / (1 - η²), is exact in the limits of η near zero and one and off by a few percent between
    (Banerjee et al. 2005, Section 3).
    """
    eta = jnp.minimum(resultant, i1e(jnp.asarray(bound, resultant.dtype)) / i0e(jnp.asarray(bound, resultant.dtype)))

    def step(_: jax.Array, tau: jax.Array) -> jax.Array:
        ratio = i1e(tau) / i0e(tau)
        slope = 1 - ratio / tau - ratio**2
        return tau * jnp.exp(jnp.clip((eta - ratio) / (slope * tau), -1, 1))

    start = jnp.maximum(eta * (2 - eta**2) / (1 - eta**2), jnp.finfo(eta.dtype).tiny ** 0.25)
    return jnp.minimum(lax.fori_loop(0, 4, step, start), bound)
