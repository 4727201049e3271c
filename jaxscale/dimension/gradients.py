"""Gradients that do not exist: a count is constant but for jumps, and a silent zero would pass for an answer."""

import dataclasses
import functools
from typing import Any, NoReturn

import jax

from jaxscale.dimension.estimate import Estimate
from jaxscale.dimension.neighborhood import Neighborhoods
from jaxscale.errors import InputError

FLOATING = ("dimension", "standard_error", "analytic_standard_error", "local", "influence", "scale")


def without_gradient(estimate: Estimate, hoods: Neighborhoods, what: str, instead: str) -> Estimate:
    """`estimate`, read from `hoods`, whose gradient in the points raises `InputError`.

    It is raised when a cotangent arrives: an estimate that is only returned beside a loss, as a metric, does no harm.

    Args:
      estimate, hoods: see `Estimate` and `Neighborhoods`.
      what: the estimator and why it has no gradient, for the error.
      instead: what to do, for the error.
    """
    values = {name: getattr(estimate, name) for name in FLOATING}
    return dataclasses.replace(estimate, **_refuse(values, (hoods.points, hoods.distances), what, instead))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _refuse(
    values: dict[str, Any], read: tuple[jax.Array | None, jax.Array], what: str, instead: str
) -> dict[str, Any]:
    return values


def _forward(
    values: dict[str, Any], read: tuple[jax.Array | None, jax.Array], what: str, instead: str
) -> tuple[dict[str, Any], None]:
    return values, None


def _backward(what: str, instead: str, _: None, cotangents: dict[str, Any]) -> NoReturn:
    raise InputError(f"{what}, and has no gradient. {instead}, or jax.lax.stop_gradient(x) to read it alone.")


_refuse.defvjp(_forward, _backward)
