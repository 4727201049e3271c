"""docs/results.md: every claim of both papers beside what we measured, from the tables in benchmarks/results.

What the tables say is in measurements.py; tables of other pages are filled too (tables.py).

python benchmarks/claims.py                       # writes the page from the committed tables; seconds
python benchmarks/claims.py --keep runs/ablation  # also keeps a study's verdict among them, as studies/ablation.json
"""

import argparse
import datetime
import json
import pathlib

import measurements
import tables
from measurements import CONFIRMED, OPEN, REFUTED

PAGE = pathlib.Path(__file__).parents[1] / "docs" / "results.md"
SIGNS = {CONFIRMED: "✓", REFUTED: "✗", OPEN: "?"}
# Of a study's verdict what a page needs; rows and draws stay in the study's folder.
MOST_CHARACTERS = 200_000


GEOMETRY = "bash benchmarks/geometry.sh"
APPROXIMATION = "python benchmarks/constructions.py --only"
LENGTHS = "python benchmarks/lengths.py"
# Claims: a title, what reads our tables, the command that measures it again, and the table that says what it took.
PAPERS = {
    "Havrilla & Liao: data of intrinsic dimension d": [
        ("Approximation on the cube: error ≤ C N^-β", measurements.cube, f"{APPROXIMATION} cube", "constructions/cube"),
        (
            "Depth O(log d), whatever the accuracy",
            measurements.depth,
            f"{APPROXIMATION} depths",
            "constructions/depths",
        ),
        (
            "Approximation on a manifold: d counts, not D",
            measurements.manifolds,
            f"{APPROXIMATION} circle sphere torus",
            "constructions/sphere",
        ),
        (
            "The Interaction Lemma in finite precision (ours: when does it hold?)",
            measurements.precision,
            f"{APPROXIMATION} precision",
            "constructions/precision",
        ),
        *(
            (
                f"Regression where d = {d} and β = 1 are known: error n^-2/(2+d)",
                measurements.known_geometry(d),
                f"jaxscale study configs/manifold_regression.py --dimension {d} --workdir runs/manifold_sphere{d}",
                f"studies/manifold_sphere{d}",
            )
            for d in (1, 2, 3)
        ),
        (
            "Text: α observed within 0.02 of 2/(2 + d)",
            measurements.text,
            "jaxscale study configs/text_loss.py --workdir runs/text_loss",
            "studies/text_loss",
        ),
        (
            "The same where the truth is a teacher's, on real contexts",
            measurements.known_truth,
            "make study",
            "studies/quickstart",
        ),
        (
            "Such a study says so where it holds, and not where d is half or twice (ours)",
            measurements.teacher_verdicts,
            "python benchmarks/teacher_coverage.py",
            "teacher_coverage",
        ),
        (
            "d is stable across architectures",
            measurements.stable,
            "jaxscale study configs/dimension_ablation.py --workdir runs/ablation",
            "studies/ablation",
        ),
        ("β can be measured (open question)", measurements.smoothness, "python benchmarks/smoothness.py", "smoothness"),
    ],
    "Their open questions, where the truth is known": [
        (
            "The same on other manifolds, and for β < 1",
            measurements.each(measurements.ELSEWHERE),
            GEOMETRY,
            "studies/manifold_torus",
        ),
        (
            "D does not matter, where d is the same",
            measurements.same_exponent("ambient", "ambient4", "ambient64", "ambient256"),
            GEOMETRY,
            "studies/compare_ambient",
        ),
        (
            "Noise off the manifold raises the measured d (check 1)",
            measurements.off_manifold,
            GEOMETRY,
            "studies/compare_noise",
        ),
        ("β as read predicts as β as known does", measurements.read_smoothness, GEOMETRY, "studies/manifold_beta_half"),
        (
            "Excess cross-entropy falls as squared error does",
            measurements.each(
                {"classes2": "2 symbols", "classes16": "16 symbols", "language": "next tokens of a text"}
            ),
            GEOMETRY,
            "studies/manifold_classes2",
        ),
        (
            "Other architectures share the exponent",
            measurements.same_exponent("architectures", "window", "relu", "convolution", "state_space", "mlp"),
            GEOMETRY,
            "studies/compare_architectures",
        ),
        (
            "Data in excess: error N^-2β/d",
            measurements.over("parameters"),
            "jaxscale study configs/manifold_parameters.py --workdir runs/manifold_parameters",
            "studies/manifold_parameters",
        ),
        (
            "Best split of compute: error C^-β/(β+d) (derived)",
            measurements.over("compute"),
            "jaxscale study configs/manifold_compute.py --workdir runs/manifold_compute",
            "studies/manifold_compute",
        ),
    ],
    "Izzo, Nichani & Lee: how long is long enough": [
        ("A finite N suffices: the loss stops growing with length", measurements.plateau, LENGTHS, "lengths/simple"),
        ("It falls with N and rises with the task's complexity", measurements.complexity, LENGTHS, "lengths/mod_p"),
        (
            "One layer: a short string simulates a long one, error 1/|z|",
            measurements.one_layer,
            LENGTHS,
            "lengths/simulation",
        ),
        ("Two layers: error |z|^(-1/3), every regime", measurements.two_layers, LENGTHS, "lengths/simulation"),
        ("The k-gram construction's error falls as e^-β", measurements.k_gram, LENGTHS, "lengths/construction"),
        ("Attention on one residue, even there", measurements.residue, LENGTHS, "lengths/mod_p"),
        ("Position encodings differ (the predecessor's order)", measurements.encodings, LENGTHS, "lengths/positions"),
    ],
}


def keep(folder):
    """Copies the verdict of a finished study, with today's date, into the tables; of a study of text its losses too."""
    folder = pathlib.Path(folder)
    verdict = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    kept = {"verdict": verdict, "date": datetime.date.today().isoformat()}
    if "observed" in verdict:
        lines = (folder / "table.jsonl").read_text(encoding="utf-8").splitlines()
        kept["runs"] = [{name: row[name] for name in ("n", "seed", "loss")} for row in map(json.loads, lines)]
    text = json.dumps(kept, indent=1, ensure_ascii=False) + "\n"
    if len(text) > MOST_CHARACTERS:
        raise SystemExit(f"{folder}: its verdict has {len(text)} characters; a table has {MOST_CHARACTERS} at most.")
    path = measurements.RESULTS / "studies" / f"{folder.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def cost(source):
    """What the measurement took, from its table; an em dash where the table does not say."""
    name, _, part = source.partition("/")
    try:
        found = measurements.table(source) if name == "studies" else measurements.table(name)
    except measurements.Missing:
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
            except measurements.Missing as error:
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
