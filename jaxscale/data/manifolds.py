"""Clouds whose intrinsic dimension is known: the standard benchmark, and shapes to build more.

cloud = embed(sphere(5), width=768, key=jax.random.key(1))
x = with_noise(cloud, 0.01).sample(2500, key=jax.random.key(0))         # (2500, 768); jitted
{label: m.sample(2500, key=key) for label, m in benchmark().items()}     # the 24 clouds of the literature
"""

import dataclasses
import functools
import math
import types
from collections.abc import Callable, Iterable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.arguments import random_key
from jaxscale.errors import InputError

# (key, n) to (n, width) points.
Draw = Callable[[jax.Array, int], jax.Array]


@dataclasses.dataclass(frozen=True)
class Manifold:
    """A distribution of points whose intrinsic dimension is known.

    Attributes:
      name: how it was made, such as "sphere(10)".
      dimension: intrinsic dimension; not an integer for fractals.
      width: of the ambient space.
      draw: (key, n) to (n, width) points, independent and from one distribution; pure, `n` static.
    """

    name: str
    dimension: float
    width: int
    draw: Draw

    def sample(self, n: int, *, key: jax.Array | int) -> jax.Array:
        """`n` points, (n, width), float32 (float64 where jax is told to use it); jitted, and may be vmapped over keys.

        Args:
          n: points; static.
          key: a JAX random key, or an int for `jax.random.key`.

        Raises:
          InputError: if `n` is not a positive integer.
        """
        if n < 1:
            raise InputError(f"n must be at least 1; it is {n}.")
        points: jax.Array = _sample(self.draw, random_key("key", key), n)
        return points


@functools.partial(jax.jit, static_argnums=(0, 2))
def _sample(draw: Draw, key: jax.Array, n: int) -> jax.Array:
    return draw(key, n)


# Shapes: uniform over their volume unless said otherwise.


def sphere(d: int) -> Manifold:
    """The unit sphere S^d in R^(d+1)."""
    _check_dimension(d)
    return Manifold(f"sphere({d})", d, d + 1, lambda key, n: _directions(key, n, d + 1))


def ball(d: int) -> Manifold:
    """The unit ball in R^d."""
    _check_dimension(d)

    def draw(key: jax.Array, n: int) -> jax.Array:
        direction_key, radius_key = jax.random.split(key)
        radius = jax.random.uniform(radius_key, (n, 1)) ** (1 / d)
        return radius * _directions(direction_key, n, d)

    return Manifold(f"ball({d})", d, d, draw)


def cube(d: int) -> Manifold:
    """The unit cube [0, 1]^d."""
    _check_dimension(d)
    return Manifold(f"cube({d})", d, d, lambda key, n: jax.random.uniform(key, (n, d)))


def gaussian(d: int) -> Manifold:
    """The standard normal distribution in R^d."""
    _check_dimension(d)
    return Manifold(f"gaussian({d})", d, d, lambda key, n: jax.random.normal(key, (n, d)))


def affine(matrix: np.typing.ArrayLike, offset: np.typing.ArrayLike = 0.0) -> Manifold:
    """The cube [0, 1]^m under x -> matrix x + offset; its dimension is the rank of `matrix`.

    Args:
      matrix: (width, m).
      offset: (width,), or a scalar.
    """
    matrix = np.asarray(matrix, float)
    if matrix.ndim != 2:
        raise InputError(f"matrix must have shape (width, m); it has shape {matrix.shape}.")
    width, m = matrix.shape
    offset = np.broadcast_to(np.asarray(offset, float), (width,))

    def draw(key: jax.Array, n: int) -> jax.Array:
        return jnp.matmul(jax.random.uniform(key, (n, m)), matrix.T, precision="highest") + offset

    return Manifold(f"affine({width}x{m})", int(np.linalg.matrix_rank(matrix)), width, draw)


def flat_torus(radii: Sequence[float]) -> Manifold:
    """The product of circles of these radii: dimension d = len(radii) in R^(2d), without curvature of its own."""
    _check_positive("radii", radii)
    lengths = np.asarray(radii, float)

    def draw(key: jax.Array, n: int) -> jax.Array:
        angles = _angles(key, (n, len(lengths)))
        return jnp.concatenate([lengths * jnp.cos(angles), lengths * jnp.sin(angles)], axis=1)

    return Manifold(f"flat_torus({_listed(radii)})", len(lengths), 2 * len(lengths), draw)


def torus(radii: Sequence[float] = (2.0, 1.0)) -> Manifold:
    """The torus of dimension d = len(radii) in R^(d+1): a circle of the last radius, turned about ever larger ones.

    With ρ_d = r_d and ρ_j = r_j + ρ_{j+1} cos θ_{j+1}, a point is (ρ_1 cos θ_1, ρ_1 sin θ_1, …, ρ_d sin θ_d). Its
    volume element is Π ρ_j, by which angles are accepted.

    Args:
      radii: each greater than the sum of those after it, so that the torus does not meet itself.
    """
    _check_positive("radii", radii)
    lengths = np.asarray(radii, float)
    reach = np.cumsum(lengths[::-1])[::-1]  # the largest ρ_j
    if np.any(lengths[:-1] <= reach[1:]):
        raise InputError(f"each of radii must exceed the sum of those after it; they are {tuple(radii)}.")
    d = len(lengths)

    def distances_from_axes(angles_NxD: jax.Array) -> jax.Array:
        distance = [jnp.full(angles_NxD.shape[0], lengths[-1])]
        for j in range(d - 1, 0, -1):
            distance.append(lengths[j - 1] + distance[-1] * jnp.cos(angles_NxD[:, j]))
        return jnp.stack(distance[::-1], axis=1)

    def draw(key: jax.Array, n: int) -> jax.Array:
        angles_NxD = _accepted(
            key,
            n,
            lambda key, n: _angles(key, (n, d)),
            lambda angles_NxD: jnp.prod(distances_from_axes(angles_NxD) / reach, axis=1),
        )
        distances_NxD = distances_from_axes(angles_NxD)
        first = distances_NxD[:, :1] * jnp.cos(angles_NxD[:, :1])
        return jnp.concatenate([first, distances_NxD * jnp.sin(angles_NxD)], axis=1)

    return Manifold(f"torus({_listed(radii)})", d, d + 1, draw)


# Shapes of the literature: uniform in their parameters, as published, hence not over their surface.


def mobius(half_twists: int = 10) -> Manifold:
    """A band in R^3, twisted (Hein & Audibert 2005); with an even number of half twists it has two sides."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        φ_key, r_key = jax.random.split(key)
        φ, r = _angles(φ_key, (n,)), jax.random.uniform(r_key, (n,), minval=-1, maxval=1)
        radius = 1 + r / 2 * jnp.cos(half_twists * φ / 2)
        return jnp.stack([radius * jnp.cos(φ), radius * jnp.sin(φ), r / 2 * jnp.sin(half_twists * φ / 2)], axis=1)

    return Manifold(f"mobius({half_twists})", 2, 3, draw)


def swiss_roll(holes: Sequence[tuple[float, float, float, float]] = ()) -> Manifold:
    """The roll (φ sin 2.5φ, r, φ cos 2.5φ) over φ in [0, 2π], r in [-π, π] (Hein & Audibert 2005).

    Args:
      holes: rectangles (φ from, φ to, r from, r to) without points.
    """
    if any(not (a < b and c < d) for a, b, c, d in holes):
        raise InputError(f"holes must be rectangles (φ from, φ to, r from, r to) with from < to; they are {holes}.")

    def outside(parameters_Nx2: jax.Array) -> jax.Array:
        φ, r = parameters_Nx2.T
        inside = [(a < φ) & (φ < b) & (c < r) & (r < d) for a, b, c, d in holes]
        return 1.0 - functools.reduce(jnp.logical_or, inside, jnp.zeros(φ.shape, bool))

    def draw(key: jax.Array, n: int) -> jax.Array:
        low, high = np.array([0, -np.pi]), np.array([2 * np.pi, np.pi])
        propose = lambda key, n: low + (high - low) * jax.random.uniform(key, (n, 2))
        φ, r = _accepted(key, n, propose, outside).T
        return jnp.stack([φ * jnp.sin(2.5 * φ), r, φ * jnp.cos(2.5 * φ)], axis=1)

    return Manifold(f"swiss_roll({len(holes)} holes)" if holes else "swiss_roll()", 2, 3, draw)


def s_curve() -> Manifold:
    """The surface (sin t, h, sign(t)(cos t - 1)) over t in [-3π/2, 3π/2], h in [0, 2]."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        t_key, h_key = jax.random.split(key)
        t = 3 * jnp.pi * (jax.random.uniform(t_key, (n,)) - 0.5)
        h = 2 * jax.random.uniform(h_key, (n,))
        return jnp.stack([jnp.sin(t), h, jnp.sign(t) * (jnp.cos(t) - 1)], axis=1)

    return Manifold("s_curve()", 2, 3, draw)


def helicoid() -> Manifold:
    """The surface (r sin φ, r cos φ, φ) over φ in [0, 2π], r in [-π, π] (Hein & Audibert 2005)."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        φ_key, r_key = jax.random.split(key)
        φ, r = _angles(φ_key, (n,)), jax.random.uniform(r_key, (n,), minval=-jnp.pi, maxval=jnp.pi)
        return jnp.stack([r * jnp.sin(φ), r * jnp.cos(φ), φ], axis=1)

    return Manifold("helicoid()", 2, 3, draw)


def toroidal_helix(windings: int = 8) -> Manifold:
    """The curve ((2 + cos wt) cos t, (2 + cos wt) sin t, sin wt) with w windings around a torus."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        t = _angles(key, (n,))
        radius = 2 + jnp.cos(windings * t)
        return jnp.stack([radius * jnp.cos(t), radius * jnp.sin(t), jnp.sin(windings * t)], axis=1)

    return Manifold(f"toroidal_helix({windings})", 1, 3, draw)


def harmonic_curve(width: int) -> Manifold:
    """The curve x_j = (φ/2π + Σ_{k<j} sin kφ) / j, j = 1 … width, over φ in [0, 2π] (Hein & Audibert 2005)."""
    _check_dimension(width, "width")

    def draw(key: jax.Array, n: int) -> jax.Array:
        φ = _angles(key, (n, 1))
        harmonics = jnp.sin(jnp.arange(1, width) * φ)
        return jnp.cumsum(jnp.concatenate([φ / (2 * jnp.pi), harmonics], axis=1), axis=1) / jnp.arange(1, width + 1)

    return Manifold(f"harmonic_curve({width})", 1, width, draw)


def interlocked_spirals(d: int, copies: int = 1) -> Manifold:
    """The pairs x_{i+1} (cos 2πx_i, sin 2πx_i), i = 1 … d, x_{d+1} = x_1, of x uniform in [0, 1]^d.

    Hein & Audibert 2005. All pairs come `copies` times, in R^(2·d·copies). Curved, and dense where radii are small.
    """
    _check_dimension(d)
    _check_dimension(copies, "copies")

    def draw(key: jax.Array, n: int) -> jax.Array:
        x_Nxd = jax.random.uniform(key, (n, d))
        angle_Nxd, radius_Nxd = 2 * jnp.pi * x_Nxd, jnp.roll(x_Nxd, -1, axis=1)
        pairs_Nxdx2 = jnp.stack([radius_Nxd * jnp.cos(angle_Nxd), radius_Nxd * jnp.sin(angle_Nxd)], axis=2)
        return jnp.tile(pairs_Nxdx2.reshape(n, 2 * d), (1, copies))

    return Manifold(f"interlocked_spirals({d}, {copies})", d, 2 * d * copies, draw)


def paraboloid(d: int) -> Manifold:
    """(y, sin y, y²) of the paraboloid y = (x, |x|²) in R^(d+1), x from a multivariate Burr distribution.

    Campadelli et al. 2015. x_i = 1 / (1 + e_i / e_0) with e_0 … e_d exponential: uniform each, and dependent.
    """
    _check_dimension(d)

    def draw(key: jax.Array, n: int) -> jax.Array:
        exponential_Nxd = jax.random.exponential(key, (n, d + 1))
        x_Nxd = 1 / (1 + exponential_Nxd[:, 1:] / exponential_Nxd[:, :1])
        y = jnp.concatenate([x_Nxd, jnp.sum(x_Nxd**2, axis=1, keepdims=True)], axis=1)
        return jnp.concatenate([y, jnp.sin(y), y**2], axis=1)

    return Manifold(f"paraboloid({d})", d, 3 * (d + 1), draw)


def _concentrated() -> Manifold:
    """Hein & Audibert 2005: of dimension four in R^6, but so concentrated that three seem to suffice."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        a, b, c, e = jax.random.uniform(key, (4, n))
        columns = [
            b**2 * jnp.cos(2 * jnp.pi * a),
            c**2 * jnp.sin(2 * jnp.pi * a),
            b + c + (b - e) ** 2,
            b - 2 * c + (a - e) ** 2,
            -b - 2 * c + (c - e) ** 2,
            a**2 - b**2 + c**2 - e**2,
        ]
        return jnp.stack(columns, axis=1)

    return Manifold("concentrated()", 4, 6, draw)


def _tangents(d: int) -> Manifold:
    """(tan(x_i cos x_{d+1-i}), arctan(x_{d+1-i} sin x_i)) of x uniform in [0, 1]^d, twice: in R^(4d)."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        x = jax.random.uniform(key, (n, d))
        mirrored = x[:, ::-1]
        return jnp.tile(
            jnp.concatenate([jnp.tan(x * jnp.cos(mirrored)), jnp.arctan(mirrored * jnp.sin(x))], axis=1), (1, 2)
        )

    return Manifold(f"tangents({d})", d, 4 * d, draw)


def _skewed(d: int, a: float = 10.0, b: float = 0.5) -> Manifold:
    """(x_i sin cos 2πx_i, x_i cos sin 2πx_i) of x from Beta(a, b)^d, twice: in R^(4d)."""

    def draw(key: jax.Array, n: int) -> jax.Array:
        x = jax.random.beta(key, a, b, (n, d))
        angle = 2 * jnp.pi * x
        return jnp.tile(jnp.concatenate([x * jnp.sin(jnp.cos(angle)), x * jnp.cos(jnp.sin(angle))], axis=1), (1, 2))

    return Manifold(f"skewed({d}, {a}, {b})", d, 4 * d, draw)


@functools.cache
def benchmark() -> Mapping[str, Manifold]:
    """The 24 clouds by which estimators are compared in the literature, by their labels there; usually at n = 2500.

    M1 to M12 and M13b are those of Hein & Audibert 2005, by the formulas of their generator, M10 in the dimensions of
    Rozza et al. 2012. Mbeta, Mn and Mp are those of Campadelli et al. 2015 with the formulas and distributions that
    scikit-dimension gives them; M5a and M13a joined by custom. scikit-dimension's clouds of these labels differ in

        M2      two entries of its matrix lie one column away, which changes the shape but not the dimension;
        M5b     five turns of pitch π over radii from zero to 10π, not one of 2π over [-π, π]: sheets lie close;
        M7      angles from 1.5π to 4.5π and a height of 21, without the center of the roll;
        M10     the faces of a cube of one more dimension, equally many on each, the last cut short;
        M13b    a helix of radius 100 and pitch 2π in R^3, padded with zeros.

    References:
      Hein & Audibert, Intrinsic dimensionality estimation of submanifolds in R^d, ICML 2005.
      Rozza, Lombardi, Ceruti, Casiraghi & Campadelli, Novel high intrinsic dimensionality estimators, Machine Learning
        89, 2012.
      Campadelli, Casiraghi, Ceruti & Rozza, Intrinsic dimension estimation: relevant techniques and a benchmark
        framework, Mathematical Problems in Engineering 2015.
    """
    return types.MappingProxyType(
        {
            "M1": sphere(10),
            "M2": affine(
                4 * np.array([[1.2, -0.5, 0], [0.5, 0, 0.9], [-0.5, -0.2, 1], [0.4, -0.9, -0.1], [1.1, 0, -0.3]]),
                [3, -1, 0, 0, 8],
            ),
            "M3": _concentrated(),
            "M4": interlocked_spirals(4, 1),
            "M5a": toroidal_helix(8),
            "M5b": helicoid(),
            "M6": interlocked_spirals(6, 3),
            "M7": swiss_roll(),
            "M8": interlocked_spirals(12, 3),
            "M9": affine(5 * np.eye(20), -2.5),
            "M10a": affine(np.eye(11, 10)),
            "M10b": affine(np.eye(18, 17)),
            "M10c": affine(np.eye(25, 24)),
            "M10d": affine(np.eye(71, 70)),
            "M11": mobius(10),
            "M12": gaussian(20),
            "M13a": s_curve(),
            "M13b": harmonic_curve(13),
            "Mbeta": _skewed(10),
            "Mn1": _tangents(18),
            "Mn2": _tangents(24),
            "Mp1": paraboloid(3),
            "Mp2": paraboloid(6),
            "Mp3": paraboloid(9),
        }
    )


# A fractal, under the measure that gives equal parts equal weight.


def cantor(d: int = 1, ratio: float = 1 / 3) -> Manifold:
    """The product of d Cantor sets that keep two end pieces of `ratio` at each step: dimension d ln 2 / ln(1/ratio).

    With d = 1 float32 tells so few of its points apart that of a thousand some coincide.
    """
    _check_dimension(d)
    _check_ratio(ratio)

    def draw(key: jax.Array, n: int) -> jax.Array:
        depth = math.ceil(math.log(jnp.finfo(float).eps) / math.log(ratio)) + 8  # finer than doubles near one
        weights = (1 - ratio) * ratio ** np.arange(depth)
        ends = jax.random.bernoulli(key, shape=(n, depth, d)).astype(float)
        return jnp.einsum("nld,l->nd", ends, weights, precision="highest")

    return Manifold(f"cantor({d}, {ratio:.3g})", d * math.log(2) / -math.log(ratio), d, draw)


# What is done to a cloud.


def embed(manifold: Manifold, width: int, *, key: jax.Array | int) -> Manifold:
    """`manifold` under a random isometry into R^width, one for all samples, drawn uniformly.

    Args:
      manifold: of at most `width` columns.
      width: of the ambient space.
      key: a JAX random key, or an int for `jax.random.key`.

    Raises:
      InputError: if `width` is too small.
    """
    if width < manifold.width:
        raise InputError(
            f"width={width} cannot hold {manifold.name}, which needs {manifold.width}. Pass a larger width."
        )
    basis, triangle = jnp.linalg.qr(jax.random.normal(random_key("key", key), (width, manifold.width)))
    basis = basis * jnp.sign(jnp.diagonal(triangle))  # without the signs the rotation would not be uniform
    # At lower precision a matmul would bend the points by more than the distances between neighbors.
    draw = lambda key, n: jnp.matmul(manifold.draw(key, n), basis.T, precision="highest")
    return Manifold(f"embed({manifold.name}, {width})", manifold.dimension, width, draw)


def with_noise(manifold: Manifold, sigma: float) -> Manifold:
    """`manifold` with normal noise of standard deviation `sigma` added to each coordinate of the ambient space.

    The dimension stays that of `manifold`; at distances below `sigma`, neighbors see that of the ambient space. Embed
    first for noise in all the dimensions that points end in.
    """
    if sigma < 0:
        raise InputError(f"sigma must not be negative; it is {sigma}.")

    def draw(key: jax.Array, n: int) -> jax.Array:
        points_key, noise_key = jax.random.split(key)
        points = manifold.draw(points_key, n)
        return points + sigma * jax.random.normal(noise_key, points.shape, points.dtype)

    return Manifold(f"with_noise({manifold.name}, {sigma:g})", manifold.dimension, manifold.width, draw)


def product(*manifolds: Manifold) -> Manifold:
    """Independent points of each manifold side by side: dimensions and widths add up."""
    if not manifolds:
        raise InputError("product needs at least one manifold.")

    def draw(key: jax.Array, n: int) -> jax.Array:
        keys = jax.random.split(key, len(manifolds))
        return jnp.concatenate([m.draw(key, n) for m, key in zip(manifolds, keys, strict=True)], axis=1)

    name = f"product({', '.join(m.name for m in manifolds)})"
    return Manifold(name, sum(m.dimension for m in manifolds), sum(m.width for m in manifolds), draw)


def _accepted(
    key: jax.Array, n: int, propose: Draw, acceptance: Callable[[jax.Array], jax.Array], rounds: int = 1000
) -> jax.Array:
    """`n` independent rows of `propose(key, n)`, each kept with the chance `acceptance` gives it, else drawn anew."""

    def refused(state: tuple[int, jax.Array, jax.Array]) -> jax.Array:
        round, _, kept = state
        return (round < rounds) & ~jnp.all(kept)

    def draw_anew(state: tuple[int, jax.Array, jax.Array]) -> tuple[int, jax.Array, jax.Array]:
        round, rows, kept = state
        rows_key, chance_key = jax.random.split(jax.random.fold_in(key, round))
        new = propose(rows_key, n)
        accept = jax.random.uniform(chance_key, (n,)) < acceptance(new)
        return round + 1, jnp.where((accept & ~kept)[:, None], new, rows), kept | accept

    shape = jax.eval_shape(lambda key: propose(key, n), key)
    nothing = jnp.full(shape.shape, jnp.nan, shape.dtype)
    return lax.while_loop(refused, draw_anew, (0, nothing, jnp.zeros(n, bool)))[1]


def _directions(key: jax.Array, n: int, width: int) -> jax.Array:
    normal = jax.random.normal(key, (n, width))
    direction: jax.Array = normal / jnp.linalg.norm(normal, axis=1, keepdims=True)
    return direction


def _angles(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return jax.random.uniform(key, shape, maxval=2 * jnp.pi)


def _listed(numbers: Iterable[float]) -> str:
    return ", ".join(f"{number:g}" for number in numbers)


def _check_dimension(d: int, name: str = "d") -> None:
    if d < 1 or d != int(d):
        raise InputError(f"{name} must be a positive integer; it is {d}.")


def _check_positive(name: str, numbers: Sequence[float]) -> None:
    if not len(numbers) or min(numbers) <= 0:
        raise InputError(f"{name} must be positive numbers; they are {tuple(numbers)}.")


def _check_ratio(ratio: float) -> None:
    if not 0 < ratio < 0.5:
        raise InputError(f"ratio must lie between 0 and 1/2, or the pieces overlap; it is {ratio}.")
