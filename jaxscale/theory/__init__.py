"""What theory predicts before anything is trained: exponents as plain functions of intrinsic dimension and smoothness.

    theory.data_exponent(d=10.0)                # 0.1667: squared error falls as n^-0.1667
    theory.consistency(alpha_data, alpha_model) # 1 for every d and smoothness, if the theory holds
    theory.LIMITS                               # what to print next to every prediction

The derivations are in docs/mathematics.
"""

from jaxscale.theory.exponents import (
    LIMITS,
    compute_exponent,
    consistency,
    data_exponent,
    dimension_from_data_exponent,
    model_exponent,
)

__all__ = [
    "LIMITS",
    "compute_exponent",
    "consistency",
    "data_exponent",
    "dimension_from_data_exponent",
    "model_exponent",
]
