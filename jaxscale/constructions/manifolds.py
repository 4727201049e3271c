"""Atlases of circle, sphere, torus and Swiss roll in any R^D, with the constants that proofs need.

sphere(2, width=32, key=jax.random.key(0))       # S² turned at random into R^32
"""

import math
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import integer
from jaxscale.constructions.atlases import LARGEST_BALL, Atlas, isometry, make_atlas
from jaxscale.errors import InputError

NEWTON_STEPS = 12


def circle(width: int | None = None, radius: float = 0.8, *, key: jax.Array | int | None = None) -> Atlas:
    """The unit circle S¹.

    Args:
      width: of the space R^width it lies in, two or more.
      radius: of charts, below √1.5.
      key: a JAX random key, or an int for `jax.random.key`. It turns the circle at random.
    """
    return sphere(1, width, radius, key=key)


def sphere(d: int = 2, width: int | None = None, radius: float = 0.8, *, key: jax.Array | int | None = None) -> Atlas:
    """The unit sphere S^d in R^width, d + 1 or more.

    A chart is one to one on balls up to √2, and its inverse is c √(1 - |s|²) + V s.

    Args:
      d: 1, 2 or 3.
      width: of the space it lies in, d + 1 or more.
      radius: of charts, below √1.5.
      key: a JAX random key, or an int for `jax.random.key`. It turns the sphere at random.

    Raises:
      InputError: if d is not 1, 2 or 3, the radius is not below √2, or the width is too small.
    """
    d = integer("d", d, 1)
    if d > 3:
        raise InputError(f"d={d} must be 1, 2 or 3.")
    if not 0 < radius < math.sqrt(1.5):
        raise InputError(f"radius={radius} must be positive and below √1.5, where charts of a unit sphere end.")
    basis = isometry(d + 1, width, key=key)
    net, spacing = _sphere_net(d)

    def frames_at(index: np.ndarray) -> np.ndarray:
        # The rest of a basis that begins with the point: columns of a Householder reflection.
        frames = []
        for c in net[index]:
            v = c.copy()
            v[0] += math.copysign(1.0, c[0])
            reflection = np.eye(d + 1) - 2 * np.outer(v, v) / (v @ v)
            frames.append(basis @ reflection[:, 1:])
        return np.stack(frames)

    def lift_from(index: np.ndarray, frames: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        centers = net[index] @ basis.T

        def lift(chart: np.ndarray, offset: np.ndarray) -> np.ndarray:
            height = 1 - np.sum(offset**2, axis=1)
            up = np.sqrt(np.where(height > 0, height, np.nan))
            lifted: np.ndarray = up[:, None] * centers[chart] + np.einsum("nij,nj->ni", frames[chart], offset)
            return lifted

        return lift

    name = "circle" if d == 1 else f"sphere S^{d}"
    return make_atlas(
        f"{name} in R^{basis.shape[0]}", net @ basis.T, spacing, radius, frames_at, lift_from, 1.0, tolerance=1e-6
    )


def torus(
    width: int | None = None,
    major: float = 2.0,
    minor: float = 1.0,
    radius: float = 0.0,
    *,
    key: jax.Array | int | None = None,
) -> Atlas:
    """The torus T² of revolution in R^width, three or more: ((R + ρ cos φ) cos θ, (R + ρ cos φ) sin θ, ρ sin φ).

    Its reach is min(ρ, R - ρ). `radius` is 0.7 of that if zero.

    Args:
      width: of the space it lies in, three or more.
      major, minor: R and ρ.
      radius: of charts.
      key: a JAX random key, or an int for `jax.random.key`. It turns the torus at random.

    Raises:
      InputError: if not 0 < minor < major, or the radius exceeds 0.7 of the reach.
    """
    if not 0 < minor < major:
        raise InputError(f"the torus needs 0 < minor < major; minor={minor}, major={major}.")

    def embed(q: jax.Array) -> jax.Array:
        across = major + minor * jnp.cos(q[1])
        return jnp.stack([across * jnp.cos(q[0]), across * jnp.sin(q[0]), minor * jnp.sin(q[1])])

    steps = (480, 240)
    sides = [2 * np.pi / n for n in steps]
    parameters = _grid([np.arange(n) * h for n, h in zip(steps, sides, strict=True)])
    spacing = math.hypot((major + minor) * sides[0], minor * sides[1]) / 2
    reach = min(minor, major - minor)
    return _parametrized("torus", embed, 3, parameters, spacing, reach, radius, width, key)


def swiss_roll(
    width: int | None = None,
    turns: float = 1.5,
    height: float = 4.0,
    radius: float = 0.0,
    *,
    key: jax.Array | int | None = None,
) -> Atlas:
    """The Swiss roll (t cos t, h, t sin t), t from 1.5π over `turns`, h in [0, height], in R^width, three or more.

    The sheets of this spiral lie 2π apart and its radius of curvature is (t² + 1)^(3/2) / (t² + 2), at least t: the
    reach is half the distance of the sheets. `radius` is 0.7 of that if zero. Functions are also asked for values a
    little beyond the edges, where the same formula goes on.

    Args:
      width: of the space it lies in, three or more.
      turns: of the spiral.
      height: across it.
      radius: of charts.
      key: a JAX random key, or an int for `jax.random.key`. It turns the roll at random.
    """
    if not (turns > 0 and height > 0):
        raise InputError(f"turns={turns} and height={height} must be positive.")

    def embed(q: jax.Array) -> jax.Array:
        return jnp.stack([q[0] * jnp.cos(q[0]), q[1], q[0] * jnp.sin(q[0])])

    last = 1.5 * np.pi + 2 * np.pi * turns
    step = 0.06
    t = 1.5 * np.pi + np.linspace(0, 2 * np.pi * turns, math.ceil(2 * np.pi * turns * last / step) + 1)
    h = np.linspace(0, height, math.ceil(height / step) + 1)
    spacing = math.hypot(math.sqrt(1 + last**2) * (t[1] - t[0]), h[1] - h[0]) / 2
    # Between sheets the distance is 2π along a ray and a little less along the normal, by t/√(t²+1) at least.
    reach = np.pi * 1.5 * np.pi / math.sqrt((1.5 * np.pi) ** 2 + 1)
    return _parametrized("swiss roll", embed, 3, _grid([t, h]), spacing, reach, radius, width, key)


def _parametrized(
    name: str,
    embed: Callable[[jax.Array], jax.Array],
    source: int,
    parameters: np.ndarray,
    spacing: float,
    reach: float,
    radius: float,
    width: int | None,
    key: jax.Array | int | None,
) -> Atlas:
    """The atlas of a manifold given by a map from parameters to R^source; its charts are inverted by Newton's steps."""
    radius = radius or LARGEST_BALL * reach
    if not 0 < radius <= LARGEST_BALL * reach * (1 + 1e-12):
        raise InputError(
            f"radius={radius} must be positive and at most {LARGEST_BALL:g} of the reach {reach:.3g} of the {name}."
        )
    basis = isometry(source, width, key=key)
    jacobian = jax.jacfwd(embed)
    with jax.enable_x64(True):
        net = np.asarray(jax.jit(jax.vmap(embed))(parameters)) @ basis.T

    def frames_at(index: np.ndarray) -> np.ndarray:
        with jax.enable_x64(True):
            slopes = np.asarray(jax.jit(jax.vmap(jacobian))(parameters[index]))
        frames: np.ndarray = np.einsum("ij,njk->nik", basis, np.linalg.qr(slopes)[0])
        return frames

    def lift_from(index: np.ndarray, frames: np.ndarray) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        flat_frames = np.einsum("ji,njk->nik", basis, frames)

        @jax.jit
        @jax.vmap
        def solve(q: jax.Array, frame: jax.Array, offset: jax.Array) -> jax.Array:
            start = q

            def step(_: jax.Array, q: jax.Array) -> jax.Array:
                residual = frame.T @ (embed(q) - embed(start)) - offset
                better: jax.Array = q - jnp.linalg.solve(frame.T @ jacobian(q), residual)
                return better

            q = jax.lax.fori_loop(0, NEWTON_STEPS, step, q)
            point = embed(q)
            rise = point - embed(start)
            found = jnp.max(jnp.abs(frame.T @ rise - offset)) < 1e-9
            # Farther than the ball is another sheet, or no point at all.
            near = jnp.sum(rise**2) < (1.5 * radius) ** 2
            return jnp.where(found & near, point, jnp.nan)

        def lift(chart: np.ndarray, offset: np.ndarray) -> np.ndarray:
            size = 1 << max(0, len(chart) - 1).bit_length()  # few shapes, so few programs
            padded: Callable[[np.ndarray], np.ndarray] = lambda x: np.pad(
                x, [(0, size - len(x))] + [(0, 0)] * (x.ndim - 1)
            )
            with jax.enable_x64(True):
                points = solve(padded(parameters[index][chart]), padded(flat_frames[chart]), padded(offset))
            lifted: np.ndarray = np.asarray(points)[: len(chart)] @ basis.T
            return lifted

        return lift

    return make_atlas(
        f"{name} in R^{basis.shape[0]}", net, spacing, radius, frames_at, lift_from, reach, tolerance=1e-6
    )


def _grid(axes: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes))


def _sphere_net(d: int) -> tuple[np.ndarray, float]:
    """Points of S^d and how far any point is from the nearest: the faces of a cube, projected.

    Projection from the center shortens distances outside the unit ball, so half the diagonal of a cell bounds it.
    """
    steps = {1: 256, 2: 100, 3: 30}[d]
    axis = np.linspace(-1, 1, steps + 1)
    face = _grid([axis] * d)
    sides = [np.insert(face, i, sign, axis=1) for i in range(d + 1) for sign in (-1.0, 1.0)]
    points = np.unique(np.concatenate(sides), axis=0)
    return points / np.linalg.norm(points, axis=1, keepdims=True), math.sqrt(d) / steps
