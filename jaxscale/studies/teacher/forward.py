"""The teacher's pass over all windows. Each part is computed once and kept on disk.

part_<i>.npz    of some windows: probabilities of outcomes, states by layer, what came next
"""

import collections
import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files, sharding, training
from jaxscale.data import fields, languages, manifolds, tokenizers
from jaxscale.errors import InputError
from jaxscale.memory import out_of_memory_told
from jaxscale.models import LanguageModel, language_model
from jaxscale.models.language_models import missing
from jaxscale.progress import Silent
from jaxscale.studies.teacher import own
from jaxscale.studies.teacher.config import TeacherStudy, labeled
from jaxscale.studies.teacher.contexts import Windows

# Windows in a file, in forward passes.
PASSES = 8
# Bytes by which students know a token, the last entry for how many there are: longer ones that begin alike are one.
LONGEST = 16
# Of a language: octaves of wavelengths and waves in each.
OCTAVES, WAVES = 8, 64
NORMALIZED_OVER = 8192


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """What is predicted: a coarse-graining of the next token.

    Attributes:
      of_token: (V,) int32, the outcome a token belongs to.
      names: one for each outcome.
    """

    of_token: np.ndarray
    names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Truth:
    """What the teacher says of W windows at their P labelled positions.

    Attributes:
      probabilities: (W, P, K) float32 of the outcomes.
      next_outcome: (W, P) int32, that of the token that came next in the text.
      next_log_probability: (W, P) float32, of that token, in nats.
      states: by layer, (W, P, D) float16.
    """

    probabilities: np.ndarray
    next_outcome: np.ndarray
    next_log_probability: np.ndarray
    states: dict[int, np.ndarray]


def load(study: TeacherStudy, workdir: pathlib.Path, progress: Silent) -> LanguageModel:
    """The teacher of a study, trained in `workdir` if it is the study's own.

    Raises:
      InputError: it cannot be had; the message names what is missing and how to get it.
      RunError: its training failed.
    """
    name, begun = study.teacher.name, own.is_begun(workdir)
    lacking = missing(name)
    if lacking and study.teacher.otherwise and not begun:
        progress.say(f"{lacking}. Until then the teacher is {own.WHAT}.")
    if name == "trained" or begun or (lacking and study.teacher.otherwise):
        teacher = _of_run(own.trained(study, workdir, progress))
    elif (pathlib.Path(name) / "summary.json").is_file():
        teacher = _of_run(pathlib.Path(name))
    else:
        teacher = language_model(name)
    if study.contexts.window > teacher.context:
        raise InputError(
            f"contexts.window={study.contexts.window} is more than the {teacher.context} tokens that "
            f"teacher.name={name!r} sees at once. Lower it."
        )
    return teacher


def _of_run(folder: pathlib.Path) -> LanguageModel:
    """A finished run as a language model, at the minimum of its validation curve."""
    run = configs.of_folder(folder, configs.Run)
    corpora = [at / "corpus" for at in (folder, folder.parent.parent) if (at / "corpus").is_dir()]  # of a study's run
    if not corpora:
        raise InputError(f"teacher.name={str(folder)!r}: no folder corpus beside it holds its tokenizer.")
    tokenizer = tokenizers.load(run.tokenizer, corpora[0])
    alone = training.program(run, tokenizer.vocab_size, sharding.make_mesh(configs.Mesh(), jax.devices()[:1]))
    step = files.read_json(folder / "summary.json", ("step",))["step"]
    params = training.restore_params(folder / "checkpoints", step, alone.abstract.params)
    return LanguageModel(str(folder), alone.model, params, tokenizers.published(tokenizer))


def layers(study: TeacherStudy, blocks: int) -> tuple[int, ...]:
    """Which layers are measured, evenly from the first block to the last."""
    return tuple(sorted({round(at) for at in np.linspace(1, blocks, study.teacher.layers)}))


def outcomes(study: TeacherStudy, teacher: LanguageModel, windows: Windows) -> Outcomes:
    """The coarse-graining of a study; the most frequent tokens are counted in training windows."""
    kind, size = study.teacher.outcome, teacher.vocab_size
    if kind == "full":
        return Outcomes(np.arange(size, dtype=np.int32), tuple(map(str, range(size))))
    if kind == "first_byte":
        first = np.array([token[0] if token else 0 for token in teacher.token_bytes], np.int32)
        return Outcomes(first, tuple(map(repr, map(chr, range(256)))))
    counts = collections.Counter(windows.tokens[windows.of("training")].ravel().tolist())
    frequent = [token for token, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    kept = frequent[: study.teacher.classes]
    of_token = np.full(size, len(kept), np.int32)
    of_token[kept] = np.arange(len(kept))
    return Outcomes(of_token, (*(teacher.tokenizer.decode([token]) for token in kept), "another"))


def spelled(teacher: LanguageModel) -> np.ndarray:
    """How students read each token, (V, J) int16: its first bytes as 1 to 256, 0 for none, and its length."""
    table = np.zeros((teacher.vocab_size, LONGEST + 1), np.int16)
    for row, token in zip(table, teacher.token_bytes, strict=True):
        row[: min(len(token), LONGEST)] = np.frombuffer(token[:LONGEST], np.uint8).astype(np.int16) + 1
        row[LONGEST] = min(len(token), 256)
    return table


def read(
    study: TeacherStudy,
    teacher: LanguageModel,
    windows: Windows,
    found: Outcomes,
    folder: pathlib.Path,
    report: Callable[..., None] = lambda **values: None,
) -> Truth:
    """The truth of all windows: parts that are missing are computed, those there are read.

    Raises:
      RunError: the disk is full, a part is damaged, or the memory of a device does not suffice.
    """
    measured = layers(study, teacher.layers)
    size = study.teacher.windows * PASSES
    begun, done, parts = time.perf_counter(), 0, []
    names = ("probabilities", "next_outcome", "next_log_probability", *(f"layer_{layer}" for layer in measured))
    run = _program(teacher, measured, labeled(study), len(found.names))
    for index, start in enumerate(range(0, len(windows.tokens), size)):
        path, tokens = folder / f"part_{index:05}.npz", windows.tokens[start : start + size]
        if not path.is_file():
            files.write_arrays(path, dict(zip(names, _part(study, teacher, run, found, tokens), strict=True)))
            done += tokens.size
            speed = done / (time.perf_counter() - begun)
            report(step=start + len(tokens), steps=len(windows.tokens), tokens_per_second=speed)
        parts.append(
            files.read_arrays(path, "Delete it, and the same command runs the teacher over these windows again.")
        )
    whole = {name: np.concatenate([part[name] for part in parts]) for name in names}
    states = {layer: whole.pop(f"layer_{layer}") for layer in measured}
    return Truth(**whole, states=states)


def _program(teacher: LanguageModel, measured: Sequence[int], positions: int, outcomes: int) -> Callable[..., Any]:
    @jax.jit
    def run(params: Any, tokens_BxT1: jax.Array, of_token_V: jax.Array) -> tuple[jax.Array, ...]:
        states, last_BxTxD = teacher.apply(params, tokens_BxT1[:, :-1], measured)
        logits_BxPxV = teacher.logits(params, last_BxTxD[:, -positions:])
        log_BxPxV = jax.nn.log_softmax(logits_BxPxV)
        # As a product: sums over tokens in the order of their outcomes would be scattered.
        member_VxK = (of_token_V[:, None] == jnp.arange(outcomes)).astype(jnp.float32)
        whole = outcomes == teacher.vocab_size
        chances = jnp.exp(log_BxPxV)
        p_BxPxK = chances if whole else jnp.matmul(chances, member_VxK, precision="highest")
        next_BxP = tokens_BxT1[:, -positions:]
        log_next_BxP = jnp.take_along_axis(log_BxPxV, next_BxP[..., None], axis=-1)[..., 0]
        kept = [state[:, -positions:].astype(jnp.float16) for state in states]
        return p_BxPxK / jnp.sum(p_BxPxK, axis=-1, keepdims=True), of_token_V[next_BxP], log_next_BxP, *kept

    return run


def _part(
    study: TeacherStudy, teacher: LanguageModel, run: Callable[..., Any], found: Outcomes, tokens: np.ndarray
) -> list[np.ndarray]:
    """The arrays of some windows, so many at a time."""
    count, of_token = study.teacher.windows, jnp.asarray(found.of_token)
    rows = []
    for start in range(0, len(tokens), count):
        some = tokens[start : start + count]
        filled = np.pad(some, ((0, count - len(some)), (0, 0)))
        with out_of_memory_told(f"Lower teacher.windows={count}."):
            rows.append([np.asarray(one)[: len(some)] for one in run(teacher.params, jnp.asarray(filled), of_token)])
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def of_language(study: TeacherStudy) -> tuple[Windows, Truth, np.ndarray]:
    """Windows of a text of known geometry, their truth, whose one layer holds the points, and spelled symbols."""
    teacher, wanted = study.teacher, study.contexts
    d, order, length = teacher.dimension, wanted.skipped, wanted.window + 1
    field_key, text_key = jax.random.split(jax.random.key(study.corpus.seed))
    cube = languages.SIDE * manifolds.cube(d).sample(NORMALIZED_OVER, key=jax.random.fold_in(text_key, 0))
    logits = tuple(
        fields.normalized(fields.weierstrass(d, teacher.beta, OCTAVES, WAVES, key=key), cube)
        for key in jax.random.split(field_key, 2**d)
    )
    language = languages.Language(logits, d, order)
    each = wanted.windows_per_document
    part = [0] * wanted.training
    for index in range(wanted.held_out):
        share = (index - index % each) / wanted.held_out
        part.append(1 if share < 0.25 else 2 if share < 0.5 else 3)
    documents = np.arange(len(part)) // each

    def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        return language.text(each * length, key=key)

    keys = jax.vmap(lambda number: jax.random.fold_in(text_key, number))(1 + jnp.arange(documents[-1] + 1))
    contexts, symbols = jax.jit(lambda keys: jax.lax.map(one, keys))(keys)
    contexts_WxTxD = np.asarray(contexts).reshape(-1, length, d)[: len(part)]
    tokens_WxT = np.asarray(symbols).reshape(-1, length)[: len(part)]
    positions = labeled(study)
    at = jnp.asarray(contexts_WxTxD[:, -positions:])
    chances = jax.jit(lambda at: jax.lax.map(lambda x_NxD: jax.nn.log_softmax(language.logits(x_NxD)), at))(at)
    log_WxPxK = np.asarray(chances)
    next_WxP = tokens_WxT[:, -positions:]
    log_next = np.take_along_axis(log_WxPxK, next_WxP[..., None], axis=-1)[..., 0]
    points = np.asarray(language.points(at))
    truth = Truth(np.exp(log_WxPxK), next_WxP.astype(np.int32), log_next, {0: points})
    windows = Windows(tokens_WxT.astype(np.int32), documents.astype(np.int32), np.asarray(part, np.int8), {})
    return windows, truth, np.arange(2**d, dtype=np.int16)[:, None] + 1
