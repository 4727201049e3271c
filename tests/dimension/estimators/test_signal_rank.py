"""Rules that tell signal from noise count what their papers, and other programs, count."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxscale import dimension
from jaxscale.dimension.estimators import signal_rank
from jaxscale.dimension.estimators.spectra import NOISE_RULES, corrected_participation_ratio
from jaxscale.errors import InputError
from jaxscale.testing import assert_gradient_correct, assertions, clouds

COUNTING = (*NOISE_RULES, "minka")
each_counting_rule = pytest.mark.parametrize("rule", COUNTING)
one_counting_rule = pytest.mark.parametrize(
    "rule", [rule if rule == "gavish_donoho" else pytest.param(rule, marks=pytest.mark.thorough) for rule in COUNTING]
)


@functools.cache
def noisy(n, width, d, noise, seed, strongest=3):
    """Normal points, of standard deviations from 1 to `strongest` in d directions, with noise in all columns."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(width, d)))
    signal = rng.normal(size=(n, d)) * np.linspace(1, strongest, d)
    return signal @ basis.T + noise * rng.normal(size=(n, width))


# n, D, d, noise and seed of `noisy`; n_components_ of scikit-learn 1.9.1's PCA(n_components="mle"), which is Minka's in
# scikit-dimension 0.5.0 too; "MP", "GD" and "parallel" there, and the first two with noise_var=noise**2; the ratios
# "naive" and "row" of participation_ratio(x, return_all=True) in `dimensionality` 0.1.4, by Chun et al.
OTHERS = [
    ((400, 50, 7, 0.3, 0), 7, (7, 7, 6), (7, 7), 6.547026019, 6.663327129),
    ((400, 50, 7, 1.5, 1), 6, (5, 4, 5), (6, 4), 31.583863569, 34.381098562),
    ((100, 40, 10, 0.8, 2), 9, (8, 7, 6), (9, 8), 12.782366058, 14.889036750),
    ((2000, 64, 10, 1.2, 3), 10, (10, 8, 9), (10, 8), 34.651642104, 35.278953774),
    ((60, 30, 4, 1.0, 4), 3, (3, 2, 3), (3, 2), 12.243006991, 15.689511012),
    ((1000, 20, 15, 0.9, 5), 15, (8, 4, 8), (15, 15), 12.993346878, 13.176716306),
    ((120, 100, 12, 1.0, 6), 9, (8, 6, 8), (9, 7), 32.162313353, 44.305437333),
    ((300, 10, 9, 0.3, 7), 9, (4, 2, 4), (9, 9), 6.479459609, 6.636532501),
]
SOME = [OTHERS[0], *(pytest.param(*case, marks=pytest.mark.thorough) for case in OTHERS[1:])]


@pytest.mark.parametrize(("cloud", "minka", "counts", "known", "naive", "row"), SOME)
def test_counts_and_ratios_are_those_of_other_programs(cloud, minka, counts, known, naive, row):
    x, noise = noisy(*cloud), cloud[3]
    read = lambda rule, **options: dimension.pca(x, rule=rule, **options).dimension
    assert read("minka") == minka
    np.testing.assert_array_equal([read(rule) for rule in ("marchenko_pastur", "gavish_donoho", "horn")], counts)
    np.testing.assert_array_equal([read(rule, noise=noise) for rule in signal_rank.OF_KNOWN_NOISE], known)
    np.testing.assert_allclose(read("participation_ratio"), naive, rtol=1e-5)
    np.testing.assert_allclose(read("participation_ratio_corrected"), row, rtol=1e-5)


@pytest.mark.parametrize("ratio", [0.05, 0.3, 0.7, 1.0])
def test_the_median_of_the_law_of_noise_is_that_of_its_density(ratio):
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2
    density = lambda x: np.sqrt(max((high - x) * (x - low), 0)) / (2 * np.pi * ratio * x)
    below = lambda at: scipy.integrate.quad(density, low, at)[0] - 0.5
    median = scipy.optimize.brentq(below, low + 1e-6, high)
    np.testing.assert_allclose(signal_rank.marchenko_pastur_median(ratio), median, rtol=1e-5)


def test_thresholds_are_those_of_gavish_and_donoho():
    """4/√3 for square matrices; ω(1) = 2.858; and their cubic for ω, which they say is right to 0.02."""
    ratios = np.linspace(0.05, 1, 20)
    threshold = signal_rank.optimal_threshold(ratios)
    ω = threshold / np.sqrt([signal_rank.marchenko_pastur_median(ratio) for ratio in ratios])
    np.testing.assert_allclose(threshold[-1], 4 / np.sqrt(3), rtol=1e-6)
    np.testing.assert_allclose(ω[-1], 2.858, atol=5e-4)
    np.testing.assert_allclose(ω, 0.56 * ratios**3 - 0.95 * ratios**2 + 1.82 * ratios + 1.43, atol=0.02)


@pytest.mark.parametrize(("samples", "width"), [(199, 20), (20, 60)])
def test_drawn_noise_has_the_shares_of_matrices_of_noise(samples, width):
    rng = np.random.default_rng(0)
    squares = np.linalg.svd(rng.normal(size=(400, samples, width)), compute_uv=False) ** 2
    shares = np.quantile(squares / squares.sum(axis=1, keepdims=True), 0.95, axis=0)
    drawn = signal_rank.noise_levels("horn", 22, samples, width, key=jax.random.key(0))
    # A share varies by a tenth from draw to draw, and the quantile of 100 of them by a fifth of that.
    np.testing.assert_allclose(drawn[:20], shares, rtol=0.05)
    assert np.all(drawn[20:] == 0)


@one_counting_rule
@pytest.mark.parametrize("n", [300, pytest.param(30, marks=pytest.mark.thorough)])
def test_directions_above_noise_are_counted(rule, n):
    """Of more points than columns, and of fewer; with noise and without."""
    for noise in (0.1, 0):
        assert dimension.pca(noisy(300, 40, 3, noise, 0, 1)[:n], rule=rule).dimension == 3


@pytest.mark.thorough
@pytest.mark.parametrize(("n", "width"), [(30, 40), (300, 20)])
def test_noise_alone_is_rarely_taken_for_signal(n, width):
    """One of six largest eigenvalues is above the edge (Tracy & Widom), one of twenty above the 95% of Horn."""
    x = jnp.asarray(np.random.default_rng(5).normal(size=(200, n, width)), jnp.float32)
    for rule, expected in (("marchenko_pastur", 0.17), ("gavish_donoho", 0.0), ("horn", 0.05), ("minka", 0.0)):
        counts = jax.jit(lambda x, rule=rule: jax.lax.map(lambda x: dimension.pca(x, rule=rule).dimension, x))(x)
        assert abs(np.mean(counts > (rule == "minka")) - expected) < 0.07, rule


def test_noise_of_known_size_needs_no_quiet_directions():
    """Signal in nine of ten columns: the median is no noise."""
    x, rules = noisy(300, 10, 9, 0.3, 7), signal_rank.OF_KNOWN_NOISE
    assert all(dimension.pca(x, rule=rule).dimension < 9 for rule in rules)
    for unit in (1, 1e3):
        assert all(dimension.pca(unit * x, rule=rule, noise=unit * 0.3).dimension == 9 for rule in rules)


def test_noise_of_known_size_is_held_to_the_edge_of_the_law():
    """The largest singular value of a square of noise is 2 √n, and 4/√3 √n counts: one between these counts once."""
    rng = np.random.default_rng(0)
    n = 150
    noise, line = rng.normal(size=(n, n)), np.outer(rng.normal(size=n), np.full(n, n**-0.5))
    for strength, counts in ((0.0, (0, 0)), (1.55, (1, 0)), (3.0, (1, 1))):
        x = noise + strength * line
        found = [dimension.pca(x, rule=rule, noise=1.0).dimension for rule in signal_rank.OF_KNOWN_NOISE]
        np.testing.assert_array_equal(found, counts)


@pytest.mark.thorough
@each_counting_rule
def test_counts_do_not_change_with_rotation_place_and_scale(rule):
    x = noisy(120, 30, 5, 0.5, 0).astype(np.float32)
    read = functools.partial(dimension.pca, rule=rule)
    assertions.assert_rotation_invariant(read, x)
    assertions.assert_translation_invariant(read, x)
    assertions.assert_scale_invariant(read, x)


@one_counting_rule
def test_rules_go_through_jit_and_vmap(rule):
    x = np.stack([noisy(120, 30, d, 0.1, 0, 1.5) for d in (3, 5)]).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(jax.vmap(lambda x: dimension.pca(x, rule=rule).dimension))(x), [3, 5])


@one_counting_rule
def test_neighborhoods_with_noise_count_their_signal(rule):
    """A ball of three dimensions with noise of a tenth of its size in all of twelve columns."""
    x = clouds.cube(240, 3, 12, key=0) + np.random.default_rng(1).normal(scale=0.01, size=(240, 12))
    local = dimension.local_pca(x, k=60, rule=rule, key=1).local
    assert 2.7 < np.mean(local) < 3.3


def test_the_corrected_ratio_is_that_of_all_choices_of_four_points():
    x = np.random.default_rng(0).exponential(size=(7, 3))
    above = below = 0
    for a, b, c, d in itertools.permutations(x, 4):
        above += (a - b) @ (a - b) * ((c - d) @ (c - d))
        below += ((a - b) @ (c - d)) ** 2
    found = dimension.pca(x, rule="participation_ratio_corrected").dimension
    np.testing.assert_allclose(found, above / below, rtol=1e-5)
    # Fewer points than columns: the other matrix.
    wide = np.concatenate([x, np.zeros((7, 9))], axis=1)
    found = dimension.pca(wide, rule="participation_ratio_corrected")
    np.testing.assert_allclose(found.dimension, above / below, rtol=1e-5)
    jackknife = [
        dimension.pca(np.delete(wide, i, axis=0), rule="participation_ratio_corrected").dimension for i in range(7)
    ]
    np.testing.assert_allclose(found.standard_error, np.std(jackknife) * np.sqrt(6), rtol=1e-3)


@pytest.mark.parametrize("falling", [0.0, 1.0])
def test_fifty_points_in_200_columns_read_the_ratio_of_the_law_they_are_from(falling):
    """Normal points of variances i^-falling: of equal ones 1 / (1/200 + 1/49) = 39 is what plain ratios read."""
    λ = np.arange(1.0, 201) ** -falling
    truth = λ.sum() ** 2 / np.sum(λ**2)
    x = jnp.asarray(np.random.default_rng(0).normal(size=(100, 50, 200)) * np.sqrt(λ), jnp.float32)
    read = lambda rule: jax.jit(jax.vmap(lambda x: dimension.pca(x, rule=rule).dimension))(x)
    corrected, plain = read("participation_ratio_corrected"), read("participation_ratio")
    error = np.std(corrected) / 10
    assert abs(np.mean(corrected) - truth) < 3 * error + 0.01 * truth
    assert np.mean(plain) < truth - 10 * error
    np.testing.assert_allclose(np.mean(plain), {0.0: 39.4, 1.0: 15.0}[falling], rtol=0.02)


def test_neighbors_fewer_than_dimensions_are_no_bias_to_the_corrected_ratio():
    """What the cube of 30 dimensions has, 20 neighbors read: 12 by the plain ratio."""
    x = np.random.default_rng(0).uniform(size=(150, 30)).astype(np.float32)
    hoods = dimension.neighborhoods(x, 20)
    assert dimension.local_pca(hoods, 20, rule="participation_ratio").dimension < 14
    assert 24 < dimension.local_pca(hoods, 20, rule="participation_ratio_corrected").dimension < 33


@settings(max_examples=20, deadline=None)
@given(st.integers(4, 40), st.integers(1, 6), st.floats(-3, 3))
def test_the_corrected_ratio_has_no_unit(n, width, power):
    x = np.random.default_rng(n).normal(size=(n, width))

    def read(x):
        scatter, fourth = x.T @ x, np.sum(np.sum(x**2, axis=1) ** 2)
        parts = (np.trace(scatter), np.sum(scatter**2), fourth)
        return corrected_participation_ratio(*(jnp.float32(part) for part in parts), n)

    np.testing.assert_allclose(read(10**power * (x - x.mean(0))), read(x - x.mean(0)), rtol=1e-3)


@pytest.mark.thorough
@pytest.mark.parametrize("width", [5, 40])
def test_the_corrected_ratio_has_the_gradient_of_its_differences(width):
    x = noisy(30, 40, 5, 0.5, 0)[:, :width]
    read = jax.jit(lambda x: dimension.pca(x, rule="participation_ratio_corrected").dimension)
    assert_gradient_correct(read, x.astype(np.float32), 1e-5, directions=2)


def test_what_counts_has_no_gradient():
    with pytest.raises(InputError, match="rule='minka' counts eigenvalues, and has no gradient"):
        jax.eval_shape(jax.grad(lambda x: dimension.pca(x, rule="minka").dimension), jnp.ones((9, 4)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rule": "horn", "noise": 0.1}, "rule='horn' takes no noise"),
        ({"rule": "gavish_donoho", "noise": 0.0}, "standard deviation, above 0; it is 0"),
        ({"rule": "marchenko_pastur", "noise": "much"}, "noise='much' must be a number"),
        ({"rule": "horn", "key": 0.5}, "key=0.5 is not a JAX random key"),
        ({"rule": "minka", "threshold": 0.5}, "rule='minka' has no threshold"),
    ],
)
def test_options_out_of_place_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        dimension.pca(noisy(9, 3, 2, 0.1, 0), **options)


def test_fewer_than_four_points_are_no_ratio():
    with pytest.raises(InputError, match="compares four points; distinct points=3"):
        dimension.pca(np.eye(3), rule="participation_ratio_corrected")
    with pytest.raises(InputError, match="compares four points; k=3"):
        dimension.local_pca(np.eye(9), 3, rule="participation_ratio_corrected")
    chex.assert_trees_all_equal(corrected_participation_ratio(*3 * [jnp.ones(())], 3), jnp.float32(jnp.nan))
