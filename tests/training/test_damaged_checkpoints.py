"""Bits that change on the disk: a run goes on from what was saved, or says that it cannot."""

import pathlib
import shutil
import subprocess
import sys

import environment
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import files, sharding, training
from jaxscale.errors import RunError
from jaxscale.training.checkpoints import Checkpoints, restore_params

ROOT = pathlib.Path(__file__).parents[2]


def state_of(step):
    rng = np.random.default_rng(step)
    values = {
        "w": jnp.asarray(rng.normal(size=(40, 7)), jnp.float32),
        "b": jnp.asarray(rng.normal(size=7), jnp.float32),
    }
    return {"params": values, "step": jnp.int32(step)}


def progress_of(step):
    return {"history": [[step, 1 / 3]], "seconds": 0.1 + step}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Checkpoints of steps 2 and 3."""
    folder = tmp_path_factory.mktemp("saved") / "checkpoints"
    with Checkpoints(folder) as checkpoints:
        for step in (2, 3):
            checkpoints.save(step, state_of(step), progress_of(step), 5.0 - step)
    return folder


def flip(path, place, bits=1):
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= bits
    path.write_bytes(content)


def is_what_was_saved(state, progress):
    step = int(state["step"])
    same = jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), state, state_of(step))
    return all(jax.tree.leaves(same)) and progress == progress_of(step)


def test_wherever_a_bit_changes_what_comes_back_is_what_was_saved(saved, tmp_path):
    rng, came_back = np.random.default_rng(0), {2: 0, 3: 0}
    for path in sorted(path.relative_to(saved) for path in (saved / "3").rglob("*") if path.is_file()):
        for place in rng.integers(0, 2**31, size=3).tolist():
            shutil.rmtree(tmp_path, ignore_errors=True)
            shutil.copytree(saved, tmp_path / "checkpoints")
            flip(tmp_path / "checkpoints" / path, place, 1 << int(rng.integers(8)))
            told = []
            with Checkpoints(tmp_path / "checkpoints", told.append) as checkpoints:
                state, progress = checkpoints.restore_newest(state_of(0))
            assert is_what_was_saved(state, progress), (path, place)
            assert len(told) == (int(state["step"]) == 2), (path, place, told)
            came_back[int(state["step"])] += 1
    assert min(came_back.values()) > 3  # of many files every bit matters, of others none


def largest(folder):
    """The file with the arrays."""
    return max((path for path in folder.rglob("d/*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_parameters_that_are_not_what_was_saved_are_refused(saved, tmp_path):
    params = state_of(0)["params"]
    shutil.copytree(saved, tmp_path / "checkpoints")
    restored = restore_params(tmp_path / "checkpoints", 3, params)
    np.testing.assert_array_equal(restored["w"], state_of(3)["params"]["w"])
    data = largest(tmp_path / "checkpoints" / "3")
    flip(data, data.stat().st_size // 2)
    with pytest.raises(RunError, match=r"checkpoints/3' cannot be used: .* is not what was saved.*train it again"):
        restore_params(tmp_path / "checkpoints", 3, params)
    with pytest.raises(RunError, match=r"checkpoints/1' cannot be used: .*No such file.*train it again"):
        restore_params(tmp_path / "checkpoints", 1, params)


NO_MORE_FILES = """
import os, resource, sys
import jax.numpy as jnp
from jaxscale.errors import RunError
from jaxscale.training.checkpoints import Checkpoints

zeros = {"params": {"w": jnp.zeros((40, 7)), "b": jnp.zeros(7)}, "step": jnp.int32(0)}
with Checkpoints(sys.argv[1]) as checkpoints:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, hard))
    try:
        checkpoints.restore_newest(zeros)
    except RunError as error:
        print(error)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    print(checkpoints.restore_newest(zeros)[0]["step"])
"""


def test_files_that_cannot_be_opened_now_are_not_taken_for_damaged(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints")
    command = [sys.executable, "-c", NO_MORE_FILES, str(tmp_path / "checkpoints")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    told, step = done.stdout.splitlines()
    assert "checkpoints/3'" in told and "cannot be read now" in told and "Too many open files" in told, done.stderr
    assert step == "3" and not (tmp_path / "damaged").exists()


def test_a_checkpoint_without_checksums_is_taken_as_it_is(saved, tmp_path):
    shutil.copytree(saved, tmp_path / "checkpoints")
    for path, old in (("progress/metadata", progress_of(3)), ("metrics/metrics", {"loss": 2.0, "step": 3})):
        files.write_json(tmp_path / "checkpoints" / "3" / path, old)
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        assert is_what_was_saved(*checkpoints.restore_newest(state_of(0)))
    assert restore_params(tmp_path / "checkpoints", 3, state_of(0)["params"])["w"].shape == (40, 7)


@pytest.mark.thorough
def test_a_run_whose_newest_checkpoint_lost_bits_ends_as_if_it_had_not(tiny_run, tiny_store, tmp_path):
    whole = training.train(tiny_run, tiny_store, tmp_path)
    (tmp_path / "summary.json").unlink()
    data = largest(tmp_path / "checkpoints" / "12")
    # Its layout differs from run to run, and nobody reads a fifth of its bytes: of sixteen bits some are an array's.
    for part in range(16):
        flip(data, data.stat().st_size * (2 * part + 1) // 32)
    with pytest.warns(UserWarning, match="the checkpoint of step 12 cannot be used and was moved to "):
        again = training.train(tiny_run, tiny_store, tmp_path)
    assert (again["loss"], again["step"]) == (whole["loss"], whole["step"])
    assert files.read_json_lines(tmp_path / "attempts.jsonl")[-1]["step"] == 8
    program = training.program(tiny_run, tiny_store.vocab_size, sharding.make_mesh(tiny_run.mesh))
    assert training.restore_params(tmp_path / "checkpoints", 12, program.abstract.params)


@pytest.mark.slow
@pytest.mark.parametrize("place", [0, 0.5], ids=["unreadable", "changed"])
def test_two_processes_agree_on_what_one_of_them_cannot_read(place, tiny_run, tmp_path):
    config = tmp_path / "tiny.py"
    config.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {tiny_run!r}\n")
    launcher = [sys.executable, str(ROOT / "launch" / "local.py"), "--processes", "2", "--"]
    command = [sys.executable, "-m", "jaxscale.cli", "train", str(config), "--workdir", str(tmp_path / "run")]
    command += ["--mesh.replica", "1", "--mesh.fsdp", "-1"]
    train = lambda: subprocess.run(
        [*launcher, *command], env=environment.of_child(), cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert (done := train()).returncode == 0, done.stderr
    loss = files.read_json(tmp_path / "run" / "summary.json")["loss"]
    (tmp_path / "run" / "summary.json").unlink()
    data = largest(tmp_path / "run" / "checkpoints" / "12" / "state" / "ocdbt.process_1")
    flip(data, int(place * data.stat().st_size), 0xFF)
    assert (done := train()).returncode == 0, done.stderr
    assert "the checkpoint of step 12 cannot be used" in done.stderr
    assert files.read_json(tmp_path / "run" / "summary.json")["loss"] == loss
    assert files.read_json_lines(tmp_path / "run" / "attempts.jsonl")[-1]["step"] == 8
