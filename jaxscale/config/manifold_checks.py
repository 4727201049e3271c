"""What must fit together in studies on manifolds, told before anything is trained."""

import math

from jaxscale.config.conditions import need, positive
from jaxscale.config.manifolds import points_width, symbols


def validate_manifold(study):
    """Raises InputError if a `ManifoldStudy` contradicts itself."""
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


def _geometry(study):
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


def _language(study):
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
    # As `studies.manifold_readings.FEWEST`, points that β is read from.
    possible = count ** (study.ambient // count)
    need(
        possible >= 128,
        "ambient",
        study.ambient,
        f"has room for {possible} different contexts, and 128 are needed to read the smoothness of labels. "
        f"Give at least {count * math.ceil(7 / study.dimension)}.",
    )
    need(study.point_noise == 0, "point_noise", study.point_noise, "must be 0 where contexts are symbols.")


def _series(study):
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
