"""docs/results.md: every claim of both papers beside what we measured, from the tables in benchmarks/results.

Tables of other pages are filled too (benchmarks/tables.py).

python benchmarks/claims.py                       # writes the page from the committed tables; seconds
python benchmarks/claims.py --keep runs/ablation  # also keeps a study's verdict among them, as studies/ablation.json
"""

import argparse
import datetime
import json
import pathlib

import tables

RESULTS = pathlib.Path(__file__).parent / "results"
PAGE = pathlib.Path(__file__).parents[1] / "docs" / "results.md"
CONFIRMED, REFUTED, OPEN = "confirmed", "not confirmed", "not testable here"
SIGNS = {CONFIRMED: "✓", REFUTED: "✗", OPEN: "?"}
# Of a study's verdict what a page needs; rows and draws stay in the study's folder.
MOST_CHARACTERS = 200_000


class Missing(Exception):
    """A table that a claim reads is not there."""


def table(name):
    """A committed table: `name` without its ending."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise Missing(name)
    return json.loads(path.read_text(encoding="utf-8"))


def keep(folder):
    """Copies the verdict of a finished study, with today's date, into the tables."""
    folder = pathlib.Path(folder)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    kept = {"verdict": verdict, "date": datetime.date.today().isoformat()}
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    if len(text) > MOST_CHARACTERS:
        raise SystemExit(f"{folder}: its verdict has {len(text)} characters; a table has {MOST_CHARACTERS} at most.")
    path = RESULTS / "studies" / f"{folder.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


# Claims: a title, what the paper says, and a function that reads our tables and returns (what was found, verdict).


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
    found = table("studies/quickstart")["verdict"]
    predicted, observed = found["predicted"], found["observed"]
    low, high = observed["exponent_interval"]
    return (
        f"14 small decoders on the Python library: predicted {predicted['exponent']:.3f}, observed "
        f"{observed['exponent']:.3f} [{low:.3f}, {high:.3f}]: {found['agreement']}. 1.8 decades of n do not tell the "
        "exponent from the irreducible loss.",
        {"consistent": CONFIRMED, "inconsistent": REFUTED}.get(found["agreement"], OPEN),
    )


def stable():
    found = table("studies/ablation")["verdict"]
    model = [value for one in found["factors"] if one["factor"] in SHAPE for value in one["values"]]
    still = not any(value["differs"] for value in model)
    return found["sentence"], CONFIRMED if still else REFUTED


SHAPE = ("width", "layers", "heads", "context")


def known_geometry(d):
    """On a sphere of dimension d with a target of smoothness 1: the exponent in n, a `config.ManifoldStudy`."""

    def read():
        found = table(f"studies/manifold_sphere{d}")["verdict"]
        slopes = ", ".join(f"{one['slope']:.2f}" for one in found["data"]["local_slopes"])
        return f"{found['sentence']} Slopes from size to size: {slopes}.", of_study(found)

    return read


def of_study(found):
    """What the verdict of a `config.ManifoldStudy` of errors against n says of its prediction.

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
    """The exponent in N or in C, of a `config.ManifoldStudy`."""

    def read():
        found = table(f"studies/manifold_{series}")["verdict"]
        part = found[series]
        said = found["sentence"].split(" The best")[0].split(" Kernel")[0]
        if part["agreement"] == "inconsistent":
            return " ".join([said, *part["warnings"]]), OPEN if part["warnings"] else REFUTED
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
GEOMETRY = "bash benchmarks/geometry.sh"
APPROXIMATION = "python benchmarks/constructions.py --only"
LENGTHS = "python benchmarks/lengths.py"
PAPERS = {
    "Havrilla & Liao: data of intrinsic dimension d": [
        ("Approximation on the cube: error ≤ C N^-β", cube, f"{APPROXIMATION} cube", "constructions/cube"),
        ("Depth O(log d), whatever the accuracy", depth, f"{APPROXIMATION} depths", "constructions/depths"),
        (
            "Approximation on a manifold: d counts, not D",
            manifolds,
            f"{APPROXIMATION} circle sphere torus",
            "constructions/sphere",
        ),
        (
            "The Interaction Lemma in finite precision (ours: when does it hold?)",
            precision,
            f"{APPROXIMATION} precision",
            "constructions/precision",
        ),
        *(
            (
                f"Regression where d = {d} and β = 1 are known: error n^-2/(2+d)",
                known_geometry(d),
                f"jaxscale study configs/manifold_regression.py --dimension {d} --workdir runs/manifold_sphere{d}",
                f"studies/manifold_sphere{d}",
            )
            for d in (1, 2, 3)
        ),
        ("Text: α observed within 0.02 of 2/(2 + d)", text, "make study", "studies/quickstart"),
        (
            "d is stable across architectures",
            stable,
            "jaxscale study configs/dimension_ablation.py --workdir runs/ablation",
            "studies/ablation",
        ),
        ("β can be measured (open question)", smoothness, "python benchmarks/smoothness.py", "smoothness"),
    ],
    "Their open questions, where the truth is known": [
        (
            "The same on other manifolds, and for β < 1",
            each(ELSEWHERE),
            GEOMETRY,
            "studies/manifold_torus",
        ),
        (
            "D does not matter, where d is the same",
            same_exponent("ambient", "ambient4", "ambient64", "ambient256"),
            GEOMETRY,
            "studies/compare_ambient",
        ),
        ("Noise off the manifold raises the measured d (check 1)", off_manifold, GEOMETRY, "studies/compare_noise"),
        ("β as read predicts as β as known does", read_smoothness, GEOMETRY, "studies/manifold_beta_half"),
        (
            "Excess cross-entropy falls as squared error does",
            each({"classes2": "2 symbols", "classes16": "16 symbols", "language": "next tokens of a text"}),
            GEOMETRY,
            "studies/manifold_classes2",
        ),
        (
            "Other architectures share the exponent",
            same_exponent("architectures", "window", "relu", "convolution", "state_space", "mlp"),
            GEOMETRY,
            "studies/compare_architectures",
        ),
        (
            "Data in excess: error N^-2β/d",
            over("parameters"),
            "jaxscale study configs/manifold_parameters.py --workdir runs/manifold_parameters",
            "studies/manifold_parameters",
        ),
        (
            "Best split of compute: error C^-β/(β+d) (derived)",
            over("compute"),
            "jaxscale study configs/manifold_compute.py --workdir runs/manifold_compute",
            "studies/manifold_compute",
        ),
    ],
    "Izzo, Nichani & Lee: how long is long enough": [
        ("A finite N suffices: the loss stops growing with length", plateau, LENGTHS, "lengths/simple"),
        ("It falls with N and rises with the task's complexity", complexity, LENGTHS, "lengths/mod_p"),
        ("One layer: a short string simulates a long one, error 1/|z|", one_layer, LENGTHS, "lengths/simulation"),
        ("Two layers: error |z|^(-1/3), every regime", two_layers, LENGTHS, "lengths/simulation"),
        ("The k-gram construction's error falls as e^-β", k_gram, LENGTHS, "lengths/construction"),
        ("Attention on one residue, even there", residue, LENGTHS, "lengths/mod_p"),
        ("Position encodings differ (the predecessor's order)", encodings, LENGTHS, "lengths/positions"),
    ],
}


def cost(source):
    """What the measurement took, from its table; an em dash where the table does not say."""
    name, _, part = source.partition("/")
    try:
        found = table(source) if name == "studies" else table(name)
    except Missing:
        return "—"
    if part and name != "studies":
        found = found.get(part, {})
    found = found.get("verdict", found)
    processor, wall = ("training_processor_seconds", "cpu_seconds", "processor_seconds"), ("seconds", "wall_seconds")
    for key in (*processor, *wall, "training_seconds"):
        if key in found:
            return f"{found[key]:.0f} {'processor' if key in processor else 'wall'} seconds"
    return "—"


def page():
    """The page as Markdown."""
    parts = [
        "# Every claim, and what we measured",
        "Built by `make results` from the tables in `benchmarks/results`; not edited by hand. "
        f"**{CONFIRMED}**: the measurement meets the claim within its stated margin or interval; **{REFUTED}**: it "
        f"does not; **{OPEN}**: it was too small, or too uncertain, to say.",
    ]
    counts = dict.fromkeys(SIGNS, 0)
    for paper, claims in PAPERS.items():
        lines = [f"## {paper}", "", "| claim | measured | verdict | run again | cost |", "|---|---|---|---|---|"]
        for claim, measure, command, source in claims:
            try:
                found, verdict = measure()
            except Missing as error:
                found, verdict = f"Not measured: there is no table `{error}`.", OPEN
            counts[verdict] += 1
            cells = [claim, found, f"{SIGNS[verdict]} {verdict}", f"`{command}`", cost(source)]
            lines.append(f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |")
        parts.append("\n".join(lines))
    summary = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    parts.insert(1, f"Of {sum(counts.values())} claims: {summary}.")
    return "\n\n".join(parts) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--keep", nargs="*", default=[], help="folders of finished studies")
    options = parser.parse_args()
    for folder in options.keep:
        keep(folder)
    PAGE.write_text(page(), encoding="utf-8")
    for path, text in tables.pages():
        path.write_text(tables.filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
