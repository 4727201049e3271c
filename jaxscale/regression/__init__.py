"""Regression on manifolds: samples whose truth is known, networks trained as one program, and minimax references."""

from jaxscale.regression.problem import Problem, make_problem, stack
from jaxscale.regression.references import kernel_regression, nearest_neighbors
from jaxscale.regression.sweep import Lanes, Runs, advance, errors, start

__all__ = [
    "Lanes",
    "Problem",
    "Runs",
    "advance",
    "errors",
    "kernel_regression",
    "make_problem",
    "nearest_neighbors",
    "stack",
    "start",
]
