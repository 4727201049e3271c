"""Training on several real processes: one trajectory on any number of them, and what faults and restarts do."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import environment
import jax
import numpy as np
import pytest

from jaxscale import cli, files, sharding
from jaxscale import config as configs

CONFIG = """
from jaxscale.config import Corpus, Decoder, Mesh, Optimizer, Run, Tokenizer, Training

config = Run(
    corpus=Corpus(kind="files", path={text!r}, passage=128),
    tokenizer=Tokenizer(kind="bytes"),
    model=Decoder(layers=1, width=16, heads=2, hidden=32, context=16),
    optimizer=Optimizer(schedule="constant", learning_rate={rate}, warmup_steps=2),
    training=Training(steps={steps}, batch_size=8, evaluate_every={every}, evaluation_sequences=16, log_every=1),
    mesh=Mesh(replica=1, fsdp=-1),
    tokens=2048,
)
"""


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(config, workdir, processes=1, devices=1, extra=(), folders=None):
    """The command on `processes` processes of `devices` devices each, as `launch/local.py` starts it; where `folders`
    says, or here."""
    port, started = free_port(), []
    for index in range(processes):
        variables = environment.of_child(devices)
        if processes > 1:
            variables |= {
                "JAXSCALE_COORDINATOR": f"127.0.0.1:{port}",
                "JAXSCALE_PROCESSES": str(processes),
                "JAXSCALE_PROCESS": str(index),
            }
        command = [sys.executable, "-m", "jaxscale.cli", "train", str(config), "--workdir", str(workdir), *extra]
        where = folders[index] if folders else None
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen(command, env=variables, cwd=where, text=True, **pipes))
    return started


def finish(started, timeout=240):
    """(exit code, standard error, standard output) of each."""
    ended = []
    try:
        for process in started:
            out, error = process.communicate(timeout=timeout)
            ended.append((process.returncode, error, out))
    finally:
        for process in started:
            process.kill()
    return ended


@pytest.fixture
def config(text_folder, tmp_path):
    def write(steps=12, every=4, rate=1e-2):
        path = tmp_path / "config.py"
        path.write_text(CONFIG.format(text=str(text_folder), steps=steps, every=every, rate=rate))
        return path

    return write


def wait_for_step(workdir, step, processes, seconds=200):
    """Until the metrics of `step` are written and all processes live."""
    path, end = pathlib.Path(workdir) / "metrics.jsonl", time.monotonic() + seconds
    while time.monotonic() < end:
        assert all(process.poll() is None for process in processes), finish(processes)
        if path.is_file() and any(row["step"] >= step for row in files.read_json_lines(path)):
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step} within {seconds} s")


def losses(workdir):
    rows = files.read_json_lines(pathlib.Path(workdir) / "metrics.jsonl")
    return np.array([[row["step"], row["validation_loss"]] for row in rows if "validation_loss" in row])


def starts(workdir):
    """The steps at which the run's attempts began."""
    return [row["step"] for row in files.read_json_lines(pathlib.Path(workdir) / "attempts.jsonl")]


def saved_step(said):
    """The step that all processes say is saved."""
    (step,) = {int(re.search(r"the state after step (\d+) is saved", error)[1]) for _, error, _ in said}
    return step


@pytest.fixture
def train_alone(monkeypatch, capsys):
    """`train_alone(config, workdir)`: what the command prints as JSON, in this process.

    On one device: collectives of several in one process can wait for each other forever on few busy cores.
    """
    make = sharding.make_mesh
    monkeypatch.setattr(sharding, "make_mesh", lambda mesh: make(mesh, jax.devices()[:1]))

    def train(config, workdir):
        assert cli.main(["train", str(config), "--workdir", str(workdir), "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    return train


@pytest.mark.thorough
def test_two_processes_train_as_one_does_and_one_goes_on_where_they_left(config, train_alone, tmp_path):
    # The order to leave takes a moment to reach all: enough steps that they are not done before, and such small ones
    # that differences in the last digits do not grow over so many.
    path = config(steps=200, every=100, rate=1e-5)
    train_alone(path, tmp_path / "alone")
    both = start(path, tmp_path / "both", processes=2, extra=["--json"])
    wait_for_step(tmp_path / "both", 5, both)
    both[1].send_signal(signal.SIGHUP)
    said = finish(both)
    assert [code for code, *_ in said] == [75, 75], said
    assert all("asked to leave by the system; the state after step" in error for _, error, _ in said)
    assert not any("Traceback" in error for _, error, _ in said), said
    checkpoints = {path.name for path in (tmp_path / "both" / "checkpoints").iterdir()}
    assert str(saved_step(said)) in checkpoints and not any("tmp" in name for name in checkpoints), checkpoints
    rest = train_alone(path, tmp_path / "both")
    np.testing.assert_allclose(losses(tmp_path / "both"), losses(tmp_path / "alone"), rtol=1e-5)
    assert rest["attempts"] == 2
    assert starts(tmp_path / "both") == [0, saved_step(said)]


@pytest.mark.slow
@pytest.mark.parametrize(("told", "every"), [((0, 1), 250), ((1,), 1)], ids=["to all", "to one while it saves"])
def test_what_is_said_to_be_saved_is_there_and_the_next_start_begins_there(told, every, config, tmp_path):
    folder, path = tmp_path / "run", config(steps=500, every=every, rate=1e-5)
    both = start(path, folder, processes=2)
    wait_for_step(folder, 5, both)
    for index in told:
        both[index].send_signal(signal.SIGTERM)
    said = finish(both)
    assert [code for code, *_ in said] == [75, 75], said
    assert not any("Traceback" in error for _, error, _ in said), said
    step = saved_step(said)
    checkpoints = {path.name for path in (folder / "checkpoints").iterdir()}
    assert step >= 5 and str(step) in checkpoints, checkpoints
    assert not any("tmp" in name for name in checkpoints), checkpoints
    (alone,) = start(path, folder)
    wait_for_step(folder, step + 1, [alone])
    alone.terminate()
    finish([alone])
    assert starts(folder) == [0, step]


@pytest.mark.thorough
def test_an_order_while_the_first_process_prepares_the_corpus_ends_all(config, tmp_path):
    both = start(config(), tmp_path / "run", processes=2, extra=["--tokenizer.kind", "bpe"])
    for line in both[0].stderr:
        if "reading corpus" in line:
            break
    both[0].send_signal(signal.SIGTERM)
    said = finish(both)
    assert [code for code, *_ in said] == [75, 75], said
    assert all("asked to leave by SIGTERM" in error and "the same command goes on" in error for _, error, _ in said)


@pytest.mark.slow
def test_what_one_process_refuses_all_refuse(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.json").write_text(configs.to_json(configs.Run()))
    said = finish(start(config(), tmp_path / "run", processes=2))
    assert [code for code, *_ in said] == [2, 2], said
    assert all("holds another configuration" in error for _, error, _ in said)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"JAXSCALE_PROCESSES": "2"}, "JAXSCALE_COORDINATOR, JAXSCALE_PROCESS must be set"),
        (
            {"JAXSCALE_COORDINATOR": "127.0.0.1:1", "JAXSCALE_PROCESSES": "2", "JAXSCALE_PROCESS": "2"},
            "JAXSCALE_PROCESS=2 must lie between 0 and JAXSCALE_PROCESSES - 1 = 1",
        ),
        (
            {"JAXSCALE_COORDINATOR": "127.0.0.1:1", "JAXSCALE_PROCESSES": "two", "JAXSCALE_PROCESS": "0"},
            "must be integers",
        ),
    ],
)
def test_contradicting_variables_are_refused(variables, message, monkeypatch):
    from jaxscale.errors import InputError
    from jaxscale.sharding import processes

    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=re.escape(message)):
        processes.start()


@pytest.mark.thorough
@pytest.mark.parametrize("index", [0, 1])
def test_a_process_whose_others_do_not_come_names_the_coordinator(index, config, tmp_path):
    coordinator = f"127.0.0.1:{free_port()}"
    variables = os.environ | {"JAXSCALE_COORDINATOR": coordinator, "JAXSCALE_STARTUP_SECONDS": "2"}
    variables |= {"JAXSCALE_PROCESSES": "3", "JAXSCALE_PROCESS": str(index)}
    command = [sys.executable, "-m", "jaxscale.cli", "train", str(config()), "--workdir", str(tmp_path / "run")]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done
    (line,) = done.stderr.splitlines()
    assert f"process {index} of 3 did not meet the others at the coordinator {coordinator}" in line
    assert ("after 2 s processes 1, 2 had not come" if index == 0 else "could not be reached in 2 s") in line
    assert not (tmp_path / "run").exists()


@pytest.mark.thorough
def test_a_folder_that_is_not_shared_is_refused_by_all(config, tmp_path):
    here = [tmp_path / "one", tmp_path / "two"]
    for folder in here:
        folder.mkdir()
    said = finish(start(config(), "run", processes=2, folders=here))
    assert [code for code, *_ in said] == [2, 2], said
    for _, error, _ in said:
        assert "is not shared: what process 0 of 2 wrote in its own is not seen by process 1. Give a folder" in error
        assert len(error.splitlines()) == 1
    assert not (here[0] / "run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_when_one_of_four_is_gone_the_others_end_and_the_next_start_finishes(how, config, tmp_path):
    path = config(steps=400)
    four = start(path, tmp_path / "run", processes=4)
    wait_for_step(tmp_path / "run", 9, four)
    four[2].send_signal(how)
    gone = time.monotonic()
    survivors = [process for i, process in enumerate(four) if i != 2]
    codes = [process.wait(timeout=90) for process in survivors]
    assert time.monotonic() - gone < 60
    assert all(code != 0 for code in codes), codes
    four[2].kill()  # what was only stopped
    finish(four)
    said = finish(start(path, tmp_path / "run", processes=4), timeout=500)
    assert [code for code, *_ in said] == [0] * 4, said


@pytest.mark.slow
def test_the_number_of_processes_and_devices_may_change_at_every_start(config, tmp_path):
    path = config(steps=24)
    (alone,) = finish(start(path, tmp_path / "alone"))
    assert alone[0] == 0, alone
    for step, (processes, devices) in ((5, (4, 1)), (11, (2, 1)), (17, (4, 2))):
        some = start(path, tmp_path / "run", processes, devices)
        wait_for_step(tmp_path / "run", step, some)
        some[0].send_signal(signal.SIGTERM)
        assert {code for code, *_ in finish(some)} <= {75, 0}
    (last,) = finish(start(path, tmp_path / "run", processes=1, devices=8))
    assert last[0] == 0, last
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "alone"), rtol=1e-5)


@pytest.mark.slow
def test_twenty_kills_at_random_moments_change_no_bit(config, tmp_path):
    path, chance = config(steps=3000), np.random.default_rng(0)
    (alone,) = finish(start(path, tmp_path / "alone", extra=["--json"]), timeout=600)
    assert alone[0] == 0, alone
    kills = 0
    while True:
        (run,) = start(path, tmp_path / "run", extra=["--json"])
        try:
            # From the start-up to well into the steps, of which every fourth writes a checkpoint.
            said, _ = run.communicate(timeout=chance.uniform(4, 14) if kills < 20 else 600)
            break
        except subprocess.TimeoutExpired:
            run.send_signal(signal.SIGKILL)
            run.communicate()
            kills += 1
    assert run.returncode == 0
    timeless = lambda text: {k: v for k, v in json.loads(text).items() if k not in ("seconds", "goodput", "attempts")}
    assert timeless(said) == timeless(alone[2])
    np.testing.assert_array_equal(losses(tmp_path / "run"), losses(tmp_path / "alone"))
    assert kills == 20
