"""The study of what a measured dimension depends on, as typed values."""

import dataclasses
import re
from typing import Any, ClassVar

from jaxscale.config import Configuration, Corpus, Dimension, Run
from jaxscale.config.checks import check_run
from jaxscale.config.conditions import need, positive

# Kinds of corpus that need no more than their name.
BUILT_IN = ("stdlib", "docstrings", "reference", "grammar")


@dataclasses.dataclass(frozen=True)
class DimensionAblation(Configuration):
    """What does d depend on? A base model, trained, and measured with one thing at a time changed: of the model, its
    text, or the measurement."""

    kind: ClassVar[str] = "ablation"

    run: Run = dataclasses.field(default_factory=Run)
    """The base; its `seed` is replaced by each of `seeds`."""
    dimension: Dimension = dataclasses.field(default_factory=Dimension)
    """How it is measured."""
    seeds: tuple[int, ...] = (0, 1)
    """Every model is trained once for each."""
    widths: tuple[int, ...] = ()
    """Other widths of the residual stream; the MLP keeps its ratio to it."""
    layers: tuple[int, ...] = ()
    """Other numbers of blocks."""
    heads: tuple[int, ...] = ()
    """Other numbers of heads."""
    contexts: tuple[int, ...] = ()
    """Other context lengths."""
    corpora: tuple[str, ...] = ()
    """Other text: stdlib, docstrings, reference, grammar, or a folder or glob of text files."""
    ks: tuple[int, ...] = (5, 10, 40, 80)
    """Other numbers of neighbors."""
    points: tuple[int, ...] = ()
    """Other numbers of points, fewer than `dimension.points`."""
    metrics: tuple[str, ...] = ("euclidean", "cosine")
    """Metrics; that of `dimension` is left out."""
    estimators: tuple[str, ...] = ("twonn", "gride", "tle")
    """Estimators besides `mle`, by their names in `jaxscale.dimension.ESTIMATORS`."""
    positions: int = 4
    """Tokens are parted by their place in the document into this many groups of one size."""
    level: float = 0.95
    """Of every interval."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)


def variants(study: DimensionAblation) -> list[tuple[str, int | str, Run]]:
    """(factor, value, run) of every model that is trained, the base first, with no seed of its own yet."""
    base = study.run
    found: list[tuple[str, int | str, Run]] = [("base", "", base)]
    for field, values in (
        ("width", study.widths),
        ("layers", study.layers),
        ("heads", study.heads),
        ("context", study.contexts),
    ):
        for value in values:
            changes: dict[str, Any] = {field: value}
            if field == "width":
                changes["hidden"] = value * base.model.hidden // base.model.width
            found.append((field, value, dataclasses.replace(base, model=dataclasses.replace(base.model, **changes))))
    for name in study.corpora:
        found.append(("corpus", name, dataclasses.replace(base, corpus=_corpus(base.corpus, name))))
    return found


def variant_name(factor: str, value: int | str, seed: int) -> str:
    """The folder of a variant's run."""
    value = re.sub(r"\W+", "-", str(value)).strip("-")
    return f"{factor}={value}_seed={seed}" if value else f"{factor}_seed={seed}"


def _corpus(base: Corpus, name: str) -> Corpus:
    shared: dict[str, Any] = {"held_out_fraction": base.held_out_fraction, "passage": base.passage, "seed": base.seed}
    return Corpus(**shared | ({"kind": name} if name in BUILT_IN else {"kind": "files", "path": name}))


def _check(study: DimensionAblation) -> None:
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
        check_run(dataclasses.replace(run, seed=study.seeds[0]), "run.")


def _measurement(study: DimensionAblation) -> None:
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
