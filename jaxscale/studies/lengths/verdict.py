"""What a study of length generalization found: plateaus, thresholds, bounds beside them, certificates."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxscale import lengths
from jaxscale.lengths import (
    Certificate,
    KGramTask,
    LimitTransformer,
    ModPTask,
    Short,
    SimpleTask,
    bounds,
    constructions,
    strings,
)
from jaxscale.lengths.strings import Length, Tokens
from jaxscale.lengths.thresholds import Threshold
from jaxscale.page.numerals import interval, percent
from jaxscale.page.numerals import number as figures
from jaxscale.studies.lengths.config import NAMES, LengthStudy, Parameters, complexities
from jaxscale.verdict import caveat, number

Task = SimpleTask | ModPTask | KGramTask
Row = dict[str, Any]  # of `table.jsonl`: a network
Column = dict[str, list[float]]  # at one test length, of all networks: `losses`, and shares of strings `valid`
Part = dict[str, Any]  # of the verdict

# Tokens of the long strings that certificates speak of, and how many strings.
LONG = {"simple": 20_000, "mod_p": 20_000, "k_gram": 2048}
CERTIFIED = 4
EPSILON, BITS, BETA = 0.1, 16, 8.0
PIECES_PER_OMEGA = 16

LAWS = {
    "simple": "tokens independent with a bias uniform on [0, 1], drawn afresh for each string",
    "mod_p": "tokens independent with a bias uniform on [0, 1] for each residue, drawn afresh for each string",
    "k_gram": "a Markov chain of order k with uniform random rows, drawn afresh for each string",
}
LIMITS = (
    "Laws of strings, sizes of networks and steps are ours: the paper's text at hand does not state them.",
    "Constants of the theorems are unknown and taken as one: compare exponents and orderings, never values.",
    "Theorem 4.1 as quoted is a statement about one head; the number of heads stands beside every bound.",
    "Logits of trained networks never tie: γ is then as small as chance has it, and 2^(p/γ) beyond all use.",
    "A threshold N*(ε) is of networks trained with these steps and this optimizer, not of the best that exist.",
    "Errors on strings to fail on are largest values over those tried: the worst case is at least as large.",
)


def verdict(
    study: LengthStudy,
    rows: Sequence[Row],
    columns: Mapping[str, Column],
    hard: Mapping[str, Mapping[str, list[Any]]],
    net: LimitTransformer,
    params: Any,
    tasks: Sequence[Task],
) -> dict[str, Any]:
    """The content of `verdict.json`.

    Args:
      study: a `studies.LengthStudy`.
      rows: a dictionary for each network: its parameters, `train_length`, `seed`, `losses` by test length, its looks.
      columns, hard: what was measured by test length, and on strings to fail on.
      net, params: the networks.
      tasks: the task of each.
    """
    summary, trends = _plateaus(study, rows), _trends(study, rows)
    no_target = {name: 1 - float(np.mean(column["valid"])) for name, column in columns.items()}
    return {
        "question": "How long must training strings be?",
        "sentence": _sentence(len(rows), summary, trends),
        "agreement": None,
        "numbers": [
            number(f"exponent of the plateau in {NAMES[name]}", trend["slope"], trend["interval"])
            for name, trend in trends.items()
        ],
        "caveats": _caveats(study, rows, no_target),
        "task": study.task,
        "law": LAWS[study.task],
        "heads": net.heads,
        "runs": len(rows),
        "collapsed": sum(row.get("collapsed", False) for row in rows),
        "plateaus": summary,
        "trends": trends,
        "thresholds": _thresholds(study, rows),
        "hard": _hard(study, rows, hard),
        "bounds": _bounds(study, rows, net, params),
        "certificates": _certificates(study, rows, net, params, tasks),
        "attention": _attention(study, rows, net, params, tasks),
        "no_target": no_target,
        "limits": list(LIMITS),
    }


def _sentence(runs: int, plateaus: Sequence[Part], trends: Mapping[str, Part]) -> str:
    """What was found, in two or three sentences."""
    said = [f"{runs} networks."]
    ratios = [entry["ten_over_limit"] for entry in plateaus if "ten_over_limit" in entry]
    if ratios:
        said.append(f"The loss at 10 N is {figures(min(ratios))} to {figures(max(ratios))} of that at T = ∞.")
    slopes = [
        f"{figures(trend['slope'])} {interval(trend['interval'])} in {NAMES[name]}" for name, trend in trends.items()
    ]
    if slopes:
        said.append(f"Fitted as a power law, the plateau has the exponents {', '.join(slopes)}.")
    return " ".join(said)


def _caveats(study: LengthStudy, rows: Sequence[Row], no_target: Mapping[str, float]) -> list[dict[str, str]]:
    found = [caveat("law_of_strings", f"Strings: {LAWS[study.task]}. A plateau is one of this law.")]
    if collapsed := len(rows) - len(_kept(rows)):
        found.append(
            caveat(
                "collapsed",
                f"{collapsed} of {len(rows)} networks collapsed: after some last token they look at one token value "
                "where all are equally frequent. They are counted here and left out of every mean.",
            )
        )
    missing = {name: share for name, share in no_target.items() if share > 0.001 and name.isdigit()}
    if missing:
        shares = ", ".join(f"{percent(share)} at T = {name}" for name, share in missing.items())
        found.append(caveat("no_target", f"Strings without a target are dropped: {shares}."))
    return found


def _of(rows: Sequence[Row], parameters: Parameters, train_length: int | None = None) -> list[Row]:
    """Rows of one task parameter and, if one is given, one train length; collapsed runs too."""
    same: Callable[[Row], bool] = lambda row: all(row[name] == value for name, value in parameters.items())
    return [row for row in rows if same(row) and train_length in (None, row["train_length"])]


def _kept(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if not row.get("collapsed", False)]


def _plateaus(study: LengthStudy, rows: Sequence[Row]) -> list[Part]:
    """For each task parameter and N: the plateau, its parts, and how many runs count."""
    found = []
    for parameters in complexities(study):
        for length in study.train_lengths:
            everyone = _of(rows, parameters, length)
            runs = _kept(everyone)
            entry: Part = {"parameters": parameters, "train_length": length, "runs": len(runs)}
            entry["collapsed"] = len(everyone) - len(runs)
            for name in ("own", "ten", "inf"):
                entry[name] = _mean([run["losses"][name] for run in runs], study)
            if runs:
                own, limit = entry["own"]["mean"], entry["inf"]["mean"]
                entry["optimization_error"], entry["length_gap"] = own, limit - own
                entry["ten_over_limit"] = entry["ten"]["mean"] / limit
            found.append(entry)
    return found


def _mean(values: Sequence[float], study: LengthStudy) -> Part | None:
    """Geometric mean with its bootstrap interval over runs."""
    if not values:
        return None
    logs = np.log(np.maximum(values, 1e-30))
    drawn = jax.random.randint(jax.random.key(0), (study.resamples, len(logs)), 0, len(logs))
    means = logs[np.asarray(drawn)].mean(1)
    ends = np.quantile(means, [(1 - study.level) / 2, (1 + study.level) / 2])
    return {"mean": float(np.exp(logs.mean())), "interval": np.exp(ends).tolist()}


def _trends(study: LengthStudy, rows: Sequence[Row]) -> dict[str, Part]:
    """Slopes of log plateau on log N and on the logarithms of the task's parameters, with intervals over seeds."""
    runs = _kept(rows)
    varied = [n for n in complexities(study)[0] if len({row[n] for row in rows}) > 1]
    names = [n for n in ("train_length", *varied) if len({row[n] for row in runs}) > 1]
    if len(runs) < 2 * (len(names) + 1):
        return {}
    design = np.array([[1.0, *(math.log(row[name]) for name in names)] for row in runs])
    logs = np.log([max(row["losses"]["inf"], 1e-30) for row in runs])
    seeds = np.array([row["seed"] for row in runs])
    fit: Callable[[np.ndarray], np.ndarray] = lambda weight: np.linalg.lstsq(
        design * weight[:, None] ** 0.5, logs * weight**0.5, rcond=None
    )[0]
    kinds = np.unique(seeds)
    drawn = np.asarray(jax.random.randint(jax.random.key(1), (study.resamples, len(kinds)), 0, len(kinds)))
    slopes = np.array([fit(np.array([(kinds[draw] == seed).sum() for seed in seeds], float)) for draw in drawn])
    ends = np.quantile(slopes, [(1 - study.level) / 2, (1 + study.level) / 2], axis=0)
    best = fit(np.ones(len(runs)))
    return {name: {"slope": float(best[i]), "interval": ends[:, i].tolist()} for i, name in enumerate(names, start=1)}


def _thresholds(study: LengthStudy, rows: Sequence[Row]) -> list[Part]:
    """N*(ε) for each ε and task parameter, and its exponent beside the bound's."""
    found = []
    for i, epsilon in enumerate(study.epsilons):
        ordered, entries, known = sorted(study.train_lengths), [], []
        for parameters in complexities(study):
            errors = [
                [_error(run) for run in sorted(_of(rows, parameters, n), key=lambda row: row["seed"])] for n in ordered
            ]
            key = jax.random.fold_in(jax.random.key(2), i)
            one = lengths.threshold(ordered, errors, epsilon, study.level, study.resamples, key=key)
            known.append((parameters, one))
            entries.append({"parameters": parameters} | _threshold(one))
        found.append({"epsilon": epsilon, "thresholds": entries, "exponents": _exponents(study, known)})
    return found


def _error(run: Row) -> float:
    return math.nan if run.get("collapsed", False) else max(run["losses"]["inf"], 0.0) ** 0.5 + 1e-30


def _threshold(one: Threshold | None) -> Part:
    if one is None:
        return {"length": None, "interval": None, "censored": "all runs collapsed at a length that may suffice"}
    ends = [end if math.isfinite(end) and end > 0 else None for end in one.interval]
    return {"length": one.length, "interval": ends, "censored": one.censored, "runs": one.runs}


def _exponents(study: LengthStudy, known: Sequence[tuple[Parameters, Threshold | None]]) -> list[Part]:
    """Slopes of log N* in each parameter that varies alone, with the exponents of the quoted bound."""
    quoted = {"omega": 2.0, "period": 7.0}  # L² with L = Θ(ω), and Δ⁷, in Theorem 4.1; of k and S no power is quoted
    found = []
    for name in complexities(study)[0]:
        groups: dict[tuple[Any, ...], list[Any]] = {}
        for parameters, one in known:
            rest = tuple(sorted((n, v) for n, v in parameters.items() if n != name))
            groups.setdefault(rest, []).append((parameters[name], one))
        for rest, members in groups.items():
            usable = [(value, one) for value, one in members if one is not None]
            if len(usable) < 2:
                continue
            values, ones = zip(*usable, strict=True)
            fitted = lengths.exponent(values, study.train_lengths, ones, study.level)
            number: Callable[[float], float | None] = lambda x: None if math.isnan(x) else x
            found.append(
                {
                    "in": name,
                    "at": dict(rest),
                    "exponent": number(fitted.value),
                    "interval": [number(end) for end in fitted.interval],
                    "quoted": quoted.get(name),
                }
            )
    return found


def _hard(study: LengthStudy, rows: Sequence[Row], hard: Mapping[str, Mapping[str, list[Any]]]) -> list[Part]:
    """Largest and mean errors by kind of string, length, task parameter and N: medians over runs that count."""
    found = []
    for length, measured in hard.items():
        for parameters in complexities(study):
            for train_length in study.train_lengths:
                those = [i for i, row in enumerate(rows) if row in _kept(_of(rows, parameters, train_length))]
                if not those:
                    continue
                medians = {
                    name: np.median(np.array(measured[name])[those], axis=0).tolist() for name in ("largest", "mean")
                }
                found.append(
                    {
                        "length": int(length),
                        "parameters": parameters,
                        "train_length": train_length,
                        "largest": dict(zip(measured["kinds"], medians["largest"], strict=True)),
                        "mean": dict(zip(measured["kinds"], medians["mean"], strict=True)),
                    }
                )
    return found


def reference(study: LengthStudy, parameters: Parameters) -> tuple[LimitTransformer, Any]:
    """The construction that solves a task: the g of the bounds."""
    if study.task == "simple":
        return constructions.count(parameters["omega"], max(8, math.ceil(PIECES_PER_OMEGA * parameters["omega"])))
    if study.task == "mod_p":
        return constructions.mod_p(parameters["period"])
    return constructions.k_gram(parameters["order"], parameters["symbols"], BETA)


def _bounds(study: LengthStudy, rows: Sequence[Row], net: LimitTransformer, params: Any) -> list[Part]:
    """What the theorems ask for at ε = 0.1, with γ, L and C measured: of the construction, and of trained networks."""
    found = []
    for parameters in complexities(study):
        target = lengths.complexity(*reference(study, parameters))
        itself = bounds.bounds_of(target, target, EPSILON, BITS)[0]
        trained = [
            lengths.complexity(net, jax.tree.map(lambda leaf, i=i: leaf[i], params))
            for i, row in enumerate(rows)
            if row in _kept(_of(rows, parameters, max(study.train_lengths)))
        ]
        pairs = [bounds.bounds_of(one, target, EPSILON, BITS)[0] for one in trained]
        median: Callable[[Sequence[Any]], float | None] = lambda values: (
            float(np.median(values)) if len(values) else None
        )
        finite: Callable[[jax.Array], float | None] = lambda value: float(value) if math.isfinite(value) else None
        found.append(
            {
                "parameters": parameters,
                "theorem": itself.name,
                "remark": itself.remark,
                "heads": net.heads,
                "construction": {"quoted": finite(itself.quoted), "derived": finite(itself.derived)},
                "trained": {
                    "quoted": median([float(pair.quoted) for pair in pairs]),
                    "derived": median([float(pair.derived) for pair in pairs]),
                    "gap": median([one.gap for one in trained]),
                    "lipschitz": median([one.lipschitz for one in trained]),
                    "log10_constant": median([one.log10_constant for one in trained if one.log10_constant is not None]),
                },
            }
        )
    return found


def _attention(
    study: LengthStudy, rows: Sequence[Row], net: LimitTransformer, params: Any, tasks: Sequence[Task]
) -> Part | None:
    """Where a trained network looks on one string, position by position; of the mean over a residue only."""
    kept = [i for i, row in enumerate(rows) if row in _kept(_of(rows, {}, max(study.train_lengths)))]
    if study.task != "mod_p" or not kept:
        return None
    # The period of the paper's figure, if it is in the grid.
    i = next((i for i in kept if rows[i]["period"] == 5), kept[0])
    length = int(rows[i]["train_length"])
    task = cast(ModPTask, tasks[i])
    tokens_T = task.sample(length, length, key=jax.random.key(4))
    seen = strings.summarize(tokens_T, length, 2, task.period, 0, task.rows)
    network = jax.tree.map(lambda leaf: leaf[i], params)
    look = cast(Callable[..., tuple[jax.Array, jax.Array]], functools.partial(net.apply, {"params": network}))
    by_class_HxSxR, by_suffix_HxW = look(seen, method="attention")
    # Tokens of a class share its weight; the last one has a weight of its own.
    residue_T = strings.residues(length, task.period)
    each_SxR = jnp.mean(by_class_HxSxR, axis=0) / jnp.maximum(seen.bulk, 1)
    weights_T = each_SxR[tokens_T, residue_T].at[-1].set(jnp.mean(by_suffix_HxW[:, 0]))
    wanted_T = residue_T == task.residue
    return {
        "parameters": {"period": rows[i]["period"]},
        "train_length": length,
        "weights": np.asarray(weights_T).tolist(),
        "wanted": np.asarray(wanted_T).tolist(),
        "mass": float(jnp.sum(weights_T * wanted_T)),
    }


def _certificates(
    study: LengthStudy, rows: Sequence[Row], net: LimitTransformer, params: Any, tasks: Sequence[Task]
) -> list[Part]:
    """For a network of each task parameter at the largest N, certificates on long strings of the law."""
    found, longest = [], max(study.train_lengths)
    for parameters in complexities(study):
        those = [i for i, row in enumerate(rows) if row in _kept(_of(rows, parameters, longest))]
        if not those:
            continue
        i = those[0]
        network = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(3), i), CERTIFIED)
        each = jax.device_get(_certify_all(net, network, tasks[i], LONG[study.task], longest, keys))
        found.append(
            {"parameters": parameters, "train_length": longest, "long": LONG[study.task], "strings": CERTIFIED}
            | {name: float(np.mean(getattr(each, name))) for name in ("network", "target", "short", "bound", "error")}
            | {"length": float(np.mean(each.length))}
        )
    return found


@functools.partial(jax.jit, static_argnames=("net", "long", "budget"))
def _certify_all(
    net: LimitTransformer, params: Any, task: Task, long: int, budget: int, keys: jax.Array
) -> Certificate:
    return jax.vmap(lambda key: _certify(net, params, task, long, budget, key))(keys)


def _certify(net: LimitTransformer, params: Any, task: Task, long: int, budget: int, key: jax.Array) -> Certificate:
    """The certificate of a network on one long string: by proportions for one layer, thinned for two."""
    key_string, key_short = jax.random.split(key)
    tokens_T = task.sample(long, long, key=key_string)
    apply = cast(Callable[..., jax.Array], functools.partial(net.apply, {"params": params}))
    g = lambda tokens, length: task.target(tokens, length).value
    if isinstance(task, KGramTask):
        whole = lambda tokens, length: apply(tokens, length, method="running")
        thinned: Callable[[jax.Array], Short] = lambda key: lengths.thin(
            tokens_T, long, budget // 2, key=key, locality=net.locality, size=2 * budget
        )
        return lengths.tightest(whole, g, tokens_T, long, jax.vmap(thinned)(jax.random.split(key_short, 16)))

    def f(tokens: Tokens, length: Length) -> jax.Array:
        return apply(strings.summarize(tokens, length, 2, task.period, 0, task.rows), method="summarized")

    budget = max(budget, 4 * task.rows)  # room for every class, whatever was trained on
    short = lengths.proportional(tokens_T, long, budget, 2, task.period, rows=task.rows)
    return lengths.certificate(f, g, tokens_T, jnp.int32(long), short)
