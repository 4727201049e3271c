"""Studies of regression on manifolds of known dimension as typed values: which data, which networks, how chosen."""

import dataclasses
import math
from typing import ClassVar, Literal

from jaxscale.config import Configuration, PointRegressor
from jaxscale.config.conditions import need, positive
from jaxscale.config.types import Values

Objective = Literal["squared_error", "cross_entropy"]


@dataclasses.dataclass(frozen=True)
class ManifoldTarget(Values):
    """A Weierstrass field (`jaxscale.data.fields`): smoothness β from wavelength 2π down to 2π / 2^octaves."""

    beta: float = 1.0
    """Hölder smoothness β, in (0, 1]."""
    octaves: int = 8
    """Factors of 2 between the longest and the shortest wavelength."""
    waves: int = 64
    """In every octave. The more, the less a network gains from finding their directions."""
    noise: float = 1.0
    """Standard deviation σ of the label noise; the target itself has variance 1. Squared error only."""
    classes: int = 2
    """cross_entropy: symbols, whose logits are a field each; a label is drawn from their softmax. 2^d in a language."""


@dataclasses.dataclass(frozen=True)
class PointTraining(Values):
    """AdamW on batches drawn with replacement; parameters are averaged, and kept where validation error is least."""

    steps: int = 8000
    """At most: at 1, 2, 4, … times checkpoint_every, training goes on of networks that did best in the later half."""
    batch_size: int = 64
    """Points a step."""
    evaluate_every: int = 50
    """Steps between looks at the validation set, and so how finely training is stopped."""
    checkpoint_every: int = 500
    """Steps between checkpoints, which an interrupted study goes on from."""
    learning_rates: tuple[float, ...] = (1e-3,)
    """At the peak: after a warm-up of 5% of the steps, before half a cosine down to zero."""
    weight_decays: tuple[float, ...] = (0.03, 0.3, 3.0, 30.0)
    """Decoupled from the gradient, of matrices only."""
    widths: tuple[int, ...] = (16,)
    """Every combination is trained for every size and seed; the validation set chooses."""


@dataclasses.dataclass(frozen=True)
class ManifoldStudy(Configuration):
    """On a manifold of known dimension, with a target of known smoothness: does the error fall as theory says?"""

    kind: ClassVar[str] = "manifolds"

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
    """What the networks learn."""
    objective: Objective = "squared_error"
    """squared_error: of noisy labels; cross_entropy: of symbols drawn from the target's probabilities."""
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
    network: PointRegressor = dataclasses.field(default_factory=PointRegressor)
    """Their shape."""
    training: PointTraining = PointTraining()
    """How they are trained and chosen."""
    largest_kernel: int = 4096
    """Points up to which the kernel reference is computed, at a cost of n³."""
    level: float = 0.95
    """Of every interval."""
    resamples: int = 1000
    """Bootstrap resamples of the seeds, behind every interval."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)


def points_width(study: ManifoldStudy) -> int:
    """Coordinates a study's manifold needs before it is embedded."""
    d = study.dimension
    product = 3 * (d // 2) + 2 * (d % 2)
    return {"sphere": d + 1, "torus": 2 * d, "swiss_roll": 3, "product": product, "language": d}[study.manifold]


def symbols(study: ManifoldStudy) -> int:
    """Symbols of a study's language; 0 where its points are no contexts."""
    return 2**study.dimension if study.manifold == "language" else 0


def _check(study: ManifoldStudy) -> None:
    target, network, training = study.target, study.network, study.training
    positive(study, "", "dimension ambient in_excess validation validation_repeats test largest_kernel")
    positive(target, "target.", "octaves waves")
    positive(network, "network.", "tokens layers heads expansion")
    positive(training, "training.", "steps batch_size evaluate_every checkpoint_every")
    _geometry(study)
    need(0 < target.beta <= 1, "target.beta", target.beta, "must lie in (0, 1], where the theorem holds.")
    need(target.noise >= 0, "target.noise", target.noise, "must be 0 or more.")
    need(
        study.objective == "squared_error" or target.classes >= 2,
        "target.classes",
        target.classes,
        "must be at least 2: a single class has nothing to tell.",
    )
    for owner, prefix, names in (
        (study, "", ("sizes", "seeds")),
        (training, "training.", ("learning_rates", "weight_decays", "widths")),
    ):
        for name in names:
            values = getattr(owner, name)
            need(values and len(set(values)) == len(values), prefix + name, values, "needs values, none twice.")
    need(all(0 <= seed < 2**31 for seed in study.seeds), "seeds", study.seeds, "must lie between 0 and 2**31.")
    need(min(study.sizes) >= 8, "sizes", study.sizes, "must be at least 8 points each.")
    need(study.in_excess >= 128, "in_excess", study.in_excess, "must be at least 128 to read the smoothness of labels.")
    need(
        max(study.sizes) <= study.in_excess,
        "in_excess",
        study.in_excess,
        f"must not be below the largest of sizes, {max(study.sizes)}. Give several times as many.",
    )
    need(all(rate > 0 for rate in training.learning_rates), "training.learning_rates", training.learning_rates, "> 0.")
    need(
        all(decay >= 0 for decay in training.weight_decays),
        "training.weight_decays",
        training.weight_decays,
        "must be 0 or more.",
    )
    for width in training.widths:
        need(
            width > 0 and width % network.heads == 0,
            "training.widths",
            width,
            f"must be a positive multiple of network.heads={network.heads}.",
        )
    need(
        training.checkpoint_every % training.evaluate_every == 0 and training.steps % training.evaluate_every == 0,
        "training.evaluate_every",
        training.evaluate_every,
        f"must divide training.steps={training.steps} and training.checkpoint_every={training.checkpoint_every}.",
    )
    _series(study)
    need(study.validation >= 64, "validation", study.validation, "must be at least 64 to choose by.")
    need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")


def _geometry(study: ManifoldStudy) -> None:
    d = study.dimension
    need(
        study.manifold != "swiss_roll" or d == 2,
        "dimension",
        d,
        "is not 2, the dimension of the Swiss roll. Give 2, or another manifold.",
    )
    need(
        study.manifold != "product" or d >= 3,
        "dimension",
        d,
        "is below 3, the least product of spheres S² × S¹. Take manifold='sphere' or 'torus'.",
    )
    width = points_width(study)
    need(
        study.ambient >= width,
        "ambient",
        study.ambient,
        f"cannot hold the {study.manifold} of dimension {d}, which needs {width} coordinates. Give at least {width}.",
    )
    need(study.point_noise >= 0, "point_noise", study.point_noise, "must be 0 or more.")
    if study.manifold == "language":
        _language(study)


def _language(study: ManifoldStudy) -> None:
    # 24 digits are what a float32 holds (`data.languages.LONGEST`; configurations load without jax).
    count = symbols(study)
    need(
        study.objective == "cross_entropy",
        "objective",
        study.objective,
        "has no meaning for a language, whose labels are symbols. Give 'cross_entropy'.",
    )
    need(
        study.target.classes == count,
        "target.classes",
        study.target.classes,
        f"is not {count}, the symbols of a language of dimension {study.dimension}: 2^dimension. Give {count}.",
    )
    need(
        study.ambient % count == 0 and 2 <= study.ambient // count <= 24,
        "ambient",
        study.ambient,
        f"must be {count} times the symbols of a context, of which there may be 2 to 24. Give {12 * count}.",
    )
    # As `studies.manifolds.readings.FEWEST`, points that β is read from.
    possible = count ** (study.ambient // count)
    need(
        possible >= 128,
        "ambient",
        study.ambient,
        f"has room for {possible} different contexts, and 128 are needed to read the smoothness of labels. "
        f"Give at least {count * math.ceil(7 / study.dimension)}.",
    )
    need(study.point_noise == 0, "point_noise", study.point_noise, "must be 0 where contexts are symbols.")


def _series(study: ManifoldStudy) -> None:
    """A law needs points to be fitted to."""
    widths = study.training.widths
    if study.series != "data":
        need(
            len(widths) >= 4,
            "training.widths",
            widths,
            f"needs at least 4 widths for series={study.series!r}: their parameters are what the law is over.",
        )
    need(
        study.series != "compute" or len(study.seeds) >= 5,
        "seeds",
        study.seeds,
        "must be at least 5 for series='compute': they are resampled together, and the law has 4 parameters.",
    )
    if study.series != "parameters":
        need(len(study.sizes) >= 4, "sizes", study.sizes, "needs at least 4 sizes for a law over n.")
