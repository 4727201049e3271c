"""State, step, loop, checkpoints, metrics."""

from jaxscale.training.checkpoints import restore_params
from jaxscale.training.dry_run import describe
from jaxscale.training.loop import NonFiniteLoss, check, prepare, train
from jaxscale.training.step import Program, State, program

__all__ = ["NonFiniteLoss", "Program", "State", "check", "describe", "prepare", "program", "restore_params", "train"]
