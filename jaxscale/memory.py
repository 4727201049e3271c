"""Huge pages for what a processor computes with, and memory that one training step leaves to the next.

A step allocates tens of megabytes and gives them back. In pages of four kilobytes the system hands out, and clears,
tens of thousands of them each time: a seventh of a small decoder's step. Huge pages spare most of that, while there are
any; keeping the memory spares the rest. glibc does either if asked before a process starts, and only then.
"""

import os
import pathlib
import sys

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
