"""A sandbox as a whole: what right programs use works, what cannot start is reported, nothing piles up."""

import os
import subprocess
import threading
from pathlib import Path

import pytest
from helpers.sandboxes import attack, gone, needs_python, printed

from babel_jax.common.errors import UserError
from babel_jax.suites.sandbox import (
    SandboxError,
    control_groups,
)

pytestmark = [pytest.mark.processes, needs_python]


def test_standard_input_is_empty(opened):
    assert printed(attack(opened, "import sys; print(repr(sys.stdin.read()))")) == "''"


RIGHT = """
import asyncio, concurrent.futures, ctypes, fcntl, multiprocessing, os, select, socket, subprocess, tempfile, threading
def square(x): return x * x
async def later():
    process = await asyncio.create_subprocess_exec("true")
    return await asyncio.gather(asyncio.sleep(0, 1), process.wait())
if __name__ == "__main__":
    with multiprocessing.Pool(2) as pool: print(pool.map(square, [1, 2]), end=" ")
    with concurrent.futures.ProcessPoolExecutor(2) as pool: print(list(pool.map(square, [3])), end=" ")
    print(asyncio.run(later()), end=" ")
    queue = multiprocessing.Queue(); queue.put(4); print(queue.get(), end=" ")
    with tempfile.TemporaryFile() as file: file.write(b"x"); fcntl.flock(file, fcntl.LOCK_EX)
    left, right = socket.socketpair(); left.send(b"5"); print(right.recv(1), end=" ")
    thread = threading.Thread(target=print, args=(6,)); thread.start(); thread.join()
    print(subprocess.run("echo 7 | cat", shell=True, capture_output=True, text=True).stdout, end="")
"""


def test_what_right_programs_use(opened):
    assert printed(attack(opened, RIGHT)) == "[1, 4] [9] [1, 0] 4 b'5' 6\n7"


def test_what_cannot_start_is_an_error_of_the_sandbox(here, tmp_path):
    with pytest.raises(SandboxError, match="cannot start"):
        here.run(["/usr/bin/there_is_no_such_program"])
    with pytest.raises(UserError, match="is not there"):
        here.run(["true"], directories={"code": tmp_path / "missing"})
    assert here.run(["sh", "-c", "echo 'prlimit: failed to execute'; exit 127"]).status == 127


def test_slots_run_programs_side_by_side(here):
    by_slot = {}

    def work(slot):
        by_slot[slot] = [
            printed(attack(here, "import sys; print(sys.argv[1])", slot * 100 + i, slot=slot)) for i in range(5)
        ]

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert by_slot == {slot: [str(slot * 100 + i) for i in range(5)] for slot in range(4)}


def leftovers(directory) -> dict:
    """What may pile up: children not waited for, open files, temporary files, control groups."""
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    groups = [place for places in control_groups.group_places() for place in places[1].glob("babel_jax_sandbox_*")]
    return {
        "children": len(children),
        "files": len(os.listdir("/proc/self/fd")),
        "temporary": os.listdir(directory),
        "groups": len({group for group in groups if directory.name in group.name}),
    }


def test_nothing_piles_up(here):
    source = "import os, time\nif os.fork() == 0: os.setsid(); time.sleep(60)"
    assert here.run(["true"]).status == 0
    before = leftovers(here._directory)
    for _ in range(20):
        assert attack(here, source, f"piles.up.{os.getpid()}").status == 0
    assert leftovers(here._directory) == before and gone(f"piles.up.{os.getpid()}", 0)
    here.close()
    assert not here._directory.exists() and not [
        group for _, place in control_groups.group_places() for group in place.glob(f"{here._directory.name}*")
    ]


def test_a_sandbox_that_vanishes_leaves_no_files_open(here, monkeypatch):
    before = len(os.listdir("/proc/self/fd"))

    start = subprocess.Popen

    def vanished(command, **words):
        if command[0] != "rm":
            raise FileNotFoundError(2, "No such file or directory")
        return start(command, **words)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", vanished)
        with pytest.raises(SandboxError, match="cannot start .*: No such file"):
            here.run(["true"])
    assert len(os.listdir("/proc/self/fd")) == before
    assert here.run(["true"]).status == 0
