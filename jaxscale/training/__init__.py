"""State, step, loop, checkpoints, metrics."""

from jaxscale.training.checkpoints import restore_params
from jaxscale.training.dry_run import describe
from jaxscale.training.loop import NonFiniteLoss, check, prepare, train
from jaxscale.training.step import Program, State, program
from jaxscale.training.sweep import check_together, train_together

__all__ = [
    "NonFiniteLoss",
    "Program",
    "State",
    "check",
    "check_together",
    "describe",
    "prepare",
    "program",
    "restore_params",
    "train",
    "train_together",
]


def __dir__() -> list[str]:
    return list(__all__)
