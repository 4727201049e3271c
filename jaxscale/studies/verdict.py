"""From a table of runs and a dimension to a verdict: predicted against observed exponent, with every caveat."""

import numpy as np

from jaxscale import theory


def compare(study, rows, measured, fit):
    """The verdict's numbers, sentence, curves and caveats, as plain values.

    The prediction is refuted when its interval and the fit's are disjoint. It is confirmed only by a fit that could
    have refuted another dimension: one that also meets the interval predicted by half or by twice d is inconclusive.

    Args:
      study: a `config.DataScaling`.
      rows: the study's table.
      measured: the dimension, from `geometry.measure`.
      fit: the `laws.Fit` of the table.
    """
    predicted = _prediction(study.beta, measured)
    observed = _observation(fit)
    agreement = _agreement(study.beta, measured, predicted, observed)
    sizes = np.geomspace(min(study.sizes), max(study.sizes), 50)
    lower, upper = fit.band(sizes)
    observed["curve"] = _curve(sizes, fit.predict(sizes), lower, upper)
    return {
        "sentence": _sentence(study, measured, predicted, observed, agreement),
        "agreement": agreement,
        "dimension": measured,
        "predicted": predicted,
        "observed": observed,
        "prediction_curve": _prediction_curve(sizes, rows, predicted),
        "caveats": [*(_caveat(*warning) for warning in fit.warnings), *_caveats(study, rows, measured)],
        "limits": list(theory.LIMITS),
    }


def _prediction(beta, measured):
    low, high = measured["interval"]
    return {
        "beta": beta,
        "exponent": float(theory.data_exponent(measured["estimate"], beta)),
        "interval": [float(theory.data_exponent(high, beta)), float(theory.data_exponent(max(low, 1e-6), beta))],
        "formula": "2β/(2β+d)",
    }


def _observation(fit):
    ends = {name: [float(end) for end in fit.intervals[name]] for name in fit.parameters}
    return {
        "law": "E + A n^-α",
        "exponent": float(fit.exponent),
        "exponent_interval": ends["exponent"],
        "irreducible_loss": float(fit.irreducible_loss),
        "irreducible_loss_interval": ends["irreducible_loss"],
        "scale": float(fit.scale),
        "scale_interval": ends["scale"],
        "level": fit.level,
        "bootstrap": fit.bootstrap,
        "relative_rms": float(fit.relative_rms),
    }


def _agreement(beta, measured, predicted, observed):
    low, high = observed["exponent_interval"]
    if high < predicted["interval"][0] or low > predicted["interval"][1]:
        return "inconsistent"
    for factor in (0.5, 2.0):
        ends = [float(theory.data_exponent(factor * max(end, 1e-6), beta)) for end in measured["interval"]]
        if low <= max(ends) and min(ends) <= high:
            return "inconclusive"
    return "consistent"


def _sentence(study, measured, predicted, observed, agreement):
    number = lambda value, ends: f"{value:.3g} [{ends[0]:.3g}, {ends[1]:.3g}]"
    meaning = {
        "consistent": "The intervals meet, and those of half or twice the dimension would not.",
        "inconsistent": "The intervals do not meet.",
        "inconclusive": "The intervals meet, but so would those of half or twice the dimension.",
    }
    return (
        f"Measured dimension d = {number(measured['estimate'], measured['interval'])} predicts α = "
        f"{number(predicted['exponent'], predicted['interval'])} at β = {study.beta:g}; observed α = "
        f"{number(observed['exponent'], observed['exponent_interval'])}, at {observed['level']:.0%}. "
        f"{meaning[agreement]}"
    )


def _curve(sizes, loss, lower, upper):
    plain = lambda values: [float(v) for v in values]
    return {"n": plain(sizes), "loss": plain(loss), "lower": plain(lower), "upper": plain(upper)}


def _prediction_curve(sizes, rows, predicted):
    """The law with the exponent held at its prediction and the ends of its interval; E and A fitted to the table."""
    curves = [_refitted(sizes, rows, exponent) for exponent in (predicted["exponent"], *predicted["interval"])]
    return _curve(sizes, curves[0], np.min(curves, axis=0), np.max(curves, axis=0))


def _refitted(sizes, rows, exponent):
    from scipy.optimize import nnls

    n, loss = (np.array([row[name] for row in rows], float) for name in ("n", "loss"))
    design = np.stack([1 / loss, n**-exponent / loss], axis=1)  # relative residuals, as in laws.fit
    (floor, scale), _ = nnls(design, np.ones(len(n)))
    return floor + scale * sizes**-exponent


def _caveats(study, rows, measured):
    late, early = ([row["run"] for row in rows if row["edge"] == edge] for edge in ("late", "early"))
    if late:
        yield _caveat(
            "edge_optimum",
            f"Training of {', '.join(late)} ended before the loss was seen to rise: not the best achievable at that n. "
            "Raise run.training.steps.",
        )
    if early:
        yield _caveat(
            "early_optimum",
            f"The loss of {', '.join(early)} was lowest at the first evaluation; a lower one may lie before. "
            "Lower run.training.evaluate_every.",
        )
    if study.run.optimizer.schedule != "constant" and any(row["stopped"] == "patience" for row in rows):
        yield _caveat(
            "schedule_cut_short",
            "Some runs stopped before their learning rate had decayed, others did not; that may be part of the fall.",
        )
    if len(study.seeds) < 3:
        seeds = f"{len(study.seeds)} seed{'s' * (len(study.seeds) > 1)}"
        yield _caveat("few_seeds", f"{seeds} per size: the noise between runs is barely seen.")
    yield _caveat(
        "nested_sizes",
        "A seed's smaller sets lie inside its larger ones, so its runs err together; the interval takes sizes as "
        "independent.",
    )
    yield _caveat(
        "one_setting",
        "One model size, learning rate and weight decay for all n, only the stopping time chosen per run, on the "
        "held-out text it is scored on; the minimum of a noisy curve reads a little low, lower for longer runs. E "
        "includes what this model cannot learn.",
    )
    yield _caveat(
        "assumed_smoothness", f"β = {study.beta:g} is assumed, not measured; a smaller β predicts a smaller α."
    )
    yield _caveat(
        "cross_entropy", "The theorem bounds a squared error; the loss here is cross-entropy, in nats per token."
    )
    if measured["estimate"] > 2 * np.log10(measured["points"]):
        yield _caveat(
            "dimension_biased_down",
            f"d = {measured['estimate']:.3g} from {measured['points']} points: nearest-neighbour estimates read too "
            "low when d is large against log n, so the predicted α reads too high.",
        )


def _caveat(code, text):
    return {"code": code, "text": text}
