"""What is known of the error on one long string from a short one: a certificate for a trained network.

    found = certificate(f, g, tokens_T, length, short)
    found.bound >= found.error                         # always: it is a sum of three measured distances

    |f(x) - g(x)| <= |f(x) - f(z)| + |f(z) - g(z)| + |g(z) - g(x)|

The middle term is the error on a string as short as those trained on; the outer ones are made small by how z is built
(`simulation.proportional`, `subsampling.thin`).
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp

from jaxscale.lengths.simulation import Short
from jaxscale.lengths.strings import Length, Tokens

# (tokens, length) to (O,).
Network = Callable[[Tokens, Length], jax.Array]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Certificate:
    """Distances between a network f and its target g on a long string x and a short one z.

    Attributes:
      network: |f(x) - f(z)|.
      target: |g(x) - g(z)|.
      short: |f(z) - g(z)|.
      bound: their sum.
      error: |f(x) - g(x)|, which the sum bounds.
      length: tokens of z.
    """

    network: jax.Array
    target: jax.Array
    short: jax.Array
    bound: jax.Array
    error: jax.Array
    length: jax.Array


def certificate(f: Network, g: Network, tokens_T: Tokens, length: Length, short: Short) -> Certificate:
    """The `Certificate` of f and g on a string and its short version.

    Args:
      f, g: (tokens, length) -> (O,); distances are the sum of absolute differences over O.
      tokens_T: (T,) integers; those from `length` on do not matter.
      length: T.
      short: `simulation.Short`.
    """
    tokens_T = jnp.asarray(tokens_T)
    distance: Callable[[jax.Array, jax.Array], jax.Array] = lambda a, b: jnp.sum(jnp.abs(a - b))
    fx, gx = f(tokens_T, length), g(tokens_T, length)
    fz, gz = f(short.tokens, short.length), g(short.tokens, short.length)
    network, target, between = distance(fx, fz), distance(gx, gz), distance(fz, gz)
    return Certificate(network, target, between, network + target + between, distance(fx, gx), short.length)


def tightest(f: Network, g: Network, tokens_T: Tokens, length: Length, shorts: Short) -> Certificate:
    """The `Certificate` of least bound among several short strings, a `Short` with a leading axis; feasible ones."""
    found = jax.vmap(lambda short: certificate(f, g, tokens_T, length, short))(shorts)
    best = jnp.argmin(jnp.where(shorts.feasible, found.bound, jnp.inf))
    chosen: Certificate = jax.tree.map(lambda leaf: leaf[best], found)
    return chosen
