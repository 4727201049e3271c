"""State, step, loop, checkpoints, metrics."""

from jaxscale.training.loop import NonFiniteLoss, check, train

__all__ = ["NonFiniteLoss", "check", "train"]
