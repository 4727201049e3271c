"""Scaling laws fitted to a table of runs: exponents with intervals that hold, and a warning where they cannot.

    fit = laws.fit(table, "chinchilla", key=jax.random.key(0))
    fit.parameters["alpha"], fit.intervals["alpha"]    # 0.34, Interval(lower=0.31, upper=0.37)
    fit.warnings                                       # read these first
    fit.predict(1e9, 2e10), fit.band(1e9, 2e10)        # the loss of a run not yet trained, and its interval
    laws.frontier(fit, 1e22).size                      # the best model size at a budget, from the same draws

The laws are listed in `LAWS`; `named` reads "additive:N,D,width" and the like, and a `Law` of your own is one
declaration. What every diagnostic means is in docs/laws.
"""

from jaxscale.laws.against_theory import ExponentCheck, TheoryCheck, against_theory, agreement, meeting
from jaxscale.laws.catalogue import LAWS, additive, named, over
from jaxscale.laws.compute_optimal import Envelope, Frontier, IsoFlop, envelope, frontier, isoflop
from jaxscale.laws.document import document
from jaxscale.laws.fitting import fit
from jaxscale.laws.identifiability import Profile, held, profile
from jaxscale.laws.influences import Influence
from jaxscale.laws.law import EXPONENT, Law, Range, power
from jaxscale.laws.learning_curves import LearningCurve, kernel_learning_curve, neighbor_learning_curve
from jaxscale.laws.madogram import Madogram, fractional_field, madogram
from jaxscale.laws.objective import (
    Objective,
    asymmetric,
    huber,
    least_absolute_deviations,
    least_squares,
)
from jaxscale.laws.optimality import Evaluation, evaluate
from jaxscale.laws.results import Convergence, Fit, Interval, Quantity
from jaxscale.laws.runs import Runs, read
from jaxscale.laws.selection import BackTest, Comparison, back_test, compare
from jaxscale.laws.smoothness import Smoothness, smoothness, smoothness_unidentified
from jaxscale.laws.table_files import read_table

__all__ = [
    "EXPONENT",
    "LAWS",
    "BackTest",
    "Comparison",
    "Convergence",
    "Envelope",
    "Evaluation",
    "ExponentCheck",
    "Fit",
    "Frontier",
    "Influence",
    "Interval",
    "IsoFlop",
    "Law",
    "LearningCurve",
    "Madogram",
    "Objective",
    "Profile",
    "Quantity",
    "Range",
    "Runs",
    "Smoothness",
    "TheoryCheck",
    "additive",
    "against_theory",
    "agreement",
    "asymmetric",
    "back_test",
    "compare",
    "document",
    "envelope",
    "evaluate",
    "fit",
    "fractional_field",
    "frontier",
    "held",
    "huber",
    "isoflop",
    "kernel_learning_curve",
    "least_absolute_deviations",
    "least_squares",
    "madogram",
    "meeting",
    "named",
    "neighbor_learning_curve",
    "over",
    "power",
    "profile",
    "read",
    "read_table",
    "smoothness",
    "smoothness_unidentified",
]
