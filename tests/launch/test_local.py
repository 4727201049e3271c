"""The launcher for one host: says what it would run, gives every process its place, and outlives none that failed."""

import pathlib
import re
import shlex
import signal
import subprocess
import sys

import pytest

LAUNCHER = pathlib.Path(__file__).parents[2] / "launch" / "local.py"


def command(*options, program=None):
    program = [] if program is None else ["--", sys.executable, "-c", program]
    return [sys.executable, str(LAUNCHER), *options, *program]


def launch(*options, program=None):
    return subprocess.run(command(*options, program=program), capture_output=True, text=True, timeout=600)


def test_a_dry_run_prints_commands_that_a_shell_runs_alike():
    options = ["--processes", "2", "--devices", "3", "--port", "4321"]
    program = "import os; print(sorted(k + '=' + v for k, v in os.environ.items() if k.startswith('JAX')))"
    lines = launch(*options, "--dry-run", program=program).stdout.splitlines()
    assert len(lines) == 2
    assert shlex.split(lines[1])[:2] == ["env", "JAXSCALE_COORDINATOR=127.0.0.1:4321"]
    assert {"JAXSCALE_PROCESSES=2", "JAXSCALE_PROCESS=1", "JAX_NUM_CPU_DEVICES=3"} < set(shlex.split(lines[1]))
    by_hand = subprocess.run(["sh", "-c", lines[0]], capture_output=True, text=True)
    assert by_hand.stdout == launch(*options, program=program).stdout != ""


@pytest.mark.parametrize(("here", "given"), [("", ["0,1", "2,3"]), ("3,4,6,7", ["3,4", "6,7"])])
def test_each_process_has_its_own_graphics_processors_of_those_here(here, given, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", here)
    lines = launch("--processes", "2", "--gpus", "2", "--dry-run", program="0").stdout.splitlines()
    assert [re.search("CUDA_VISIBLE_DEVICES=([0-9,]+)", line)[1] for line in lines] == given
    refused = launch("--processes", "3", "--gpus", "2", "--dry-run", program="0")
    assert (refused.returncode == 2 and "but CUDA_VISIBLE_DEVICES=3,4,6,7" in refused.stderr) == bool(here)


def test_output_is_that_of_the_first_and_the_others_are_named():
    said = launch("--processes", "3", program="import os; print('I am', os.environ['JAXSCALE_PROCESS'])")
    assert (said.returncode, said.stdout) == (0, "I am 0\n")
    assert sorted(said.stderr.splitlines()) == ["[1] I am 1", "[2] I am 2"]


@pytest.mark.parametrize(("end", "code"), [("sys.exit(75)", 75), ("os.kill(os.getpid(), 9)", 137)])
def test_one_that_fails_ends_all_and_its_code_is_told(end, code):
    program = f"import os, sys, time\nif os.environ['JAXSCALE_PROCESS'] == '1': {end}\ntime.sleep(3600)"
    assert launch("--processes", "2", "--grace", "0.2", program=program).returncode == code


@pytest.mark.parametrize("order", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_reaches_every_process(order):
    program = (
        f"import signal, sys, os, time; signal.signal({int(order)}, lambda *_: sys.exit(75)); "
        "print('ready', file=sys.stderr, flush=True); time.sleep(3600)"
    )
    process = subprocess.Popen(command("--processes", "2", program=program), stderr=subprocess.PIPE, text=True)
    assert sorted(process.stderr.readline() for _ in range(2)) == ["[0] ready\n", "[1] ready\n"]
    process.send_signal(order)
    assert process.wait(timeout=600) == 75


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--processes", "0"], "--processes=0 must be positive"),
        (["--processes", "2", "--devices", "1", "--gpus", "1"], "Give one of them"),
        (["--processes", "2", "--gpu", "1"], "unrecognized arguments"),
    ],
)
def test_bad_options_are_told(options, sentence):
    said = launch(*options, program="0")
    assert said.returncode == 2
    assert sentence in said.stderr
