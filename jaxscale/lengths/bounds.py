"""How long training strings must be, by theorem: log10 of N, as the papers state it and as we derive it.

    one_layer_worst_case(lipschitz=4, period=1, locality=1, alphabet=2, gap=1, bits=8, epsilon=0.1)
    # LengthBound(name='Theorem 4.1', quoted=5.01, derived=4.53, …)

Theorems of Izzo, Nichani & Lee 2026 (arXiv 2510.27015). Their constants are unknown and taken as one, so the values say
nothing; exponents and orderings do. What we derive differently stands beside it; the reasons are in docs/lengths.
Arguments are numbers or arrays that broadcast, traced ones too; results are float32. Concrete arguments out of range
raise InputError.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxscale.errors import InputError
from jaxscale.lengths.complexities import Complexity


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LengthBound:
    """log10 of a training length that suffices.

    Attributes:
      quoted: as the paper states it.
      derived: as we derive it.
      name: which theorem.
      remark: under what reading it holds.
    """

    quoted: jax.Array
    derived: jax.Array
    name: str = dataclasses.field(metadata={"static": True})
    remark: str = dataclasses.field(metadata={"static": True})


def one_layer_worst_case(
    lipschitz: ArrayLike,
    period: ArrayLike,
    locality: ArrayLike,
    alphabet: ArrayLike,
    gap: ArrayLike,
    bits: ArrayLike,
    epsilon: ArrayLike,
    heads: ArrayLike = 1,
) -> LengthBound:
    """Theorem 4.1: one layer, finite precision, every string.

        quoted    N = max(2^(p/γ), L² Δ⁷ |Σ|⁶ τ² / ε²)
        derived   N = max(2^(p/γ), (L/ε)^s Δ⁷ (|Σ|³ + τ)²),  s = 2 heads, capped where rounding ends the scales

    The proof's step |Σ|³ + τ <= |Σ|³ τ is undone. The exponent of L/ε is the number of attention sets that proportions
    must be right in, a head of f and one of g each: 2 only for one head, since sets may live on nested scales; see
    `constructions.witness`. Two printed versions of the first term are 2^p / γ; only 2^(p/γ) follows from N^-γ <= 2^-p.

    Args:
      lipschitz: L, the larger one of f and g; see `complexity`.
      period, locality, alphabet: Δ, τ (0 counts as 1) and |Σ|.
      gap: γ, the smaller one.
      bits: p.
      epsilon: the error on short strings, ε.
      heads: of one network.
    """
    length, tau, size = _logs(lipschitz=lipschitz, locality=_at_least_one(locality), alphabet=alphabet)
    period, epsilon, gap = _logs(period=period, epsilon=epsilon, gap=gap)
    bits, heads = _positive("bits", bits), _positive("heads", heads)
    hardmax = bits * jnp.log10(2.0) * 10**-gap
    proportions = 7 * period + 2 * jnp.log10(10 ** (3 * size) + _at_least_one(locality))
    scale = length - epsilon
    scales = 2 * scale + 2 * (heads - 1) * jnp.minimum(scale, bits * jnp.log10(2.0))
    return LengthBound(
        quoted=jnp.maximum(hardmax, 2 * scale + 7 * period + 6 * size + 2 * tau),
        derived=jnp.maximum(hardmax, scales + proportions),
        name="Theorem 4.1",
        remark="The quoted form is a statement about one head.",
    )


def one_layer_average(epsilon: ArrayLike, alpha: ArrayLike, attended: ArrayLike | None = None) -> LengthBound:
    """Theorem 4.2: one layer, finite precision, on average over tokens independent given a Dirichlet law.

        quoted    N = ε^(-2 - 2/α_0)
        derived   N = ε^(-1 / min(α_C, 1/2))

    for an error ε of the difference itself. The theorem excludes laws that hold a symbol rarer than ε^(1/α_0); a direct
    computation gives E |u_N - u_∞| ~ N^-min(α_C, 1/2) for the share u of one among the attended symbols.

    Args:
      epsilon: ε.
      alpha: α_0, the least of the Dirichlet parameters.
      attended: α_C, the sum of those of the attended symbols; 2 α_0 if None, as with two.
    """
    (epsilon,) = _logs(epsilon=epsilon)
    alpha = _positive("alpha", alpha)
    attended = 2 * alpha if attended is None else _positive("attended", attended)
    return LengthBound(
        quoted=-epsilon * (2 + 2 / alpha),
        derived=-epsilon / jnp.minimum(attended, 0.5),
        name="Theorem 4.2",
        remark="No bound exists where short strings use only a part of the alphabet.",
    )


def two_layers(log10_constant: ArrayLike, gap: ArrayLike, epsilon: ArrayLike) -> LengthBound:
    """Theorem 5.2: two layers, infinite precision, every string: N = (C / ε)^max(1/γ, 3).

    Quoted and derived agree: of the printed versions C ε^-max(…) and (C/ε)^max(…) only the second follows from
    Lemma 5.3.

    Args:
      log10_constant: log10 of the larger C of f and g; see `complexity`.
      gap: γ, the smaller one.
      epsilon: ε.
    """
    gap, epsilon = _logs(gap=gap, epsilon=epsilon)
    found = (jnp.asarray(log10_constant, jnp.float32) - epsilon) * jnp.maximum(10**-gap, 3.0)
    return LengthBound(found, found, "Theorem 5.2", "Two layers, one head in the second.")


def k_gram(order: ArrayLike, alphabet: ArrayLike, epsilon: ArrayLike) -> LengthBound:
    """The corollary for the in-context k-gram: N = ε^-Θ(k²).

        quoted    ε^(-k²), the constant in Θ taken as one
        derived   (C / ε)³ with the C of the construction at β = log(1/ε) + k log S, γ = 1

    where C = 4 e^(2m) (1 + m) √(k+1) (1 + 2k) and m = β (k + 1): for ε <= 1/S that is ε^-Θ(k²) too.
    """
    order = _positive("order", order)
    size, epsilon = _logs(alphabet=alphabet, epsilon=epsilon)
    beta = jnp.log(10.0) * (order * size - epsilon)
    m = beta * (order + 1)
    constant = jnp.log10(4 * (1 + m) * jnp.sqrt(order + 1) * (1 + 2 * order)) + 2 * m / jnp.log(10.0)
    return LengthBound(-epsilon * order**2, 3 * (constant - epsilon), "k-gram corollary", "γ = 1, one head in layer 2.")


def bounds_of(f: Complexity, g: Complexity, epsilon: float, bits: int = 16) -> list[LengthBound]:
    """Bounds that speak of two measured networks.

    Args:
      f, g: their `complexity.Complexity`; the larger L and C and the smaller γ count.
      epsilon: ε.
      bits: p, for one layer in finite precision.

    Returns:
      A list of `LengthBound`.

    Raises:
      InputError: if the networks differ in depth.
    """
    if f.layers != g.layers:
        raise InputError(f"f has {f.layers} layers and g has {g.layers}. Compare networks of one depth.")
    lipschitz, gap = max(f.lipschitz, g.lipschitz), min(f.gap, g.gap)
    if f.log10_constant is not None and g.log10_constant is not None:
        return [two_layers(max(f.log10_constant, g.log10_constant), gap, epsilon)]
    heads = max(f.heads, g.heads)
    return [one_layer_worst_case(lipschitz, f.period, f.locality, f.alphabet, gap, bits, epsilon, heads)]


def _logs(**arguments: ArrayLike) -> list[jax.Array]:
    return [jnp.log10(_positive(name, value)) for name, value in arguments.items()]


def _at_least_one(locality: ArrayLike) -> jax.Array:
    return jnp.maximum(jnp.asarray(locality, jnp.float32), 1)


def _positive(name: str, value: ArrayLike) -> jax.Array:
    """`value` as float32, after checking every concrete entry."""
    if not isinstance(value, jax.core.Tracer):
        entries = np.asarray(value)
        if not np.all(entries > 0):
            raise InputError(f"{name}={value} must be positive. Give a larger value.")
    return jnp.asarray(value, jnp.float32)
