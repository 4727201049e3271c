"""The data-scaling study as typed values, and what must fit together in them."""

import dataclasses
from typing import ClassVar

from jaxscale.config import Configuration, Dimension, Run
from jaxscale.config.checks import check_run
from jaxscale.config.conditions import need, positive


@dataclasses.dataclass(frozen=True)
class DataScaling(Configuration):
    """A data-scaling study: train on n tokens for each of `sizes` and `seeds`, measure d, predict, compare."""

    kind: ClassVar[str] = "scaling"

    run: Run = dataclasses.field(default_factory=Run)
    """What all runs share; its `tokens` and `seed` are replaced by the grid's."""
    sizes: tuple[int, ...] = (4096, 8192, 16384, 32768, 65536, 131072)
    """Training tokens n of the grid."""
    seeds: tuple[int, ...] = (0, 1)
    """One run for each n and each of these."""
    together: int = 1
    """Train this many runs at a time as one program, each on one device: small models do not fill one alone."""
    beta: float = 1.0
    """Assumed Hölder smoothness of the target, in (0, 1]."""
    dimension: Dimension = dataclasses.field(default_factory=Dimension)
    """How the dimension of the embeddings is measured."""
    resamples: int = 2000
    """Bootstrap resamples behind the exponent's interval."""
    level: float = 0.95
    """Of every interval."""

    def check(self) -> None:
        """Raises InputError, naming field, value and remedy, for values out of range or contradictory."""
        _check(self)

    def as_run(self) -> Run:
        """The largest run of the grid, with the first seed: what `jaxscale train` trains."""
        return cell(self, max(self.sizes), self.seeds[0])


def cell(study: DataScaling, tokens: int, seed: int) -> Run:
    """The run of a study's grid with `tokens` training tokens and `seed`."""
    return dataclasses.replace(study.run, tokens=tokens, seed=seed)


def _check(study: DataScaling) -> None:
    need(len(set(study.sizes)) == len(study.sizes), "sizes", study.sizes, "names a number of tokens twice. Drop one.")
    need(
        len(study.sizes) >= 4,
        "sizes",
        study.sizes,
        "needs at least 4 different numbers of tokens: the law has three parameters.",
    )
    need(
        len(study.seeds) >= 1 and len(set(study.seeds)) == len(study.seeds),
        "seeds",
        study.seeds,
        "needs at least one seed, none twice.",
    )
    for seed in study.seeds:
        need(0 <= seed < 2**63, "seeds", study.seeds, "must lie between 0 and 2**63.")
    positive(study, "", "together")
    need(
        study.together == 1 or {study.run.mesh.fsdp, study.run.mesh.context, study.run.mesh.tensor} == {1},
        "together",
        study.together,
        "trains each run on one device, which mesh.fsdp, mesh.context and mesh.tensor divide. Leave them at 1.",
    )
    need(0 < study.beta <= 1, "beta", study.beta, "must lie in (0, 1], where the theorem holds.")
    need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    need(study.dimension.k >= 3, "dimension.k", study.dimension.k, "must be at least 3. 20 is usual.")
    need(
        study.dimension.points > study.dimension.k,
        "dimension.points",
        study.dimension.points,
        f"must exceed dimension.k={study.dimension.k}. Measure more points.",
    )
    positive(study.dimension, "dimension.", "tokens_per_document")
    layers = study.run.model.layers
    need(
        -layers - 1 <= study.dimension.layer <= layers,
        "dimension.layer",
        study.dimension.layer,
        f"must lie between {-layers - 1} and run.model.layers={layers}.",
    )
    for size in study.sizes:
        check_run(cell(study, size, study.seeds[0]), "run.")
