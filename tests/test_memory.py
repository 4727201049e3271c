"""Huge pages where the system gives them on request; a device whose memory does not suffice, told as such."""

import subprocess
import sys

import jax.numpy as jnp
import pytest

from jaxscale import memory
from jaxscale.errors import RunError

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


def test_a_device_out_of_memory_is_told_with_the_remedy():
    # More than a process can address.
    told = pytest.raises(RunError, match=r"memory of a device does not suffice: .*[Oo]ut of memory.* Take less\.$")
    with told, memory.out_of_memory_told("Take less."):
        jnp.zeros(2**49, jnp.uint8).block_until_ready()


@pytest.mark.parametrize(
    ("says", "told"),
    [
        ("RESOURCE_EXHAUSTED: Error allocating device buffer: Attempting to allocate 1.00G.", True),
        ("RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 40.5G of 15.75G hbm.", True),
        ("INTERNAL: CUDA_ERROR_OUT_OF_MEMORY: out of memory", True),
        ("RESOURCE_EXHAUSTED: Error writing local file: Failed to write 9539 bytes: No space left on device", False),
        ("UNAVAILABLE: connection reset", False),
    ],
)
def test_of_errors_of_a_device_only_those_of_its_memory_are_told_so(says, told):
    with pytest.raises(RunError if told else RuntimeError) as raised, memory.out_of_memory_told("Take less."):
        raise RuntimeError(says)
    assert isinstance(raised.value, RunError) == told
