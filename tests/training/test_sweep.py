"""Runs trained together: the losses and the folders of separate training, through kills and failures."""

import dataclasses
import math
import os
import signal

import jax
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import files, preemption, sharding, training
from jaxscale.errors import InputError
from jaxscale.training.sweep import train_together

# Seeds, numbers of tokens, rates, schedules and lengths all differ; the third is over-fitted and stops early.
GRID = (
    {},
    {"seed": 1, "tokens": 512},
    {"tokens": 64, "patience": 2, "steps": 24},
    {"learning_rate": 3e-3, "schedule": "cosine", "steps": 7},
    {"epochs": 1.0},
)


def varied(run, **changes):
    fields = {field.name for field in dataclasses.fields(run)}
    for part in ("training", "optimizer"):
        inner = {f.name for f in dataclasses.fields(getattr(run, part))}
        changed = {name: changes.pop(name) for name in list(changes) if name in inner and name not in fields}
        run = dataclasses.replace(run, **{part: dataclasses.replace(getattr(run, part), **changed)})
    return dataclasses.replace(run, **changes)


@pytest.fixture(scope="module")
def grid(tiny_run):
    return {f"run{i}": varied(tiny_run, **changes) for i, changes in enumerate(GRID)}


@pytest.fixture(scope="module")
def apart(grid, tiny_store, tmp_path_factory):
    """The grid, each run trained by itself, its batches over all devices."""
    folder = tmp_path_factory.mktemp("apart")
    for name, run in grid.items():
        training.train(run, tiny_store, folder / name)
    return folder


def curve(folder):
    rows = files.read_json_lines(folder / "metrics.jsonl")
    return {row["step"]: row["validation_loss"] for row in rows if "validation_loss" in row}


def assert_same_but_for_rounding(grid, store, there, here):
    program = training.program(next(iter(grid.values())), store.vocab_size, sharding.make_mesh(configs.Mesh()))
    for name in grid:
        expected, found = (files.read_json(folder / name / "summary.json") for folder in (there, here))
        exact = ("step", "steps", "epochs", "stopped", "edge", "parameters")
        assert {key: found[key] for key in exact} == {key: expected[key] for key in exact}
        np.testing.assert_allclose(found["loss"], expected["loss"], rtol=1e-4)
        curves = [curve(folder / name) for folder in (there, here)]
        assert curves[0].keys() == curves[1].keys()
        np.testing.assert_allclose(*([*c.values()] for c in curves), rtol=1e-4)
        best = [
            training.restore_params(folder / name / "checkpoints", expected["step"], program.abstract.params)
            for folder in (there, here)
        ]
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-4), *best)


@pytest.mark.thorough
@pytest.mark.parametrize("layout", ["in turn", "side by side"])
def test_together_they_are_what_they_are_apart(grid, apart, tiny_store, tmp_path, layout):
    summaries = train_together(grid, tiny_store, tmp_path, layout=layout)
    assert list(summaries) == list(grid)
    assert_same_but_for_rounding(grid, tiny_store, apart, tmp_path)
    for name in grid:
        written = {path.name for path in (tmp_path / name).iterdir()}
        assert written == {path.name for path in (apart / name).iterdir()}
        lines = [[row["step"] for row in files.read_json_lines(f / name / "metrics.jsonl")] for f in (apart, tmp_path)]
        assert set(lines[0]) <= set(lines[1])
    assert summaries["run2"]["stopped"] == "patience"  # long before the others were done


@pytest.mark.thorough
def test_runs_go_on_after_a_crash_and_after_a_signal_in_other_company_or_alone(grid, apart, tiny_store, tmp_path):
    class Crash(Exception):
        pass

    def crash(step, **_):
        if step > 20:
            raise Crash

    with pytest.raises(Crash):
        train_together(grid, tiny_store, tmp_path, crash, save_seconds=0)
    assert not (tmp_path / "run0" / "summary.json").exists()
    assert any((tmp_path / "run0" / "checkpoints").iterdir())
    pair = {name: grid[name] for name in ("run0", "run2")}
    with pytest.raises(preemption.Preempted, match=r"under way are saved: .*run2"):
        train_together(pair, tiny_store, tmp_path, lambda **_: os.kill(os.getpid(), signal.SIGTERM))
    train_together(pair, tiny_store, tmp_path)
    starts = [row["step"] for row in files.read_json_lines(tmp_path / "run2" / "attempts.jsonl")]
    assert 0 == starts[0] < starts[1] < starts[2]
    training.train(grid["run1"], tiny_store, tmp_path / "run1")
    train_together(grid, tiny_store, tmp_path)
    assert_same_but_for_rounding(grid, tiny_store, apart, tmp_path)


@pytest.mark.thorough
def test_a_run_that_breaks_down_is_named_and_the_others_are_finished(grid, apart, tiny_store, tmp_path):
    wild = {"good": grid["run0"], "wild": varied(grid["run0"], learning_rate=1e20)}
    with pytest.raises(training.NonFiniteLoss, match=r"run wild: .* not finite at step \d+; .*Lower optimizer"):
        train_together(wild, tiny_store, tmp_path)
    good = files.read_json(tmp_path / "good" / "summary.json")
    np.testing.assert_allclose(good["loss"], files.read_json(apart / "run0" / "summary.json")["loss"], rtol=1e-4)
    assert not (tmp_path / "wild" / "summary.json").exists()
    assert all(
        math.isfinite(row.get("train_loss", 0)) for row in files.read_json_lines(tmp_path / "wild/metrics.jsonl")
    )


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 4}, "training.batch_size=4 of run 'other' is 8 in run 'one'"),
        ({"clip_norm": 2.0}, "optimizer.clip_norm=2.0 of run 'other' is 1.0 in run 'one'"),
        ({"tokens": 10**9}, "tokens=1000000000 is more than the corpus's"),
    ],
)
def test_runs_that_cannot_be_one_program_are_refused(grid, tiny_store, tmp_path, changes, sentence):
    with pytest.raises(InputError, match=sentence):
        train_together({"one": grid["run0"], "other": varied(grid["run0"], **changes)}, tiny_store, tmp_path)
    assert not any(tmp_path.iterdir())


def test_a_mesh_that_divides_a_run_is_refused(grid, tiny_store, tmp_path):
    run = dataclasses.replace(grid["run0"], mesh=configs.Mesh(replica=-1, fsdp=2))
    with pytest.raises(InputError, match=r"mesh=\{'fsdp': 2\} divides a run over devices"):
        train_together({"one": run}, tiny_store, tmp_path)
