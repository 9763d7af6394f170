"""A sandbox under test: what a level needs, programs of Python in it, and what of them is still alive."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import pytest

from babel_jax.suites.sandbox import Finished, levels
from helpers.remote import PYTHON, QUICK

needs_python = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"Python: there is no {PYTHON} to run attacks with")
NAMESPACES = ("bubblewrap", "unshare")


def need(level: str) -> None:
    """Skips where this machine lacks what a level is made of; a level that fails all the same is a failure of ours."""
    missing = [tool for tool in levels.tools(level) if levels.find_tool(tool) is None]
    if missing:
        pytest.skip(f"{level}: {', '.join(missing)} not installed")
    if level != "rlimits" and subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
        pytest.skip(f"{level}: user namespaces are switched off")


def attack(opened, source: str, *arguments, limits=QUICK, **words) -> Finished:
    return opened.run([PYTHON, "-I", "-S", "-c", source, *map(str, arguments)], limits=limits, **words)


def printed(finished: Finished) -> str:
    assert finished.status == 0, finished
    return finished.stdout.decode().strip()


def alive(word: str) -> list[int]:
    """Processes of this machine with this word among their arguments."""
    pids = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if word.encode() in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                pids.append(int(name))
    return pids


def gone(word: str, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(word) or time.sleep(0.02) for _ in range(5)):  # one look misses what forks meanwhile
        if time.monotonic() >= deadline:
            return False
    return True
