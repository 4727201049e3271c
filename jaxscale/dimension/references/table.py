"""How clouds of known dimension read, and what a cloud that reads so has for a dimension.

The table is made by benchmarks/dimension_references.py from `clouds`, and comes with the package.
"""

import dataclasses
import functools
import importlib.resources
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

FILE = "table.npz"
ALIKE = 300  # references whose errors an interval is read from
_NEAREST = 10
_UNLIKE = 0.99  # quantile of the distances between references
_REACH = 0.96  # quantile of errors, for a 95% interval where their number is finite
_LEAST_REACH = 0.05  # of log d: curves read a few percent too much where they bend
CONSTANT = 10.0  # variance of the mean of log d


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Kernel:
    """The covariance of log d between clouds, by their statistics: two Matérn terms, a linear one and a constant.

    Attributes:
      scale: (S + 1,) one over the length in each statistic, in standard deviations, over which log d changes.
      linear: (S + 1,) variances of slopes, of scaled statistics.
      amplitudes: (2,) variances of the Matérn terms.
      ratio: by how much the second has shorter lengths than the first.
      noise: variance of what statistics do not tell.
    """

    scale: Any
    linear: Any
    amplitudes: Any
    ratio: Any
    noise: Any

    def smooth(self, squared: Any, xp: Any = jnp) -> Any:
        """The Matérn terms (order 3/2) at squared distances between scaled statistics, by the functions of `xp`."""
        far = xp.sqrt(3 * squared + 1e-12)
        near = far * self.ratio
        return self.amplitudes[0] * (1 + far) * xp.exp(-far) + self.amplitudes[1] * (1 + near) * xp.exp(-near)


def plain_kernel(statistics_count: int) -> Kernel:
    """Where none was fitted: all statistics alike."""
    ones = np.ones(statistics_count + 1)
    return Kernel(0.1 * ones, 100 * ones, np.array([1.0, 0.05]), np.array(3.0), np.array(5e-3))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Table:
    """Reference clouds, and the Gaussian process through their dimensions.

    Attributes:
      features: (R, S + 1) their statistics and the logarithm of their number of points, scaled for the kernel.
      log_dimension: (R,).
      weight: (R,) of the Matérn terms at each in the prediction.
      line: (S + 2,) the prediction's linear part: its slopes, and its value where all features are 0.
      error: (R,) of the logarithm of the dimension that clouds of other families predict for each.
      distance: (R,) from each to those most like it of other families.
      typical: the 99% quantile of such distances where all statistics count alike.
      family: (R,) its place in `families`.
      center, scale: (S + 1,) of the scaling.
      kernel: its `scale` is of statistics divided by their standard deviations.
      families: names; static.
    """

    features: Any
    log_dimension: Any
    weight: Any
    line: Any
    error: Any
    distance: Any
    typical: Any
    family: Any
    center: Any
    scale: Any
    kernel: Kernel
    families: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    def without(self, families: Sequence[str]) -> "Table":
        """The table without families, for judging it on clouds of theirs."""
        left = ~np.isin(self.family, [self.families.index(name) for name in families])
        rows = {
            name: getattr(self, name)[left] for name in ("features", "log_dimension", "error", "distance", "family")
        }
        features = rows["features"].astype(float)
        weight = np.linalg.solve(covariance(self.kernel, features), rows["log_dimension"].astype(float))
        line = _line(self.kernel, features, weight)
        return dataclasses.replace(self, **rows, weight=weight.astype(np.float32), line=line)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Found:
    """What references say of a cloud.

    Attributes:
      log_dimension: scalar.
      reach: scalar, half the width of a 95% interval of it.
      distance: scalar, to the references most like it, where all statistics count alike.
      share: (F,) how much each family counted.
    """

    log_dimension: jax.Array
    reach: jax.Array
    distance: jax.Array
    share: jax.Array


def made(
    found: np.ndarray,
    points: np.ndarray,
    dimension: np.ndarray,
    family: np.ndarray,
    names: Sequence[str],
    kernel: Kernel | None = None,
) -> Table:
    """The table of statistics (R, S) of reference clouds; errors are what each is off by as seen by other families.

    All errors of a family follow from one inverse, as those of single points do (Rasmussen & Williams 2006, eq. 5.12):
    with K the covariance, they are the solution of (K⁻¹)_ff e_f = (K⁻¹ log d)_f.

    Args:
      found: (R, S).
      points: (R,) numbers of points.
      dimension: (R,).
      family: (R,) places in `names`.
      names: of the families.
      kernel: as fitted by benchmarks/dimension_references.py; by default all statistics count alike.
    """
    kernel = plain_kernel(found.shape[1]) if kernel is None else kernel
    values = np.concatenate([found, np.log(points)[:, None]], axis=1)
    center, scale = values.mean(axis=0), kernel.scale / np.maximum(values.std(axis=0), 1e-6)
    features, log_d = (values - center) * scale, np.log(dimension)
    inverse = np.linalg.inv(covariance(kernel, features))
    weight = inverse @ log_d
    error, distance, apart = np.zeros((3, len(features)))
    for place in range(len(names)):
        own = family == place
        error[own] = np.linalg.solve(inverse[np.ix_(own, own)], weight[own])
        distance[own] = _to_nearest(features[own], features[~own])
        apart[own] = _to_nearest(features[own] / kernel.scale, features[~own] / kernel.scale)
    single = functools.partial(np.asarray, dtype=np.float32)
    return Table(
        features=single(features),
        log_dimension=single(log_d),
        weight=single(weight),
        line=_line(kernel, features, weight),
        error=single(error),
        distance=single(distance),
        typical=single(np.quantile(apart, _UNLIKE)),
        family=family.astype(np.int32),
        center=single(center),
        scale=single(scale),
        kernel=jax.tree.map(single, kernel),
        families=tuple(names),
    )


def _squared_distances(a: Any, b: Any, xp: Any = np) -> Any:
    return xp.maximum(xp.sum(a**2, axis=1)[:, None] + xp.sum(b**2, axis=1) - 2 * (a @ b.T), 0)


def _to_nearest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """From each of `a` to those of `b` most like it."""
    nearest = np.sort(_squared_distances(a, b), axis=1)[:, :_NEAREST]
    distances: np.ndarray = np.sqrt(np.mean(nearest, axis=1))
    return distances


def covariance(kernel: Kernel, features: Any, xp: Any = np) -> Any:
    """(R, R) of log d between clouds with these scaled statistics (R, S + 1), noise included, by functions of `xp`."""
    smooth = kernel.smooth(_squared_distances(features, features, xp), xp)
    return smooth + (features * kernel.linear) @ features.T + CONSTANT + kernel.noise * xp.eye(len(features))


def _line(kernel: Kernel, features: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Summed here, since float32 would lose it: weights of both signs nearly cancel."""
    slopes = kernel.linear * (features.T @ weight)
    return np.append(slopes, CONSTANT * np.sum(weight)).astype(np.float32)


def save(table: Table, path: str | os.PathLike[str]) -> None:
    """Writes what `shipped` reads."""
    fields = {field.name: getattr(table, field.name) for field in dataclasses.fields(table) if field.name != "kernel"}
    of_kernel = {f"kernel_{name}": value for name, value in vars(table.kernel).items()}
    np.savez_compressed(path, **fields, **of_kernel)


@functools.cache
def shipped() -> Table:
    """The table that comes with the package."""
    with importlib.resources.files(__package__).joinpath(FILE).open("rb") as file, np.load(file) as saved:
        values = {name: saved[name] for name in saved.files}
    kernel = Kernel(**{field.name: values.pop(f"kernel_{field.name}") for field in dataclasses.fields(Kernel)})
    families = tuple(str(name) for name in values.pop("families"))
    return Table(**values, kernel=kernel, families=families)


@jax.jit
def read(table: Table, found: jax.Array, points: jax.Array) -> Found:
    """The dimension of a cloud, as a Gaussian process through the references predicts it (Rasmussen & Williams 2006).

    Its 95% interval reaches as far as the errors of the references most like it, each judged by families other than
    its own, in units of its distance to them: in these errors are chance, what is left of the bias, and the
    disagreement between families (localized conformal prediction, Guan 2023).

    Args:
      table: of references.
      found: (S,) the statistics of the cloud.
      points: scalar, of the cloud.
    """
    values = jnp.concatenate([found, jnp.log(jnp.asarray(points, found.dtype))[None]])
    feature = (values - table.center) * table.scale
    squared_R = jnp.sum((jnp.asarray(table.features) - feature) ** 2, axis=1)
    line, smooth_R = jnp.asarray(table.line), table.kernel.smooth(squared_R)
    log_d = jnp.sum(line[:-1] * feature) + line[-1] + jnp.sum(smooth_R * table.weight)
    # Nothing is known beyond the dimensions of references, which begin with one.
    log_d = jnp.clip(log_d, jnp.min(jnp.asarray(table.log_dimension)), jnp.max(jnp.asarray(table.log_dimension)))
    place, weight, squared = _alike(squared_R)
    # A cloud further from its references than they are from theirs errs more.
    distance = jnp.sqrt(jnp.mean(squared[:_NEAREST]))
    size = jnp.abs(jnp.asarray(table.error)[place]) * distance / jnp.asarray(table.distance)[place]
    order = jnp.argsort(size)
    share = jnp.cumsum(weight[order]) / jnp.sum(weight)
    reach = jnp.maximum(size[order][jnp.minimum(jnp.searchsorted(share, _REACH), len(size) - 1)], _LEAST_REACH)
    # What kind of cloud it is, all statistics say alike; lengths are those over which the dimension changes.
    place, weight, squared = _alike(jnp.sum(((table.features - feature) / table.kernel.scale) ** 2, axis=1))
    distance = jnp.sqrt(jnp.mean(squared[:_NEAREST]))
    counted = jax.ops.segment_sum(weight, table.family[place], num_segments=len(table.families))
    return Found(log_d, reach, distance, counted / jnp.sum(counted))


def _alike(squared_R: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Places of the references most like a cloud, how much each counts, and their squared distances."""
    least, place = lax.top_k(-squared_R, min(ALIKE, len(squared_R)))
    squared = -least
    return place, (1 - jnp.minimum(squared / (1.0001 * squared[-1]), 1.0) ** 1.5) ** 2, squared
