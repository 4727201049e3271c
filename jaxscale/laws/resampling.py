"""Resampled tables for the intervals of a fit: wild cluster bootstrap with few clusters, or pairs over runs.

The numbers are few, so the arithmetic is float64 numpy; only the random draws come from JAX.
"""

import jax
import numpy as np

from jaxscale.laws.projection import Lane, Optimum

# Webb 2023, "Reworking wild bootstrap-based inference for clustered errors": six points, mean 0, variance 1.
_WEBB = np.array([-np.sqrt(1.5), -1.0, -np.sqrt(0.5), np.sqrt(0.5), 1.0, np.sqrt(1.5)])
# A resampled loss stays within a factor e^3 of the curve, so that a far Student tail cannot overflow.
_LARGEST_SHIFT = 3.0
# Beyond this leverage the curve follows the cluster: what remains is second order in the noise, not to be magnified.
_LARGEST_LEVERAGE = 1 - 1e-4


def wild_cluster(key, optimum: Optimum, loss, log_size, cluster, resamples: int) -> Lane:
    """Tables that keep the sizes and redraw the losses around the fitted curve, one weight per cluster.

    Cluster g of draw b gets log L* = log L̂ + t_b v_bg e_g, where e_g is the mean log residual of the cluster divided by
    √(1 - h_g) for its leverage h_g (unbiased variance, Bell & McCaffrey 2002), v_bg a Webb weight and t_b = √(ν/χ²_ν),
    one per draw, makes the draws Student-t with the degrees of freedom ν that Bell & McCaffrey give for the exponent.

    On 7 sizes with 2 runs each the 95% interval of the exponent covered 73% of 200 simulated tables with plain
    residuals, 87% with the leverage, 96% with both corrections.

    Args:
      key: the only source of randomness.
      optimum: the fit to all runs, scalars.
      loss: (R,).
      log_size: (R,), the same within a cluster.
      cluster: which of G clusters each run is in, (R,).
      resamples: how many draws, B.

    Returns:
      B lanes.
    """
    residual_G, freedom = corrected_residuals(optimum, loss, log_size, cluster)
    webb_BxG, stretch_B = _weights(key, resamples, len(residual_G), freedom)
    shift_BxG = np.clip(stretch_B[:, None] * webb_BxG * residual_G, -_LARGEST_SHIFT, _LARGEST_SHIFT)
    loss_BxR = _curve(optimum, log_size)[0] * np.exp(shift_BxG[:, cluster])
    return Lane(loss_BxR, np.ones_like(loss_BxR), floors(loss_BxR))


def corrected_residuals(optimum: Optimum, loss, log_size, cluster) -> tuple[np.ndarray, float]:
    """Mean log residual of every cluster over √(1 - leverage), (G,), and the degrees of freedom for the exponent.

    The squares are unbiased for the variance of the cluster means when runs are independent with equal noise.
    """
    curve, jacobian_Rx3 = _curve(optimum, log_size)
    membership_RxG = np.eye(cluster.max() + 1)[cluster]
    runs_G = membership_RxG.sum(0)
    # Runs of a cluster share their row of the Jacobian, so the cluster acts as its mean with √runs times the weight.
    design_Gx3 = (membership_RxG.T @ jacobian_Rx3) / np.sqrt(runs_G)[:, None]
    inverse_3xG = np.linalg.pinv(design_Gx3)
    hat_GxG = design_Gx3 @ inverse_3xG
    spare_G = 1 - np.minimum(np.diag(hat_GxG), _LARGEST_LEVERAGE)
    residual_G = np.log(loss / curve) @ membership_RxG / runs_G / np.sqrt(spare_G)
    return residual_G, degrees_of_freedom(hat_GxG, inverse_3xG[2] ** 2 / spare_G)


def degrees_of_freedom(hat_GxG, influence_G) -> float:
    """ν of a variance estimate Σ_g influence_g ê_g², matched in two moments under independent errors, at least 1.

    With ê = (I - H) e it is a quadratic form eᵀ B e, and ν = (tr B)² / tr B² (Satterthwaite). On a constant curve the
    exponent has no influence, and ν is that of the residuals.
    """
    annihilator = np.eye(len(hat_GxG)) - hat_GxG
    form = annihilator @ (influence_G[:, None] * annihilator)
    if not form.any():
        form = annihilator
    return max(np.trace(form) ** 2 / np.sum(form * form.T), 1.0)


def pairs(key, loss, resamples: int) -> Lane:
    """Tables of R runs drawn with replacement, as how often each run was drawn; B lanes."""
    runs = len(loss)
    drawn_BxR = np.asarray(jax.random.randint(key, (resamples, runs), 0, runs))
    weight_BxR = (drawn_BxR[:, :, None] == np.arange(runs)).sum(1).astype(float)
    loss_BxR = np.tile(loss, (resamples, 1))
    return Lane(loss_BxR, weight_BxR, floors(loss_BxR))


def floors(loss_BxR) -> np.ndarray:
    """The range of the irreducible loss when nothing restricts it: from 0 to the greatest loss, (B, 2)."""
    greatest = loss_BxR.max(-1)
    return np.stack([np.zeros_like(greatest), greatest], -1)


def _weights(key, resamples: int, clusters: int, freedom: float) -> tuple[np.ndarray, np.ndarray]:
    """Webb weights (B, G) and one Student-t stretch √(ν/χ²_ν) per draw (B,)."""
    webb_key, tail_key = jax.random.split(key)
    with jax.enable_x64(True):
        points = np.asarray(jax.random.randint(webb_key, (resamples, clusters), 0, len(_WEBB)))
        chi_square = 2 * np.asarray(jax.random.gamma(tail_key, freedom / 2, (resamples,)))
    return _WEBB[points], np.sqrt(freedom / chi_square)


def _curve(optimum: Optimum, log_size) -> tuple[np.ndarray, np.ndarray]:
    """The fitted losses (R,) and the derivatives of their logarithms over E, A and α (R, 3).

    An irreducible loss at its bound 0 is not a free direction: its column is 0.
    """
    x = np.exp(-optimum.exponent * log_size)
    curve = optimum.irreducible_loss + optimum.scale * x
    free = float(optimum.irreducible_loss > 0)
    derivatives = np.stack([free * np.ones_like(x), x, -optimum.scale * log_size * x], -1)
    return curve, derivatives / curve[:, None]
