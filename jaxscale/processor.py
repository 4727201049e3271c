"""The processor of this host."""

import os


def cores() -> int:
    """Cores that this process may use, which can be fewer than there are: a job may have been given some."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
