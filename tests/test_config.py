"""Configurations: loaded, overridden, refused with the nearest valid name."""

import ast
import dataclasses
import json
import math
import pathlib

import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale import studies
from jaxscale.errors import InputError
from jaxscale.studies.scaling.config import cell

CONFIGS = sorted(pathlib.Path(__file__).parents[1].joinpath("configs").glob("*.py"))
TEXT_LOSS = next(path for path in CONFIGS if path.name == "text_loss.py")


def write(tmp_path, body):
    path = tmp_path / "experiment.py"
    path.write_text(f"from jaxscale.config import *\nfrom jaxscale.studies import *\n{body}\n")
    return path


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.name)
def test_every_committed_config_loads(path):
    assert isinstance(configs.load(path), configs.Configuration)


def test_flags_override_fields_at_any_depth():
    study = configs.load(
        TEXT_LOSS, ["--run.training.steps", "7", "--sizes", "512", "1024", "2048", "4096", "--beta", "0.5"]
    )
    assert (study.run.training.steps, study.sizes, study.beta) == (7, (512, 1024, 2048, 4096), 0.5)


def test_every_field_is_documented_in_words():
    """`--help` prints the string below a field."""
    package = pathlib.Path(configs.__file__).parents[1]
    for path in (package / "config" / "fields.py", *package.glob("studies/*/config.py")):
        for kind in [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]:
            for field, below in zip(kind.body, [*kind.body[1:], None], strict=True):
                if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation):
                    told = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
                    assert told, f"{kind.name}.{ast.unparse(field.target)}"


def test_help_shows_every_field_with_its_default(capsys):
    with pytest.raises(SystemExit) as stop:
        configs.load(TEXT_LOSS, ["--help"])
    text = capsys.readouterr().out
    assert stop.value.code == 0
    for kind, prefix in (
        (configs.Decoder, "--run.model."),
        (configs.Training, "--run.training."),
        (configs.Dimension, "--dimension."),
    ):
        for field in dataclasses.fields(kind):
            assert prefix + field.name.replace("_", "-") in text
    assert "default: 64" in text


@pytest.mark.parametrize(
    ("flags", "nearest"), [(["--run.trainning.steps", "7"], "--run.training.steps"), (["--seds", "1"], "--seeds")]
)
def test_unknown_flag_is_refused_with_the_nearest(flags, nearest, capsys):
    with pytest.raises(SystemExit) as stop:
        configs.load(TEXT_LOSS, flags)
    assert stop.value.code == 2
    assert nearest in capsys.readouterr().err


def test_ill_typed_flag_is_refused(capsys):
    with pytest.raises(SystemExit) as stop:
        configs.load(TEXT_LOSS, ["--run.training.steps", "many"])
    assert stop.value.code == 2
    assert "steps" in capsys.readouterr().err


def test_unknown_field_in_a_file_is_refused_with_the_nearest(tmp_path):
    with pytest.raises(InputError, match=r"Training has no field 'stepps'. Did you mean 'steps'"):
        configs.load(write(tmp_path, "config = Run(training=Training(stepps=3))"))


@pytest.mark.parametrize("body", ["Run(training=Training(steps='many'))", "Run(training=Training(steps=1.5))"])
def test_ill_typed_field_in_a_file_is_named(tmp_path, body):
    with pytest.raises(InputError, match=r"training\.steps="):
        configs.load(write(tmp_path, f"config = {body}"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: configs.Run(model=Network()), r"model=Network\(.* must be a jaxscale\.config\.Decoder, not a Network"),
        (lambda: configs.Run(model=configs.Decoder), r"must be a .*Decoder, not the class Decoder. Give Decoder\("),
        (lambda: configs.Run(training=studies.PointTraining()), "training=.* not a PointTraining"),
        (lambda: studies.DataScaling(run=configs.Run(corpus=None)), r"run\.corpus=None must be a .*Corpus"),
        (lambda: studies.DataScaling(seeds=3), r"seeds=3 must be a tuple of integers\. Write \(3,\)"),
        (lambda: studies.DataScaling(sizes=(1e5, "many")), "sizes=.* must be a tuple of integers"),
        (lambda: configs.Run(tokens=1e6), r"tokens=1000000\.0 must be an integer or None\. Write 1000000\."),
        (lambda: configs.Run(seed=True), "seed=True must be an integer"),
        (
            lambda: configs.Run(tokenizer=configs.Tokenizer(kind="bp")),
            "tokenizer.kind='bp' must be one of 'bytes', 'bpe'",
        ),
        (lambda: configs.Run(optimizer=configs.Optimizer(clip_norm=math.inf)), "clip_norm=inf must be a finite number"),
        (lambda: studies.LengthStudy(omegas=(math.nan,)), "omegas=.* must be a tuple of finite numbers"),
        (lambda: studies.PositionStudy(encodings=("rope",)), "encodings='rope' is not one of none, learned"),
        (lambda: studies.ManifoldStudy(target=2), "target=2 must be a .*ManifoldTarget, not a int"),
        (lambda: studies.DimensionAblation(corpora="books"), r"corpora='books' must be .* Write \('books',\)"),
        (lambda: {"model": {}}, "config=.* must be a .*Run or a study of .*, not a dict"),
    ],
)
def test_a_value_of_the_wrong_type_is_told_in_a_sentence_from_python_and_from_a_file(make, message, tmp_path):
    with pytest.raises(InputError, match=message):
        configs.validate(make())


@dataclasses.dataclass
class Network:
    """Stands for a model object of any library: they are dataclasses, or not, as they like."""

    width: int = 8


def test_a_model_object_in_a_file_is_told_too(tmp_path):
    with pytest.raises(InputError, match=r"model=Dense\(.* must be a jaxscale\.config\.Decoder, not a Dense"):
        configs.load(write(tmp_path, "import flax.linen\nconfig = Run(model=flax.linen.Dense(3))"))


def test_numbers_of_numpy_and_lists_become_pythons_own(tmp_path):
    study = studies.DataScaling(sizes=np.int64(512) * np.arange(1, 5), seeds=[np.int32(0), 1], beta=np.float32(0.5))
    assert study == studies.DataScaling(sizes=(512, 1024, 1536, 2048), seeds=(0, 1), beta=0.5)
    assert {type(one) for one in (*study.sizes, *study.seeds)} == {int} and type(study.beta) is float
    configs.claim(tmp_path, study)
    configs.claim(tmp_path, study)  # what JSON gives back is the same configuration


def test_whole_number_serves_for_a_float(tmp_path):
    assert (
        configs.load(write(tmp_path, "config = Run(optimizer=Optimizer(learning_rate=1))")).optimizer.learning_rate == 1
    )


def test_file_without_config_and_missing_file_are_told(tmp_path):
    with pytest.raises(InputError, match=r"must bind `config`"):
        configs.load(write(tmp_path, "configuration = Run()"))
    with pytest.raises(InputError, match=r"no such file. Did you mean .*quickstart.py"):
        configs.load(TEXT_LOSS.with_name("quickstrat.py"))
    with pytest.raises(InputError, match=r"ZeroDivisionError"):
        configs.load(write(tmp_path, "config = 1 / 0"))
    with pytest.raises(InputError, match="SystemExit: 0"):
        configs.load(write(tmp_path, "raise SystemExit(0)"))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("Run(model=Decoder(width=10, heads=3))", "model.heads=3 must divide model.width=10"),
        ("Run(model=Decoder(width=6, heads=2))", "odd head width 3"),
        ("Run(training=Training(steps=0))", "training.steps=0 must be positive"),
        ("Run(training=Training(batch_size=6, accumulation=4))", "training.accumulation=4 must divide"),
        ("Run(tokens=64)", "tokens=64 must exceed model.context=128"),
        ("Run(tokenizer=Tokenizer(vocab_size=200))", "tokenizer.vocab_size=200 must exceed 257"),
        ("Run(seed=-1)", "seed=-1 must lie between 0"),
        ("Run(corpus=Corpus(passage=0))", "corpus.passage=0 must be positive"),
        ("DataScaling(seeds=(0, -3))", "seeds=.* must lie between 0"),
        ("DataScaling(sizes=(1000, 1000, 2000, 3000, 4000))", "names a number of tokens twice"),
        ("Run(optimizer=Optimizer(b1=1.0))", r"optimizer.b1=1.0 must lie in \[0, 1\)"),
        ("Run(corpus=Corpus(kind='files'))", "corpus.path='' is needed"),
        ("DataScaling(sizes=(1000, 2000))", "sizes=.* needs at least 4"),
        ("DataScaling(beta=1.5)", r"beta=1.5 must lie in \(0, 1\]"),
        ("DataScaling(together=2, run=Run(mesh=Mesh(replica=1, fsdp=-1)))", "together=2 trains each run on one device"),
        ("LengthStudy(test_lengths=(0, 16))", "test_lengths=.* must lie between 1 and"),
        ("DataScaling(dimension=Dimension(layer=7))", "dimension.layer=7 must lie between -3 and"),
        ("DataScaling(dimension=Dimension(points=9))", "dimension.points=9 must exceed dimension.k=20"),
    ],
)
def test_values_that_contradict_are_refused_by_name(tmp_path, body, message):
    with pytest.raises(InputError, match=message):
        configs.load(write(tmp_path, f"config = {body}"))


def test_a_study_serves_as_its_largest_first_seed_run():
    study = configs.load(TEXT_LOSS)
    run = configs.load(TEXT_LOSS, kind=configs.Run)
    assert run == cell(study, max(study.sizes), study.seeds[0])
    assert run.tokens == max(study.sizes)


def test_json_round_trip_is_exact():
    study = configs.load(TEXT_LOSS)
    assert configs.from_json(configs.to_json(study), studies.DataScaling) == study
    assert json.loads(configs.to_json(study))["run"]["tokens"] is None


def test_a_folder_belongs_to_one_configuration(tmp_path):
    configs.claim(tmp_path, configs.Run(seed=1))
    configs.claim(tmp_path, configs.Run(seed=1))
    with pytest.raises(InputError, match=r"another configuration: seed=2 \(there: 1\)"):
        configs.claim(tmp_path, configs.Run(seed=2))
