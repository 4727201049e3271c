"""Orders to leave, given to real commands by real signals: whatever they work on, they say 75 and go on to one end."""

import os
import pty
import signal
import subprocess
import sys

import environment
import pytest

from jaxscale import files

STUDY = """
from jaxscale.config import *
from jaxscale.studies import *

config = DataScaling(
    run=Run(
        corpus=Corpus(kind="files", path={text!r}, passage=128),
        tokenizer=Tokenizer(kind="bpe", vocab_size=300),
        model=Decoder(layers=1, width=16, heads=2, hidden=32, context=16),
        optimizer=Optimizer(schedule="constant", learning_rate=1e-2, warmup_steps=2),
        training=Training(steps=12, batch_size=8, evaluate_every=4, evaluation_sequences=20, log_every=2),
    ),
    sizes=(256, 512, 1024, 2048),
    seeds=(0,),
    dimension=Dimension(k=5, points=200, tokens_per_document=50),
    resamples=100,
)
"""
# What the command says as it begins a stage, and the order that it then gets.
STAGES = (
    ("reading corpus", signal.SIGTERM),
    ("run 2/4", signal.SIGHUP),
)


def start(command, **more):
    return subprocess.Popen(command, env=environment.of_child(), stderr=subprocess.PIPE, text=True, **more)


def command(config, workdir):
    return [sys.executable, "-m", "jaxscale.cli", "study", str(config), "--workdir", str(workdir)]


def wait_for(process, words):
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never said: {said}")


def test_a_study_leaves_at_any_stage_when_it_is_told_to_and_ends_as_undisturbed(text_folder, tmp_path):
    config = tmp_path / "study.py"
    config.write_text(STUDY.format(text=str(text_folder)))
    took = {}
    for words, order in STAGES:
        process = start(command(config, tmp_path / "cut"), stdout=subprocess.DEVNULL)
        wait_for(process, words)
        process.send_signal(order)
        said = process.communicate(timeout=240)[1]
        assert process.returncode == 75, (words, said)
        assert "asked to leave by" in said and "the same command goes on from there" in said.replace("The", "the"), said
        assert "Traceback" not in said
        before, kept = took, files.read_json(tmp_path / "cut" / "seconds.json")
        took = {stage: wall for stage, (wall, _) in kept.items()}
        assert all(took[stage] >= seconds for stage, seconds in before.items())
        assert sum(took.values()) > sum(before.values())
    for folder in ("cut", "whole"):
        process = start(command(config, tmp_path / folder), stdout=subprocess.DEVNULL)
        said = process.communicate(timeout=240)[1]
        assert process.returncode == 0, said
    tables = [(tmp_path / folder / "table.jsonl").read_bytes() for folder in ("cut", "whole")]
    assert tables[0] == tables[1]
    verdicts = [files.read_json(tmp_path / folder / "verdict.json") for folder in ("cut", "whole")]
    assert verdicts[0]["sentence"] == verdicts[1]["sentence"]


SLEEPER = """
import signal, sys, time
from jaxscale import preemption
with preemption.orders():
    with preemption.notice() as notice:
        print("ready", file=sys.stderr, flush=True)
        end = time.monotonic() + 60
        while time.monotonic() < end and not (notice.given() and {leaves}):
            time.sleep(0.01)
    raise AssertionError("went on")
"""


def run_sleeper(leaves, *orders, **more):
    """Exit code of a program that looks for orders, and what it says; it gets those given, seconds apart."""
    process = start([sys.executable, "-c", SLEEPER.format(leaves=leaves)], **more)
    wait_for(process, "ready")
    for seconds, order in orders:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=seconds)
        process.send_signal(order)
    said = process.communicate(timeout=60)[1]
    return process.returncode, said


def test_a_second_order_ends_the_process_at_once():
    code, said = run_sleeper(False, (0.01, signal.SIGTERM), (2.5, signal.SIGTERM))
    assert (code, "left at once" in said) == (75, True), said


def test_a_terminal_that_closes_gives_one_order_twice_and_an_order_nobody_acted_on_is_given_again():
    code, said = run_sleeper("time.monotonic() > end - 59", (0.01, signal.SIGHUP), (0.2, signal.SIGHUP))
    assert code == 1 and "preemption.Leave: SIGHUP" in said and "went on" not in said, said


def test_what_is_ignored_stays_ignored_as_under_nohup():
    ignore = lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = start([sys.executable, "-c", SLEEPER.format(leaves=True)], preexec_fn=ignore)
    wait_for(process, "ready")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    process.send_signal(signal.SIGTERM)
    assert "preemption.Leave: SIGTERM" in process.communicate(timeout=60)[1]


IN_A_TERMINAL = """
import sys, time
from jaxscale import preemption
with preemption.orders(), preemption.notice() as notice:
    print("ready", file=sys.stderr, flush=True)
    while not notice.given():
        time.sleep(0.01)
    print("saved", file=sys.stderr, flush=True)
    sys.exit(75)
"""


def test_a_terminal_that_is_gone_does_not_hide_that_the_state_is_saved():
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", IN_A_TERMINAL])
    assert os.read(terminal, 100).strip() == b"ready"
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 75
