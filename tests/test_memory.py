"""The command runs on huge pages where the system gives them on request, with the arguments it was given."""

import subprocess
import sys

import pytest

from jaxscale import memory

PROGRAM = """
import os, sys
from jaxscale.memory import use_huge_pages
use_huge_pages(keep="--keep" in sys.argv)
print(os.getpid(), os.environ["GLIBC_TUNABLES"], sys.argv[1:], sys.flags.optimize)
"""


@pytest.mark.skipif(
    not memory.SYSTEM.is_file() or "[madvise]" not in memory.SYSTEM.read_text(), reason="huge pages are not on request"
)
def test_a_process_starts_anew_once_as_the_same_one():
    for flag, kept in (("--c", ""), ("--keep", f":{memory.KEEP}")):
        command = [sys.executable, "-O", "-c", PROGRAM, "a b", flag]
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE)
        out, _ = process.communicate(timeout=60)
        assert out == f"{process.pid} glibc.malloc.hugetlb=1{kept} ['a b', '{flag}'] 1\n"


def test_a_choice_that_was_made_is_left_alone(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=0")
    monkeypatch.setattr(memory.os, "execv", lambda *_: pytest.fail("started anew"))
    memory.use_huge_pages()
