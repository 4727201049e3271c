"""What the tables in benchmarks/results say of each claim: functions of nothing to (what was found, verdict)."""

import json
import pathlib

RESULTS = pathlib.Path(__file__).parent / "results"
CONFIRMED, REFUTED, OPEN = "confirmed", "not confirmed", "not testable here"


class Missing(Exception):
    """A table that a claim reads is not there."""


def table(name):
    """A committed table: `name` without its ending."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise Missing(name)
    return json.loads(path.read_text(encoding="utf-8"))


def cube():
    rows = table("constructions")["cube"]["rows"]
    off = max(abs(row["slope"] + row["beta"]) for row in rows)
    held = all(row["sup"][-1] <= row["bound_at_finest"] for row in rows)
    return (
        f"Slope of log error against log N within {off:.1e} of −β for β = 1 and ½, d = 1, 2, 3; "
        f"every error {'at most' if held else 'not always at most'} its proved bound.",
        CONFIRMED if off < 0.1 and held else REFUTED,
    )


def depth():
    rows = table("constructions")["depths"]["rows"]
    right = all(row["found"] == [row["stated"]] for row in rows)
    depths = ", ".join(str(row["found"][0]) for row in rows)
    return f"Blocks for d = 1 to {rows[-1]['d']}: {depths}; the same for every N.", CONFIRMED if right else REFUTED


def manifolds():
    tables = table("constructions")
    rows = [row for name in ("circle", "sphere", "torus") if name in tables for row in tables[name]["rows"]]
    said = "; ".join(f"{row['manifold']}, β = {row['beta']:g}: {row['slope']:.2f}" for row in rows)
    off = max(abs(row["slope"] + row["beta"]) for row in rows)
    return f"Slopes in N: {said}. The furthest from −β is {off:.2f} off.", CONFIRMED if off < 0.1 else REFUTED


def precision():
    rows = table("constructions")["precision"]["rows"]
    refused = {
        back_end: sum(row["format"] == "float32" and not row["safe"] for row in rows if row["back_end"] == back_end)
        for back_end in dict.fromkeys(row["back_end"] for row in rows)
    }
    honest = all(row["off_formula"] <= row["certified"] for row in rows if row["safe"])
    said = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in refused.items())
    return (
        f"Networks that the certificate refuses in float32, by encoding: {said}. Where it does not refuse, the error "
        f"{'is always' if honest else 'is not always'} below the certified one.",
        CONFIRMED if honest else REFUTED,
    )


def text():
    found = table("studies/text_loss")["verdict"]
    predicted, observed = found["predicted"], found["observed"]
    low, high = observed["exponent_interval"]
    return (
        f"14 small decoders on the Python library: predicted {predicted['exponent']:.3f}, observed "
        f"{observed['exponent']:.3f} [{low:.3f}, {high:.3f}]: {found['agreement']}. 1.8 decades of n do not tell the "
        "exponent from the irreducible loss.",
        {"consistent": CONFIRMED, "inconsistent": REFUTED}.get(found["agreement"], OPEN),
    )


def known_truth():
    """Students of a pretrained teacher on real contexts, a `studies.TeacherStudy`."""
    found = table("studies/quickstart")["verdict"]
    observed, last = found["squared"], found["layers"][-1]
    predicted, (low, high) = last["predicted"]["at_one"], observed["interval"]
    near = abs(observed["exponent"] - predicted["exponent"]) <= MARGIN
    ends = "[{:.3f}, {:.3f}]".format(*predicted["interval"])
    return (
        f"Labels drawn from SmolLM2-135M on contexts of the Python library, floor zero: squared error of students "
        f"{observed['exponent']:.3f} [{low:.3f}, {high:.3f}] over n = {min(observed['sizes'])} to "
        f"{max(observed['sizes'])}; the last layer's d = {last['dimension']['dimension']:.1f} predicts "
        f"{predicted['exponent']:.3f} {ends}: {found['agreement']}.",
        CONFIRMED if near else REFUTED if found["agreement"] == "inconsistent" else OPEN,
    )


def teacher_verdicts():
    """How often such a study is right where theory holds by construction; `benchmarks/teacher_coverage.py`."""
    found = table("teacher_coverage")
    every = found["all"]
    percent = lambda one: f"{100 * one['share']:.0f}%"
    of_exponents = "; ".join(
        f"d = {one['d']}, β = {one['beta']:g}: {one['mean_exponent']:.3f}, theory {one['exponent']:.3f}"
        for one in found["settings"]
    )
    refuted, off = every["refuted"]["share"], every["half_or_twice_refuted"]["share"]
    return (
        f"{found['repetitions']} repetitions, points of a sphere in place of a teacher's states. Of intervals at 95%, "
        f"{percent(every['d_holds'])} hold d, {percent(every['beta_holds'])} β, {percent(every['exponent_holds'])} the "
        f"exponent of nearest neighbors. Called inconsistent: {percent(every['refuted'])} at the true β and the d "
        f"read, {percent(every['half_or_twice_refuted'])} with d halved or doubled. Mean exponents: {of_exponents}.",
        CONFIRMED if refuted <= FALSE_ALARMS and off >= POWER else REFUTED,
    )


# Of verdicts: at most where theory holds, and at least where its prediction is of half or twice the dimension.
FALSE_ALARMS, POWER = 0.05, 0.8


# Of the paper, between exponents observed and predicted on text.
MARGIN = 0.02


def stable():
    found = table("studies/ablation")["verdict"]
    model = [value for one in found["factors"] if one["factor"] in SHAPE for value in one["values"]]
    still = not any(value["differs"] for value in model)
    return found["sentence"], CONFIRMED if still else REFUTED


SHAPE = ("width", "layers", "heads", "context")


def known_geometry(d):
    """On a sphere of dimension d with a target of smoothness 1: the exponent in n, a `studies.ManifoldStudy`."""

    def read():
        found = table(f"studies/manifold_sphere{d}")["verdict"]
        slopes = ", ".join(f"{one['slope']:.2f}" for one in found["data"]["local_slopes"])
        return f"{found['sentence']} Slopes from size to size: {slopes}.", of_study(found)

    return read


def of_study(found):
    """What the verdict of a `studies.ManifoldStudy` of errors against n says of its prediction.

    Confirmed: inside the interval, and another dimension's prediction outside, by the rule for which sizes count and by
    one twice as strict. Not confirmed: outside, where steps were no limit and no reference is outside too.
    """
    data, narrower = found["data"], found["data"]["narrower"]
    if not data["enough_sizes"]:
        return OPEN
    if data["inside"]:
        sure = data["agreement"] == "consistent" and (narrower is None or narrower["inside"])
        return CONFIRMED if sure else OPEN
    seeds = found["setting"]["seeds"]
    at_end = any(one["at_last_step"] > seeds / 2 for one in data["chosen"] if one["n"] in data["sizes"])
    others = any(not one["inside"] for one in found["references"].values())
    return OPEN if at_end or others else REFUTED


def of_several(verdicts):
    return next((one for one in (REFUTED, OPEN) if one in verdicts), CONFIRMED)


def each(titles):
    """Of several studies, by the name of their table: exponents beside their predictions."""

    def read():
        said, verdicts = [], []
        for name, title in titles.items():
            try:
                found = table(f"studies/manifold_{name}")["verdict"]
            except Missing:
                said.append(f"{title} not measured")
                verdicts.append(OPEN)
                continue
            data, (low, high) = found["data"], found["interval"]
            few = "" if data["enough_sizes"] else ", too few sizes that count"
            said.append(f"{title} {found['exponent']:.3f} [{low:.3f}, {high:.3f}], theory {data['predicted']:.3f}{few}")
            verdicts.append(of_study(found))
        return "; ".join(said) + ".", of_several(verdicts)

    return read


# Exponents whose difference lies within this of 0, at 95% for all together, are taken as the same.
SAME = 0.1


def same_exponent(name, *wanted):
    """A comparison of studies: whether each exponent is the base's, beyond doubt or not; open while one is missing."""

    def read():
        found = table(f"studies/compare_{name}")["verdict"]
        verdicts = []
        for one in found["studies"][1:]:
            difference = one["difference"]
            low, high = difference["interval"] if difference and not difference["warnings"] else (-1.0, 1.0)
            verdicts.append(CONFIRMED if max(-low, high) < SAME else REFUTED if low > 0 or high < 0 else OPEN)
        missing = [one for one in wanted if f"manifold_{one}" not in [study["name"] for study in found["studies"]]]
        said = found["sentence"].replace("manifold_", "") + (f" Not measured: {', '.join(missing)}." if missing else "")
        return said, of_several([*verdicts, *[OPEN] * len(missing)])

    return read


def off_manifold():
    """Where noise takes the measured dimension and the exponents; nothing to confirm."""
    base, *noisy = table("studies/compare_noise")["verdict"]["studies"]
    said = [f"On the sphere d = {base['dimension']:.2f} is read and the exponent is {base['exponent']:.3f}"]
    for one in noisy:
        (low, high), setting = one["interval"], one["setting"]
        kind = "" if setting["point_noise_kind"] == "gaussian" else " with heavy tails"
        said.append(
            f"with noise of {setting['point_noise']:g}{kind} {one['dimension']:.2f} and {one['exponent']:.3f} "
            f"[{low:.3f}, {high:.3f}], neighbors {one['references']['neighbors']:.3f}"
        )
    leaves = all(one["dimension"] > base["dimension"] + 0.5 for one in noisy if one["setting"]["point_noise"] >= 0.1)
    return "; ".join(said) + ".", CONFIRMED if leaves else REFUTED


def over(series):
    """The exponent in N or in C, of a `studies.ManifoldStudy`."""

    def read():
        found = table(f"studies/manifold_{series}")["verdict"]
        part = found[series]
        said = found["sentence"].split(" The best")[0].split(" Kernel")[0]
        if part["agreement"] == "inconsistent":
            # What limits is then the training.
            at_end = [one["text"] for one in found["caveats"] if one["code"] == "last_step"]
            caveats = part["warnings"] + at_end
            return " ".join([said, *caveats]), OPEN if caveats else REFUTED
        return said, {"consistent": CONFIRMED}.get(part["agreement"], OPEN)

    return read


def read_smoothness():
    """β as read in place of β as known: where it is identified, is the networks' exponent still predicted?"""
    said, verdicts = [], []
    for name, title in {"beta_half": "β = 0.5", "sphere2": "β = 1"}.items():
        found = table(f"studies/manifold_{name}")["verdict"]
        for source in ("labels", "truth"):
            one, read = found["data"]["at_measured"][source], found["smoothness"][source]
            low, high = read["interval"]
            reading = f"{title}, from {'noisy labels' if source == 'labels' else 'labels without noise'}: "
            reading += f"{read['beta']:.2f} [{low:.2f}, {high:.2f}]"
            if one is None:
                said.append(f"{reading}, not identified")
                # At β = 1 that is the right answer.
                verdicts += [OPEN] if name == "beta_half" else []
                continue
            low, high = one["interval"]
            said.append(f"{reading}, predicts {one['exponent']:.3f} [{low:.3f}, {high:.3f}], {one['agreement']}")
            verdicts.append({"consistent": CONFIRMED, "inconsistent": REFUTED}.get(one["agreement"], OPEN))
    return "; ".join(said) + ".", of_several(verdicts)


def smoothness():
    found = table("smoothness")
    worst = found["largest_error_of_the_mean_by_noise"]
    return (
        f"The madogram reads β of fields of known β (0.25 to 0.75, d = 1 to 8) with a mean error of at most "
        f"{100 * worst['0']:.0f}%, and {100 * worst['0.1']:.0f}% with 10% label noise.",
        CONFIRMED if max(worst.values()) <= 0.15 else REFUTED,
    )


def plateau():
    found = [table("lengths")[task] for task in ("simple", "mod_p")]
    low = min(one["loss_at_10N_over_limit"][0] for one in found)
    high = max(one["loss_at_10N_over_limit"][1] for one in found)
    networks = sum(one["networks"] for one in found)
    return (
        f"{networks} networks: the loss at 10 N is {low:.2f} to {high:.2f} of that on infinite strings.",
        CONFIRMED if low > 0.85 and high < 1.15 else REFUTED,
    )


def complexity():
    found = table("lengths")
    said, right = [], True
    for task, name in (("simple", "omega"), ("mod_p", "period")):
        for of in ("train_length", name):
            one = found[task]["exponents"][of]
            low, high = one["interval"]
            said.append(f"{one['slope']:.2f} [{low:.2f}, {high:.2f}] in {'N' if of == 'train_length' else of} ({task})")
            right &= high < 0 if of == "train_length" else low > 0
    return f"The plateau as a power law: {'; '.join(said)}.", CONFIRMED if right else REFUTED


def one_layer():
    found = table("lengths")["simulation"]["one_layer"]
    slopes = {name: found[name]["slope"] for name in ("proportional", "random draw", "last N tokens")}
    said = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items())
    return f"Slopes of the error in |z|: {said}.", CONFIRMED if slopes["proportional"] <= -0.9 else REFUTED


def two_layers():
    found = table("lengths")["simulation"]["two_layers"]
    regimes = [name for name, value in found.items() if isinstance(value, dict)]
    slopes = {name: found[name]["blocks of n^(1/3)"]["slope"] for name in regimes}
    said = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items())
    return f"Slopes of the error in |z|: {said}.", CONFIRMED if max(slopes.values()) <= -1 / 3 else REFUTED


def k_gram():
    found = table("lengths")["construction"]
    orders = [name for name in found if name.startswith("k=")]
    slopes = {name: found[name]["log_error_per_beta"] for name in orders}
    said = ", ".join(f"{name} {slope:.2f}" for name, slope in slopes.items())
    right = all(-1.2 < slope < -0.7 for slope in slopes.values())
    return f"Log error for each unit of β, where e^-β has −1: {said}.", CONFIRMED if right else REFUTED


def residue():
    mass = table("lengths")["mod_p"]["mass_on_residue"]
    return f"{100 * mass:.2f}% of the attention lies on the right residue.", CONFIRMED if mass > 0.99 else REFUTED


def encodings():
    found = table("lengths")["positions"]
    sure = [f"{a} > {b}" for one in found["orders"] for a, b in one["surely_better"]]
    tasks = ", ".join(one["task"] for one in found["orders"])
    return (
        f"{found['fitted']} of {found['runs']} small decoders fitted; tasks: {tasks}. Beyond doubt: "
        f"{'; '.join(sure) or 'nothing'}. The tasks on which encodings part, at the authors' sizes, want a GPU.",
        OPEN,
    )


ELSEWHERE = {
    "sphere5": "sphere d = 5",
    "torus": "torus d = 2",
    "product": "S² × S¹",
    "roll": "Swiss roll",
    "beta_half": "β = 0.5 on S²",
}
