"""The maximum likelihood dimension is right on known shapes, unmoved by symmetries, and honest about its input."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from jaxscale import dimension
from jaxscale.dimension.duplicates import first_occurrence
from jaxscale.errors import InputError

N, K = 600, 10
mle = functools.partial(dimension.mle, k=K)
jitted_mle = jax.jit(mle)


# One shape for almost every cloud, so that almost every test reuses one compilation.
WIDTH = 8


def rng(seed=0):
    return np.random.default_rng(seed)


def rotated(points):
    """`points` turned into WIDTH dimensions."""
    basis, _ = np.linalg.qr(rng(1).normal(size=(WIDTH, WIDTH)))
    return (points @ basis[: points.shape[1]]).astype(np.float32)


def cube(d):
    return rotated(rng().uniform(size=(N, d)))


def sphere(d):
    points = rng().normal(size=(N, d + 1))
    return rotated(points / np.linalg.norm(points, axis=1, keepdims=True))


@functools.partial(jax.jit, static_argnames=("k", "pooling", "normalization"))
def of_hoods(hoods, k, **options):
    """Without the standard error, which halves the cloud, it is quick to compile."""
    estimate = dimension.mle(hoods, k=k, **options)
    return estimate.dimension, estimate.local


def reference(x, k):
    """S_i by brute force in float64."""
    x = np.asarray(x, np.float64)
    distances = np.sort(np.sqrt(((x[:, None] - x) ** 2).sum(-1)), axis=1)[:, 1 : k + 1]
    return np.log(distances[:, -1:] / distances[:, :-1]).sum(1)


@pytest.mark.thorough
def test_each_pooling_and_normalization_is_the_formula_it_names():
    hoods, sums = dimension.neighborhoods(cube(3), K), reference(cube(3), K)
    expected = {
        ("harmonic", "k-1"): 1 / np.mean(sums / (K - 1)),
        ("harmonic", "k-2"): (N * (K - 1) - 1) / np.sum(sums),
        ("arithmetic", "k-1"): np.mean((K - 1) / sums),
        ("arithmetic", "k-2"): np.mean((K - 2) / sums),
    }
    for (pooling, normalization), value in expected.items():
        read, local = of_hoods(hoods, K, pooling=pooling, normalization=normalization)
        # Float32 distances err by 1e-7, their log ratios, near 0.3, by a few times as much; the sums average it out.
        np.testing.assert_allclose(read, value, rtol=1e-5)
        numerator = K - 1 if normalization == "k-1" else K - 2
        np.testing.assert_allclose(local, numerator / sums, rtol=1e-4)


# Tolerances: three standard errors of the pooled estimate at n = 600 plus the known downward bias of boundaries.
@pytest.mark.parametrize(
    ("name", "points", "d", "tolerance"),
    [
        ("square in R^8", cube(2), 2, 0.15),
        ("circle", sphere(1), 1, 0.1),
        ("sphere S^2", sphere(2), 2, 0.15),
        ("line", cube(1), 1, 0.1),
    ],
)
def test_known_manifolds_read_their_dimension(name, points, d, tolerance):
    assert abs(mle(points).dimension - d) < tolerance, name


def test_cosine_reads_the_sphere_and_not_half_of_it():
    stretched = sphere(5) * rng(2).uniform(0.1, 10, size=(N, 1)).astype(np.float32)
    # 1 - cos would give 2.5. Curvature over neighborhoods of k/n = 1/60 of the sphere costs a few percent.
    assert 4.5 < mle(stretched, metric="cosine").dimension < 5.2


def test_symmetries_leave_the_dimension_alone():
    x = cube(3)
    rotation, _ = np.linalg.qr(rng().normal(size=(WIDTH, WIDTH)))
    plain = mle(x).dimension
    for name, moved in {
        "rotation": x @ rotation.astype(np.float32),
        "translation": x + np.float32(100),
        "scaling": x * np.float32(1e-4),
        "permutation": x[::-1],
    }.items():
        # Translating by a hundred costs the points themselves two digits.
        np.testing.assert_allclose(mle(moved).dimension, plain, rtol=1e-3 if name == "translation" else 1e-5)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5])
def test_exact_duplicates_collapse(share):
    copies = int(share * N)
    distinct = cube(3)[: N - copies]
    estimate = mle(np.concatenate([distinct, distinct[rng(1).integers(0, len(distinct), copies)]]))
    alone = mle(np.concatenate([distinct, np.full((copies, WIDTH), np.nan, np.float32)]), nonfinite="drop")
    assert estimate.duplicates_collapsed == copies and estimate.points_used == N - copies
    assert estimate.zero_distances == 0
    for field in ("dimension", "standard_error", "analytic_standard_error", "scale"):
        np.testing.assert_allclose(getattr(estimate, field), getattr(alone, field), rtol=1e-5)
    assert np.all(np.isnan(estimate.local[N - copies :])) and np.all(np.isfinite(estimate.local[: N - copies]))


first_occurrences = jax.jit(first_occurrence)


@settings(max_examples=25, deadline=None)
@given(hnp.arrays(np.float32, (40, 3), elements=st.sampled_from([-1.0, -0.0, 0.0, 1.0, np.float32(1e-40)])))
def test_first_occurrence_finds_every_duplicate(points):
    expected = [next(j for j in range(40) if np.array_equal(points[j], points[i])) for i in range(40)]
    # XLA on CPU flushes subnormal numbers to zero in arithmetic; either reading of 1e-40 is a fair one.
    flushed = np.where(np.abs(points) < 1e-38, 0, points)
    also_fair = [next(j for j in range(40) if np.array_equal(flushed[j], flushed[i])) for i in range(40)]
    assert list(np.asarray(first_occurrences(points))) in (expected, also_fair)


def test_rows_of_one_direction_collapse_and_zeros_drop_under_cosine():
    x = sphere(3)
    x[50:100] = 2 * x[:50]
    x[100:105] = 0
    with pytest.raises(InputError, match="5 rows of zeros, which have no direction"):
        mle(x, metric="cosine")
    estimate = mle(x, metric="cosine", nonfinite="drop")
    assert estimate.duplicates_collapsed == 50 and estimate.nonfinite_dropped == 5
    assert estimate.points_used == N - 55
    assert abs(estimate.dimension - 3) < 0.3


def test_distances_that_vanish_stay_out_of_logarithms():
    x = cube(3)
    x[:3] = np.array([[0.0], [1e-30], [2e-30]])  # distinct, but their squared differences are zero in float32
    estimate = mle(x, duplicates="keep")
    assert estimate.duplicates_collapsed == 0 and estimate.zero_distances == 6
    assert estimate.points_used == N
    one = mle(x)  # in columns of order one they are equal up to rounding
    assert one.duplicates_collapsed == one.rounding_collapsed == 2 and one.zero_distances == 0
    np.testing.assert_allclose(estimate.dimension, mle(cube(3)).dimension, rtol=0.02)


def test_rows_that_are_not_finite_are_refused_or_dropped():
    x = cube(3)
    x[5], x[7] = np.nan, np.inf
    with pytest.raises(InputError, match=r"x has 2 rows with nan or infinity \(the first is row 5\).*nonfinite='drop'"):
        mle(x)
    estimate = mle(x, nonfinite="drop")
    assert estimate.nonfinite_dropped == 2 and estimate.points_used == N - 2
    sums = reference(np.delete(cube(3), [5, 7], axis=0), K)
    np.testing.assert_allclose(estimate.dimension, ((N - 2) * (K - 1) - 1) / np.sum(sums), rtol=1e-5)
    assert np.isnan(jitted_mle(x).dimension)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": np.zeros((16, 768)), "k": 20}, r"k=20 needs more than 20 points; x has shape \(16, 768\)"),
        ({"x": np.zeros((20, 3)), "k": 20}, "k=20 needs more than 20 points"),
        ({"x": np.ones((N, WIDTH)), "k": K}, "599 repeat an earlier one .* leaves 1"),
        ({"x": np.zeros((N, WIDTH)), "k": K, "metric": "cosine"}, "x has 600 rows of zeros, which have no direction"),
        ({"x": np.full((N, WIDTH), np.nan), "k": K, "nonfinite": "drop"}, "600 were dropped, which leaves 0"),
        ({"x": np.zeros((50, 3)), "k": 2}, "normalization='k-2' needs k of at least 3; k=2"),
        ({"x": np.zeros((50, 3)), "k": 1, "normalization": "k-1"}, "needs k of at least 2; k=1"),
        ({"x": np.zeros((50, 3)), "k": (2, 5)}, r"needs k of at least 3; k=\(2, 5\)"),
        ({"x": np.zeros((50, 3)), "k": (8, 5)}, r"from small to large; it is \(8, 5\)"),
        ({"x": np.zeros(50)}, r"shape \(50,\)"),
        ({"x": np.zeros((50, 3)), "metric": "angular"}, "metric must be 'euclidean' or 'cosine'; it is 'angular'"),
        ({"x": np.zeros((50, 3)), "pooling": "median"}, "pooling must be"),
        ({"x": np.zeros((50, 3)), "normalization": "k"}, "normalization must be"),
        ({"x": np.zeros((50, 3)), "nonfinite": "ignore"}, "nonfinite must be"),
    ],
)
def test_bad_input_is_named(arguments, message):
    with pytest.raises(InputError, match=message):
        dimension.mle(**arguments)


def test_too_few_distinct_points_are_nan_under_jit():
    assert np.isnan(jitted_mle(np.ones((N, WIDTH), np.float32)).dimension)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.int32])
def test_narrow_types_give_a_float32_dimension(dtype):
    x = (cube(3) * 500).astype(dtype)
    estimate = mle(x)
    assert estimate.dimension.dtype == jnp.float32
    # Rounding to steps of half to one, at neighbor distances near 60, moves the dimension by a percent or two.
    np.testing.assert_allclose(estimate.dimension, mle(cube(3)).dimension, rtol=0.05)


def test_jit_equals_eager_and_vmap_equals_a_loop():
    clouds = np.stack([cube(3), 2 * cube(2)])
    alone = [mle(x) for x in clouds]
    chex.assert_trees_all_close(jitted_mle(clouds[0]), alone[0], rtol=1e-6)
    together = jax.vmap(mle)(clouds)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *alone)
    # Batched sums run in another order; influences are differences that cancel.
    chex.assert_trees_all_close(together, stacked, rtol=1e-4, atol=1e-4)


# That of euclidean distances and harmonic pooling is in test_gradients, that of angles in test_tight.
@pytest.mark.slow
def test_gradient_equals_finite_differences():
    with jax.enable_x64(True):
        x, step = rng(0).normal(size=(60, 4)), rng(1).normal(size=(60, 4))
        x[7], step[7], step[3] = x[3], 0, 0  # a duplicate, which stays one
        x, step = jnp.asarray(x), jnp.asarray(step)

        @jax.jit
        @jax.value_and_grad
        def read(points):
            return dimension.mle(points, k=6, metric="cosine", pooling="arithmetic").dimension

        h = 1e-6
        difference = (read(x + h * step)[0] - read(x - h * step)[0]) / (2 * h)
        assert abs(difference) > 1e-3
        # Central differences are off by h² and by rounding, 1e-16 / h.
        np.testing.assert_allclose(jnp.vdot(read(x)[1], step), difference, rtol=1e-6)


@pytest.mark.thorough
def test_gradient_is_finite_with_rows_left_out():
    x = cube(3)
    x[5], x[6], x[9] = np.nan, 0, x[8]
    gradient = jax.jit(jax.grad(lambda p: mle(p, metric="cosine", nonfinite="drop").dimension))(x)
    chex.assert_tree_all_finite(gradient)
    assert np.any(gradient != 0) and np.all(gradient[jnp.array([5, 6, 9])] == 0)


@functools.partial(jax.jit, static_argnames=("ks", "pooling"))
def of_each(hoods, ks, pooling):
    """All but the standard error, which halves the cloud."""
    fields = ("dimension", "local", "influence", "scale")
    estimates = [dimension.mle(hoods, k=k, pooling=pooling) for k in ks]
    return [{field: getattr(estimate, field) for field in fields} for estimate in estimates]


def test_a_range_of_k_is_the_mean_over_its_members():
    hoods = dimension.neighborhoods(cube(3), K)
    for pooling in ("harmonic", "arithmetic"):
        whole, *members = of_each(hoods, ((5, 7), 5, 6, 7), pooling)
        for field, mean in jax.tree.map(lambda *values: np.mean(values, axis=0), *members).items():
            np.testing.assert_allclose(whole[field], mean, rtol=1e-4, atol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("pooling", ["harmonic", "arithmetic"])
def test_the_error_of_a_range_knows_that_its_members_agree(pooling, poisson_neighborhoods):
    hoods = poisson_neighborhoods(d=4, k=20, n=200, trials=400)
    estimates = jax.vmap(functools.partial(dimension.mle, k=(6, 20), pooling=pooling))
    read, error = jax.jit(lambda h: (estimates(h).dimension, estimates(h).analytic_standard_error))(hoods)
    # 400 trials know the mean to 0.05 standard deviations and their size to 3.5%; three times that is allowed.
    assert abs(np.mean(read) - 4) < 0.15 * np.std(read)
    np.testing.assert_allclose(np.mean(error), np.std(read), rtol=0.11)


def test_mle_radius_is_the_formula_it_names():
    x = cube(3)
    distances = np.sort(np.sqrt(((x[:, None].astype(np.float64) - x) ** 2).sum(-1)), axis=1)[:, 1:]
    for radius, noise in ((0.15, 0.0), (0.15, 0.07), (0.3, 0.1)):  # at 0.3 most points have more than k neighbors
        farthest = np.minimum(radius, distances[:, K - 1 : K])
        within = (distances[:, :K] < farthest) & (farthest > noise)
        seen = within & (distances[:, :K] > noise)
        logs = np.where(within, np.log(farthest / np.maximum(distances[:, :K], noise)), 0)
        estimate = dimension.mle_radius(x, radius, noise, k=K)
        np.testing.assert_allclose(estimate.dimension, (seen.sum() - 1) / logs.sum(), rtol=1e-5)
        several = seen.sum(1) > 1
        local = (seen.sum(1) - 1)[several] / logs.sum(1)[several]
        np.testing.assert_allclose(estimate.local[several], local, rtol=1e-4)
        assert np.all(np.isnan(estimate.local[~several])) and estimate.points_used == within.any(1).sum()


@jax.jit
def read_within(hoods, radius, noise):
    estimates = jax.vmap(lambda hood: dimension.mle_radius(hood, radius, noise, k=8))(hoods)
    return estimates.dimension, estimates.analytic_standard_error


# In units of the mean distance at which a ball holds one neighbor; radius 1.5 holds five, and k = 8 cuts some of them.
@pytest.mark.parametrize(("radius", "noise"), [(1.5, 0.0), (1.5, 0.8), (jnp.inf, 1.0)])
def test_mle_radius_and_its_error_are_right_where_the_model_is(radius, noise, poisson_neighborhoods):
    hoods = poisson_neighborhoods(d=4, k=8, n=200, trials=400)
    read, error = read_within(hoods, radius, noise)
    assert abs(np.mean(read) - 4) < 0.17 * np.std(read)
    np.testing.assert_allclose(np.mean(error), np.std(read), rtol=0.11)


@pytest.mark.slow
def test_mle_radius_does_not_hear_the_noise():
    points = rng().normal(size=(2000, 3))
    points = rotated(points / np.linalg.norm(points, axis=1, keepdims=True))
    noisy = points + 0.02 * rng(3).normal(size=points.shape).astype(np.float32)
    hoods = dimension.neighborhoods(noisy, 100)
    read = jax.jit(lambda noise: dimension.mle_radius(hoods, 0.35, noise, k=100).dimension)
    # Noise in six normal directions adds c² = 2 · 6 · 0.02² to squared distances: neighbors within t grow as t² - c².
    # Integrated up to the radius this reads 2.30, and 2.14 from the noise level on.
    assert abs(read(0.0) - 2.30) < 0.06 and abs(read(0.2) - 2.14) < 0.06


@pytest.mark.parametrize(
    ("radius", "noise", "message"),
    [
        (0.0, 0.0, "noise=0.0, radius=0.0"),
        (1.0, 2.0, "noise=2.0, radius=1.0"),
        (1e-9, 0.0, "no point of x has a neighbor"),
    ],
)
def test_a_radius_that_cannot_be_used_is_named(radius, noise, message):
    with pytest.raises(InputError, match=message):
        dimension.mle_radius(cube(3), radius, noise, k=K)
