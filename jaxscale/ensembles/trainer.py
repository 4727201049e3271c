"""Gradient descent of M networks side by side: vmapped over members, scanned over steps, averaged where asked for."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxscale.arguments import random_key

Params = Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Networks:
    """Networks in training, along the leading axis of every leaf but `step`.

    Attributes:
      params: of the networks.
      moments: the state of the optimizer.
      step: int32, steps done by all.
      average: of the parameters over about the last tenth of the steps done; None if it is not kept.
    """

    params: Params
    moments: Any
    step: jax.Array
    average: Params = None


def step_key(step: int | jax.Array, *, key: jax.Array | int) -> jax.Array:
    """The key of what a network draws at a step; its parameters are drawn from another.

    Args:
      step: steps done before.
      key: a JAX random key, or an int for `jax.random.key`. The network's own in `start`.
    """
    return jax.random.fold_in(jax.random.fold_in(random_key("key", key), 1), step)


def start(init: Callable[[jax.Array], Params], keys_M: jax.Array, optimizer: optax.GradientTransformation) -> Networks:
    """`Networks` before the first step.

    Args:
      init: parameters of one network from a key.
      keys_M: (M,) JAX random keys, or integers for `jax.random.key`. Networks of one key start from the same
        parameters.
      optimizer: such as a chain of `clip_by_global_norm` and `scale_by_adam`, without the learning rate.
    """
    params = jax.vmap(lambda key: init(jax.random.fold_in(random_key("key", key), 0)))(keys_M)
    return Networks(params, jax.vmap(optimizer.init)(params), jnp.zeros((), jnp.int32))


def advance(
    networks: Networks,
    members: Any,
    loss: Callable[[Params, Any, jax.Array, Any], jax.Array],
    optimizer: optax.GradientTransformation,
    move: Callable[[Params, Params, Any, jax.Array], Params],
    steps: int | None = None,
    draws: Any = None,
    averaging: int | None = None,
    moves: Params = None,
) -> tuple[Networks, jax.Array]:
    """`steps` more steps of all networks. Traceable: call it under `jit`.

    Args:
      networks: as they are.
      members: a tree of arrays (M, …), what the networks differ in.
      loss: of one network, from its parameters, its member, the steps done, and what was drawn for it.
      optimizer: that of `start`.
      move: parameters after a step, from those before, the optimizer's updates, the member and the steps done: learning
        rate, schedule and weight decay are here.
      steps: how many; needed where nothing is drawn ahead.
      draws: a tree of arrays (steps, M, …) drawn ahead; None where `loss` draws.
      averaging: average the parameters with weights that grow as this power of the step (Shamir & Zhang 2013,
        section 4): a run may then be stopped anywhere, though its rate has not come down. `networks` holds an average.
      moves: a tree of ones and zeros like one network's parameters: those that move. None: all.

    Returns:
      The networks, and the losses before each step, (steps, M).
    """

    def one(member: Any, params: Params, moments: Any, drawn: Any, step: jax.Array) -> tuple[Params, Any, jax.Array]:
        value, gradient = jax.value_and_grad(loss)(params, member, step, drawn)
        if moves is not None:
            gradient = jax.tree.map(jnp.multiply, gradient, moves)
        updates, moments = optimizer.update(gradient, moments)
        return move(params, updates, member, step), moments, value

    def of_all(now: Networks, drawn_M: Any) -> tuple[Networks, jax.Array]:
        in_axes = (0, 0, 0, None if drawn_M is None else 0, None)
        along = jax.vmap(one, in_axes=in_axes)
        params, moments, losses_M = along(members, now.params, now.moments, drawn_M, now.step)
        average = now.average
        if averaging is not None:
            share = (averaging + 1) / (now.step + averaging + 1)
            average = jax.tree.map(lambda mean, value: mean + share * (value - mean), average, params)
        return Networks(params, moments, now.step + 1, average), losses_M

    return jax.lax.scan(of_all, networks, draws, length=steps)
