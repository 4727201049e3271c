"""Regressors of one width trained as one program: sizes, seeds, rates and weight decays along one axis.

    lanes = Lanes(problem, seed, size, noisy, learning_rate, weight_decay)      # L of each
    runs = start(net, lanes, coordinates=8)
    runs, losses_L = advance(net, training, objective, problems, lanes, runs, steps=150)

Training sets of all sizes are the first points of one pool, so their number is a number and not a shape. A batch is a
function of (seed, step): a run is the same to the last bit however often it is interrupted. Lanes lie along devices.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import optax

from jaxscale import ensembles
from jaxscale.ensembles import Networks, step_key
from jaxscale.models.regressor import Regressor
from jaxscale.studies.manifolds.config import Objective, PointTraining
from jaxscale.studies.manifolds.problem import Problem, entropy, loss

WARM_UP = 0.05
DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.99))
# The power of the step by which parameters are averaged (`ensembles.advance`).
AVERAGING = 8
# Points a network is evaluated on at a time.
CHUNK = 256


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Lanes:
    """What runs of one width differ in, L of each.

    Attributes:
      problem: (L,) int32, the place of the seed's problem among the stacked ones.
      seed: (L,) int32, of parameters and batches.
      size: (L,) int32, n.
      noisy: (L,) bool, whether labels are trained on, or the truth.
      learning_rate, weight_decay: (L,) float32.
    """

    problem: jax.Array
    seed: jax.Array
    size: jax.Array
    noisy: jax.Array
    learning_rate: jax.Array
    weight_decay: jax.Array


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LaneStates:
    """Networks in training along the leading axis of every leaf but `step`.

    Attributes:
      params, moments: of networks and optimizer.
      average: of parameters, over about the last tenth of the steps done.
      best: averages of least validation loss.
      validation: (L,) that loss; infinite before the first look, and where it never was finite.
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


@functools.partial(jax.jit, static_argnames=("net", "coordinates"))
def start(net: Regressor, lanes: Lanes, coordinates: int) -> LaneStates:
    """`LaneStates` before the first step, of networks that read points of so many `coordinates`."""
    x_1xD = jnp.zeros((1, coordinates))
    first = ensembles.start(lambda key: net.init(key, x_1xD)["params"], lanes.seed, DIRECTION)
    never = jnp.full(lanes.seed.shape, jnp.inf), jnp.zeros_like(lanes.seed)
    return LaneStates(first.params, first.moments, first.params, first.params, *never, first.step)


@functools.partial(jax.jit, static_argnames=("net", "training", "objective", "steps"), donate_argnames="runs")
def advance(
    net: Regressor,
    training: PointTraining,
    objective: Objective,
    problems: Problem,
    lanes: Lanes,
    runs: LaneStates,
    steps: int,
) -> tuple[LaneStates, jax.Array]:
    """`steps` more steps of all runs, and a look at their validation loss.

    Args:
      net: a `Regressor`; static, as are the next two and `steps`.
      training: a `studies.PointTraining`.
      objective: "squared_error" or "cross_entropy".
      problems: stacked `Problem`s.
      lanes, runs: as above; `runs` is donated.
      steps: how many.

    Returns:
      The runs, and the mean training loss of each over these steps, (L,).
    """

    def cost(params: Any, lane: Lanes, done: jax.Array, _: None) -> jax.Array:
        rows_B = jax.random.randint(step_key(done, key=lane.seed), (training.batch_size,), 0, lane.size)
        of: Callable[[jax.Array], jax.Array] = lambda pool: pool[lane.problem, rows_B]
        targets_BxO = jnp.where(lane.noisy, of(problems.labels), of(problems.truth))
        outputs_BxO = cast(jax.Array, net.apply({"params": params}, of(problems.points)))
        return jnp.mean(loss(objective, outputs_BxO, targets_BxO))

    def move(params: Any, updates: Any, lane: Lanes, done: jax.Array) -> Any:
        rate = lane.learning_rate * schedule(done / training.steps)
        decayed: Callable[[jax.Array], jax.typing.ArrayLike] = lambda value: (
            lane.weight_decay * value if value.ndim > 1 else 0.0
        )
        return jax.tree.map(lambda value, update: value - rate * (update + decayed(value)), params, updates)

    now = Networks(runs.params, runs.moments, runs.step, runs.average)
    now, losses_SxL = ensembles.advance(now, lanes, cost, DIRECTION, move, steps, averaging=AVERAGING)
    average, done = now.average, now.step
    validation_L = _mean_loss(net, objective, lanes, average, problems.validation_points, problems.validation_labels)
    better_L = validation_L < runs.validation
    keep: Callable[[jax.Array, jax.Array], jax.Array] = lambda new, old: jnp.where(
        better_L.reshape(-1, *[1] * (new.ndim - 1)), new, old
    )
    best = jax.tree.map(keep, average, runs.best)
    runs = LaneStates(
        now.params, now.moments, average, best, keep(validation_L, runs.validation), keep(done, runs.best_step), done
    )
    return runs, jnp.mean(losses_SxL, axis=0)


@functools.partial(jax.jit, static_argnames=("net", "objective"))
def errors(net: Regressor, objective: Objective, problems: Problem, lanes: Lanes, runs: LaneStates) -> jax.Array:
    """Mean excess loss of the best parameters over the truth at the test points, (L,): the floor taken off exactly."""
    least_S = jnp.mean(entropy(objective, problems.test_truth), axis=-1)
    loss_L = _mean_loss(net, objective, lanes, runs.best, problems.test_points, problems.test_truth)
    return loss_L - least_S[lanes.problem]


def schedule(done: jax.Array) -> jax.Array:
    """Share of the peak rate after a share of the steps: a linear rise, then half a cosine down to zero."""
    return jnp.minimum(
        (done + 1e-3) / WARM_UP, 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((done - WARM_UP) / (1 - WARM_UP), 0, 1)))
    )


def _mean_loss(
    net: Regressor, objective: Objective, lanes: Lanes, params: Any, points_SxNxD: jax.Array, targets_SxNxO: jax.Array
) -> jax.Array:
    """Of every lane's network on its problem, (L,)."""

    def one(lane: Lanes, params: Any) -> jax.Array:
        of_point = lambda pair: loss(objective, net.apply({"params": params}, pair[0][None])[0], pair[1])
        pairs = points_SxNxD[lane.problem], targets_SxNxO[lane.problem]
        return jnp.mean(jax.lax.map(of_point, pairs, batch_size=min(CHUNK, points_SxNxD.shape[1])))

    return jax.vmap(one)(lanes, params)
