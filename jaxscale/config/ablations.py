"""The study of what a measured dimension depends on, as typed values."""

import dataclasses
import re

from jaxscale.config.fields import Corpus, Dimension, Run
from jaxscale.config.types import Values

# Kinds of corpus that need no more than their name.
BUILT_IN = ("stdlib", "docstrings", "reference", "grammar")


@dataclasses.dataclass(frozen=True)
class DimensionAblation(Values):
    """What does d depend on? A base model, trained, and measured with one thing at a time changed: of the model, its
    text, or the measurement."""

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


def variants(study):
    """(factor, value, run) of every model that is trained, the base first, with no seed of its own yet."""
    base = study.run
    found = [("base", "", base)]
    for field, values in (
        ("width", study.widths),
        ("layers", study.layers),
        ("heads", study.heads),
        ("context", study.contexts),
    ):
        for value in values:
            changes = {field: value}
            if field == "width":
                changes["hidden"] = value * base.model.hidden // base.model.width
            found.append((field, value, dataclasses.replace(base, model=dataclasses.replace(base.model, **changes))))
    for name in study.corpora:
        found.append(("corpus", name, dataclasses.replace(base, corpus=_corpus(base.corpus, name))))
    return found


def variant_name(factor, value, seed):
    """The folder of a variant's run."""
    value = re.sub(r"\W+", "-", str(value)).strip("-")
    return f"{factor}={value}_seed={seed}" if value else f"{factor}_seed={seed}"


def _corpus(base, name):
    shared = {"held_out_fraction": base.held_out_fraction, "passage": base.passage, "seed": base.seed}
    return Corpus(kind=name, **shared) if name in BUILT_IN else Corpus(kind="files", path=name, **shared)
