"""Named text sources: what `config.Corpus` names, as an iterator of documents.

    for document in documents(config.Corpus(kind="files", path="books/")):
        print(document.name, len(document.text))

Four need no download: Python's own standard library as code, the prose of its docstrings, the language reference, and
strings of a random grammar. Others are local files, TensorFlow Datasets, Hugging Face.
"""

import ast
import dataclasses
import glob
import itertools
import pathlib
import string
import sysconfig

import numpy as np

from jaxscale.errors import InputError


@dataclasses.dataclass(frozen=True)
class Document:
    """A piece of text that is never split between training and evaluation."""

    name: str
    text: str


def documents(corpus):
    """Documents of a `config.Corpus`, in an order that is the same every time.

    Raises:
      InputError: the folder or dataset is missing or empty, bytes are not text, or an optional package is needed.
    """
    found = SOURCES[corpus.kind](corpus)
    return itertools.islice(found, corpus.max_documents)


def stdlib(corpus):
    """Python source of the running interpreter's standard library, without its tests (not every install has them)."""
    del corpus
    root = pathlib.Path(sysconfig.get_paths()["stdlib"])
    left_out = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not left_out.intersection(name.parts):
            # A handful of files declare another encoding; as UTF-8 they are not text.
            yield from _decoded(path, name.as_posix(), undecodable="skip")


def docstrings(corpus):
    """Prose: the docstrings of each module of the standard library, without its code."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for document in stdlib(corpus):
        nodes = [node for node in ast.walk(ast.parse(document.text)) if isinstance(node, kinds)]
        if said := [text for node in nodes if (text := ast.get_docstring(node))]:
            yield Document(document.name, "\n\n".join(said))


def reference(corpus):
    """Reference text: the language reference that `help()` of the running interpreter prints, a document a topic."""
    from pydoc_data.topics import topics

    del corpus
    for name in sorted(topics):
        yield Document(name, topics[name])


def grammar(corpus):
    """Strings of one random grammar: 2000 documents of 16 sentences, 64 letters each, drawn with `corpus.seed`.

    A random hierarchy model (Cagnetta et al., arXiv 2307.02129): from the root down six levels every symbol is replaced
    by one of its four pairs of symbols, all pairs of a level distinct, uniformly; each level has 16 symbols.
    """
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


def files(corpus):
    """Local text files: every file below the folder `corpus.path` but hidden ones, or every file its glob matches."""
    root = pathlib.Path(corpus.path)
    hidden = lambda path: any(part.startswith(".") for part in path.relative_to(root).parts)
    if root.is_dir():
        paths = sorted(p for p in root.rglob("*") if p.is_file() and not hidden(p))
    elif root.is_file():
        paths = [root]
    elif glob.has_magic(corpus.path):
        paths = sorted(p for p in map(pathlib.Path, glob.glob(corpus.path, recursive=True)) if p.is_file())
    else:
        raise InputError(
            f"corpus.path={corpus.path!r}: no such folder. Give an existing folder, or a glob such as 'books/**/*.txt'."
        )
    if not paths:
        raise InputError(f"corpus.path={corpus.path!r} holds no files. Give a folder or a glob with text files in it.")
    for path in paths:
        yield from _decoded(path, path.as_posix(), corpus.undecodable)


def _decoded(path, name, undecodable):
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"corpus file {str(path)!r} cannot be read: {error.strerror}. Mend it, or leave it out."
        ) from None
    try:
        yield Document(name, data.decode())
    except UnicodeDecodeError as error:
        if undecodable == "error":
            raise InputError(
                f"corpus file {str(path)!r} is not UTF-8: byte {data[error.start]:#04x} at offset {error.start}. "
                "Convert it, or set corpus.undecodable to 'replace' or 'skip'."
            ) from None
        if undecodable == "replace":
            yield Document(name, data.decode(errors="replace"))


def tfds(corpus):
    """A TensorFlow Datasets text feature, from a prepared dataset in `corpus.path` (or TFDS's own data_dir).

    ArrayRecord datasets are read without TensorFlow, by random access; others need TensorFlow installed.
    """
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
    for index, example in enumerate(examples):
        text = example[corpus.text_field]
        yield Document(f"{corpus.name}/{corpus.split}/{index}", text.decode() if isinstance(text, bytes) else str(text))


def hf(corpus):
    """A Hugging Face dataset, streamed. `corpus.path` is its data file or folder where the builder wants one."""
    datasets = _optional("datasets", "hf")
    data_files = {corpus.split: corpus.path} if corpus.path else None
    try:
        stream = datasets.load_dataset(
            corpus.name, corpus.subset or None, data_files=data_files, split=corpus.split, streaming=True
        )
    except (FileNotFoundError, ConnectionError, ValueError) as error:
        raise InputError(
            f"corpus.name={corpus.name!r} cannot be read as a Hugging Face dataset: {error}. "
            "Check the name, subset, split and the network."
        ) from None
    for index, example in enumerate(stream):
        if corpus.text_field not in example:
            raise _no_field(corpus, example)
        text = example[corpus.text_field] or ""  # a missing text is an empty document
        if not isinstance(text, str):
            raise InputError(
                f"corpus.text_field={corpus.text_field!r} of {corpus.name!r} is not text. Name a field that is."
            )
        # Half of a surrogate pair, which JSON may hold, is no character.
        yield Document(f"{corpus.name}/{corpus.split}/{index}", text.encode("utf-8", "replace").decode())


def _no_field(corpus, fields):
    return InputError(
        f"corpus.text_field={corpus.text_field!r} is not a feature of {corpus.name!r}. "
        f"It has {', '.join(sorted(fields))}."
    )


def _optional(module, extra):
    try:
        return __import__(module)
    except ImportError:
        raise InputError(
            f"corpus.kind={extra!r} needs the package {module!r}. Install it with: pip install 'jaxscale[{extra}]'."
        ) from None


SOURCES = {
    "stdlib": stdlib,
    "docstrings": docstrings,
    "reference": reference,
    "grammar": grammar,
    "files": files,
    "tfds": tfds,
    "hf": hf,
}
