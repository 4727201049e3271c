"""Tables of runs around known laws. Few shapes, so that few programs are compiled."""

import numpy as np

from jaxscale import laws

SIZES = np.repeat(np.logspace(5, 7, 7), 2)
CHINCHILLA = {"E": 1.69, "A": 406.4, "B": 410.7, "alpha": 0.34, "beta": 0.28}


def power_law(E=1.5, reducible=2.0, alpha=0.3, noise=0.0, seed=0, sizes=SIZES):
    """Losses E + R (n/n_min)^-α with independent relative noise."""
    curve = E + reducible * (sizes / sizes.min()) ** -alpha
    return {"n": sizes, "loss": curve * (1 + noise * np.random.default_rng(seed).normal(size=len(sizes)))}


def repeated_tokens(noise=0.003, seed=0):
    """Runs of six sizes at each of four budgets on few, more and enough unique tokens, Laplace errors."""
    compute = np.repeat(np.geomspace(1e19, 3e21, 4), 6)
    N = np.sqrt(compute / 120) * np.tile(np.geomspace(0.15, 6.0, 6), 4)
    columns = {"N": N, "D": compute / 6 / N, "U": np.minimum(compute / 6 / N, np.tile([1e9, 5e9, 1e11], 8))}
    loss = laws.named("repeated_data").losses(CHINCHILLA | {"R_N": 5.3, "R_D": 15.4}, *columns.values())
    return columns | {"loss": loss * np.exp(noise * np.random.default_rng(seed).laplace(size=len(N)))}


def isoflop_grid(noise=0.0, seed=0, budgets=6, sizes=9):
    """Runs of several sizes at each of several budgets, Laplace errors around those of Hoffmann et al. 2022."""
    compute = np.repeat(np.geomspace(1e19, 3e21, budgets), sizes)
    N = np.sqrt(compute / 120) * np.tile(np.geomspace(0.15, 6.0, sizes), budgets)
    D = compute / 6 / N
    p = CHINCHILLA
    loss = p["E"] + p["A"] * N ** -p["alpha"] + p["B"] * D ** -p["beta"]
    return {"N": N, "D": D, "loss": loss * np.exp(noise * np.random.default_rng(seed).laplace(size=len(N)))}
