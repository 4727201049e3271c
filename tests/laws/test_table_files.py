"""Tables as files hold them, and what is refused."""

import json
import pathlib

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


def write_run(folder, losses, **options):
    """A start of a run, as the writer of tensorboardX leaves it: losses by step."""
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(folder), **options) as writer:
        for step, loss in losses.items():
            writer.add_scalar("loss", loss, step)


def test_a_run_that_was_started_again_ends_where_its_last_start_did(tmp_path):
    before, after = {0: 5.0, 500: 4.0, 600: 1.0, 1000: 3.0}, {600: 3.9, 800: 3.5}
    # The name of the second file sorts before that of the first.
    write_run(tmp_path / "resumed", before, filename_suffix=".first")
    (first,) = (tmp_path / "resumed").iterdir()
    first.rename(first.with_name("z.tfevents"))
    write_run(tmp_path / "resumed", after)
    # A writer that says where it starts, and gets no further than that.
    write_run(tmp_path / "purged", before)
    write_run(tmp_path / "purged", {}, purge_step=600, filename_suffix=".second")
    rows = {row["run"]: row for row in laws.read_table(tmp_path)}
    said = lambda run: [rows[run][name] for name in ("step", "loss", "loss:min", "loss:min:step")]
    assert said("resumed") == pytest.approx([800, 3.5, 3.5, 800])
    assert said("purged") == [500, 4.0, 4.0, 500]


def test_the_runs_of_tensorflow_are_read():
    """tests/laws/tensorflow/run was written by TensorFlow 2.21: steps 0 to 1000, and from 600 to 800 once more."""
    (row,) = laws.read_table(pathlib.Path(__file__).parent / "tensorflow", ["loss=train/loss"])
    assert [row["step"], row["loss"]] == pytest.approx([800, 2.5])
    assert [row["eval/loss"], row["eval/loss:step"]] == pytest.approx([2.75, 500])


def test_the_step_of_a_row_is_the_one_at_which_its_loss_was_written(tmp_path):
    from tensorboardX import SummaryWriter

    with SummaryWriter(str(tmp_path / "run")) as writer:
        for step in range(0, 1001, 100):
            writer.add_scalar("train/loss", 5.0 - step / 1000, step)
            if step % 300 == 0:
                writer.add_scalar("val/loss", 6.0 - step / 1000, step)
    read = lambda source: [laws.read_table(tmp_path, [f"loss={source}", "D=step*2"])[0][name] for name in ("D", "loss")]
    assert read("val/loss") == pytest.approx([1800, 5.1])
    assert read("train/loss") == pytest.approx([2000, 4.0])


def test_a_damaged_file_of_events_is_named(tmp_path):
    write_run(tmp_path, {0: 5.0, 500: 4.0})
    (file,) = tmp_path.iterdir()
    data = bytearray(file.read_bytes())
    data[12:20] = b"\xff" * 8  # in the first event
    file.write_bytes(data)
    with pytest.raises(errors.InputError, match=r"tfevents.* is damaged at byte 0"):
        laws.read_table(tmp_path)


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
    [
        (["N"], "map='N' is not COLUMN=SOURCE"),
        (["N=size"], "no column 'size'"),
        (["D=step*1e"], "map='D=step.*: '1e' is not a number"),
    ],
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


def test_an_error_is_said_once(tmp_path):
    (tmp_path / "runs.xls").write_text("")
    with pytest.raises(errors.InputError) as error:
        laws.read_table(tmp_path / "runs.xls")
    assert str(error.value).startswith("file=") and str(error.value).count("runs.xls") == 1
