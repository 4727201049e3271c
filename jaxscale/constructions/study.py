"""What gradient descent does to each encoding, and how a trained network compares with the constructed one.

    rows = encoding_study(dimension=1, grid=8, steps=2000)

For each target, encoding and choice of what may move: the error of the construction, the error after training from it,
and the error after equally many steps of the same optimizer from random parameters of the same shape. Each is at the
best of the same learning rates; random parameters are also at the best of several scales.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from jaxscale.arguments import numpy_seed
from jaxscale.constructions.cube import approximate
from jaxscale.constructions.targets import Target, cone, takagi
from jaxscale.constructions.training import Fitted, Parts, mean_squared_error, random_params, train_each
from jaxscale.errors import RunError
from jaxscale.models import relu_transformer as rt

ENCODINGS = ("quarter_circle", "full_circle", "parabola", "binary", "structured")
LEARNING_RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
SCALES = (0.25, 0.5, 1.0, 2.0)  # of all random parameters, next to how `init` draws them


def standard_targets(dimension: int) -> dict[str, Target]:
    """Functions of smoothness 1 and ½, rough at one point or on all scales; not at nodes, unless 3 divides N."""
    third = np.full(dimension, 1 / 3)
    return {
        "cone, β = 1": cone(third),
        "cone, β = ½": cone(third, 0.5),
        "Takagi, β = 1": takagi(third),
        "Takagi, β = ½": takagi(third, 0.5),
    }


def encoding_study(
    dimension: int,
    grid: int,
    steps: int = 2000,
    encodings: Sequence[str] = ENCODINGS,
    parts: Sequence[Parts] = ("readout", "values", "all"),
    targets: Mapping[str, Target] | None = None,
    learning_rates: Sequence[float] = LEARNING_RATES,
    scales: Sequence[float] = SCALES,
    n: int = 2048,
    batch: int = 64,
    *,
    key: jax.Array | int = 0,
    report: Callable[[str], None] = lambda sentence: None,
) -> Iterator[dict[str, Any]]:
    """A row for each target, encoding and choice of parts, as soon as it is known. Random parameters all move.

    Training is in float32 on `n` uniform points, errors are at as many fresh ones. The theorems' generalization
    error is the mean square (Havrilla & Liao 2024, Theorem 1); its root is given too.

    Args:
      dimension: of the cube.
      grid: of the constructions.
      steps: of gradient descent.
      encodings: by name, or "structured".
      parts: what moves of constructed parameters.
      targets: functions by name; three standard ones if None.
      learning_rates, scales: the choices of rates, and of factors of random parameters.
      n: points to train on.
      batch: points of a step.
      key: a JAX random key, or an int for `jax.random.key`.
      report: called with a sentence for each row.

    Yields:
      target, encoding, parts, parameters, kappa, steps, batch; mean_squared and root_mean_square, each a mapping with
      constructed, trained, random (None where every learning rate diverged); learning_rate, random_learning_rate and
      random_scale, the best of learning_rates and scales; ratio_mean_squared and ratio_root_mean_square, of random to
      trained.
    """
    rng = np.random.default_rng(numpy_seed("key", key))
    x, fresh = rng.uniform(size=(2, n, dimension))
    for name, f in (targets or standard_targets(dimension)).items():
        for encoding in encodings:
            back_end: dict[str, Any] = {"backend": "structured"} if encoding == "structured" else {"encoding": encoding}
            network = approximate(f, dimension, grid=grid, **back_end).network
            module, start = network.module(), network.variables()

            def best(
                starts: Mapping[float, dict[str, Any]],
                part: Parts,
                module: rt.ReluTransformer = module,
                fixed: dict[str, Any] = start["fixed"],
                f: Target = f,
            ) -> tuple[float | None, tuple[float | None, float | None]]:
                """The least test error over starts and rates, and at which scale and rate it is found."""
                settings = [(scale, rate) for scale in starts for rate in learning_rates]
                each = [starts[scale] for scale, _ in settings], [rate for _, rate in settings]
                try:
                    fitted = train_each(module, *each, fixed, x, f(x), part, steps, batch, key=key)
                except RunError:
                    return None, (None, None)
                errors = [error_of(module, run, fixed, fresh, f(fresh)) for run in fitted]
                place = int(np.argmin(errors))
                return errors[place], settings[place]

            drawn = random_params(module, key=key)
            randoms = {
                scale: jax.tree.map(functools.partial(np.multiply, np.float32(scale)), drawn) for scale in scales
            }
            constructed = mean_squared_error(module, start, fresh, f(fresh))
            random, (scale, random_rate) = best(randoms, "all")
            for part in parts:
                trained, (_, rate) = best({1.0: start["params"]}, part)
                errors = {"constructed": constructed, "trained": trained, "random": random}
                ratio = random / trained if random and trained else None
                report(f"{name}, {encoding}, {part}: mean squared {errors}, random / trained = {ratio}")
                yield {
                    "dimension": dimension,
                    "grid": grid,
                    "target": name,
                    "encoding": encoding,
                    "parts": part,
                    "parameters": network.shape.parameters,
                    "kappa": network.kappa,
                    "steps": steps,
                    "batch": batch,
                    "mean_squared": errors,
                    "root_mean_square": {kind: e if e is None else e**0.5 for kind, e in errors.items()},
                    "learning_rate": rate,
                    "random_learning_rate": random_rate,
                    "random_scale": scale,
                    "learning_rates": list(learning_rates),
                    "scales": list(scales),
                    "ratio_mean_squared": ratio,
                    "ratio_root_mean_square": None if ratio is None else ratio**0.5,
                }


def error_of(module: rt.ReluTransformer, run: Fitted, fixed: dict[str, Any], x: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error of a run; infinite if it diverged."""
    error = mean_squared_error(module, {"params": run.params, "fixed": fixed}, x, y)
    return error if np.isfinite(error) else np.inf
