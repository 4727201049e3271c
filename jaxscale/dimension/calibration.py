"""The dimension a reading stands for: clouds of known dimension are read by the same estimator, and its bias taken off.

cal = calibrate(x)                                # or calibrate(x, estimator="gride", k=8)
cal.dimension, cal.standard_error, cal.bias       # the reading is their sum, dimension + bias

At any finite n an estimator from neighbors reads low, the more so the higher the dimension: a cube of dimension ten has
most of its points near its boundary, where a neighborhood is cut off. How low depends on the cloud. So three families
of reference clouds are read, and a cloud is placed among them by how uneven its neighbor distances are.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jax import lax

from jaxscale.arguments import integer, random_key
from jaxscale.dimension.estimate import Estimate, normal_interval
from jaxscale.dimension.estimators.registry import BOUNDED_BY_WIDTH, Estimator, at_all_neighbors
from jaxscale.dimension.neighborhood import Neighborhoods, neighborhoods
from jaxscale.dimension.points import is_traced
from jaxscale.errors import InputError
from jaxscale.files import read_json, write_json

Reference = Literal["sphere", "cube", "gaussian"]
# In the order of their unevenness: no boundary, a boundary, a density that varies.
FAMILIES: tuple[Reference, ...] = get_args(Reference)
# The bias falls as n^(-order/d): a boundary is felt over a distance n^(-1/d), curvature and density in its square.
ORDERS = (2, 1, 2)

# Dimensions of the reference clouds. Between two of them the logarithm of the reading is all but linear.
DIMENSIONS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 14, 17, 20, 24, 28, 34, 40, 48, 56, 68, 80, 96, 112, 136, 160, 192, 224, 256)

# The references read from this much less, in the log, than the cloud does to this much more.
MARGIN = 0.05

# A larger cloud is compared with references of this many points, and their bias scaled to its own number.
LARGEST_REFERENCE = 4096

# An estimator that compares by value: the function, what is bound to it by place, and what by name.
StaticEstimator = tuple[Any, tuple[Any, ...], tuple[tuple[str, Any], ...]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A dimension from which the estimator's bias was taken off.

    Attributes:
      dimension: scalar, the dimension of reference clouds that read as this one does.
      standard_error: scalar, from the error of the reading, the chance in the references, and that in their mixture.
      bias: scalar, of the reading: what it is above `dimension`, negative as a rule.
      reading: scalar, what the estimator said; without a cut at the width of the points, if it has one.
      mixture: (F,) shares of the reference families, in the order of `families`.
      points_used: int32 scalar.
      families: names; static.
    """

    dimension: jax.Array
    standard_error: jax.Array
    bias: jax.Array
    reading: jax.Array
    mixture: jax.Array
    points_used: jax.Array
    families: tuple[Reference, ...] = dataclasses.field(default=FAMILIES, metadata={"static": True})

    def interval(self, level: float = 0.95) -> tuple[jax.Array, jax.Array]:
        """Normal interval of `dimension` at the confidence `level`."""
        return normal_interval(self.dimension, self.standard_error, level)

    @property
    def underestimated(self) -> jax.Array:
        """Boolean scalar: whether the reading is too low by more than twice the standard error."""
        return -self.bias > 2 * self.standard_error

    @property
    def note(self) -> str:
        """One sentence to be shown beside a reading that is likely too low; empty for another. Concrete values only."""
        if not bool(self.underestimated):
            return ""
        n = int(self.points_used)
        return (
            f"The reading {float(self.reading):.3g} is likely too low: clouds of dimension {float(self.dimension):.3g} "
            f"read so at n={n} points, which resolve dimensions up to {_resolved(n)}."
        )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class References:
    """How clouds of known dimension read: F families at G dimensions.

    Attributes:
      dimension: (G,) ascending.
      log_reading, log_reading_error: (F, G) mean over the clouds of the log of their reading, and its standard error.
      unevenness, unevenness_spread: (F, G) mean and standard deviation of `unevenness` over clouds.
      points: points of each cloud; static.
      families: static.
    """

    dimension: jax.Array
    log_reading: jax.Array
    log_reading_error: jax.Array
    unevenness: jax.Array
    unevenness_spread: jax.Array
    points: int = dataclasses.field(metadata={"static": True})
    families: tuple[Reference, ...] = dataclasses.field(default=FAMILIES, metadata={"static": True})


def calibrate(
    x: jax.typing.ArrayLike | Neighborhoods,
    estimator: str | Estimator = "mle",
    k: int = 5,
    reference: Reference | None = None,
    key: jax.Array | int | None = None,
    clouds: int = 8,
    cache: str | os.PathLike[str] | None = None,
) -> Calibrated:
    """The dimension of `x`, the bias of `estimator` taken off by reading reference clouds of the same size.

    Let m_f(d) be the mean reading of family f at dimension d, as many points and the same k. The reading r of `x`
    stands for the dimension m_f⁻¹(r) were `x` of that family. The families differ by up to a tenth of d at d = 10;
    which one `x` is like shows in the unevenness of its neighbor distances (see `unevenness`), smallest for the sphere
    and largest for the Gaussian. Between the two families around that of `x`, log d is interpolated smoothly; beyond
    them it is that of the nearest. Derived and measured, see docs/mathematics.

    References are read where they are needed, `clouds` of them at each dimension from below the reading until all
    families read more; they are kept in memory, and under `cache` on disk, for clouds of about the same size.

    Estimators that cut the dimension at the width of the points read without that cut, cloud and references alike: one
    that cuts a cloud of R^8 at 8, and its references at more, would be compared with what it is not.

    The correction knows boundaries and densities like those of the references. Folds, noise and densities far from
    uniform bias a reading too, and are not told apart from dimension here; see `by_k`.

    Args:
      x: (n, D) points, or their `Neighborhoods` of at least `k`.
      estimator: a name in `ESTIMATORS`, or a function from `Neighborhoods` to `Estimate` that reads all of their
        neighbors; consistent as n grows.
      k: neighbors per point. The smaller, the smaller the bias, and the larger the spread.
      reference: the family to assume; None to choose by the data.
      key: a JAX random key, or an int for `jax.random.key`. Of the reference clouds; by default everyone shares
        the same ones.
      clouds: references at each dimension and family; their number adds a share 1 / clouds to the variance.
      cache: a JSON file of readings, made if there is none; the estimator must have a name then.

    Returns:
      `Calibrated`.

    Raises:
      InputError: if an argument cannot be used or `x` is traced: which references are needed depends on its values.
        Inside `jit` use `apply_references`, with references read beforehand.

    References:
      Ceruti et al., DANCo: an intrinsic dimensionality estimator exploiting angle and norm concentration, Pattern
        Recognition 47, 2014 (references for one estimator).
      Eckmann & Ruelle, Fundamental limitations for estimating dimensions and Lyapunov exponents, Physica D 56, 1992.
    """
    if reference is not None and reference not in FAMILIES:
        raise InputError(f"reference must be None, {', '.join(map(repr, FAMILIES))}; it is {reference!r}.")
    if is_traced(x.distances if isinstance(x, Neighborhoods) else x):
        raise InputError("calibrate cannot be traced. Call read_references outside jit, and apply_references inside.")
    k, clouds = integer("k", k, 1), integer("clouds", clouds, 2)
    _, read = at_all_neighbors(estimator)
    hoods = neighborhoods(x, k)
    width_limit = _width_limit(estimator, hoods)
    hoods = dataclasses.replace(hoods, width_limit=width_limit)
    estimate = read(hoods)
    families = FAMILIES if reference is None else (reference,)
    make = functools.partial(
        read_references,
        estimator,
        int(estimate.points_used),
        k=k,
        families=families,
        key=key,
        clouds=clouds,
        cache=cache,
        width_limit=width_limit,
    )
    calibrated: Calibrated = apply_references(estimate, hoods, _around(float(estimate.dimension), make))
    return calibrated


def _width_limit(estimator: str | Estimator, hoods: Neighborhoods) -> int | None:
    """A bound on the dimension out of the way of `estimator`, the same for the cloud and for its references.

    A cloud in R^8 read with a bound of 8 is not like a reference of dimension 8 in more columns. None for estimators
    known to have no bound, which share their references between clouds of all widths.
    """
    if isinstance(estimator, str) and estimator not in BOUNDED_BY_WIDTH:
        return None
    if hoods.points is None and hoods.width_limit is None:
        return None
    return 2 ** math.ceil(math.log2(2 * hoods.width)) if hoods.width > 4 else 8


def note_of_reading(estimate: Estimate) -> str:
    """One sentence to be shown beside a reading beyond what its points can resolve; empty for another.

    It needs no references, and speaks only where the reading is far too low; see `calibrate`. Concrete values only.
    """
    reading, n = float(estimate.dimension), int(estimate.points_used)
    if not reading > 2 * math.log10(max(n, 1)):
        return ""
    return f"The reading {reading:.3g} is likely too low: n={n} points resolve dimensions up to {_resolved(n)}."


def _resolved(n: int) -> str:
    return f"2 log10 n = {2 * math.log10(n):.2g} (Eckmann & Ruelle 1992)"


def _around(reading: float, make: Callable[[Sequence[int]], References]) -> References:
    """References from a dimension that reads less than `reading` to one at which all families read clearly more."""
    if not 0 < reading < math.inf:
        raise InputError(f"the estimator read {reading}, for which there is no reference. Look at the cloud first.")
    first = min(max(0, sum(d <= reading for d in DIMENSIONS) - 1), len(DIMENSIONS) - 2)
    end = first + 2
    while True:
        references = make(DIMENSIONS[first:end])
        lowest, highest = jnp.max(references.log_reading[:, 0]), jnp.min(references.log_reading[:, -1])
        if first > 0 and lowest > math.log(reading) - MARGIN:
            first -= 1
        elif end < len(DIMENSIONS) and highest < math.log(reading) + MARGIN:
            end += 1
        else:
            return references


def unevenness(hoods: Neighborhoods) -> jax.Array:
    """Standard deviation over the points of the log of the distance to the farthest neighbor in `hoods`.

    Where the density is uniform and far from any boundary it is about 1 / (d √k); a boundary and a varying density
    enlarge it.
    """
    farthest = hoods.distances[:, -1]
    used = hoods.used & (farthest > 0) & (farthest < jnp.inf)
    logs = jnp.log(jnp.where(used, farthest, 1))
    count = jnp.sum(used)
    mean = jnp.sum(logs) / count
    return jnp.sqrt(jnp.sum(jnp.where(used, (logs - mean) ** 2, 0)) / count)


@jax.jit
def apply_references(estimate: Estimate, hoods: Neighborhoods, references: References) -> Calibrated:
    """`estimate` with its bias taken off; pure, so it goes under `jit` and `vmap`.

    Args:
      estimate: of `hoods`, by the estimator and at the k of the references.
      hoods: neighborhoods of that k.
      references: over a range of dimensions that holds the answer.
    """
    log_reading = jnp.log(estimate.dimension)
    rates = [ORDERS[FAMILIES.index(family)] for family in references.families]
    log_d_G = jnp.log(references.dimension)
    shrink_FxG = (estimate.points_used / references.points) ** (-jnp.array(rates)[:, None] / references.dimension)
    log_reading_FxG = log_d_G + (references.log_reading - log_d_G) * shrink_FxG
    # Chance must not turn the curve back.
    log_reading_FxG = lax.cummax(log_reading_FxG, axis=1) + 1e-5 * jnp.arange(len(log_d_G))
    invert = functools.partial(_invert, log_reading, log_d_G)
    log_d_F, slope_F, error_F, uneven_F, spread_F = jax.vmap(invert)(
        log_reading_FxG, references.log_reading_error, references.unevenness, references.unevenness_spread
    )
    mixture_F, leverage = _mix(unevenness(hoods), uneven_F, log_d_F)
    dimension = jnp.exp(mixture_F @ log_d_F)
    reading_error = (mixture_F @ slope_F) * estimate.standard_error / estimate.dimension
    mixture_error = leverage * (mixture_F @ spread_F)
    relative = jnp.sqrt(reading_error**2 + jnp.sum((mixture_F * error_F) ** 2) + mixture_error**2)
    return Calibrated(
        dimension=dimension,
        standard_error=dimension * relative,
        bias=estimate.dimension - dimension,
        reading=estimate.dimension,
        mixture=mixture_F,
        points_used=estimate.points_used,
        families=references.families,
    )


def _invert(
    log_reading: jax.Array,
    log_d_G: jax.Array,
    log_reading_G: jax.Array,
    error_G: jax.Array,
    uneven_G: jax.Array,
    spread_G: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]:
    """log d at which a family reads `log_reading`, its derivative, its error, and the family's unevenness there."""
    right = jnp.clip(jnp.searchsorted(log_reading_G, log_reading), 1, len(log_d_G) - 1)
    left = right - 1
    share = (log_reading - log_reading_G[left]) / (log_reading_G[right] - log_reading_G[left])
    between: Callable[[jax.Array], jax.Array] = lambda values_G: (
        values_G[left] + share * (values_G[right] - values_G[left])
    )
    slope = (log_d_G[right] - log_d_G[left]) / (log_reading_G[right] - log_reading_G[left])
    error = slope * jnp.hypot((1 - share) * error_G[left], share * error_G[right])
    return between(log_d_G), slope, error, between(uneven_G), between(spread_G)


def _mix(uneven: jax.Array, uneven_F: jax.Array, log_d_F: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shares of the families by smooth interpolation in unevenness, and the derivative of the mixed log d in it."""
    families = len(uneven_F)
    if families == 1:
        return jnp.ones(1), jnp.zeros(())
    ascending_F = lax.cummax(uneven_F) + 1e-6 * jnp.arange(families)
    place = jnp.interp(uneven, ascending_F, jnp.arange(families, dtype=ascending_F.dtype))
    left = jnp.clip(jnp.floor(place).astype(jnp.int32), 0, families - 2)
    # Level at every family: were it a corner there, the chance in the unevenness would bias what is like that family.
    share = place - left
    right_weight, slope = share**2 * (3 - 2 * share), 6 * share * (1 - share)
    order_F = jnp.arange(families)
    mixture_F = jnp.where(order_F == left, 1 - right_weight, jnp.where(order_F == left + 1, right_weight, 0))
    leverage = slope * (log_d_F[left + 1] - log_d_F[left]) / (ascending_F[left + 1] - ascending_F[left])
    return mixture_F, leverage


def read_references(
    estimator: str | Estimator,
    n: int,
    dimensions: Sequence[int],
    k: int = 5,
    families: Sequence[Reference] = FAMILIES,
    key: jax.Array | int | None = None,
    clouds: int = 8,
    cache: str | os.PathLike[str] | None = None,
    width_limit: int | None = None,
) -> References:
    """How `estimator` reads reference clouds of about `n` points.

    The families are uniform on the unit sphere S^d in d+1 dimensions, uniform on the cube [0, 1]^d, and the standard
    normal distribution in d dimensions. The number of points is rounded to a sixth of an octave and to 4096 at most;
    `apply_references` allows for what that changes.

    Args:
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.
      estimator, clouds, cache: as for `calibrate`.
      n: points.
      dimensions: ascending, at least two for `apply_references`.
      k: neighbors per point.
      families: a subset of `FAMILIES`, in their order.
      width_limit: what estimators that cut at the width of the points take for it; see `Neighborhoods.width`. For
        `apply_references` it must be that of the neighborhoods. None for the columns that a reference happens to have.

    Raises:
      InputError: if fewer than two `clouds` are asked for, or `cache` is given for an estimator without a name.
    """
    n, k, clouds = integer("n", n, 1), integer("k", k, 1), integer("clouds", clouds, 2)
    width_limit = None if width_limit is None else integer("width_limit", width_limit, 1)
    _, read = at_all_neighbors(estimator)
    points = max(k + 2, min(LARGEST_REFERENCE, round(2 ** (round(6 * math.log2(n)) / 6))))
    key = random_key("key", 0 if key is None else key)
    shelf = _Shelf(estimator, points, k, clouds, key, cache, width_limit)
    rows = [
        [shelf.readings(_static(read), family, integer("dimensions", d, 1)) for d in dimensions] for family in families
    ]
    shelf.save()
    values_FxGx4 = jnp.array(rows)
    return References(
        dimension=jnp.asarray(dimensions, values_FxGx4.dtype),
        log_reading=values_FxGx4[..., 0],
        log_reading_error=values_FxGx4[..., 1],
        unevenness=values_FxGx4[..., 2],
        unevenness_spread=values_FxGx4[..., 3],
        points=points,
        families=tuple(families),
    )


def _static(read: Estimator) -> StaticEstimator:
    """A function as a value that equals that of another partial application of the same function to the same."""
    if isinstance(read, functools.partial):
        return (read.func, read.args, tuple(sorted(read.keywords.items())))
    return (read, (), ())


_IN_MEMORY: dict[tuple[Any, ...], tuple[float, ...]] = {}


class _Shelf:
    """Readings of references that were made before, in memory and on disk."""

    def __init__(
        self,
        estimator: str | Estimator,
        points: int,
        k: int,
        clouds: int,
        key: jax.Array,
        cache: str | os.PathLike[str] | None,
        width_limit: int | None,
    ) -> None:
        self.points, self.k, self.clouds, self.key, self.width_limit = points, k, clouds, key, width_limit
        self.seed = tuple(jax.random.key_data(key).ravel().tolist())
        self.path = None if cache is None else pathlib.Path(cache)
        self.on_disk = read_json(self.path) if self.path is not None and self.path.exists() else {}
        self.name = None if cache is None else _lasting_name(estimator)
        self.new = False

    def readings(self, read: StaticEstimator, family: Reference, d: int) -> tuple[float, ...]:
        """Mean log reading, its standard error, mean unevenness and its spread over the clouds."""
        limit = () if self.width_limit is None else (self.width_limit,)
        place = (read, self.points, self.k, self.clouds, self.seed, family, d, *limit)
        label = json.dumps([self.name, self.points, self.k, self.clouds, self.seed, family, d, *limit])
        if place not in _IN_MEMORY:
            if label in self.on_disk:
                _IN_MEMORY[place] = tuple(self.on_disk[label])
            else:
                width = max(8, 2 ** math.ceil(math.log2(d + 1)))
                which = FAMILIES.index(family)
                key = jax.random.fold_in(jax.random.fold_in(self.key, which), d)
                read_clouds = _read_clouds(
                    read, self.points, width, self.k, self.clouds, which, d, key, self.width_limit
                )
                _IN_MEMORY[place] = tuple(map(float, read_clouds))
        if self.path is not None and label not in self.on_disk:
            self.on_disk[label], self.new = _IN_MEMORY[place], True
        return _IN_MEMORY[place]

    def save(self) -> None:
        if self.new and self.path is not None:
            write_json(self.path, self.on_disk)


def _lasting_name(estimator: str | Estimator) -> list[str]:
    if isinstance(estimator, str):
        return [estimator]
    function, args, keywords = _static(estimator)
    name = f"{function.__module__}.{function.__qualname__}"
    if "<" in name:
        raise InputError(f"cache needs an estimator with a name; {name} has none. Pass a function of a module.")
    return [name, repr(args), repr(keywords)]


@functools.partial(jax.jit, static_argnames=("read", "points", "width", "k", "clouds", "width_limit"))
def _read_clouds(
    read: StaticEstimator,
    points: int,
    width: int,
    k: int,
    clouds: int,
    family: jax.Array,
    d: jax.Array,
    key: jax.Array,
    width_limit: int | None,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    function, args, keywords = read

    def of_one(cloud_key: jax.Array) -> tuple[jax.Array, jax.Array]:
        hoods = neighborhoods(_cloud(cloud_key, family, d, points, width), k)
        hoods = dataclasses.replace(hoods, width_limit=width_limit)
        return jnp.log(function(hoods, *args, **dict(keywords)).dimension), unevenness(hoods)

    log_reading, uneven = lax.map(of_one, jax.random.split(key, clouds))
    error = jnp.std(log_reading, ddof=1) / jnp.sqrt(clouds)
    return jnp.mean(log_reading), error, jnp.mean(uneven), jnp.std(uneven, ddof=1)


def _cloud(key: jax.Array, family: jax.Array, d: jax.Array, points: int, width: int) -> jax.Array:
    """A reference cloud in the first d or d+1 of `width` columns, the others zero: one program serves many d."""
    column = jnp.arange(width)
    normal = jax.random.normal(key, (points, width))
    sphere = jnp.where(column <= d, normal, 0)
    sphere = sphere / jnp.linalg.norm(sphere, axis=1, keepdims=True)
    uniform = jnp.where(column < d, jax.random.uniform(key, (points, width)), 0)
    gaussian = jnp.where(column < d, normal, 0)
    return jnp.stack([sphere, uniform, gaussian])[family]
