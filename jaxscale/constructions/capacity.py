"""How large a class T(...) is: its covering number, and the samples that a target error takes.

log_covering_number(network.shape, kappa, delta=1e-3, largest_input=1.0)
samples_for(network.shape, kappa, epsilon=0.1, bound=1.0, largest_input=1.0)
"""

from jaxscale.models.relu_transformer import Shape
from jaxscale.theory import bounds


def log_covering_number(shape: Shape, kappa: float, delta: float, largest_input: float) -> float:
    """log of the number of balls of radius `delta` in supremum norm that cover the class: `theory`'s for its sizes.

    Rows of zeros make Q and K square, and FFNs as wide as a token.
    """
    embedding = max(shape.width, *(block.rank for block in shape.blocks))
    sizes = bounds.Architecture(
        blocks=len(shape.blocks),
        heads=shape.heads,
        tokens=shape.tokens,
        embedding=embedding,
        ffn_layers=shape.ffn_depth,
        ffn_width=max(shape.ffn_width, embedding),
        output_bound=float("inf") if shape.bound is None else shape.bound,
        weight_bound=max(kappa, 1.0),
    )
    return bounds.log_covering_number(sizes, delta, max(largest_input, 1.0))


def samples_for(shape: Shape, kappa: float, epsilon: float, bound: float, largest_input: float) -> float:
    """n at which the variance term R² log N(1/n) / n of the empirical risk minimizer falls to ε², constants dropped.

    With the bias ε² of the approximation this is the n for a mean squared error of the order ε²: ε^-(2 + d/β) up to
    logarithms, the rate of Havrilla & Liao 2024, Theorem 1.
    """
    n = 1.0
    for _ in range(100):
        n = max(1.0, bound**2 * log_covering_number(shape, kappa, 1 / n, largest_input) / epsilon**2)
    return n
