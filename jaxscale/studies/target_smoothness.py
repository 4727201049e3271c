"""The smoothness β of the function that a language model learns: next-token probabilities over embeddings.

found = measure(points, next_token, key=jax.random.key(0))
found["beta"], found["interval"], found["identified"]

The probabilities p(x) are not seen, only tokens drawn from them. A random number r(v) for each token v makes a scalar
label of mean r·p(x): its mean square difference between two places is |p(x) - p(x')|² for numbers of variance 1, above
a nugget, the randomness of the token, which the madogram takes off. Several draws of the numbers are averaged.
"""

import statistics
from typing import Any, Literal

import jax
import numpy as np

from jaxscale import smoothness
from jaxscale.arguments import random_key
from jaxscale.errors import InputError

PROJECTIONS = 8


def measure(
    points: jax.Array | np.ndarray,
    next_token: jax.Array | np.ndarray,
    *,
    key: jax.Array | int,
    metric: Literal["euclidean", "cosine"] = "euclidean",
    level: float = 0.95,
) -> dict[str, Any] | None:
    """β of next-token probabilities, as plain values.

    Args:
      points: (N, D) embeddings; repeated ones are left out.
      next_token: (N,) the tokens that follow.
      key: a JAX random key, or an int for `jax.random.key`.
      metric: "cosine" puts the embeddings on the unit sphere.
      level: of the interval.

    Returns:
      A dict: `beta`, `interval`, `identified` (see `smoothness.unidentified`), `noise` (what share of the
      labels' standard deviation is the token's own randomness), `scales`, `points`, `readings`; or None where the
      embeddings have too few distinct points to tell.
    """
    key = random_key("key", key)
    points, next_token = np.asarray(points, float), np.asarray(next_token)
    if metric == "cosine":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    _, first = np.unique(points, axis=0, return_index=True)
    points, next_token = points[np.sort(first)], next_token[np.sort(first)]
    found, noise = [], []
    for index in range(PROJECTIONS):
        of_token, of_madogram = jax.random.split(jax.random.fold_in(key, index))
        labels = np.asarray(jax.random.normal(of_token, (int(next_token.max()) + 1,)), float)[next_token]
        try:
            found.append(smoothness.madogram(points, labels, key=of_madogram))
        except InputError:
            return None
        noise.append(found[-1].noise / labels.std())
    betas = np.array([one.beta for one in found])
    # Projections share the points: averaging shrinks only what differs between them. A madogram's interval is at 95%.
    z = statistics.NormalDist().inv_cdf((1 + level) / 2)
    within = float(np.median([one.interval[1] - one.interval[0] for one in found])) / (2 * 1.96)
    half = z * float(np.sqrt(within**2 + betas.var(ddof=1) / len(betas)))
    beta = float(betas.mean())
    interval = [max(0.01, beta - half), beta + half]
    return {
        "beta": beta,
        "interval": interval,
        "identified": not smoothness.unidentified(beta, interval),
        "noise": float(np.mean(noise)),
        "scales": [float(end) for end in found[0].scales],
        "points": found[0].points,
        "readings": [float(one) for one in betas],
    }
