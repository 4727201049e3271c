"""How large a class T(...) is: its covering number, and the samples that a target error takes.

    log_covering_number(network.shape, kappa, delta=1e-3, largest_input=1.0)
    samples_for(network.shape, kappa, epsilon=0.1, bound=1.0, largest_input=1.0)

Attention without softmax is cubic in the residual stream, so L_T blocks raise sizes to the power 3^L_T, and not to one
polynomial in L_T. As L_T grows with log d alone, 3^L_T is a power of d: the depth costs a constant.
"""

import math

from jaxscale.models.relu_transformer import Shape


def log_lipschitz(shape: Shape, kappa: float, largest_input: float) -> float:
    """log of a Lipschitz constant of the output in the parameters, all of them at most κ ≥ 1 (derived, see docs).

    With A = 4 (2wκ)^L_FFN m l k d_embd³ κ³ a block takes |H| ≤ M to A M³, M ≥ 1, and

        log Lip ≤ log(L_T (3 + L_FFN)) + L_T log 3A + 3^(L_T+1)/2 · ((log A)/2 + log M0).
    """
    kappa, largest_input = max(kappa, 1.0), max(largest_input, 1.0)
    depth, rank = len(shape.blocks), max(block.rank for block in shape.blocks)
    width = max(shape.ffn_width, shape.width)
    log_a = (
        math.log(4 * shape.heads * shape.tokens * rank)
        + shape.ffn_depth * math.log(2 * width * kappa)
        + 3 * math.log(shape.width * kappa)
    )
    growth = 3.0 ** (depth + 1) / 2 * (log_a / 2 + math.log(largest_input))
    return math.log(depth * (3 + shape.ffn_depth)) + depth * (math.log(3) + log_a) + growth


def log_covering_number(shape: Shape, kappa: float, delta: float, largest_input: float) -> float:
    """log N(δ, T, sup) ≤ P (log(2κ/δ) + log Lip) for the P parameters of the class."""
    return shape.parameters * (math.log(2 * max(kappa, 1.0) / delta) + log_lipschitz(shape, kappa, largest_input))


def samples_for(shape: Shape, kappa: float, epsilon: float, bound: float, largest_input: float) -> float:
    """n at which the variance term R² log N(1/n) / n of the empirical risk minimizer falls to ε², constants dropped.

    With the bias ε² of the approximation this is the n for a mean squared error of the order ε²: ε^-(2 + d/β) up to
    logarithms, the rate of Havrilla & Liao 2024, Theorem 1.
    """
    n = 1.0
    for _ in range(100):
        n = max(1.0, bound**2 * log_covering_number(shape, kappa, 1 / n, largest_input) / epsilon**2)
    return n
