"""Problems: what their points, labels and truths are, and what they share between studies."""

import dataclasses
import functools

import chex
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import studies
from jaxscale.studies.manifolds.problem import entropy, in_space, known_dimension, loss, make_problem

STUDY = studies.ManifoldStudy(
    dimension=2, ambient=6, in_excess=4096, validation=256, test=256, target=studies.ManifoldTarget(octaves=4)
)


@functools.cache
def problem_of(study):
    """That of seed 0. Of a language it takes a second to draw: drawn once for all tests."""
    return make_problem(study, 0)


@pytest.mark.thorough
def test_labels_are_the_truth_with_noise_of_the_stated_size():
    problem = problem_of(STUDY)
    noise = problem.labels - problem.truth
    # 4096 labels: a standard deviation is known to 1.1%, a mean to 1 / 64.
    assert abs(jnp.std(noise) - 1.0) < 0.05 and abs(jnp.mean(noise)) < 0.06
    assert abs(jnp.std(problem.truth) - 1) < 0.05


@pytest.mark.thorough
def test_validation_labels_are_means_of_several():
    of = lambda **change: np.asarray(problem_of(dataclasses.replace(STUDY, **change)).validation_labels)
    truth = of(target=dataclasses.replace(STUDY.target, noise=0.0))
    # 256 labels: a standard deviation is known to 4.4%.
    for repeats in (1, 16):
        assert np.std(of(validation_repeats=repeats) - truth) == pytest.approx(repeats**-0.5, rel=0.15)
    symbols = of(objective="cross_entropy", validation_repeats=4)
    assert set(np.unique(symbols)) <= {0.0, 0.25, 0.5, 0.75, 1.0} and (symbols.sum(axis=1) == 1).all()


@pytest.mark.thorough
def test_points_have_unit_mean_square_and_lie_on_the_sphere():
    x = problem_of(STUDY).points
    chex.assert_trees_all_close(jnp.mean(x**2, axis=1), jnp.ones(len(x)), atol=1e-3)
    assert np.linalg.matrix_rank(np.asarray(x, float), tol=1e-2) == 3


@pytest.mark.thorough
def test_labels_do_not_depend_on_the_ambient_dimension():
    other = problem_of(dataclasses.replace(STUDY, ambient=20))
    one = problem_of(STUDY)
    chex.assert_trees_all_equal(one.labels, other.labels)
    gram = lambda x: x[:50] @ x[:50].T / x.shape[1]
    chex.assert_trees_all_close(gram(one.points), gram(other.points), atol=1e-5)


@pytest.mark.thorough
def test_probabilities_are_those_the_classes_are_drawn_from():
    study = dataclasses.replace(STUDY, objective="cross_entropy", target=studies.ManifoldTarget(octaves=4, classes=3))
    problem = problem_of(study)
    chex.assert_trees_all_close(jnp.sum(problem.truth, axis=1), jnp.ones(4096), atol=1e-5)
    # Of 4096 draws with these probabilities, means differ by up to about 3 · 0.5 / 64.
    chex.assert_trees_all_close(jnp.mean(problem.labels, axis=0), jnp.mean(problem.truth, axis=0), atol=0.025)
    best = loss("cross_entropy", jnp.log(problem.truth), problem.truth)
    chex.assert_trees_all_close(best, entropy("cross_entropy", problem.truth), atol=1e-5)


@pytest.mark.parametrize("kind", ["gaussian", "student_t"])
def test_noise_takes_points_off_by_its_scale(kind):
    noisy = problem_of(dataclasses.replace(STUDY, point_noise=0.1, point_noise_kind=kind))
    off = np.asarray(noisy.points - problem_of(STUDY).points) * np.sqrt(1 / 6)
    # The median of |t| with 3 degrees of freedom and variance 1 is 0.4416, of |normal| 0.6745.
    assert abs(np.median(np.abs(off)) / 0.1 - {"gaussian": 0.6745, "student_t": 0.4416}[kind]) < 0.02
    assert not jnp.allclose(noisy.truth, problem_of(STUDY).truth)


LANGUAGE = dataclasses.replace(
    STUDY,
    manifold="language",
    ambient=32,
    objective="cross_entropy",
    target=studies.ManifoldTarget(octaves=4, classes=4),
)


@pytest.mark.thorough
def test_a_language_is_learned_from_one_text():
    problem = problem_of(LANGUAGE)
    symbols = np.argmax(np.asarray(problem.points).reshape(4096, 8, 4), axis=2)
    np.testing.assert_array_equal(symbols[1:, -1], np.argmax(np.asarray(problem.labels), axis=1)[:-1])
    np.testing.assert_array_equal(symbols[1:, :-1], symbols[:-1, 1:])
    chex.assert_trees_all_close(jnp.mean(problem.labels, axis=0), jnp.mean(problem.truth, axis=0), atol=0.025)
    # The text that is chosen by and the one that is tested on are others.
    assert not np.array_equal(problem.validation_points, problem.test_points)


@pytest.mark.thorough
def test_the_bits_of_a_symbol_are_the_known_dimension():
    problem = problem_of(LANGUAGE)
    bits = -np.sum(np.asarray(problem.truth) * np.log2(problem.truth), axis=1).mean()
    assert known_dimension(LANGUAGE, problem) == pytest.approx(bits, rel=1e-4) and 1 < bits < 2
    assert known_dimension(STUDY, problem) == 2.0


@pytest.mark.thorough
def test_points_that_contexts_spell_are_near_where_their_last_symbols_agree():
    spelled = np.asarray(in_space(LANGUAGE, problem_of(LANGUAGE).points))
    symbols = np.argmax(np.asarray(problem_of(LANGUAGE).points).reshape(4096, 8, 4), axis=2)
    alike = (symbols[:, -4:] == symbols[0, -4:]).all(axis=1)
    side = np.ptp(spelled, axis=0).max()
    assert 1 < alike.sum() < 400
    assert np.abs(spelled[alike] - spelled[0]).max() <= side / 2**4 * 1.01
    assert in_space(STUDY, spelled) is spelled
