"""Cells as jobs: what is submitted, what a job does in its own process, and what is told before anything is."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from jaxscale import config as configs
from jaxscale import data, files
from jaxscale.errors import InputError
from jaxscale.studies.scaling import cells, cluster
from jaxscale.studies.scaling import study as data_scaling


@pytest.fixture
def workdir(tiny_study, tmp_path):
    """A study's folder before its first run."""
    data.prepare(tiny_study.run.corpus, tiny_study.run.tokenizer, tmp_path / "corpus")
    configs.claim(tmp_path, tiny_study)
    return tmp_path


@pytest.fixture
def local():
    """Runs jobs as processes of this host, as submitit does on a cluster's nodes."""
    return pytest.importorskip("submitit", reason="needs submitit: pip install 'jaxscale[slurm]'").LocalExecutor


@pytest.fixture
def srun(tmp_path, monkeypatch):
    """A host that looks as if it had Slurm, as far as the path goes."""
    pytest.importorskip("submitit", reason="needs submitit: pip install 'jaxscale[slurm]'")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\n")
    (tmp_path / "bin" / "srun").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")


def study_command(file, workdir, *flags):
    return [sys.executable, "-m", "jaxscale.cli", "study", str(file), "--workdir", str(workdir), *flags]


@pytest.mark.thorough
def test_a_dry_run_prints_what_sbatch_would_be_given(tiny_study, srun, tmp_path):
    file, folder = tmp_path / "tiny.py", tmp_path / "study"
    file.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {tiny_study!r}\n")
    flags = ["--cluster", "slurm", "--sbatch", "partition=long", "--sbatch", "exclusive", "--together", "3"]
    done = subprocess.run(
        study_command(file, folder, *flags, "--at-once", "2", "--dry-run", "--json"), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert [len(names) for names in said["jobs"]] == [3, 3, 2]
    asked = {line.removeprefix("#SBATCH --") for line in said["script"].splitlines() if line.startswith("#SBATCH")}
    assert {"array=0-2%2", "partition=long", "exclusive", "requeue", "signal=USR2@120"} <= asked
    assert f"submitit.core._submit {folder / 'jobs'}" in said["script"]
    assert not folder.exists()


@pytest.mark.thorough
def test_a_job_trains_its_cells_and_again_only_reads_them(tiny_study, workdir, local):
    names = ["n=256_seed=0", "n=1024_seed=1"]
    executor = local(workdir / "jobs")
    executor.update_parameters(timeout_min=30)
    executor.submit(cluster.Job(str(workdir), names)).result()
    assert sorted(path.name for path in (workdir / "runs").iterdir()) == sorted(names)
    written = {path: path.stat().st_mtime_ns for path in workdir.glob("runs/*/summary.json")}
    assert len(written) == 2
    cluster.Job(str(workdir), names)()
    assert {path: path.stat().st_mtime_ns for path in written} == written


@pytest.mark.slow
def test_a_job_whose_time_is_over_saves_and_goes_on(tiny_study, tmp_path, local):
    training = dataclasses.replace(tiny_study.run.training, steps=4000, patience=0, evaluate_every=4000, log_every=10)
    study = dataclasses.replace(tiny_study, run=dataclasses.replace(tiny_study.run, training=training))
    data.prepare(study.run.corpus, study.run.tokenizer, tmp_path / "corpus")
    configs.claim(tmp_path, study)
    name = "n=256_seed=0"
    executor = local(tmp_path / "jobs", max_num_timeout=cluster.TIMEOUTS)
    executor.update_parameters(timeout_min=30)
    job = executor.submit(cluster.Job(str(tmp_path), [name]))
    metrics = tmp_path / "runs" / name / "metrics.jsonl"
    while not (metrics.is_file() and metrics.stat().st_size):
        assert not job.done(), job.stderr()
        time.sleep(0.05)
    (child,) = pathlib.Path(f"/proc/{job.job_id}/task/{job.job_id}/children").read_text().split()
    os.kill(int(child), signal.SIGUSR2)  # as Slurm does before the time is over
    job.result()
    starts = [row["step"] for row in files.read_json_lines(metrics.with_name("attempts.jsonl"))]
    # No evaluation had saved anything: what it went on from was saved because of the signal.
    assert len(starts) == 2 and 0 == starts[0] < starts[1] < 4000
    assert files.read_json(metrics.with_name("summary.json"))["attempts"] == 2


def test_options_of_sbatch_are_names_and_values():
    assert cluster.parse(["partition=gpu", "--gpus-per-node=1", "exclusive"]) == {
        "partition": "gpu",
        "gpus-per-node": "1",
        "exclusive": True,
    }
    for bad in ("", "=1", "partition=", "a b=1"):
        with pytest.raises(InputError, match="is not one of its options"):
            cluster.parse([bad])


def test_groups_are_all_cells_the_cheapest_first(tiny_study):
    study = dataclasses.replace(tiny_study, together=3)
    together = cells.groups(study)
    assert [len(names) for names in together] == [3, 3, 2]
    assert [name for names in together for name in names] == [name for name, *_ in cells.cells(study)]


def test_a_host_without_slurm_is_refused_before_anything_is_submitted(tiny_study, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no srun here"):
        data_scaling.run(tiny_study, tmp_path / "study", cluster=cluster.Cluster())
    assert not (tmp_path / "study" / "jobs" / "jobs.json").exists()


def test_one_of_several_processes_is_refused(tiny_study, tmp_path, monkeypatch):
    file = tmp_path / "tiny.py"
    file.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {tiny_study!r}\n")
    from jaxscale import cli

    monkeypatch.setenv("JAXSCALE_COORDINATOR", "127.0.0.1:1234")
    monkeypatch.setenv("JAXSCALE_PROCESSES", "2")
    monkeypatch.setenv("JAXSCALE_PROCESS", "0")
    assert cli.main(["study", str(file), "--workdir", str(tmp_path / "study")]) == 2
    assert not (tmp_path / "study").exists()
