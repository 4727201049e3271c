"""Gradient descent from a construction, or from random parameters of the same shape.

    start = network.variables()
    fitted = train(network.module(), start, x, y, parts="readout", steps=2000)
    fitted.params, fitted.losses

What may move is chosen by `parts`: the numbers that stand for values of the function, all matrices V, or everything.
"""

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale.errors import InputError, RunError
from jaxscale.models import relu_transformer as rt

Parts = Literal["readout", "values", "all"]
CHUNK = 100  # steps between reports


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

    def moves(path, leaf):
        block, *rest = [key.key for key in path]
        if parts == "all" or block == "learned":
            return np.ones(leaf.shape, leaf.dtype)
        if parts == "values":
            return np.full(leaf.shape, float(rest[-1] == "value"), leaf.dtype)
        is_readout = "learned" not in params and block == last and rest[-1] == "value"
        return np.asarray((leaf != 0) & is_readout, leaf.dtype)

    return jax.tree_util.tree_map_with_path(moves, params)


def train(
    module: rt.ReluTransformer,
    variables: dict[str, Any],
    x: np.ndarray,
    y: np.ndarray,
    parts: Parts = "all",
    steps: int = 2000,
    learning_rate: float = 1e-3,
    batch: int = 256,
    seed: int = 0,
    report: Callable[..., None] = lambda **values: None,
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
      seed: of the draws.
      report: called every hundred steps with step, steps and train_loss.

    Returns:
      `Fitted`.

    Raises:
      InputError: shapes that do not fit, or numbers out of range.
      RunError: the loss became infinite or nan.
    """
    x, y = np.asarray(x), np.asarray(y)
    if x.ndim != 2 or y.shape != (len(x),) or not len(x):
        raise InputError(f"x must be (n, D) and y (n,); they are {x.shape} and {y.shape}.")
    if steps < 1 or batch < 1 or not learning_rate > 0:
        raise InputError(f"steps={steps}, batch={batch} and learning_rate={learning_rate} must be positive.")
    params = variables["params"]
    dtype = jax.tree.leaves(params)[0].dtype
    with jax.enable_x64(dtype == np.float64):
        optimizer = optax.chain(
            optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps))
        )
        mask = jax.device_put(movable(params, parts))
        data = jax.device_put((x.astype(dtype), y.astype(dtype)))
        params, fixed = jax.device_put(params), jax.device_put(variables["fixed"])
        state, key, losses = optimizer.init(params), jax.random.key(seed), []
        run = functools.partial(_steps, module=module, optimizer=optimizer, batch=min(batch, len(x)))
        for start in range(0, steps, CHUNK):
            count = min(CHUNK, steps - start)
            params, state, found = run(params, state, fixed, mask, data, jax.random.fold_in(key, start), count=count)
            losses.append(np.asarray(found))
            if not np.all(np.isfinite(losses[-1])):
                raise RunError(
                    f"the loss is {losses[-1][~np.isfinite(losses[-1])][0]} near step {start}. Use a smaller "
                    "learning_rate, or fewer parts."
                )
            report(step=start + count, steps=steps, train_loss=float(losses[-1].mean()))
        return Fitted(jax.tree.map(np.asarray, params), np.concatenate(losses))


@functools.partial(jax.jit, static_argnames=("module", "optimizer", "batch", "count"))
def _steps(params, state, fixed, mask, data, key, module, optimizer, batch, count):
    """`count` steps; the losses are those before each."""
    x, y = data

    def loss(params, rows):
        predicted = module.apply({"params": params, "fixed": fixed}, x[rows])
        return jnp.mean((predicted - y[rows]) ** 2)

    def step(carry, key):
        params, state = carry
        rows = jax.random.randint(key, (batch,), 0, len(x)) if batch < len(x) else jnp.arange(len(x))
        value, gradient = jax.value_and_grad(loss)(params, rows)
        gradient = jax.tree.map(jnp.multiply, gradient, mask)
        updates, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, updates), state), value

    (params, state), losses = jax.lax.scan(step, (params, state), jax.random.split(key, count))
    return params, state, losses


def random_params(module: rt.ReluTransformer, seed: int, dtype=np.float32) -> dict[str, Any]:
    """Random parameters of the module's shape, as `module.init` draws them."""
    with jax.enable_x64(dtype == np.float64):
        points = np.zeros((1, len(module.shape.inputs)), dtype)
        drawn = jax.jit(module.clone(dtype=dtype).init)(jax.random.key(seed), points)
        return jax.tree.map(np.asarray, drawn["params"])


def root_mean_square_error(module: rt.ReluTransformer, variables: dict[str, Any], x, y) -> float:
    """Of the network on points (n, D) with values (n,)."""
    dtype = jax.tree.leaves(variables["params"])[0].dtype
    with jax.enable_x64(dtype == np.float64):
        predicted = jax.jit(module.apply)(variables, np.asarray(x, dtype))
        return float(jnp.sqrt(jnp.mean((predicted - np.asarray(y, dtype)) ** 2)))
