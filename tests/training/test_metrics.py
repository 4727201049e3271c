"""Metrics lines and TensorBoard events."""

import subprocess
import sys
import types

import pytest
from tensorboardX.proto.event_pb2 import Event

from jaxscale import files
from jaxscale.errors import InputError
from jaxscale.training.metrics import Metrics


def events(folder):
    """Events of all files in order: records are framed as length, checksum, data, checksum."""
    for path in sorted(folder.glob("events*")):
        data = path.read_bytes()
        while data:
            size = int.from_bytes(data[:8], "little")
            yield Event.FromString(data[12 : 12 + size])
            data = data[16 + size :]


def test_a_restart_drops_the_lines_it_will_write_again(tmp_path):
    with Metrics(tmp_path, 0) as metrics:
        for step in (1, 2, 3):
            metrics.write(step, loss=float(step))
    with Metrics(tmp_path, 2) as metrics:
        metrics.write(3, loss=30.0)
    assert [row["loss"] for row in files.read_json_lines(tmp_path / "metrics.jsonl")] == [1.0, 2.0, 30.0]


def test_tensorboard_gets_every_value_and_is_told_of_restarts(tmp_path):
    with Metrics(tmp_path, 7) as metrics:
        metrics.write(8, loss=0.5, learning_rate=0.25)
    found = list(events(tmp_path / "tensorboard"))
    scalars = {v.tag: (e.step, v.simple_value) for e in found for v in e.summary.value}
    assert scalars == {"loss": (8, 0.5), "learning_rate": (8, 0.25)}
    assert [e.step for e in found if e.HasField("session_log")] == [8]


def test_full_disk_ends_the_writing_instead_of_hanging(tmp_path):
    program = (
        "import sys\n"
        "from jaxscale.training.metrics import Metrics\n"
        "from jaxscale.errors import RunError\n"
        "try:\n"
        "    with Metrics(sys.argv[1], 0) as metrics:\n"
        "        for step in range(10_000):\n"
        "            metrics.write(step, loss=1.0)\n"
        "except RunError as error:\n"
        "    print(error)\n"
    )
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "bash", sys.executable, "-c", program, tmp_path]
    done = subprocess.run(limited, capture_output=True, text=True, timeout=120)
    assert "the disk is full: cannot write" in done.stdout, done.stderr


def test_weights_and_biases_gets_the_same_and_goes_on_after_a_restart(tmp_path, monkeypatch):
    class Run:
        def __init__(self, **options):
            self.options, self.lines, self.finished = options, [], False
            runs.append(self)

        def log(self, values, step):
            self.lines.append((step, values))

        def finish(self):
            self.finished = True

    runs = []
    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=lambda **options: Run(**options)))
    for step in (0, 4):
        with Metrics(tmp_path, step, wandb="scaling") as metrics:
            metrics.write(step + 4, train_loss=2.0)
    first, second = runs
    assert first.options["project"] == "scaling" and first.options["id"] == second.options["id"]
    assert first.lines == [(4, {"train_loss": 2.0})] and first.finished
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"training.wandb='scaling' needs .* pip install 'jaxscale\[wandb\]'"):
        Metrics(tmp_path, 0, wandb="scaling")
