"""Named corpora, read from real places: the interpreter's library, folders, a prepared TFDS dataset, HF data files."""

import ast
import dataclasses
import itertools
import subprocess
import sys

import numpy as np
import pytest

from jaxscale import config as configs
from jaxscale.data import Document, documents, prepare
from jaxscale.errors import InputError


def test_stdlib_is_python_source():
    found = list(itertools.islice(documents(configs.Corpus(kind="stdlib")), 20))
    assert len(found) == 20
    for document in found:
        ast.parse(document.text)
    assert not any("test" in document.name.split("/")[:-1] for document in documents(configs.Corpus(kind="stdlib")))


def test_docstrings_are_prose_of_the_same_modules():
    # Modules come by name: of those up to E there are enough.
    first = itertools.takewhile(lambda d: d.name < "e", documents(configs.Corpus(kind="docstrings")))
    found = {d.name: d.text for d in first}
    assert dataclasses.__doc__ is None and "dataclasses.py" in found
    assert found["argparse.py"].startswith("Command-line parsing library")
    assert "import" not in found["bisect.py"] and "def " not in found["bisect.py"]


def test_the_language_reference_is_read_by_topic():
    found = {d.name: d.text for d in documents(configs.Corpus(kind="reference"))}
    assert len(found) > 50 and "lambda" in found["lambda"]


def test_sentences_of_the_grammar_parse_back_to_one_root():
    corpus = configs.Corpus(kind="grammar", seed=3)
    (document,) = documents(dataclasses.replace(corpus, max_documents=1))
    assert document == next(iter(documents(corpus)))
    assert document != next(iter(documents(dataclasses.replace(corpus, seed=4))))
    sentences = document.text.splitlines()
    assert [len(sentence) for sentence in sentences] == [64] * 16 and set(document.text) <= set("abcdefghijklmnop\n")
    # Of 256 pairs of letters a grammar has 64, so a chance string of pairs would show more.
    many = " ".join(d.text for d in documents(dataclasses.replace(corpus, max_documents=40))).split()
    assert len({sentence[i : i + 2] for sentence in many for i in range(0, 64, 2)}) == 64


def test_files_reads_folders_and_globs_in_the_same_order(text_folder):
    whole = list(documents(configs.Corpus(kind="files", path=str(text_folder))))
    some = list(documents(configs.Corpus(kind="files", path=str(text_folder / "a*.txt"))))
    assert len(whole) == 61
    assert some == [d for d in whole if d.name.split("/")[-1].startswith("a")]


def test_hidden_files_and_folders_are_left_out_and_a_file_is_a_corpus(tmp_path):
    (tmp_path / ".git").mkdir()
    for name in ("a.txt", ".hidden.txt", ".git/index.txt"):
        (tmp_path / name).write_text(name)
    read = lambda path: [d.text for d in documents(configs.Corpus(kind="files", path=str(path)))]
    assert read(tmp_path) == read(tmp_path / "a.txt") == ["a.txt"]


def test_a_corpus_of_the_wrong_type_is_told_at_the_call(tmp_path):
    with pytest.raises(InputError, match=r"corpus='books' must be a jaxscale\.config\.Corpus, not a str"):
        documents("books")
    with pytest.raises(InputError, match=rf"corpus\.path=.* must be a string\. Write '{tmp_path}'"):
        documents(configs.Corpus(kind="files", path=tmp_path))


def test_max_documents_ends_the_reading(text_folder):
    assert len(list(documents(configs.Corpus(kind="files", path=str(text_folder), max_documents=3)))) == 3


def test_missing_and_empty_folders_are_refused(tmp_path):
    for path, message in (
        (tmp_path / "none", "no such folder"),
        (tmp_path, "holds no files"),
        (tmp_path / "*.txt", "holds no files"),
    ):
        with pytest.raises(InputError, match=message):
            list(documents(configs.Corpus(kind="files", path=str(path))))


def test_undecodable_bytes_are_named_replaced_or_skipped(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"fine")
    (tmp_path / "b.txt").write_bytes(b"caf\xe9!")
    read = lambda rule: list(documents(configs.Corpus(kind="files", path=str(tmp_path), undecodable=rule)))
    with pytest.raises(InputError, match=r"b\.txt' is not UTF-8: byte 0xe9 at offset 3"):
        read("error")
    assert [d.text for d in read("replace")] == ["fine", "caf\N{REPLACEMENT CHARACTER}!"]
    assert [d.text for d in read("skip")] == ["fine"]


def test_hf_streams_data_files(text_folder, tmp_path):
    pytest.importorskip("datasets", reason="needs the extra [hf]")
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "one", "id": 1}\n{"text": null, "id": 2}\n{"text": "two", "id": 3}\n')
    corpus = configs.Corpus(kind="hf", name="json", path=str(path))
    assert [d.text for d in documents(corpus)] == ["one", "", "two"]
    with pytest.raises(InputError, match=r"text_field='id' of 'json' is not text"):
        list(documents(configs.Corpus(kind="hf", name="json", path=str(path), text_field="id")))
    with pytest.raises(InputError, match=r"text_field='body' is not a feature of 'json'. It has id, text"):
        list(documents(configs.Corpus(kind="hf", name="json", path=str(path), text_field="body")))
    with pytest.raises(InputError, match=r"split='train\[:1\]' is a slice, .* corpus\.max_documents"):
        list(documents(configs.Corpus(kind="hf", name="json", path=str(path), split="train[:1]")))


def test_a_text_file_is_one_document_through_hf_too(text_folder):
    pytest.importorskip("datasets", reason="needs the extra [hf]")
    through_hf = documents(configs.Corpus(kind="hf", name="text", path=str(text_folder / "*.txt")))
    assert [d.text for d in through_hf] == [
        d.text for d in documents(configs.Corpus(kind="files", path=str(text_folder)))
    ]


@pytest.mark.parametrize(
    ("second", "told"),
    [('{"id": 2, "text": \n', "JSON parse error"), ('{"id": "two", "text": "b"}\n', "Failed to parse string: 'two'")],
)
def test_a_damaged_file_of_a_dataset_is_named_with_what_to_do(second, told, tmp_path):
    pytest.importorskip("datasets", reason="needs the extra [hf]")
    (tmp_path / "a.jsonl").write_text('{"id": 1, "text": "a"}\n')
    (tmp_path / "b.jsonl").write_text(second)
    found = documents(configs.Corpus(kind="hf", name="json", path=str(tmp_path / "*.jsonl")))
    assert next(found).text == "a"
    with pytest.raises(InputError, match=rf"b\.jsonl' cannot be read as a dataset: {told}.* corpus\.kind='files'"):
        list(found)


def test_tfds_reads_a_prepared_dataset_without_tensorflow(tmp_path):
    tfds = pytest.importorskip("tensorflow_datasets", reason="needs the extra [tfds]")
    from etils import epath

    class LocalPoems(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")
        pkg_dir_path = epath.Path(__file__).parent

        def _info(self):
            return self.dataset_info_from_configs(
                features=tfds.features.FeaturesDict({"text": tfds.features.Text(), "line": np.int64})
            )

        def _split_generators(self, dl_manager):
            return {"train": ((i, {"text": f"poem {i}: été", "line": i}) for i in range(5))}

        def _generate_examples(self):
            raise AssertionError("examples come with the splits")

    builder = LocalPoems(data_dir=tmp_path, file_format="array_record")
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    # A process that knows the dataset's files but not the class that made them.
    program = (
        "import sys; from jaxscale import config, data; "
        "corpus = config.Corpus(kind='tfds', name='local_poems', path=sys.argv[1]); "
        "print(sorted(d.text for d in data.documents(corpus)), 'tensorflow' in sys.modules)"
    )
    read = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True, check=True)
    assert read.stdout.strip() == f"{[f'poem {i}: été' for i in range(5)]} False"
    with pytest.raises(InputError, match=r"split='test' is not a split of 'local_poems'. It has train"):
        list(documents(configs.Corpus(kind="tfds", name="local_poems", path=str(tmp_path), split="test")))
    with pytest.raises(InputError, match=r"no such TFDS dataset"):
        list(documents(configs.Corpus(kind="tfds", name="no_such_poems", path=str(tmp_path))))
    with pytest.raises(InputError, match=r"text_field='line' of 'local_poems' is not text"):
        list(documents(configs.Corpus(kind="tfds", name="local_poems", path=str(tmp_path), text_field="line")))
    (shard,) = tmp_path.rglob("*.array_record*")
    shard.write_bytes(shard.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"local_poems/1\.0\.0' cannot be read as a dataset"):
        list(documents(configs.Corpus(kind="tfds", name="local_poems", path=str(tmp_path))))


def test_installed_packages_are_a_corpus_of_source():
    found = list(itertools.islice(documents(configs.Corpus(kind="installed")), 30))
    assert len(found) == 30 and all(document.name.endswith(".py") for document in found)
    assert len({document.name for document in found}) == 30


OWN = """
def poems():
    yield "one"
    yield "named", "two"

def words():
    return [1]
"""


def test_documents_of_a_function_of_a_file(tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN)
    corpus = configs.Corpus(kind="python", path=str(path), name="poems")
    assert [(d.name, d.text) for d in documents(corpus)] == [("poems/0", "one"), ("named", "two")]
    for fields, told in (
        ({"name": "words"}, r"number 0 is 1\. Give texts, \(name, text\) pairs"),
        ({"name": "songs"}, r"corpus\.name='songs' is no function of .* It has poems, words"),
        ({"name": ""}, r"corpus\.kind='python' needs both\. Name a Python file"),
        ({"path": str(tmp_path / "none.py")}, r"is no Python file\. Give a file ending in \.py"),
    ):
        with pytest.raises(InputError, match=told):
            list(documents(dataclasses.replace(corpus, **fields)))
    path.write_text("import nothing_of_this_name")
    with pytest.raises(InputError, match=r"own\.py' fails: ModuleNotFoundError: No module"):
        list(documents(corpus))


def test_documents_of_python_are_prepared_like_any(tmp_path):
    texts = [f"text {i}" for i in range(50)]
    corpus, tokenizer = configs.Corpus(kind="python"), configs.Tokenizer(kind="bytes")
    store = prepare(corpus, tokenizer, tmp_path / "a", documents=texts)
    assert store.facts["documents_read"] == 50
    assert store.facts["documents_train"] + store.facts["documents_held_out"] == 50
    again = prepare(
        corpus, tokenizer, tmp_path / "b", documents=lambda: (Document(str(i), t) for i, t in enumerate(texts))
    )
    assert again.facts["fingerprint"] == store.facts["fingerprint"]
    with pytest.raises(InputError, match=r"can be gone through only once.* Give a list, or a function"):
        prepare(corpus, tokenizer, tmp_path / "c", documents=iter(texts))
    with pytest.raises(InputError, match=r"documents='one text' must be an iterable of texts"):
        prepare(corpus, tokenizer, tmp_path / "c", documents="one text")
    with pytest.raises(InputError, match=r"corpus\.kind='stdlib': documents are given"):
        prepare(configs.Corpus(), tokenizer, tmp_path / "c", documents=texts)
