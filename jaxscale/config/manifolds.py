"""Studies of regression on manifolds of known dimension as typed values: which data, which networks, how chosen."""

import dataclasses
from typing import Literal

from jaxscale.config.types import Values

Mixer = Literal["softmax", "window", "relu", "convolution", "state_space", "mlp"]


@dataclasses.dataclass(frozen=True)
class ManifoldTarget(Values):
    """A Weierstrass field (`jaxscale.data.fields`): smoothness β from wavelength 2π down to 2π / 2^octaves."""

    beta: float = 1.0
    octaves: int = 8
    waves: int = 64
    """In every octave. The more, the less a network gains from finding their directions."""
    noise: float = 1.0
    """Standard deviation σ of the label noise; the target itself has variance 1. Squared error only."""
    classes: int = 2
    """cross_entropy: symbols, whose logits are a field each; a label is drawn from their softmax. 2^d in a language."""


@dataclasses.dataclass(frozen=True)
class PointRegressor(Values):
    """Shape of the networks but for their width (`jaxscale.models.Regressor`)."""

    mixer: Mixer = "softmax"
    """What exchanges information between tokens; "mlp" has a single token, and nothing to exchange."""
    tokens: int = 4
    """That a point is made into; in a language the symbols of the context are the tokens."""
    layers: int = 2
    heads: int = 2
    expansion: int = 2
    """Hidden width of the feed-forward part over the width."""


@dataclasses.dataclass(frozen=True)
class PointTraining(Values):
    """AdamW on batches drawn with replacement; parameters are averaged, and kept where validation error is least."""

    steps: int = 8000
    """At most: at 1, 2, 4, … times checkpoint_every, training goes on of networks that did best in the later half."""
    batch_size: int = 64
    evaluate_every: int = 50
    """Steps between looks at the validation set, and so how finely training is stopped."""
    checkpoint_every: int = 500
    """Steps between checkpoints, which an interrupted study goes on from."""
    learning_rates: tuple[float, ...] = (1e-3,)
    """At the peak: after a warm-up of 5% of the steps, before half a cosine down to zero."""
    weight_decays: tuple[float, ...] = (0.03, 0.3, 3.0, 30.0)
    widths: tuple[int, ...] = (16,)
    """Every combination is trained for every size and seed; the validation set chooses."""


@dataclasses.dataclass(frozen=True)
class ManifoldStudy(Values):
    """On a manifold of known dimension, with a target of known smoothness: does the error fall as theory says?"""

    manifold: Literal["sphere", "torus", "swiss_roll", "product", "language"] = "sphere"
    """Unit spheres S^d; flat tori of unit circles; the roll; S² × … × S² (× S¹); contexts of a text in 2^d symbols,
    which spell points of a d-cube and say how probable each next symbol is (`jaxscale.data.languages`)."""
    dimension: int = 1
    """d."""
    ambient: int = 8
    """D, the width of the points: the manifold lies in it under a random isometry. In a language a context is
    D / 2^d one-hot symbols."""
    point_noise: float = 0.0
    """Scale of the noise that takes points off the manifold; the target is read where the point ends up."""
    point_noise_kind: Literal["gaussian", "student_t"] = "gaussian"
    """Isotropic; "student_t" has three degrees of freedom and the same standard deviation."""
    target: ManifoldTarget = ManifoldTarget()
    objective: Literal["squared_error", "cross_entropy"] = "squared_error"
    series: Literal["data", "parameters", "compute"] = "data"
    """data: error against n at the best width; parameters: against N with data in excess and no label noise; compute:
    over all n and N, for the best split."""
    sizes: tuple[int, ...] = (32, 90, 256, 724, 2048, 5793, 16384)
    """n, numbers of training points; unused where data is in excess."""
    in_excess: int = 65536
    """Training points that stand for any number."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Each has its own target, points, noise and initial networks."""
    validation: int = 2048
    """Points that choose width, rates and step; they are not counted in n."""
    validation_repeats: int = 64
    """Noisy labels of each of them, whose mean is chosen by. With few, chance chooses where errors are small."""
    test: int = 8192
    """Points whose true targets the error is measured against."""
    network: PointRegressor = PointRegressor()
    training: PointTraining = PointTraining()
    largest_kernel: int = 4096
    """Points up to which the kernel reference is computed, at a cost of n³."""
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000


def points_width(study):
    """Coordinates a study's manifold needs before it is embedded."""
    d = study.dimension
    product = 3 * (d // 2) + 2 * (d % 2)
    return {"sphere": d + 1, "torus": 2 * d, "swiss_roll": 3, "product": product, "language": d}[study.manifold]


def symbols(study):
    """Symbols of a study's language; 0 where its points are no contexts."""
    return 2**study.dimension if study.manifold == "language" else 0
