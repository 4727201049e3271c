"""From a table of runs and a dimension to a verdict: predicted against observed exponent, with every caveat."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from jaxscale import laws, smoothness, theory
from jaxscale.studies.scaling.config import DataScaling
from jaxscale.studies.scaling.folder import Row
from jaxscale.verdict import Agreement, caveat, number

Part = dict[str, Any]  # of the verdict, or all of it
Finding = Agreement | Literal["floor", "close"]  # what the sentence says of the intervals

QUESTION = "Does the loss fall with the amount of data as fast as the data’s intrinsic dimension says it should?"

_LEAST_DIMENSION = 1e-6  # an interval of d may reach below 0, no prediction does


def compare(
    study: DataScaling, rows: Sequence[Row], measured: Part, fit: laws.Fit, ahead: laws.BackTest | None = None
) -> Part:
    """The verdict's numbers, sentence, curves and caveats, as plain values.

    The prediction is refuted when its interval and the fit's are disjoint, if the fit knows its floor. It is confirmed
    only by a fit that could have refuted another dimension: one that also meets the interval predicted by half or by
    twice d is inconclusive.

    Args:
      study: a `studies.DataScaling`.
      rows: the study's table.
      measured: the dimension, from `geometry.measure`.
      fit: the `laws.Fit` of the table.
      ahead: its `laws.BackTest`, if one was made.
    """
    low, high = measured["interval"]
    check = laws.against_theory(fit, measured["estimate"], (max(low, _LEAST_DIMENSION), high), study.beta)
    exponent = check.exponents[0]
    predicted = _prediction(study.beta, exponent, check.cross_entropy)
    observed = _observation(fit, exponent)
    if ahead is not None:
        observed["back_test"] = {"error": _finite(ahead.overall), "coverage": _finite(ahead.realized)}
    predicted["measured_beta"] = _at_measured_beta(fit, measured, max(low, _LEAST_DIMENSION))
    sizes = np.geomspace(min(study.sizes), max(study.sizes), 50)
    lower, upper = fit.band(sizes)
    observed["curve"] = _curve(sizes, fit.predict(sizes), lower, upper)
    return {
        "question": QUESTION,
        "sentence": _sentence(study, measured, predicted, observed, _finding(exponent)),
        "agreement": exponent.agreement,
        "numbers": [
            number("intrinsic dimension d", measured["estimate"], measured["interval"]),
            number(
                "exponent of the loss in n", observed["exponent"], observed["exponent_interval"], predicted["exponent"]
            ),
        ],
        "dimension": measured,
        "predicted": predicted,
        "observed": observed,
        "prediction_curve": _prediction_curve(sizes, fit, predicted),
        "caveats": [*(caveat(*warning) for warning in fit.warnings), *_caveats(study, rows, measured, observed)],
        "limits": list(theory.LIMITS),
    }


def _finding(exponent: laws.ExponentCheck) -> Finding:
    if exponent.floor_unknown:
        return "floor"
    close = laws.meeting(exponent.observed.interval, exponent.predicted.interval) == "close"
    return "close" if close else exponent.agreement


def _prediction(beta: float, exponent: laws.ExponentCheck, cross_entropy: theory.Bracket) -> Part:
    return {
        "beta": beta,
        "exponent": float(exponent.predicted.estimate),
        "interval": [float(end) for end in exponent.predicted.interval],
        "formula": "2β/(2β+d)",
        "cross_entropy": [float(end) for end in cross_entropy],
        "rivals": exponent.rivals,
    }


def _at_measured_beta(fit: laws.Fit, measured: Part, least_dimension: float) -> Part | None:
    """The prediction with the measured smoothness in place of the assumed one; None where it was not identified."""
    found = measured.get("smoothness")
    if not (found and found["identified"]):
        return None
    d_interval = (least_dimension, measured["interval"][1])
    check = laws.against_theory(fit, measured["estimate"], d_interval, found["beta"], found["interval"])
    predicted = check.exponents[0].predicted
    return {
        "beta": found["beta"],
        "beta_interval": found["interval"],
        "exponent": float(predicted.estimate),
        "interval": [float(end) for end in predicted.interval],
        "agreement": check.exponents[0].agreement,
    }


def _observation(fit: laws.Fit, exponent: laws.ExponentCheck) -> Part:
    ends = {name: [float(end) for end in fit.intervals[name]] for name in fit.parameters}
    return {
        "law": "E + A n^-α",
        "objective": str(fit.objective),
        "exponent": float(fit.parameters["alpha"]),
        "exponent_interval": ends["alpha"],
        "irreducible_loss": float(fit.parameters["E"]),
        "irreducible_loss_interval": ends["E"],
        "scale": float(fit.parameters["A"]),
        "scale_interval": ends["A"],
        "level": fit.level,
        "bootstrap": fit.bootstrap,
        "groups": fit.runs.group_by or None,
        "relative_rms": float(np.sqrt(np.mean(np.expm1(fit.residuals) ** 2))),
        "implied_dimension": _finite(exponent.implied_dimension.estimate),
        "implied_dimension_interval": [_finite(end) for end in exponent.implied_dimension.interval],
        "share_of_starts_at_optimum": float(fit.convergence.share_at_optimum),
    }


def _finite(value: float) -> float | None:
    """The number, or None where there is none that JSON has a word for."""
    return float(value) if np.isfinite(value) else None


def _sentence(study: DataScaling, measured: Part, predicted: Part, observed: Part, finding: Finding) -> str:
    number: Callable[[float, Sequence[float]], str] = lambda value, ends: f"{value:.3g} [{ends[0]:.3g}, {ends[1]:.3g}]"
    meaning = {
        "consistent": "The intervals meet, and those of half or twice the dimension would not.",
        "inconsistent": "The intervals do not meet.",
        "floor": "The intervals do not meet, but the exponent depends on a floor E that these runs do not identify.",
        "inconclusive": "The intervals meet, but those of half or twice the dimension would too, or nearly.",
        "close": "The ends of the intervals are too close to each other to say whether they meet.",
    }
    found = predicted["measured_beta"]
    at_measured = ""
    if found:
        at_measured = (
            f" At the measured smoothness β = {number(found['beta'], found['beta_interval'])} theory predicts α = "
            f"{number(found['exponent'], found['interval'])}: {found['agreement']}."
        )
    return (
        f"Measured dimension d = {number(measured['estimate'], measured['interval'])} predicts α = "
        f"{number(predicted['exponent'], predicted['interval'])} at β = {study.beta:g}; observed α = "
        f"{number(observed['exponent'], observed['exponent_interval'])}, at {observed['level']:.0%}. "
        f"{meaning[finding]}{at_measured}"
    )


def _curve(
    sizes: np.ndarray, loss: np.typing.ArrayLike, lower: np.typing.ArrayLike, upper: np.typing.ArrayLike
) -> dict[str, list[float]]:
    plain: Callable[[Any], list[float]] = lambda values: [float(v) for v in values]
    return {"n": plain(sizes), "loss": plain(loss), "lower": plain(lower), "upper": plain(upper)}


def _prediction_curve(sizes: np.ndarray, fit: laws.Fit, predicted: Part) -> dict[str, list[float]]:
    """The law with the exponent held at its prediction and the ends of its interval; E and A fitted to the table."""
    parameters = laws.held(fit, "alpha", [predicted["exponent"], *predicted["interval"]])
    curves = np.asarray(fit.law.losses({name: values[:, None] for name, values in parameters.items()}, sizes))
    return _curve(sizes, curves[0], np.min(curves, axis=0), np.max(curves, axis=0))


def _caveats(study: DataScaling, rows: Sequence[Row], measured: Part, observed: Part) -> Iterator[dict[str, str]]:
    ahead = observed.get("back_test", {})
    if ahead.get("error") is not None:
        yield caveat(
            "back_test",
            f"Fitted to its smaller sizes alone, the law forecasts the larger ones with an error of "
            f"{ahead['error']:.1%}; {ahead['coverage']:.0%} of them lie in their {observed['level']:.0%} interval.",
        )
    late, early = ([row["run"] for row in rows if row["edge"] == edge] for edge in ("late", "early"))
    if late:
        yield caveat(
            "edge_optimum",
            f"Training of {', '.join(late)} ended before the loss was seen to rise: not the best achievable at that n. "
            "Raise run.training.steps.",
        )
    if early:
        yield caveat(
            "early_optimum",
            f"The loss of {', '.join(early)} was lowest at the first evaluation; a lower one may lie before. "
            "Lower run.training.evaluate_every.",
        )
    if study.run.optimizer.schedule != "constant" and any(row["stopped"] == "patience" for row in rows):
        yield caveat(
            "schedule_cut_short",
            "Some runs stopped before their learning rate had decayed, others did not; that may be part of the fall.",
        )
    if len(study.seeds) < 3:
        seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)}"
        yield caveat("few_seeds", f"{seeds} per size: the noise between runs is barely seen.")
    yield caveat(
        "nested_sizes",
        "A seed's smaller sets lie inside its larger ones, so its runs err together; the interval takes sizes as "
        "independent.",
    )
    yield caveat(
        "one_setting",
        "One model size, learning rate and weight decay for all n, only the stopping time chosen per run, on the "
        "held-out text it is scored on; the minimum of a noisy curve reads a little low, lower for longer runs. E "
        "includes what this model cannot learn.",
    )
    yield _smoothness_caveat(study.beta, measured.get("smoothness"))
    yield caveat(
        "cross_entropy", "The theorem bounds a squared error; the loss here is cross-entropy, in nats per token."
    )
    if measured["estimate"] > 2 * np.log10(measured["points"]):
        yield caveat(
            "dimension_biased_down",
            f"d = {measured['estimate']:.3g} from {measured['points']} points: nearest-neighbor estimates read too "
            "low when d is large against log n, so the predicted α reads too high.",
        )


def _smoothness_caveat(assumed: float, found: Part | None) -> dict[str, str]:
    if found is None:
        return caveat(
            "assumed_smoothness", f"β = {assumed:g} is assumed, not measured; a smaller β predicts a smaller α."
        )
    low, high = found["interval"]
    reading = f"next-token probabilities read β = {found['beta']:.2g} [{low:.2g}, {high:.2g}]"
    if not found["identified"]:
        why = ", and ".join(smoothness.unidentified(found["beta"], found["interval"]))
        return caveat(
            "assumed_smoothness",
            f"β = {assumed:g} is assumed, not identified: at {found['points']} points {reading}, and {why}. "
            "A smaller β predicts a smaller α.",
        )
    return caveat(
        "assumed_smoothness",
        f"β = {assumed:g} is assumed in the prediction; {reading} over distances {found['scales'][0]:.2g} to "
        f"{found['scales'][1]:.2g}. The prediction at that β stands beside it.",
    )
