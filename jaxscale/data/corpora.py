"""Named text sources: what `config.Corpus` names, as an iterator of documents.

    for document in documents(config.Corpus(kind="files", path="books/")):
        print(document.name, len(document.text))

Five need no download: Python's own standard library as code, the prose of its docstrings, the language reference, the
source of the installed packages, and strings of a random grammar. Others are local files, TensorFlow Datasets, Hugging
Face, and what a function of yours gives.
"""

import ast
import contextlib
import dataclasses
import functools
import importlib.util
import itertools
import os
import pathlib
import string
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

import numpy as np

from jaxscale.config import Corpus
from jaxscale.config.checks import check_corpus
from jaxscale.config.types import check_types, require
from jaxscale.data import text_files, text_paths
from jaxscale.data.passages import Document
from jaxscale.data.text_files import Count, nothing
from jaxscale.data.text_paths import Skip
from jaxscale.errors import InputError

# Documents from Python: texts, (name, text) pairs or `Document`s, or a function without arguments that gives such.
Given = Iterable[str | tuple[str, str] | Document] | Callable[[], Iterable[str | tuple[str, str] | Document]]
# Folders of packages and of the standard library that hold none of their own source, or tests.
NO_SOURCE = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}


def documents(
    corpus: Corpus, skip: Skip = nothing, *, count: Count = nothing, given: Given | None = None
) -> Iterator[Document]:
    """Documents of a `config.Corpus`, in an order that is the same every time.

    Args:
      corpus: a `config.Corpus`.
      skip: called with a reason and a name for every file, folder or record that is left out.
      count: called as count(group, words, number). Group "files" counts files by the kind they were read as, group
        "changes" counts what was done to texts.
      given: the documents themselves, of a corpus of kind "python".

    Raises:
      InputError: the folder or dataset is missing or empty, what it holds is not text, or an optional package is
        needed; or a field of `corpus` has the wrong type, or contradicts another.
    """
    require(corpus, Corpus, "corpus")
    check_types(corpus, "corpus.")
    check_corpus(corpus)
    if given is not None and corpus.kind != "python":
        raise InputError(f"corpus.kind={corpus.kind!r}: documents are given. Give corpus.kind='python', or none.")
    found = SOURCES[corpus.kind](corpus, skip, count) if given is None else _of_python(corpus, given)
    if corpus.passage_characters is not None:
        found = _cut(corpus, found, count)
    return itertools.islice(found, corpus.max_documents)


def _cut(corpus: Corpus, found: Iterator[Document], count: Count) -> Iterator[Document]:
    """Documents that are too long, of whatever source, as passages."""
    for document in found:
        if document.held_out is None and len(document.text) > (corpus.passage_characters or 0):
            yield from text_files.cut(corpus, document.name, [document.text], count)
        else:
            yield document


def stdlib(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Python source of the running interpreter's standard library, without its tests (not every install has them)."""
    del corpus, count
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    # A handful of files declare another encoding; as UTF-8 they are not text.
    as_they_are = Corpus(kind="files", text_field="", undecodable="skip", line_ends="kept")
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not NO_SOURCE.intersection(name.parts):
            yield from text_files.texts(path, as_they_are, skip, name=name.as_posix())


def installed(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Python source of the packages that are installed beside this one, without tests, a document a module.

    What is installed differs from place to place, and so does this corpus; the fingerprint in its facts tells.
    """
    del corpus
    roots = sorted({os.path.realpath(sysconfig.get_paths()[scheme]) for scheme in ("purelib", "platlib")})
    source = Corpus(kind="files", text_field="", undecodable="skip")
    for root in map(pathlib.Path, roots):
        for path in sorted(root.rglob("*.py")):
            name = path.relative_to(root)
            if not NO_SOURCE.intersection(name.parts):
                yield from text_files.texts(path, source, skip, count, name.as_posix())


def docstrings(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Prose: the docstrings of each module of the standard library, without its code."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for document in stdlib(corpus, skip, count):
        nodes = [node for node in ast.walk(ast.parse(document.text)) if isinstance(node, kinds)]
        if said := [text for node in nodes if (text := ast.get_docstring(node))]:
            yield Document(document.name, "\n\n".join(said))
        else:
            skip("without docstrings", document.name)


def reference(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Reference text: the language reference that `help()` of the running interpreter prints, a document a topic."""
    from pydoc_data.topics import topics

    del corpus, skip, count
    for name in sorted(topics):
        yield Document(name, topics[name])


def grammar(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Strings of one random grammar: 2000 documents of 16 sentences, 64 letters each, drawn with `corpus.seed`.

    A random hierarchy model (Cagnetta et al., arXiv 2307.02129): from the root down six levels every symbol is replaced
    by one of its four pairs of symbols, all pairs of a level distinct, uniformly; each level has 16 symbols.
    """
    del skip, count
    symbols, choices, levels, sentences = 16, 4, 6, 16
    random = np.random.Generator(np.random.Philox(key=corpus.seed))
    pairs = [random.permutation(symbols**2)[: symbols * choices].reshape(symbols, choices) for _ in range(levels)]
    letters = np.array(list(string.ascii_lowercase[:symbols]))
    for index in range(2000):
        row = random.integers(symbols, size=(sentences, 1))
        for rule in pairs:
            drawn = rule[row, random.integers(choices, size=row.shape)]
            row = np.stack([drawn // symbols, drawn % symbols], axis=-1).reshape(sentences, -1)
        yield Document(f"grammar/{index}", "\n".join("".join(letters[sentence]) for sentence in row))


def files(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """Local text: every file below the folder `corpus.path` but hidden ones, or every file its glob matches."""
    for path in text_paths.paths(corpus.path, corpus.undecodable, skip):
        yield from text_files.texts(path, corpus, skip, count)


def python(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """What the function `corpus.name` of the Python file `corpus.path` gives."""
    del skip, count
    if not corpus.path or not corpus.name:
        raise InputError(
            f"corpus.path={corpus.path!r} and corpus.name={corpus.name!r}: corpus.kind='python' needs both. Name a "
            "Python file and its function that gives texts, or give documents= to jaxscale.data.prepare."
        )
    path = pathlib.Path(corpus.path)
    spec = importlib.util.spec_from_file_location(f"jaxscale_corpus_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise InputError(f"corpus.path={corpus.path!r} is no Python file. Give a file ending in .py.")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # the file is the user's: it can raise anything
        raise InputError(f"corpus.path={corpus.path!r} fails: {type(error).__name__}: {error}. Mend it.") from error
    function = getattr(module, corpus.name, None)
    if not callable(function):
        have = ", ".join(sorted(name for name, value in vars(module).items() if callable(value))) or "none"
        raise InputError(f"corpus.name={corpus.name!r} is no function of {corpus.path!r}. It has {have}.")
    yield from _of_python(corpus, function)


def _of_python(corpus: Corpus, given: Given) -> Iterator[Document]:
    """Documents from Python, checked."""
    if not callable(given) and (isinstance(given, str | bytes) or not isinstance(given, Iterable)):
        raise InputError(f"documents={given!r:.80} must be an iterable of texts. Give [text], or a function.")
    if isinstance(given, Iterator):
        raise InputError(
            f"documents={given!r:.80} can be gone through only once, and a corpus is read more often. Give a list, or "
            "a function without arguments that begins anew."
        )
    for index, one in enumerate(given() if callable(given) else given):
        document = Document(f"{corpus.name or 'documents'}/{index}", one) if isinstance(one, str) else one
        if isinstance(document, tuple) and len(document) == 2:
            document = Document(*document)
        if not (isinstance(document, Document) and isinstance(document.name, str) and isinstance(document.text, str)):
            raise InputError(
                f"documents: number {index} is {one!r:.80}. Give texts, (name, text) pairs or jaxscale.data.Document."
            )
        # Half of a surrogate pair is no character.
        yield dataclasses.replace(document, text=document.text.encode("utf-8", "replace").decode())


def tfds(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """A TensorFlow Datasets text feature, from a prepared dataset in `corpus.path` (or TFDS's own data_dir).

    ArrayRecord datasets are read without TensorFlow, by random access; others need TensorFlow installed.
    """
    del count
    datasets = _optional("tensorflow_datasets", "tfds")
    try:
        builder = datasets.builder(corpus.name, data_dir=corpus.path or None)
    except datasets.core.DatasetNotFoundError:
        raise InputError(
            f"corpus.name={corpus.name!r}: no such TFDS dataset below corpus.path={corpus.path!r}. "
            "Give the data_dir in which it was prepared, or a name from the TFDS catalog."
        ) from None
    if corpus.split not in builder.info.splits:
        have = ", ".join(builder.info.splits) or "none: prepare the dataset first"
        raise InputError(f"corpus.split={corpus.split!r} is not a split of {corpus.name!r}. It has {have}.")
    if corpus.text_field not in builder.info.features:
        raise _no_field(corpus, builder.info.features)
    if builder.info.file_format == datasets.core.FileFormat.ARRAY_RECORD:
        source = builder.as_data_source(split=corpus.split)
        examples = (source[i] for i in range(len(source)))
    else:
        examples = datasets.as_numpy(builder.as_dataset(split=corpus.split, shuffle_files=False))
    with _told(corpus, lambda: str(builder.data_path)):
        yield from _of_examples(corpus, examples, skip)


def hf(corpus: Corpus, skip: Skip, count: Count) -> Iterator[Document]:
    """A Hugging Face dataset, streamed. `corpus.path` is its data file or folder where the builder wants one.

    Of the builder `text` a document is a file, as of `files`, and not a line.
    """
    del count
    if "[" in corpus.split:
        raise InputError(
            f"corpus.split={corpus.split!r} is a slice, and a stream has none. Give the split's name, and "
            "corpus.max_documents to read only the first of its documents."
        )
    datasets = _optional("datasets", "hf")
    how = {
        "path": corpus.name,
        "name": corpus.subset or None,
        "data_files": {corpus.split: corpus.path} if corpus.path else None,
    } | ({"sample_by": "document"} if corpus.name == "text" else {})
    with _told(corpus, lambda: corpus.path or corpus.name):
        stream = datasets.load_dataset(**how, split=corpus.split, streaming=True)
    shards = stream.num_shards

    def file_of(shard: int) -> str:
        files = (datasets.load_dataset_builder(**how).config.data_files or {}).get(corpus.split, ())
        return str(files[shard]) if len(files) == shards else f"shard {shard} of {shards} of {corpus.split!r}"

    def examples() -> Iterator[Mapping[str, Any]]:
        for shard in range(shards):
            with _told(corpus, functools.partial(file_of, shard)):
                yield from stream.shard(shards, shard)

    yield from _of_examples(corpus, examples(), skip)


@contextlib.contextmanager
def _told(corpus: Corpus, where: Callable[[], str]) -> Iterator[None]:
    """Tells errors of the libraries that read datasets, which are of many types, as bad input in the file `where()`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        also = ", or read it with corpus.kind='files', which takes records of any types" * (corpus.name == "json")
        raise InputError(
            f"corpus.name={corpus.name!r}: {where()!r} cannot be read as a dataset: {said}. "
            f"Check name, path, subset, split and network; mend a file that is damaged{also}."
        ) from error


def _of_examples(corpus: Corpus, examples: Iterable[Mapping[str, Any]], skip: Skip) -> Iterator[Document]:
    for index, example in enumerate(examples):
        name = f"{corpus.name}/{corpus.split}/{index}"
        if corpus.text_field not in example:
            raise _no_field(corpus, example)
        text = example[corpus.text_field]
        if text is None:
            text = ""  # a missing text is an empty document
        if isinstance(text, bytes) and (text := _utf8(corpus, name, text, skip)) is None:
            continue
        if not isinstance(text, str):
            raise InputError(
                f"corpus.text_field={corpus.text_field!r} of {corpus.name!r} is not text. Name a field that is."
            )
        # Half of a surrogate pair, which JSON may hold, is no character.
        yield Document(name, text.encode("utf-8", "replace").decode())


def _utf8(corpus: Corpus, name: str, data: bytes, skip: Skip) -> str | None:
    """Bytes of a dataset as text; None if they were skipped."""
    try:
        return data.decode(errors="replace" if corpus.undecodable == "replace" else "strict")
    except UnicodeDecodeError as error:
        if corpus.undecodable == "error":
            raise InputError(
                f"corpus.text_field={corpus.text_field!r} of {name!r} is not UTF-8: byte {data[error.start]:#04x} at "
                f"offset {error.start}. Set corpus.undecodable to 'replace' or 'skip'."
            ) from None
        skip("not UTF-8", name)
        return None


def _no_field(corpus: Corpus, fields: Iterable[str]) -> InputError:
    return InputError(
        f"corpus.text_field={corpus.text_field!r} is not a feature of {corpus.name!r}. "
        f"It has {', '.join(sorted(fields))}."
    )


def _optional(module: str, extra: str) -> ModuleType:
    try:
        return __import__(module)
    except ImportError:
        raise InputError(
            f"corpus.kind={extra!r} needs the package {module!r}. Install it with: pip install 'jaxscale[{extra}]'."
        ) from None


SOURCES: dict[str, Callable[[Corpus, Skip, Count], Iterator[Document]]] = {
    "stdlib": stdlib,
    "docstrings": docstrings,
    "reference": reference,
    "grammar": grammar,
    "installed": installed,
    "files": files,
    "tfds": tfds,
    "hf": hf,
    "python": python,
}
