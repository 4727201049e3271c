"""The source distribution holds the whole project: its tests, configs and launchers run from where it is unpacked."""

import os
import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

pytest.importorskip("setuptools", minversion="77", reason="needs setuptools 77: pip install -e '.[dev]'")

ROOT = pathlib.Path(__file__).parents[1]
FOLDERS = (".ci", "benchmarks", "configs", "docs", "jaxscale", "launch", "tests")


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The project as its source distribution has it, built from a copy: building writes beside the sources."""
    copy, out = tmp_path_factory.mktemp("copy") / "jaxscale", tmp_path_factory.mktemp("out")
    ignored = shutil.ignore_patterns(".*_cache", ".venv*", ".git", ".hypothesis", "*.egg-info", "runs", "build", "dist")
    shutil.copytree(ROOT, copy, ignore=ignored)
    build = "import setuptools.build_meta, sys; setuptools.build_meta.build_sdist(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(out)], cwd=copy, check=True, capture_output=True)
    (archive,) = out.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(out, filter="data")
    return next(path for path in out.iterdir() if path.is_dir())


def files_of(root):
    return {
        str(path.relative_to(root))
        for folder in FOLDERS
        for path in (root / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_no_file_of_the_project_is_left_out(unpacked):
    assert files_of(unpacked) == files_of(ROOT)
    assert all((unpacked / name).is_file() for name in ("Makefile", "requirements.lock", "requirements-dev.lock"))


@pytest.mark.slow  # the files are those collected here
def test_pytest_collects_every_test_of_it(unpacked):
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[-2000:]
    assert "error" not in result.stdout.splitlines()[-1]


def test_the_wheel_says_that_it_is_typed(unpacked, tmp_path):
    build = "import setuptools.build_meta, sys; setuptools.build_meta.build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=unpacked, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert "jaxscale/py.typed" in zipfile.ZipFile(wheel).namelist()
