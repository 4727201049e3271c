"""Each assertion passes for a sound estimator and fails, saying why, for one broken in just that respect."""

import functools
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension, testing
from jaxscale.errors import InputError
from jaxscale.testing import clouds

N, WIDTH = 96, 4
CLOUD = clouds.cube(N, 2, WIDTH, key=1)


@jax.jit
def from_distances(distances_NxN):
    """TwoNN (Facco et al. 2017) over distinct distances, so that copies do no harm."""
    distances_NxN = jnp.where(distances_NxN > 0, distances_NxN, jnp.inf)
    first_Nx1 = jnp.min(distances_NxN, axis=1, keepdims=True)
    second_Nx1 = jnp.min(jnp.where(distances_NxN > first_Nx1, distances_NxN, jnp.inf), axis=1, keepdims=True)
    return 1 / jnp.mean(jnp.log(second_Nx1 / first_Nx1))


def sound(x):
    return 2 * from_distances(jnp.sum((x[:, None] - x) ** 2, axis=-1))


@jax.jit
def sound_without_nan_rows(x):
    present = ~jnp.isnan(x[:, 0])
    squared = jnp.sum((x[:, None] - x) ** 2, axis=-1)
    squared = jnp.where((squared > 0) & present[:, None] & present, squared, jnp.inf)
    first = jnp.min(squared, axis=1, keepdims=True)
    second = jnp.min(jnp.where(squared > first, squared, jnp.inf), axis=1, keepdims=True)
    logs = jnp.where(present, jnp.log(second / first)[:, 0], 0)
    return 2 * jnp.sum(present) / jnp.sum(logs)


def sample(n, *, key):
    return clouds.cube(n, 2, WIDTH, key=key)


on_cloud = {
    name: functools.partial(getattr(testing, f"assert_{name}"), x=CLOUD)
    for name in (
        "rotation_invariant",
        "translation_invariant",
        "scale_invariant",
        "permutation_invariant",
        "padding_invariant",
        "row_padding_invariant",
        "monotone_in_added_dimensions",
        "same_under_transforms",
        "finite_on_duplicates",
        "gradient_correct",
    )
}
on_cloud["finite_on_duplicates"] = functools.partial(on_cloud["finite_on_duplicates"], rtol=0.3)
on_cloud["consistent"] = functools.partial(testing.assert_consistent, sample=sample, dimension=2, sizes=(24, N))


@pytest.mark.parametrize("name", on_cloud)
def test_a_sound_estimator_passes(name):
    on_cloud[name](sound_without_nan_rows if name == "row_padding_invariant" else sound)


def by_columns(x):
    """Distances in the maximum norm see the axes."""
    return from_distances(jnp.max(jnp.abs(x[:, None] - x), axis=-1))


def by_directions(x):
    return sound(x / jnp.linalg.norm(x, axis=1, keepdims=True))


def with_noise_floor(x):
    return from_distances(jnp.sqrt(jnp.sum((x[:, None] - x) ** 2, axis=-1)) + jnp.where(jnp.eye(len(x)), 0, 1e-2))


def of_first_half(x):
    return sound(x[: len(x) // 2])


def per_column(x):
    return sound(x) * WIDTH / x.shape[1]


def with_nan_as_zero(x):
    return sound(jnp.nan_to_num(x))


def capped(x):
    return jnp.minimum(sound(x), 2.5)


def on_host(x):
    return float(sound(x))


def unbatched(x):
    scalar = jax.ShapeDtypeStruct((), np.float32)
    return jax.pure_callback(lambda x: np.float32(sound(x.reshape(-1, WIDTH))), scalar, x, vmap_method="expand_dims")


def batched_as_one(x):
    """Under vmap every cloud gets the dimension of the first."""

    def first_of(x):
        value = np.float32(sound(jnp.asarray(x.reshape(-1, N, WIDTH)[0])))
        return np.broadcast_to(value, x.shape[:-2])

    return jax.pure_callback(first_of, jax.ShapeDtypeStruct((), np.float32), x, vmap_method="broadcast_all")


def of_one_shard(x):
    return sound(x if isinstance(x, jax.core.Tracer) else x.addressable_data(0))


def one_too_much(x):
    return sound(x) + 1


def drifting(x):
    """Right about squares where points are few, seven percent off where they are many."""
    return 2.14 if len(x) > 50 else 2.0


def naive(x):
    nearest = jnp.sort(jnp.linalg.norm(x[:, None] - x, axis=-1), axis=1)
    return 1 / jnp.mean(jnp.log(nearest[:, 2] / nearest[:, 1]))


def with_copies_as_neighbors(x):
    """Finite, but a copy at zero distance is taken to be at 1e-6."""
    squared = jnp.sum((x[:, None] - x) ** 2, axis=-1)
    return 2 * from_distances(jnp.where(jnp.eye(len(x)), 0, jnp.maximum(squared, 1e-12)))


def of_detached_neighbors(x):
    return 2 * from_distances(jnp.sum((x[:, None] - jax.lax.stop_gradient(x)) ** 2, axis=-1))


@pytest.mark.parametrize(
    ("name", "broken", "message"),
    [
        ("rotation_invariant", by_columns, r"should give .* to a relative 0.001 for the cloud rotated; it gave"),
        ("translation_invariant", by_directions, r"for the cloud shifted by 10 times its radius; it gave"),
        ("scale_invariant", with_noise_floor, r"for the cloud times 0.001; it gave"),
        ("permutation_invariant", of_first_half, r"for the rows in another order; it gave"),
        ("padding_invariant", per_column, r"for the cloud with 3 columns of zeros appended; it gave"),
        ("row_padding_invariant", sound, r"should be finite for the cloud with 32 rows of nan put in; it gave nan"),
        ("row_padding_invariant", with_nan_as_zero, r"for the cloud with 32 rows of nan put in; it gave"),
        (
            "monotone_in_added_dimensions",
            capped,
            r"more than 2\.5 with 3 independent dimensions added, .* it gave 2\.5",
        ),
        ("same_under_transforms", on_host, r"under jit; it raised ConcretizationTypeError"),
        ("same_under_transforms", unbatched, r"under vmap; it"),
        ("same_under_transforms", batched_as_one, r"under vmap; it gave"),
        ("same_under_transforms", of_one_shard, r"for rows sharded over 8 devices; it gave"),
        ("consistent", one_too_much, r"should give 2 to a relative 0.1 on average for 96 points; it gave"),
        ("consistent", drifting, r"should near 2 as points grow from 24 to 96; it went from 2 to 2.14"),
        ("finite_on_duplicates", naive, r"more than zero with 0.01 of the rows copies of others; it gave 0"),
        ("finite_on_duplicates", with_copies_as_neighbors, r"to a relative 0.3 with .* of the rows copies"),
        ("gradient_correct", naive, r"should have a finite gradient; 384 of its 384 entries are not"),
        ("gradient_correct", of_detached_neighbors, r"along a random direction, .*; its gradient says"),
    ],
)
def test_a_broken_estimator_fails(name, broken, message):
    sentence = re.compile(rf"^assert_{name} failed: {broken.__name__} .*{message}")
    with pytest.raises(AssertionError, match=sentence):
        on_cloud[name](broken)


def test_the_broken_estimators_are_sound_in_other_respects():
    """So that what fails is the check that should, not any check."""
    on_cloud["permutation_invariant"](by_columns)
    on_cloud["rotation_invariant"](by_directions)
    on_cloud["rotation_invariant"](per_column)
    on_cloud["rotation_invariant"](of_detached_neighbors)
    on_cloud["finite_on_duplicates"](of_detached_neighbors)
    # Anything finite and positive will do where no tolerance is asked for.
    testing.assert_finite_on_duplicates(with_copies_as_neighbors, CLOUD)


def test_values_of_points_must_follow_their_points():
    def with_local(x, follow):
        local = jnp.sum(x**2, axis=1)
        return types.SimpleNamespace(dimension=sound(x), local=local if follow else jnp.sort(local))

    testing.assert_permutation_invariant(functools.partial(with_local, follow=True), CLOUD, per_point=("local",))
    with pytest.raises(AssertionError, match=r"with_local should give \.local of each row along with the row"):
        testing.assert_permutation_invariant(functools.partial(with_local, follow=False), CLOUD, per_point=("local",))


def test_an_estimator_with_a_mask_finds_its_rows_by_the_fill():
    by_mask = lambda x: sound_without_nan_rows(jnp.where(x == 1e6, jnp.nan, x))
    testing.assert_row_padding_invariant(by_mask, CLOUD, fill=1e6)
    with pytest.raises(AssertionError, match="for the cloud with 32 rows of 1e"):
        testing.assert_row_padding_invariant(sound, CLOUD, fill=1e6)


def test_check_estimator_names_every_property_that_fails():
    skipped = dict.fromkeys(("added_dimensions", "transforms", "consistency", "padding"))
    with pytest.raises(AssertionError) as raised:
        testing.check_estimator(naive, CLOUD, duplicates=0.3, **skipped)
    headline, *lines = str(raised.value).splitlines()
    assert headline == "naive fails 2 of 6 properties:"
    assert [line.split(":")[0] for line in lines] == ["  duplicates", "  gradient"]
    assert isinstance(raised.value.__cause__, AssertionError)


def test_check_estimator_reports_what_an_estimator_raises():
    def refuses(x):
        raise InputError("k=20 needs more points.\nSecond line.")

    others = ("translation", "scale", "permutation", "padding", "added_dimensions", "transforms", "consistency")
    skipped = dict.fromkeys((*others, "duplicates", "gradient"))
    with pytest.raises(AssertionError, match=r"refuses fails 1 of 1 properties:\n  rotation: InputError: k=20 needs"):
        testing.check_estimator(refuses, CLOUD, **skipped)


@pytest.mark.thorough
def test_mle_passes():
    # Fewer than 8 k points, padded ones included: the error, which no property reads, is quick to compile then.
    mle = jax.jit(functools.partial(dimension.mle, k=20, nonfinite="drop"))
    cloud = clouds.cube(120, 3, 6, key=2)
    # Far tighter than the defaults, by what float32 leaves of ratios of distances at spacings of a tenth.
    tolerances = {"rotation": 1e-5, "translation": 1e-4, "scale": 1e-5, "padding": 1e-6, "row_padding": 1e-6}
    # Transforms are tried in test_mle, its gradient in test_gradients.
    skipped = dict.fromkeys(("consistency", "transforms", "gradient"))
    testing.check_estimator(mle, cloud, **tolerances, **skipped)
    testing.assert_permutation_invariant(mle, cloud, per_point=("local", "influence"), rtol=1e-4)


@jax.jit
def mle_of_ten(x):
    return dimension.mle(x, k=10).dimension


@pytest.mark.thorough
@pytest.mark.parametrize("shape", [clouds.cube, clouds.sphere])
def test_mle_is_consistent(shape):
    sample = functools.partial(shape, dimension=2, width=6)
    testing.assert_consistent(mle_of_ten, sample, dimension=2, rtol=0.15)


@pytest.mark.parametrize(
    ("estimator", "x", "message"),
    [
        (lambda x: x[0], CLOUD, r"estimator must return a scalar, .* <lambda> returned shape \(4,\)"),
        (sound, CLOUD[0], r"one point per row, shape \(n, D\); it has shape \(4,\)"),
    ],
)
def test_bad_input_is_named(estimator, x, message):
    with pytest.raises(InputError, match=message):
        testing.assert_rotation_invariant(estimator, x)


def test_integer_clouds_are_moved_as_floats():
    lattice = np.random.default_rng(0).integers(0, 50, (N, WIDTH))
    testing.assert_translation_invariant(lambda x: jnp.mean((x[:, None] - x) ** 2), lattice)
