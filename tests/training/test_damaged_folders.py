"""A run's folder with a file damaged, missing or of another kind: a sentence that names it, never a traceback."""

import shutil

import pytest

from jaxscale import cli, training
from jaxscale.data import open_store, prepare
from jaxscale.errors import InputError

DAMAGE = {
    "empty": lambda content: b"",
    "cut": lambda content: content[: len(content) // 2],
    "of another kind": lambda content: b"[1]\n",
    "binary": lambda content: bytes(range(128, 256)) * 3,
}


def damage(path, how):
    path.write_bytes(DAMAGE[how](path.read_bytes()))


@pytest.fixture(scope="module")
def finished(tiny_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    training.train(tiny_run, prepare(tiny_run.corpus, tiny_run.tokenizer, folder / "corpus"), folder)
    return folder


@pytest.mark.thorough
@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("name", ["train.bin", "held_out.bin", "train_starts.npy", "held_out_starts.npy", "facts.json"])
def test_a_damaged_corpus_is_refused(name, how, finished, tmp_path):
    shutil.copytree(finished / "corpus", tmp_path / "corpus")
    damage(tmp_path / "corpus" / name, how)
    with pytest.raises(InputError, match=r"corpus.* Delete (this folder|it)"):
        open_store(tmp_path / "corpus")


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize(
    ("command", "name"), [("embed", "config.json"), ("embed", "summary.json"), ("export", "config.json")]
)
def test_a_damaged_document_of_a_run_is_named(command, name, how, finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    damage(tmp_path / "run" / name, how)
    assert cli.main([command, str(tmp_path / "run"), "--out", str(tmp_path / "out.npy")]) == 2
    assert f"{tmp_path / 'run' / name}' " in capsys.readouterr().err
    assert not (tmp_path / "out.npy").exists()


def test_embeddings_of_a_checkpoint_that_is_gone_are_refused(finished, tmp_path, capsys):
    shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    assert cli.main(["embed", str(tmp_path / "run"), "--out", str(tmp_path / "out.npy")]) == 1
    assert "cannot be used" in (said := capsys.readouterr().err) and "train it again" in said
