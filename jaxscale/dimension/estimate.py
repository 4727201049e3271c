"""What every estimator returns: a dimension, how far to trust it, and what became of the points."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri

from jaxscale.dimension.half_samples import can_be_halved, half_sample_variance
from jaxscale.dimension.neighborhood import Neighborhoods
from jaxscale.dimension.points import is_traced
from jaxscale.dimension.standard_errors import graph_variance
from jaxscale.errors import InputError


def normal_interval(value: jax.Array, standard_error: jax.Array, level: float) -> tuple[jax.Array, jax.Array]:
    """Lower and upper end of the normal interval of `value` at the confidence `level`."""
    reach = ndtri((1 + level) / 2) * standard_error
    return value - reach, value + reach


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Estimate:
    """An intrinsic dimension, how far to trust it, and what became of the points.

    Attributes:
      dimension: scalar.
      standard_error: scalar; allows for neighborhoods that overlap. It measures spread, not bias. nan where there is no
        spread to see, as under a rule that counts alike at every point.
      analytic_standard_error: scalar; as if neighborhoods were independent (Fisher information), which is too small;
        nan for estimators without such a formula.
      local: (n,) dimension around each point; nan where the point was dropped or repeats an earlier one. None for
        estimators that speak of the whole cloud alone.
      influence: (n,) first-order share of each point in the error of `dimension`, which is their mean over the points
        used; zero for the others. None for estimators without one.
      scale: scalar, the distance at which the dimension was read, mean over the points; what distance, the estimator's
        docstring says.
      points_used: int32 scalar, the N of the formulas.
      duplicates_collapsed: int32 scalar, rows that repeat another one (under "cosine", its direction), exactly or up to
        rounding; see `neighborhoods`.
      zero_distances: int32 scalar, distances between *distinct* points too close for the precision; kept out of logs.
      nonfinite_dropped: int32 scalar, rows with nan or infinity and, under "cosine", rows of zeros.
      rounding_collapsed: int32 scalar, those of `duplicates_collapsed` that are not exact copies.
      estimator: the name of the function that made it; static.
    """

    dimension: jax.Array
    standard_error: jax.Array
    analytic_standard_error: jax.Array
    local: jax.Array | None
    influence: jax.Array | None
    scale: jax.Array
    points_used: jax.Array
    duplicates_collapsed: jax.Array
    zero_distances: jax.Array
    nonfinite_dropped: jax.Array
    rounding_collapsed: jax.Array | int = 0
    estimator: str = dataclasses.field(default="", metadata={"static": True})

    def interval(self, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
        """Normal interval of `dimension` at the confidence `level`, for its spread alone."""
        return normal_interval(self.dimension, self.standard_error, level)


def from_influence(
    estimator: str,
    hoods: Neighborhoods,
    dimension: jax.Array,
    influence: jax.Array,
    used: jax.Array,
    analytic_variance: jax.Array | None = None,
    scale: jax.Array | None = None,
    local: jax.Array | None = None,
    read: Callable[[Neighborhoods], jax.Array] | None = None,
) -> Estimate:
    """The `Estimate` of a pooled dimension, with a standard error that allows for neighborhoods that overlap.

    With `read` it is that of `half_sample_variance`, whose intervals cover what they should. Without it, or where the
    cloud has fewer than eight points to each of the k neighbors, it is that of `graph_variance` over the neighbor graph
    of `hoods`, but no less than the analytic one.

    Args:
      estimator: name.
      hoods: the neighborhoods the estimate was read from; columns beyond those used should be cut off first.
      dimension: scalar.
      influence: (n,) ψ, zero for points not used.
      used: (n,) booleans.
      analytic_variance: scalar, as if points were independent; if None that of the mean of their influences.
      scale: (n,) distance at which each point was read; None stands for the distance to its last
        neighbor. The mean over the points used is reported.
      local: (n,) or None.
      read: the dimension of any neighborhoods with as many neighbors as `hoods`, by the same formula; must heed `used`.
    """
    count = jnp.sum(used)
    if analytic_variance is None:
        analytic_variance = jnp.sum(influence**2) / count**2
    if scale is None:
        scale = hoods.distances[:, -1]
    if read is not None and can_be_halved(hoods):
        variance = dimension**2 * half_sample_variance(read, hoods, count)
    else:
        # Neighbors that are other points than the rows join no two of these.
        no_edges = jnp.zeros((len(influence), 0), jnp.int32)
        edges = no_edges if hoods.indices is None else hoods.indices
        variance = jnp.maximum(graph_variance(influence, edges, count), analytic_variance)
    return Estimate(
        dimension=dimension,
        standard_error=known_error(variance),
        analytic_standard_error=jnp.sqrt(analytic_variance),
        local=local,
        influence=influence,
        scale=jnp.sum(jnp.where(used, scale, 0)) / count,
        points_used=count.astype(jnp.int32),
        duplicates_collapsed=hoods.duplicates_collapsed,
        zero_distances=hoods.zero_distances,
        nonfinite_dropped=hoods.nonfinite_dropped,
        rounding_collapsed=hoods.rounding_collapsed,
        estimator=estimator,
    )


def known_error(variance: jax.Array) -> jax.Array:
    """The root of a variance; nan for one of zero, which says that the points hold no trace of an error, not that there
    is none: a rule that counts may count alike everywhere, and be wrong everywhere."""
    seen = variance > 0
    return jnp.where(seen, jnp.sqrt(jnp.where(seen, variance, 1)), jnp.nan)


def refuse_if_none_used(estimate: Estimate, k: int) -> Estimate:
    """`estimate`; raises `InputError` where it is concrete and its `k` distances left no point to read."""
    if not is_traced(estimate.points_used) and int(estimate.points_used) == 0:
        raise InputError(
            f"the distances of all points of x to their k={k} neighbors are zero in {estimate.scale.dtype}. "
            "Pass a larger k, or points of which fewer coincide."
        )
    return estimate
