"""Principal components of neighborhoods and of whole clouds agree with their definitions, by every rule."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import dimension
from jaxscale.errors import InputError
from jaxscale.testing import assertions, clouds
from tests.dimension.estimators.test_spectra import DEFINITIONS

N, K, WIDTH = 240, 12, 8
each_rule = pytest.mark.parametrize("rule", DEFINITIONS)


def rng(seed=0):
    return np.random.default_rng(seed)


@functools.cache
def cloud(width=WIDTH):
    """A ball of three dimensions with noise of a tenth of its size in all the others."""
    return clouds.cube(N, 3, width, key=0) + rng(1).normal(scale=0.02, size=(N, width)).astype(np.float32)


@functools.cache
def hoods(width=WIDTH):
    return dimension.neighborhoods(cloud(width), K)


def spectrum(points):
    """Eigenvalues of the covariance of the rows, those that can differ from zero, descending, in float64."""
    points = np.asarray(points, np.float64)
    singular = np.linalg.svd(points - points.mean(0), compute_uv=False)
    return singular[: min(points.shape[1], len(points) - 1)] ** 2


# Fewer columns than neighbors, and more.
@pytest.mark.parametrize(
    ("rule", "width"), [*((rule, WIDTH) for rule in DEFINITIONS), ("fo", 20), ("participation_ratio", 20)]
)
def test_local_dimensions_are_the_rule_on_the_spectrum_of_the_neighbors(rule, width):
    x = cloud(width).astype(np.float64)
    squared = ((x[:, None] - x) ** 2).sum(-1)
    neighbors = np.argsort(squared, axis=1)[:, 1 : K + 1]
    expected = [DEFINITIONS[rule](spectrum(x[near])) for near in neighbors]
    estimate = dimension.local_pca(hoods(width), k=K, rule=rule)
    np.testing.assert_allclose(estimate.local, expected, rtol=1e-4)
    np.testing.assert_allclose(estimate.dimension, np.mean(expected), rtol=1e-5)
    np.testing.assert_allclose(estimate.influence, expected - np.mean(expected), atol=1e-3)
    np.testing.assert_allclose(estimate.analytic_standard_error, np.std(expected) / np.sqrt(N), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(estimate.scale, np.mean(np.sqrt(np.sort(squared)[:, K])), rtol=1e-5)


@each_rule
def test_the_dimension_of_the_cloud_is_the_rule_on_its_spectrum(rule):
    def of(points):
        return DEFINITIONS[rule](spectrum(points))

    estimate = dimension.pca(cloud(), rule=rule)
    np.testing.assert_allclose(estimate.dimension, of(cloud()), rtol=1e-4)
    edges = np.linspace(0, N, 21).round().astype(int)
    jackknife = [of(np.delete(cloud(), np.arange(*edges[b : b + 2]), axis=0)) for b in range(20)]
    spread = np.std(jackknife) * np.sqrt(19)
    known = spread if spread > 0 else np.nan  # no run moves the count: that says nothing of the error
    np.testing.assert_allclose(estimate.standard_error, known, rtol=1e-2, atol=1e-4)
    distances = np.linalg.norm(cloud() - cloud().mean(0), axis=1)
    np.testing.assert_allclose(estimate.scale, np.sqrt(np.mean(distances**2)), rtol=1e-5)


def test_the_jackknife_is_the_spread_of_the_participation_ratio():
    samples = jax.random.normal(jax.random.key(0), (200, 401, 5)) * jnp.arange(1.0, 6)
    estimates = jax.jit(jax.vmap(dimension.pca))(samples)
    # The spread of 200 trials is known to 5%, and the jackknife of each to 16%.
    np.testing.assert_allclose(jnp.mean(estimates.standard_error), jnp.std(estimates.dimension), rtol=0.15)


def test_a_plane_far_from_the_origin_has_its_own_dimension_alone():
    plane = clouds.cube(N, 3, WIDTH, key=0) + np.float32(100)
    # Noise of the last digit at 100, 8e-6, against neighbors at 0.2: eigenvalues of 1e-9 behind the third.
    assert np.all(dimension.local_pca(plane, k=K, threshold=1e-4).local == 3)
    assert dimension.pca(plane, rule="fo", threshold=1e-4).dimension == 3


@pytest.mark.thorough
def test_a_count_that_is_the_same_everywhere_has_no_error():
    """Where the neighbors of a Swiss roll reach around the bend, all count three directions: no zero error for that."""
    t = np.pi * (1.5 + 3 * rng().uniform(size=N))
    roll = np.stack([t * np.cos(t), 21 * np.random.default_rng(1).uniform(size=N), t * np.sin(t)], axis=1)
    estimate = dimension.local_pca(roll, k=60)
    assert estimate.dimension == 3 and np.isnan(estimate.standard_error)
    whole = dimension.pca(roll, rule="fo")
    assert whole.dimension == 3 and np.isnan(whole.standard_error)


def test_fewer_points_than_columns_are_no_obstacle():
    wide = clouds.cube(60, 3, 100, key=0)
    assert dimension.pca(wide, rule="fo").dimension == 3
    few = rng().normal(size=(9, 100)).astype(np.float32)
    # Nine points span eight dimensions, and nearly evenly: the ratio is below eight by the spread of eigenvalues.
    assert 7 < dimension.pca(few).dimension <= 8


def test_symmetries_and_padding_leave_the_estimates_alone():
    for estimator in (functools.partial(dimension.local_pca, k=K), dimension.pca):
        read = functools.partial(estimator, rule="participation_ratio")
        assertions.assert_rotation_invariant(read, cloud())
        assertions.assert_translation_invariant(read, cloud())
        assertions.assert_scale_invariant(read, cloud())
        assertions.assert_padding_invariant(read, cloud())


@pytest.mark.thorough
@pytest.mark.parametrize(("name", "rule"), [("local_pca", "participation_ratio"), ("pca", "fo")])
def test_rows_left_out_count_for_nothing(name, rule):
    read = functools.partial(getattr(dimension, name), rule=rule, **({"k": K} if name == "local_pca" else {}))
    alone = read(cloud()[:200])
    x = cloud().copy()
    x[200:220], x[220:] = x[:20], np.nan
    estimate = read(x, nonfinite="drop")
    assert estimate.duplicates_collapsed == 20 and estimate.nonfinite_dropped == 20 and estimate.points_used == 200
    np.testing.assert_allclose(estimate.dimension, alone.dimension, rtol=1e-5)
    if name == "local_pca":
        np.testing.assert_allclose(estimate.local[:200], alone.local, rtol=1e-5)
        assert np.all(np.isnan(estimate.local[200:])) and np.all(estimate.influence[200:] == 0)


@pytest.mark.thorough
def test_jit_and_vmap_equal_a_loop(assert_equal_to_a_loop):
    both = lambda hoods: (dimension.local_pca(hoods, k=K, rule="ratio"), dimension.pca(hoods))
    assert_equal_to_a_loop(both, rtol=1e-4, atol=1e-4)


# That of `pca` is in test_gradients.
@pytest.mark.thorough
def test_gradient_of_the_participation_ratio_equals_finite_differences():
    with jax.enable_x64(True):
        x, step = jnp.asarray(rng().normal(size=(50, 4))), jnp.asarray(rng(1).normal(size=(50, 4)))
        x = x.at[7].set(x[3])
        step = step.at[7].set(0).at[3].set(0)

        @jax.jit
        @jax.value_and_grad
        def read(points):
            return dimension.local_pca(points, rule="participation_ratio", k=6).dimension

        h = 1e-6
        difference = (read(x + h * step)[0] - read(x - h * step)[0]) / (2 * h)
        assert abs(difference) > 1e-3
        np.testing.assert_allclose(jnp.vdot(read(x)[1], step), difference, rtol=1e-5)


@pytest.mark.thorough
def test_neighbors_that_all_coincide_are_refused():
    with pytest.raises(InputError, match="k=2 neighbors are zero"):
        dimension.local_pca(np.repeat(cloud()[:5], 5, axis=0), k=2, duplicates="keep")
