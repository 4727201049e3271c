"""A study with a teacher whose process is killed, again and again, and started again."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from jaxscale import studies
from jaxscale.config import Corpus


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.slow
def test_a_study_killed_anywhere_ends_with_the_same_files(tmp_path, text_folder):
    """In the training of its own teacher, in the teacher's pass, among the students: each time by SIGKILL."""
    config = studies.TeacherStudy(
        corpus=Corpus(kind="files", path=str(text_folder), held_out_fraction=0.5),
        teacher=studies.Teacher(
            name="trained",
            own=studies.OwnTeacher(vocabulary=300, layers=2, width=8, steps=200),
            layers=2,
            windows=1,
        ),
        contexts=studies.Contexts(window=16, skipped=6, training=200, held_out=48, positions=10),
        sizes=(100, 200, 500, 2000),
        seeds=(0, 1),
        training=studies.StudentTraining(
            layers=1, heads=1, steps=400, batch_size=4, evaluate_every=5, checkpoint_every=20, widths=(8,)
        ),
        k=5,
        largest_kernel=500,
        resamples=100,
    )
    path = tmp_path / "study.py"
    path.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {config!r}\n")
    command = [sys.executable, "-m", "jaxscale.cli", "study", str(path), "--workdir"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    first_part = killed / "teacher/part_00000.npz"
    written = None
    for sign, not_yet in (
        ("own_teacher/checkpoints/*/_CHECKPOINT_METADATA", "contexts"),
        ("teacher/part_00002.npz", "teacher/part_00014.npz"),
        ("training_8.npz", "candidates/8.jsonl"),
    ):
        process = subprocess.Popen([*command, str(killed)], env=environment, stdout=subprocess.DEVNULL)
        while not list(killed.glob(sign)):
            assert process.poll() is None, f"ended before {sign} was there"
            time.sleep(0.005)
        process.kill()
        assert process.wait() == -signal.SIGKILL and not (killed / not_yet).exists()
        if first_part.exists():
            written = written or first_part.stat().st_mtime_ns
            assert first_part.stat().st_mtime_ns == written
    for folder in (killed, whole):
        subprocess.run([*command, str(folder)], env=environment, check=True, stdout=subprocess.DEVNULL)
    assert first_part.stat().st_mtime_ns == written  # the pass was not repeated
    exact = lambda folder: [row | {"seconds": 0} for row in lines(folder / "table.jsonl")]
    assert exact(killed) == exact(whole)
    for name in ("geometry.json", "references.json", "teacher/part_00000.npz", "teacher/part_00005.npz"):
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
