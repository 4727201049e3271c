"""Points on a manifold with a target known at each: what a study's networks learn from, and what they are held against.

    problem = make_problem(studies.ManifoldStudy(), seed=0)
    problem.points[:n], problem.labels[:n]                   # n training points
    loss(objective, outputs, problem.test_truth)             # less `entropy`, the excess over the best predictor

Everything is a function of the configuration and the seed. Two studies that differ only in the ambient dimension have
the same points before the isometry and, if no noise takes points off the manifold, the same labels.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale.data import fields, languages, manifolds
from jaxscale.studies.manifolds.config import ManifoldStudy, Objective, symbols

# Of Student's t: the fewest whole degrees of freedom with a variance, which is 3.
HEAVY = 3
# The roll's root mean square radius is 4.06; about 1, as of the others, makes targets alike.
ROLL = 0.25
# Points over which a target gets mean 0 and variance 1.
NORMALIZED_OVER = 8192


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Problem:
    """Points (·, D), before noise of mean square 1 a coordinate, and targets (·, O): values, or probabilities.

    Of a language, points are one-hot symbols, and the training points successive contexts of one text.

    Attributes:
      points, labels, truth: to train on; labels are noisy values or classes as one-hot rows, truth is without noise.
      validation_points, validation_labels: means of several noisy labels a point.
      test_points, test_truth: without noise.
      unit: what a distance between points is multiplied by to be one on the manifold, ().
    """

    points: jax.Array
    labels: jax.Array
    truth: jax.Array
    validation_points: jax.Array
    validation_labels: jax.Array
    test_points: jax.Array
    test_truth: jax.Array
    unit: jax.Array


def manifold_of(study: ManifoldStudy) -> manifolds.Manifold:
    """A study's manifold in as many coordinates as it needs; every factor has a radius of about 1."""
    d = study.dimension
    if study.manifold == "sphere":
        return manifolds.sphere(d)
    if study.manifold == "torus":
        return manifolds.flat_torus([1.0] * d)
    if study.manifold == "language":
        cube = manifolds.cube(d)
        return dataclasses.replace(cube, draw=lambda key, n: languages.SIDE * cube.draw(key, n))
    if study.manifold == "product":
        return manifolds.product(*[manifolds.sphere(2)] * (d // 2), *[manifolds.sphere(1)] * (d % 2))
    roll = manifolds.swiss_roll()
    return dataclasses.replace(roll, draw=lambda key, n: ROLL * roll.draw(key, n))


def outputs_of(study: ManifoldStudy) -> int:
    """Numbers a network returns for a point."""
    return 1 if study.objective == "squared_error" else study.target.classes


def make_problem(study: ManifoldStudy, seed: int) -> Problem:
    """The points and targets of one seed of a study."""
    target, manifold = study.target, manifold_of(study)
    width, outputs = manifold.width, outputs_of(study)
    keys = {
        name: jax.random.fold_in(jax.random.key(seed), place)
        for place, name in enumerate(("field", "points", "isometry", "off", "labels"))
    }
    on_manifold_NxW = manifold.sample(NORMALIZED_OVER, key=jax.random.fold_in(keys["points"], 0))
    each = [
        fields.normalized(
            fields.weierstrass(width, target.beta, target.octaves, target.waves, key=key), on_manifold_NxW
        )
        for key in jax.random.split(keys["field"], outputs)
    ]
    if study.manifold == "language":
        return _of_language(study, tuple(each), keys)
    basis_DxW = jax.random.orthogonal(keys["isometry"], study.ambient)[:, :width]
    # A coordinate of the embedded points then has mean square 1, whatever D.
    unit = jnp.sqrt(jnp.mean(jnp.sum(on_manifold_NxW**2, axis=1)) / study.ambient)

    def drawn(place: int, count: int, repeats: int = 1) -> tuple[jax.Array, jax.Array, jax.Array]:
        native_NxW = manifold.sample(count, key=jax.random.fold_in(keys["points"], place))
        x_NxD = jnp.matmul(native_NxW, basis_DxW.T, precision="highest")
        x_NxD = x_NxD + study.point_noise * _noise(study, jax.random.fold_in(keys["off"], place), x_NxD.shape)
        seen_NxW = jnp.matmul(x_NxD, basis_DxW, precision="highest") if study.point_noise else native_NxW
        values_NxO = jnp.stack([field(seen_NxW) for field in each], axis=1)
        key = jax.random.fold_in(keys["labels"], place)
        if study.objective == "squared_error":
            noise = target.noise / math.sqrt(repeats)
            labels_NxO = values_NxO + noise * jax.random.normal(key, values_NxO.shape)
            return x_NxD / unit, labels_NxO, values_NxO
        return x_NxD / unit, _frequencies(key, values_NxO, repeats), jax.nn.softmax(values_NxO)

    validation_points, validation_labels, _ = drawn(2, study.validation, study.validation_repeats)
    test_points, _, test_truth = drawn(3, study.test)
    points, labels, truth = drawn(1, study.in_excess)
    return Problem(points, labels, truth, validation_points, validation_labels, test_points, test_truth, unit)


def _of_language(study: ManifoldStudy, logits: tuple[fields.Field, ...], keys: Mapping[str, jax.Array]) -> Problem:
    """Three texts, one to train on, of a language whose next symbol has these logits."""
    count = symbols(study)
    language = languages.Language(logits, study.dimension, study.ambient // count)

    def text(place: int, length: int) -> tuple[jax.Array, jax.Array, jax.Array]:
        contexts_NxD, next_N = language.text(length, key=jax.random.fold_in(keys["points"], place))
        x_NxD = jax.nn.one_hot(language.symbols(contexts_NxD), count).reshape(length, study.ambient)
        return x_NxD, jax.nn.one_hot(next_N, count), language.logits(contexts_NxD)

    points, labels, train_NxO = text(1, study.in_excess)
    validation_points, _, validation_NxO = text(2, study.validation)
    test_points, _, test_NxO = text(3, study.test)
    key = jax.random.fold_in(keys["labels"], 2)
    validation_labels = _frequencies(key, validation_NxO, study.validation_repeats)
    truth, test_truth = jax.nn.softmax(train_NxO), jax.nn.softmax(test_NxO)
    return Problem(points, labels, truth, validation_points, validation_labels, test_points, test_truth, jnp.ones(()))


def _frequencies(key: jax.Array, logits_NxO: jax.Array, repeats: int) -> jax.Array:
    """How often each symbol came in so many draws, (N, O)."""
    symbols_RxN = jax.random.categorical(key, logits_NxO, shape=(repeats, len(logits_NxO)))
    return jnp.mean(jax.nn.one_hot(symbols_RxN, logits_NxO.shape[1]), axis=0)


def in_space(study: ManifoldStudy, points_xD: jax.Array | np.ndarray) -> jax.Array | np.ndarray:
    """Points where distances between them are those of the manifold, up to a factor.

    The points themselves; of contexts of a language, what they spell, with the same root mean square as other points.
    """
    if study.manifold != "language":
        return points_xD
    d, count = study.dimension, symbols(study)
    weights_DxW = languages.point_map(d, study.ambient // count).reshape(study.ambient, d)
    spelled_xW = jnp.matmul(points_xD, weights_DxW, precision="highest")
    return (spelled_xW / languages.SIDE - 0.5) * math.sqrt(12 * study.ambient / d)


def known_dimension(study: ManifoldStudy, problems: Problem) -> float:
    """That of the distribution of points: d, and of a text the bits of a symbol, as a mean over seeds."""
    if study.manifold != "language":
        return float(study.dimension)
    return float(jnp.mean(entropy(study.objective, problems.truth))) / math.log(2)


def stack(problems: Sequence[Problem]) -> Problem:
    """Problems along a leading axis."""
    stacked: Problem = jax.tree.map(lambda *leaves: jnp.stack(leaves), *problems)
    return stacked


def loss(objective: Objective, outputs_xO: jax.Array, targets_xO: jax.Array) -> jax.Array:
    """Squared error summed over outputs, or the cross-entropy of logits; one number for each point."""
    if objective == "squared_error":
        return jnp.sum((outputs_xO - targets_xO) ** 2, axis=-1)
    losses_x: jax.Array = optax.softmax_cross_entropy(outputs_xO, targets_xO)
    return losses_x


def entropy(objective: Objective, truth_xO: jax.Array) -> jax.Array:
    """The least that `loss` against the truth can be: 0, or the entropy of the probabilities."""
    if objective == "squared_error":
        return jnp.zeros(truth_xO.shape[:-1])
    return -jnp.sum(truth_xO * jnp.log(truth_xO), axis=-1)


def _noise(study: ManifoldStudy, key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Noise of variance 1 in every coordinate."""
    if study.point_noise_kind == "gaussian":
        return jax.random.normal(key, shape)
    # A point's coordinates share one scale, so that the noise is isotropic.
    normal_key, scale_key = jax.random.split(key)
    chi_square_N = 2 * jax.random.gamma(scale_key, HEAVY / 2, shape[:1])
    return jax.random.normal(normal_key, shape) * jnp.sqrt((HEAVY - 2) / chi_square_N)[:, None]
