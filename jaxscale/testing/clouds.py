"""Clouds to test estimators with: small manifolds of known dimension, and clouds as awkward as real data.

Every function takes a NumPy generator and returns (n, width) float32. Those of known dimension are turned into `width`
dimensions at random, so that no column is special.
"""

from collections.abc import Callable

import numpy as np

Generator = np.random.Generator


def rotation(rng: Generator, width: int) -> np.ndarray:
    """A random orthogonal (width, width) matrix, float64."""
    basis, triangle = np.linalg.qr(rng.normal(size=(width, width)))
    return basis * np.sign(np.diag(triangle))


def embedded(rng: Generator, points: np.ndarray, width: int) -> np.ndarray:
    """`points` (n, m) turned into `width` >= m dimensions, which changes no distance."""
    turned: np.ndarray = (points @ rotation(rng, width)[: points.shape[1]]).astype(np.float32)
    return turned


def cube(rng: Generator, n: int, dimension: int, width: int) -> np.ndarray:
    """Uniform in a cube of side one."""
    return embedded(rng, rng.uniform(size=(n, dimension)), width)


def sphere(rng: Generator, n: int, dimension: int, width: int) -> np.ndarray:
    """Uniform on the sphere of radius one, which spans `dimension` + 1 of the `width` columns."""
    points = rng.normal(size=(n, dimension + 1))
    return embedded(rng, points / np.linalg.norm(points, axis=1, keepdims=True), width)


def with_duplicates(rng: Generator, x: np.ndarray, share: float) -> np.ndarray:
    """`x` with that share of its rows, at least one, replaced by copies of the other rows."""
    copies = min(max(1, round(share * len(x))), len(x) - 1)
    order = rng.permutation(len(x))
    repeated = np.array(x)
    repeated[order[:copies]] = x[rng.choice(order[copies:], copies)]
    return repeated


def _uniform(rng: Generator, n: int, width: int) -> np.ndarray:
    return rng.uniform(size=(n, width))


def _gaussian(rng: Generator, n: int, width: int) -> np.ndarray:
    return rng.normal(size=(n, width))


def _manifold(rng: Generator, n: int, width: int) -> np.ndarray:
    shapes = (cube, sphere) if width > 1 else (cube,)
    shape = shapes[rng.integers(len(shapes))]
    return shape(rng, n, int(rng.integers(1, max(width, 2))), width)


def _duplicates(rng: Generator, n: int, width: int) -> np.ndarray:
    return with_duplicates(rng, _manifold(rng, n, width), share=rng.choice([0.01, 0.5]))


def _outlier(rng: Generator, n: int, width: int) -> np.ndarray:
    x = _manifold(rng, n, width)
    x[rng.integers(n)] += 10.0 ** rng.integers(2, 6)
    return x


def _anisotropic(rng: Generator, n: int, width: int) -> np.ndarray:
    """A few columns stand 10³ away from zero, as in hidden states of language models."""
    x = _manifold(rng, n, width)
    few = rng.choice(width, max(1, width // 8), replace=False)
    x[:, few] += 1e3 * rng.choice([-1, 1], len(few))
    return x


def _lattice(rng: Generator, n: int, width: int) -> np.ndarray:
    """Integers: most distances tie with others, and some points coincide."""
    side = int(np.ceil((4 * n) ** (1 / width)))
    return rng.integers(0, side, size=(n, width))


def _tiny(rng: Generator, n: int, width: int) -> np.ndarray:
    return _manifold(rng, n, width) * 1e-25


def _huge(rng: Generator, n: int, width: int) -> np.ndarray:
    return _manifold(rng, n, width) * 1e25


KINDS: dict[str, Callable[[Generator, int, int], np.ndarray]] = {
    "uniform": _uniform,
    "gaussian": _gaussian,
    "manifold": _manifold,
    "duplicates": _duplicates,
    "outlier": _outlier,
    "anisotropic": _anisotropic,
    "lattice": _lattice,
    "tiny": _tiny,
    "huge": _huge,
}
