"""Many limit transformers trained as one program: task parameters, train lengths and seeds along one axis.

    cells = Cells(task=SimpleTask(omega=jnp.array([4.0, 8.0])), length=jnp.array([16, 16]), seed=jnp.array([0, 0]))
    runs = start(net, cells)
    runs, losses_C = advance(net, studies.LengthTraining(), "fixed", 16, cells, runs, steps=1000)

Strings are drawn on device at every step from (seed, step), so a run is a function of its cell and of nothing else: it
is the same to the last bit however often it is interrupted. Runs of one seed share initial parameters.

Learning rates follow maximal update parametrization (Yang et al. 2021): those of matrices fall with the width read.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast

import jax
import jax.numpy as jnp
import optax

from jaxscale import ensembles
from jaxscale.arguments import random_key
from jaxscale.ensembles import step_key
from jaxscale.lengths.kgram import KGramTask
from jaxscale.lengths.tasks import ModPTask, SimpleTask
from jaxscale.lengths.transformer import LimitTransformer

# Learning rates are stated for matrices that read this many coordinates.
BASE_WIDTH = 16
WARM_UP = 0.05
MATRICES = ("query", "key", "value", "up", "down", "unembed")
DIRECTION = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam(b1=0.9, b2=0.99))


class Recipe(Protocol):
    """How to train, as `studies.LengthTraining` says it."""

    @property
    def steps(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    @property
    def learning_rate(self) -> float: ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cells:
    """What the runs of a sweep differ in, C of each.

    Attributes:
      task: a task whose parameters have a leading axis.
      length: (C,) int32, the train length N.
      seed: (C,) int32, of parameters and strings.
    """

    task: Any
    length: jax.Array
    seed: jax.Array


@functools.partial(jax.jit, static_argnums=0)
def start(net: LimitTransformer, cells: Cells) -> ensembles.Networks:
    """`ensembles.Networks` before the first step."""
    init = lambda key: net.init(key, jnp.zeros(1, jnp.int32))["params"]
    return ensembles.start(init, cells.seed, DIRECTION)


@functools.partial(jax.jit, static_argnames=("net", "training", "train_on", "size", "steps"), donate_argnames="runs")
def advance(
    net: LimitTransformer,
    training: Recipe,
    train_on: Literal["fixed", "up_to"],
    size: int,
    cells: Cells,
    runs: ensembles.Networks,
    steps: int,
) -> tuple[ensembles.Networks, jax.Array]:
    """`steps` more steps of all runs.

    Args:
      net: the `LimitTransformer`; static, as are the next three and `steps`.
      training: a `studies.LengthTraining`.
      train_on: "fixed" for strings of N tokens, "up_to" for every length the task has up to N, all alike.
      size: the largest N, room for the strings of tasks that need them.
      cells, runs: as above; `runs` is donated.
      steps: how many.

    Returns:
      The runs, and the mean training loss of each over these steps, (C,).
    """

    def loss(params: Any, cell: Cells, step: jax.Array, _: None) -> jax.Array:
        key = step_key(step, key=cell.seed)
        return batch_loss(net, params, cell.task, cell.length, train_on, size, training.batch_size, key=key)

    def move(params: Any, updates: Any, _: Cells, step: jax.Array) -> Any:
        rate = learning_rate(training, step)
        moved = lambda path, value, update: value - rate * multiplier(path, value) * update
        return jax.tree_util.tree_map_with_path(moved, params, updates)

    runs, losses_SxC = ensembles.advance(runs, cells, loss, DIRECTION, move, steps)
    return runs, jnp.mean(losses_SxC, axis=0)


def batch_loss(
    net: LimitTransformer,
    params: Any,
    task: SimpleTask | ModPTask | KGramTask,
    length: jax.Array,
    train_on: Literal["fixed", "up_to"],
    size: int,
    batch_size: int,
    *,
    key: jax.Array | int,
) -> jax.Array:
    """Mean squared error, summed over the outputs, on strings drawn afresh.

    Args:
      net: the `LimitTransformer`.
      params: its parameters.
      task: of the strings.
      length: their length.
      train_on, size: as in `advance`.
      batch_size: strings.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    keys_B = jax.random.split(random_key("key", key), batch_size)
    apply = cast(Callable[..., jax.Array], functools.partial(net.apply, {"params": params}))
    if isinstance(task, KGramTask):

        def one(key: jax.Array) -> tuple[jax.Array, jax.Array]:
            tokens_T = task.sample(size, size, key=key)
            target = task.prefix_targets(tokens_T)
            position_T = jnp.arange(1, size + 1)
            trained_T = target.valid & ((position_T == length) if train_on == "fixed" else (position_T <= length))
            return jnp.sum((apply(tokens_T, method="prefixes") - target.value) ** 2, axis=1), trained_T

        errors_BxT, trained_BxT = jax.vmap(one)(keys_B)
        return jnp.sum(errors_BxT * trained_BxT) / jnp.maximum(jnp.sum(trained_BxT), 1)

    def one_statistic(key: jax.Array) -> jax.Array:
        key_length, key_string = jax.random.split(key)
        drawn = length if train_on == "fixed" else jax.random.randint(key_length, (), task.shortest, length + 1)
        seen = task.sample_statistics(drawn, key=key_string)
        return jnp.sum((apply(seen, method="summarized") - task.target_of(seen).value) ** 2)

    return jnp.mean(jax.vmap(one_statistic)(keys_B))


def learning_rate(training: Recipe, step: jax.Array) -> jax.Array:
    """Linear warm-up over a twentieth of the steps, then half a cosine down to zero."""
    done = step / training.steps
    rise = jnp.minimum((step + 1) / jnp.maximum(WARM_UP * training.steps, 1), 1)
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((done - WARM_UP) / (1 - WARM_UP), 0, 1)))
    return training.learning_rate * rise * fall


def multiplier(path: jax.tree_util.KeyPath[Any], value: jax.Array) -> float:
    """Of the learning rate of one parameter: a matrix's is inverse to the coordinates it reads."""
    name = path[-1].key
    return BASE_WIDTH / value.shape[-2] if name in MATRICES else 1.0
