"""Gradient descent from a construction, or from random parameters of the same shape.

    start = network.variables()
    fitted = train(network.module(), start, x, y, parts="readout", steps=2000)
    fitted.params, fitted.losses

What may move is chosen by `parts`: the numbers that stand for values of the function, all matrices V, or everything.
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale import ensembles
from jaxscale.arguments import integer, random_key
from jaxscale.errors import InputError, RunError
from jaxscale.models import relu_transformer as rt

Parts = Literal["readout", "values", "all"]
CHUNK = 100  # steps between looks at the losses

# Clipped, since a batch with a large error would otherwise lead Adam's moments for many steps.
OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.scale_by_adam())


class Fitted(NamedTuple):
    """Parameters after training, as numpy, and the mean squared error on each step's batch before it."""

    params: dict[str, Any]
    losses: np.ndarray


def movable(params: dict[str, Any], parts: Parts) -> dict[str, Any]:
    """Which numbers training moves, as a tree of arrays of ones and zeros.

    "readout": the learned rows of tokens where there are such, else the entries of V that are not zero in the last
    block: the values of the function at grid points. "values": those rows, and every V. "all": everything.

    Raises:
      InputError: an unknown name.
    """
    if parts not in ("readout", "values", "all"):
        raise InputError(f"parts={parts!r} is not one of readout, values, all. Pass one of these.")
    last = max((name for name in params if name.startswith("block_")), key=lambda name: int(name.split("_")[1]))

    def moves(path: tuple[Any, ...], leaf: np.ndarray) -> np.ndarray:
        block, *rest = [key.key for key in path]
        if parts == "all" or block == "learned":
            return np.ones(leaf.shape, leaf.dtype)
        if parts == "values":
            return np.full(leaf.shape, float(rest[-1] == "value"), leaf.dtype)
        is_readout = "learned" not in params and block == last and rest[-1] == "value"
        return np.asarray((leaf != 0) & is_readout, leaf.dtype)

    masks: dict[str, Any] = jax.tree_util.tree_map_with_path(moves, params)
    return masks


def train(
    module: rt.ReluTransformer,
    variables: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    parts: Parts = "all",
    steps: int = 2000,
    learning_rate: float = 1e-3,
    batch: int = 256,
    *,
    key: jax.Array | int = 0,
) -> Fitted:
    """Minimizes the mean squared error on (x, y) by Adam with a cosine schedule and clipped gradients.

    Args:
      module: the network; its chunks bound the memory of the scores.
      variables: parameters to start from, and the fixed encoding; training is in their dtype.
      x: (n, D) points.
      y: (n,) values.
      parts: what moves; see `movable`.
      steps: of one batch each.
      learning_rate: at the start; falls to zero as a cosine.
      batch: points drawn for each step, with replacement; all points in order if there are no more.
      key: a JAX random key, or an int for `jax.random.key`. It draws the batches.

    Returns:
      `Fitted`.

    Raises:
      InputError: shapes that do not fit, or numbers out of range.
      RunError: the loss became infinite or nan.
    """
    fixed = variables["fixed"]
    starts, rates = [variables["params"]], [learning_rate]
    return train_each(module, starts, rates, fixed, x, y, parts, steps, batch, key=key)[0]


def train_each(
    module: rt.ReluTransformer,
    starts: list[dict[str, Any]],
    learning_rates: list[float],
    fixed: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    parts: Parts = "all",
    steps: int = 2000,
    batch: int = 256,
    *,
    key: jax.Array | int = 0,
) -> list[Fitted]:
    """`train` from each of `starts` at its own learning rate, side by side in one program, on the same batches.

    Which numbers move is read off the first start. A run whose loss became infinite or nan is returned as it is.

    Args:
      starts: parameters to start from.
      learning_rates: one each.
      fixed: the fixed encoding.
      module, x, y, parts, steps, batch: as for `train`.
      key: a JAX random key, or an int for `jax.random.key`. It draws the batches.

    Raises:
      InputError: as `train`.
      RunError: all runs diverged.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != (len(x),) or not len(x):
        raise InputError(f"x must be (n, D) and y (n,); they are {x.shape} and {y.shape}.")
    integer("steps", steps, 1)
    integer("batch", batch, 1)
    if not all(0 < rate < np.inf for rate in learning_rates):
        raise InputError(f"learning_rate={learning_rates} must be positive and finite. Pass such numbers.")
    dtype = jax.tree.leaves(starts[0])[0].dtype
    with jax.enable_x64(dtype == np.float64):
        params = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
        moments = jax.vmap(OPTIMIZER.init)(params)
        state = Descending(params, moments, np.zeros((steps, len(starts)), dtype), np.zeros((), np.int32))
        settings = jax.device_put(
            {
                "rate": np.asarray(learning_rates, dtype),
                "fixed": fixed,
                "mask": movable(starts[0], parts),
                "x": x.astype(dtype),
                "y": y.astype(dtype),
                "key": random_key("key", key),
            }
        )
        while (step := int(state.step)) < steps:
            count = min(CHUNK, steps - step)
            state = _advance(state, settings, module=module, batch=min(batch, len(x)), count=count)
            losses = np.asarray(state.losses[step : step + count])
            if not np.any(np.all(np.isfinite(losses), axis=0)):
                raise RunError(
                    f"the loss is {losses[~np.isfinite(losses)][0]} near step {step}. Use a smaller learning_rate, or "
                    "fewer parts."
                )
        params, losses = jax.tree.map(np.asarray, (state.params, state.losses))
        return [Fitted(jax.tree.map(lambda leaf, i=i: leaf[i], params), losses[:, i]) for i in range(len(starts))]


class Descending(NamedTuple):
    """R runs side by side: arrays led by R, losses (steps, R), steps done."""

    params: Any
    moments: Any
    losses: Any
    step: Any


@functools.partial(jax.jit, static_argnames=("module", "batch", "count"))
def _advance(
    state: Descending, settings: dict[str, Any], module: rt.ReluTransformer, batch: int, count: int
) -> Descending:
    """`count` steps more; the losses are those before each."""
    x, y, fixed, mask = (settings[name] for name in ("x", "y", "fixed", "mask"))
    steps = len(state.losses)

    def loss(params: Any, rows: jax.Array) -> jax.Array:
        predicted: Any = module.apply({"params": params, "fixed": fixed}, x[rows])
        return jnp.mean((predicted - y[rows]) ** 2)

    def of_batch(params: Any, _rate: jax.Array, step: jax.Array, _drawn: None) -> jax.Array:
        key = jax.random.fold_in(settings["key"], step)
        rows = jax.random.randint(key, (batch,), 0, len(x)) if batch < len(x) else jnp.arange(len(x))
        return loss(params, rows)

    def move(params: Any, updates: Any, rate: jax.Array, step: jax.Array) -> Any:
        rate = rate * 0.5 * (1 + jnp.cos(jnp.pi * step / steps)).astype(rate.dtype)
        return jax.tree.map(lambda value, update: value - rate * update, params, updates)

    now = ensembles.Networks(state.params, state.moments, state.step)
    now, losses = ensembles.advance(now, settings["rate"], of_batch, OPTIMIZER, move, count, moves=mask)
    losses = jax.lax.dynamic_update_slice_in_dim(state.losses, losses, state.step, axis=0)
    return Descending(now.params, now.moments, losses, now.step)


def random_params(
    module: rt.ReluTransformer, dtype: jax.typing.DTypeLike = np.float32, *, key: jax.Array | int
) -> dict[str, Any]:
    """Random parameters of the module's shape, as `module.init` draws them.

    Args:
      module: the network.
      dtype: of the parameters.
      key: a JAX random key, or an int for `jax.random.key`.
    """
    with jax.enable_x64(dtype == np.float64):
        points = np.zeros((1, len(module.shape.inputs)), dtype)
        drawn = jax.jit(module.clone(dtype=dtype).init)(random_key("key", key), points)
        params: dict[str, Any] = jax.tree.map(np.asarray, drawn["params"])
        return params


def mean_squared_error(module: rt.ReluTransformer, variables: dict[str, Any], x: np.ndarray, y: np.ndarray) -> float:
    """Of the network on points (n, D) with values (n,)."""
    dtype = jax.tree.leaves(variables["params"])[0].dtype
    with jax.enable_x64(dtype == np.float64):
        return float(_mean_squared_error(module, variables, np.asarray(x, dtype), np.asarray(y, dtype)))


@functools.partial(jax.jit, static_argnums=0)
def _mean_squared_error(module: rt.ReluTransformer, variables: dict[str, Any], x: jax.Array, y: jax.Array) -> jax.Array:
    predicted: Any = module.apply(variables, x)
    return jnp.mean((predicted - y) ** 2)
