"""Regressors of one width trained as one program: sizes, seeds, rates and weight decays along one axis.

    lanes = Lanes(...)                                          # L of each
    runs = start(net, lanes, width_of_points=8)
    runs, losses_L = advance(net, training, objective, problems, lanes, runs, steps=150)

Training sets of all sizes are the first points of one pool, so their number is a number and not a shape. A batch is a
function of (seed, step): a run is the same to the last bit however often it is interrupted. Lanes lie along devices.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale.studies.manifolds.problem import entropy, loss

WARM_UP = 0.05
DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.99))
# Parameters are averaged with weights that grow as this power of the step (Shamir & Zhang 2013, section 4), so that a
# run may be stopped anywhere, with no need that its rate had come down.
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
class Runs:
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


def spread(tree, which):
    """The lanes `which` of a `Lanes` or a `Runs`, the last one repeated till they divide the devices, along them."""
    devices = jax.devices()
    rows = np.asarray(which)[np.minimum(np.arange(-(-len(which) // len(devices)) * len(devices)), len(which) - 1)]
    sharding = NamedSharding(Mesh(np.array(devices), "lanes"), P("lanes"))
    return jax.tree.map(lambda leaf: jax.device_put(leaf[rows], sharding) if np.ndim(leaf) else np.asarray(leaf), tree)


def put(runs, which, some):
    """`runs` with the lanes `which` as they are in `some`, which `spread` made of them; in memory of the host."""

    def placed(leaf, new):
        leaf, new = np.array(leaf), np.asarray(new)
        if leaf.ndim:
            leaf[which] = new[: len(which)]
        return leaf if leaf.ndim else new

    return jax.tree.map(placed, runs, some)


def going_on(runs, since):
    """Which lanes are worth more steps: those that did best in the later half of the first `since` steps, or after.

    A lane that is left alone does not change, so that what goes on from a checkpoint finds the same ones.
    """
    return np.flatnonzero(2 * np.asarray(runs.best_step) >= since)


@functools.partial(jax.jit, static_argnames=("net", "coordinates"))
def start(net, lanes, coordinates):
    """`Runs` before the first step, of networks that read points of so many `coordinates`."""
    x_1xD = jnp.zeros((1, coordinates))
    params = jax.vmap(lambda seed: net.init(jax.random.fold_in(jax.random.key(seed), 0), x_1xD)["params"])(lanes.seed)
    never = jnp.full(lanes.seed.shape, jnp.inf), jnp.zeros_like(lanes.seed)
    return Runs(params, jax.vmap(DIRECTION.init)(params), params, params, *never, jnp.zeros((), jnp.int32))


@functools.partial(jax.jit, static_argnames=("net", "training", "objective", "steps"), donate_argnames="runs")
def advance(net, training, objective, problems, lanes, runs, steps):
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

    def step(carry, _):
        params, moments, average, done = carry

        def one(lane, params, moments):
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(lane.seed), 1), done)
            rows_B = jax.random.randint(key, (training.batch_size,), 0, lane.size)
            of = lambda pool: pool[lane.problem, rows_B]
            targets_BxO = jnp.where(lane.noisy, of(problems.labels), of(problems.truth))
            cost = lambda params: jnp.mean(
                loss(objective, net.apply({"params": params}, of(problems.points)), targets_BxO)
            )
            value, gradient = jax.value_and_grad(cost)(params)
            updates, moments = DIRECTION.update(gradient, moments)
            rate = lane.learning_rate * schedule(done / training.steps)

            def moved(value, update):
                decay = lane.weight_decay * value if value.ndim > 1 else 0.0
                return value - rate * (update + decay)

            return jax.tree.map(moved, params, updates), moments, value

        params, moments, losses_L = jax.vmap(one)(lanes, params, moments)
        share = (AVERAGING + 1) / (done + AVERAGING + 1)
        average = jax.tree.map(lambda mean, value: mean + share * (value - mean), average, params)
        return (params, moments, average, done + 1), losses_L

    carry = runs.params, runs.moments, runs.average, runs.step
    (params, moments, average, done), losses_SxL = jax.lax.scan(step, carry, None, steps)
    validation_L = _mean_loss(net, objective, lanes, average, problems.validation_points, problems.validation_labels)
    better_L = validation_L < runs.validation
    keep = lambda new, old: jnp.where(better_L.reshape(-1, *[1] * (new.ndim - 1)), new, old)
    best = jax.tree.map(keep, average, runs.best)
    runs = Runs(params, moments, average, best, keep(validation_L, runs.validation), keep(done, runs.best_step), done)
    return runs, jnp.mean(losses_SxL, axis=0)


@functools.partial(jax.jit, static_argnames=("net", "objective"))
def errors(net, objective, problems, lanes, runs):
    """Mean excess loss of the best parameters over the truth at the test points, (L,): the floor taken off exactly."""
    least_S = jnp.mean(entropy(objective, problems.test_truth), axis=-1)
    loss_L = _mean_loss(net, objective, lanes, runs.best, problems.test_points, problems.test_truth)
    return loss_L - least_S[lanes.problem]


def schedule(done):
    """Share of the peak rate after a share of the steps: a linear rise, then half a cosine down to zero."""
    return jnp.minimum(
        (done + 1e-3) / WARM_UP, 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((done - WARM_UP) / (1 - WARM_UP), 0, 1)))
    )


def _mean_loss(net, objective, lanes, params, points_SxNxD, targets_SxNxO):
    """Of every lane's network on its problem, (L,)."""

    def one(lane, params):
        of_point = lambda pair: loss(objective, net.apply({"params": params}, pair[0][None])[0], pair[1])
        pairs = points_SxNxD[lane.problem], targets_SxNxO[lane.problem]
        return jnp.mean(jax.lax.map(of_point, pairs, batch_size=min(CHUNK, points_SxNxD.shape[1])))

    return jax.vmap(one)(lanes, params)
