"""The laws of the literature, one declaration each, and how a name such as "additive:N,D,width" is read.

named("chinchilla")          # L(N, D) = E + A N^-α + B D^-β
named("data:tokens")         # L = E + A tokens^-α, over a column of your own
additive(("N", "D", "width"))
product(("N", "D"))          # L(N, D) = c N^α D^β, of a learning rate
"""

import dataclasses
import difflib
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import arguments
from jaxscale.errors import InputError
from jaxscale.laws.law import EXPONENT, Law, Range, Values, power

# The letters of scales and exponents of up to four terms.
SCALES = ("A", "B", "F", "G")
EXPONENTS = ("alpha", "beta", "gamma", "eta")
GREEK = {"alpha": "α", "beta": "β", "gamma": "γ", "eta": "η"}
_MOST_FACTORS = 3
SHARE = Range(1e-3, 1e3, logarithmic=True, bounds=(1e-12, 1e12))


def _are_names(columns: object) -> bool:
    return isinstance(columns, Sequence) and all(isinstance(column, str) for column in columns)


def _different_names(columns: str | Sequence[str], most: int) -> tuple[str, ...]:
    columns = (columns,) if isinstance(columns, str) else columns
    if not _are_names(columns):
        raise InputError(f"columns={columns!r} are no names. Pass for example ('N', 'D').")
    columns = tuple(columns)
    if not 1 <= len(columns) <= most or len(set(columns)) < len(columns):
        raise InputError(f"columns={columns} must be one to {most} different names. Pass for example ('N', 'D').")
    return columns


def additive(columns: str | Sequence[str], *, floor: bool = True, tied: bool = False, name: str = "additive") -> Law:
    """E + Σ_i A_i x_i^-a_i over one to four columns.

    One column is the power law of Hestness et al. 2017, two the law of Hoffmann et al. 2022 (arXiv 2203.15556).

    Args:
      columns: names of one to four columns.
      floor: whether there is an irreducible loss E.
      tied: whether all terms share one exponent.
      name: of the law.
    """
    columns = _different_names(columns, len(SCALES))
    scales, exponents, expression, rescale = _sum_of_powers(len(columns), floor, tied)
    terms = [f"{a} {x}^-{GREEK[e]}" for a, x, e in zip(scales, columns, exponents, strict=True)]
    return Law(
        name=name,
        columns=columns,
        formula=f"L({', '.join(columns)}) = {' + '.join((['E'] if floor else []) + terms)}",
        expression=expression,
        linear=(("E",) if floor else ()) + scales,
        nonlinear=dict.fromkeys(exponents, EXPONENT),
        rescale=rescale,
        exponents=dict(zip(columns, exponents, strict=True)),
    )


@functools.cache
def _sum_of_powers(
    terms: int, floor: bool, tied: bool
) -> tuple[tuple[str, ...], tuple[str, ...], Callable[..., jax.Array], Callable[..., dict[str, Any]]]:
    """Cached, so that laws that differ in the names of their columns only share their compiled programs."""
    scales = SCALES[:terms]
    exponents = ("alpha",) * terms if tied else EXPONENTS[:terms]

    def expression(p: Values, *xs: jax.Array) -> jax.Array:
        total = sum(p[a] * power(x, -p[e]) for a, e, x in zip(scales, exponents, xs, strict=True))
        loss: jax.Array = p["E"] + total if floor else total
        return loss

    def rescale(p: dict[str, Any], *units: float) -> dict[str, Any]:
        return p | {a: p[a] * unit ** p[e] for a, e, unit in zip(scales, exponents, units, strict=True)}

    return scales, exponents, expression, rescale


def product(columns: str | Sequence[str], *, name: str = "product") -> Law:
    """c Π_i x_i^a_i over one to three columns, with exponents of either sign: the form of best hyper-parameters.

    Learning rate and batch size are fitted so by Li et al. 2025 (arXiv 2503.04715) in N and D, and by DeepSeek-AI 2024
    (arXiv 2401.02954) in C. There is no floor, and of the exponents theory says nothing.

    Args:
      columns: names of one to three columns.
      name: of the law.
    """
    columns = _different_names(columns, _MOST_FACTORS)
    exponents, expression, rescale = _product_of_powers(len(columns))
    powers = " ".join(f"{x}^{GREEK[e]}" for x, e in zip(columns, exponents, strict=True))
    return Law(
        name=name,
        columns=columns,
        formula=f"L({', '.join(columns)}) = c {powers}",
        expression=expression,
        linear=("c",),
        nonlinear=dict.fromkeys(exponents, Range(-2.0, 2.0, bounds=(-10.0, 10.0))),
        rescale=rescale,
        if_zero={e: f"the {{target}} depends on {x}" for x, e in zip(columns, exponents, strict=True)},
    )


@functools.cache
def _product_of_powers(
    factors: int,
) -> tuple[tuple[str, ...], Callable[..., jax.Array], Callable[..., dict[str, Any]]]:
    """Cached as `_sum_of_powers` is."""
    exponents = EXPONENTS[:factors]

    def expression(p: Values, *xs: jax.Array) -> jax.Array:
        value: jax.Array = p["c"] * jnp.exp(sum(p[e] * jnp.log(x) for e, x in zip(exponents, xs, strict=True)))
        return value

    def rescale(p: dict[str, Any], *units: float) -> dict[str, Any]:
        factor = 1.0
        for e, unit in zip(exponents, units, strict=True):
            factor = factor * unit ** -p[e]
        return p | {"c": p["c"] * factor}

    return exponents, expression, rescale


def skaling() -> Law:
    """E + (A N^-α + B D^-β)^k: a sum of two powers inside a third.

    Linear in E and in S = A^k once B/A is held.
    """
    return Law(
        name="skaling",
        columns=("N", "D"),
        formula="L(N, D) = E + (A N^-α + B D^-β)^k",
        expression=lambda p, N, D: (
            p["E"] + power(p["A"] * power(N, -p["alpha"]) + p["B"] * power(D, -p["beta"]), p["k"])
        ),
        linear=("E", "S"),
        nonlinear={
            "ratio": SHARE,
            "alpha": EXPONENT,
            "beta": EXPONENT,
            "k": Range(0.2, 2.0, True, bounds=(0.05, 5.0)),
        },
        names=("E", "A", "B", "alpha", "beta", "k"),
        from_coordinates=lambda z: (
            {name: z[name] for name in ("E", "alpha", "beta", "k")}
            | {"A": z["S"] ** (1 / z["k"]), "B": z["ratio"] * z["S"] ** (1 / z["k"])}
        ),
        to_coordinates=lambda p: (
            {name: p[name] for name in ("E", "alpha", "beta", "k")} | {"S": p["A"] ** p["k"], "ratio": p["B"] / p["A"]}
        ),
        in_coordinates=lambda z, N, D: (
            z["E"] + z["S"] * power(power(N, -z["alpha"]) + z["ratio"] * power(D, -z["beta"]), z["k"])
        ),
        rescale=lambda p, N, D: p | {"A": p["A"] * N ** p["alpha"], "B": p["B"] * D ** p["beta"]},
    )


def kaplan(floor: bool = False) -> Law:
    """((N_c/N)^(α_N/α_D) + D_c/D)^α_D, Kaplan et al. 2020 (arXiv 2001.08361), equation 1.5: no irreducible loss.

    Args:
      floor: whether there is one after all, E beside the power.
    """
    same = ("E", "alpha_N", "alpha_D") if floor else ("alpha_N", "alpha_D")

    def from_coordinates(z: Values) -> dict[str, Any]:
        tokens = z["S"] ** (1 / z["alpha_D"])
        size = (z["ratio"] * tokens) ** (z["alpha_D"] / z["alpha_N"])
        return {"N_c": size, "D_c": tokens} | {name: z[name] for name in same}

    def to_coordinates(p: Values) -> dict[str, Any]:
        ratio = p["N_c"] ** (p["alpha_N"] / p["alpha_D"]) / p["D_c"]
        return {"S": p["D_c"] ** p["alpha_D"], "ratio": ratio} | {name: p[name] for name in same}

    def expression(p: Values, N: jax.Array, D: jax.Array) -> jax.Array:
        reducible = power(power(p["N_c"] / N, p["alpha_N"] / p["alpha_D"]) + p["D_c"] / D, p["alpha_D"])
        loss: jax.Array = p["E"] + reducible if floor else reducible
        return loss

    def in_coordinates(z: Values, N: jax.Array, D: jax.Array) -> jax.Array:
        reducible = z["S"] * power(z["ratio"] * power(N, -z["alpha_N"] / z["alpha_D"]) + 1 / D, z["alpha_D"])
        loss: jax.Array = z["E"] + reducible if floor else reducible
        return loss

    slow = Range(0.03, 1.0, logarithmic=True, bounds=(0.01, 5.0))
    return Law(
        name="kaplan_floor" if floor else "kaplan",
        columns=("N", "D"),
        formula=f"L(N, D) = {'E + ' if floor else ''}((N_c/N)^(α_N/α_D) + D_c/D)^α_D",
        expression=expression,
        linear=("E", "S") if floor else ("S",),
        nonlinear={"ratio": SHARE, "alpha_N": slow, "alpha_D": slow},
        names=(("E",) if floor else ()) + ("N_c", "D_c", "alpha_N", "alpha_D"),
        from_coordinates=from_coordinates,
        to_coordinates=to_coordinates,
        in_coordinates=in_coordinates,
        rescale=lambda p, N, D: p | {"N_c": p["N_c"] * N, "D_c": p["D_c"] * D},
        exponents={"N": "alpha_N", "D": "alpha_D"},
    )


def farseer() -> Law:
    """exp(a3 N^γ + b3) + exp(a2 N^β + b2) D^-exp(a1 N^α + b1), Li et al. 2025 (arXiv 2506.10972).

    Floor, scale and exponent of the data term all vary with N. The nine numbers above say little one by one, and their
    intervals are enormous. The same curve is written here as values and slopes at a size N_0 and a number of tokens
    D_0, for which a fit takes the geometric means of the runs:

        L(N, D) = E(N) + B(N) (D/D_0)^-β(N)

    with E(N_0) = E, B(N_0) = B and β(N_0) = beta; `E_slope`, `B_slope` and `beta_slope` are the powers of N with which
    these three go there, d log E(N) / d log N and so on; and `E_power`, `B_power` and `beta_power` are the paper's γ, β
    and α, in which 0 is a plain power of N. `farseer_parameters` gives them from the nine.
    """

    def expression(p: Values, N: jax.Array, D: jax.Array) -> jax.Array:
        log_N, log_D, log_D0 = jnp.log(N) - jnp.log(p["N_0"]), jnp.log(D), jnp.log(p["D_0"])
        floor = p["E"] * jnp.exp(_bounded(p["E_slope"] * _power_around(log_N, p["E_power"])))
        exponent = p["beta"] * jnp.exp(_bounded(p["beta_slope"] * _power_around(log_N, p["beta_power"])))
        # The scale that the paper gives a power of N is that of one token. What is linear here is the term at D_0, and
        # its slope there a coordinate: by the exponent's own change over log D_0 the slope at one token is another.
        slope = p["B_slope"] + p["beta"] * p["beta_slope"] * log_D0
        scale = slope * _power_around(log_N, p["B_power"]) - (exponent - p["beta"]) * log_D0
        loss: jax.Array = floor + p["B"] * jnp.exp(_bounded(scale - exponent * (log_D - log_D0)))
        return loss

    power_of_N = Range(-0.8, 0.8, bounds=(-2.0, 2.0))
    return Law(
        name="farseer",
        columns=("N", "D"),
        formula="L(N, D) = E(N) + B(N) (D/D_0)^-β(N)",
        expression=expression,
        linear=("E", "B"),
        nonlinear={
            "beta": Range(0.05, 1.0, logarithmic=True, bounds=(1e-3, 5.0)),
            "E_slope": Range(-0.15, 0.05, bounds=(-2.0, 2.0)),
            "B_slope": Range(-0.4, 0.2, bounds=(-5.0, 5.0)),
            "beta_slope": Range(-0.2, 0.2, bounds=(-2.0, 2.0)),
            "E_power": power_of_N,
            "B_power": power_of_N,
            "beta_power": power_of_N,
            "N_0": Range(1e3, 1e12, logarithmic=True, bounds=(1e-100, 1e100)),
            "D_0": Range(1e3, 1e12, logarithmic=True, bounds=(1e-100, 1e100)),
        },
        references={"N_0": "N", "D_0": "D"},
        if_zero={
            "E_slope": "the floor of the {target} depends on N",
            "B_slope": "the reducible part of the {target} at D_0 depends on N",
            "beta_slope": "the exponent of D depends on N",
        },
        headline=("beta", "E_slope", "B_slope", "beta_slope"),
    )


def farseer_parameters(published: Values, N_0: float = 1e9, D_0: float = 1e10) -> dict[str, float]:
    """Parameters of the law "farseer" from the nine numbers of Li et al. 2025, for `Law.losses` and `laws.evaluate`.

    Args:
      published: a1, b1 and alpha of the exponent exp(a1 N^alpha + b1), a2, b2 and beta of the scale, a3, b3 and gamma
        of the floor; for N in parameters and D in tokens.
      N_0, D_0: where to state values and slopes.

    Raises:
      InputError: for a number that is missing, or one that is none.
    """
    names = ("a1", "b1", "alpha", "a2", "b2", "beta", "a3", "b3", "gamma")
    if not isinstance(published, Mapping) or any(name not in published for name in names):
        raise InputError(f"published={published!r} must be a mapping with {', '.join(names)}. Pass all of them.")
    a1, b1, alpha, a2, b2, beta, a3, b3, gamma = (arguments.real(name, published[name], 0.1) for name in names)
    N_0, D_0 = arguments.real("N_0", N_0, 1e9), arguments.real("D_0", D_0, 1e10)
    if not (0 < N_0 < np.inf and 0 < D_0 < np.inf):
        raise InputError(f"N_0={N_0} and D_0={D_0} must be positive. Pass a model size and a number of tokens.")
    exponent, exponent_slope = np.exp(a1 * N_0**alpha + b1), a1 * alpha * N_0**alpha
    return {
        "E": float(np.exp(a3 * N_0**gamma + b3)),
        "B": float(np.exp(a2 * N_0**beta + b2 - exponent * np.log(D_0))),
        "beta": float(exponent),
        "E_slope": a3 * gamma * N_0**gamma,
        "B_slope": float(a2 * beta * N_0**beta - exponent * exponent_slope * np.log(D_0)),
        "beta_slope": exponent_slope,
        "E_power": gamma,
        "B_power": beta,
        "beta_power": alpha,
        "N_0": N_0,
        "D_0": D_0,
    }


def _power_around(log_x: jax.Array, q: jax.Array) -> jax.Array:
    """(x^q - 1) / q, which is log x at q = 0, where it has all its derivatives."""
    y = jnp.clip(q * log_x, -60.0, 60.0)
    small = jnp.abs(y) < 0.05
    series = jnp.polyval(1 / jnp.asarray([math.factorial(n) for n in range(9, 0, -1)], float), jnp.where(small, y, 0.0))
    away = jnp.where(small, 1.0, y)
    return log_x * jnp.where(small, series, jnp.expm1(away) / away)


def _bounded(exponent: jax.Array) -> jax.Array:
    """What an exponential can be taken of, and the exponential be multiplied with."""
    return jnp.clip(exponent, -100.0, 100.0)


def over_training() -> Law:
    """E + (a M^η + b M^-η) C^-η with M = D/N tokens per parameter, Gadre et al. 2024 (arXiv 2403.08540)."""
    return Law(
        name="over_training",
        columns=("C", "M"),
        formula="L(C, M) = E + (a M^η + b M^-η) C^-η",
        expression=lambda p, C, M: (
            p["E"] + (p["a"] * power(M, p["eta"]) + p["b"] * power(M, -p["eta"])) * power(C, -p["eta"])
        ),
        linear=("E", "a", "b"),
        nonlinear={"eta": EXPONENT},
        rescale=lambda p, C, M: p | {"a": p["a"] * (C / M) ** p["eta"], "b": p["b"] * (C * M) ** p["eta"]},
        exponents={"C": "eta"},
    )


def repeated_data() -> Law:
    """E + A N'^-α + B D'^-β with effective N' and D' when U unique tokens are repeated to D, Muennighoff et al. 2023.

    D' = U + U R_D (1 - exp(-(D/U - 1) / R_D)) (arXiv 2305.16264, equation 5), and alike N' beyond the model size U_N
    that is optimal for U tokens: with G = (αA / βB)^(1/(α+β)), U_N = min(N, G (U G)^(β/α)).
    Linear in E and A once B/A is held, for G depends on nothing else.
    """

    def log_effective(log_x: jax.Array, log_unique: jax.Array, decay: jax.Array) -> jax.Array:
        beyond = jnp.expm1(jnp.clip(log_x - log_unique, 0, 700.0))  # e^700 is just short of the largest number
        return log_unique + jnp.log1p(-decay * jnp.expm1(-beyond / decay))

    def terms(z: Values, ratio: jax.Array, N: jax.Array, D: jax.Array, U: jax.Array) -> tuple[jax.Array, jax.Array]:
        """N'^-α and D'^-β, which know of the scales only B/A; in logarithms, as β/α may be large."""
        N, D, U = jnp.log(N), jnp.log(D), jnp.log(jnp.minimum(U, D))
        balance = jnp.log(z["alpha"] / (z["beta"] * ratio)) / (z["alpha"] + z["beta"])
        fitting = jnp.minimum(N, balance + z["beta"] / z["alpha"] * (U + balance))
        size, tokens = log_effective(N, fitting, z["R_N"]), log_effective(D, U, z["R_D"])
        return jnp.exp(-z["alpha"] * size), jnp.exp(-z["beta"] * tokens)

    def expression(p: Values, N: jax.Array, D: jax.Array, U: jax.Array) -> jax.Array:
        # Without either scale the ratio means nothing and the curve is E.
        ratio = jnp.where(p["A"] > 0, p["B"] / jnp.where(p["A"] > 0, p["A"], 1.0), 1.0)
        of_size, of_tokens = terms(p, ratio, N, D, U)
        loss: jax.Array = p["E"] + p["A"] * of_size + p["B"] * of_tokens
        return loss

    def in_coordinates(z: Values, N: jax.Array, D: jax.Array, U: jax.Array) -> jax.Array:
        of_size, of_tokens = terms(z, z["ratio"], N, D, U)
        loss: jax.Array = z["E"] + z["A"] * (of_size + z["ratio"] * of_tokens)
        return loss

    same = ("E", "A", "alpha", "beta", "R_N", "R_D")
    decay = Range(0.5, 100.0, logarithmic=True, bounds=(1e-2, 1e4))
    exponent = Range(0.1, 1.0, logarithmic=True, bounds=(1e-2, 5.0))
    return Law(
        name="repeated_data",
        columns=("N", "D", "U"),
        formula="L(N, D, U) = E + A N'^-α + B D'^-β",
        expression=expression,
        linear=("E", "A"),
        nonlinear={"ratio": SHARE, "alpha": exponent, "beta": exponent, "R_N": decay, "R_D": decay},
        names=("E", "A", "B", "alpha", "beta", "R_N", "R_D"),
        from_coordinates=lambda z: {name: z[name] for name in same} | {"B": z["ratio"] * z["A"]},
        to_coordinates=lambda p: {name: p[name] for name in same} | {"ratio": p["B"] / p["A"]},
        in_coordinates=in_coordinates,
        rescale=lambda p, N, D, _: p | {"A": p["A"] * N ** p["alpha"], "B": p["B"] * D ** p["beta"]},
        units=("N", "D", "D"),
        exponents={"N": "alpha", "D": "beta"},
    )


def broken(breaks: int = 1, name: str = "bnsl") -> Law:
    """E + A x^-c0 Π_i (1 + (x/d_i)^(1/f_i))^(-c_i f_i), Caballero et al. 2023 (arXiv 2210.14891), equation 1."""
    numbers = range(1, breaks + 1)

    def expression(p: Values, x: jax.Array) -> jax.Array:
        log_x = jnp.log(x)
        bends = [
            p[f"c{i}"] * p[f"f{i}"] * jnp.logaddexp(0.0, (log_x - jnp.log(p[f"d{i}"])) / p[f"f{i}"]) for i in numbers
        ]
        loss: jax.Array = p["E"] + p["A"] * jnp.exp(-p["c0"] * log_x - sum(bends))
        return loss

    nonlinear = {"c0": Range(0.0, 1.5, bounds=(-10.0, 10.0))}
    for i in numbers:
        nonlinear |= {
            f"c{i}": Range(-1.0, 1.5, bounds=(-20.0, 20.0)),
            f"d{i}": Range(1e-2, 1e2, logarithmic=True, bounds=(1e-6, 1e6)),
            f"f{i}": Range(0.1, 1.0, logarithmic=True, bounds=(0.02, 10.0)),
        }
    product = "".join(f" (1 + (n/d{i})^(1/f{i}))^(-c{i} f{i})" for i in numbers)
    return Law(
        name=name,
        columns=("n",),
        formula=f"L(n) = E + A n^-c0{product}",
        expression=expression,
        linear=("E", "A"),
        nonlinear=nonlinear,
        rescale=lambda p, x: p | {"A": p["A"] * x ** p["c0"]} | {f"d{i}": p[f"d{i}"] * x for i in numbers},
    )


def saturating() -> Law:
    """M3 of Alabdulmohsin et al. 2022 (arXiv 2209.06640): E + A (1/x + γ)^α, a power law that saturates."""
    return Law(
        name="m3",
        columns=("n",),
        formula="L(n) = E + A (1/n + γ)^α",
        expression=lambda p, n: p["E"] + p["A"] * power(1 / n + p["gamma"], p["alpha"]),
        linear=("E", "A"),
        nonlinear={"alpha": EXPONENT, "gamma": Range(1e-4, 1.0, logarithmic=True, bounds=(0.0, 1e3))},
        rescale=lambda p, n: p | {"A": p["A"] * n ** p["alpha"], "gamma": p["gamma"] / n},
        exponents={"n": "alpha"},
    )


def sigmoidal() -> Law:
    """M4 of Alabdulmohsin et al. 2022 (arXiv 2209.06640): (L - E) / (E0 - L)^a = A n^-α, from E0 by chance down to E.

    With u = (L - E) / (E0 - E) this reads u / (1 - u)^a = κ n^-α for κ = A (E0 - E)^(a-1), so L is linear in E and
    in E0 - E.
    """

    def expression(p: Values, n: jax.Array) -> jax.Array:
        drop = p["E0"] - p["E"]
        # Without a drop κ is lost and the curve is E.
        positive = jnp.where(drop > 0, drop, 1.0)
        kappa = jnp.where(drop > 0, p["A"] * power(positive, p["a"] - 1), 1.0)
        return in_coordinates({"E": p["E"], "drop": drop, "kappa": kappa, "alpha": p["alpha"], "a": p["a"]}, n)

    def in_coordinates(z: Values, n: jax.Array) -> jax.Array:
        log_side = jnp.log(z["kappa"]) - z["alpha"] * jnp.log(n)
        loss: jax.Array = z["E"] + z["drop"] * jax.nn.sigmoid(_logit(log_side, z["a"]))
        return loss

    return Law(
        name="m4",
        columns=("n",),
        formula="(L - E) / (E0 - L)^a = A n^-α",
        expression=expression,
        linear=("E", "drop"),
        nonlinear={
            "kappa": Range(1e-3, 1e3, logarithmic=True, bounds=(1e-12, 1e12)),
            "alpha": EXPONENT,
            "a": Range(0.1, 4.0, logarithmic=True, bounds=(0.01, 20.0)),
        },
        names=("E", "E0", "A", "alpha", "a"),
        from_coordinates=lambda z: {
            "E": z["E"],
            "E0": z["E"] + z["drop"],
            "A": z["kappa"] * z["drop"] ** (1 - z["a"]),
            "alpha": z["alpha"],
            "a": z["a"],
        },
        to_coordinates=lambda p: {
            "E": p["E"],
            "drop": p["E0"] - p["E"],
            "kappa": p["A"] * (p["E0"] - p["E"]) ** (p["a"] - 1),
            "alpha": p["alpha"],
            "a": p["a"],
        },
        in_coordinates=in_coordinates,
        rescale=lambda p, n: p | {"A": p["A"] * n ** p["alpha"]},
        exponents={"n": "alpha"},
    )


def _logit(log_side: jax.Array, a: jax.Array) -> jax.Array:
    """t with log u - a log(1 - u) = log_side at u = sigmoid(t): Newton on a monotone function of slope in [1, a].

    The last two steps carry derivatives: one Newton step from the solution has the solution's first derivative, two
    have its second.
    """

    def newton(t: jax.Array, log_side: jax.Array, a: jax.Array) -> jax.Array:
        gap = -jax.nn.softplus(-t) + a * jax.nn.softplus(t) - log_side
        u = jax.nn.sigmoid(t)
        return t - gap / (1 - u + a * u)

    t = held = jax.lax.stop_gradient(log_side)
    t = jnp.where(held < 0, held, held / jax.lax.stop_gradient(a))
    t = jax.lax.fori_loop(0, 12, lambda _, t: newton(t, held, jax.lax.stop_gradient(a)), t)
    return newton(newton(jax.lax.stop_gradient(t), log_side, a), log_side, a)


LAWS = {
    law.name: law
    for law in (
        additive(("n",), name="data"),
        additive(("N",), name="model"),
        additive(("C",), name="compute"),
        additive(("n",), floor=False, name="power"),
        additive(("N", "D"), name="chinchilla"),
        additive(("N", "D"), tied=True, name="tied"),
        kaplan(),
        kaplan(floor=True),
        skaling(),
        farseer(),
        over_training(),
        repeated_data(),
        broken(1, "bnsl"),
        broken(2, "bnsl2"),
        saturating(),
        sigmoidal(),
    )
}
_OF_ANY_COLUMNS = {"additive": {}, "tied": {"tied": True}, "power": {"floor": False}}


def named(name: str) -> Law:
    """The law that a name stands for.

    Args:
      name: one of `LAWS`, or with columns of your own after a colon: "data:tokens", "m4:C", "tied:N,D,width", and
        "additive:" or "power:" (without a floor) over one to four columns, "product:" over one to three.

    Raises:
      InputError: for a name that is not among them (the nearest one is offered) or a wrong number of columns.
    """
    stem, colon, listed = str(name).partition(":")
    if stem not in LAWS and not (stem in (*_OF_ANY_COLUMNS, "product") and colon):
        known = [*LAWS, "additive:COLUMNS", "product:COLUMNS"]
        nearest = difflib.get_close_matches(stem, known, n=1, cutoff=0.0)[0]
        raise InputError(f"law={name!r} is unknown; did you mean {nearest!r}? Known laws: {', '.join(known)}.")
    if not colon:
        return LAWS[stem]
    columns = tuple(column.strip() for column in listed.split(","))
    if not all(columns):
        raise InputError(f"law={name!r} names no column after the colon. Write for example {stem}:N,D.")
    if stem == "product":
        return product(columns, name=str(name))
    if stem in _OF_ANY_COLUMNS:
        return additive(columns, name=str(name), **_OF_ANY_COLUMNS[stem])
    return over(LAWS[stem], columns, str(name))


def over(law: Law, columns: str | Sequence[str], name: str | None = None) -> Law:
    """The same law over columns of other names, in the order of `law.columns`."""
    columns = (columns,) if isinstance(columns, str) else columns
    if not _are_names(columns):
        raise InputError(f"columns={columns!r} are no names. Pass names in the order of {law.columns}.")
    if len(columns) != len(law.columns):
        raise InputError(
            f"law {law.name!r} reads {len(law.columns)} columns {law.columns}; {columns} were named. Name as many."
        )
    new = dict(zip(law.columns, columns, strict=True))
    rename: Callable[[str], str] = lambda text: _substituted(text, new)
    return dataclasses.replace(
        law,
        name=name or law.name,
        columns=tuple(columns),
        formula=rename(law.formula),
        units=tuple(new[unit] for unit in law.units),
        exponents={new[column]: exponent for column, exponent in law.exponents.items()},
        references={coordinate: new[column] for coordinate, column in law.references.items()},
        if_zero={parameter: rename(said) for parameter, said in law.if_zero.items()},
    )


def _substituted(formula: str, new: dict[str, str]) -> str:
    """`formula` with column names replaced where they stand as words, E and L never."""
    return re.sub(r"\b[A-Za-z]\w*", lambda match: new.get(match[0], match[0]), formula)
