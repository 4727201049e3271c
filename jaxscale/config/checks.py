"""What must fit together in a run; a contradiction is told with the field, its value and the remedy."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

from jaxscale import files
from jaxscale.config.conditions import need, positive

if TYPE_CHECKING:
    from jaxscale.config.fields import Corpus, Run


def check_run(run: Run, at: str = "") -> None:
    """Raises InputError if a `Run` contradicts itself; `at` goes before the names of its fields."""
    model, training, optimizer, corpus = run.model, run.training, run.optimizer, run.corpus
    positive(model, f"{at}model.", "layers width heads hidden context")
    need(
        model.width % model.heads == 0,
        f"{at}model.heads",
        model.heads,
        f"must divide model.width={model.width}. Choose a divisor of the width.",
    )
    need(
        model.positions == "learned" or (model.width // model.heads) % 2 == 0,
        f"{at}model.heads",
        model.heads,
        f"leaves an odd head width {model.width // model.heads}, which rotary positions cannot pair. "
        "Choose fewer or more heads, or positions='learned'.",
    )
    if model.key_value_heads is not None:
        positive(model, f"{at}model.", "key_value_heads")
        need(
            model.heads % model.key_value_heads == 0,
            f"{at}model.key_value_heads",
            model.key_value_heads,
            f"must divide model.heads={model.heads}. Choose a divisor of the heads.",
        )
    need(model.rotary_base > 1, f"{at}model.rotary_base", model.rotary_base, "must be more than 1. 10 000 is usual.")
    if model.norm_epsilon is not None:
        positive(model, f"{at}model.", "norm_epsilon")
    positive(training, f"{at}training.", "steps batch_size accumulation evaluate_every evaluation_sequences")
    positive(training, f"{at}training.", "checkpoint_every log_every most_skipped")
    need(
        training.spike == 0 or training.spike > 1,
        f"{at}training.spike",
        training.spike,
        "must be 0 (off), or more than 1, the usual norm. 10 is usual.",
    )
    need(
        0 <= training.evaluate_growth < 1,
        f"{at}training.evaluate_growth",
        training.evaluate_growth,
        "must lie between 0 and 1. 0.05 is usual.",
    )
    need(training.patience >= 0, f"{at}training.patience", training.patience, "must be 0 (off) or more.")
    need(
        training.batch_size % training.accumulation == 0,
        f"{at}training.accumulation",
        training.accumulation,
        f"must divide training.batch_size={training.batch_size}. Choose a divisor of the batch.",
    )
    positive(training, f"{at}training.", "loss_chunks")
    if training.epochs is not None:
        positive(training, f"{at}training.", "epochs")
    positive(optimizer, f"{at}optimizer.", "learning_rate clip_norm")
    for name in ("b1", "b2"):
        value = getattr(optimizer, name)
        need(0 <= value < 1, f"{at}optimizer.{name}", value, "must lie in [0, 1). 0.9 and 0.95 are usual.")
    for name in ("decay_fraction", "final_fraction"):
        value = getattr(optimizer, name)
        need(0 <= value <= 1, f"{at}optimizer.{name}", value, "must lie between 0 and 1.")
    need(optimizer.warmup_steps >= 0, f"{at}optimizer.warmup_steps", optimizer.warmup_steps, "must be 0 or more.")
    need(optimizer.weight_decay >= 0, f"{at}optimizer.weight_decay", optimizer.weight_decay, "must be 0 or more.")
    need(
        run.tokens is None or run.tokens > model.context,
        f"{at}tokens",
        run.tokens,
        f"must exceed model.context={model.context}. Train on more tokens or shorten the context.",
    )
    if run.tokenizer.kind == "bpe":
        need(
            run.tokenizer.vocab_size > 257,
            f"{at}tokenizer.vocab_size",
            run.tokenizer.vocab_size,
            "must exceed 257, the bytes and end-of-text. Give a larger one, or tokenizer.kind='bytes'.",
        )
    need(0 <= run.seed < 2**63, f"{at}seed", run.seed, "must lie between 0 and 2**63.")
    check_corpus(corpus, f"{at}corpus.")


def check_corpus(corpus: Corpus, at: str = "corpus.") -> None:
    """Raises InputError if a `Corpus` contradicts itself; `at` goes before the names of its fields."""
    need(
        0 < corpus.held_out_fraction < 1,
        f"{at}held_out_fraction",
        corpus.held_out_fraction,
        "must lie strictly between 0 and 1. A tenth is usual.",
    )
    need(0 <= corpus.seed < 2**63, f"{at}seed", corpus.seed, "must lie between 0 and 2**63.")
    for field in ("passage", "max_documents", "passage_characters"):
        if getattr(corpus, field) is not None:
            positive(corpus, at, field)
    for kind, name in (("files", "path"), ("tfds", "name"), ("hf", "name")):
        if corpus.kind == kind:
            value = getattr(corpus, name)
            need(value, f"{at}{name}", value, f"is needed for corpus.kind={kind!r}. Say what to read.")
    if corpus.kind in ("files", "python"):  # tfds and hf know addresses
        files.refuse_address(f"{at}path", corpus.path)
    for name, value, default in (
        ("separator", corpus.separator, ""),
        ("separator_pattern", corpus.separator_pattern, ""),
        ("encoding", corpus.encoding, "utf-8"),
        ("line_ends", corpus.line_ends, "lf"),
    ):
        need(
            corpus.kind == "files" or value == default,
            f"{at}{name}",
            value,
            f"is of corpus.kind='files', not of {corpus.kind!r}. Leave it out, or read files.",
        )
    _check_splitting(corpus, at)
    if corpus.encoding != "detect":
        try:
            known = codecs.lookup(corpus.encoding)._is_text_encoding
        except (LookupError, ValueError):
            known = False
        need(
            known,
            f"{at}encoding",
            corpus.encoding,
            "is no encoding of text that Python knows. Write for example 'windows-1252', or 'detect'.",
        )


def _check_splitting(corpus: Corpus, at: str) -> None:
    need(
        not (corpus.separator and corpus.separator_pattern),
        f"{at}separator_pattern",
        corpus.separator_pattern,
        f"is given beside separator={corpus.separator!r}. Give one of them.",
    )
    if corpus.separator_pattern:
        try:
            everywhere = re.compile(corpus.separator_pattern, re.MULTILINE).match("ab", 1)
        except re.error as error:
            need(False, f"{at}separator_pattern", corpus.separator_pattern, f"is no regular expression: {error}.")
        need(
            everywhere is None or everywhere.end() > 1,
            f"{at}separator_pattern",
            corpus.separator_pattern,
            r"matches between any two letters. Write what separates documents, such as '^CHAPTER .*$'.",
        )
    if corpus.gap is None:
        return
    need(
        corpus.passage_characters is not None,
        f"{at}gap",
        corpus.gap,
        "is between passages, and there are none. Give passage_characters too, or leave it out.",
    )
    need(
        corpus.passage_characters is None or 0 <= corpus.gap <= corpus.passage_characters // 2,
        f"{at}gap",
        corpus.gap,
        f"must be at least 0 and at most half of passage_characters={corpus.passage_characters}. A tenth is usual.",
    )
