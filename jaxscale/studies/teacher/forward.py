"""The teacher's pass over all windows. Each part is computed once and kept on disk.

part_<i>.npz    of some windows: probabilities of outcomes, states by layer, what came next

Labels are drawn from the probabilities of training windows. Where those are kept of few windows (`contexts.soft`), the
labels are drawn in the pass, and a part holds them and the sum of the probabilities instead.
"""

import collections
import dataclasses
import pathlib
import time
from collections.abc import Callable, Sequence
from concurrent import futures
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import config as configs
from jaxscale import files, sharding, training
from jaxscale.data import fields, languages, manifolds, tokenizers
from jaxscale.errors import InputError, RunError
from jaxscale.memory import out_of_memory_told
from jaxscale.models import LanguageModel, language_model
from jaxscale.models.language_models import missing
from jaxscale.progress import Silent
from jaxscale.studies.teacher import own
from jaxscale.studies.teacher.config import TeacherStudy, labeled, soft_windows
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
      kept: places of the w windows whose probabilities are kept, ascending.
      probabilities: (w, P, K) float32 of the outcomes.
      next_outcome: (W, P) int32, that of the token that came next in the text.
      next_log_probability: (W, P) float32, of that token, in nats.
      measured: places of the m windows whose states are kept, ascending.
      states: by layer, (m, P, D) float16.
      labels: (S, N, P) int32, of the N training windows, which come first: an outcome drawn for each seed.
      mean: (K,) float64, of the probabilities over all training windows and positions.
    """

    kept: np.ndarray
    probabilities: np.ndarray
    next_outcome: np.ndarray
    next_log_probability: np.ndarray
    measured: np.ndarray
    states: dict[int, np.ndarray]
    labels: np.ndarray
    mean: np.ndarray

    def probabilities_at(self, windows: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        """(windows, positions, K) float32, of windows whose probabilities are kept; default all positions."""
        return _at(self.probabilities, self.kept, windows, positions)

    def states_at(self, layer: int, windows: np.ndarray, positions: np.ndarray | None = None) -> np.ndarray:
        """(windows, positions, D) float16, of windows whose states are kept; default all positions."""
        return _at(self.states[layer], self.measured, windows, positions)


def _at(values: np.ndarray, places: np.ndarray, windows: np.ndarray, positions: np.ndarray | None) -> np.ndarray:
    assert np.isin(windows, places).all()
    rows = np.searchsorted(places, windows)
    found: np.ndarray = values[rows] if positions is None else values[np.ix_(rows, positions)]
    return found


def kept(study: TeacherStudy, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    """Places of the windows whose probabilities are kept, and of those whose states are."""
    every, training = np.arange(len(windows.tokens)), windows.of("training")
    without = np.setdiff1d(every, training[soft_windows(study) :])
    return without, every if study.references else np.setdiff1d(every, training)


Draws = list[np.random.Generator]


def draws(study: TeacherStudy) -> Draws:
    """A source of uniform numbers for each seed, to be drawn for the training windows in their order."""
    return [np.random.Generator(np.random.Philox(key=[seed, 1])) for seed in study.seeds]


def uniform(sources: Draws, windows: int, positions: int) -> np.ndarray:
    """Numbers in [0, 1) for the next windows, (S, windows, positions)."""
    return np.stack([source.random((windows, positions)) for source in sources])


def labels(truth_WxPxK: np.ndarray, uniform_SxWxP: np.ndarray) -> np.ndarray:
    """One outcome for every context and seed, (S, W, P) int32, by inversion of the distribution function."""

    def of_window(truth_PxK: np.ndarray, uniform_SxP: np.ndarray) -> np.ndarray:
        drawn_SxP, below_K = np.empty(uniform_SxP.shape, np.int32), np.empty(truth_PxK.shape[1])
        for position, truth_K in enumerate(truth_PxK):
            np.cumsum(truth_K, dtype=np.float64, out=below_K)
            drawn_SxP[:, position] = np.searchsorted(below_K, uniform_SxP[:, position] * below_K[-1], side="right")
        return drawn_SxP

    if not len(truth_WxPxK):
        return np.empty(uniform_SxWxP.shape, np.int32)
    return np.stack(_of_windows(of_window, truth_WxPxK, uniform_SxWxP.swapaxes(0, 1)), axis=1)


def _of_windows(function: Callable[..., np.ndarray], *arrays: np.ndarray) -> list[np.ndarray]:
    """A function of each window, on all cores: at tens of thousands of outcomes NumPy lets other threads run."""
    with futures.ThreadPoolExecutor() as pool:
        return list(pool.map(function, *arrays))


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
    measured, positions = layers(study, teacher.layers), labeled(study)
    size, training = study.teacher.windows * PASSES, len(windows.of("training"))
    begun, done = time.perf_counter(), 0
    columns: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    run = _program(teacher, measured, positions, len(found.names))
    sources, places = draws(study), kept(study, windows)
    for index, start in enumerate(range(0, len(windows.tokens), size)):
        path, tokens = folder / f"part_{index:05}.npz", windows.tokens[start : start + size]
        # Drawn even where it is not needed: the next part goes on from there.
        uniform_SxWxP = uniform(sources, min(max(training - start, 0), len(tokens)), positions)
        if not path.is_file():
            files.write_arrays(path, _part(study, teacher, run, found, tokens, start, places, uniform_SxWxP))
            done += tokens.size
            speed = done / (time.perf_counter() - begun)
            report(step=start + len(tokens), steps=len(windows.tokens), tokens_per_second=speed)
        remedy = "Delete it, and the same command runs the teacher over these windows again."
        part = files.read_arrays(path, remedy)
        if part.keys() != _names(study, measured):
            raise RunError(f"{path} is of another contexts.soft or other layers. {remedy}")
        if "labels" not in part:
            part["labels"] = labels(part["probabilities"][: uniform_SxWxP.shape[1]], uniform_SxWxP)
        for name, array in part.items():
            columns[name].append(array)
    states = {layer: np.concatenate(columns.pop(f"layer_{layer}")) for layer in measured}
    probabilities = np.concatenate(columns.pop("probabilities"))
    if "probability_sum" in columns:
        mean_K = np.sum(columns["probability_sum"], axis=0) / (training * positions)
    else:
        mean_K = probabilities[:training].astype(float).mean(axis=(0, 1))
    return Truth(
        kept=places[0],
        probabilities=probabilities,
        next_outcome=np.concatenate(columns["next_outcome"]),
        next_log_probability=np.concatenate(columns["next_log_probability"]),
        measured=places[1],
        states=states,
        labels=np.concatenate(columns["labels"], axis=1),
        mean=mean_K,
    )


def _names(study: TeacherStudy, measured: Sequence[int]) -> set[str]:
    """Those of the arrays in a part."""
    names = {"probabilities", "next_outcome", "next_log_probability", *(f"layer_{layer}" for layer in measured)}
    return names if study.contexts.soft is None else names | {"labels", "probability_sum"}


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
    study: TeacherStudy,
    teacher: LanguageModel,
    run: Callable[..., Any],
    found: Outcomes,
    tokens: np.ndarray,
    first: int,
    places: tuple[np.ndarray, np.ndarray],
    uniform_SxWxP: np.ndarray,
) -> dict[str, np.ndarray]:
    """The arrays of some windows from the place `first` on, so many at a time.

    Args:
      places: those of the windows whose probabilities are kept, and of those whose states are.
      uniform_SxWxP: of the training windows among them, which come first.
    """
    count, of_token = study.teacher.windows, jnp.asarray(found.of_token)
    training = uniform_SxWxP.shape[1]
    with_truth, with_states = (np.isin(first + np.arange(len(tokens)), those) for those in places)
    rows: dict[str, list[np.ndarray]] = collections.defaultdict(list)
    total_K = np.zeros(len(found.names))
    for start in range(0, len(tokens), count):
        some, here = tokens[start : start + count], slice(start, start + count)
        filled = np.pad(some, ((0, count - len(some)), (0, 0)))
        with out_of_memory_told(f"Lower teacher.windows={count}."):
            said = [np.asarray(one)[: len(some)] for one in run(teacher.params, jnp.asarray(filled), of_token)]
        p_WxPxK, next_outcome, next_log_probability, *states = said
        rows["probabilities"].append(p_WxPxK[with_truth[here]])
        rows["next_outcome"].append(next_outcome)
        rows["next_log_probability"].append(next_log_probability)
        for layer, state in zip(layers(study, teacher.layers), states, strict=True):
            rows[f"layer_{layer}"].append(state[with_states[here]])
        if study.contexts.soft is not None:
            learned_WxPxK = p_WxPxK[: max(training - start, 0)]
            rows["labels"].append(labels(learned_WxPxK, uniform_SxWxP[:, start : start + len(learned_WxPxK)]))
            total_K += sum(_of_windows(lambda p_PxK: p_PxK.sum(axis=0, dtype=float), learned_WxPxK))
    part = {name: np.concatenate(column, axis=1 if name == "labels" else 0) for name, column in rows.items()}
    return part if study.contexts.soft is None else part | {"probability_sum": total_K}


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
    windows = Windows(tokens_WxT.astype(np.int32), documents.astype(np.int32), np.asarray(part, np.int8), {})
    truth = of_arrays(study, windows, np.exp(log_WxPxK), next_WxP.astype(np.int32), log_next, {0: points})
    return windows, truth, np.arange(2**d, dtype=np.int16)[:, None] + 1


def of_arrays(
    study: TeacherStudy,
    windows: Windows,
    probabilities: np.ndarray,
    next_outcome: np.ndarray,
    next_log_probability: np.ndarray,
    states: dict[int, np.ndarray],
) -> Truth:
    """The `Truth` of arrays that hold all windows: labels are drawn, and what the study does not keep is dropped."""
    with_truth, with_states = kept(study, windows)
    learned = probabilities[windows.of("training")]
    return Truth(
        kept=with_truth,
        probabilities=probabilities[with_truth],
        next_outcome=next_outcome,
        next_log_probability=next_log_probability,
        measured=with_states,
        states={layer: state[with_states] for layer, state in states.items()},
        labels=labels(learned, uniform(draws(study), *learned.shape[:2])),
        mean=learned.astype(float).mean(axis=(0, 1)),
    )
