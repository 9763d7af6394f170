"""What this machine offers, and when its processes end."""

import os
import threading


def cores() -> int:
    """CPU cores that this process may use: fewer than there are, in many containers and jobs."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def die_with(parent) -> None:
    """Ends this process when `parent` (what `multiprocessing.parent_process()` gives) does, however that came to its end."""
    threading.Thread(target=_await_and_exit, args=(parent,), daemon=True).start()


def _await_and_exit(parent):
    parent.join()
    os._exit(1)
