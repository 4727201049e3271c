"""A long fit says what it is doing; a short one does not."""

import csv
import json

import jax
import pytest

from jaxscale import cli, laws, progress
from jaxscale.commands import laws_progress
from tests.laws.tables import power_law

OF_FIT = ["starts", "resamples", "ends of ranges", "other choices"]


def test_a_fit_tells_how_far_it_is_and_is_the_same_for_it():
    told = []
    table = power_law(noise=0.003)
    options = {"key": jax.random.key(0), "resamples": 100}
    fit = laws.fit(table, progress=lambda *given: told.append(given), **options)
    assert list(dict.fromkeys(work for work, _, _ in told)) == OF_FIT
    assert all(0 <= done <= total for _, done, total in told)
    of_draws = [(done, total) for work, done, total in told if work == "resamples"]
    assert of_draws[0] == (0, 100) and of_draws[-1][0] > 50 and of_draws == sorted(of_draws)
    assert fit.summary() == laws.fit(table, **options).summary()


class Bars(progress.Silent):
    def __init__(self):
        self.begun, self.reported = [], []

    def run(self, name, index, total, kind="run"):
        self.begun.append((name, index, total, kind))
        return lambda **values: self.reported.append(values)


def test_nothing_is_said_of_what_is_quickly_done(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(laws_progress.time, "monotonic", lambda: now[0])
    with laws_progress.Told(6, bars := Bars()) as told:
        told("starts", 0, 16)
        now[0] = 4.0
        told("resamples", 0, 2000)
        assert not bars.begun
        now[0] = 6.0
        told("resamples", 700, 2000)
        told("resamples", 1400, 2000)
        told("profiles", 0, 5)
    assert bars.begun == [("resamples, 2000", 1, 6, "step"), ("profiles, 5", 2, 6, "step")]
    assert [one["step"] for one in bars.reported] == [700, 1400, 0]


@pytest.mark.parametrize(
    ("seconds", "flags"),
    [(0.0, []), (1e9, []), pytest.param(0.0, ["--by", "part"], marks=pytest.mark.thorough)],
)
def test_the_command_says_it_on_standard_error(seconds, flags, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(laws_progress, "_SILENT_SECONDS", seconds)
    table = power_law(noise=0.003)
    path = tmp_path / "runs.csv"
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["n", "loss", "part"])
        writer.writerows((n, loss, part) for part in "ab" for n, loss in zip(*table.values(), strict=True))
    where = [] if flags else ["--where", "part == 'a'"]
    assert cli.main(["fit", str(path), "--resamples", "100", "--json", *where, *flags]) == 0
    text = capsys.readouterr()
    json.loads(text.out)
    lines = [line for line in text.err.splitlines() if line.startswith("step")]
    if seconds:
        assert text.err == ""
    elif flags:
        assert (
            len(lines) == 12
            and lines[1] == "step 2/12: a, resamples, 100"
            and lines[5] == "step 6/12: b, resamples, 100"
        )
    else:
        works = [line.partition(": ")[2].rpartition(", ")[0] for line in lines]
        assert works == [*OF_FIT, "back-test", "profiles"] and lines[1] == "step 2/6: resamples, 100"
