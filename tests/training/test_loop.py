"""A run: learns, stops, resumes to the last bit, and keeps its last good state."""

import dataclasses
import json
import os
import signal
import time

import jax
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import files, preemption, sharding, training
from jaxscale.errors import InputError, RunError
from jaxscale.training import optimizer


def changed(run, **training_fields):
    return dataclasses.replace(run, training=dataclasses.replace(run.training, **training_fields))


class Stop(Exception):
    """Stands for whatever ends a process."""


def stop_after(step):
    def report(**values):
        if values["step"] >= step:
            raise Stop

    return report


@pytest.fixture(scope="module")
def whole(tiny_run, tiny_store, tmp_path_factory):
    """The folder and the summary of a run that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    return folder, training.train(tiny_run, tiny_store, folder)


def test_loss_falls_and_the_folder_tells_the_story(tiny_run, tiny_store, tmp_path):
    summary = training.train(changed(tiny_run, steps=60, evaluate_every=20), tiny_store, tmp_path)
    rows = files.read_json_lines(tmp_path / "metrics.jsonl")
    curve = [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert len(curve) == 3
    assert summary["loss"] == min(curve) < np.log(257) - 1  # a nat better than knowing nothing
    assert {
        "train_loss",
        "learning_rate",
        "gradient_norm",
        "tokens",
        "tokens_per_second",
        "model_flops_utilization",
    } <= set(rows[0])
    assert list((tmp_path / "tensorboard").glob("events*"))
    assert files.read_json(tmp_path / "config.json")["tokens"] == 2048
    assert summary["edge"] == ("late" if curve[-1] == min(curve) else "")


def test_resumed_run_ends_with_the_same_bits(whole, tiny_run, tiny_store, tmp_path):
    folder, summary = whole
    for step in (2, 6, 10):  # before the first checkpoint, and between later ones
        with pytest.raises(Stop):
            training.train(tiny_run, tiny_store, tmp_path / "cut", stop_after(step))
    cut = training.train(tiny_run, tiny_store, tmp_path / "cut")
    timeless = lambda said: {k: v for k, v in said.items() if k not in ("seconds", "goodput", "attempts")}
    assert timeless(summary) == timeless(cut)
    assert (summary["attempts"], cut["attempts"]) == (1, 4) and 0 < cut["goodput"] <= summary["goodput"] <= 1
    program = training.program(tiny_run, tiny_store.vocab_size, sharding.make_mesh(tiny_run.mesh))
    a, b = (
        training.restore_params(where / "checkpoints", summary["step"], program.abstract.params)
        for where in (folder, tmp_path / "cut")
    )
    jax.tree.map(np.testing.assert_array_equal, a, b)
    logged = lambda where: [
        {k: v for k, v in row.items() if k not in ("tokens_per_second", "model_flops_utilization")}
        for row in files.read_json_lines(where / "metrics.jsonl")
    ]
    steps = lambda rows: [row["step"] for row in rows if "validation_loss" in row]
    assert steps(logged(folder)) == steps(logged(tmp_path / "cut")) == [4, 8, 12]
    losses = lambda rows: [row["validation_loss"] for row in rows if "validation_loss" in row]
    assert losses(logged(folder)) == losses(logged(tmp_path / "cut"))


def test_damaged_lines_of_its_logs_do_not_keep_a_run_from_going_on(tiny_run, tiny_store, tmp_path):
    with pytest.raises(Stop):
        training.train(tiny_run, tiny_store, tmp_path, stop_after(10))
    for name, line in (("metrics.jsonl", 1), ("attempts.jsonl", 0)):
        lines = (tmp_path / name).read_bytes().split(b"\n")
        lines[line] = b"\0" * len(lines[line])  # what a power cut leaves
        (tmp_path / name).write_bytes(b"\n".join(lines))
    with pytest.warns(UserWarning, match=r"1 damaged line is left out of '.*(metrics|attempts).jsonl'") as warned:
        training.train(tiny_run, tiny_store, tmp_path)
    assert sum("damaged line" in str(w.message) for w in warned) == 2
    steps = [row["step"] for row in files.read_json_lines(tmp_path / "metrics.jsonl")]
    assert steps == [2, 4, 6, 8, 8, 10, 12, 12]  # of step 4 the evaluation is left
    assert [row["step"] for row in files.read_json_lines(tmp_path / "attempts.jsonl")] == [8]


def test_finished_run_is_only_read(whole, tiny_run, tiny_store):
    folder, summary = whole
    assert training.train(tiny_run, tiny_store, folder, stop_after(0)) == summary


def test_patience_stops_an_over_fitted_run_and_the_minimum_is_kept(tiny_run, tiny_store, tmp_path):
    run = changed(dataclasses.replace(tiny_run, tokens=64), steps=400, patience=2)
    summary = training.train(run, tiny_store, tmp_path)
    curve = {
        row["step"]: row["validation_loss"]
        for row in files.read_json_lines(tmp_path / "metrics.jsonl")
        if "validation_loss" in row
    }
    assert summary["stopped"] == "patience"
    assert summary["edge"] == ""
    assert max(curve) == summary["step"] + 2 * 4 < 400
    assert summary["loss"] == curve[summary["step"]] == min(curve.values())
    assert (tmp_path / "checkpoints" / str(summary["step"])).is_dir()


@pytest.mark.thorough
def test_a_minimum_at_an_edge_of_the_evaluations_is_marked(tiny_run, tiny_store, tmp_path):
    falling = training.train(changed(tiny_run, patience=3), tiny_store, tmp_path / "late")
    assert (falling["stopped"], falling["edge"]) == ("budget", "late")
    run = changed(dataclasses.replace(tiny_run, tokens=64), steps=400, patience=2, evaluate_every=60)
    fitted = training.train(run, tiny_store, tmp_path / "early")
    assert (fitted["stopped"], fitted["edge"], fitted["step"]) == ("patience", "early", 60)


def test_evaluations_grow_apart(tiny_run, tiny_store, tmp_path):
    training.train(changed(tiny_run, steps=27, evaluate_every=4, evaluate_growth=0.5), tiny_store, tmp_path)
    rows = files.read_json_lines(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows if "validation_loss" in row] == [4, 8, 12, 18, 27]


def test_epochs_bound_the_steps(tiny_run, tiny_store, tmp_path):
    summary = training.train(changed(dataclasses.replace(tiny_run, tokens=256), epochs=2.0), tiny_store, tmp_path)
    assert summary["steps"] == 4  # 2 × 256 tokens, 8 × 16 a step


def test_nan_stops_the_run_names_the_step_and_keeps_the_last_good_state(tiny_run, tiny_store, tmp_path, monkeypatch):
    # A learning rate that is infinite at step 6, and there alone, would make the parameters so.
    rates = optimizer.learning_rates
    monkeypatch.setattr(
        optimizer, "learning_rates", lambda c, steps: np.where(np.arange(steps) == 6, np.inf, rates(c, steps))
    )
    with pytest.raises(
        training.NonFiniteLoss, match=r"not finite at step 6; the state after step 6 is kept .*learning_rate=0.01"
    ):
        training.train(tiny_run, tiny_store, tmp_path)
    assert not (tmp_path / "summary.json").exists()
    program = training.program(tiny_run, tiny_store.vocab_size, sharding.make_mesh(tiny_run.mesh))
    kept = training.restore_params(tmp_path / "checkpoints", 6, program.abstract.params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(jax.device_get(kept)))


def test_more_tokens_than_the_corpus_has_are_refused_before_any_work(tiny_run, tiny_store, tmp_path):
    have = len(tiny_store.train.tokens)
    with pytest.raises(InputError, match=f"tokens={have + 1} is more than the corpus's {have}"):
        training.train(dataclasses.replace(tiny_run, tokens=have + 1), tiny_store, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_model_that_no_memory_holds_is_told_what_takes_less(tiny_run, tiny_store, tmp_path):
    wide = dataclasses.replace(tiny_run, model=dataclasses.replace(tiny_run.model, hidden=4 * 10**12))
    remedy = r"Set training.remat='full', training.loss_chunks=8 or training.accumulation=2: the result is the same"
    with pytest.raises(RunError, match=rf"memory of a device does not suffice: .*[Oo]ut of memory.* {remedy}"):
        training.train(dataclasses.replace(wide, mesh=configs.Mesh(replica=1, fsdp=4, tensor=2)), tiny_store, tmp_path)


RATES = optimizer.learning_rates


def infinite_at(bad):
    return lambda c, steps: np.where(np.isin(np.arange(steps), bad), np.inf, RATES(c, steps))


@pytest.mark.thorough
def test_bad_steps_are_left_out_on_request_up_to_a_number_in_a_row(tiny_run, tiny_store, tmp_path, monkeypatch):
    skipping = changed(tiny_run, bad_steps="skip", most_skipped=3, log_every=1)
    monkeypatch.setattr(optimizer, "learning_rates", infinite_at([4, 5, 9]))
    summary = training.train(skipping, tiny_store, tmp_path / "goes_on")
    assert summary["steps"] == 12 and np.isfinite(summary["loss"])
    rows = files.read_json_lines(tmp_path / "goes_on" / "metrics.jsonl")
    assert [row["skipped"] for row in rows if "skipped" in row] == [0, 0, 0, 1, 2, 0, 0, 0, 1, 0, 0]
    monkeypatch.setattr(optimizer, "learning_rates", infinite_at([5, 6, 7, 8]))
    with pytest.raises(training.NonFiniteLoss, match=r"at step 7; the state after step 7 is kept"):
        training.train(skipping, tiny_store, tmp_path / "stops")


@pytest.mark.thorough
def test_every_logged_step_says_how_fast_and_how_steady_it_goes(tiny_run, tiny_store, tmp_path):
    summary = training.train(tiny_run, tiny_store, tmp_path, profile=True)
    row = next(row for row in files.read_json_lines(tmp_path / "metrics.jsonl") if "step_seconds" in row)
    assert 0 < row["step_seconds"] <= row["step_seconds_95"] and 0 <= row["input_wait"] <= 1
    assert 0 < summary["goodput"] < 1
    assert list((tmp_path / "profile").rglob("*.trace.json.gz"))


def test_a_clock_that_was_set_back_does_not_turn_goodput_negative(tiny_run, tiny_store, tmp_path):
    (tmp_path / "attempts.jsonl").write_text(json.dumps({"time": time.time() + 1e6, "step": 0}) + "\n")
    summary = training.train(tiny_run, tiny_store, tmp_path)
    assert summary["attempts"] == 2 and 0 < summary["goodput"] <= 1


@pytest.mark.thorough
def test_a_profile_ends_with_a_short_run(tiny_run, tiny_store, tmp_path):
    training.train(changed(tiny_run, steps=7), tiny_store, tmp_path, profile=True)
    assert list((tmp_path / "profile").rglob("*.trace.json.gz"))


@pytest.mark.parametrize("step", [6, 8, 12])  # between evaluations, at one, at the last
def test_order_to_leave_saves_at_once_and_the_rest_is_the_same(whole, tiny_run, tiny_store, tmp_path, step):
    _, summary = whole

    def order(**values):
        if values["step"] == step:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(preemption.Preempted, match=rf"state after step {step} is saved"):
        training.train(changed(tiny_run, log_every=1), tiny_store, tmp_path / "cut", order)
    assert (tmp_path / "cut" / "checkpoints" / str(step)).is_dir()
    rest = training.train(changed(tiny_run, log_every=1), tiny_store, tmp_path / "cut")
    assert (rest["loss"], rest["step"], rest["attempts"]) == (summary["loss"], summary["step"], 2)
