"""The study of position encodings: a decoder for every algorithmic task, encoding and seed, tested on longer prompts.

verdict = run(studies.PositionStudy(), "runs/positions")

cells/<task>-<encoding>.npz    networks under way; .json once they are measured
table.jsonl                    a row per network
verdict.json                   by task and encoding: runs that fitted, accuracy by range with its interval, the order
report.html                    the same as a page

After Huang et al. 2025: prompts of up to 50 tokens are trained on, those of up to 150 tested; a run stops once it
answers the training range, and only runs that do say something of longer prompts.
"""

import functools
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale import config as configs
from jaxscale import ensembles, files
from jaxscale.ensembles import load_tree, save_tree, step_key
from jaxscale.lengths.algorithmic import ALGORITHMIC, Algorithmic, Example
from jaxscale.lengths.position_decoder import PositionDecoder, penalty
from jaxscale.lengths.positions import position_ids
from jaxscale.lengths.strings import Length
from jaxscale.progress import Silent
from jaxscale.studies.positions.config import PositionStudy
from jaxscale.studies.stages import Clock, finish
from jaxscale.verdict import number

Row = dict[str, Any]  # of `table.jsonl`: a network and its accuracies
State = dict[str, Any]  # of the networks of a cell: `params`, `moments`, `step`, and where each `fitted_at`
Strings = tuple[jax.Array, jax.Array]  # (B, T) tokens, and flags of those that are to be predicted

# One program for all tasks whose sequences are as long: every vocabulary has room in this one.
VOCABULARY = max(task.vocab_size for task in ALGORITHMIC.values())
STRIDE = 50  # steps of a call of the compiled program
DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.98))
LIMITS = (
    "Accuracy is of whole answers, with the right tokens before each; that is the event that all are right.",
    "Only runs that fitted the training range count beyond it; how many did stands beside each value.",
    "Intervals resample runs and prompts; with few runs they are too narrow. Pairs are compared one at a time.",
    "Sizes, steps and learning rates are those of the configuration, not the best for each encoding.",
)


def run(study: PositionStudy, workdir: str | os.PathLike[str], progress: Silent | None = None) -> dict[str, Any]:
    """`studies.run` of a `PositionStudy`."""
    return finish(study, workdir, progress, _run)


def _run(study: PositionStudy, workdir: pathlib.Path, progress: Silent, clock: Clock) -> dict[str, Any]:
    configs.claim(workdir, study)
    (workdir / "cells").mkdir(exist_ok=True)
    pairs = [(task, encoding) for task in study.tasks for encoding in study.encodings]
    rows = []
    with clock.stage("training and testing"):
        for index, (task, encoding) in enumerate(pairs):
            report = progress.run(f"{task}, {encoding}", index, len(pairs), "cell")
            rows += _cell(study, task, encoding, workdir / "cells", report)
            clock.save()
    files.write_json_lines(workdir / "table.jsonl", rows)
    return verdict(study, rows)


def _cell(
    study: PositionStudy, task: str, encoding: str, folder: pathlib.Path, report: Callable[..., None]
) -> list[Row]:
    """A row for each seed of one task and encoding, trained and measured if that is not done yet."""
    done, part = folder / f"{task}-{encoding}.json", folder / f"{task}-{encoding}.npz"
    if done.is_file():
        rows: list[Row] = files.read_json(done)
        return rows
    model, state = start(study, ALGORITHMIC[task], encoding)
    if part.is_file():
        state = load_tree(part, state)
    while int(state["step"]) < study.steps and int(jnp.min(state["fitted_at"])) < 0:
        until = min(study.steps, (int(state["step"]) // study.checkpoint_every + 1) * study.checkpoint_every)
        while (step := int(state["step"])) < until:
            state, loss_S = advance(study, model, task, state, min(STRIDE, until - step))
            report(step=int(state["step"]), steps=study.steps, train_loss=float(jnp.mean(loss_S)))
        exact_S = exact(study, model, task, state["params"], 0)
        newly_S = (exact_S >= study.fitted) & (state["fitted_at"] < 0)
        state = state | {"fitted_at": jnp.where(newly_S, state["step"], state["fitted_at"])}
        save_tree(part, state)
    by_bin = np.stack([exact(study, model, task, state["params"], i) for i in range(len(study.test_bins))], axis=1)
    rows = [
        {"task": task, "encoding": encoding, "seed": seed, "fitted_at": int(fitted), "exact": by_bin[i].tolist()}
        for i, (seed, fitted) in enumerate(zip(study.seeds, state["fitted_at"], strict=True))
    ]
    files.write_json(done, rows)
    part.unlink(missing_ok=True)
    return rows


def start(study: PositionStudy, task: Algorithmic, encoding: str) -> tuple[PositionDecoder, State]:
    """The decoder of a cell, and its networks before the first step: parameters, moments, step, where each fitted."""
    room = task.room(study.test_bins[-1]) * (2 if encoding == "randomized" else 1)
    model = PositionDecoder(study.model, VOCABULARY, encoding, room)
    some = jnp.zeros((1, 2), jnp.int32)
    seeds_S = jnp.asarray(study.seeds)
    init = lambda key: model.init(key, some, some)["params"]
    first = jax.jit(lambda seeds_S: ensembles.start(init, seeds_S, DIRECTION))(seeds_S)
    never = jnp.full(len(study.seeds), -1)
    return model, {"params": first.params, "moments": first.moments, "step": first.step, "fitted_at": never}


@functools.partial(jax.jit, static_argnames=("task", "size", "strings"))
def draw(task: str, size: int, strings: int, shortest: Length, longest: Length, key: jax.Array) -> Strings:
    """`strings` prompts with their answers, (B, T) tokens and flags, of lengths uniform from shortest to longest."""
    one_task = ALGORITHMIC[task]

    def one(key: jax.Array) -> Example:
        key_length, key_prompt = jax.random.split(key)
        length = jax.random.randint(key_length, (), shortest, longest + 1)
        return one_task.sample(length, size, key=key_prompt)

    examples = jax.vmap(one)(jax.random.split(key, strings))
    room = one_task.room(size)
    return examples.tokens[:, :room], examples.answer[:, :room]


def advance(
    study: PositionStudy, model: PositionDecoder, task: str, state: State, steps: int
) -> tuple[State, jax.Array]:
    """`steps` more steps of the runs that have not fitted yet, and their mean losses, (S,)."""
    of_seed: Callable[[jax.Array, jax.Array], jax.Array] = lambda seed, step: step_key(step, key=seed)
    of_step = jax.vmap(of_seed, in_axes=(0, None))
    keys_NxS = jax.vmap(of_step, in_axes=(None, 0))(jnp.asarray(study.seeds), int(state["step"]) + jnp.arange(steps))
    shortest, longest = ALGORITHMIC[task].shortest, study.longest_train
    strings = jax.vmap(
        jax.vmap(lambda key: draw(task, longest, study.batch_size, shortest, longest, jax.random.fold_in(key, 0)))
    )(keys_NxS)
    advanced: tuple[State, jax.Array] = _advance(study, model, state, strings, keys_NxS)
    return advanced


@functools.partial(jax.jit, static_argnames=("study", "model"), donate_argnames="state")
def _advance(
    study: PositionStudy, model: PositionDecoder, state: State, strings: Strings, keys_NxS: jax.Array
) -> tuple[State, jax.Array]:
    coefficient = study.regularizer if model.encoding == "learned_regularized" else 0.0

    def loss(params: Any, _member: jax.Array, _step: jax.Array, drawn: tuple[Strings, jax.Array]) -> jax.Array:
        (tokens_BxT, answer_BxT), key = drawn
        strings, size = tokens_BxT.shape
        ids_BxT = position_ids(model.encoding, strings, size, model.room, key=jax.random.fold_in(key, 1), training=True)
        logits_BxTxV = cast(jax.Array, model.apply({"params": params}, tokens_BxT, ids_BxT))[:, :-1]
        asked_BxT = answer_BxT[:, 1:]
        each_BxT = optax.softmax_cross_entropy_with_integer_labels(logits_BxTxV, jnp.maximum(tokens_BxT[:, 1:], 0))
        mean = jnp.sum(each_BxT * asked_BxT) / jnp.sum(asked_BxT)
        return mean + coefficient * penalty(model, params) if coefficient else mean

    def move(params: Any, updates: Any, fitted_at: jax.Array, step: jax.Array) -> Any:
        done = step / study.steps
        rate = study.learning_rate * jnp.minimum(1, 20 * done) * jnp.maximum(0.1, 1 - done)
        pace = jnp.where(fitted_at >= 0, 0.0, rate)
        return jax.tree.map(lambda value, change: value - pace * change, params, updates)

    now = ensembles.Networks(state["params"], state["moments"], state["step"])
    draws = strings, keys_NxS
    now, losses_NxS = ensembles.advance(now, state["fitted_at"], loss, DIRECTION, move, draws=draws)
    state = state | {"params": now.params, "moments": now.moments, "step": now.step}
    return state, jnp.mean(losses_NxS, axis=0)


def exact(study: PositionStudy, model: PositionDecoder, task: str, params: Any, index: int) -> np.ndarray:
    """Share of prompts of one range answered exactly, (S,); the same prompts for every run and encoding."""
    shortest = ALGORITHMIC[task].shortest if index == 0 else study.test_bins[index - 1] + 1
    key = jax.random.fold_in(jax.random.key(7), index)
    strings = draw(task, study.test_bins[-1], study.samples, shortest, study.test_bins[index], key)
    return np.asarray(_exact(model, params, strings, key))


@functools.partial(jax.jit, static_argnames="model")
def _exact(model: PositionDecoder, params: Any, strings: Strings, key: jax.Array) -> jax.Array:
    tokens_NxT, answer_NxT = strings
    count, size = tokens_NxT.shape
    ids_NxT = position_ids(model.encoding, count, size, model.room, key=key, training=False)

    def one(inputs: tuple[Any, jax.Array, jax.Array, jax.Array]) -> jax.Array:
        params, tokens_T, answer_T, ids_T = inputs
        logits_TxV = model.apply({"params": params}, tokens_T[None], ids_T[None])[0]
        right_T = jnp.argmax(logits_TxV[:-1], axis=-1) == tokens_T[1:]
        return jnp.all(right_T | ~answer_T[1:])

    def of_run(params: Any) -> jax.Array:
        return jnp.mean(
            jax.lax.map(lambda strings: one((params, *strings)), (tokens_NxT, answer_NxT, ids_NxT), batch_size=32)
        )

    accuracy_R: jax.Array = jax.lax.map(of_run, params)
    return accuracy_R


def verdict(study: PositionStudy, rows: Sequence[Row]) -> dict[str, Any]:
    """By task and encoding: runs that fitted, accuracy by range with its interval, and how sure the order is."""
    starts = [1, *(end + 1 for end in study.test_bins[:-1])]
    ranges = [f"{start}-{end}" for start, end in zip(starts, study.test_bins, strict=True)]
    rng = np.random.default_rng(0)
    cells, orders = [], []
    for task in study.tasks:
        beyond = {}
        for encoding in study.encodings:
            runs = [row for row in rows if (row["task"], row["encoding"]) == (task, encoding)]
            fitted = np.array([row["exact"] for row in runs if row["fitted_at"] >= 0])
            cell = {"task": task, "encoding": encoding, "runs": len(runs), "fitted": len(fitted), "accuracy": None}
            if len(fitted):
                draws = _draws(study, fitted, rng)
                ends = np.quantile(draws, [(1 - study.level) / 2, (1 + study.level) / 2], axis=0)
                cell["accuracy"] = {
                    name: {"mean": float(fitted[:, i].mean()), "interval": ends[:, i].tolist()}
                    for i, name in enumerate(ranges)
                }
                beyond[encoding] = (fitted[:, 1:].mean(), draws[:, 1:].mean(axis=1))
            cells.append(cell)
        ordered = sorted(beyond, key=lambda name: -beyond[name][0])
        orders.append(
            {
                "task": task,
                "order": ordered,
                "surely_better": [
                    [first, second]
                    for i, first in enumerate(ordered)
                    for second in ordered[i + 1 :]
                    if np.mean(beyond[first][1] > beyond[second][1]) >= study.level
                ],
            }
        )
    laws = {task: ALGORITHMIC[task].law for task in study.tasks}
    fitted = sum(row["fitted_at"] >= 0 for row in rows)
    return {
        "question": "Which position encodings generalize in length?",
        "sentence": _sentence(len(rows), fitted, orders),
        "agreement": None,
        "numbers": [number("networks that fitted the training range", fitted)],
        "caveats": [],
        "ranges": ranges,
        "cells": cells,
        "orders": orders,
        "laws": laws,
        "runs": len(rows),
        "fitted": fitted,
        "limits": list(LIMITS),
    }


def _sentence(runs: int, fitted: int, orders: Sequence[Mapping[str, Any]]) -> str:
    """What was found, in a few sentences."""
    said = [f"{fitted} of {runs} networks fitted the training range."]
    for one in orders:
        pairs = ", ".join(" > ".join(pair) for pair in one["surely_better"])
        said.append(f"{one['task']}: {pairs or 'no two encodings differ at this level'}.")
    return " ".join(said)


def _draws(study: PositionStudy, exact_RxB: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Bootstrap draws of the mean accuracy by range: runs drawn again, and of each as many prompts again."""
    chosen = rng.integers(0, len(exact_RxB), (study.resamples, len(exact_RxB)))
    draws: np.ndarray = rng.binomial(study.samples, exact_RxB[chosen]).mean(axis=1) / study.samples
    return draws
