"""The launchers for clusters: scripts without faults, a valid JobSet, and dry runs that print what would be run."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import jax
import pytest

from jaxscale.sharding import processes

LAUNCH = pathlib.Path(__file__).parents[2] / "launch"
COMMAND = ["train", "configs/text_loss.py", "--workdir", "runs/with space", "--tokens", "65536"]
SLICE = ["--name", "scaling", "--zone", "us-west4-a", "--type", "v5litepod-16"]
# Stands for a program of the cluster: prints how it was called. Of a slice that is asked for there is none yet.
PRINTS_ITS_ARGUMENTS = """#!/bin/sh
case "$*" in *describe*) exit 1 ;; esac
basename "$0"
for argument; do printf '  <%s>\\n' "$argument"; done
"""


def launch(script, *arguments, tools=None, **variables):
    path = f"{tools}:{os.environ['PATH']}" if tools else os.environ["PATH"]
    environment = os.environ | {"PATH": path, "TMPDIR": "/scratch"} | variables
    return subprocess.run(["bash", LAUNCH / script, *arguments], env=environment, capture_output=True, text=True)


@pytest.fixture
def tools(tmp_path):
    """A folder of programs that only print how they were called, apart by tabs."""
    for name in ("srun", "scancel", "squeue", "scontrol", "gcloud", "git"):
        (tmp_path / name).write_text(PRINTS_ITS_ARGUMENTS)
        (tmp_path / name).chmod(0o755)
    return tmp_path


@pytest.mark.parametrize("script", ["slurm.sbatch", "tpu_pod.sh"])
def test_shellcheck_finds_nothing(script):
    if not shutil.which("shellcheck"):
        pytest.skip("needs shellcheck: apt-get install shellcheck")
    found = subprocess.run(["shellcheck", LAUNCH / script], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


@pytest.mark.parametrize(
    ("script", "options"), [("slurm.sbatch", []), ("tpu_pod.sh", [*SLICE, "--spot", "--mount", "my bucket", "--"])]
)
def test_a_dry_run_prints_exactly_what_is_run(tools, script, options):
    dry = ["--dry-run"] if script == "tpu_pod.sh" else []
    printed = launch(script, *dry, *options, *COMMAND, DRY_RUN="1").stdout
    by_hand = subprocess.run(
        ["bash", "-c", printed],
        env=os.environ | {"PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
    )
    assert by_hand.stdout == launch(script, *options, *COMMAND, tools=tools, SLURM_JOB_ID="7").stdout
    assert "jaxscale" in by_hand.stdout and by_hand.stdout.count("runs/with space") == 1


def test_every_worker_of_a_slice_runs_the_command(tools):
    *_, last = launch("tpu_pod.sh", *SLICE, "--dry-run", "--", *COMMAND).stdout.splitlines()
    ssh = shlex.split(last)
    assert ssh[:5] == ["gcloud", "compute", "tpus", "tpu-vm", "ssh"] and "--worker=all" in ssh
    inside = shlex.split(ssh[-1])
    assert inside[:3] == ["cd", "jaxscale", "&&"] and inside[3] == "JAXSCALE_COORDINATOR=auto"
    assert inside[4:] == [".venv/bin/jaxscale", *COMMAND]


@pytest.mark.parametrize(
    ("state", "code", "done"), [("READY", 0, []), ("PREEMPTED", 0, ["delete", "create"]), ("CREATING", 1, [])]
)
def test_a_slice_is_used_made_again_or_waited_for(tools, state, code, done):
    (tools / "gcloud").write_text(f'#!/bin/sh\nif [ "$4" = describe ]; then echo {state}; else echo "$4"; fi\n')
    said = launch("tpu_pod.sh", *SLICE, "--", *COMMAND, tools=tools)
    assert said.returncode == code
    assert [line for line in said.stdout.splitlines() if line in ("delete", "create")] == done
    assert state != "CREATING" or "slice scaling is CREATING. Wait" in said.stderr


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("slurm.sbatch", [], "say what to run"),
        ("tpu_pod.sh", ["--", *COMMAND], "--name is needed"),
        ("tpu_pod.sh", [*SLICE[:4], "--", *COMMAND], "--type is needed"),
        ("tpu_pod.sh", SLICE, "say what jaxscale is to do"),
        ("tpu_pod.sh", [*SLICE, "--zoen", "a"], "unknown option --zoen"),
        ("tpu_pod.sh", ["--name"], "--name needs a value"),
    ],
)
def test_bad_options_are_told_before_anything_is_run(tools, script, arguments, sentence):
    said = launch(script, *arguments, tools=tools)
    assert (said.returncode, said.stdout) == (2, "")
    assert sentence in said.stderr


@pytest.mark.parametrize(
    ("ended", "state", "again"),
    [(75, "RUNNING", True), (75, "COMPLETING", False), (1, "RUNNING", False), (0, "RUNNING", False)],
)
def test_a_slurm_job_that_saved_and_was_not_cancelled_is_queued_again(tools, ended, state, again):
    (tools / "srun").write_text(f"#!/bin/sh\nexit {ended}\n")
    (tools / "squeue").write_text(f"#!/bin/sh\necho {state}\n")
    said = launch("slurm.sbatch", *COMMAND, tools=tools, SLURM_JOB_ID="7")
    assert said.returncode == ended
    assert (said.stdout == "scontrol\n  <requeue>\n  <7>\n") is again


def test_the_job_set_has_what_a_slice_needs():
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    with open(LAUNCH / "gke.yaml") as file:
        (document,) = yaml.safe_load_all(file)
    assert document["apiVersion"] == "jobset.x-k8s.io/v1alpha2" and document["kind"] == "JobSet"
    assert re.fullmatch("[a-z0-9]([-a-z0-9]*[a-z0-9])?", document["metadata"]["name"])
    (slices,) = document["spec"]["replicatedJobs"]
    assert {"name", "replicas", "template"} == slices.keys()
    job = slices["template"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    # A policy for failed pods is only allowed where Kubernetes does not restart them in place.
    assert job["backoffLimit"] == 0 and pod["restartPolicy"] == "Never"
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["onExitCodes"] == {"containerName": container["name"], "operator": "In", "values": [2]}
    assert document["spec"]["failurePolicy"]["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    assert job["parallelism"] == job["completions"]
    rows, columns = map(int, pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"].split("x"))
    chips = container["resources"]["limits"]["google.com/tpu"]
    assert rows * columns == job["completions"] * chips
    assert container["command"][:2] == ["jaxscale", "train"]
    assert {"name": "JAXSCALE_COORDINATOR", "value": "auto"} in container["env"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts.keys() == {volume["name"] for volume in pod["volumes"]}
    (workdir,) = (part.split("=")[1] for part in container["command"] if part.startswith("--workdir="))
    assert pathlib.PurePath(workdir).is_relative_to(mounts["runs"])


def test_auto_leaves_it_to_jax_to_find_the_others(monkeypatch):
    asked = {}
    monkeypatch.setenv("JAXSCALE_COORDINATOR", "auto")
    monkeypatch.setattr(jax.distributed, "initialize", lambda **arguments: asked.update(arguments))
    processes.start(startup_seconds=5)
    assert asked["initialization_timeout"] == 5
    assert not {"coordinator_address", "num_processes", "process_id"} & asked.keys()
