"""Checkpoints of a run: the latest to go on from, the best to measure; written by orbax in the background."""

import pathlib

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from jaxscale import files


class Checkpoints:
    """The checkpoints below a run's folder. A context manager: leaving it waits for the last write.

    Each holds the training state and the run's progress (a JSON document); a step's folder appears only when complete.
    """

    def __init__(self, folder):
        self.folder = pathlib.Path(folder).absolute()
        # The earliest of equal losses is the best, as in the run's summary.
        order = lambda metrics: (metrics["loss"], metrics["step"])
        kept = [managers.LatestN(1), managers.BestN(get_metric_fn=order, reverse=True, n=1)]
        # Without best_fn orbax would forget the losses on a restart, and then keep every earlier checkpoint.
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(kept), best_fn=order, best_mode="min"
        )
        with files.full_disk_told(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with files.full_disk_told(self.folder):
            self._manager.wait_until_finished()
        self._manager.close()

    def save(self, step, state, progress, loss):
        """Saves in the background; `loss` decides which checkpoint is the best. A full disk is a RunError."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        with files.full_disk_told(self.folder):
            self._manager.save(step, args=items, metrics={"loss": loss, "step": step}, force=True)

    def latest(self):
        """Step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, step, abstract):
        """The state (shapes and shardings as in `abstract`) and the progress saved at `step`."""
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
        restored = self._manager.restore(step, args=items)
        return restored["state"], restored["progress"]


def restore_params(folder, step, abstract_params):
    """Parameters of the checkpoint at `step`, without the optimizer's moments."""
    path = pathlib.Path(folder).absolute() / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        args = ocp.checkpoint_utils.construct_restore_args({"params": abstract_params})
        restored = reader.restore(
            path, args=ocp.args.PyTreeRestore({"params": abstract_params}, restore_args=args, partial_restore=True)
        )
    return jax.tree.map(lambda x: x, restored["params"])
