"""Orders to leave, given by real signals; what commands do with them is tested beside what they work on."""

import os
import pty
import signal
import subprocess
import sys

import environment
import pytest


def start(command, **more):
    return subprocess.Popen(command, env=environment.of_child(), stderr=subprocess.PIPE, text=True, **more)


def wait_for(process, words):
    said = []
    for line in process.stderr:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never said: {said}")


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


# Python prints what is raised in a callback of the garbage collector, and goes on.
IN_A_CALLBACK = """
import gc, sys, time
from jaxscale import preemption

def wait(phase, info):
    if not waited:
        waited.append(phase)
        print("ready", file=sys.stderr, flush=True)
        time.sleep(20)

waited = []
with preemption.orders():
    gc.callbacks.append(wait)
    gc.collect()
    time.sleep(30)
    raise AssertionError("went on")
"""


@pytest.mark.parametrize(
    ("order", "raised"), [(signal.SIGTERM, "Leave: SIGTERM"), (signal.SIGINT, "KeyboardInterrupt")]
)
def test_an_order_is_not_lost_that_comes_while_garbage_is_collected(order, raised):
    process = start([sys.executable, "-c", IN_A_CALLBACK])
    wait_for(process, "ready")
    process.send_signal(order)
    said = process.communicate(timeout=60)[1]
    assert raised in said and said.count("Traceback") == 1 and "went on" not in said, said
    assert process.returncode in (1, -order)


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
