#!/usr/bin/env python3
"""Starts one program as several processes on this host: a pod in small, for tests and for hosts with several GPUs.

    python launch/local.py --processes 4 -- jaxscale train configs/text_loss.py --workdir runs/one
    python launch/local.py --processes 2 --devices 4 --dry-run -- jaxscale train …     # print, start nothing

Each process finds the others by three variables (`jaxscale.sharding.processes`). Lines of output begin with the number
of their process; standard output is that of process 0 alone, so `--json` works as without this launcher. When a process
fails, the others get `--grace` seconds to end by themselves; then they are killed. The exit code is that of the first
process that failed (128 + n for one ended by signal n), and 75 means: the state is saved, give the same command again.
"""

import argparse
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time


def main(arguments=None):
    """Runs the command line and returns its exit code."""
    options = parse(arguments)
    commands = [(variables(options, i), options.command) for i in range(options.processes)]
    if options.dry_run:
        for environment, command in commands:
            print(shlex.join(["env", *(f"{name}={value}" for name, value in environment.items()), *command]))
        return 0
    return run(commands, options.grace)


def parse(arguments):
    """The options, checked; `port` is a free one if none was given."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--processes", type=int, required=True, help="how many")
    parser.add_argument("--devices", type=int, help="host devices of each process (CPU); default: what jax finds")
    parser.add_argument("--gpus", type=int, help="GPUs of each process, taken in order from those here")
    parser.add_argument(
        "--port", type=int, default=0, help="of process 0, where the others find it; default: a free one"
    )
    parser.add_argument("--grace", type=float, default=60, help="seconds the others have once one has failed")
    parser.add_argument("--dry-run", action="store_true", help="print what would be run, and run nothing")
    parser.add_argument("command", nargs="+", metavar="-- command", help="what each process runs")
    options = parser.parse_args(arguments)
    for name in ("processes", "devices", "gpus"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name}={value} must be positive. Give 1 or more.")
    if options.devices and options.gpus:
        parser.error("--devices counts host devices, --gpus graphics processors. Give one of them.")
    here = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    needed = options.processes * (options.gpus or 0)
    options.visible = here.split(",") if here else [str(gpu) for gpu in range(needed)]
    if len(options.visible) < needed:
        parser.error(f"--processes times --gpus is {needed}, but CUDA_VISIBLE_DEVICES={here}. Give fewer.")
    if not options.port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            options.port = probe.getsockname()[1]
    return options


def variables(options, process):
    """What the environment of a process says beside that of the launcher."""
    said = {
        "JAXSCALE_COORDINATOR": f"127.0.0.1:{options.port}",
        "JAXSCALE_PROCESSES": str(options.processes),
        "JAXSCALE_PROCESS": str(process),
    }
    if options.devices:
        said |= {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(options.devices)}
    if options.gpus:
        first = process * options.gpus
        said["CUDA_VISIBLE_DEVICES"] = ",".join(options.visible[first : first + options.gpus])
    return said


def run(commands, grace):
    """Starts all, passes signals and output on, and waits for all. Returns the exit code."""
    started = []
    # Set before anything starts: a signal in between must not leave processes behind.
    pass_on = lambda number, _: [process.send_signal(number) for process in started if process.poll() is None]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
            signal.signal(number, pass_on)
    threads = []
    for index, (environment, command) in enumerate(commands):
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=None if index == 0 else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # an interrupt from the keyboard reaches them once, through here
        )
        started.append(process)
        for stream in filter(None, (process.stdout, process.stderr)):
            threads.append(threading.Thread(target=_say, args=(index, stream)))
            threads[-1].start()
    code = _wait(started, grace)
    for thread in threads:
        thread.join()
    return code


def _say(index, stream):
    for line in stream:
        sys.stderr.write(f"[{index}] {line}")
        sys.stderr.flush()


def _wait(processes, grace):
    """Waits until all have ended; once one has failed, no longer than `grace` seconds. Returns the first failure."""
    failed, deadline = 0, None
    # All are asked: one that still runs must not hide another that failed.
    while None in [process.poll() for process in processes]:
        time.sleep(0.05)
        codes = [process.returncode for process in processes if process.returncode]
        if codes and deadline is None:
            failed, deadline = codes[0], time.monotonic() + grace
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
    failed = failed or next((process.returncode for process in processes if process.returncode), 0)
    return 128 - failed if failed < 0 else failed


if __name__ == "__main__":
    sys.exit(main())
