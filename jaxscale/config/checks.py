"""Values that must fit together; a contradiction is told with the field, its value and the remedy."""

from jaxscale import files
from jaxscale.config.ablation_checks import validate_ablation
from jaxscale.config.ablations import DimensionAblation
from jaxscale.config.conditions import need as _need
from jaxscale.config.conditions import positive as _positive
from jaxscale.config.fields import DataScaling, Run, cell
from jaxscale.config.length_checks import validate_lengths, validate_positions
from jaxscale.config.lengths import LengthStudy, PositionStudy
from jaxscale.config.manifold_checks import validate_manifold
from jaxscale.config.manifolds import ManifoldStudy
from jaxscale.config.types import check_types, require


def validate(config):
    """Raises InputError, naming field, value and remedy, for values of a wrong type, out of range or contradictory."""
    studies = DataScaling, DimensionAblation, LengthStudy, PositionStudy, ManifoldStudy
    if not isinstance(config, studies):
        require(config, Run, "config")
    check_types(config)
    if isinstance(config, DataScaling):
        _validate_study(config)
    elif isinstance(config, DimensionAblation):
        validate_ablation(config, _validate_run)
    elif isinstance(config, LengthStudy):
        validate_lengths(config)
    elif isinstance(config, PositionStudy):
        validate_positions(config)
    elif isinstance(config, ManifoldStudy):
        validate_manifold(config)
    else:
        _validate_run(config, "")


def _validate_run(run, at):
    model, training, optimizer, corpus = run.model, run.training, run.optimizer, run.corpus
    _positive(model, f"{at}model.", "layers width heads hidden context")
    _need(
        model.width % model.heads == 0,
        f"{at}model.heads",
        model.heads,
        f"must divide model.width={model.width}. Choose a divisor of the width.",
    )
    _need(
        model.positions == "learned" or (model.width // model.heads) % 2 == 0,
        f"{at}model.heads",
        model.heads,
        f"leaves an odd head width {model.width // model.heads}, which rotary positions cannot pair. "
        "Choose fewer or more heads, or positions='learned'.",
    )
    _positive(training, f"{at}training.", "steps batch_size accumulation evaluate_every evaluation_sequences")
    _positive(training, f"{at}training.", "checkpoint_every log_every most_skipped")
    _need(
        training.spike == 0 or training.spike > 1,
        f"{at}training.spike",
        training.spike,
        "must be 0 (off), or more than 1, the usual norm. 10 is usual.",
    )
    _need(
        0 <= training.evaluate_growth < 1,
        f"{at}training.evaluate_growth",
        training.evaluate_growth,
        "must lie between 0 and 1. 0.05 is usual.",
    )
    _need(training.patience >= 0, f"{at}training.patience", training.patience, "must be 0 (off) or more.")
    _need(
        training.batch_size % training.accumulation == 0,
        f"{at}training.accumulation",
        training.accumulation,
        f"must divide training.batch_size={training.batch_size}. Choose a divisor of the batch.",
    )
    _positive(training, f"{at}training.", "loss_chunks")
    if training.epochs is not None:
        _positive(training, f"{at}training.", "epochs")
    _positive(optimizer, f"{at}optimizer.", "learning_rate clip_norm")
    for name in ("b1", "b2"):
        value = getattr(optimizer, name)
        _need(0 <= value < 1, f"{at}optimizer.{name}", value, "must lie in [0, 1). 0.9 and 0.95 are usual.")
    for name in ("decay_fraction", "final_fraction"):
        value = getattr(optimizer, name)
        _need(0 <= value <= 1, f"{at}optimizer.{name}", value, "must lie between 0 and 1.")
    _need(optimizer.warmup_steps >= 0, f"{at}optimizer.warmup_steps", optimizer.warmup_steps, "must be 0 or more.")
    _need(optimizer.weight_decay >= 0, f"{at}optimizer.weight_decay", optimizer.weight_decay, "must be 0 or more.")
    _need(
        0 < corpus.held_out_fraction < 1,
        f"{at}corpus.held_out_fraction",
        corpus.held_out_fraction,
        "must lie strictly between 0 and 1. A tenth is usual.",
    )
    _need(
        run.tokens is None or run.tokens > model.context,
        f"{at}tokens",
        run.tokens,
        f"must exceed model.context={model.context}. Train on more tokens or shorten the context.",
    )
    if run.tokenizer.kind == "bpe":
        _need(
            run.tokenizer.vocab_size > 257,
            f"{at}tokenizer.vocab_size",
            run.tokenizer.vocab_size,
            "must exceed 257, the bytes and end-of-text. Give a larger one, or tokenizer.kind='bytes'.",
        )
    for field, seed in (("seed", run.seed), ("corpus.seed", corpus.seed)):
        _need(0 <= seed < 2**63, f"{at}{field}", seed, "must lie between 0 and 2**63.")
    for field in ("passage", "max_documents"):
        if getattr(corpus, field) is not None:
            _positive(corpus, f"{at}corpus.", field)
    for kind, name in (("files", "path"), ("tfds", "name"), ("hf", "name")):
        if corpus.kind == kind:
            value = getattr(corpus, name)
            _need(value, f"{at}corpus.{name}", value, f"is needed for corpus.kind={kind!r}. Say what to read.")
    if corpus.kind == "files":  # tfds and hf know addresses
        files.refuse_address(f"{at}corpus.path", corpus.path)


def _validate_study(study):
    _need(len(set(study.sizes)) == len(study.sizes), "sizes", study.sizes, "names a number of tokens twice. Drop one.")
    _need(
        len(study.sizes) >= 4,
        "sizes",
        study.sizes,
        "needs at least 4 different numbers of tokens: the law has three parameters.",
    )
    _need(
        len(study.seeds) >= 1 and len(set(study.seeds)) == len(study.seeds),
        "seeds",
        study.seeds,
        "needs at least one seed, none twice.",
    )
    for seed in study.seeds:
        _need(0 <= seed < 2**63, "seeds", study.seeds, "must lie between 0 and 2**63.")
    _positive(study, "", "together")
    _need(
        study.together == 1 or {study.run.mesh.fsdp, study.run.mesh.context, study.run.mesh.tensor} == {1},
        "together",
        study.together,
        "trains each run on one device, which mesh.fsdp, mesh.context and mesh.tensor divide. Leave them at 1.",
    )
    _need(0 < study.beta <= 1, "beta", study.beta, "must lie in (0, 1], where the theorem holds.")
    _need(0 < study.level < 1, "level", study.level, "must lie between 0 and 1. 0.95 is usual.")
    _need(study.resamples >= 100, "resamples", study.resamples, "must be at least 100 for an interval.")
    _need(study.dimension.k >= 3, "dimension.k", study.dimension.k, "must be at least 3. 20 is usual.")
    _need(
        study.dimension.points > study.dimension.k,
        "dimension.points",
        study.dimension.points,
        f"must exceed dimension.k={study.dimension.k}. Measure more points.",
    )
    _positive(study.dimension, "dimension.", "tokens_per_document")
    layers = study.run.model.layers
    _need(
        -layers - 1 <= study.dimension.layer <= layers,
        "dimension.layer",
        study.dimension.layer,
        f"must lie between {-layers - 1} and run.model.layers={layers}.",
    )
    for size in study.sizes:
        _validate_run(cell(study, size, study.seeds[0]), "run.")
