"""Examples as they stand in pages and docstrings, with the line each begins at."""

import ast
import builtins
import dataclasses
import functools
import inspect
import pathlib
import re
import textwrap
import types

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
FENCE = re.compile(r"^( *)```(.*)$")
NOT_RUN = re.compile(r"<!-- not run: (.+) -->$")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    `not_run` is the reason that a comment before the block gives for not running it; None if there is none.
    """

    page: str
    line: int
    language: str
    text: str
    not_run: str | None

    @property
    def end(self):
        """The line of the closing fence."""
        return self.line + self.text.count("\n") + 1

    def __str__(self):
        return f"{self.page}:{self.line}"


def blocks(page):
    """The fenced blocks of a page, in order."""
    found, inside = [], None
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        fence = FENCE.match(line)
        if fence and inside is None:
            inside = number
        elif fence:
            reason = NOT_RUN.match(lines[inside - 2].strip()) if inside > 1 else None
            text = textwrap.dedent("\n".join(lines[inside : number - 1])) + "\n"
            language = FENCE.match(lines[inside - 1])[2]
            name = str(page.relative_to(ROOT))
            found.append(Block(name, inside, language, text, reason and reason[1]))
            inside = None
    assert inside is None, f"{page}:{inside}: a fence is not closed"
    return found


@dataclasses.dataclass(frozen=True)
class Docstring:
    """The paragraphs of Python in a docstring, those that call something or import something."""

    module: str
    of: str
    path: str
    line: int
    text: str

    def __str__(self):
        return f"{self.module}.{self.of}".rstrip(".")

    @property
    def code(self):
        return compile("\n" * (self.line - 1) + self.text, self.path, "exec")


@functools.cache
def docstrings(path):
    """(module or what the docstring is of, line, text) of every docstring of a file."""
    module, found = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"), []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            text = ast.get_docstring(node)
            if text:
                found.append((module, getattr(node, "name", ""), node.body[0].lineno, text))
    return found


def paragraphs(text):
    """(line within the text, paragraph without its indentation)."""
    line = 0
    for paragraph in text.split("\n\n"):
        yield line, textwrap.dedent(paragraph)
        line += paragraph.count("\n") + 2


def is_python(paragraph):
    """Whether it reads as Python that does something: prose does not parse, and words alone do nothing."""
    try:
        tree = ast.parse(paragraph)
    except SyntaxError:
        return False
    return any(isinstance(node, ast.Call | ast.Subscript | ast.Import | ast.ImportFrom) for node in ast.walk(tree))


def docstring_examples():
    """A `Docstring` for each docstring of the package that holds examples in Python."""
    for path in sorted(ROOT.glob("jaxscale/**/*.py")):
        for module, of, line, text in docstrings(path):
            code = [""] * (text.count("\n") + 1)
            for start, paragraph in paragraphs(text):
                if is_python(paragraph) and not paragraph.startswith(">>>"):
                    code[start : start + paragraph.count("\n") + 1] = paragraph.split("\n")
            if any(code):
                yield Docstring(module, of, str(path.relative_to(ROOT)), line, "\n".join(code))


def only_bound(function, returns=None):
    """Stands in for what takes long: a call must fit the signature."""

    def call(*arguments, **options):
        inspect.signature(function).bind(*arguments, **options)
        return returns

    return call


def check_names(text, names, elsewhere=""):
    """What can be seen of Python without running it: names are there, and calls fit the signatures of what they call.

    Imports are done. Names that the text or the text `elsewhere` binds stand for anything.
    """
    names, tree = dict(names), ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            exec(compile(ast.Module([node], []), "imports", "exec"), names)
    bound = {node.id for code in (tree, ast.parse(elsewhere)) for node in ast.walk(code) if is_bound(node)}
    bound |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    bound |= {node.asname or node.name for node in ast.walk(ast.parse(elsewhere)) if isinstance(node, ast.alias)}
    bound |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}

    def found(node):
        if isinstance(node, ast.Name) and node.id not in bound:
            return names[node.id] if node.id in names else getattr(builtins, node.id)
        if isinstance(node, ast.Attribute):
            around = found(node.value)
            if isinstance(around, types.ModuleType | type):
                return getattr(around, node.attr)
        return None

    for node in ast.walk(tree):
        found(node)
        if isinstance(node, ast.Call) and not any(isinstance(one, ast.Starred) for one in node.args):
            called = found(node.func)
            if inspect.isfunction(called) or (inspect.isclass(called) and dataclasses.is_dataclass(called)):
                options = {option.arg: None for option in node.keywords if option.arg}
                inspect.signature(called).bind_partial(*node.args, **options)


def is_bound(node):
    return isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
