"""One training step and one evaluation as sharded, jitted programs, shared by all runs of the same shape."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.models import Decoder, Execution
from jaxscale.training import optimizer as optimizers
from jaxscale.training.loss import mean_loss

# What value_and_grad makes of a loss: (params, (B, T+1) tokens) -> (loss, gradient).
ValueAndGrad = Callable[[Any, jax.Array], tuple[jax.Array, Any]]

# Steps before a gradient can be called a spike, and the share of a new one in the running mean it is held against.
SETTLED, NEW = 20, 0.05


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class State:
    """What a step changes.

    Attributes:
      params: float32 parameters.
      moments: the optimizer's state.
      step: int32 scalar, steps done.
      failed: int32 scalar, the step at which the run broke down, or -1; from then on nothing moves.
      skipped: int32 scalar, bad steps in a row whose update was left out.
      usual: float32 scalar, running mean of the gradient's norm.
    """

    params: Any
    moments: Any
    step: jax.Array
    failed: jax.Array
    skipped: jax.Array
    usual: jax.Array


@dataclasses.dataclass(frozen=True)
class Program:
    """The jitted functions of a model shape on a mesh."""

    model: Decoder
    mesh: Mesh
    init: Callable[[jax.Array], State]
    """key -> State"""
    step: jax.stages.Wrapped
    """(State, (B, T+1) tokens, rate) -> (State, {"train_loss", "gradient_norm", "skipped"}); the state is donated"""
    evaluate: jax.stages.Wrapped
    """(params, (N, B, T+1) tokens, (N, B) weights) -> mean loss, nats per token"""
    abstract: State
    """shapes, dtypes and shardings of a state"""


def program(run: configs.Run, vocab_size: int, mesh: Mesh) -> Program:
    """The `Program` of a `config.Run`; those that differ only in data, seed, length or learning rate share one."""
    training = run.training
    execution = Execution(mesh if mesh.size > 1 else None, training.remat)
    # Of the training's fields those that the program is made of.
    kept = ("accumulation", "loss_chunks", "bad_steps", "spike", "most_skipped")
    shape = dataclasses.replace(configs.Training(), **{name: getattr(training, name) for name in kept})
    return _program(run.model, vocab_size, _shape_of(run.optimizer), shape, execution, mesh)


def _shape_of(optimizer: configs.Optimizer) -> configs.Optimizer:
    """The optimizer with everything reset that only the learning rate's schedule depends on."""
    return dataclasses.replace(
        optimizer, learning_rate=1.0, schedule="constant", warmup_steps=0, decay_fraction=0.0, final_fraction=0.0
    )


@functools.lru_cache(maxsize=8)
def _program(
    model_config: configs.Decoder,
    vocab_size: int,
    optimizer: configs.Optimizer,
    training: configs.Training,
    execution: Execution,
    mesh: Mesh,
) -> Program:
    model = Decoder(model_config, vocab_size, execution)
    transform = optimizers.direction(optimizer)
    batches, everywhere = sharding.batch_sharding(mesh), NamedSharding(mesh, P())

    def init(key: jax.Array) -> State:
        params = model.init(key, jnp.zeros((1, model_config.context), jnp.int32))["params"]
        count: Callable[[int], jax.Array] = lambda value: jnp.full((), value, jnp.int32)
        return State(params, transform.init(params), count(0), count(-1), count(0), jnp.zeros(()))

    def step(state: State, tokens_BxT1: jax.Array, learning_rate: jax.Array) -> tuple[State, dict[str, jax.Array]]:
        loss = lambda params, tokens: jnp.mean(mean_loss(model, params, tokens, training.loss_chunks))
        value, gradient = _accumulated(jax.value_and_grad(loss), training.accumulation)(state.params, tokens_BxT1)
        norm = optax.tree.norm(gradient)
        updates, moments = transform.update(gradient, state.moments, state.params)
        params = jax.tree.map(lambda p, u: p - learning_rate * u, state.params, updates)
        finite = jnp.isfinite(value) & jnp.isfinite(norm) & jnp.isfinite(optax.tree.norm(params))
        new = _after(state, params, moments, norm, finite, training)
        return new, {"train_loss": value, "gradient_norm": norm, "skipped": new.skipped}

    def evaluate(params: Any, tokens_NxBxT1: jax.Array, weights_NxB: jax.Array) -> jax.Array:
        losses_NxB = jax.lax.map(lambda tokens: mean_loss(model, params, tokens, training.loss_chunks), tokens_NxBxT1)
        return jnp.sum(losses_NxB * weights_NxB) / jnp.sum(weights_NxB)

    abstract = jax.eval_shape(init, jax.random.key(0))
    shardings = sharding.state_shardings(abstract, mesh)
    rows = NamedSharding(mesh, P(None, *batches.spec))
    return Program(
        model,
        mesh,
        jax.jit(init, out_shardings=shardings),
        jax.jit(step, donate_argnums=0, in_shardings=(shardings, batches, None), out_shardings=(shardings, everywhere)),
        jax.jit(evaluate, in_shardings=(shardings.params, rows, rows), out_shardings=everywhere),
        jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings),
    )


def _after(
    state: State, params: Any, moments: Any, norm: jax.Array, finite: jax.Array, training: configs.Training
) -> State:
    """The state after a step that would make `params` and `moments`: these, or the old ones if the step was bad."""
    good = finite
    if training.spike:
        good &= (state.step < SETTLED) | (norm <= training.spike * state.usual)
    alive = state.failed < 0
    take = good & alive
    keep: Callable[[Any, Any], Any] = lambda new, old: jax.tree.map(lambda n, o: jnp.where(take, n, o), new, old)
    if training.bad_steps == "stop":
        skipped, broken, done = state.skipped, ~good, take
    else:
        skipped = jnp.where(take, 0, state.skipped + alive)
        broken = skipped >= training.most_skipped
        done = alive & ~broken
    usual = jnp.where(state.step == 0, norm, (1 - NEW) * state.usual + NEW * norm)
    return State(
        keep(params, state.params),
        keep(moments, state.moments),
        state.step + done,
        jnp.where(alive & broken, state.step, state.failed),
        skipped,
        keep(usual, state.usual),
    )


def _accumulated(value_and_grad: ValueAndGrad, parts: int) -> ValueAndGrad:
    """`value_and_grad` averaged over `parts` equal parts of the batch, one after the other."""
    if parts == 1:
        return value_and_grad

    def averaged(params: Any, tokens_BxT1: jax.Array) -> tuple[jax.Array, Any]:
        # Every part takes rows from all over the batch, so that each device keeps working on its own.
        tokens_PxBxT1 = tokens_BxT1.reshape(-1, parts, tokens_BxT1.shape[-1]).swapaxes(0, 1)
        add = lambda total, tokens: (jax.tree.map(jnp.add, total, value_and_grad(params, tokens)), None)
        zero = jax.tree.map(
            lambda a: jnp.zeros(a.shape, a.dtype), jax.eval_shape(value_and_grad, params, tokens_PxBxT1[0])
        )
        total, _ = jax.lax.scan(add, zero, tokens_PxBxT1)
        averages: tuple[jax.Array, Any] = jax.tree.map(lambda a: a / parts, total)
        return averages

    return averaged
