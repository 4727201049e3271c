"""What a dry run says a study takes is what a calculation by hand gives, and what the study then takes."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from jaxscale import cli, studies
from jaxscale.errors import InputError
from jaxscale.studies.teacher import dry_run, forward

SMALL = studies.TeacherStudy(
    teacher=studies.Teacher(name="trained", outcome="first_byte", own=studies.OwnTeacher(layers=3, width=8), layers=2),
    contexts=studies.Contexts(window=16, skipped=6, training=40, held_out=48),
    sizes=(40, 80, 160, 320),
    seeds=(0, 1),
    training=studies.StudentTraining(
        layers=1, heads=1, steps=20, batch_size=6, evaluate_every=5, checkpoint_every=10, widths=(4, 2)
    ),
)
# Tables of letters, four matrices of attention, two of the MLP, three norms, the head with its bias.
PARAMETERS = 17 * 257 * 4 + 4 * 4 * 4 + 2 * 4 * 16 + 3 * 4 + 4 * 256 + 256


def test_numbers_are_those_of_a_calculation_by_hand():
    facts = dry_run.describe(SMALL)
    assert facts["outcomes"] == 256 and facts["windows"] == {"training": 40, "held_out": 48}
    assert facts["tokens"] == 88 * 16 and facts["labels"] == 40 * 10
    narrow, wide = facts["students"]
    # Four sizes, two seeds and weight decays, and besides a student of each setting that learns the truth itself.
    assert (narrow["width"], wide["width"]) == (2, 4) and wide["students"] == 4 * 2 * 2 + 2
    assert wide["parameters"] == PARAMETERS
    # A multiply-add is two; a backward pass is two forward ones. Attention is of all 16 tokens with all.
    of_token = 2 * (4 * 4 * 4 + 2 * 4 * 16 + 2 * 16 * 4 + 4 * 256)
    assert wide["flops_per_step"] == 3 * of_token * 6 * 16
    assert wide["flops"] == wide["flops_per_step"] * 20 * 18
    assert facts["flops"] == wide["flops"] + narrow["flops"]


def test_bytes_are_those_of_a_calculation_by_hand():
    facts = dry_run.describe(SMALL)
    truth, states, labels = 88 * 10 * 256 * 4, 88 * 10 * 2 * 8 * 2, 2 * 40 * 10 * 4
    # Parameters, two moments, average and two best; Adam's count, two validation errors and their steps; steps done.
    lanes = 18 * (6 * 4 * PARAMETERS + 5 * 4) + 4
    assert facts["memory"]["host"] == {
        "truth": truth,
        "states": states,
        "labels": labels,
        "students": lanes,
        "total": truth + states + labels + lanes,
    }
    passed = truth + states + 88 * 10 * 8
    assert facts["disk"]["teacher"] == passed and facts["disk"]["checkpoint"] == lanes
    assert facts["disk"]["contexts"] == 88 * (17 * 4 + 4 + 1)
    device = facts["memory"]["device"]
    spelled = (40 + 12) * 16 * 17 * 2  # a quarter of the windows held out is to choose by
    assert device["lesson"] == spelled + labels + (40 + 12) * 10 * 256 * 4
    assert device["students"] == lanes
    # Gradients and updates, and of the activations at least the logits.
    assert device["step"] > 18 * (2 * 4 * PARAMETERS + 6 * 16 * 256 * 4)


def test_probabilities_of_few_windows_and_no_references_take_less():
    few = dataclasses.replace(SMALL, references=False, contexts=dataclasses.replace(SMALL.contexts, soft=10))
    facts, whole = dry_run.describe(few), dry_run.describe(SMALL)
    truth, states, labels = (10 + 48) * 10 * 256 * 4, 48 * 10 * 2 * 8 * 2, 2 * 40 * 10 * 4
    assert [facts["memory"]["host"][name] for name in ("truth", "states", "labels")] == [truth, states, labels]
    assert facts["disk"]["teacher"] == truth + states + labels + 88 * 10 * 8
    assert whole["memory"]["device"]["lesson"] - facts["memory"]["device"]["lesson"] == 30 * 10 * 256 * 4


def test_students_that_wait_are_in_the_memory_of_the_host():
    few = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, at_once=3))
    facts, whole = dry_run.describe(few)["memory"], dry_run.describe(SMALL)["memory"]
    assert facts["host"] == whole["host"]
    assert facts["device"]["step"] * 6 == whole["device"]["step"]
    assert facts["device"]["students"] == whole["device"]["students"] // 6


def test_devices_that_share_a_student_hold_a_part_of_it():
    shared = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, devices_each=2))
    facts, whole = (dry_run.describe(study)["memory"]["device"] for study in (shared, SMALL))
    assert facts["lesson"] == whole["lesson"]
    assert (2 * facts["students"], 2 * facts["step"]) == (whole["students"], whole["step"])


@pytest.mark.thorough
def test_a_study_takes_what_was_said():
    """Of a language, where nothing is read: its arrays are as large as the dry run says."""
    study = dataclasses.replace(SMALL, teacher=studies.Teacher(name="language", dimension=1))
    facts = dry_run.describe(study)
    windows, truth, spelled = forward.of_language(study)
    assert facts["outcomes"] == 2 and facts["disk"]["teacher"] == facts["disk"]["contexts"] == 0
    assert facts["memory"]["host"]["truth"] == truth.probabilities.nbytes
    assert facts["memory"]["host"]["states"] == sum(states.nbytes for states in truth.states.values())
    net, lesson, _ = dry_run.abstract(study, dry_run.sizes_of(study), 4)
    params = net.init(jax.random.key(0), spelled[windows.tokens[:1, :-1]])["params"]
    assert facts["students"][1]["parameters"] == sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    assert lesson.spelled.shape == spelled[windows.tokens[windows.of("training"), :-1]].shape
    assert len(windows.of("validation")) == lesson.validation_spelled.shape[0]


def test_the_command_prints_it_and_touches_nothing(tmp_path, capsys, monkeypatch):
    (tmp_path / "small.py").write_text(
        f"from jaxscale.config import *\nfrom jaxscale.studies import *\nconfig = {SMALL!r}\n"
    )
    load = lambda *arguments: pytest.fail("the teacher was loaded")
    monkeypatch.setattr(forward, "load", load)
    command = ["study", str(tmp_path / "small.py"), "--dry-run"]
    folder = tmp_path / "study"
    assert cli.main([*command, "--json", "--workdir", str(folder)]) == 0
    assert json.loads(capsys.readouterr().out) == dry_run.describe(SMALL)
    assert cli.main(command) == 0  # a folder is not needed
    said = capsys.readouterr().out
    assert f"width 4: 18 students of {PARAMETERS:,} parameters, at most 20 steps" in said and "labels: 400" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["small.py"]
    assert cli.main([*command[:-1]]) == 2
    assert "--workdir is needed" in capsys.readouterr().err


def test_a_teacher_whose_sizes_are_not_known_is_refused():
    unknown = dataclasses.replace(SMALL, teacher=studies.Teacher(name="model.gguf"))
    with pytest.raises(InputError, match=r"teacher.name='model.gguf': its sizes are not known before it is loaded"):
        dry_run.describe(unknown)


def test_a_teacher_that_is_not_installed_is_the_one_that_takes_its_place(monkeypatch):
    named = lambda **fields: dataclasses.replace(
        SMALL, teacher=dataclasses.replace(SMALL.teacher, name="smollm2", outcome="full", **fields)
    )
    monkeypatch.setattr(dry_run, "missing", lambda name: None)
    assert dry_run.describe(named())["outcomes"] == 49152
    monkeypatch.setattr(dry_run, "missing", lambda name: "lacking")
    assert dry_run.describe(named(otherwise="trained"))["outcomes"] == SMALL.teacher.own.vocabulary
