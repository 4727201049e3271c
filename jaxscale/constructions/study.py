"""What gradient descent does to each encoding, and how a trained network compares with the constructed one.

    rows = encoding_study(dimension=1, grid=8, steps=2000)

For each encoding and each choice of what may move: the error of the construction, the error after training from it, and
the error after equally many steps from random parameters of the same shape, each at the best of several learning rates.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from jaxscale.constructions.cube import approximate
from jaxscale.constructions.targets import cone
from jaxscale.constructions.training import random_params, root_mean_square_error, train
from jaxscale.errors import RunError

ENCODINGS = ("quarter_circle", "full_circle", "parabola", "binary", "structured")
LEARNING_RATES = (1e-4, 1e-3, 1e-2)


def encoding_study(
    dimension: int,
    grid: int,
    steps: int = 2000,
    encodings: Sequence[str] = ENCODINGS,
    parts: Sequence[str] = ("readout", "values", "all"),
    learning_rates: Sequence[float] = LEARNING_RATES,
    points: int = 2048,
    seed: int = 0,
    report: Callable[[str], None] = lambda sentence: None,
) -> Iterator[dict[str, Any]]:
    """A row for each encoding and choice of parts, as soon as it is known.

    The target is the cone |x - (1/3, …)|, the error the root mean square at fresh points, training in float32.

    Yields:
      encoding, parts, constructed, trained, random (errors; None where every learning rate diverged), ratio = random /
      trained, and parameters.
    """
    f = cone(np.full(dimension, 1 / 3))
    rng = np.random.default_rng(seed)
    x, fresh = rng.uniform(size=(2, points, dimension))
    for encoding in encodings:
        structured = encoding == "structured"
        made = (
            approximate(f, dimension, grid=grid, backend="structured")
            if structured
            else approximate(f, dimension, grid=grid, encoding=encoding)
        )
        network = made.network
        module, start = network.module(), network.variables()
        random_start = start | {"params": random_params(module, seed)}
        constructed = root_mean_square_error(module, start, fresh, f(fresh))

        def best(variables, part, module=module):
            """The least error over learning rates, and the rate."""
            found = []
            for rate in learning_rates:
                try:
                    fitted = train(module, variables, x, f(x), part, steps, rate, seed=seed)
                except RunError:
                    continue
                error = root_mean_square_error(module, variables | {"params": fitted.params}, fresh, f(fresh))
                if np.isfinite(error):
                    found.append((error, rate))
            return min(found, default=(None, None))

        from_random = best(random_start, "all")
        for part in parts:
            trained = best(start, part)
            report(f"{encoding}, {part}: {constructed:.3g} constructed, {trained[0]} trained, {from_random[0]} random")
            yield {
                "dimension": dimension,
                "grid": grid,
                "encoding": encoding,
                "parts": part,
                "parameters": network.shape.parameters,
                "kappa": network.kappa,
                "steps": steps,
                "constructed": constructed,
                "trained": trained[0],
                "learning_rate": trained[1],
                "random": from_random[0],
                "ratio": from_random[0] / trained[0] if from_random[0] and trained[0] else None,
            }
