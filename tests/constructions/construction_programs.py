"""A program for each primitive, with its formula in numpy."""

import numpy as np

from jaxscale import constructions as con
from jaxscale.constructions.primitives import INNER

X, Y, Z = con.inputs("x y z", lower=-1, upper=2)
V = con.stack([X, Y, Z])
POINTS = np.random.default_rng(0).uniform(-1, 2, (50, 3))
PX, PY, PZ = POINTS.T


def psi(u):
    return np.clip(2 - np.abs(u), 0, 1)


CASES = {
    "affine": (2 * X - Y / 4 + 1, 2 * PX - PY / 4 + 1),
    "maximum": (con.maximum(X, Y), np.maximum(PX, PY)),
    "minimum": (con.minimum(X, 0.3), np.minimum(PX, 0.3)),
    "absolute": (abs(X - Y), np.abs(PX - PY)),
    "square": (con.square(X), PX**2),
    "power": (X**5, PX**5),
    "poly": (con.poly(X, [1, -2, 0, 3]), 1 - 2 * PX + 3 * PX**3),
    "prod": (con.prod([X, Y, Z, X + 1]), PX * PY * PZ * (PX + 1)),
    "total": (con.total([X, Y, 1 + Z]), PX + PY + 1 + PZ),
    "sum": (V.sum(), POINTS.sum(axis=1)),
    "dot": (con.dot(V, V[::-1]), np.sum(POINTS * POINTS[:, ::-1], axis=1)),
    "reciprocal": (con.reciprocal(X + 2), 1 / (PX + 2)),
    "trapezoid": (con.trapezoid(X), psi(PX)),
    "bump": (con.bump(V, [0, 1, 0], 0.5), np.prod(psi((POINTS - [0, 1, 0]) / 0.5), axis=1)),
    "indicator": (
        con.indicator(V, [0.5, 0.5, 0.5], 1.5),
        np.clip((1.5**2 - np.sum((POINTS - 0.5) ** 2, axis=1)) / (1.5**2 * (1 - INNER**2)), 0, 1),
    ),
    "project": (con.project(V, np.eye(3)[:, :2], [1, 0, 0])[0], PX - 1),
    "gate": (con.gate(X, con.trapezoid(3 * Y)), PX * psi(3 * PY)),
    "ffn": (con.ffn([([[1], [2]], [3])], X, Y), PX + 2 * PY + 3),
    "held": (con.held(X + Y), PX + PY),
}
