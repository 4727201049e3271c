"""A study of position encodings end to end on a tiny decoder, interrupted and gone on with; and what a verdict says."""

import json

import jax
import numpy as np
import pytest

from jaxscale import cli, config, progress, studies
from jaxscale.lengths.algorithmic import ALGORITHMIC
from jaxscale.studies.positions import study as position_encodings

STUDY = studies.PositionStudy(
    tasks=("bin_majority",),
    encodings=("learned_regularized", "alibi"),
    seeds=(0, 1),
    longest_train=6,
    test_bins=(6, 12),
    model=config.Decoder(layers=1, width=8, heads=2, hidden=8),
    steps=40,
    batch_size=8,
    checkpoint_every=20,
    samples=32,
    resamples=100,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("positions")
    return folder, position_encodings.run(STUDY, folder)


@pytest.mark.slow
def test_every_network_has_a_row_and_every_cell_its_count_of_fitted_runs(finished):
    folder, verdict = finished
    rows = [json.loads(line) for line in (folder / "table.jsonl").read_text().splitlines()]
    assert {(row["encoding"], row["seed"]) for row in rows} == {(e, s) for e in STUDY.encodings for s in (0, 1)}
    assert all(len(row["exact"]) == 2 and 0 <= min(row["exact"]) <= max(row["exact"]) <= 1 for row in rows)
    for cell in verdict["cells"]:
        assert cell["runs"] == 2
        fitted = [row for row in rows if row["encoding"] == cell["encoding"] and row["fitted_at"] >= 0]
        assert cell["fitted"] == len(fitted) and (cell["accuracy"] is None) == (not fitted)
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "Prompts of 7-12 tokens" in page and "of 2" in page


@pytest.mark.slow
def test_an_interrupted_study_goes_on_to_the_same_table(finished, tmp_path):
    class Interrupting(progress.Silent):
        def run(self, name, index, total, kind="run"):
            def report(step=0, steps=0, **values):
                if index == 1 and step > 20:
                    raise KeyboardInterrupt

            return report

    with pytest.raises(KeyboardInterrupt):
        position_encodings.run(STUDY, tmp_path, Interrupting())
    position_encodings.run(STUDY, tmp_path)
    assert (tmp_path / "table.jsonl").read_bytes() == (finished[0] / "table.jsonl").read_bytes()


def test_prompts_have_room_for_short_answers_and_for_long_ones():
    for name in ("interleaved_majority", "addition"):
        task = ALGORITHMIC[name]
        tokens, answer = position_encodings.draw(name, 6, 64, task.shortest, 6, jax.random.key(0))
        assert tokens.shape == (64, task.room(6))
        ends = np.asarray(tokens == task.symbols + 2) & np.asarray(answer)
        assert np.all(ends.sum(axis=1) == 1), name  # every answer ends within its room


def test_only_fitted_runs_count_and_the_order_is_of_their_means():
    rows = [
        {"task": "bin_majority", "encoding": encoding, "seed": seed, "fitted_at": fitted, "exact": exact}
        for encoding, seed, fitted, exact in [
            ("learned_regularized", 0, 20, [1.0, 0.25]),
            ("learned_regularized", 1, -1, [0.5, 1.0]),
            ("alibi", 0, 20, [1.0, 0.75]),
            ("alibi", 1, 40, [1.0, 1.0]),
        ]
    ]
    found = position_encodings.verdict(STUDY, rows)
    learned, alibi = found["cells"]
    assert (learned["fitted"], alibi["fitted"], found["fitted"]) == (1, 2, 3)
    assert learned["accuracy"]["7-12"]["mean"] == 0.25 and alibi["accuracy"]["7-12"]["mean"] == 0.875
    lower, upper = alibi["accuracy"]["7-12"]["interval"]
    assert 0.5 < lower < 0.875 < upper <= 1
    (order,) = found["orders"]
    assert order["order"] == ["alibi", "learned_regularized"]
    assert order["surely_better"] == [["alibi", "learned_regularized"]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--model.heads", "3"], "model.heads=3 must divide model.width=128"),
        (["--tasks", "sorting"], "tasks='sorting' is not one of"),
        (["--tasks", "sort", "--test-bins", "50", "200"], "exceed 150, the longest prompt of sort"),
        (["--test-bins", "60", "100"], "begin with longest_train=50"),
        (["--tasks", "addition", "--longest-train", "3", "--test-bins", "3", "9"], "must exceed 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_ends_with_2_before_any_work(options, message, tmp_path, capsys):
    (tmp_path / "study.py").write_text("from jaxscale.studies import PositionStudy\nconfig = PositionStudy()\n")
    command = ["length", str(tmp_path / "study.py"), "--workdir", str(tmp_path / "out"), *options]
    assert cli.main(command) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()
