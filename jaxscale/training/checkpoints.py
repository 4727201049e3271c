"""Checkpoints of a run: the latest to go on from, the best to measure; written by orbax in the background."""

import pathlib
import shutil

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from jaxscale import files
from jaxscale.sharding import processes


class Checkpoints:
    """The checkpoints below a run's folder. A context manager: leaving it waits for the last write.

    Left by an exception it does not wait where there are several processes: call `wait` before saying that it is saved.

    Each holds the training state and the run's progress (a JSON document); a step's folder appears only when complete.
    The two newest are kept, in case one is damaged, and the best.

    Args:
      folder: where they lie.
      warn: called with a sentence when a damaged one is found.
    """

    def __init__(self, folder, warn=lambda sentence: None):
        self.folder, self._warn = pathlib.Path(folder).absolute(), warn
        # The earliest of equal losses is the best, as in the run's summary.
        order = lambda metrics: (metrics["loss"], metrics["step"])
        kept = [managers.LatestN(2), managers.BestN(get_metric_fn=order, reverse=True, n=1)]
        # Without best_fn orbax would forget the losses on a restart, and then keep every earlier checkpoint.
        options = ocp.CheckpointManagerOptions(
            preservation_policy=managers.AnyPreservationPolicy(kept), best_fn=order, best_mode="min"
        )
        with files.full_disk_told(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, _):
        if kind is not None and jax.process_count() > 1:
            return  # the others may be gone, and would be waited for
        self.wait()
        self._manager.close()

    def wait(self):
        """Until all that was saved is whole on the disk; all processes wait together. A full disk is a RunError."""
        with files.full_disk_told(self.folder):
            self._manager.wait_until_finished()

    def save(self, step, state, progress, loss):
        """Saves in the background; `loss` decides which checkpoint is the best. A full disk is a RunError."""
        items = ocp.args.Composite(state=ocp.args.StandardSave(state), progress=ocp.args.JsonSave(progress))
        with files.full_disk_told(self.folder):
            self._manager.save(step, args=items, metrics={"loss": loss, "step": step}, force=True)

    def latest(self):
        """Step of the newest checkpoint, or None."""
        return self._manager.latest_step()

    def restore_newest(self, abstract):
        """The state (shapes and shardings as in `abstract`) and the progress of the newest checkpoint that can be read.

        None if there is none. Those that cannot be read are put aside, into the folder `damaged`.
        """
        items = ocp.args.Composite(state=ocp.args.StandardRestore(abstract), progress=ocp.args.JsonRestore())
        while (step := self.latest()) is not None:
            try:
                restored = self._manager.restore(step, args=items)
                return restored["state"], restored["progress"]
            except Exception as error:  # whatever orbax and tensorstore say of a damaged file
                self._put_aside(step, error)
        return None

    def _put_aside(self, step, error):
        damaged = self.folder.with_name("damaged") / str(step)
        reason = str(error).strip().split("\n")[0][:200]
        self._warn(f"the checkpoint of step {step} cannot be read and was moved to {damaged}: {reason}")
        if processes.is_first():
            damaged.parent.mkdir(exist_ok=True)
            shutil.rmtree(damaged, ignore_errors=True)
            (self.folder / str(step)).rename(damaged)
        processes.meet(f"put aside {step}")
        self._manager.reload()


def restore_params(folder, step, abstract_params):
    """Parameters of the checkpoint at `step`, without the optimizer's moments."""
    path = pathlib.Path(folder).absolute() / str(step) / "state"
    with ocp.PyTreeCheckpointer() as reader:
        args = ocp.checkpoint_utils.construct_restore_args({"params": abstract_params})
        restored = reader.restore(
            path, args=ocp.args.PyTreeRestore({"params": abstract_params}, restore_args=args, partial_restore=True)
        )
    return jax.tree.map(lambda x: x, restored["params"])
