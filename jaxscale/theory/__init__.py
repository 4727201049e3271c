"""What theory predicts before anything is trained: exponents and bounds as plain functions of numbers.

    theory.data_exponent(d=10.0)                         # 0.1667: squared error falls as n^-0.1667
    theory.exponent_interval(theory.data_exponent, 10.0, (9.0, 11.0))
    theory.consistency(alpha_data, alpha_model)          # 1 for every d and smoothness, if the theory holds
    theory.dimension_from_data_exponent(0.1667)          # and backwards
    theory.generalization_bound(n=1e9, d=2, width=10)    # with every constant
    theory.LIMITS                                        # what to print next to every prediction

The derivations are in docs/mathematics.
"""

from jaxscale.theory.bands import exponent_interval
from jaxscale.theory.bounds import (
    Architecture,
    Bound,
    architecture,
    generalization_bound,
    log_covering_number,
)
from jaxscale.theory.cross_entropy import Bracket, cross_entropy_bracket, cross_entropy_exponent
from jaxscale.theory.exponents import (
    LIMITS,
    ComputeSplit,
    compute_exponent,
    compute_split,
    consistency,
    data_exponent,
    model_exponent,
    optimal_size_exponent,
)
from jaxscale.theory.inverse import (
    dimension_from_compute_exponent,
    dimension_from_data_exponent,
    dimension_from_model_exponent,
)
from jaxscale.theory.rivals import (
    OVERLAYS,
    bahri_exponent,
    sharma_kaplan_exponent,
)

__all__ = [
    "LIMITS",
    "OVERLAYS",
    "Architecture",
    "Bound",
    "Bracket",
    "ComputeSplit",
    "architecture",
    "bahri_exponent",
    "compute_exponent",
    "compute_split",
    "consistency",
    "cross_entropy_bracket",
    "cross_entropy_exponent",
    "data_exponent",
    "dimension_from_compute_exponent",
    "dimension_from_data_exponent",
    "dimension_from_model_exponent",
    "exponent_interval",
    "generalization_bound",
    "log_covering_number",
    "model_exponent",
    "optimal_size_exponent",
    "sharma_kaplan_exponent",
]


def __dir__() -> list[str]:
    return list(__all__)
