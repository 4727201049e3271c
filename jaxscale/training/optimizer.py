"""AdamW and its schedule. The learning rate is an argument of the step, so runs of any length share one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxscale import config as configs


def direction(optimizer: configs.Optimizer) -> optax.GradientTransformation:
    """Clipped AdamW (Loshchilov & Hutter 2019) for a learning rate of 1, to be subtracted; decay on matrices only."""
    matrices = lambda params: jax.tree.map(lambda p: p.ndim >= 2, params)
    return optax.chain(
        optax.clip_by_global_norm(optimizer.clip_norm),
        optax.scale_by_adam(b1=optimizer.b1, b2=optimizer.b2),
        optax.add_decayed_weights(optimizer.weight_decay, mask=matrices),
    )


def learning_rates(optimizer: configs.Optimizer, steps: int) -> np.ndarray:
    """Learning rate of every step, (steps,) float32: linear warm-up, then what `optimizer.schedule` names.

    The warm-up is cut to a fifth of a run that is short.
    """
    peak, last = optimizer.learning_rate, optimizer.learning_rate * optimizer.final_fraction
    warmup = min(optimizer.warmup_steps, steps // 5)
    decay = {"constant": 0, "cosine": steps - warmup, "wsd": round(optimizer.decay_fraction * (steps - warmup))}[
        optimizer.schedule
    ]
    falling = (
        optax.cosine_decay_schedule(peak, max(decay, 1), alpha=optimizer.final_fraction)
        if optimizer.schedule == "cosine"
        else optax.linear_schedule(peak, last, max(decay, 1))
    )
    pieces = [
        optax.linear_schedule(peak / max(warmup, 1), peak, max(warmup - 1, 1)),
        optax.constant_schedule(peak),
        falling,
    ]
    schedule = optax.join_schedules(pieces, [warmup, steps - decay - 1])
    return np.asarray(jax.vmap(schedule)(jnp.arange(steps)), np.float32)
