"""Pairs are counted once each, in integers, and a mean over them has the spread it is said to have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale.dimension.estimators.pairs import pair_counts, pair_mean_variances, share_of_pairs


def product(points, others, used, others_used):
    return points @ others.T


@pytest.mark.parametrize("block", [7, 50, 64])
def test_counts_are_those_of_the_full_matrix(block):
    rng = np.random.default_rng(0)
    points = rng.integers(-3, 4, size=(50, 3)).astype(np.float32)
    used = rng.uniform(size=50) < 0.8
    levels = np.float32([-2, 0, 5])
    counts = jax.jit(pair_counts, static_argnums=(0, 4))(product, points, used, levels, block)
    valid = used[:, None] & used & ~np.eye(50, dtype=bool)
    expected = ((points @ points.T)[..., None] > levels) & valid[..., None]
    np.testing.assert_array_equal(counts, expected.sum(1))
    np.testing.assert_allclose(share_of_pairs(counts, used), expected.sum((0, 1)) / valid.sum(), rtol=1e-6)


def test_shares_are_exact_where_float32_would_not_count():
    # Three counts near 2²⁴ and one far below: as float32 their running sum would drop the ones.
    counts = jnp.full((300, 1), 2**24 + 1).at[7].set(3)
    share = share_of_pairs(counts, jnp.ones(300, bool))
    np.testing.assert_allclose(share, (299 * (2**24 + 1) + 3) / 300 / 299, rtol=1e-7)


@pytest.mark.parametrize(("threshold", "share_from_points"), [(0.02, False), (4.0, True)])
def test_the_variance_is_the_spread_of_trials(threshold, share_from_points):
    """|x - y| < threshold for gaussian x and y: few pairs, which are nearly independent, and many, which are not."""
    n, trials = 200, 400
    x = np.random.default_rng(0).normal(size=(trials, n)).astype(np.float32)

    def trial(x):
        close = (jnp.abs(x[:, None] - x) < threshold) & ~jnp.eye(n, dtype=bool)
        mean = jnp.sum(close) / n / (n - 1)
        projections = 2 * (jnp.sum(close, axis=1) / (n - 1) - mean)
        return mean, *pair_mean_variances(projections, mean * (1 - mean), n)

    means, variance, of_pairs = jax.lax.map(jax.jit(trial), x)
    # The variance of 400 trials is known to 7%.
    np.testing.assert_allclose(jnp.mean(variance), jnp.var(means), rtol=0.2)
    assert (jnp.mean(of_pairs) < 0.5 * jnp.mean(variance)) == share_from_points
