"""Clouds to test estimators with: small manifolds of known dimension, and clouds as awkward as real data.

cube(1000, dimension=3, width=8, key=0)           # (1000, 8) float32

Those of known dimension are turned into `width` dimensions at random, so that no column is special.
"""

from collections.abc import Callable

import jax
import numpy as np

from jaxscale.arguments import numpy_seed

Generator = np.random.Generator


def rotation(width: int, *, key: jax.Array | int) -> np.ndarray:
    """A random orthogonal (width, width) matrix, float64.

    Args:
      width: of the matrix.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    return _rotation(_generator(key), width)


def embedded(points: np.ndarray, width: int, *, key: jax.Array | int) -> np.ndarray:
    """Points turned into a wider space, which changes no distance; (n, width) float32.

    Args:
      points: (n, m).
      width: at least m.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    return _embedded(_generator(key), points, width)


def cube(n: int, dimension: int, width: int, *, key: jax.Array | int) -> np.ndarray:
    """Uniform in a cube of side one; (n, width) float32.

    Args:
      n: points.
      dimension: of the cube.
      width: columns, at least as many.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    return _cube(_generator(key), n, dimension, width)


def sphere(n: int, dimension: int, width: int, *, key: jax.Array | int) -> np.ndarray:
    """Uniform on the sphere of radius one, which spans `dimension` + 1 of the columns; (n, width) float32.

    Args:
      n: points.
      dimension: of the sphere.
      width: columns, more than that.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    return _sphere(_generator(key), n, dimension, width)


def with_duplicates(x: np.ndarray, share: float, *, key: jax.Array | int) -> np.ndarray:
    """A cloud with some of its rows replaced by copies of the other rows.

    Args:
      x: (n, D) points.
      share: of the rows; at least one is replaced.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    return _with_duplicates(_generator(key), x, share)


def _generator(key: jax.Array | int) -> Generator:
    return np.random.default_rng(numpy_seed("key", key))


def _rotation(rng: Generator, width: int) -> np.ndarray:
    basis, triangle = np.linalg.qr(rng.normal(size=(width, width)))
    return basis * np.sign(np.diag(triangle))


def _embedded(rng: Generator, points: np.ndarray, width: int) -> np.ndarray:
    turned: np.ndarray = (points @ _rotation(rng, width)[: points.shape[1]]).astype(np.float32)
    return turned


def _cube(rng: Generator, n: int, dimension: int, width: int) -> np.ndarray:
    return _embedded(rng, rng.uniform(size=(n, dimension)), width)


def _sphere(rng: Generator, n: int, dimension: int, width: int) -> np.ndarray:
    points = rng.normal(size=(n, dimension + 1))
    return _embedded(rng, points / np.linalg.norm(points, axis=1, keepdims=True), width)


def _with_duplicates(rng: Generator, x: np.ndarray, share: float) -> np.ndarray:
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
    shapes = (_cube, _sphere) if width > 1 else (_cube,)
    shape = shapes[rng.integers(len(shapes))]
    return shape(rng, n, int(rng.integers(1, max(width, 2))), width)


def _duplicates(rng: Generator, n: int, width: int) -> np.ndarray:
    return _with_duplicates(rng, _manifold(rng, n, width), share=rng.choice([0.01, 0.5]))


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
