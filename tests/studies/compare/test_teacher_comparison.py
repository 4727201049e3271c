"""Studies with a teacher side by side: the line with errors in both coordinates, what is said of it, and the page."""

import json
import warnings

import numpy as np
import pytest

from jaxscale import cli, config, files, studies, theory, verdict
from jaxscale.errors import InputError
from jaxscale.studies.compare import lines, teachers_figures
from jaxscale.studies.compare.study import compare
from jaxscale.studies.teacher import readings
from jaxscale.studies.teacher import verdict as of_teacher

DIMENSIONS = (3.0, 6.0, 9.0, 14.0)
KINDS = ("stdlib", "reference", "docstrings", "grammar")


def around(value, share):
    """An interval at 95% whose standard deviation is a share of the value."""
    return [value * (1 - 1.959964 * share), value * (1 + 1.959964 * share)]


def law(alpha, share=0.05):
    return {"exponent": alpha, "interval": around(alpha, share), "sizes": [100, 1000, 10000], "enough_sizes": True}


def layer(number, d, alpha=None, share=0.05):
    reading = {"dimension": d, "interval": around(d, share)}
    neighbors = {} if alpha is None else {"neighbors": law(alpha)}
    at_one = {"beta": 1.0, "exponent": 2 / (2 + d), "interval": around(2 / (2 + d), share)}
    return {"layer": number, "dimension": reading, "references": neighbors, "predicted": {"at_one": at_one}} | {
        "smoothness": {"beta": None}
    }


def write(folder, d, alpha, kind="stdlib", teacher=None, share=0.05, **changed):
    """The folder of a finished study whose last layer has d and whose students have the exponent alpha."""
    # Nearest neighbors lie on a line of their own, 1/α = 2 + d, in the coordinates of three layers.
    layers = [layer(i, part * d, 1 / (2 + part * d), share) for i, part in ((1, 0.4), (7, 0.7), (13, 1.0))]
    layers[-1]["predicted"]["measured"] = {"beta": None, "exponent": None, "interval": [0.07, None]}
    for one in layers[:-1]:
        one["predicted"]["measured"] = None
    found = {"kind": "teacher", "layers": layers, "best_layer": 7, "agreement": "consistent", "seconds": 60.0}
    found |= {"squared": law(alpha, share), "divergence": law(1.2 * alpha, share), "processor_seconds": 100.0}
    found |= {"teacher": "smollm2", "caveats": [{"code": "few_seeds", "text": "Three."}]} | changed
    text = {"kind": kind, "path": "", "name": "", "subset": "", "split": "train"}
    settings = {"kind": "teacher", "corpus": text, "level": 0.95}
    settings["teacher"] = {"name": "smollm2", "outcome": "first_byte", "dimension": 2, "beta": 0.5} | (teacher or {})
    folder.mkdir(parents=True)
    for name, content in (("config.json", settings), ("verdict.json", found)):
        (folder / name).write_text(json.dumps(content))
    (folder / "table.jsonl").write_text("{}\n")
    return folder


def of_line(root, intercept=1.0, slope=0.5, dimensions=DIMENSIONS, share=0.05):
    """Folders of studies that lie exactly on a line of 1/α in d."""
    return [
        write(root / f"study{i}", d, 1 / (intercept + slope * d), kind, share=share)
        for i, (d, kind) in enumerate(zip(dimensions, KINDS, strict=False))
    ]


def codes(found):
    return [one["code"] for one in found["caveats"]]


@pytest.fixture(scope="module")
def on_theory(tmp_path_factory):
    folders = of_line(tmp_path_factory.mktemp("theory"))
    return folders, compare(folders)


def inside(ends, value):
    low, high = ends
    return (low is None or low <= value) and (high is None or value <= high)


def test_points_on_the_line_of_theory_give_it_back(on_theory):
    found = on_theory[1]
    line = found["line"]
    assert (line["intercept"], line["slope"], line["beta"]) == pytest.approx((1, 0.5, 1), rel=1e-4)
    assert line["with_intercept_one"]["beta"] == pytest.approx(1, rel=1e-4)
    assert inside(line["intercept_interval"], 1) and inside(line["slope_interval"], 0.5)
    assert line["beta_interval"] == pytest.approx([1 / (2 * end) for end in reversed(line["slope_interval"])])
    assert found["agreement"] == "consistent"
    neighbors = found["line_of_neighbors"]
    assert (neighbors["intercept"], neighbors["slope"]) == pytest.approx((2, 1), rel=1e-3)
    assert neighbors["points"] == 12 and neighbors["studies"] == 4
    assert verdict.check(found).kind == "compare"
    names = {one["name"]: one for one in found["numbers"]}
    assert names["slope of 1/α of students in d"]["predicted"] == 0.5
    assert names["d of the best layer of study3"]["value"] == pytest.approx(0.7 * 14)


def redrawn(generator, d, alpha, share):
    """Points as studies measure them: both coordinates err, and the error of 1/α follows from what was observed."""
    seen_d = d * (1 + share * generator.normal(size=d.shape))
    seen = alpha * (1 + share * generator.normal(size=d.shape))
    return lines.Points(seen_d, 1 / seen, share * d, share * alpha / seen**2)


@pytest.mark.thorough
def test_intervals_hold_the_truth_in_95_of_100_draws():
    generator = np.random.default_rng(0)
    d = np.array([3.0, 5.0, 8.0, 11.0, 15.0])
    held = np.zeros(5)
    for _ in range(300):
        points = redrawn(generator, d, theory.data_exponent(d), 0.06)
        line = lines.fit(points)
        held += [
            inside(line.slope_interval(0.95), 0.5),
            inside(line.value_interval(0.0, 0.95), 1.0),
            inside(line.value_interval(10.0, 0.95), 6.0),
            not line.excludes(1.0, 0.5, 0.95),
            inside(lines.fit(points, 1.0).slope_interval(0.95), 0.5),
        ]
    # Three standard errors of a share of 300 are 0.038; widening for scatter adds about a hundredth.
    assert np.all((held / 300 > 0.92) & (held / 300 < 0.99)), held / 300


def test_errors_of_d_that_are_neglected_flatten_the_line_and_here_do_not():
    generator = np.random.default_rng(1)
    d = np.linspace(4, 12, 9)
    drawn = [redrawn(generator, d, theory.data_exponent(d), 0.15) for _ in range(200)]
    both = np.median([lines.fit(points).slope for points in drawn])
    y_alone = np.median([np.polyfit(points.x, points.y, 1, w=1 / points.y_deviation)[0] for points in drawn])
    assert abs(both - 0.5) < 0.03 and y_alone < 0.45


def test_without_errors_of_x_the_line_is_that_of_weighted_least_squares():
    generator = np.random.default_rng(2)
    x, deviation = np.linspace(2, 15, 7), np.linspace(0.3, 1.5, 7)
    y = 1 + x / 2 + 0.1 * generator.normal(size=7)
    line = lines.fit(lines.Points(x, y, np.zeros(7), deviation))
    (slope, intercept), covariance = np.polyfit(x, y, 1, w=1 / deviation, cov="unscaled")
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), rel=1e-6)
    assert line.widening == 1
    reach = 1.959964 * np.sqrt(np.diag(covariance))
    assert line.slope_interval(0.95) == pytest.approx((slope - reach[0], slope + reach[0]), rel=1e-5)
    assert line.value_interval(0, 0.95) == pytest.approx((intercept - reach[1], intercept + reach[1]), rel=1e-4)


def test_the_line_is_that_of_orthogonal_distance_regression():
    points = redrawn(np.random.default_rng(3), np.array([3.0, 5.0, 8.0, 15.0]), np.array([0.4, 0.3, 0.2, 0.11]), 0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        odr = pytest.importorskip("scipy.odr")
        data = odr.RealData(points.x, points.y, points.x_deviation, points.y_deviation)
        fitted = odr.ODR(data, odr.unilinear, beta0=[0.5, 1.0], sstol=1e-14, partol=1e-14).run()
    line = lines.fit(points)
    assert (line.slope, line.intercept) == pytest.approx(tuple(fitted.beta), rel=1e-4)
    assert line.chi_squared == pytest.approx(fitted.sum_square, rel=1e-6)


def test_scatter_beyond_the_errors_widens_the_interval_and_is_told(tmp_path):
    x, zero = np.arange(1.0, 7.0), np.zeros(6)
    y = 1 + x / 2 + np.array([0.3, -0.3, 0.3, -0.3, 0.3, -0.3])
    wide, narrow = (lines.fit(lines.Points(x, y, zero, zero + one)) for one in (0.3, 0.1))
    assert wide.widening == pytest.approx(1.2, abs=0.1) and narrow.widening == pytest.approx(3 * wide.widening)
    assert narrow.slope_interval(0.95) == pytest.approx(wide.slope_interval(0.95), rel=1e-6)
    folders = of_line(tmp_path)
    odd = write(tmp_path / "odd", 10.0, 1 / 12, "files")
    assert "scatter" in codes(compare([*folders, odd])) and "scatter" not in codes(compare(folders))


def test_the_interval_of_grouped_points_knows_that_members_err_together():
    """An error that all members of a group share is one error, however many they are."""
    generator = np.random.default_rng(4)
    group = np.repeat(np.arange(6), 8)
    held = np.zeros(2)
    for _ in range(120):
        x = (2.0 + 2 * np.arange(6))[group] + np.tile(np.linspace(0, 1, 8), 6)
        y = 1 + x / 2 + 0.3 * generator.normal(size=6)[group]
        points = lines.Points(x, y, np.zeros(48), np.full(48, 0.3))
        held += [
            inside(lines.fit_groups(points, group).slope_interval(0.95), 0.5),
            inside(lines.fit(points).slope_interval(0.95), 0.5),
        ]
    assert held[0] / 120 > 0.9 and held[1] / 120 < 0.8


@pytest.mark.parametrize("slope", [0.25, 1.0])
def test_a_line_at_half_or_twice_the_dimension_is_inconsistent(tmp_path, slope):
    found = compare(of_line(tmp_path, slope=slope))
    assert found["agreement"] == "inconsistent" and "inconsistent" in found["sentence"]


def test_what_could_not_refute_is_no_agreement(tmp_path):
    vague = compare(of_line(tmp_path / "vague", share=0.3))
    assert vague["agreement"] == "inconclusive" and "not refuted either" in vague["sentence"]
    alike = compare(of_line(tmp_path / "alike", dimensions=(9.7, 10.0, 10.2)))
    assert alike["agreement"] == "inconclusive" and "whether 1/α grows with d is not known" in alike["sentence"]
    assert "slope_unknown" in codes(alike) and None in alike["line"]["slope_interval"]


def test_too_few_studies_have_no_line_but_a_table_and_a_page(tmp_path):
    folders = of_line(tmp_path, dimensions=DIMENSIONS[:2])
    found = compare(folders)
    assert found["line"] is None and found["line_of_neighbors"] is None and found["agreement"] == "inconclusive"
    assert codes(found)[0] == "few_studies" and "2 of 2 studies" in found["caveats"][0]["text"]
    assert "study1 has d = 6.0 [5.4, 6.6]" in found["sentence"]
    out = tmp_path / "out"
    assert cli.main(["compare", *map(str, folders), "--workdir", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "<h2>Students</h2>" in page and "<h2>Lines</h2>" not in page
    with pytest.raises(InputError, match="two or more"):
        compare(folders[:1])


def test_what_no_line_can_take_is_left_out_and_named(tmp_path, on_theory):
    language = {"name": "language", "dimension": 2}
    unread = [layer(1, 4.0), layer(13, 5.0) | {"dimension": {"dimension": None, "interval": None}}]
    for one in unread:
        one["predicted"] = {"at_one": None, "measured": None}
    others = [
        write(tmp_path / "few", 5.0, 0.9, squared=law(0.9) | {"enough_sizes": False}),
        write(tmp_path / "flat", 5.0, 0.1, squared=law(0.1, 0.7)),
        write(tmp_path / "unread", 5.0, 0.5, layers=unread, best_layer=None),
        write(tmp_path / "rough", 2.0, 1 / 3, teacher=language | {"beta": 0.5}),
    ]
    found = compare([*on_theory[0], *others])
    assert found["line"]["slope"] == pytest.approx(0.5, rel=1e-4) and found["line"]["points"] == 4
    said = {one["name"]: one["left_out"] for one in found["studies"]}
    assert [said[f"study{i}"] for i in range(4)] == [None] * 4
    for name, reason in (
        ("few", "too few of its sizes count"),
        ("flat", "its exponent may be zero"),
        ("unread", "the dimension of its last layer is not known"),
        ("rough", "its smoothness is known to be 0.5"),
    ):
        assert said[name].startswith(reason)
        assert any(one["code"] == "left_out" and one["text"].startswith(name) for one in found["caveats"])
    assert "theory at β = 0.5" in {trace.name for trace in teachers_figures.exponent_figure(found).data}
    exact = write(tmp_path / "exact", 2.0, 0.5, teacher=language | {"beta": 1.0})
    assert compare([*on_theory[0], exact])["line"]["points"] == 5


def test_studies_of_one_text_and_teacher_are_named(tmp_path):
    folders = of_line(tmp_path)
    before = compare(folders)
    assert "shared_text" not in codes(before) and "few_seeds (all)" in before["caveats"][-1]["text"]
    other = write(tmp_path / "other", 5.0, 1 / 3.5, KINDS[1])
    verdict = files.read_json(other / "verdict.json", ()) | {"teacher": "a decoder trained on the same text"}
    files.write_json(other / "verdict.json", verdict)
    found = compare([*folders, other])
    assert found["studies"][-1]["teacher"] == "a decoder trained on the same text" and "shared_text" not in codes(found)
    again = write(tmp_path / "again", 5.0, 1 / 3.5, KINDS[1])
    (said,) = [one["text"] for one in compare([*folders, again])["caveats"] if one["code"] == "shared_text"]
    assert said.startswith("study1 and again read the same text")


def test_mixed_kinds_and_unfinished_folders_are_named_with_the_remedy(tmp_path, on_theory):
    folders = on_theory[0]
    manifold, scaling = tmp_path / "sphere", tmp_path / "stdlib"
    for folder, kind in ((manifold, "manifolds"), (scaling, "scaling")):
        folder.mkdir()
        for name in ("config.json", "table.jsonl", "verdict.json"):
            (folder / name).write_text(json.dumps({"kind": kind}) + "\n")
    with pytest.raises(
        InputError, match=r"sphere holds a study of kind 'manifolds', and .*study0 one of kind 'teacher'"
    ):
        compare([folders[0], manifold])
    with pytest.raises(InputError, match=r"stdlib holds a study of kind 'scaling', which cannot be compared. Leave it"):
        compare([*folders, scaling])
    with pytest.raises(InputError, match=r"none has no config\.json: no finished study"):
        compare([*folders, tmp_path / "none"])


def test_the_command_writes_a_verdict_and_a_page(on_theory, tmp_path, capsys):
    folders, found = on_theory
    out = tmp_path / "together"
    assert cli.main(["compare", *map(str, folders), "--workdir", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["sentence"] == found["sentence"] == files.read_json(out / "verdict.json")["sentence"]
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "✓" in page and "nearest neighbors" in page and "12 layers of 4 studies" in page
    assert "at least 0.0700" in page and "0.400 [0.361, 0.439]" in page
    (out / "report.html").unlink()
    assert studies.render(out).read_text(encoding="utf-8") == page


def test_the_figure_has_a_mark_for_each_study_and_the_lines(on_theory):
    both = teachers_figures.both(on_theory[1])
    left = [trace for trace in both.data if trace.xaxis in (None, "x")]
    right = [trace for trace in both.data if trace.xaxis == "x2"]
    for traces in (left, right):
        marks = {trace.name: trace for trace in traces if trace.mode == "markers"}
        for i, d in enumerate(DIMENSIONS):
            assert marks[f"study{i}"].x[0] == d and marks[f"study{i}"].error_x.array[0] > 0
    assert {"theory, 2/(2 + d)", "line of students"} <= {trace.name for trace in left}
    assert {"theory, 1 + d/2", "students, 1.00 + 0.50 d", "neighbors, 2.00 + 1.00 d"} <= {trace.name for trace in right}
    (curve,) = [trace for trace in left if trace.name == "theory, 2/(2 + d)"]
    assert curve.y == pytest.approx(2 / (2 + np.asarray(curve.x)))


def test_a_picture_is_drawn_where_kaleido_is_and_refused_before_work_where_it_is_not(on_theory, tmp_path, capsys):
    call = ["compare", *map(str, on_theory[0]), "--workdir", str(tmp_path / "out"), "--plot"]
    assert cli.main([*call, str(tmp_path / "figure.html")]) == 2
    assert "must end in .png" in capsys.readouterr().err and not (tmp_path / "out").exists()
    pytest.importorskip("kaleido", reason="needs the extra [png]")
    assert cli.main([*call, str(tmp_path / "figure.png")]) == 0
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_a_verdict_of_the_study_itself_is_read(tmp_path):
    """Its own code writes what is compared, from errors that fall as they should."""
    folders = []
    for i, d in enumerate(DIMENSIONS[:3]):
        study = studies.TeacherStudy(corpus=config.Corpus(kind=KINDS[i]), sizes=(100, 400, 1600, 6400), resamples=50)
        folders.append(tmp_path / f"real{i}")
        folders[-1].mkdir()
        config.claim(folders[-1], study)
        found = {"kind": "teacher"} | of_teacher.verdict(study, *made(study, d))
        timed = {"seconds": 1.0, "processor_seconds": 1.0}
        files.write_json(folders[-1] / "verdict.json", found | timed)
        files.write_json_lines(folders[-1] / "table.jsonl", [])
    found = compare(folders)
    assert [one["corpus"] for one in found["studies"]] == list(KINDS[:3])
    assert found["line"]["slope"] == pytest.approx(0.5, rel=0.1) and found["line"]["points"] == 3
    assert found["studies"][0]["best_layer"]["dimension"] == DIMENSIONS[0]


def made(study, d):
    """What `teacher.verdict.verdict` takes, of a study with one layer."""
    generator, windows, seeds = np.random.default_rng(0), 30, study.seeds
    of_sizes = np.array([0.4 * (n / min(study.sizes)) ** -theory.data_exponent(d) for n in study.sizes])
    chance = generator.normal(1, 0.01, (len(study.sizes), len(seeds), windows))
    errors = of_sizes[:, None, None] * chance
    row = {"width": 64, "learning_rate": 0.002, "weight_decay": 1.0, "step": 5, "steps": 10, "validation": 1.0}
    rows = [row | {"n": n, "seed": seed, "noisy": True} for n in study.sizes for seed in seeds]
    reached = row | {"n": 9999, "seed": 0, "noisy": False, "squared_error_on_training_windows": 1e-6}
    reading = {"dimension": {"dimension": d, "interval": around(d, 0.05)}}
    reading["smoothness"] = {"beta": 0.5, "interval": [0.4, 0.6], "identified": True, "reasons": []}
    geometry = [{"layer": 3} | reading | {"predicted": readings.predictions(study, reading)}]
    neighbors = {"layer": 3, "reference": "neighbors", "sizes": list(study.sizes), "settings": [1] * 4}
    constant = {"squared": 0.6, "divergence": 0.6}
    return (
        rows,
        [*rows, reached],
        {"squared": errors, "divergence": errors},
        np.arange(windows),
        geometry,
        [neighbors | {"errors": errors.tolist()}],
        {"constant": constant, "teacher_is_own": False},
    )


def test_levels_of_studies_are_taken_apart(tmp_path):
    """The same standard deviations behind intervals of another level give the same line."""
    folders = of_line(tmp_path / "a")
    before = compare(folders)["line"]
    for path in of_line(tmp_path / "b", share=0.05 * 1.644854 / 1.959964):
        settings = files.read_json(path / "config.json") | {"level": 0.9}
        files.write_json(path / "config.json", settings)
    after = compare([folders[0], *(tmp_path / "b").glob("study[123]")])["line"]
    assert after["slope_interval"] == pytest.approx(before["slope_interval"], rel=1e-4)


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (lines.Points(*np.ones((4, 2))), "2 of them are no line"),
        (lines.Points(*np.ones((3, 4)), np.zeros(4)), r"y_deviation=\[0"),
        (lines.Points(np.ones(4), np.ones(4), np.full(4, np.nan), np.ones(4)), r"x_deviation=\[nan"),
    ],
)
def test_points_that_are_no_line_are_refused(points, said):
    with pytest.raises(InputError, match=said):
        lines.fit(points)
    with pytest.raises(InputError, match="2 groups"):
        lines.fit_groups(points, [0] * (len(points.x) - 1) + [1])
