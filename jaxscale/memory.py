"""Huge pages for a processor, memory that one step leaves to the next, and a device that has too little of it.

A step allocates tens of megabytes and gives them back. In pages of four kilobytes the system hands out, and clears,
tens of thousands of them each time: a seventh of a small decoder's step. Huge pages spare most of that, while there are
any; keeping the memory spares the rest. glibc does either if asked before a process starts, and only then.
"""

import contextlib
import os
import pathlib
import re
import sys
from collections.abc import Iterator

from jaxscale.errors import RunError

TUNABLE = "glibc.malloc.hugetlb"
SYSTEM = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


# One heap, whatever the thread and the size; of what is freed up to 16 GiB stay with the process.
KEEP = "glibc.malloc.arena_max=1:glibc.malloc.mmap_threshold=4294967296:glibc.malloc.trim_threshold=17179869184"


def use_huge_pages(keep: bool = False) -> None:
    """Starts this process anew, with the same arguments, so that it allocates huge pages; nothing if it does already.

    With `keep` it also keeps what it frees, for a process that does the same again and again.

    Nothing either where the system gives them to all or to none, or has none. Set GLIBC_TUNABLES=glibc.malloc.hugetlb=0
    to do without.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if TUNABLE in tunables or not SYSTEM.is_file() or "[madvise]" not in SYSTEM.read_text():
        return
    os.environ["GLIBC_TUNABLES"] = ":".join(filter(None, (tunables, f"{TUNABLE}=1", KEEP if keep else "")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


# What XLA and PyTorch say of a device: RESOURCE_EXHAUSTED alone is also what a file system answers.
OUT_OF_MEMORY = re.compile(r"out[ _]of[ _]memory|RESOURCE_EXHAUSTED.*(allocat|memory|hbm)", re.I | re.S)


@contextlib.contextmanager
def out_of_memory_told(remedy: str) -> Iterator[None]:
    """Turns a device's way of saying that its memory does not suffice into a RunError with the remedy, a sentence."""
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, RunError) or not OUT_OF_MEMORY.search(str(error)):
            raise
        first = str(error).strip().split("\n")[0].removeprefix("RESOURCE_EXHAUSTED: ")[:200].rstrip(". ")
        raise RunError(f"the memory of a device does not suffice: {first}. {remedy}") from error
