"""Scaling laws fitted to a table of runs: exponents with intervals that hold, and a warning where they cannot.

    fit = laws.fit(table, "chinchilla", key=jax.random.key(0))
    fit.parameters["alpha"], fit.intervals["alpha"]    # 0.34, Interval(lower=0.31, upper=0.37)
    fit.warnings                                       # read these first
    fit.predict(1e9, 2e10), fit.band(1e9, 2e10)        # the loss of a run not yet trained, and its interval
    laws.frontier(fit, 1e22).size                      # the best model size at a budget, from the same draws
    laws.predict_run(fit, {"N": 7e9, "D": 2e12}, key=0).new_run     # where a single new run should lie
    laws.split_budget(fit, 1e24).valley                # the sizes that lose hardly anything against the best
    laws.plan(table, want={"alpha_C": 0.01}, key=key)  # which runs to train next, for an interval that narrow

The laws are listed in `LAWS`; `named` reads "additive:N,D,width" and the like, and a `Law` of your own is one
declaration. What every diagnostic means is in docs/laws.
"""

from jaxscale.laws.answers import BudgetSplit, Prediction, predict_run, split_budget
from jaxscale.laws.catalogue import LAWS, additive, farseer_parameters, named, over, product
from jaxscale.laws.compute_optimal import Envelope, Frontier, IsoFlop, envelope, frontier, isoflop
from jaxscale.laws.documents import document
from jaxscale.laws.fitting import fit
from jaxscale.laws.flops import FlopCount, count_flops
from jaxscale.laws.identifiability import Profile, held, profile
from jaxscale.laws.influences import Influence
from jaxscale.laws.law import EXPONENT, Law, Range, power
from jaxscale.laws.objective import (
    Objective,
    asymmetric,
    huber,
    least_absolute_deviations,
    least_squares,
)
from jaxscale.laws.optimality import Evaluation, evaluate
from jaxscale.laws.planning.batches import Campaign, train_until
from jaxscale.laws.planning.documents import document as plan_document
from jaxscale.laws.planning.planner import plan
from jaxscale.laws.planning.plans import Promise, RunPlan
from jaxscale.laws.results import Convergence, Fit, Interval, Quantity
from jaxscale.laws.runs import Runs, read
from jaxscale.laws.selection import BackTest, Comparison, back_test, compare
from jaxscale.laws.side_by_side import SharedExponents, SideBySide, fit_each
from jaxscale.laws.speedup import Speedup, effective_speedup
from jaxscale.laws.sweeps import best_settings
from jaxscale.laws.table_files import read_table
from jaxscale.laws.theory_check import ExponentCheck, TheoryCheck, against_theory, agreement, meeting

__all__ = [
    "EXPONENT",
    "LAWS",
    "BackTest",
    "BudgetSplit",
    "Campaign",
    "Comparison",
    "Convergence",
    "Envelope",
    "Evaluation",
    "ExponentCheck",
    "Fit",
    "FlopCount",
    "Frontier",
    "Influence",
    "Interval",
    "IsoFlop",
    "Law",
    "Objective",
    "Prediction",
    "Profile",
    "Promise",
    "Quantity",
    "Range",
    "RunPlan",
    "Runs",
    "SharedExponents",
    "SideBySide",
    "Speedup",
    "TheoryCheck",
    "additive",
    "against_theory",
    "agreement",
    "asymmetric",
    "back_test",
    "best_settings",
    "compare",
    "count_flops",
    "document",
    "effective_speedup",
    "envelope",
    "evaluate",
    "farseer_parameters",
    "fit",
    "fit_each",
    "frontier",
    "held",
    "huber",
    "isoflop",
    "least_absolute_deviations",
    "least_squares",
    "meeting",
    "named",
    "over",
    "plan",
    "plan_document",
    "power",
    "predict_run",
    "product",
    "profile",
    "read",
    "read_table",
    "split_budget",
    "train_until",
]


def __dir__() -> list[str]:
    return list(__all__)
