"""What this machine offers."""

import os


def cores() -> int:
    """CPU cores that this process may use: fewer than there are, in many containers and jobs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
