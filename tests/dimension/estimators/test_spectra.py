"""Each rule counts what its paper counts."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jaxscale.dimension.estimators import spectra as rules
from jaxscale.dimension.estimators.spectra import THRESHOLDS, checked_threshold
from jaxscale.errors import InputError

M = 12
dimension_of_spectrum = jax.jit(rules.dimension_of_spectrum, static_argnames="rule")


DEFINITIONS = {
    "fo": lambda λ: np.sum(λ > 0.05 * λ[0]),
    "ratio": lambda λ: 1 + np.flatnonzero(np.cumsum(λ) / np.sum(λ) >= 0.95)[0],
    "participation_ratio": lambda λ: np.sum(λ) ** 2 / np.sum(λ**2),
}
each_rule = pytest.mark.parametrize("rule", DEFINITIONS)


def spectra():
    """Spectra that fall by powers of very different base, so that every rule meets small and large counts."""
    rng = np.random.default_rng(0)
    steps = rng.exponential(size=(300, M)) * 10 ** rng.uniform(-2, 0.5, size=(300, 1))
    return np.exp(-np.cumsum(steps, axis=1)).clip(1e-6)


@each_rule
@pytest.mark.parametrize("rank", [M, 5, 1])
def test_a_rule_is_its_definition(rule, rank):
    expected = [DEFINITIONS[rule](λ[:rank]) for λ in spectra()]
    counts = dimension_of_spectrum(jnp.asarray(spectra(), jnp.float32), rank, rule, THRESHOLDS.get(rule, 0.0))
    if rank == M:
        assert len(np.unique(expected)) > 5
    # No spectrum is within 1e-6, the rounding of float32, of a threshold.
    np.testing.assert_allclose(counts, expected, rtol=1e-5)


@each_rule
def test_ranks_may_differ_and_scale_does_not_matter(rule):
    rank = np.arange(300) % M + 1
    λ = jnp.asarray(spectra(), jnp.float32)
    counts = dimension_of_spectrum(λ, rank, rule, 0.5)
    one_by_one = [dimension_of_spectrum(each, r, rule, 0.5) for each, r in zip(λ[:M], rank[:M], strict=True)]
    np.testing.assert_allclose(counts[:M], np.stack(one_by_one), rtol=1e-6)
    np.testing.assert_allclose(dimension_of_spectrum(2.0**40 * λ, rank, rule, 0.5), counts, rtol=1e-6)


@each_rule
def test_equal_directions_are_counted_and_rounding_is_not(rule):
    λ = jnp.array([1.0] * 3 + [3e-7, -2e-7, 1e-12] + [0.0] * 3)
    np.testing.assert_allclose(dimension_of_spectrum(λ, 9, rule, THRESHOLDS.get(rule, 0.0)), 3, rtol=1e-6)


@each_rule
def test_one_eigenvalue_is_one_direction_and_none_is_nan(rule):
    for λ in ([2.0], [2.0, 0.0]):
        assert dimension_of_spectrum(jnp.array(λ), 1, rule, 0.5) == 1
    assert np.isnan(dimension_of_spectrum(jnp.zeros(3), 3, rule, 0.5))


@given(st.lists(st.floats(1e-3, 1), min_size=M, max_size=M))
def test_the_participation_ratio_lies_between_one_and_all(values):
    λ = jnp.sort(jnp.asarray(values, jnp.float32))[::-1]
    assert 1 - 1e-5 <= dimension_of_spectrum(λ, M, "participation_ratio") <= M * (1 + 1e-5)


@pytest.mark.parametrize(
    ("rule", "threshold", "message"),
    [
        ("pca", None, "rule must be 'fo' or"),
        ("participation_ratio", 0.5, "rule='participation_ratio' has no threshold; threshold=0.5"),
        ("fo", 1.0, r"below 1; it is 1\.0"),
        ("ratio", 0.0, "above 0"),
    ],
)
def test_thresholds_out_of_place_are_refused(rule, threshold, message):
    with pytest.raises(InputError, match=message):
        checked_threshold(rule, threshold)


def test_counts_are_floats_of_the_type_of_the_spectrum():
    chex.assert_type(dimension_of_spectrum(jnp.ones((2, 3)), 3, "fo", 0.05), jnp.float32)
