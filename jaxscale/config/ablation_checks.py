"""What must fit together in a study of what the dimension depends on, told before anything is trained."""

import dataclasses

from jaxscale.config.ablations import variant_name, variants
from jaxscale.config.conditions import need, positive


def validate_ablation(study, validate_run):
    """Raises InputError if a `DimensionAblation`, or a model it trains, contradicts itself."""
    for name in ("seeds", "widths", "layers", "heads", "contexts", "corpora", "ks", "points", "metrics", "estimators"):
        values = getattr(study, name)
        need(len(set(values)) == len(values), name, values, "names a value twice. Drop one.")
    need(study.seeds, "seeds", study.seeds, "needs at least one seed.")
    for seed in study.seeds:
        need(0 <= seed < 2**63, "seeds", study.seeds, "must lie between 0 and 2**63.")
    need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    for name, singular, base in (
        ("widths", "width", study.run.model.width),
        ("layers", "layers", study.run.model.layers),
        ("heads", "heads", study.run.model.heads),
        ("contexts", "context", study.run.model.context),
        ("corpora", "corpus", study.run.corpus.kind),
    ):
        values = getattr(study, name)
        need(base not in values, name, values, f"holds {base}, the base's own {singular}. Leave it out.")
    _measurement(study)
    names = [variant_name(factor, value, 0) for factor, value, _ in variants(study)]
    need(len(set(names)) == len(names), "corpora", study.corpora, "have names too much alike. Rename a folder.")
    for _, _, run in variants(study):
        validate_run(dataclasses.replace(run, seed=study.seeds[0]), "run.")


def _measurement(study):
    from jaxscale.dimension import ESTIMATORS  # loads jax

    measured = study.dimension
    need(measured.k >= 3, "dimension.k", measured.k, "must be at least 3. 20 is usual.")
    positive(measured, "dimension.", "tokens_per_document")
    layers = study.run.model.layers
    need(
        measured.layer in (-1, layers) or (0 <= measured.layer <= min([layers, *study.layers])),
        "dimension.layer",
        measured.layer,
        "must be -1, the last, or a layer that every model has.",
    )
    need(study.positions >= 1, "positions", study.positions, "must be at least 1, all tokens together.")
    fewest = min([measured.points, *study.points])
    need(
        max([measured.k, *study.ks]) < fewest // study.positions,
        "ks",
        study.ks,
        f"must be less than the points of the smallest sample, {fewest // study.positions}. Lower them, or positions.",
    )
    need(min([3, *study.ks]) >= 3, "ks", study.ks, "must be at least 3.")
    need(
        max([0, *study.points]) < measured.points,
        "points",
        study.points,
        f"must be fewer than dimension.points={measured.points}, from which they are drawn.",
    )
    for name in study.estimators:
        need(name in ESTIMATORS, "estimators", name, f"is not one of {', '.join(ESTIMATORS)}. Choose some of them.")
    for name in study.metrics:
        need(name in ("euclidean", "cosine"), "metrics", name, "is neither euclidean nor cosine. Choose one of them.")
