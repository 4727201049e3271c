"""How clouds of known dimension read, and what a cloud that reads so has for a dimension.

The table is made by benchmarks/dimension_references.py from `clouds`, and comes with the package.
"""

import dataclasses
import functools
import importlib.resources
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxscale.dimension.references import statistics

FILE = "table.npz"
# References that a cloud is compared with, and those whose errors its interval is read from.
ALIKE, ERRORS = 400, 300
_LEAD = 8.0  # weight of the readings beside the other statistics
_OF_POINTS = 4.0  # of the logarithm of the number of points
_RIDGE = 1e-3
_NEAREST = 10
_REACH = 0.96  # quantile of errors, for a 95% interval where their number is finite
_LEAST_REACH = 0.05  # of log d: curves read a few percent too much where they bend


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Table:
    """Reference clouds.

    Attributes:
      features: (R, S + 1) their statistics and the logarithm of their number of points, scaled for distances.
      log_dimension: (R,).
      error: (R,) of the logarithm of the dimension found for each from clouds of other families.
      distance: (R,) from each to those most like it of other families.
      family: (R,) its place in `families`.
      center, scale: (S + 1,) of the scaling.
      families: names; static.
    """

    features: Any
    log_dimension: Any
    error: Any
    distance: Any
    family: Any
    center: Any
    scale: Any
    families: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    def without(self, families: Sequence[str]) -> "Table":
        """The table without families, for judging it on clouds of theirs."""
        left = ~np.isin(self.family, [self.families.index(name) for name in families])
        rows = {
            name: getattr(self, name)[left] for name in ("features", "log_dimension", "error", "distance", "family")
        }
        return dataclasses.replace(self, **rows)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Found:
    """What references say of a cloud.

    Attributes:
      log_dimension: scalar.
      reach: scalar, half the width of a 95% interval of it.
      distance: scalar, to the references most like it.
      share: (F,) how much each family counted.
    """

    log_dimension: jax.Array
    reach: jax.Array
    distance: jax.Array
    share: jax.Array


def made(
    found: np.ndarray, points: np.ndarray, dimension: np.ndarray, family: np.ndarray, names: Sequence[str]
) -> Table:
    """The table of statistics (R, S) of reference clouds; errors are what each is off by as seen by other families.

    Args:
      found: (R, S).
      points: (R,) numbers of points.
      dimension: (R,).
      family: (R,) places in `names`.
      names: of the families.
    """
    values = np.concatenate([found, np.log(points)[:, None]], axis=1).astype(np.float32)
    leading = len(statistics.READINGS)
    weight = np.ones(values.shape[1])
    weight[:leading], weight[-1] = _LEAD / np.sqrt(leading), _OF_POINTS
    center, scale = values.mean(axis=0), weight / np.maximum(values.std(axis=0), 1e-6)
    blank = np.zeros(len(values), np.float32)
    features = ((values - center) * scale).astype(np.float32)
    table = Table(
        features=features,
        log_dimension=np.log(dimension).astype(np.float32),
        error=blank,
        distance=blank,
        family=family.astype(np.int32),
        center=center.astype(np.float32),
        scale=scale.astype(np.float32),
        families=tuple(names),
    )

    def left_out(row: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        feature, log_d, own = row
        value, distance = _regressed(table, feature, table.family != own)
        return log_d - value, distance

    rows = (jnp.asarray(features), jnp.asarray(table.log_dimension), jnp.asarray(table.family))
    error, distance = jax.jit(lambda rows: lax.map(left_out, rows, batch_size=16))(rows)
    return dataclasses.replace(table, error=np.asarray(error), distance=np.asarray(distance))


@functools.cache
def shipped() -> Table:
    """The table that comes with the package."""
    with importlib.resources.files(__package__).joinpath(FILE).open("rb") as file, np.load(file) as saved:
        values = {name: saved[name] for name in saved.files}
    families = tuple(str(name) for name in values.pop("families"))
    return Table(**values, families=families)


@jax.jit
def read(table: Table, found: jax.Array, points: jax.Array) -> Found:
    """The dimension of a cloud by local linear regression among the references most like it (Cleveland 1979).

    Its 95% interval reaches as far as the errors of these references, each judged by families other than its own, in
    units of its distance to them: in these errors are chance, what is left of the bias, and the disagreement between
    families (localized conformal prediction, Guan 2023).

    Args:
      table: of references.
      found: (S,) the statistics of the cloud.
      points: scalar, of the cloud.
    """
    values = jnp.concatenate([found, jnp.log(jnp.asarray(points, found.dtype))[None]])
    feature = (values - table.center) * table.scale
    every = jnp.ones(len(table.family), bool)
    log_d, distance = _regressed(table, feature, every)
    place, weight, _ = _alike(table, feature, every, ERRORS)
    # A cloud further from its references than they are from theirs errs more.
    size = jnp.abs(jnp.asarray(table.error)[place]) * distance / jnp.asarray(table.distance)[place]
    order = jnp.argsort(size)
    share = jnp.cumsum(weight[order]) / jnp.sum(weight)
    reach = jnp.maximum(size[order][jnp.minimum(jnp.searchsorted(share, _REACH), len(size) - 1)], _LEAST_REACH)
    counted = jax.ops.segment_sum(weight, table.family[place], num_segments=len(table.families))
    return Found(log_d, reach, distance, counted / jnp.sum(counted))


def _alike(table: Table, feature: jax.Array, allowed: jax.Array, count: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Places of the references most like a cloud, how much each counts, and their squared distances."""
    squared = jnp.where(allowed, jnp.sum((jnp.asarray(table.features) - feature) ** 2, axis=1), jnp.inf)
    least, place = lax.top_k(-squared, min(count, len(table.family)))
    squared = -least
    weight = (1 - jnp.minimum(squared / (1.0001 * squared[-1]), 1.0) ** 1.5) ** 2
    return place, weight, squared


def _regressed(table: Table, feature: jax.Array, allowed: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log d at `feature`, and the distance to the nearest of the references that are allowed."""
    place, weight, squared = _alike(table, feature, allowed, ALIKE)
    rows = jnp.concatenate([jnp.ones((len(place), 1)), jnp.asarray(table.features)[place] - feature], axis=1)
    weighted = rows * weight[:, None]
    penalty = _RIDGE * jnp.sum(weight) * jnp.ones(rows.shape[1]).at[0].set(0)
    matmul = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    slopes = jnp.linalg.solve(
        matmul(weighted.T, rows) + jnp.diag(penalty), matmul(weighted.T, jnp.asarray(table.log_dimension)[place])
    )
    return slopes[0], jnp.sqrt(jnp.mean(squared[:_NEAREST]))
