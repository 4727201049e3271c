"""Which checkpoints stay: the latest and the best, over restarts too."""

import shutil

import jax.numpy as jnp
import pytest

from jaxscale.training.checkpoints import Checkpoints


def kept(folder, losses):
    with Checkpoints(folder) as checkpoints:
        for step, loss in losses:
            checkpoints.save(step, {"w": jnp.full((3,), float(step))}, {"history": []}, loss)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([(1, 3.0), (2, 2.0), (3, 2.5), (4, 2.6)], [2, 3, 4]),
        (
            [(1, 3.0), (2, 2.0), (3, 2.0), (4, 2.5), (5, 2.6)],
            [2, 4, 5],
        ),  # of equal losses the earliest, as in the summary
        ([(1, 3.0), (2, 2.4), (3, 2.0)], [2, 3]),
    ],
)
def test_latest_and_best_stay(losses, steps, tmp_path):
    assert kept(tmp_path, losses) == steps


def test_a_restart_remembers_which_is_the_best(tmp_path):
    assert kept(tmp_path, [(1, 3.0), (2, 2.0), (3, 2.5)]) == [2, 3]
    assert kept(tmp_path, [(4, 2.4), (5, 2.3)]) == [2, 4, 5]
    assert kept(tmp_path, [(6, 1.9), (7, 2.2), (8, 2.3)]) == [6, 7, 8]


def test_state_and_progress_come_back(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.restore_newest({"w": jnp.zeros(3)}) is None
        checkpoints.save(5, {"w": jnp.arange(3.0)}, {"history": [[5, 0.1]]}, 0.1)
    with Checkpoints(tmp_path) as checkpoints:
        state, progress = checkpoints.restore_newest({"w": jnp.zeros(3)})
    assert state["w"].tolist() == [0, 1, 2]
    assert progress == {"history": [[5, 0.1]]}


def _cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _remove(path):
    shutil.rmtree(path.parent)


@pytest.mark.parametrize("damage", [_cut, _flip, _remove])
@pytest.mark.parametrize("item", ["state", "progress"])
def test_of_a_damaged_checkpoint_the_one_before_is_used(damage, item, tmp_path):
    folder, told = tmp_path / "checkpoints", []
    kept(folder, [(1, 3.0), (2, 2.5), (3, 2.0)])
    content = (folder / "3" / item).rglob("metadata" if item == "progress" else "*")
    damage(max((path for path in content if path.is_file()), key=lambda path: path.stat().st_size))
    with Checkpoints(folder, told.append) as checkpoints:
        state, _ = checkpoints.restore_newest({"w": jnp.zeros(3)})
        assert state["w"].tolist() == [2, 2, 2]
        assert "checkpoint of step 3 cannot be used" in told[0] and (tmp_path / "damaged" / "3").is_dir()
        # The step is made again and saved under its name.
        checkpoints.save(3, {"w": jnp.full((3,), 3.0)}, {"history": []}, 2.0)
    with Checkpoints(folder, told.append) as checkpoints:
        assert checkpoints.restore_newest({"w": jnp.zeros(3)})[0]["w"].tolist() == [3, 3, 3]
    assert len(told) == 1


def test_a_checkpoint_that_was_never_finished_is_no_checkpoint(tmp_path):
    kept(tmp_path, [(1, 3.0), (2, 2.5)])
    shutil.copytree(tmp_path / "2", tmp_path / "3.orbax-checkpoint-tmp-7")
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() == 2
