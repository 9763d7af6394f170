"""Watches a program that runs: reads what it writes, ends it when it uses too much, and kills what it leaves behind."""

import collections
import contextlib
import ctypes
import os
import re
import select
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from babel_jax.suites.sandbox.bounds import Limits, SandboxError

GRACE_SECONDS = 10  # a killed program is gone by then, or the sandbox has failed
WATCHED_PLACES, WATCHED_BYTES = 20, 500  # what `watch_for` keeps of output that is left out: how often, how much each


class Stream:
    """What a program wrote to one pipe: all is read, which `Limits.output_kill_bytes` bounds, and parts are kept."""

    def __init__(self, file, keep: int):
        self.file, self.keep, self.size = file.fileno(), keep, 0
        self.pieces = []
        os.set_blocking(self.file, False)

    def drain(self) -> bool:
        """Reads what is there, at most 64 pieces of 64 KiB; false at the end of the stream."""
        for _ in range(64):
            try:
                piece = os.read(self.file, 1 << 16)
            except BlockingIOError:
                return True
            if not piece:
                return False
            self.size += len(piece)
            self.pieces.append(piece)
        return True

    def kept(self, watch_for: Sequence[str] = ()) -> bytes:
        """The first and the last half of `keep` bytes; of what lies between, the last places that each pattern finds."""
        content = b"".join(self.pieces)
        first, last = self.keep // 2, len(content) - (self.keep - self.keep // 2)
        if last <= first:
            return content
        kept, near = [(0, first)], (max(first - WATCHED_BYTES, 0), last + WATCHED_BYTES)  # it may lie across an edge
        places = []
        for pattern in watch_for:
            matches = re.compile(pattern.encode(), re.MULTILINE).finditer(content, *near)
            between = (match.span() for match in matches if match.end() > first and match.start() < last)
            places += collections.deque(between, WATCHED_PLACES)
        for start, end in sorted(places):
            start, end = max(start, kept[-1][1]), min(max(end, start + WATCHED_BYTES), last)
            if start < end:
                kept.append((start, end))
        parts, end = [], 0
        for start, stop in (*kept, (last, len(content))):
            if start > end:
                parts.append(b"\n[... %d bytes left out ...]\n" % (start - end))
            parts.append(content[start:stop])
            end = max(end, stop)
        return b"".join(parts)


def watch(pid: int, out: Stream, error: Stream, limits: Limits, start: float, namespace: bool) -> str:
    """Reads both streams until the process has ended, and ends it when it uses too much; returns what ended it."""
    streams = {out.file: out, error.file: error}
    ended_by, deadline = "itself", start + limits.wall_seconds
    with open(os.pidfd_open(pid), "rb", buffering=0) as process:
        poll = select.poll()
        for file in (process.fileno(), *streams):
            poll.register(file, select.POLLIN)
        while True:
            for file, _ in poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                if file == process.fileno():
                    return ended_by
                if not streams[file].drain():
                    poll.unregister(file)
            late = time.monotonic() >= deadline
            if late and ended_by != "itself":
                raise SandboxError(f"a program did not end within {GRACE_SECONDS} seconds of being killed.")
            if ended_by == "itself" and (late or out.size + error.size > limits.output_kill_bytes):
                ended_by, deadline = "wall" if late else "output", time.monotonic() + GRACE_SECONDS
                kill(pid, namespace)


def kill(pid: int, namespace: bool) -> None:
    """Kills a process; or a namespace through its first one, a child of `pid`, so that `pid` ends when all have."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if namespace else ()
    except FileNotFoundError:  # not every kernel has it; the namespace dies with its parent, if a little later
        children = ()
    for child in children or (pid,):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def reap(process) -> tuple[int, object]:
    """(exit status, resources used) of a `Popen` that ends."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def processes_of(uid: int) -> dict[int, bool]:
    """The processes of a user, and whether they live: what has ended counts against limits until its parent has seen it."""
    lives = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path("/proc", name, "status").read_text()
            if f"\nUid:\t{uid}\t" in status and "\nState:\tX" not in status:
                lives[int(name)] = "\nState:\tZ" not in status
    return lives


def threads(pid: int) -> int:
    """How many threads a process has; 0 where it has ended."""
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def kill_all(uid: int | None, session: int, mark: bytes) -> None:
    """Kills what a program left where there is no namespace: all of its own user, or else of its session or its mark."""
    deadline, seen = time.monotonic() + GRACE_SECONDS, set()
    looks = 1 if uid is not None else 3  # one that just becomes another program has no environment for a moment
    while True:
        left = processes_of(os.geteuid() if uid is None else uid)
        if uid is None:
            left = {pid: lives for pid, lives in left.items() if pid in seen or _belongs(pid, session, mark)}
        looks -= not left
        if not looks:
            return
        if time.monotonic() > deadline:
            raise SandboxError(f"processes of a program could not be killed: {sorted(left)}")
        seen |= left.keys()
        for pid, lives in left.items():
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if lives:
                    os.kill(pid, signal.SIGKILL)
                else:
                    os.waitpid(pid, os.WNOHANG)
        time.sleep(0.001)


def adopt_orphans() -> None:
    """From now on orphans below this process become its children, not the first process's, which may wait for them late
    or never (in a container): until then they count against a user's limit of processes."""
    PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _belongs(pid: int, session: int, mark: bytes) -> bool:
    try:
        return os.getsid(pid) == session or mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return False
    except PermissionError:  # one that hides itself (prctl), as none of its user's other processes does by this mark
        return False
