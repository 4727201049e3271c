"""Students of one width: small decoders that read the teacher's tokens and learn labels drawn from its probabilities.

A student reads a token by the bytes it spells: a table for a vocabulary of tens of thousands of tokens would be most
of a small network. Training sets of all sizes are parts of one pool, so their number is a number and not a shape. A
batch is a function of (seed, step): a run is the same to the last bit however often it is interrupted. Lanes lie along
devices; on a processor each device trains its own in turn, on an accelerator side by side.

Letters: L lanes, W windows, T tokens of a window, J bytes of a token, P labelled positions, K outcomes.
"""

import dataclasses
import functools
import operator
import pathlib
import time
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import ensembles
from jaxscale.ensembles import (
    Networks,
    going_on,
    load_tree,
    member_mesh,
    partition,
    save_tree,
    spread,
    step_key,
    stretches,
)
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
# By which a student is stopped, one for each error that is reported: cross-entropy punishes overconfidence early, where
# the squared error still falls.
CRITERIA = ("squared", "divergence")


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
      best: by each of `CRITERIA` the averages of least validation error.
      validation: (L,) each, that error: squared, and excess cross-entropy in nats; infinite before the first look.
      best_step: (L,) int32 each, when it was.
      step: int32, steps done by all.
    """

    params: Any
    moments: Any
    average: Any
    best: dict[str, Any]
    validation: dict[str, jax.Array]
    best_step: dict[str, jax.Array]
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


@functools.partial(jax.jit, static_argnames=("net", "each"))
def start(net: Student, lanes: StudentLanes, lesson: Lesson, each: int = 1) -> StudentStates:
    """`StudentStates` before the first step, in parts where several devices share each."""
    first = ensembles.start(lambda key: net.init(key, lesson.spelled[:1])["params"], lanes.seed, DIRECTION)
    of_each: Callable[[Any], dict[str, Any]] = lambda value: dict.fromkeys(CRITERIA, value)
    never, at = of_each(jnp.full(lanes.seed.shape, jnp.inf)), of_each(jnp.zeros_like(lanes.seed))
    runs = StudentStates(first.params, first.moments, first.params, of_each(first.params), never, at, first.step)
    return _in_place(runs, member_mesh(each)) if each > 1 else runs


def loss(
    net: Student, training: StudentTraining, lesson: Lesson, params: Any, lane: StudentLanes, done: jax.Array
) -> jax.Array:
    """Of one student in its batch after `done` steps: cross-entropy with labels or with the truth, in nats."""
    seeds, windows, positions = lesson.labels.shape
    held = -(-lane.size // positions)
    among_B = jax.random.randint(step_key(done, key=lane.seed), (training.batch_size,), 0, held)
    # Each seed begins elsewhere in the pool.
    rows_B = (among_B + lane.place * (windows // seeds)) % windows
    if training.devices_each > 1:
        among_B, rows_B = jax.lax.with_sharding_constraint((among_B, rows_B), P("shards"))
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

    mesh = member_mesh(training.devices_each, devices)
    alone: Callable[[Any], Any] = lambda tree: jax.tree.map(lambda leaf: leaf[None], tree)
    of: Callable[[Any], Any] = lambda tree: jax.tree.map(lambda leaf: leaf[0], tree)

    def one(lane: StudentLanes, params: Any, moments: Any, average: Any) -> tuple[Any, ...]:
        now = Networks(alone(params), alone(moments), runs.step, alone(average))
        now, losses_Sx1 = ensembles.advance(now, alone(lane), cost, DIRECTION, move, steps, averaging=AVERAGING)
        seen = _validated(net, of(now.average), lesson.validation_spelled, lesson.validation_truth)
        return of(now.params), of(now.moments), of(now.average), seen, jnp.mean(losses_Sx1)

    params, moments, average, validation, loss_L = _each(one, mesh, lanes, runs.params, runs.moments, runs.average)
    step = runs.step + steps
    best, least, when = dict(runs.best), dict(runs.validation), dict(runs.best_step)
    for name in CRITERIA:
        keep = functools.partial(_where, validation[name] < least[name])
        best[name] = jax.tree.map(keep, average, best[name])
        least[name], when[name] = keep(validation[name], least[name]), keep(step, when[name])
    runs = StudentStates(params, moments, average, best, least, when, step)
    return _in_place(runs, mesh) if training.devices_each > 1 else runs, loss_L


def _in_place(runs: StudentStates, mesh: Mesh) -> StudentStates:
    """Students in parts over the devices that share them, as `spread` places them."""

    def placed(leaf: jax.Array) -> jax.Array:
        place = NamedSharding(mesh, partition(leaf.shape, mesh.shape["shards"]))
        return jax.lax.with_sharding_constraint(leaf, place) if leaf.ndim else leaf

    found: StudentStates = jax.tree.map(placed, runs)
    return found


def _where(flags_L: jax.Array, new_Lx: jax.Array, old_Lx: jax.Array) -> jax.Array:
    return jnp.where(flags_L.reshape(-1, *[1] * (old_Lx.ndim - 1)), new_Lx, old_Lx)


def _each(one: Callable[..., Any], mesh: Mesh, *trees: Any) -> Any:
    """`one` of every lane: in turn on a processor, side by side on an accelerator; each group of devices has its own.

    How the devices of a group share a student is left to the compiler, which finds its parameters in parts there.
    """
    in_turn: Callable[..., Any] = lambda *lanes: jax.lax.map(lambda lane: one(*lane), lanes)
    on_devices = in_turn if mesh.devices.flat[0].platform == "cpu" else jax.vmap(one)
    spread = jax.shard_map(
        on_devices,
        mesh=mesh,
        axis_names={"members"} if mesh.shape["shards"] > 1 else frozenset(mesh.axis_names),
        in_specs=P("members"),
        out_specs=P("members"),
        check_vma=False,
    )
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
    begun, count, each = time.perf_counter(), len(lanes.seed), training.devices_each
    groups = len(jax.devices()) // each
    shapes = jax.eval_shape(functools.partial(start, net), lanes, lesson)
    runs, before = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes), np.zeros(1)
    if part.is_file():
        runs, before = load_tree(part, (runs, before))
    else:
        for group in _groups(count, training.at_once and groups * training.at_once):
            # Alone, all start on one device: their bits then do not depend on how many there are.
            some = spread(lanes, group, each) if each > 1 else jax.tree.map(operator.itemgetter(group), lanes)
            _place(runs, group, start(net, some, lesson, each=each))
    seconds: Callable[[], float] = lambda: float(before[0]) + time.perf_counter() - begun
    at_once = groups if jax.default_backend() == "cpu" else groups * (training.at_once or count)
    for since, until in stretches(training.checkpoint_every, training.steps):
        which = going_on(np.max(list(runs.best_step.values()), axis=0), since, STILL_LEARNING)
        while len(which) and (step := int(runs.step)) < until:
            ahead = min(training.checkpoint_every, until - step)
            for place in range(0, len(which), at_once):
                group = which[place : place + at_once]
                those, some = spread(lanes, group, each), spread(runs, group, each)
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


def _place(runs: StudentStates, group: np.ndarray, some: StudentStates) -> None:
    """Writes students as they are now into the arrays of all."""
    for old, new in zip(jax.tree.leaves(runs), jax.tree.leaves(some), strict=True):
        if old.ndim:
            old[group] = np.asarray(new)[: len(group)]


def _validated(net: Student, params: Any, spelled_WxTxJ: jax.Array, truth_WxPxK: jax.Array) -> dict[str, jax.Array]:
    """Errors of one student by each of `CRITERIA`, averaged over windows and positions."""

    def of_window(pair: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
        log_PxK = _log_probabilities(net, params, *pair)
        return {"squared": jnp.mean(_squared(log_PxK, pair[1])), "divergence": jnp.mean(_divergence(log_PxK, pair[1]))}

    seen: dict[str, jax.Array] = jax.lax.map(of_window, (spelled_WxTxJ, truth_WxPxK), batch_size=CHUNK)
    return {name: jnp.mean(error_W) for name, error_W in seen.items()}


@functools.partial(jax.jit, static_argnames=("net", "each"))
def errors(
    net: Student,
    params_L: Any,
    spelled_WxTxJ: jax.Array,
    truth_WxPxK: jax.Array,
    next_WxP: jax.Array,
    each: int = 1,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Of every student at every position, (L, W, P) each: how far it is from the truth, and how well it reads the text.

    Args:
      net: static.
      params_L: parameters of L students.
      spelled_WxTxJ, truth_WxPxK: windows and their truth.
      next_WxP: the outcome that came next in the text.
      each: static; devices that share a student.

    Returns:
      Squared distance to the truth; Kullback-Leibler divergence from it, in nats; cross-entropy of the text, in nats.
    """

    def of_student(params: Any) -> tuple[jax.Array, jax.Array, jax.Array]:
        def of_window(window: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array, jax.Array]:
            spelled_TxJ, truth_PxK, next_P = window
            log_PxK = _log_probabilities(net, params, spelled_TxJ, truth_PxK)
            text_P = -jnp.take_along_axis(log_PxK, next_P[:, None], axis=-1)[:, 0]
            return _squared(log_PxK, truth_PxK), _divergence(log_PxK, truth_PxK), text_P

        windows = spelled_WxTxJ, truth_WxPxK, next_WxP
        found: tuple[jax.Array, jax.Array, jax.Array] = jax.lax.map(of_window, windows, batch_size=CHUNK)
        return found

    found: tuple[jax.Array, jax.Array, jax.Array] = _each(of_student, member_mesh(each), params_L)
    return found


def errors_of_all(
    net: Student, training: StudentTraining, params_L: Any, *held: jax.Array
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`errors` of students whose parameters lie in the host's memory, so many at a time; float64."""
    found, each = [], training.devices_each
    most = training.at_once and training.at_once * len(jax.devices()) // each
    for group in _groups(len(jax.tree.leaves(params_L)[0]), most):
        some = errors(net, spread(params_L, group, each), *held, each=each)
        found.append([np.asarray(one, float)[: len(group)] for one in some])
    squared, divergence, text = map(np.concatenate, zip(*found, strict=True))
    return squared, divergence, text


def _log_probabilities(net: Student, params: Any, spelled_TxJ: jax.Array, truth_PxK: jax.Array) -> jax.Array:
    """At the labelled positions of a window, the last ones, (P, K)."""
    return cast(jax.Array, net.apply({"params": params}, spelled_TxJ[None]))[0, -len(truth_PxK) :]


def _squared(log_PxK: jax.Array, truth_PxK: jax.Array) -> jax.Array:
    return jnp.sum((jnp.exp(log_PxK) - truth_PxK) ** 2, axis=-1)


def _divergence(log_PxK: jax.Array, truth_PxK: jax.Array) -> jax.Array:
    return jnp.sum(jax.scipy.special.xlogy(truth_PxK, truth_PxK) - truth_PxK * log_PxK, axis=-1)
