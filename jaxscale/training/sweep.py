"""Runs of one shape trained together, as one program: seeds × numbers of tokens × learning rates.

    summaries = train_together({"slow": run, "fast": faster}, store, "runs")
    summaries["fast"]["loss"]

A small model leaves most of a device idle; many of them do not. Each run keeps its own batches, rates, evaluations,
patience and folder, which ends as `train` would leave it, with the same losses up to rounding. Every run saves its own
checkpoints, so after a kill each goes on from its newest, in whatever company.
"""

import contextlib
import dataclasses
import functools
import math
import os
import pathlib
import time
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, cast

import jax
import numpy as np
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from jaxscale import config as configs
from jaxscale import files, preemption, sharding
from jaxscale.config.folders import differences
from jaxscale.data import Store
from jaxscale.errors import InputError
from jaxscale.memory import out_of_memory_told
from jaxscale.sharding import processes
from jaxscale.training import throughput
from jaxscale.training.loop import NonFiniteLoss, check, fail
from jaxscale.training.member import Member
from jaxscale.training.stacked import Layout, StackedProgram, Told, shape_of, stacked_program
from jaxscale.training.step import State
from jaxscale.training.work import held_out, plan

# Steps handed to the devices at once, at most, and bytes of their tokens.
STEPS, TOKEN_BYTES = 16, 2**26

# A run that is under way, the step it comes from, and how many it makes.
Move = tuple[Member, int, int]


def train_together(
    runs: Mapping[str, configs.Run],
    store: Store,
    folder: str | os.PathLike[str],
    report: Callable[..., None] = lambda **progress: None,
    save_seconds: float = 60.0,
    layout: Layout | None = None,
) -> dict[str, dict[str, Any]]:
    """Trains several runs as one program, each until its steps are done or its held-out loss stops falling.

    Args:
      runs: `config.Run` by name; they may differ in tokens, seed, learning rate and its schedule, steps, epochs and
        patience. The mesh may have replicas only: the runs are divided over them.
      store: a prepared corpus (`data.Store`).
      folder: each run works in `folder`/name.
      report: called after every evaluation with `step` and `steps`, of all runs together, and `validation_loss`, the
        mean over the runs under way.
      save_seconds: seconds between checkpoints, at least; a run that ends is saved at once.
      layout: of `stacked.Layout`; default what is faster on this backend.

    Returns:
      The runs' summaries by name, as of `train`; `seconds` are a run's share of the time.

    Raises:
      InputError: runs of different shapes, or one that the corpus, the mesh or its folder cannot serve.
      NonFiniteLoss: naming the runs that broke down; the others are finished first.
      Preempted: SIGTERM or SIGHUP came; every state is saved.
      RunError: the disk is full, the memory of a device does not suffice, or another process of this program is gone.
    """
    folder = pathlib.Path(folder)
    mesh = check_together(runs, store)
    processes.require_shared(folder)
    done = lambda: [name for name in runs if (folder / name / "summary.json").is_file()]
    with contextlib.ExitStack() as held, processes.lost_peer_told():
        for name, run in runs.items():
            held.enter_context(processes.workplace(folder / name))
            processes.first_says(functools.partial(configs.claim, folder / name, run))
        finished = processes.first_says(done)
        left = {name: run for name, run in runs.items() if name not in finished}
        if left:
            many = stacked_program(next(iter(left.values())), store.vocab_size, mesh, layout)
            remedy = "Train fewer runs together (together=1: one by one), or use more devices or a smaller model."
            with out_of_memory_told(remedy), preemption.notice() as notice, contextlib.ExitStack() as opened:
                members = _open(left, store, folder, many, opened)
                _Sweep(many, members, notice, report, save_seconds).run()
        return {name: processes.first_says(functools.partial(_summary_of, folder / name)) for name in runs}


def _summary_of(folder: pathlib.Path) -> dict[str, Any]:
    summary: dict[str, Any] = files.read_json(folder / "summary.json", fields=("loss", "step"))
    return summary


def check_together(runs: Mapping[str, configs.Run], store: Store) -> Mesh:
    """The mesh of some runs; raises InputError if they cannot be trained as one program or a run cannot be trained."""
    first, *others = runs
    for name in others:
        one, other = (dataclasses.asdict(shape_of(runs[n])) for n in (first, name))
        for field, a, b in differences(one, other):
            raise InputError(
                f"{field}={b!r} of run {name!r} is {a!r} in run {first!r}: runs trained together share it. "
                "Give them the same, or train them apart."
            )
    run = runs[first]
    mesh = sharding.make_mesh(run.mesh)
    divided = {axis: size for axis, size in mesh.shape.items() if axis != "replica" and size > 1}
    if divided:
        raise InputError(
            f"mesh={divided} divides a run over devices; of runs trained together each lies on one. "
            "Leave all devices to mesh.replica, or train the runs one by one (together=1)."
        )
    for run in runs.values():
        check(run, store)
    return mesh


def _open(
    runs: Mapping[str, configs.Run],
    store: Store,
    folder: pathlib.Path,
    many: StackedProgram,
    opened: contextlib.ExitStack,
) -> list[Member]:
    """A `Member` for each run, restored from its newest checkpoint; `opened` closes what they leave open."""
    run = next(iter(runs.values()))
    sequences = held_out(run, store, many.mesh, P(None))
    peak = throughput.peak_flops(many.mesh.devices.ravel())
    return [
        Member(
            name,
            plan(run, store, many.one, sequences, peak),
            folder / name,
            many,
            opened.enter_context(contextlib.ExitStack()),
        )
        for name, run in runs.items()
    ]


class _Sweep:
    """Advances, evaluates and saves runs until all have ended."""

    def __init__(
        self,
        many: StackedProgram,
        members: list[Member],
        notice: preemption.Notice,
        report: Callable[..., None],
        save_seconds: float,
    ) -> None:
        self.many, self.members, self.notice, self.report = many, members, notice, report
        self.total = sum(member.work.steps for member in members)
        run = members[0].work.run
        self.batch = (run.training.batch_size, run.model.context + 1)
        step_bytes = 4 * len(members) * math.prod(self.batch)
        self.chunk = max(1, min(STEPS, run.training.evaluate_every, TOKEN_BYTES // step_bytes))
        self.save_seconds, self.saved = save_seconds, time.monotonic()
        self.failures: list[str] = []
        self.pending: tuple[Told, list[Move]] | None = None

    def run(self) -> None:
        self.shared = time.perf_counter()
        while self.members:
            self._stack()
            self._retire()  # what was killed after its last checkpoint
            while self.members and not self._is_sparse():
                self._round()
            self._save()
            for member in self.members:
                member.state = self._fetch(self.states, member)()
        if self.failures:
            raise NonFiniteLoss(" ".join(self.failures))

    def _stack(self) -> None:
        """Runs under way on the devices, each in its place; those that end leave theirs empty."""
        states = [cast(State, member.state) for member in self.members]
        # Twice, as two arrays: the one is donated when the other must stay.
        self.states, self.best = self.many.stack(states), self.many.stack(states)
        self.places = len(self.states.step)
        for place, member in enumerate(self.members):
            member.place, member.state = place, None
        self.clock: float | None = None

    def _is_sparse(self) -> bool:
        """Whether the devices would have half as much to do with the runs under way stacked anew."""
        spare = self.places - len(self.members)
        return self.many.layout == "side by side" and spare >= max(self.places // 2, self.many.runs)

    def _round(self) -> None:
        """Every run advances to its next evaluation; all are evaluated; those that have ended leave."""
        while any(member.progress.step < member.until for member in self.members):
            self._advance()
        self._evaluate()
        self._retire()
        self._tell()
        if processes.first_says(lambda: time.monotonic() - self.saved >= self.save_seconds):
            self._save()

    def _advance(self) -> None:
        """Up to `chunk` steps of every run that is not yet at its evaluation."""
        counts, rates = np.zeros(self.places, np.int32), np.zeros((self.places, self.chunk), np.float32)
        moves: list[Move] = []
        for member in self.members:
            step = member.progress.step
            count = min(self.chunk, member.until - step)
            counts[member.place] = count
            rates[member.place, :count] = member.work.rates[step : step + count]
            moves.append((member, step, count))
        tokens = self.many.build((self.places, self.chunk, *self.batch), lambda places: self._tokens(moves, places))
        place = self.many.place
        self.states, values = self.many.advance(self.states, tokens, place(rates), place(counts))
        for member, step, count in moves:
            member.progress.step = step + count
        self._log()  # of the chunk before, while the devices work on this one
        self.pending = values, moves
        if self.notice.given():
            self._leave()

    def _tokens(self, moves: list[Move], places: slice) -> np.ndarray:
        first, last, _ = places.indices(self.places)
        tokens = np.zeros((last - first, self.chunk, *self.batch), np.int32)
        for member, step, count in moves:
            if first <= member.place < last:
                tokens[member.place - first, :count] = member.work.batches.of_steps(step, count)
        return tokens

    def _log(self) -> None:
        """Waits for the chunk under way and writes what its steps told."""
        if self.pending is None:
            return
        (values, moves), self.pending = self.pending, None
        values = jax.device_get(values)
        now = time.perf_counter()
        seconds, self.clock = self.clock and now - self.clock, now
        for member, step, count in moves:
            if seconds:
                member.progress.productive += seconds
            for i in range(count):
                told = {name: float(value[member.place, i]) for name, value in values.items()}
                member.log(step + i + 1, told, seconds and count / seconds)

    def _evaluate(self) -> None:
        """Evaluates every run that is due; takes out those that broke down, keeping their last good state."""
        beaten, due = np.full(self.places, np.inf, np.float32), np.zeros(self.places, bool)
        members = [member for member in self.members if member.progress.step == member.until]
        for member in members:
            due[member.place] = True
            if member.progress.history:
                beaten[member.place] = member.progress.best[1]
        place = self.many.place
        sequences = self.members[0].work.held_out
        self.best, told = self.many.evaluate(self.states, self.best, place(beaten), place(due), *sequences)
        self._log()
        told = jax.device_get(told)
        self._share_time()
        for member in members:
            loss, failed, step = (told[name][member.place] for name in ("loss", "failed", "step"))
            if failed >= 0 or not math.isfinite(loss):
                self._fail(member, float(loss))
            else:
                member.evaluated(int(step), float(loss))
        self.clock = time.perf_counter()

    def _retire(self) -> None:
        """Finishes the runs that have ended."""
        for member in [member for member in self.members if member.ended]:
            member.save_best(self._fetch(self.best, member))
            member.finish()
            self.members.remove(member)

    def _fail(self, member: Member, loss: float) -> None:
        member.save_best(self._fetch(self.best, member))
        try:
            fail(member.work, self._fetch(self.states, member)(), member.progress, loss, member.checkpoints)
        except NonFiniteLoss as error:
            self.failures.append(f"run {member.name}: {error}")
        member.open.close()
        self.members.remove(member)

    def _fetch(self, stacked: State, member: Member) -> Callable[[], State]:
        """A function that gets the state of a run."""
        return lambda: self.many.pick(stacked, member.place)

    def _share_time(self) -> None:
        """Counts the time since the last call to the runs under way, in equal parts."""
        now = time.perf_counter()
        for member in self.members:
            member.progress.seconds += (now - self.shared) / len(self.members)
        self.shared = now

    def _save(self) -> None:
        """Every run under way, where it is and at its minimum."""
        for member in self.members:
            member.save_best(self._fetch(self.best, member))
            member.save_newest(self._fetch(self.states, member))
        self.saved = time.monotonic()

    def _leave(self) -> NoReturn:
        """Saves every state and raises `Preempted`; of a run that broke down there is nothing good to save."""
        self._log()
        self._evaluate()  # a run left at an evaluation's step would owe one, and save that step twice
        self._retire()
        self.members = [m for m in self.members if int(self._fetch(self.states, m)().failed) < 0]
        self._save()
        for member in self.members:
            member.checkpoints.wait()
        names = ", ".join(member.name for member in self.members) or "none, all have ended"
        raise preemption.Preempted(
            f"asked to leave by the system; runs under way are saved: {names}. The same command goes on from there."
        )

    def _tell(self) -> None:
        under_way = sum(member.work.steps - member.progress.step for member in self.members)
        losses = [member.progress.history[-1][1] for member in self.members]
        loss = {"validation_loss": sum(losses) / len(losses)} if losses else {}
        self.report(step=self.total - under_way, steps=self.total, **loss)
