"""Steps and evaluations of many runs of one shape as one program: their states stacked, divided over the devices.

    many = stacked_program(run, vocab_size, mesh)
    states = many.stack([many.one.init(key) for key in keys])
    states, values = many.advance(states, tokens_RxSxBxT1, rates_RxS, counts_R)

Every device works on its own runs, so nothing travels between them, and no run's numbers enter another's.

Letters in names: R runs, S steps, B batch, T tokens, N batches of an evaluation.
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import sharding
from jaxscale.training.step import Program, State, program

# How a device goes through its runs: one at a time, or all in one batched step. A processor is busy with one small run,
# and its caches hold one; an accelerator is not.
Layout = Literal["in turn", "side by side"]
# What a step or an evaluation tells, by name.
Told = dict[str, jax.Array]
# Of one run: (state, tokens, rate) -> (state, what it tells), and (params, tokens, weights) -> loss.
Step = Callable[[State, jax.Array, jax.Array], tuple[State, Told]]
Evaluate = Callable[[Any, jax.Array, jax.Array], jax.Array]
# Of all runs: (states, tokens, rates, counts) -> (states, what they tell), (params, due, tokens, weights) -> losses.
Advance = Callable[[State, jax.Array, jax.Array, jax.Array], tuple[State, Told]]
Look = Callable[[Any, jax.Array, jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class StackedProgram:
    """The jitted functions of many runs of one shape on a mesh of replicas."""

    one: Program
    """a single run on a single device of this process"""
    mesh: Mesh
    layout: Layout
    advance: Advance
    """(states, (R, S, B, T+1) tokens, (R, S) rates, (R,) counts) -> (states, {name: (R, S)}): run r makes its first
    counts[r] steps and keeps still for the rest; values of steps not made are 0; the states are donated"""
    evaluate: Callable[..., tuple[State, Told]]
    """(states, best, (R,) losses to beat, (R,) whether to look, tokens, weights) -> (best, {"loss", "failed", "step"}):
    losses of the runs looked at (others: nan) and, in `best`, the states that beat theirs; `best` is donated"""
    pick: Callable[[State, int], State]
    """(states, r) -> the state of run r, on every device"""

    @property
    def runs(self) -> int:
        """Runs are stacked in multiples of this many, one for each device."""
        devices: int = self.mesh.shape["replica"]
        return devices

    def place(self, array_of_runs: np.ndarray) -> jax.Array:
        """Host arrays with a leading axis of R runs, divided over the devices."""
        return self.build(array_of_runs.shape, lambda runs: array_of_runs[runs])

    def build(self, shape: tuple[int, ...], of_runs: Callable[[slice], np.ndarray]) -> jax.Array:
        """An array (R, …) whose part for a device `of_runs` makes, given a slice of the runs."""

        def part(index: tuple[slice, ...] | None) -> np.ndarray:
            return of_runs(cast(tuple[slice, ...], index)[0])

        return jax.make_array_from_callback(shape, NamedSharding(self.mesh, P("replica")), part)

    def stack(self, states: Sequence[State]) -> State:
        """States of single runs, stacked; repeated ones fill up the last device."""
        host = jax.device_get(states)
        host += host[:1] * (-len(host) % self.runs)
        stacked: State = jax.tree.map(lambda *leaves: self.place(np.stack(leaves)), *host)
        return stacked

    def where_one(self) -> State:
        """Shapes of the state that `pick` returns, to restore a checkpoint with."""
        everywhere = NamedSharding(self.mesh, P())
        shapes: State = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=everywhere), self.one.abstract
        )
        return shapes


def default_layout() -> Layout:
    """What is faster on this backend: see `benchmarks/sweeps.py`."""
    return "in turn" if jax.default_backend() == "cpu" else "side by side"


def stacked_program(run: configs.Run, vocab_size: int, mesh: Mesh, layout: Layout | None = None) -> StackedProgram:
    """The `StackedProgram` of runs with the shape of `run`, a `config.Run`.

    Args:
      run: any of the runs.
      vocab_size: of the tokenizer.
      mesh: of `sharding.make_mesh`, with no other axis than replicas.
      layout: default what is faster on this backend.
    """
    return _stacked_program(shape_of(run), vocab_size, mesh, layout or default_layout())


def shape_of(run: configs.Run) -> configs.Run:
    """A `config.Run` with everything reset in which runs of one program may differ: data, seed, length and rates."""
    optimizer = dataclasses.replace(
        run.optimizer, learning_rate=1.0, schedule="constant", warmup_steps=0, decay_fraction=0.0, final_fraction=0.0
    )
    training = dataclasses.replace(run.training, steps=1, epochs=None, patience=0)
    return dataclasses.replace(run, tokens=None, seed=0, optimizer=optimizer, training=training)


@functools.lru_cache(maxsize=8)
def _stacked_program(shape: configs.Run, vocab_size: int, mesh: Mesh, layout: Layout) -> StackedProgram:
    one = program(shape, vocab_size, sharding.make_mesh(configs.Mesh(), jax.local_devices()[:1]))
    in_turn = layout == "in turn"
    step, evaluate = inspect.unwrap(one.step), inspect.unwrap(one.evaluate)
    advance = (_advance_in_turn if in_turn else _advance_side_by_side)(step)
    look = (_evaluate_in_turn if in_turn else _evaluate_side_by_side)(evaluate)

    def evaluate_and_keep(
        states: State,
        best: State,
        beaten_R: jax.Array,
        due_R: jax.Array,
        tokens_NxBxT1: jax.Array,
        weights_NxB: jax.Array,
    ) -> tuple[State, Told]:
        losses_R = look(states.params, due_R, tokens_NxBxT1, weights_NxB)
        better_R = (states.failed < 0) & (losses_R < beaten_R)  # not of nan
        best = jax.tree.map(lambda new, old: jnp.where(_along(better_R, new), new, old), states, best)
        return best, {"loss": losses_R, "failed": states.failed, "step": states.step}

    runs, all_runs = NamedSharding(mesh, P("replica")), NamedSharding(mesh, P())
    on_each = functools.partial(jax.shard_map, mesh=mesh, check_vma=False)
    divided = on_each(evaluate_and_keep, in_specs=(P("replica"),) * 4 + (P(),) * 2, out_specs=P("replica"))
    return StackedProgram(
        one,
        mesh,
        layout,
        jax.jit(
            on_each(advance, in_specs=P("replica"), out_specs=P("replica")),
            donate_argnums=0,
            out_shardings=(runs, all_runs),
        ),
        jax.jit(divided, donate_argnums=1, out_shardings=(runs, all_runs)),
        jax.jit(lambda states, r: jax.tree.map(lambda a: a[r], states), out_shardings=all_runs),
    )


def _along(flags_R: jax.Array, array_Rx: jax.Array) -> jax.Array:
    return flags_R.reshape(flags_R.shape + (1,) * (array_Rx.ndim - 1))


def _advance_in_turn(step: Step) -> Advance:
    """Each run makes all its steps before the next one begins; one that makes none costs nothing."""

    def of_run(run: tuple[State, jax.Array, jax.Array, jax.Array]) -> tuple[State, Told]:
        state, tokens_SxBxT1, rates_S, count = run

        def at(i: jax.Array, carried: tuple[State, Told]) -> tuple[State, Told]:
            state, values_S = carried
            state, values = step(state, tokens_SxBxT1[i], rates_S[i])
            return state, {name: values_S[name].at[i].set(value) for name, value in values.items()}

        after: tuple[State, Told] = lax.fori_loop(0, count, at, (state, _no_values(step, *run)))
        return after

    return lambda *runs: lax.map(of_run, runs)


def _advance_side_by_side(step: Step) -> Advance:
    """All runs make a step at a time; those that have made theirs keep still."""

    def of_runs(
        states: State, tokens_RxSxBxT1: jax.Array, rates_RxS: jax.Array, counts_R: jax.Array
    ) -> tuple[State, Told]:
        empty = jax.vmap(functools.partial(_no_values, step))(states, tokens_RxSxBxT1, rates_RxS, counts_R)

        def at(i: jax.Array, carried: tuple[State, Told]) -> tuple[State, Told]:
            states, values_RxS = carried
            moves_R = i < counts_R
            # A run that has failed does not move, which is what one that waits must do.
            held = dataclasses.replace(states, failed=jnp.where(moves_R, states.failed, 0))
            new, values = jax.vmap(step)(held, tokens_RxSxBxT1[:, i], rates_RxS[:, i])
            new = dataclasses.replace(new, failed=jnp.where(moves_R, new.failed, states.failed))
            return new, {n: values_RxS[n].at[:, i].set(jnp.where(moves_R, v, 0)) for n, v in values.items()}

        after: tuple[State, Told] = lax.fori_loop(0, jnp.max(counts_R), at, (states, empty))
        return after

    return of_runs


def _no_values(step: Step, state: State, tokens_SxBxT1: jax.Array, rates_S: jax.Array, _: jax.Array) -> Told:
    """Zeros for what each of S steps will tell."""
    told = jax.eval_shape(step, state, tokens_SxBxT1[0], rates_S[0])[1]
    return {name: jnp.zeros((len(rates_S),), value.dtype) for name, value in told.items()}


def _evaluate_in_turn(evaluate: Evaluate) -> Look:
    def look(params: Any, due_R: jax.Array, tokens_NxBxT1: jax.Array, weights_NxB: jax.Array) -> jax.Array:
        of_run = lambda run: lax.cond(
            run[1], lambda: evaluate(run[0], tokens_NxBxT1, weights_NxB), lambda: jnp.float32(jnp.nan)
        )
        losses_R: jax.Array = lax.map(of_run, (params, due_R))
        return losses_R

    return look


def _evaluate_side_by_side(evaluate: Evaluate) -> Look:
    def look(params: Any, due_R: jax.Array, tokens_NxBxT1: jax.Array, weights_NxB: jax.Array) -> jax.Array:
        losses_R = jax.vmap(evaluate, in_axes=(0, None, None))(params, tokens_NxBxT1, weights_NxB)
        return jnp.where(due_R, losses_R, jnp.nan)

    return look
