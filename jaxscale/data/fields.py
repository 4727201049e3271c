"""Targets of exactly known smoothness: sums of plane waves with a power-law spectrum, in the manner of Weierstrass.

    field = weierstrass(width=3, beta=0.5, octaves=8, key=jax.random.key(0))
    y_N = field(x_NxW)                                       # at points of R^3, those of a manifold included

With wave vectors ω of every direction, lengths from 1 to 2^octaves even in their logarithm, and amplitudes |ω|^-β, the
energy beyond the frequency 1/h falls as h^2β: E (f(x) - f(x'))² grows as |x - x'|^2β over distances from 2^-octaves
to 1 (at β = 1 with a further factor log 1/|x - x'|: the sum is then of Zygmund's class, whose minimax rates are those
of β = 1 too). So the sum has Hölder smoothness β and no more, as far as anything can be resolved that is coarser than
the shortest wave, 2π / 2^octaves long; below that, being finite, it is smooth. So it is on submanifolds.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp

from jaxscale.arguments import random_key
from jaxscale.errors import InputError

# Points whose waves are held at once.
CHUNK = 4096


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Field:
    """f(x) = (Σ_m a_m cos(ω_m·x + φ_m) - shift) / scale.

    Attributes:
      frequencies: (M, W), ω.
      phases: (M,), φ.
      amplitudes: (M,), a.
      shift, scale: numbers; the sum has mean 0 and variance 1 over phases, and `normalized` makes it so over points.
    """

    frequencies: jax.Array
    phases: jax.Array
    amplitudes: jax.Array
    shift: jax.Array
    scale: jax.Array

    def __call__(self, x_NxW: jax.Array) -> jax.Array:
        """(N, W) points to (N,) values; float32, a few thousand points at a time."""
        size = min(CHUNK, len(x_NxW))
        whole = len(x_NxW) - len(x_NxW) % size
        # A loop over a function that is always the same one is compiled once; one of `jax.lax.map` at every call.
        _, values_CxS = jax.lax.scan(_values, self, x_NxW[:whole].reshape(-1, size, x_NxW.shape[1]))
        values: jax.Array = values_CxS.reshape(whole)
        return values if whole == len(x_NxW) else jnp.concatenate([values, _values(self, x_NxW[whole:])[1]])


def weierstrass(width: int, beta: float, octaves: int, waves: int = 64, *, key: jax.Array | int) -> Field:
    """A random field on R^width of smoothness `beta`, with `waves` waves in each octave.

    Args:
      width: coordinates of a point.
      beta: in (0, 1].
      octaves: frequencies reach from 1 to 2^octaves.
      waves: of each octave, their directions uniform and their lengths one to each step of a fine ladder.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: for a smoothness out of range or sizes that are not positive.
    """
    if not 0 < beta <= 1:
        raise InputError(f"beta={beta} must lie in (0, 1]. Smoother targets need other fields.")
    if min(width, octaves, waves) < 1:
        raise InputError(f"width={width}, octaves={octaves} and waves={waves} must be positive. Give larger ones.")
    count = octaves * waves
    direction_key, length_key, phase_key = jax.random.split(random_key("key", key), 3)
    directions = jax.random.normal(direction_key, (count, width))
    directions = directions / jnp.linalg.norm(directions, axis=1, keepdims=True)
    lengths = 2.0 ** ((jnp.arange(count) + jax.random.uniform(length_key, (count,))) / waves)
    amplitudes = lengths**-beta
    return Field(
        frequencies=lengths[:, None] * directions,
        phases=jax.random.uniform(phase_key, (count,), maxval=2 * jnp.pi),
        amplitudes=amplitudes * jnp.sqrt(2 / jnp.sum(amplitudes**2)),
        shift=jnp.zeros(()),
        scale=jnp.ones(()),
    )


def normalized(field: Field, x_NxW: jax.Array) -> Field:
    """`field` with mean 0 and variance 1 over points (N, W)."""
    y_N = field(x_NxW)
    return dataclasses.replace(field, shift=jnp.mean(y_N), scale=jnp.std(y_N))


def _values(field: Field, x_NxW: jax.Array) -> tuple[Field, jax.Array]:
    return field, jax.vmap(functools.partial(_value, field))(x_NxW)


def _value(field: Field, x_W: jax.Array) -> jax.Array:
    phase_M = jnp.matmul(field.frequencies, x_W, precision="highest") + field.phases
    return (jnp.sum(field.amplitudes * jnp.cos(phase_M)) - field.shift) / field.scale
