"""Students of one width: small decoders that read the teacher's tokens and learn labels drawn from its probabilities.

A student reads a token by the bytes it spells: a table for a vocabulary of tens of thousands of tokens would be most
of a small network. Training sets of all sizes are parts of one pool, so their number is a number and not a shape. A
batch is a function of (seed, step): a run is the same to the last bit however often it is interrupted. Lanes lie along
devices; on a processor each device trains its own in turn, on an accelerator side by side.

Letters: L lanes, W windows, T tokens of a window, J bytes of a token, P labelled positions, K outcomes.
"""

import dataclasses
import functools
import pathlib
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import ensembles
from jaxscale.ensembles import Networks, going_on, load_tree, save_tree, spread, step_key, stretches
from jaxscale.models.decoder import Block, norm
from jaxscale.studies.teacher.config import StudentTraining, TeacherStudy

WARM_UP = 0.02
DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.98))
# The power of the step by which parameters are averaged (`ensembles.advance`).
AVERAGING = 8
# Windows a network is evaluated on at a time.
CHUNK = 16
# Training goes on of students that did best after this share of the steps so far.
STILL_LEARNING = 2 / 3


class Student(nn.Module):
    """Log-probabilities of the outcomes after each token, (B, T, K), from the bytes of tokens, (B, T, J) integers.

    Attributes:
      shape: of its blocks, a `config.Decoder`.
      outcomes: K.
      letters: entries of the alphabet that tokens are spelled in.
    """

    shape: configs.Decoder
    outcomes: int
    letters: int

    @nn.compact
    def __call__(self, spelled_BxTxJ: jax.Array) -> jax.Array:
        J, D = spelled_BxTxJ.shape[-1], self.shape.width
        letters_JxCxD = self.param("letters", nn.initializers.normal(J**-0.5), (J, self.letters, D))
        x_BxTxD = jnp.sum(letters_JxCxD[jnp.arange(J), spelled_BxTxJ], axis=-2)
        for layer in range(self.shape.layers):
            x_BxTxD = Block(self.shape, name=f"block_{layer}")(x_BxTxD)
        logits = nn.Dense(self.outcomes, kernel_init=nn.initializers.zeros, name="head")(norm(self.shape)(x_BxTxD))
        return jax.nn.log_softmax(logits)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lesson:
    """What students learn and are held against.

    Attributes:
      spelled: (W, T, J) int16, training windows.
      labels: (S, W, P) int32, drawn for each seed.
      truth: (w, P, K) float32, the teacher's probabilities of the first w, all that students of the truth learn from.
      validation_spelled, validation_truth: of other documents, which choose settings and step.
    """

    spelled: jax.Array
    labels: jax.Array
    truth: jax.Array
    validation_spelled: jax.Array
    validation_truth: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StudentLanes:
    """What students of one width differ in, L of each.

    Attributes:
      place: (L,) int32, of the seed among the study's.
      seed: (L,) int32, of parameters and batches.
      size: (L,) int32, n, labels.
      noisy: (L,) bool, whether labels are learned, or the probabilities themselves.
      learning_rate, weight_decay: (L,) float32.
    """

    place: jax.Array
    seed: jax.Array
    size: jax.Array
    noisy: jax.Array
    learning_rate: jax.Array
    weight_decay: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StudentStates:
    """Students in training along the leading axis of every leaf but `step`.

    Attributes:
      params, moments: of networks and optimizer.
      average: of parameters, over about the last tenth of the steps done.
      best: averages of least validation error.
      validation: (L,) that error, excess cross-entropy in nats; infinite before the first look.
      best_step: (L,) int32, when it was.
      step: int32, steps done by all.
    """

    params: Any
    moments: Any
    average: Any
    best: Any
    validation: jax.Array
    best_step: jax.Array
    step: jax.Array


def network(study: TeacherStudy, width: int, outcomes: int, letters: int) -> Student:
    """The students of a study of one width."""
    training = study.training
    shape = configs.Decoder(
        layers=training.layers,
        width=width,
        heads=training.heads,
        hidden=training.expansion * width,
        context=study.contexts.window,
    )
    return Student(shape, outcomes, letters)


@functools.partial(jax.jit, static_argnames="net")
def start(net: Student, lanes: StudentLanes, lesson: Lesson) -> StudentStates:
    """`StudentStates` before the first step."""
    first = ensembles.start(lambda key: net.init(key, lesson.spelled[:1])["params"], lanes.seed, DIRECTION)
    never = jnp.full(lanes.seed.shape, jnp.inf), jnp.zeros_like(lanes.seed)
    return StudentStates(first.params, first.moments, first.params, first.params, *never, first.step)


def loss(
    net: Student, training: StudentTraining, lesson: Lesson, params: Any, lane: StudentLanes, done: jax.Array
) -> jax.Array:
    """Of one student in its batch after `done` steps: cross-entropy with labels or with the truth, in nats."""
    seeds, windows, positions = lesson.labels.shape
    held = -(-lane.size // positions)
    among_B = jax.random.randint(step_key(done, key=lane.seed), (training.batch_size,), 0, held)
    # Each seed begins elsewhere in the pool.
    rows_B = (among_B + lane.place * (windows // seeds)) % windows
    log_BxPxK = cast(jax.Array, net.apply({"params": params}, lesson.spelled[rows_B]))[:, -positions:]
    of_labels_BxP = jnp.take_along_axis(log_BxPxK, lesson.labels[lane.place, rows_B][..., None], axis=-1)[..., 0]
    counted_BxP = among_B[:, None] * positions + jnp.arange(positions) < lane.size
    # Of those that learn labels the truth is not there, and not counted.
    soft_BxP = jnp.sum(lesson.truth[jnp.where(lane.noisy, 0, rows_B)] * log_BxPxK, axis=-1)
    gained_BxP = jnp.where(lane.noisy, of_labels_BxP, soft_BxP)
    return -jnp.sum(jnp.where(counted_BxP, gained_BxP, 0)) / jnp.sum(counted_BxP)


@functools.partial(jax.jit, static_argnames=("net", "training", "steps", "devices"), donate_argnames="runs")
def advance(
    net: Student,
    training: StudentTraining,
    lesson: Lesson,
    lanes: StudentLanes,
    runs: StudentStates,
    steps: int,
    devices: tuple[jax.Device, ...] | None = None,
) -> tuple[StudentStates, jax.Array]:
    """`steps` more steps of all students, and a look at their validation error.

    Args:
      net, training, steps: static.
      devices: static; those that lanes lie along, default all.
      lesson: one for all.
      lanes, runs: as above; `runs` is donated.

    Returns:
      The students, and the mean training loss of each over these steps, (L,).
    """

    def cost(params: Any, lane: StudentLanes, done: jax.Array, _: None) -> jax.Array:
        return loss(net, training, lesson, params, lane, done)

    def move(params: Any, updates: Any, lane: StudentLanes, done: jax.Array) -> Any:
        rate = lane.learning_rate * jnp.minimum((done + 1) / (WARM_UP * training.steps), 1.0)
        decayed: Callable[[jax.Array], jax.typing.ArrayLike] = lambda value: (
            lane.weight_decay * value if value.ndim > 1 else 0.0
        )
        return jax.tree.map(lambda value, update: value - rate * (update + decayed(value)), params, updates)

    alone: Callable[[Any], Any] = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)
    of: Callable[[Any], Any] = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)

    def one(lane: StudentLanes, params: Any, moments: Any, average: Any) -> tuple[Any, Any, Any, jax.Array, jax.Array]:
        now = Networks(alone(params), alone(moments), runs.step, alone(average))
        now, losses_Sx1 = ensembles.advance(now, alone(lane), cost, DIRECTION, move, steps, averaging=AVERAGING)
        error = divergence_of(net, of(now.average), lesson.validation_spelled, lesson.validation_truth)
        return of(now.params), of(now.moments), of(now.average), error, jnp.mean(losses_Sx1)

    params, moments, average, validation_L, loss_L = _each(one, devices, lanes, runs.params, runs.moments, runs.average)
    better_L = validation_L < runs.validation
    keep: Callable[[jax.Array, jax.Array], jax.Array] = lambda new, old: jnp.where(
        better_L.reshape(-1, *[1] * (new.ndim - 1)), new, old
    )
    best = jax.tree.map(keep, average, runs.best)
    step = runs.step + steps
    chosen = keep(validation_L, runs.validation), keep(jnp.broadcast_to(step, better_L.shape), runs.best_step)
    return StudentStates(params, moments, average, best, *chosen, step), loss_L


def _each(one: Callable[..., Any], devices: tuple[jax.Device, ...] | None, *trees: Any) -> Any:
    """`one` of every lane: in turn on a processor, side by side on an accelerator; each device has lanes of its own."""
    in_turn: Callable[..., Any] = lambda *lanes: jax.lax.map(lambda lane: one(*lane), lanes)
    devices = devices or tuple(jax.devices())
    on_device = in_turn if devices[0].platform == "cpu" else jax.vmap(one)
    mesh = Mesh(np.array(devices), "members")
    spread = jax.shard_map(on_device, mesh=mesh, in_specs=P("members"), out_specs=P("members"), check_vma=False)
    return spread(*trees)


def train(
    net: Student,
    training: StudentTraining,
    lesson: Lesson,
    lanes: StudentLanes,
    part: pathlib.Path,
    report: Callable[..., None] = lambda **values: None,
) -> tuple[StudentStates, float]:
    """All students to the end of their training, from the checkpoint `part` on where it is there.

    On a processor each device has one student at a time: all of them are one program, whatever their number.

    Returns:
      The students in the host's memory, and the seconds that training took over all starts.
    """
    begun, count = time.perf_counter(), len(lanes.seed)
    shapes = jax.eval_shape(functools.partial(start, net), lanes, lesson)
    runs, before = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes), np.zeros(1)
    if part.is_file():
        runs, before = load_tree(part, (runs, before))
    else:
        for group in _groups(count, training.at_once):
            _place(runs, group, start(net, _of(lanes, group), lesson))
    seconds: Callable[[], float] = lambda: float(before[0]) + time.perf_counter() - begun
    devices = len(jax.devices())
    at_once = devices if jax.default_backend() == "cpu" else devices * (training.at_once or count)
    for since, until in stretches(training.checkpoint_every, training.steps):
        which = going_on(runs.best_step, since, STILL_LEARNING)
        while len(which) and (step := int(runs.step)) < until:
            ahead = min(training.checkpoint_every, until - step)
            for place in range(0, len(which), at_once):
                group = which[place : place + at_once]
                those, some = spread(lanes, group), spread(runs, group)
                for done in range(training.evaluate_every, ahead + 1, training.evaluate_every):
                    some, losses_L = advance(net, training, lesson, those, some, steps=training.evaluate_every)
                    share = (place + len(group) * done / ahead) / len(which)
                    mean = float(np.nanmean(losses_L[: len(group)]))
                    report(step=step + int(share * ahead), steps=training.steps, train_loss=mean)
                _place(runs, group, some)
            runs = dataclasses.replace(runs, step=np.array(step + ahead, np.int32))
            if step + ahead < training.steps:
                save_tree(part, (runs, np.array([seconds()])))
    return runs, seconds()


def _groups(count: int, most: int | None) -> list[np.ndarray]:
    """Places of `count` students, `most` at a time; all at once where it is None."""
    return [np.arange(first, min(first + (most or count), count)) for first in range(0, count, most or count)]


def _of(tree: Any, group: np.ndarray) -> Any:
    return jax.tree.map(lambda leaf: leaf[group], tree)


def _place(runs: StudentStates, group: np.ndarray, some: StudentStates) -> None:
    """Writes students as they are now into the arrays of all."""
    for old, new in zip(jax.tree.leaves(runs), jax.tree.leaves(some), strict=True):
        if old.ndim:
            old[group] = np.asarray(new)[: len(group)]


def divergence_of(net: Student, params: Any, spelled_WxTxJ: jax.Array, truth_WxPxK: jax.Array) -> jax.Array:
    """Kullback-Leibler divergence of one student from the truth, in nats, averaged over windows and positions."""

    def of_window(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
        return jnp.mean(_divergence(_log_probabilities(net, params, *pair), pair[1]))

    return jnp.mean(jax.lax.map(of_window, (spelled_WxTxJ, truth_WxPxK), batch_size=CHUNK))


@functools.partial(jax.jit, static_argnames="net")
def errors(
    net: Student, params_L: Any, spelled_WxTxJ: jax.Array, truth_WxPxK: jax.Array, next_WxP: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of every student at every position, (L, W, P) each: how far it is from the truth, and how well it reads the text.

    Args:
      net: static.
      params_L: parameters of L students.
      spelled_WxTxJ, truth_WxPxK: windows and their truth.
      next_WxP: the outcome that came next in the text.

    Returns:
      Kullback-Leibler divergence from the truth, in nats; squared distance to it; cross-entropy of the text, in nats.
    """

    def of_student(params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        def of_window(window: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
            spelled_TxJ, truth_PxK, next_P = window
            log_PxK = _log_probabilities(net, params, spelled_TxJ, truth_PxK)
            distance_P = jnp.sum((jnp.exp(log_PxK) - truth_PxK) ** 2, axis=-1)
            text_P = -jnp.take_along_axis(log_PxK, next_P[:, None], axis=-1)[:, 0]
            return _divergence(log_PxK, truth_PxK), distance_P, text_P

        windows = spelled_WxTxJ, truth_WxPxK, next_WxP
        found: tuple[jax.Array, jax.Array, jax.Array] = jax.lax.map(of_window, windows, batch_size=CHUNK)
        return found

    found: tuple[jax.Array, jax.Array, jax.Array] = _each(of_student, None, params_L)
    return found


def errors_of_all(
    net: Student, training: StudentTraining, params_L: Any, *held: jax.Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`errors` of students whose parameters lie in the host's memory, so many at a time; float64."""
    found, most = [], training.at_once and training.at_once * len(jax.devices())
    for group in _groups(len(jax.tree.leaves(params_L)[0]), most):
        found.append([np.asarray(one, float)[: len(group)] for one in errors(net, spread(params_L, group), *held)])
    divergence, squared, text = map(np.concatenate, zip(*found, strict=True))
    return divergence, squared, text


def _log_probabilities(net: Student, params: Any, spelled_TxJ: jax.Array, truth_PxK: jax.Array) -> jax.Array:
    """At the labelled positions of a window, the last ones, (P, K)."""
    return cast(jax.Array, net.apply({"params": params}, spelled_TxJ[None]))[0, -len(truth_PxK) :]


def _divergence(log_PxK: jax.Array, truth_PxK: jax.Array) -> jax.Array:
    return jnp.sum(jax.scipy.special.xlogy(truth_PxK, truth_PxK) - truth_PxK * log_PxK, axis=-1)
