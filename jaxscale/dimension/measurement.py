"""The dimension of a cloud with an interval that holds what one does not know.

found = measure(x)
found.dimension, found.interval                   # chance, bias at this n and the kind of cloud are in it
found.plain, found.caveats                        # the plain reading, and what else is to be known
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import random_key
from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.estimators.likelihood import mle
from jaxscale.dimension.neighborhood import Duplicates, Neighborhoods, Nonfinite, neighborhoods, vectors
from jaxscale.dimension.points import Metric, is_traced
from jaxscale.dimension.references import statistics, table
from jaxscale.dimension.references.table import Table
from jaxscale.dimension.standard_errors import clustered_standard_error
from jaxscale.errors import InputError

FEWEST_POINTS = 100
LARGEST = 2500  # points of the largest references
MOST_PARTS = 4  # of that many points, of a larger cloud
_BEYOND = 1.2  # times the largest references that a cloud may have to be read whole
_FEW_POINTS = 180
_PLAIN_NEIGHBORS = 20
_WIDE = 1.5  # of the upper end over the lower, beyond which an interval says little
_NORMAL = 1.96


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Measurement:
    """The dimension of a cloud.

    Attributes:
      dimension: scalar.
      interval: its lower and upper end at 95%: chance, the bias of readings from so many points, and that nobody knows
        which kind of cloud this is.
      plain: the reading of `mle`, whose interval holds chance alone.
      alike: (F,) how much each family of reference clouds counted, in the order of `families`.
      distance: scalar, to the references most like the cloud.
      typical_distance: scalar, the 99% quantile of that of references to those of other families.
      points_used: int32 scalar.
      families: names; static.
    """

    dimension: jax.Array
    interval: tuple[jax.Array, jax.Array]
    plain: Estimate
    alike: jax.Array
    distance: jax.Array
    typical_distance: jax.Array
    points_used: jax.Array
    families: tuple[str, ...] = dataclasses.field(metadata={"static": True})

    @property
    def caveats(self) -> tuple[tuple[str, str], ...]:
        """What else is to be known, each a code and a sentence. Concrete values only."""
        found = []
        lower, upper = map(float, self.interval)
        if upper > _WIDE * lower:
            text = (
                f"Kinds of clouds that read like this one differ in d by a factor of {upper / lower:.2g}: take the "
                "interval for the answer. More points narrow it."
            )
            found.append(("kinds_disagree", text))
        if float(self.distance) > float(self.typical_distance):
            text = (
                "No reference cloud is like this one, so neither d nor its interval was tested on its kind: look at "
                "the dimension against scale."
            )
            found.append(("unlike_references", text))
        if int(self.points_used) < _FEW_POINTS:
            text = f"{int(self.points_used)} points are fewer than any reference cloud has: the interval is a guess."
            found.append(("few_points", text))
        return tuple(found)

    @property
    def most_alike(self) -> tuple[str, ...]:
        """The families that counted most, three at most. Concrete values only."""
        order = np.argsort(-np.asarray(self.alike))
        return tuple(self.families[place] for place in order[:3] if self.alike[place] > 0.05)


def measure(
    x: jax.typing.ArrayLike | Neighborhoods,
    metric: Metric = "euclidean",
    nonfinite: Nonfinite = "raise",
    duplicates: Duplicates = "collapse",
    clusters: np.ndarray | None = None,
    key: jax.Array | int = 0,
    references: Table | None = None,
) -> Measurement:
    """The dimension of a cloud by comparison with clouds of known dimension, with an interval that covers.

    A plain reading knows its chance, but not its bias: of many dimensions estimators read too few, by how much depends
    on boundary, density, curvature and noise. So 36 statistics of the cloud (readings at several scales, angles,
    spectra, the evenness of its density) are compared with those of some five thousand clouds of 23 families, such as
    spheres, boxes, tori, clusters, rolls and networks, of 200 to 2500 points. A Gaussian process through these predicts
    log d, and the interval reaches as far as the errors of the references most alike when clouds of all other families
    predict them: it holds chance, bias, and the doubt about the kind of cloud.
    docs/dimension_accuracy.md has its coverage on clouds whose families were left out.

    More than 3000 points are read in at most four parts of at most 2500, drawn by `key`; statistics are averaged.

    Args:
      x: (n, D) points, at least 100, or their `Neighborhoods` with vectors and `statistics.NEIGHBORS` neighbors.
      metric: "euclidean", or "cosine" for the angle between rows. Static.
      nonfinite: "raise" refuses rows with nan or infinity, "drop" leaves them out. Static.
      duplicates: "collapse" or "keep"; see `neighborhoods`. Static.
      clusters: (n,) integers, the documents that tokens are from; the interval then allows for their dependence too.
      key: a JAX random key, or an int for `jax.random.key`. Of the parts of a large cloud.
      references: another table than that of the package.

    Returns:
      A `Measurement`. Under `jit` values cannot be checked: too few points or rows that are not finite give nan.

    Raises:
      InputError: if there are fewer than 100 points, or as `neighborhoods` does.
    """
    references = table.shipped() if references is None else references
    hoods = x if isinstance(x, Neighborhoods) else neighborhoods(x, statistics.NEIGHBORS, metric, nonfinite, duplicates)
    points = vectors(hoods, "measure")
    if hoods.k < statistics.NEIGHBORS:
        raise InputError(f"x has neighborhoods of k={hoods.k}. Pass neighborhoods(x, k={statistics.NEIGHBORS}).")
    rows = hoods.used.shape[0]
    if rows < FEWEST_POINTS or (not is_traced(points) and int(jnp.sum(hoods.used)) < FEWEST_POINTS):
        counted = rows if is_traced(points) else int(jnp.sum(hoods.used))
        raise InputError(f"x has {counted} distinct points; its dimension needs {FEWEST_POINTS}. Add points.")
    hoods = hoods.nearest(statistics.NEIGHBORS)
    plain = mle(hoods, k=_PLAIN_NEIGHBORS)
    read, count = _read(hoods, random_key("key", key))
    found = table.read(references, read, count)
    chance = jnp.zeros(())
    if clusters is not None:
        clustered = clustered_standard_error(plain, clusters)
        chance = _NORMAL * jnp.sqrt(jnp.maximum(clustered**2 - plain.standard_error**2, 0)) / plain.dimension
    reach = jnp.hypot(found.reach, chance)
    used = jnp.sum(hoods.used, dtype=jnp.int32)
    sound = jnp.where(hoods.sound & (used >= FEWEST_POINTS), 0.0, jnp.nan)
    return Measurement(
        dimension=jnp.exp(found.log_dimension) + sound,
        interval=(jnp.exp(found.log_dimension - reach) + sound, jnp.exp(found.log_dimension + reach) + sound),
        plain=plain,
        alike=found.share,
        distance=found.distance,
        typical_distance=jnp.asarray(references.typical),
        points_used=used,
        families=references.families,
    )


def _read(hoods: Neighborhoods, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The statistics of a cloud, and of how many points they are: of parts no larger than the largest references."""
    rows = hoods.used.shape[0]
    if rows <= _BEYOND * LARGEST:
        return statistics.of(hoods), jnp.sum(hoods.used)
    parts = min(MOST_PARTS, -(-rows // LARGEST))
    size = min(LARGEST, rows // parts)
    order = jax.random.permutation(key, rows)
    of_parts, counts = [], []
    for part in range(parts):
        some = order[part * size : (part + 1) * size]
        # Rows that do not count stay out by being nan.
        kept = jnp.where(hoods.used[some][:, None], vectors(hoods, "measure")[some], jnp.nan)
        inner = neighborhoods(kept, statistics.NEIGHBORS, hoods.metric, "drop", "keep")
        of_parts.append(statistics.of(inner))
        counts.append(jnp.sum(inner.used))
    return jnp.mean(jnp.stack(of_parts), axis=0), jnp.mean(jnp.stack(counts).astype(float))
