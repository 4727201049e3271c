"""Profiles of dimension against scale find what lies at each scale, and plateaus where there are any."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from jaxscale import dimension
from jaxscale.errors import InputError

N = 800
KS = (4, 8, 16, 32)


def rng(seed=0):
    return np.random.default_rng(seed)


def torus(n=N, seed=0):
    """The flat torus in R⁴: dimension two without edges."""
    angles = rng(seed).uniform(size=(n, 2)) * 2 * np.pi
    return np.concatenate([np.cos(angles), np.sin(angles)], 1).astype(np.float32)


def noisy_circle(noise):
    """A circle in R⁴ under normal noise: four dimensions below the noise, one above it."""
    angles = rng().uniform(size=(N, 1)) * 2 * np.pi
    circle = np.concatenate([np.cos(angles), np.sin(angles), np.zeros((N, 2))], 1)
    return (circle + noise * rng(1).normal(size=circle.shape)).astype(np.float32)


def plain(hoods):
    """Maximum likelihood with the error of independent points: what a user may write, and quick to compile."""
    used, k = hoods.used & jnp.isfinite(hoods.distances[:, -1]), hoods.k
    count = jnp.sum(used)
    logs = jnp.log(hoods.distances[:, -1:] / hoods.distances[:, :-1])
    d = count * (k - 1) / jnp.sum(jnp.where(used[:, None], logs, 0))
    d = jnp.where(hoods.sound, d, jnp.nan)
    nan, none = jnp.full_like(d, jnp.nan), jnp.zeros((), jnp.int32)
    scale = jnp.sum(jnp.where(used, hoods.distances[:, -1], 0)) / count
    return dimension.Estimate(d, d / jnp.sqrt(count * (k - 1)), nan, None, None, scale, count, none, none, none)


by_k = functools.partial(dimension.by_k, ks=KS)
jitted_plateau = jax.jit(dimension.plateau)
decimate = functools.partial(dimension.by_decimation, key=jax.random.key(0), k=4, estimator=plain, levels=3)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("estimator", "alone"),
    [
        ("mle", lambda x, k: dimension.mle(x, k=k)),
        pytest.param("gride", lambda x, k: dimension.gride(x, n1=k // 2), marks=pytest.mark.slow),
    ],
)
def test_each_k_is_an_estimate_of_its_own(estimator, alone):
    # At four neighbors the error is read off halves, at eight off the neighbor graph.
    x = torus(60)
    profile = dimension.by_k(x, (4, 8), estimator)
    for place, k in enumerate((4, 8)):
        expected = alone(x, k)
        # The same neighbors, found with more candidates: the last digit may round another way.
        np.testing.assert_allclose(profile.dimension[place], expected.dimension, rtol=1e-5)
        np.testing.assert_allclose(profile.standard_error[place], expected.standard_error, rtol=1e-3)
        np.testing.assert_allclose(profile.scale[place], expected.scale, rtol=1e-5)
    assert profile.estimator == estimator and tuple(profile.k) == (4, 8) and np.all(profile.points == 60)


@pytest.mark.thorough
def test_growing_k_leaves_the_noise_behind():
    profile = by_k(noisy_circle(0.005), estimator=plain)
    assert profile.dimension[0] > 2 and profile.dimension[-1] < 1.4
    assert profile.estimator == "plain"
    assert np.all(np.diff(profile.scale) > 0)


@pytest.mark.thorough
def test_decimation_leaves_the_noise_behind_and_halves_the_points():
    profile = decimate(noisy_circle(0.005))
    assert tuple(profile.points) == (N, N // 2, N // 4) and tuple(profile.k) == (4, 4, 4)
    assert np.all(np.diff(profile.dimension) < -3 * profile.standard_error[1:])
    assert np.isnan(profile.spread[0]) and np.all(profile.spread[1:] > 0)
    # Without noise nothing changes with the number of points.
    flat = decimate(torus())
    np.testing.assert_allclose(flat.dimension, 2, atol=4 * float(jnp.max(flat.standard_error)))
    # The distance to the k-th of n neighbors in the plane grows as n^-1/2.
    np.testing.assert_allclose(flat.scale[1:] / flat.scale[:-1], np.sqrt(2), rtol=0.05)


@pytest.mark.thorough
def test_decimation_deals_distinct_finite_points_alone():
    x = torus()
    x[: N // 4] = x[N // 4 : N // 2]
    x[-N // 4 :] = np.nan
    profile = decimate(x, metric="cosine", nonfinite="drop")
    # Half of the rows are left, and each subset holds its share of them.
    assert tuple(profile.points) == (N // 2, N // 4, N // 8)
    np.testing.assert_allclose(profile.dimension, 2, atol=4 * float(jnp.max(profile.standard_error)))
    # Dealt evenly, 24 points leave four subsets 6 each, enough for 4 neighbors; by chance one would go short.
    x[24:] = np.nan
    assert tuple(decimate(x, metric="cosine", nonfinite="drop").points) == (24, 12, 6)


@pytest.mark.thorough
def test_decimation_depends_on_its_key_alone():
    x = torus()
    draw = lambda seed: decimate(x, key=jax.random.key(seed))
    chex.assert_trees_all_equal(draw(0), draw(0))
    assert draw(0).dimension[1] != draw(1).dimension[1] and draw(0).dimension[0] == draw(1).dimension[0]


@pytest.mark.thorough
def test_jit_equals_eager_and_an_unsound_cloud_is_nan():
    x = torus()
    jitted = jax.jit(decimate)
    chex.assert_trees_all_close(jax.device_get(jitted(x)), jax.device_get(decimate(x)), rtol=1e-5)
    x[3] = np.nan
    assert np.all(np.isnan(jitted(x).dimension))


def made_up(values, errors, scales=None):
    values = jnp.asarray(values, jnp.float32)
    scales = jnp.asarray(2.0 ** np.arange(len(values)) if scales is None else scales, jnp.float32)
    errors = jnp.broadcast_to(jnp.asarray(errors, jnp.float32), values.shape)
    count = jnp.full(len(values), 100)
    return dimension.ScaleProfile(scales, values, errors, jnp.full_like(values, jnp.nan), count, count, "mle")


def reference(profile, level, tolerance):
    """First and last scale of the plateau as the docstring of `plateau` defines it, run by run; None without one."""
    scale, d, error = (np.asarray(v, np.float64) for v in (profile.scale, profile.dimension, profile.standard_error))
    best = None
    for first in range(len(d)):
        for last in range(first + 2, len(d)):
            at = slice(first, last + 1)
            weight = 1 / (error[at] ** 2 + (tolerance * d[at]) ** 2)
            away = d[at] - np.average(d[at], weights=weight)
            along = np.log(scale[at]) - np.average(np.log(scale[at]), weights=weight)
            line = np.sum(weight * along * away) ** 2 / np.sum(weight * along**2)
            chances = stats.chi2.sf(np.sum(weight * away**2), last - first), stats.chi2.sf(line, 1)
            width = np.log(scale[last] / scale[first])
            if np.all(np.asarray(chances) > 1 - level) and (best is None or width > best[0] * (1 + 1e-6)):
                best = width, first, last
    return best and best[1:]


@pytest.mark.parametrize("tolerance", [0.0, 0.02])
def test_plateau_is_the_one_of_its_definition(tolerance):
    found = 0
    for seed in range(30):
        random = rng(seed)
        # Two levels with a slope between them, under noise, at scales of uneven steps.
        shape = np.concatenate([np.full(3, 3.0), [2.5], np.full(4, 2.0)])
        profile = made_up(shape + 0.05 * random.normal(size=8), 0.05, np.cumprod(random.uniform(1.2, 2, 8)))
        expected = reference(profile, 0.95, tolerance)
        plateau = dimension.plateau(profile, tolerance=tolerance)
        assert bool(plateau.found) == (expected is not None)
        if expected:
            found += 1
            assert (int(plateau.first), int(plateau.last)) == expected
            assert plateau.lower == profile.scale[expected[0]] and plateau.upper == profile.scale[expected[1]]
    assert found > 20


def test_plateau_of_a_step_is_its_longer_side():
    plateau = dimension.plateau(made_up([3, 3.01, 2.99, 2.5, 2, 2.01, 1.99, 2], 0.02))
    assert plateau.found and (plateau.first, plateau.last) == (4, 7)
    np.testing.assert_allclose(plateau.dimension, 2, rtol=1e-4)
    # Not 0.02 / √4: scales of one cloud err together.
    np.testing.assert_allclose(plateau.standard_error, 0.02, rtol=1e-5)


@pytest.mark.parametrize(
    "profile",
    [
        made_up(np.linspace(5.5, 2, 8), 0.02),
        made_up([2, 2], 0.02),
        made_up([np.nan, 2, 2, np.nan, 2, 2, np.nan, 2], 0.02),
        made_up([2, np.inf, 2, 2, np.inf, 2, 2, np.inf], 0.02),
    ],
    ids=["slope", "two scales", "holes", "infinite"],
)
def test_there_may_be_no_plateau(profile):
    plateau = jitted_plateau(profile)
    assert not plateau.found and np.isnan(plateau.dimension) and plateau.first == -1


def test_a_drift_that_hides_in_the_sum_over_scales_is_seen():
    # χ² is 9 over 7 degrees of freedom, as often as one in four; the line alone makes up all of it.
    drift = made_up(10 + 0.05 * np.sqrt(9 / 42) * (np.arange(8) - 3.5), 0.05)
    assert (dimension.plateau(drift, tolerance=0.0).last - dimension.plateau(drift, tolerance=0.0).first) < 7
    assert dimension.plateau(drift, tolerance=0.02).last == 7


@pytest.mark.thorough
def test_plateau_of_a_torus_is_two():
    plateau = dimension.plateau(by_k(torus(), estimator=plain))
    # Of the standard error three, and 2% for the curvature over k/N of a circle's length.
    assert plateau.found and abs(plateau.dimension - 2) < 3 * plateau.standard_error + 0.04


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: dimension.by_k(torus(100), ks=(8, 4)), r"ks must be ascending.* they are \(8, 4\)"),
        (lambda: dimension.by_k(torus(100), ks=()), "ks must be ascending"),
        (lambda: dimension.by_k(torus(100), ks=(4, 200)), "k=200 needs more than 200 points"),
        (lambda: dimension.by_k(torus(100), estimator="mlee"), "estimator='mlee' is not known. There are .*mle"),
        (
            lambda: dimension.by_decimation(torus(100), key=jax.random.key(0), k=20, levels=4),
            "levels=4 leaves subsets of 12 rows of 100, too few for k=20",
        ),
        (lambda: dimension.by_decimation(torus(100), key=jax.random.key(0), k=20, levels=0), "at least one"),
        (lambda: dimension.plateau(made_up([2, 2, 2], 0.1), level=1.0), "level must lie in"),
        (lambda: dimension.plateau(made_up([2, 2, 2], 0.1), tolerance=-1), "tolerance at 0 or above"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(InputError, match=message):
        call()
