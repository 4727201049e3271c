"""Tables as files hold them, and what is refused."""

import json

import pytest

from jaxscale import errors, laws

ROWS = [{"params": 10, "step": 2, "val/loss": 3.5}, {"params": 20, "step": 4, "val/loss": 3.25}]
MAPPING = ["N=params", "D=step*100", "loss=val/loss"]


def read(path, mapping=MAPPING):
    rows = laws.read_table(path, mapping)
    return [(row["N"], row["D"], row["loss"]) for row in rows]


@pytest.mark.parametrize("suffix", ["csv", "tsv", "json", "jsonl", "parquet"])
def test_every_kind_of_file_gives_the_same_rows(suffix, tmp_path):
    path = tmp_path / f"runs.{suffix}"
    if suffix == "parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    elif suffix == "json":
        path.write_text(json.dumps(ROWS))
    elif suffix == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    else:
        mark = "\t" if suffix == "tsv" else ","
        path.write_text("\n".join(mark.join(map(str, row)) for row in [ROWS[0], *(row.values() for row in ROWS)]))
    assert read(path) == [(10, 200, 3.5), (20, 400, 3.25)]


def test_a_folder_of_tensorboard_runs_is_a_table(tmp_path):
    from tensorboardX import SummaryWriter

    for name, losses in {"small": [4.0, 3.0, 3.5], "large": [3.0, 2.0]}.items():
        with SummaryWriter(str(tmp_path / name)) as writer:
            for step, loss in enumerate(losses):
                writer.add_scalar("loss", loss, step)
    rows = {row["run"]: row for row in laws.read_table(tmp_path)}
    assert rows["small"]["loss"] == 3.5 and rows["small"]["loss:min"] == 3.0 and rows["large"]["step"] == 1


def test_a_chart_of_wandb_becomes_a_row_for_each_run_and_step(tmp_path):
    path = tmp_path / "chart.csv"
    path.write_text('"Step","a - loss","a - loss__MIN","b - loss"\n1,3.0,2.9,4.0\n2,2.5,2.4,\n')
    rows = laws.read_table(path)
    assert rows == [
        {"run": "a", "step": 1, "loss": 3.0},
        {"run": "b", "step": 1, "loss": 4.0},
        {"run": "a", "step": 2, "loss": 2.5},
    ]


@pytest.mark.parametrize(
    ("mapping", "named"),
    [(["N"], "map='N' is not COLUMN=SOURCE"), (["N=size"], "no column 'size'"), (["D=step*1e"], "factor='1e'")],
)
def test_mappings_that_mean_nothing_are_refused(mapping, named, tmp_path):
    path = tmp_path / "runs.jsonl"
    path.write_text(json.dumps(ROWS[0]))
    with pytest.raises(errors.InputError, match=named):
        laws.read_table(path, mapping)


@pytest.mark.parametrize(("name", "text"), [("runs.xls", ""), ("runs.json", "{}"), ("runs.csv", "n,loss\n")])
def test_files_that_are_no_tables_are_refused(name, text, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(errors.InputError, match="file="):
        laws.read_table(tmp_path / name)
