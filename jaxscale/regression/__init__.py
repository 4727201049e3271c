"""Regression on manifolds: samples whose truth is known, networks trained as one program, and minimax references."""

from jaxscale.regression.problem import Problem, make_problem, stack
from jaxscale.regression.references import best_linear, kernel_regression, nearest_neighbors, wave_covariance
from jaxscale.regression.sweep import Lanes, Runs, advance, errors, start

__all__ = [
    "Lanes",
    "Problem",
    "Runs",
    "advance",
    "best_linear",
    "errors",
    "kernel_regression",
    "make_problem",
    "nearest_neighbors",
    "stack",
    "start",
    "wave_covariance",
]
