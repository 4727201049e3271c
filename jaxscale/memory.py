"""Huge pages for what a processor computes with.

A step allocates tens of megabytes and gives them back. In pages of four kilobytes the system hands out, and clears,
tens of thousands of them each time: a seventh of a small decoder's step. glibc takes huge pages if asked before a
process starts, and only then.
"""

import os
import pathlib
import sys

TUNABLE = "glibc.malloc.hugetlb"
SYSTEM = pathlib.Path("/sys/kernel/mm/transparent_hugepage/enabled")


def use_huge_pages() -> None:
    """Starts this process anew, with the same arguments, so that it allocates huge pages; nothing if it does already.

    Nothing either where the system gives them to all or to none, or has none. Set GLIBC_TUNABLES=glibc.malloc.hugetlb=0
    to do without.
    """
    tunables = os.environ.get("GLIBC_TUNABLES", "")
    if TUNABLE in tunables or not SYSTEM.is_file() or "[madvise]" not in SYSTEM.read_text():
        return
    os.environ["GLIBC_TUNABLES"] = f"{tunables}:{TUNABLE}=1".lstrip(":")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
