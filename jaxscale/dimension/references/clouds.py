"""Clouds of known dimension, of many kinds: what a cloud that is measured may be like.

points, d = reference_cloud("torus", number=7, n=1000)

Every family draws its own shape, density, curvature, spectrum and boundary at random, within what still lets the points
show their dimension; in a fifth of the clouds noise is added. A number stands for the same cloud for good.
"""

import dataclasses
import math
import zlib
from collections.abc import Callable

import numpy as np

Random = np.random.Generator
# Of the clouds of every family a fifth have noise, up to this share of the distance to the nearest neighbor.
_NOISY, _LEAST_NOISE, _MOST_NOISE = 0.2, 0.01, 0.3
_WIDEST = 128  # columns into which noise spreads


@dataclasses.dataclass(frozen=True)
class Family:
    """Clouds of one kind: `draw` takes (rng, n, d) to (n, width) points of dimension d, between `least` and `most`."""

    draw: Callable[[Random, int, int], np.ndarray]
    least: int
    most: int


def reference_cloud(family: str, number: int, n: int) -> tuple[np.ndarray, int]:
    """The cloud of this number: (n, width) float32 points, and their dimension, log-uniform over the family's range."""
    kind = FAMILIES[family]
    rng = np.random.default_rng([zlib.crc32(family.encode()), number, n])
    drawn = math.exp(rng.uniform(math.log(kind.least - 0.4), math.log(kind.most + 0.4)))
    d = min(max(round(drawn), kind.least), kind.most)
    points = kind.draw(rng, n, d)
    if rng.random() < _NOISY:
        points = _with_noise(rng, points, d)
    return points.astype(np.float32), d


def _with_noise(rng: Random, points: np.ndarray, d: int) -> np.ndarray:
    """Normal noise in all columns and in up to d + 2 further ones."""
    size = math.exp(rng.uniform(math.log(_LEAST_NOISE), math.log(_MOST_NOISE)))
    some = points[rng.choice(len(points), min(len(points), 400), replace=False)]
    squared = np.sum(some**2, axis=1)[:, None] + np.sum(points**2, axis=1) - 2 * some @ points.T
    nearest = np.sqrt(np.median(np.sort(np.maximum(squared, 0), axis=1)[:, 1]))  # past the point itself
    width = max(points.shape[1], min(points.shape[1] + int(rng.integers(0, d + 3)), _WIDEST))
    wide = np.pad(points, ((0, 0), (0, width - points.shape[1])))
    noisy: np.ndarray = wide + rng.normal(size=wide.shape) * nearest * size / math.sqrt(width)
    return noisy


def _directions(rng: Random, n: int, width: int) -> np.ndarray:
    normal = rng.normal(size=(n, width))
    directions: np.ndarray = normal / np.linalg.norm(normal, axis=1, keepdims=True)
    return directions


def _between(rng: Random, low: float, high: float, size: int | None = None) -> np.ndarray:
    """Log-uniform."""
    return np.exp(rng.uniform(math.log(low), math.log(high), size))


def _latent(rng: Random, n: int, d: int) -> np.ndarray:
    return rng.uniform(-1, 1, (n, d)) if rng.random() < 0.6 else 0.7 * rng.normal(size=(n, d))


def _sphere(rng: Random, n: int, d: int) -> np.ndarray:
    return _directions(rng, n, d + 1)


def _ellipsoid(rng: Random, n: int, d: int) -> np.ndarray:
    """A sphere stretched along its axes, and with it the density."""
    points: np.ndarray = _directions(rng, n, d + 1) * _between(rng, 1, _between(rng, 1.35, 3.3).item(), d + 1)
    return points


def _cube(rng: Random, n: int, d: int) -> np.ndarray:
    return rng.uniform(size=(n, d))


def _box(rng: Random, n: int, d: int) -> np.ndarray:
    points: np.ndarray = rng.uniform(size=(n, d)) * _between(rng, 1, _between(rng, 1.35, 4).item(), d)
    return points


def _gaussian(rng: Random, n: int, d: int) -> np.ndarray:
    return rng.normal(size=(n, d))


def _spectrum(rng: Random, n: int, d: int) -> np.ndarray:
    """Normal or uniform columns whose sizes fall as a power of their number."""
    columns = rng.normal(size=(n, d)) if rng.random() < 0.6 else rng.uniform(-1, 1, (n, d))
    spectrum: np.ndarray = columns * np.arange(1.0, d + 1) ** -rng.uniform(0.2, 1.0)
    return spectrum


def _student(rng: Random, n: int, d: int) -> np.ndarray:
    """Multivariate t: heavy tails."""
    freedom = rng.uniform(3, 12)
    return rng.normal(size=(n, d)) * np.sqrt(freedom / rng.chisquare(freedom, (n, 1)))


def _ball(rng: Random, n: int, d: int) -> np.ndarray:
    return _directions(rng, n, d) * rng.uniform(size=(n, 1)) ** (1 / d)


def _radial(rng: Random, n: int, d: int) -> np.ndarray:
    """Radii of a beta distribution: hollow, or dense in the middle."""
    points: np.ndarray = _directions(rng, n, d) * rng.beta(
        _between(rng, 0.6, 7.4), _between(rng, 0.6, 7.4), size=(n, 1)
    )
    return points


def _torus(rng: Random, n: int, d: int) -> np.ndarray:
    """A product of circles."""
    radii = _between(rng, 1, 1 if rng.random() < 0.5 else math.e, d)
    angles = rng.uniform(0, 2 * np.pi, (n, d))
    return np.concatenate([radii * np.cos(angles), radii * np.sin(angles)], axis=1)


def _product(rng: Random, n: int, d: int) -> np.ndarray:
    """Spheres of one to eight dimensions, times each other; in some clouds of one or two."""
    parts, left, most = [], d, int(rng.integers(2, 9))
    while left:
        part = int(rng.integers(1, min(left, most) + 1))
        parts.append(_directions(rng, n, part + 1) * math.sqrt(part) * _between(rng, 0.67, 1.5))
        left -= part
    return np.concatenate(parts, axis=1)


def _skewed(rng: Random, n: int, d: int) -> np.ndarray:
    """Columns of a beta distribution, some of them bent twice over."""
    x = rng.beta(_between(rng, 0.5, 10), _between(rng, 0.5, 10), (n, d))
    if rng.random() < 0.4:
        angles = 2 * np.pi * x
        x = np.concatenate([x * np.sin(np.cos(angles)), x * np.cos(np.sin(angles))], axis=1)
    points: np.ndarray = x
    return points


def _lognormal(rng: Random, n: int, d: int) -> np.ndarray:
    """Columns of a lognormal distribution, some of them correlated."""
    shared = rng.uniform(0, 0.7) if d > 1 and rng.random() < 0.4 else 0.0
    normal = math.sqrt(1 - shared) * rng.normal(size=(n, d)) + math.sqrt(shared) * rng.normal(size=(n, 1))
    return np.exp(rng.uniform(0.2, 1.2) * normal)


def _simplex(rng: Random, n: int, d: int) -> np.ndarray:
    """A Dirichlet distribution."""
    gamma = rng.gamma(_between(rng, 0.6, 4.5), size=(n, d + 1))
    points: np.ndarray = gamma / gamma.sum(axis=1, keepdims=True)
    return points


def _mixture(rng: Random, n: int, d: int) -> np.ndarray:
    """Two to eight normal clusters of different sizes."""
    clusters = int(rng.integers(2, 9))
    centers = rng.normal(size=(clusters, d)) * rng.uniform(0.5, 4)
    sizes, of = _between(rng, 0.5, 2, clusters), rng.integers(clusters, size=n)
    return centers[of] + sizes[of][:, None] * rng.normal(size=(n, d))


def _waves(rng: Random, n: int, d: int) -> np.ndarray:
    """Sines of random linear functions, beside the coordinates themselves."""
    z, waves = _latent(rng, n, d), int(rng.integers(d, 3 * d + 2))
    slopes = rng.normal(size=(d, waves)) * _between(rng, 0.37, 3.3) / math.sqrt(d)
    return np.concatenate([rng.uniform() * z, np.sin(z @ slopes + rng.uniform(0, 6, waves))], axis=1)


def _quadratic(rng: Random, n: int, d: int) -> np.ndarray:
    """Graphs of quadratic functions."""
    z = _latent(rng, n, d)
    if rng.random() < 0.4:  # a multivariate Burr distribution
        waiting = rng.exponential(size=(n, d + 1))
        z = 1 / (1 + waiting[:, 1:] / waiting[:, :1])
    y = np.concatenate([z, np.sum(z**2, axis=1, keepdims=True) * rng.uniform(0.2, 1.5)], axis=1)
    if rng.random() < 0.5:
        return np.concatenate([y, np.sin(y), y**2], axis=1)
    forms = rng.normal(size=(int(rng.integers(1, d + 2)), d, d)) / d
    return np.concatenate([y, np.einsum("nd,mde,ne->nm", z, forms, z, optimize=True) * rng.uniform(0.3, 2)], axis=1)


def _network(rng: Random, n: int, d: int) -> np.ndarray:
    """The outputs of a random network of one or two hidden layers."""
    z, width = _latent(rng, n, d), max(2 * d + 2, int(rng.integers(d + 2, 4 * d + 8)))
    gain = _between(rng, 0.6, 2.7)
    hidden = np.tanh(z @ rng.normal(size=(d, width)) * gain / math.sqrt(d) + 0.3 * rng.normal(size=width))
    if rng.random() < 0.5:
        hidden = np.tanh(hidden @ rng.normal(size=(width, width)) * 1.5 * gain / math.sqrt(width))
    points: np.ndarray = hidden
    return points


def _tangents(rng: Random, n: int, d: int) -> np.ndarray:
    """Smooth functions of pairs of coordinates."""
    x = rng.uniform(size=(n, d))
    other = x[:, rng.permutation(d)]
    return np.concatenate([np.tan(rng.uniform(0.5, 1.3) * x * np.cos(other)), np.arctan(other * np.sin(x))], axis=1)


def _spirals(rng: Random, n: int, d: int) -> np.ndarray:
    """Every coordinate is an angle, and the radius of the one before it or its own."""
    x = rng.uniform(size=(n, d))
    radius = np.roll(x, -1, axis=1) if rng.random() < 0.7 else x ** rng.uniform(0.5, 1.5)
    angle = 2 * np.pi * rng.choice([0.5, 1.0, 1.5]) * x
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)], axis=1)


def _curves(rng: Random, n: int, d: int) -> np.ndarray:
    """A product of random closed or open curves."""
    columns = []
    for _ in range(d):
        t = rng.uniform(0, 2 * np.pi, (n, 1))
        harmonics, width = (
            (int(rng.integers(2, 9)), int(rng.integers(2, 10))) if d <= 3 else (int(rng.integers(1, 4)), 3)
        )
        k = np.arange(1, harmonics + 1)
        cosines, sines = rng.normal(size=(2, harmonics, width)) / k[:, None] ** rng.uniform(0.3, 1.5)
        columns.append(np.cos(k * t) @ cosines + np.sin(k * t) @ sines)
        if rng.random() < 0.4:
            columns.append(t * rng.uniform(0.05, 0.5))
    return np.concatenate(columns, axis=1)


def _rolls(rng: Random, n: int, d: int) -> np.ndarray:
    """A spiral times a cube."""
    t = np.pi * (rng.uniform(0.3, 1.5) + rng.uniform(1, rng.uniform(2, 4)) * rng.uniform(size=n))
    height = rng.uniform(size=(n, d - 1)) * rng.uniform(2, 22)
    return np.concatenate([np.stack([t * np.cos(t), t * np.sin(t)], axis=1), height], axis=1)


def _strips(rng: Random, n: int, d: int) -> np.ndarray:
    """A twisted strip around an axis or a circle, times a cube."""
    angle, across = rng.uniform(0, 2 * np.pi, n), rng.uniform(rng.uniform(-np.pi, 0.5), np.pi, n)
    twist, radius = rng.uniform(0.5, 5), rng.uniform(0, 4)
    distance = radius + across * np.cos(twist * angle)
    columns = [distance * np.cos(angle), distance * np.sin(angle), across * np.sin(twist * angle)]
    strip = np.stack([*columns, rng.uniform(0, 1.5) * angle], axis=1)
    return np.concatenate([strip, rng.uniform(size=(n, d - 2)) * rng.uniform(1, 5)], axis=1)


FAMILIES = {
    "ball": Family(_ball, 1, 150),
    "box": Family(_box, 1, 150),
    "cube": Family(_cube, 1, 150),
    "curves": Family(_curves, 1, 48),
    "ellipsoid": Family(_ellipsoid, 1, 60),
    "gaussian": Family(_gaussian, 1, 150),
    "lognormal": Family(_lognormal, 1, 24),
    "mixture": Family(_mixture, 1, 24),
    "network": Family(_network, 1, 32),
    "product": Family(_product, 1, 120),
    "quadratic": Family(_quadratic, 1, 30),
    "radial": Family(_radial, 1, 60),
    "rolls": Family(_rolls, 2, 12),
    "simplex": Family(_simplex, 1, 60),
    "skewed": Family(_skewed, 1, 40),
    "spectrum": Family(_spectrum, 2, 32),
    "sphere": Family(_sphere, 1, 150),
    "spirals": Family(_spirals, 1, 40),
    "strips": Family(_strips, 2, 5),
    "student": Family(_student, 1, 60),
    "tangents": Family(_tangents, 2, 60),
    "torus": Family(_torus, 1, 120),
    "waves": Family(_waves, 1, 40),
}
