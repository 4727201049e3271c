"""A real Slurm of this one machine: a study's cells as its jobs, and one run as a job of several processes.

Needs root and Debian's packages: apt-get install --no-install-recommends slurm-wlm munge
"""

import json
import os
import pathlib
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time

import environment
import numpy as np
import pytest

from jaxscale import files

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol", "scancel")
SLURM_CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CryptoType=crypto/munge
# A job that is queued again waits until its credential is no longer valid.
AuthInfo=socket={folder}/munge.socket,cred_expire=5
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""
RUN = """
from jaxscale.config import *
from jaxscale.studies import *

run = Run(
    corpus=Corpus(kind="files", path={text!r}, passage=128),
    tokenizer=Tokenizer(kind="bytes"),
    model=Decoder(layers=1, width=16, heads=2, hidden=32, context=16),
    optimizer=Optimizer(schedule="constant", learning_rate=1e-2, warmup_steps=2),
    training=Training(steps={steps}, batch_size=8, evaluate_every=100, evaluation_sequences=16, log_every=10),
    tokens=2048,
)
config = {config}
"""
STUDY = (
    "DataScaling(run=run, sizes=(256, 512, 1024, 2048), seeds=(0,), resamples=100, "
    "dimension=Dimension(k=5, points=200, tokens_per_document=50))"
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    """The environment in which sbatch and its like talk to a Slurm of this machine, of two processors."""
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing or os.geteuid() != 0:
        pytest.skip(f"needs root and Slurm: apt-get install slurm-wlm munge (not here: {', '.join(missing) or 'root'})")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(128))
    (folder / "munge.key").chmod(0o600)
    config = folder / "slurm.conf"
    config.write_text(SLURM_CONF.format(host=host, folder=folder, ports=free_ports(2)))
    variables = environment.of_child() | {"SLURM_CONF": str(config)}  # a device for each process
    variables["PATH"] = f"{pathlib.Path(sys.executable).parent}:{variables['PATH']}"
    places = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    munged = ["munged", "--foreground", "--force", f"--seed-file={folder / 'munge.seed'}"]
    munged += [f"--{name}={folder / file}" for name, file in places.items()]
    started = []
    try:
        for command in (munged, ["slurmctld", "-D", "-i", "-f", config], ["slurmd", "-D", "-f", config, "-N", host]):
            with open(folder / f"{command[0]}.out", "w") as output:
                started.append(subprocess.Popen(command, stdout=output, stderr=output))
        wait_for(lambda: "idle" in ask(variables, "sinfo", "--noheader", "--format", "%T"), 60)
        yield variables
        subprocess.run(["scancel", "--user", "root"], env=variables)
        wait_for(lambda: not ask(variables, "squeue", "--noheader"), 60)
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for free in sockets:
        free.bind(("127.0.0.1", 0))
    ports = [free.getsockname()[1] for free in sockets]
    for free in sockets:
        free.close()
    return ports


def ask(environment, *command):
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout.strip()


def wait_for(condition, seconds=600):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return value


def lines(path):
    return path.read_bytes().count(b"\n") if path.is_file() else 0


@pytest.mark.slow
def test_a_study_of_jobs_that_are_told_and_killed_has_the_table_of_one_process(slurm, text_folder, tmp_path):
    config = tmp_path / "study.py"
    config.write_text(RUN.format(text=str(text_folder), steps=4000, config=STUDY))
    command = [sys.executable, "-m", "jaxscale.cli", "study", str(config), "--json", "--workdir"]
    there = subprocess.run([*command, str(tmp_path / "here")], env=slurm, capture_output=True, text=True, cwd=ROOT)
    assert there.returncode == 0, there.stderr
    folder = tmp_path / "there"
    on_cluster = [*command, str(folder), "--cluster", "slurm", "--sbatch", "time=60", "--at-once", "1"]

    first = subprocess.Popen(on_cluster, env=slurm, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    metrics = [folder / "runs" / f"n={n}_seed=0" / "metrics.jsonl" for n in (256, 512)]
    wait_for(lambda: (folder / "jobs" / "jobs.json").is_file() or first.poll() is not None)
    assert first.poll() is None, first.stderr.read().decode()
    jobs = files.read_json(folder / "jobs" / "jobs.json")
    first.kill()  # who waits for jobs may go and come back
    first.wait()
    wait_for(lambda: lines(metrics[0]) > 5)
    ask(slurm, "scontrol", "requeue", jobs["n=256_seed=0"])  # as a preemption or a lost node does
    wait_for(lambda: lines(metrics[1]) > 5)
    # As Slurm does before the time is over. scancel would send it again to the job that comes back.
    ask(slurm, "timeout", "3", "scancel", "--signal=USR2", jobs["n=512_seed=0"])
    again = subprocess.run(on_cluster, env=slurm, cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert files.read_json(folder / "jobs" / "jobs.json") == jobs
    assert len(set(jobs.values())) == 4 and len({job.split("_")[0] for job in jobs.values()}) == 1  # one array
    for path in metrics:
        assert lines(path.with_name("attempts.jsonl")) == 2
    told = (folder / "jobs" / f"{jobs['n=512_seed=0']}_0_log.err").read_text()
    assert "Requeued job" in told and "Traceback" not in told
    assert (folder / "table.jsonl").read_bytes() == (tmp_path / "here" / "table.jsonl").read_bytes()
    assert json.loads(again.stdout)["agreement"] == json.loads(there.stdout)["agreement"]


@pytest.mark.slow
def test_a_job_that_fails_is_named_and_a_refused_option_told(slurm, text_folder, tmp_path):
    config = tmp_path / "study.py"
    config.write_text(RUN.format(text=str(text_folder), steps=20, config=STUDY))
    command = [sys.executable, "-m", "jaxscale.cli", "study", str(config), "--workdir", str(tmp_path / "study")]
    command += ["--cluster", "slurm", "--sbatch"]
    refused = subprocess.run([*command, "partition=nowhere"], env=slurm, capture_output=True, text=True, cwd=ROOT)
    assert refused.returncode == 2 and "invalid partition" in refused.stderr, refused.stderr
    # The mesh is that of the nodes, which only the jobs see.
    failed = subprocess.run(
        [*command, "time=5", "--run.mesh.fsdp", "3"], env=slurm, capture_output=True, text=True, cwd=ROOT
    )
    assert failed.returncode == 2 and "holds another configuration" in failed.stderr
    command[command.index(str(tmp_path / "study"))] = str(tmp_path / "other")
    failed = subprocess.run(
        [*command, "time=5", "--run.mesh.fsdp", "3"], env=slurm, capture_output=True, text=True, cwd=ROOT
    )
    assert failed.returncode == 1, failed.stderr
    assert "4 of 4 jobs ended and their runs are not done: n=256_seed=0: " in failed.stderr
    assert "does not fit 1 devices" in failed.stderr and "_0_log.err" in failed.stderr


@pytest.mark.slow
def test_a_run_of_two_processes_goes_back_to_the_queue_and_ends_as_undisturbed(slurm, text_folder, tmp_path):
    config = tmp_path / "run.py"
    config.write_text(RUN.format(text=str(text_folder), steps=1500, config="run"))
    train = ["train", str(config), "--mesh.replica=1", "--mesh.fsdp=-1", "--workdir"]
    whole = subprocess.run(
        [sys.executable, ROOT / "launch" / "local.py", "--processes", "2", "--devices", "1", "--", "jaxscale", *train,
         str(tmp_path / "whole")], env=slurm, capture_output=True, text=True,
    )  # fmt: skip
    assert whole.returncode == 0, whole.stderr
    sbatch = [
        "sbatch",
        "--nodes=1",
        "--ntasks=2",
        "--ntasks-per-node=2",
        "--gpus-per-node=0",
        f"--output={tmp_path}/log",
    ]
    said = ask(slurm, *sbatch, str(ROOT / "launch" / "slurm.sbatch"), *train, str(tmp_path / "cut"))
    job = re.search(r"\d+", said)[0]
    wait_for(lambda: lines(tmp_path / "cut" / "metrics.jsonl") > 5)
    ask(slurm, "scancel", "--batch", "--signal=USR1", job)  # as Slurm does before its time is over
    wait_for(lambda: job not in ask(slurm, "squeue", "--noheader", "--format", "%i").split())
    log = (tmp_path / "log").read_text()
    assert "asked to leave by the system" in log
    ended = [files.read_json(tmp_path / name / "summary.json") for name in ("whole", "cut")]
    assert ended[1]["attempts"] == 2, log
    np.testing.assert_allclose(ended[1]["loss"], ended[0]["loss"], rtol=1e-5)

    # What its owner cancels stays cancelled.
    said = ask(slurm, *sbatch, str(ROOT / "launch" / "slurm.sbatch"), *train, str(tmp_path / "cancelled"))
    job = re.search(r"\d+", said)[0]
    wait_for(lambda: lines(tmp_path / "cancelled" / "metrics.jsonl") > 5)
    ask(slurm, "scancel", job)
    wait_for(lambda: job not in ask(slurm, "squeue", "--noheader", "--format", "%i").split())
    assert not (tmp_path / "cancelled" / "summary.json").exists()


@pytest.mark.slow
def test_jobs_of_two_tasks_train_their_cells_on_both(slurm, text_folder, tmp_path):
    config = tmp_path / "study.py"
    config.write_text(RUN.format(text=str(text_folder), steps=20, config=STUDY))
    command = [sys.executable, "-m", "jaxscale.cli", "study", str(config), "--workdir", str(tmp_path / "study")]
    command += ["--run.mesh.replica", "2", "--cluster", "slurm", "--sbatch", "ntasks-per-node=2", "--sbatch", "time=9"]
    done = subprocess.run(command, env=slurm, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr  # a mesh of two devices fits neither one task nor this process
    assert len(files.read_json_lines(tmp_path / "study" / "table.jsonl")) == 4
