"""Properties that every estimator of dimension should have, one assertion each, and all of them at once.

An *estimator* is a function from an (n, D) array to a scalar, or to an object with a scalar `.dimension`. Options are
bound with `functools.partial`. Each assertion passes in silence or raises an `AssertionError` of one sentence: what was
expected of which cloud, and what came out.

Clouds are moved in float64 and rounded once to the type they came in, so that a difference is the estimator's own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale.arguments import integer, numpy_seed, random_key
from jaxscale.dimension.points import as_array, central_row, check_cloud, is_cut, less_center
from jaxscale.errors import InputError
from jaxscale.testing import clouds

Estimator = Callable[[jax.Array], Any]


def assert_rotation_invariant(
    estimator: Estimator, x: jax.typing.ArrayLike, rtol: float = 1e-3, key: jax.Array | int | None = None
) -> None:
    """A random rotation of the cloud leaves the estimate alone.

    Rounding the rotated points moves float32 distances by 10⁻⁷ of the cloud's size, and a dimension read from ratios
    of distances ε apart by 10⁻⁷/ε; an estimator that counts pairs within a radius moves in steps. Hence `rtol`.

    Args:
      estimator: from (n, D) points to a scalar or an object with a scalar `.dimension`.
      x: (n, D) points.
      rtol: largest relative change of the estimate.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the estimate changes or is not finite.
    """
    cloud = _as_cloud(x)
    turned = _like(cloud, np.float64(cloud) @ clouds.rotation(cloud.shape[1], key=_own(key)))
    _assert_unmoved("assert_rotation_invariant", estimator, cloud, turned, "for the cloud rotated", rtol)


def assert_translation_invariant(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    distance: float = 10.0,
    rtol: float = 1e-3,
    key: jax.Array | int | None = None,
) -> None:
    """A shift of the cloud, `distance` times its root mean square radius in a random direction, changes nothing.

    A distance of 10^m costs the points themselves m of their seven digits, and an estimator that expands |x - y|² into
    |x|² - 2xy + |y|² twice as many.

    Args:
      distance: of the shift, in root mean square radii.
      estimator, x, rtol: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: as `assert_rotation_invariant`.
    """
    cloud = _as_cloud(x)
    direction = _generator(key).normal(size=cloud.shape[1])
    shift = distance * _radius(cloud) * direction / np.linalg.norm(direction)
    moved = _like(cloud, cloud.astype(np.float64) + shift)
    situation = f"for the cloud shifted by {distance:g} times its radius"
    _assert_unmoved("assert_translation_invariant", estimator, cloud, moved, situation, rtol)


def assert_scale_invariant(
    estimator: Estimator, x: jax.typing.ArrayLike, factors: Sequence[float] = (1e-3, 1e3), rtol: float = 1e-3
) -> None:
    """The estimate does not depend on the unit of length: on no one of `factors`, by which the cloud is multiplied.

    Factors of 1e-25 and 1e25 also ask whether squared distances may leave float32.

    Args, Raises: as `assert_rotation_invariant`.
    """
    cloud = _as_cloud(x)
    for factor in factors:
        scaled = _like(cloud, cloud.astype(np.float64) * factor)
        _assert_unmoved("assert_scale_invariant", estimator, cloud, scaled, f"for the cloud times {factor:g}", rtol)


def assert_permutation_invariant(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    per_point: Sequence[str] = (),
    rtol: float = 1e-3,
    key: jax.Array | int | None = None,
) -> None:
    """The order of the points does not matter to the estimate, and what is said of each point moves along with it.

    Args:
      per_point: names of attributes of the estimator's result, (n, ...) each, that must be permuted as the rows are:
        `("local",)` for ours. Entries are compared to `rtol` of the largest; nan matches nan.
      estimator, x, rtol: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the estimate changes or is not finite, or a per-point value does not follow its point.
    """
    check, cloud = "assert_permutation_invariant", _as_cloud(x)
    order = _generator(key).permutation(len(cloud))
    _assert_unmoved(check, estimator, cloud, cloud[order], "for the rows in another order", rtol)
    if not per_point:
        return
    plain, permuted = estimator(jnp.asarray(cloud)), estimator(jnp.asarray(cloud[order]))
    for name in per_point:
        expected, values = np.asarray(getattr(plain, name))[order], np.asarray(getattr(permuted, name))
        largest = np.max(np.abs(expected), where=np.isfinite(expected), initial=0)
        close = np.isclose(values, expected, rtol=0, atol=rtol * largest, equal_nan=True)
        if not np.all(close):
            first = np.unravel_index(np.argmin(close), close.shape)
            raise AssertionError(
                f"{check} failed: {_name(estimator)} should give .{name} of each row along with the row; "
                f"{np.sum(~close)} of {close.size} entries differ, the first is {values[first]:.6g} "
                f"where {expected[first]:.6g} was expected."
            )


def assert_padding_invariant(
    estimator: Estimator, x: jax.typing.ArrayLike, columns: int = 3, rtol: float = 1e-3
) -> None:
    """Columns of zeros, which change no distance, change no estimate.

    Args:
      columns: how many to append.
      estimator, x, rtol: as `assert_rotation_invariant`.

    Raises:
      AssertionError: if the estimate changes or is not finite.
    """
    cloud, columns = _as_cloud(x), integer("columns", columns, 1)
    situation = f"for the cloud with {columns} columns of zeros appended"
    _assert_unmoved("assert_padding_invariant", estimator, cloud, _widened(cloud, columns), situation, rtol)


def assert_row_padding_invariant(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    rows: int = 32,
    fill: float = np.nan,
    rtol: float = 1e-3,
    key: jax.Array | int | None = None,
) -> None:
    """Rows that hold no point, put in at random places, change no estimate.

    For estimators that leave out rows of nan when asked, and for those that take a mask, which they can make of `fill`:

        assert_row_padding_invariant(functools.partial(mle, nonfinite="drop"), x)
        assert_row_padding_invariant(lambda x: masked(x, mask=x[:, 0] != 1e6), x, fill=1e6)

    Args:
      rows: how many to put in.
      fill: what they hold.
      estimator, x, rtol: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the estimate changes or is not finite.
    """
    cloud, rows = _as_cloud(x), integer("rows", rows, 1)
    padded = np.insert(cloud, np.sort(_generator(key).integers(0, len(cloud) + 1, rows)), fill, axis=0)
    situation = f"for the cloud with {rows} rows of {fill:g} put in"
    _assert_unmoved("assert_row_padding_invariant", estimator, cloud, padded, situation, rtol)


def assert_monotone_in_added_dimensions(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    added: Sequence[int] = (1, 3),
    rise: float = 0.0,
    key: jax.Array | int | None = None,
) -> None:
    """The product of the cloud with independent uniform coordinates has a larger dimension, the more the larger.

    The coordinates are as wide as the median column that varies. Columns not added yet are zeros: one compiled shape.

    Args:
      added: how many coordinates, ascending.
      rise: how much of each added dimension must show in the estimate: 1 were exact, but estimates saturate where
        points are few, and large dimensions show less. At 0 the estimate must rise at all.
      estimator, x: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the estimate rises by too little or is not finite.
    """
    check, cloud = "assert_monotone_in_added_dimensions", _as_cloud(x)
    added = [integer("added", count, 1) for count in added]
    n, width = cloud.shape
    deviations = np.std(np.float64(cloud), axis=0)
    side = np.sqrt(12) * np.median(deviations[deviations > 0])
    coordinates = side * _generator(key).uniform(size=(n, max(added)))
    before, value = 0, _estimate(check, estimator, _widened(cloud, max(added)), "for the cloud as it is")
    for count in added:
        product = _widened(cloud, max(added))
        product[:, width : width + count] = coordinates[:, :count]
        situation = f"with {count} independent dimensions added"
        least, lower = value + rise * (count - before), value
        before, value = count, _estimate(check, estimator, product, situation)
        if not value > least:
            raise AssertionError(
                f"{check} failed: {_name(estimator)} should give more than {least:.6g} {situation}, after "
                f"{lower:.6g} with fewer; it gave {value:.6g}."
            )


def assert_same_under_transforms(estimator: Estimator, x: jax.typing.ArrayLike, rtol: float = 1e-4) -> None:
    """Under `jit`, under `vmap` over a batch of clouds, and for a sharded cloud the estimate is the eager one.

    The batch is the cloud and a copy stretched along its columns by factors from one to two. The rows are sharded over
    all devices, or as many of them as divide n; to test several on one CPU, set XLA_FLAGS to
    --xla_force_host_platform_device_count=8 before jax starts.

    Args, Raises: as `assert_rotation_invariant`; raising an error under a transform fails too.
    """
    check, cloud = "assert_same_under_transforms", _as_cloud(x)
    stretched = _like(cloud, np.float64(cloud) * np.linspace(1, 2, cloud.shape[1]))
    expected = _estimate(check, estimator, cloud, "for the cloud as it is")
    expected_stretched = _estimate(check, estimator, stretched, "for the stretched cloud")
    read = functools.partial(_dimension, estimator)
    both = lambda: jax.vmap(read)(jnp.stack([cloud, stretched]))
    attempts: list[tuple[str, Callable[[], Any], Any]] = [
        ("under jit", lambda: jax.jit(read)(cloud), expected),
        ("under vmap", both, [expected, expected_stretched]),
        (f"for rows sharded over {_mesh(len(cloud)).size} devices", lambda: read(_sharded(cloud)), expected),
    ]
    for situation, attempt, target in attempts:
        try:
            values = np.asarray(attempt())
        except Exception as error:
            raise AssertionError(
                f"{check} failed: {_name(estimator)} should give {expected:.6g} {situation}; "
                f"it raised {_first_line(error)}"
            ) from error
        for value, wanted in zip(np.atleast_1d(values), np.atleast_1d(target), strict=True):
            _assert_close(check, estimator, value, wanted, situation, rtol)


def assert_consistent(
    estimator: Estimator,
    sample: Callable[..., jax.typing.ArrayLike],
    dimension: float,
    sizes: Sequence[int] = (128, 512),
    rtol: float = 0.1,
    draws: int = 4,
    key: jax.Array | int | None = None,
) -> None:
    """The mean estimate over a few samples of a known manifold nears its dimension as the samples grow.

    At the largest size it must be within `rtol` of the truth, and nearer than at the smallest size unless within a
    quarter of that, where chance decides.

    Args:
      estimator: from (n, D) points to a scalar or an object with a scalar `.dimension`.
      sample: called as `sample(n, key=key)`, gives (n, D) points: the `sample` of a `manifolds.Manifold`, say.
      dimension: the truth.
      sizes: n, ascending; each costs a compilation.
      rtol: largest relative error of the mean at the largest size.
      draws: samples of each size.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the mean at the largest size is too far from the truth or no nearer than at the smallest.
    """
    check, draws = "assert_consistent", integer("draws", draws, 1)
    sizes = [integer("sizes", n, 1) for n in sizes]
    key = random_key("key", 0 if key is None else key)
    means = []
    for n in sizes:
        estimates = [
            _estimate(check, estimator, _as_cloud(sample(n, key=draw)), f"for {n} points of dimension {dimension:g}")
            for draw in jax.random.split(jax.random.fold_in(key, n), draws)
        ]
        means.append(float(np.mean(estimates)))
    _assert_close(check, estimator, means[-1], dimension, f"on average for {sizes[-1]} points", rtol)
    first, last = abs(means[0] - dimension), abs(means[-1] - dimension)
    if last > max(first, rtol * dimension / 4):
        raise AssertionError(
            f"{check} failed: {_name(estimator)} should near {dimension:g} as points grow from {sizes[0]} to "
            f"{sizes[-1]}; it went from {means[0]:.6g} to {means[-1]:.6g}."
        )


def assert_finite_on_duplicates(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    shares: Sequence[float] = (0.01, 0.5),
    rtol: float | None = None,
    key: jax.Array | int | None = None,
) -> None:
    """Where rows repeat other rows exactly, the estimate is finite and positive, and near that of distinct points.

    Args:
      shares: of the rows, to be replaced by copies of others; at least one row is.
      rtol: largest relative distance from the estimate of `x` itself, which has more distinct points; if None,
        anything finite and positive will do.
      estimator, x: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if the estimate is not finite, not positive, or too far away.
    """
    check, cloud = "assert_finite_on_duplicates", _as_cloud(x)
    for share in shares:
        situation = f"with {share:.3g} of the rows copies of others"
        value = _estimate(check, estimator, clouds.with_duplicates(cloud, share, key=_own(key)), situation)
        if value <= 0:
            raise AssertionError(
                f"{check} failed: {_name(estimator)} should give more than zero {situation}; it gave {value:.6g}."
            )
        if rtol is not None:
            expected = _estimate(check, estimator, cloud, "for the cloud as it is")
            _assert_close(check, estimator, value, expected, situation, rtol)


def assert_gradient_correct(
    estimator: Estimator,
    x: jax.typing.ArrayLike,
    rtol: float = 1e-3,
    step: float = 1e-8,
    directions: int = 3,
    key: jax.Array | int | None = None,
) -> None:
    """The gradient of the estimate in the points is finite and agrees with central differences.

    Both are taken in float64 along random directions. Where two neighbors change ranks the derivative of most
    estimators jumps; the step is so small that of some hundred points none are likely to. An estimator that computes in
    float32 whatever it is given needs a `step` near 1e-3, a large `rtol`, and few points.

    Args:
      rtol: largest disagreement along a direction, relative to the larger of the difference and the size that the
        gradient's norm lets one expect along a random direction.
      step: of the differences, relative to the cloud's root mean square radius.
      directions: how many.
      estimator, x: as `assert_rotation_invariant`.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if an entry of the gradient is not finite, or a directional derivative is wrong.
    """
    check, cloud, rng = "assert_gradient_correct", _as_cloud(x), _generator(key)
    directions = integer("directions", directions, 1)
    with jax.enable_x64(True):
        points, read = jnp.asarray(cloud, jnp.float64), functools.partial(_dimension, estimator)
        gradient = np.asarray(jax.grad(read)(points))
        if not np.all(np.isfinite(gradient)):
            raise AssertionError(
                f"{check} failed: {_name(estimator)} should have a finite gradient; "
                f"{np.sum(~np.isfinite(gradient))} of its {gradient.size} entries are not."
            )
        # Every point moves by about the radius, so the derivative is of size |gradient| times that of one coordinate.
        reach = _radius(cloud) / np.sqrt(cloud.shape[1])
        typical = np.linalg.norm(gradient) * reach
        for _ in range(directions):
            direction = reach * rng.normal(size=cloud.shape)
            derivative = np.vdot(gradient, direction)
            ahead, behind = float(read(points + step * direction)), float(read(points - step * direction))
            difference = (ahead - behind) / (2 * step)
            if not abs(derivative - difference) <= rtol * max(abs(difference), typical):
                raise AssertionError(
                    f"{check} failed: {_name(estimator)} should have the derivative {difference:.6g} along a random "
                    f"direction, by central differences, to a relative {rtol:g}; its gradient says {derivative:.6g}."
                )


def check_estimator(
    estimator: Estimator,
    x: jax.typing.ArrayLike | None = None,
    *,
    rotation: float | None = 1e-3,
    translation: float | None = 1e-3,
    scale: float | None = 1e-3,
    permutation: float | None = 1e-3,
    padding: float | None = 1e-3,
    row_padding: float | None = None,
    added_dimensions: float | None = 0.25,
    transforms: float | None = 1e-4,
    consistency: float | None = 0.15,
    duplicates: float | None = 0.25,
    gradient: float | None = 1e-3,
    key: jax.Array | int | None = None,
) -> None:
    """Every property of this module at once; what fails is named, all of it.

    Each option is the tolerance of the property it names (for `added_dimensions` the `rise`), or None to leave it out:
    `gradient=None` for an estimator that counts, `transforms=None, gradient=None` for one in NumPy. Rows of nan are
    tried only if `row_padding` is given.

    Args:
      estimator: from (n, D) points to a scalar or an object with a scalar `.dimension`.
      x: (n, D) points to try it on; 512 of a cube of dimension three in six columns if None. Consistency is tried on a
        square and on a sphere, whatever `x` is.
      key: a JAX random key, or an int for `jax.random.key`. 0 if None.

    Raises:
      AssertionError: if a property fails, or the estimator raises an error; one line for each of those that do.
    """
    key = random_key("key", 0 if key is None else key)
    # Not the stream of the assertions, whose added coordinates would repeat the cloud's own.
    cloud = clouds.cube(512, 3, 6, key=_own(jax.random.fold_in(key, 1))) if x is None else _as_cloud(x)

    def consistent(rtol: float) -> None:
        for shape in (clouds.cube, clouds.sphere):
            sample = functools.partial(shape, dimension=2, width=6)
            assert_consistent(estimator, sample, dimension=2, rtol=rtol, key=key)

    properties: list[tuple[str, float | None, Callable[[float], None]]] = [
        ("rotation", rotation, lambda rtol: assert_rotation_invariant(estimator, cloud, rtol, key)),
        ("translation", translation, lambda rtol: assert_translation_invariant(estimator, cloud, rtol=rtol, key=key)),
        ("scale", scale, lambda rtol: assert_scale_invariant(estimator, cloud, rtol=rtol)),
        ("permutation", permutation, lambda rtol: assert_permutation_invariant(estimator, cloud, rtol=rtol, key=key)),
        ("padding", padding, lambda rtol: assert_padding_invariant(estimator, cloud, rtol=rtol)),
        ("row_padding", row_padding, lambda rtol: assert_row_padding_invariant(estimator, cloud, rtol=rtol, key=key)),
        (
            "added_dimensions",
            added_dimensions,
            lambda rise: assert_monotone_in_added_dimensions(estimator, cloud, rise=rise, key=key),
        ),
        ("transforms", transforms, lambda rtol: assert_same_under_transforms(estimator, cloud, rtol)),
        ("consistency", consistency, consistent),
        ("duplicates", duplicates, lambda rtol: assert_finite_on_duplicates(estimator, cloud, rtol=rtol, key=key)),
        ("gradient", gradient, lambda rtol: assert_gradient_correct(estimator, cloud, rtol, key=key)),
    ]
    tried = [(name, tolerance, attempt) for name, tolerance, attempt in properties if tolerance is not None]
    failures: dict[str, Exception] = {}
    for name, tolerance, attempt in tried:
        try:
            attempt(tolerance)
        except Exception as error:
            failures[name] = error
    if failures:
        told = {name: str(e) if isinstance(e, AssertionError) else _first_line(e) for name, e in failures.items()}
        lines = "".join(f"\n  {name}: {text}" for name, text in told.items())
        raise AssertionError(f"{_name(estimator)} fails {len(failures)} of {len(tried)} properties:{lines}") from next(
            iter(failures.values())
        )


def _dimension(estimator: Estimator, x: jax.Array) -> jax.Array:
    """The estimate of `x`, a scalar, traced or not."""
    result = estimator(x)
    dimension = jnp.asarray(getattr(result, "dimension", result))
    if dimension.shape != ():
        raise InputError(
            f"estimator must return a scalar, or an object with a scalar .dimension; {_name(estimator)} returned "
            f"shape {dimension.shape}."
        )
    return dimension


def _estimate(check: str, estimator: Estimator, x: np.ndarray, situation: str) -> float:
    """The estimate of a concrete `x`, a finite number, as a float."""
    value = float(_dimension(estimator, jnp.asarray(x)))
    if not np.isfinite(value):
        raise AssertionError(f"{check} failed: {_name(estimator)} should be finite {situation}; it gave {value}.")
    return value


def _assert_unmoved(
    check: str, estimator: Estimator, x: np.ndarray, moved: np.ndarray, situation: str, rtol: float
) -> None:
    """What `estimator` says of `moved`, the cloud of that situation, is what it says of `x`."""
    expected = _estimate(check, estimator, x, "for the cloud as it is")
    _assert_close(check, estimator, _estimate(check, estimator, moved, situation), expected, situation, rtol)


def _assert_close(check: str, estimator: Estimator, value: float, expected: float, situation: str, rtol: float) -> None:
    if not abs(value - expected) <= rtol * abs(expected):
        raise AssertionError(
            f"{check} failed: {_name(estimator)} should give {expected:.6g} to a relative {rtol:g} {situation}; "
            f"it gave {value:.6g}."
        )


def _as_cloud(x: jax.typing.ArrayLike) -> np.ndarray:
    """`x` as (n, D) NumPy array, floating, of a type that jax holds."""
    cloud = as_array(x)
    check_cloud(cloud, "x")
    if cloud.shape[0] == 0:
        raise InputError(f"x must hold points; it has shape {cloud.shape}.")
    if isinstance(cloud, np.ndarray) and is_cut(cloud.dtype):
        # Far from the origin the estimator would see what jax leaves of the cloud, and not the cloud.
        return less_center(cloud, central_row(cloud))
    cloud = np.asarray(cloud)
    return cloud if jnp.issubdtype(cloud.dtype, jnp.floating) else cloud.astype(np.float32)


def _like(x: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """`moved`, computed in float64, rounded to the type of `x`."""
    return moved.astype(x.dtype)


def _widened(x: np.ndarray, columns: int) -> np.ndarray:
    return np.pad(x, ((0, 0), (0, columns)))


def _radius(x: np.ndarray) -> float:
    """Root mean square distance of the points from their mean."""
    radius: float = np.sqrt(np.sum(np.var(np.float64(x), axis=0)))
    return radius


def _own(key: jax.Array | int | None) -> jax.Array:
    """A key of the assertions' own: nothing that the user draws with the same key repeats their draws."""
    return jax.random.fold_in(random_key("key", 0 if key is None else key), 0x7E57)


def _generator(key: jax.Array | int | None) -> np.random.Generator:
    return np.random.default_rng(numpy_seed("key", _own(key)))


def _mesh(n: int) -> jax.sharding.Mesh:
    """A mesh of as many devices as divide n."""
    devices = jax.devices()
    count = max(count for count in range(1, len(devices) + 1) if n % count == 0)
    auto = (jax.sharding.AxisType.Auto,)
    return jax.make_mesh((count,), ("points",), axis_types=auto, devices=devices[:count])


def _sharded(x: np.ndarray) -> jax.Array:
    placed: jax.Array = jax.device_put(
        x, jax.sharding.NamedSharding(_mesh(len(x)), jax.sharding.PartitionSpec("points"))
    )
    return placed


def _name(estimator: Estimator) -> str:
    while isinstance(estimator, functools.partial):
        estimator = estimator.func
    return getattr(estimator, "__name__", repr(estimator))


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"
