"""Which checkpoints stay: the latest and the best, over restarts too."""

import jax.numpy as jnp
import pytest

from jaxscale.training.checkpoints import Checkpoints


def kept(folder, losses):
    with Checkpoints(folder) as checkpoints:
        for step, loss in losses:
            checkpoints.save(step, {"w": jnp.full((3,), step)}, {"history": []}, loss)
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit())


@pytest.mark.parametrize(
    ("losses", "steps"),
    [
        ([(1, 3.0), (2, 2.0), (3, 2.5), (4, 2.6)], [2, 4]),
        ([(1, 3.0), (2, 2.0), (3, 2.0), (4, 2.5)], [2, 4]),  # of equal losses the earliest, as in the summary
        ([(1, 3.0), (2, 2.0)], [2]),
    ],
)
def test_latest_and_best_stay(losses, steps, tmp_path):
    assert kept(tmp_path, losses) == steps


def test_a_restart_remembers_which_is_the_best(tmp_path):
    assert kept(tmp_path, [(1, 3.0), (2, 2.0), (3, 2.5)]) == [2, 3]
    assert kept(tmp_path, [(4, 2.4), (5, 2.3)]) == [2, 5]
    assert kept(tmp_path, [(6, 1.9), (7, 2.2)]) == [6, 7]


def test_state_and_progress_come_back(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest() is None
        checkpoints.save(5, {"w": jnp.arange(3.0)}, {"history": [[5, 0.1]]}, 0.1)
    with Checkpoints(tmp_path) as checkpoints:
        state, progress = checkpoints.restore(checkpoints.latest(), {"w": jnp.zeros(3)})
    assert state["w"].tolist() == [0, 1, 2]
    assert progress == {"history": [[5, 0.1]]}
