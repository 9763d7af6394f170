"""Runs programs that nobody has read: no network, no files but their own, bounded in everything, gone afterwards.

Three levels; `open_sandbox` takes the strongest that works here, and refuses one below the level asked for.

bubblewrap: no network; own processes only; of the files /usr, what dynamic linking needs and the named directories, all
  read-only but /tmp (in memory, its size bounded) and `writes`; no namespaces inside. Nothing outlives the program.
unshare: the same, made with the commands of util-linux where there is no bubblewrap.
rlimits: bounds a program that is wrong, not one that is hostile. Its processes are killed afterwards and its working
  directory is removed, but it may do to files and (if not root starts it) processes what the user may. Bounded are time,
  output, memory and size of files; not how many files there are.

At all levels a program has a session keyring of its own and, where there is libseccomp, only harmless system calls
(`syscalls`): without it rlimits has the network, and other things are not held back. `promises` lists all of it.

Whoever is root gives each slot a user of its own, who owns nothing; else programs run as the user. At all levels, where
control groups can be written, memory and processes of the whole program are bounded by one; else memory by process.

Only compilers should get `writes`: what is in them afterwards is as untrusted as the program, and bounded by file only.
"""

import collections
import contextlib
import ctypes
import dataclasses
import fcntl
import math
import os
import platform
import re
import select
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from babel_jax.common.errors import UserError, one_line, unknown_name
from babel_jax.suites.sandbox import syscalls

LEVELS = ("bubblewrap", "unshare", "rlimits")  # strongest first
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
FIRST_UID, LAST_UID = 60600, 61183  # given out by no distribution: systemd, "Users, Groups, UIDs and GIDs"
PREFIX = "babel_jax_sandbox_"  # of a sandbox's folder
FRESH_SECONDS = 60  # so long after it was made a folder may not be held yet
GRACE_SECONDS = 10  # a killed program is gone by then, or the sandbox has failed
WATCHED_PLACES, WATCHED_BYTES = 20, 500  # what `watch_for` keeps of output that is left out: how often, how much each


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a program may use. Of one process: processor time, memory (address space) and the size of a file.

    Processor time is rounded up to whole seconds, in which the kernel counts it. Output beyond `output_kill_bytes` (both
    streams together) ends the program; of each stream the first and the last half of `output_bytes` are kept.
    """

    cpu_seconds: float = 10
    wall_seconds: float = 30
    memory_bytes: int = 1 << 30
    processes: int = 64
    file_bytes: int = 64 << 20
    tmp_bytes: int = 64 << 20
    output_bytes: int = 64 << 10
    output_kill_bytes: int = 8 << 20


@dataclasses.dataclass(frozen=True)
class Finished:
    """How a program ended: exit status, or -N for signal N; `ended_by`: itself, wall, cpu, output or memory.

    In a namespace an exit status above 128 cannot be told from a signal, and is given as one.
    """

    status: int
    ended_by: str
    stdout: bytes
    stderr: bytes
    wall_seconds: float
    cpu_seconds: float


@dataclasses.dataclass(frozen=True)
class Isolation:
    """What bounds the programs of a sandbox.

    Attributes:
      own_users: each slot has a user of its own; else programs run as the caller.
      groups: the controllers of its control groups, () where there are none: then `without_groups` says why.
      filter: of system calls, "" where there is none: then `without_filter` says why.
    """

    level: str
    own_users: bool
    groups: tuple[str, ...]
    filter: str
    without_groups: str = ""
    without_filter: str = ""


@dataclasses.dataclass(frozen=True)
class Writable:
    """A directory outside that a program may change."""

    place: Path


class SandboxError(Exception):
    """The sandbox itself failed, not the program in it."""


def available() -> dict[str, str]:
    """Each level and why it does not work here, in one line; "" where a program was really run in it."""
    return {level: _why_not(level) for level in LEVELS}


def open_sandbox(least: str = "bubblewrap", workers: int = 1) -> "Sandbox":
    """The strongest sandbox that works here, with `workers` slots for programs side by side; a context manager.

    Raises:
      UserError: unknown level; or nothing as strong as `least` works here (says why, and what to do).
    """
    if least not in LEVELS:
        raise unknown_name("sandbox level", least, LEVELS)
    refused = {}
    for level in LEVELS[: LEVELS.index(least) + 1]:
        refused[level] = _why_not(level)
        if not refused[level]:
            return Sandbox(level, workers)
    weaker = [level for level in LEVELS[len(refused) :] if not _why_not(level)]
    raise UserError(
        f"programs cannot be run in a sandbox of level {least} here ({'; '.join(': '.join(why) for why in refused.items())}). "
        "Install bubblewrap 0.8 or newer (apt-get install bubblewrap) where user namespaces are allowed"
        + (f", or ask for a weaker level by its name: {', '.join(weaker)}." if weaker else ".")
    )


def _why_not(level: str) -> str:
    missing = [tool for tool in _tools(level) if _tool(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found"
    try:
        with Sandbox(level, workers=1) as sandbox:
            finished = sandbox.run(["sh", "-c", "echo works"], limits=Limits(cpu_seconds=5, wall_seconds=20))
    except (SandboxError, UserError, OSError) as error:  # OSError: a kernel that lacks a call, a full disk
        return one_line(error)
    return "" if finished.stdout == b"works\n" else f"a program that prints one line ended so: {finished}"


def _tools(level: str) -> tuple[str, ...]:
    own = {"bubblewrap": ("bwrap",), "unshare": ("unshare", "mount", "setsid", "chroot"), "rlimits": ()}
    return (*own[level], "setpriv", "prlimit", "sh", "rm", "chmod")


def _tool(name: str) -> str | None:
    return shutil.which(name, path=f"{PATH}:{os.environ.get('PATH', '')}")


@dataclasses.dataclass
class _Slot:
    """What belongs to one program at a time: its user, if root starts it, its control groups, by controller, and the
    open file that bubblewrap reads the filter from."""

    index: int
    uid: int | None
    groups: dict[str, Path]
    filter: int | None
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


class Sandbox:
    """Runs programs at one level; made by `open_sandbox`. Threads may share it, each with a slot of its own."""

    def __init__(self, level: str, workers: int):
        self.level = level
        self._slots: list[_Slot] = []
        self._claims: list[socket.socket] = []
        self._without_groups = self._without_filter = ""
        _remove_abandoned()
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._directory.chmod(0o711)
        self._held = _hold(self._directory)
        try:
            self._filter = self._build_filter()
            if level == "rlimits":
                _adopt_orphans()
            elif level == "unshare":
                _make_root(self._directory / "root")
            own_users = _can_be_others()
            if own_users and level != "unshare" and not _others_reach(self._directory):
                raise UserError(
                    f"{self._directory.parent} is closed to other users; set TMPDIR to a folder that is not."
                )
            for index in range(workers):
                uid = self._claim_uid() if own_users else None
                self._slots.append(_Slot(index, uid, self._make_groups(index), self._filter_file()))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def describe(self) -> "Isolation":
        """What bounds the programs."""
        groups = self._slots[0].groups
        return Isolation(
            level=self.level,
            own_users=self._slots[0].uid is not None,
            groups=tuple(sorted(groups)),
            filter=f"libseccomp {self._filter.version}" if self._filter else "",
            without_groups="" if groups else self._without_groups,
            without_filter="" if self._filter else self._without_filter,
        )

    def close(self) -> None:
        """Removes what the sandbox made outside; programs that still run make this fail."""
        slots, self._slots = self._slots, []
        for slot in slots:
            if slot.filter is not None:
                os.close(slot.filter)
            for group in set(slot.groups.values()):
                _remove_group(group)
        for claim in self._claims:
            claim.close()
        remove_tree(self._directory)
        if self._held is not None:
            os.close(self._held)
            self._held = None

    def run(
        self,
        argv: Sequence[str],
        *,
        limits: Limits = Limits(),
        directories: Mapping[str, Path | Writable] = {},
        environment: Mapping[str, str] = {},
        slot: int = 0,
        watch_for: Sequence[str] = (),
    ) -> Finished:
        """Runs one program to its end, in an empty directory of its own, with nothing to read on stdin.

        Args:
          argv: the program and its arguments. Here and in the environment's values `{name}` of `directories` becomes the
            place of that directory, and `{tmp}` the working directory.
          directories: name -> directory outside that the program may read, or change if it is `Writable`. Root makes the
            former and the files in it readable to all, and gives the latter to the slot's user.
          environment: all there is besides PATH, HOME, TMPDIR and LANG.
          watch_for: regular expressions (re.MULTILINE); of the output that `Limits.output_bytes` leaves out, the last places
            where each of them is found are kept nevertheless.

        Raises:
          SandboxError: the program was not started, or could not be ended.
          UserError: a directory is not there or cannot be shown to the program.
        """
        if directories.keys() & {"tmp", "usr", "etc", "dev", "proc", "bin", "sbin", "lib", "lib32", "lib64", "libx32"}:
            raise ValueError(f"a directory cannot have the name of one of the system's: {sorted(directories)}")
        slot = self._slots[slot]
        with slot.lock, contextlib.ExitStack() as after:
            directories = self._directories(slot, directories)
            places, tmp = self._places(slot, directories, after)
            argv = [_placed(word, places) for word in argv]
            environment = {"PATH": PATH, "HOME": tmp, "TMPDIR": tmp, "LANG": "C.UTF-8"} | {
                name: _placed(value, places) for name, value in environment.items()
            }
            _set_groups(slot.groups, limits)
            prelude, shown = self._prelude(slot, directories)
            command = [*prelude, *self._wrapped(slot, shown, tmp, limits), *argv]
            finished = self._execute(slot, command, environment, limits, tmp, watch_for)
        if finished.status in (126, 127) and not self._can_start(argv[0], environment, places, directories):
            raise SandboxError(f"cannot start {argv[0]}: {finished.stderr.decode(errors='replace').strip()}")
        return finished

    @contextlib.contextmanager
    def reachable(self, directory):
        """`directory`, or, where programs run as other users and cannot be shown what lies below it (in root's home,
        without namespaces), one in its place that is removed at the end."""
        directory = Path(directory).absolute()
        directory.mkdir(parents=True, exist_ok=True)
        if self.level != "rlimits" or self._slots[0].uid is None or _others_reach(directory):
            yield directory
            return
        with self.folder("cache_") as place:
            place.chmod(0o755)
            yield place

    def folder(self, prefix: str) -> contextlib.AbstractContextManager[Path]:
        """A new folder for what programs read and write, which is removed afterwards, or else with the sandbox's own."""
        return temporary_folder(prefix, self._directory)

    def _directories(self, slot, directories) -> dict[str, tuple[Path, bool]]:
        """Name -> (directory outside, whether the program may change it), with permissions that let the slot's user in."""
        found = {}
        for name, directory in directories.items():
            writable = isinstance(directory, Writable)
            place = Path(directory.place if writable else directory).resolve()
            if not place.is_dir():
                raise UserError(f"{place} is not there, and a program was to be run with it; make it again.")
            if slot.uid is not None and writable:
                os.chown(place, slot.uid, slot.uid)
            elif slot.uid is not None:
                _let_others_read(place)
            found[name] = (place, writable)
        return found

    def _places(self, slot, directories, after) -> tuple[dict[str, str], str]:
        """Where the program finds its directories and the temporary one, which `after` removes where it is a real one."""
        if self.level == "rlimits":
            tmp = tempfile.mkdtemp(dir=self._directory)
            after.callback(remove_tree, tmp)
            if slot.uid is not None:
                os.chown(tmp, slot.uid, slot.uid)
                after.callback(_remove_new, slot.uid, _files_of(slot.uid))
            places = {name: str(directory) for name, (directory, _) in directories.items()}
        else:
            tmp, places = "/tmp", {name: f"/{name}" for name in directories}
        return places | {"tmp": tmp}, tmp

    def _prelude(self, slot, directories) -> tuple[list[str], dict]:
        """Words before the others, run as the caller, that enter the control groups; and where the directories are then.

        One below a directory that is closed to others (/root) gets a second place, seen only in the run's mount namespace.
        """
        lines = [f"echo $$ > {shlex.quote(str(group))}/cgroup.procs" for group in sorted(set(slot.groups.values()))]
        hidden = [name for name, (place, _) in directories.items() if slot.uid is not None and not _others_reach(place)]
        if hidden and self.level == "rlimits":
            raise UserError(
                f"{directories[hidden[0]][0]} cannot be reached by other users; keep it elsewhere, or install bubblewrap."
            )
        own_mounts = []
        if hidden and self.level == "bubblewrap":  # unshare mounts them as root anyway
            own_mounts, directories = ["unshare", "--mount", "--"], dict(directories)
            for name in hidden:
                place, writable = directories[name]
                point = self._directory / f"{slot.index}_{name}"
                point.mkdir(exist_ok=True)
                lines.append(f"mount --bind {shlex.quote(str(place))} {shlex.quote(str(point))}")
                directories[name] = (point, writable)
        if not lines:
            return [], directories
        return [*own_mounts, "sh", "-ec", "\n".join((*lines, 'exec "$@"')), "sh"], directories

    def _wrapped(self, slot, directories, tmp, limits) -> list[str]:
        """The words before a program that put it in the sandbox.

        Standard input is a pipe to us at first: a line through it says that all is set up and the program comes next. It
        also fails if we were killed before the sandbox had asked to be killed with us.
        """
        other = [] if slot.uid is None else ["--reuid", str(slot.uid), "--regid", str(slot.uid), "--clear-groups"]
        bounded = _prlimit(limits, self._processes(slot, limits))
        # The shell stays, as the first process of the namespace: it waits, so that the time of all is counted. It has a
        # capability more than the program, a useless one: so the program cannot get at its memory.
        first = 'cd /tmp; echo >&0 || exit; exec </dev/null 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?'
        shell = [*bounded, "sh", "-c", first, "sh"]
        if self.level == "bubblewrap":
            become = ["setpriv", *other, "--inh-caps=-all", "--"] if other else []
            powerless = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--"]
            return [*become, *_bubblewrap(directories, limits, slot.filter), *shell, *powerless]
        if self.level == "unshare":
            powerless = ["setpriv", *other, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
            user = [] if slot.uid is not None else ["unshare", "--user", "--map-root-user", "--"]
            root, table = self._directory / "root", self._directory / f"{slot.index}.fstab"
            table.write_bytes(os.fsencode(_table(root, directories, limits)))
            script = 'mount --all --fstab "$0" && exec setsid chroot "$@"'
            return [*user, *_unshare(), "sh", "-c", script, str(table), str(root), *shell, *powerless]
        go = f'cd {shlex.quote(tmp)} && echo >&0 && exec "$@" </dev/null'
        return ["sh", "-c", go, "sh", "setpriv", *other, "--pdeathsig", "KILL", "--no-new-privs", "--", *bounded]

    def _can_start(self, program, environment, places, directories) -> bool:
        """Whether a program is there to be started, asked after one that ended as if it were not."""
        for name, (directory, _) in directories.items():
            if program.startswith(f"{places[name]}/"):
                return os.access(directory / program[len(places[name]) + 1 :], os.X_OK)
        found = shutil.which(program, path=environment["PATH"])
        seen = "/" if self.level == "rlimits" else ("/usr/", "/bin/", "/sbin/", "/lib")
        return found is not None and found.startswith(seen)

    def _processes(self, slot, limits) -> int:
        """The value for RLIMIT_NPROC, which counts the user's, in a user namespace since Linux 5.14 only those in it."""
        version = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
        if slot.uid is not None or (self.level != "rlimits" and version >= (5, 14)):
            return limits.processes
        return limits.processes + sum(_threads(pid) for pid in _processes_of(os.geteuid()))

    def _execute(self, slot, command, environment, limits, tmp, watch_for) -> Finished:
        before = _killed_for_memory(slot.groups)
        mark = f"BABEL_JAX_PROGRAM={os.path.basename(tmp)}"
        if self.level == "rlimits":
            environment = environment | dict([mark.split("=")])
        start = time.monotonic()
        with contextlib.ExitStack() as pipes:
            started, tell = (
                pipes.enter_context(open(end, mode, buffering=0))
                for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)
            )
            # A keyring and a filter are a thread's, and are inherited. The thread lives as long as the sandbox needs its
            # parent: to the kernel that is the thread, and it kills the sandbox with it.
            thread = pipes.enter_context(ThreadPoolExecutor(1))
            try:
                process = thread.submit(self._start, slot, command, environment, tell).result()
            except OSError as error:
                raise SandboxError(f"the sandbox ({self.level}) cannot start {command[0]}: {error.strerror}") from error
            tell.close()
            pipes.enter_context(process.stdout), pipes.enter_context(process.stderr)
            out, error = _Stream(process.stdout, limits.output_bytes), _Stream(process.stderr, limits.output_bytes)
            namespace = self.level != "rlimits"
            try:
                ended_by = _watch(process.pid, out, error, limits, start, namespace)
                status, usage = _reap(process)
            except BaseException:
                started.close()  # what has not begun never will
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGSTOP)  # it makes no further process
                    _kill(process.pid, namespace)
                    os.kill(process.pid, signal.SIGKILL)
                    _reap(process)
                raise
            finally:
                if self.level == "rlimits":
                    _kill_all(slot.uid, process.pid, mark.encode())
            out.drain(), error.drain()
            if not started.read():
                why = error.kept().decode(errors="replace").strip() or f"not started in {limits.wall_seconds} seconds"
                raise SandboxError(f"the sandbox ({self.level}) failed: {why}")
        seconds = usage.ru_utime + usage.ru_stime
        if ended_by != "itself":
            status = -signal.SIGKILL
        elif self.level != "rlimits" and 128 < status <= 128 + signal.SIGRTMAX:
            status = 128 - status
        if ended_by == "itself" and status and _killed_for_memory(slot.groups) > before:
            ended_by = "memory"
        # the limit is counted in the ticks of a clock that found the program running: on a busy machine more than it ran
        elif ended_by == "itself" and status == -signal.SIGKILL and seconds >= 0.5 * math.ceil(limits.cpu_seconds):
            ended_by = "cpu"
        said = out.kept(watch_for), error.kept(watch_for)
        return Finished(status, ended_by, *said, time.monotonic() - start, seconds)

    def _start(self, slot, command, environment, stdin) -> subprocess.Popen:
        """Starts a command from a thread that is good for nothing else afterwards."""
        if slot.filter is not None:  # bubblewrap makes more calls itself, and loads the filter when it has made them
            os.lseek(slot.filter, 0, os.SEEK_SET)
        elsewhere = self.level == "bubblewrap" or self._filter is None
        syscalls.confine_thread(None if elsewhere else self._filter.program)
        return subprocess.Popen(
            command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=environment,
            start_new_session=True,
            pass_fds=() if slot.filter is None else (slot.filter,),
        )

    def _build_filter(self) -> syscalls.Filter | None:
        try:
            built = syscalls.build(self.level)
            with ThreadPoolExecutor(1) as thread:  # not every kernel takes one
                thread.submit(syscalls.confine_thread, built.program).result()
            return built
        except OSError as error:
            self._without_filter = one_line(error)
            return None

    def _filter_file(self) -> int | None:
        if self.level != "bubblewrap" or self._filter is None:
            return None
        file = os.memfd_create("filter")
        os.write(file, self._filter.program)
        return file

    def _claim_uid(self) -> int:
        """A user that no other sandbox of this machine uses as long as this one is open."""
        for uid in range(FIRST_UID, LAST_UID + 1):
            claim = socket.socket(socket.AF_UNIX)
            try:
                claim.bind(f"\0babel_jax_uid_{uid}")  # an abstract name: gone with this process, however it ends
            except OSError:
                claim.close()
                continue
            self._claims.append(claim)
            return uid
        raise UserError(f"all users from {FIRST_UID} to {LAST_UID} are taken by programs that run; use fewer workers.")

    def _make_groups(self, index: int) -> dict[str, Path]:
        try:
            return _make_groups(f"{self._directory.name}_{index}")
        except OSError as error:
            self._without_groups = str(error)
            return {}


class _Stream:
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
            found = re.compile(pattern.encode(), re.MULTILINE).finditer(content, *near)
            between = (match.span() for match in found if match.end() > first and match.start() < last)
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


def _watch(pid: int, out: _Stream, error: _Stream, limits: Limits, start: float, namespace: bool) -> str:
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
                _kill(pid, namespace)


def _kill(pid: int, namespace: bool) -> None:
    """Kills a process; or a namespace through its first one, a child of `pid`, so that `pid` ends when all have."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split() if namespace else ()
    except FileNotFoundError:  # not every kernel has it; the namespace dies with its parent, if a little later
        children = ()
    for child in children or (pid,):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(child), signal.SIGKILL)


def _reap(process) -> tuple[int, object]:
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, usage


def _placed(word: str, places: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: places.get(found[1], found[0]), word)


def _prlimit(limits: Limits, processes: int) -> list[str]:
    seconds = math.ceil(limits.cpu_seconds)  # hard and soft: a program cannot catch it
    return [
        *("prlimit", f"--cpu={seconds}:{seconds}", f"--as={limits.memory_bytes}", f"--fsize={limits.file_bytes}"),
        *(f"--nproc={processes}", "--nofile=256", "--core=0", f"--stack={8 << 20}"),
        *(f"--memlock={64 << 10}", "--msgqueue=0", "--nice=0", "--rtprio=0", "--"),
    ]


def _bubblewrap(directories, limits: Limits, filter: int | None) -> list[str]:
    words = [
        *(_tool("bwrap"), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session"),
        *("--as-pid-1", "--cap-add", "CAP_WAKE_ALARM", "--uid", "65534", "--gid", "65534", "--hostname", "sandbox"),
    ]
    for place, target in _links():
        words += ["--symlink", target, place]
    for place in _system():
        words += ["--ro-bind", place, place]
    words += ["--proc", "/proc", *(("--ro-bind", "/dev/null", KEYS) if os.path.exists(KEYS) else ())]
    # /dev and / are in memory as well, and would be of no bounded size
    words += ["--dev", "/dev", "--size", str(1 << 20), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    words += ["--size", str(limits.tmp_bytes), "--tmpfs", "/tmp"]
    for name, (directory, writable) in directories.items():
        words += ["--bind" if writable else "--ro-bind", str(directory), f"/{name}"]
    words += [] if filter is None else ["--seccomp", str(filter)]
    return [*words, "--remount-ro", "/", "--chdir", "/tmp", "--"]


_OF_THE_ROOT = tuple(Path("/", name) for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"))
KEYS = "/proc/keys"  # lists also keys of the caller


def _links() -> list[tuple[str, str]]:
    """Symbolic links of the root directory, and where they point."""
    return [(str(place), str(place.readlink())) for place in _OF_THE_ROOT if place.is_symlink()]


def _system() -> list[str]:
    """What compilers, interpreters and dynamic linking need of the system, read-only."""
    places = [str(place) for place in _OF_THE_ROOT if place.is_dir() and not place.is_symlink()]
    known = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/mono", "/etc/php")
    return ["/usr", *places, *filter(os.path.exists, known)]


def _unshare() -> list[str]:
    namespaces = ("--net", "--mount", "--ipc", "--uts", "--pid")
    die_with_us = ("setpriv", "--pdeathsig", "KILL", "--")
    return [*die_with_us, "unshare", *namespaces, "--fork", "--kill-child", "--"]


_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def _make_root(root: Path) -> None:
    """The root directory of programs of the level unshare: links, and what `_table` mounts on."""
    for place in ("dev/shm", "proc", "tmp"):
        (root / place).mkdir(parents=True)
    for place, target in (*_links(), ("/dev/fd", "/proc/self/fd"), *_STREAMS):
        root.joinpath(place[1:]).symlink_to(target)
    for place in (*_system(), *_DEVICES):
        point = root / place[1:]
        point.parent.mkdir(exist_ok=True)
        point.mkdir() if os.path.isdir(place) else point.touch()


_STREAMS = tuple((f"/dev/{name}", f"/proc/self/fd/{n}") for n, name in enumerate(("stdin", "stdout", "stderr")))


def _table(root: Path, directories, limits: Limits) -> str:
    """The mounts that make `root` what bubblewrap shows, as in fstab(5): so one command makes them all."""
    for name in directories:
        root.joinpath(name).mkdir(exist_ok=True)
    mounted = _writable_mounts()
    table = [(root, root, "none", _read_only(root))]
    shown = {place[1:]: (Path(place), False) for place in _system()} | directories
    for name, (place, writable) in shown.items():
        table.append((place, root / name, "none", "rbind" if writable else _read_only(place)))
        for below in mounted:
            if not writable and place in below.parents:  # what is mounted in it keeps its own flags
                table.append((below, root / name / below.relative_to(place), "none", _read_only(below)))
    table += [(place, root / place[1:], "none", "bind") for place in _DEVICES]
    table.append(("proc", root / "proc", "proc", "nosuid,nodev,noexec"))
    if os.path.exists(KEYS):
        table.append(("/dev/null", root / KEYS[1:], "none", "bind"))
    sizes = {"tmp": f"size={limits.tmp_bytes},nr_inodes={limits.tmp_bytes >> 12}", "dev/shm": "size=1m,nr_inodes=256"}
    table += [("tmpfs", root / name, "tmpfs", f"{size},mode=1777,nosuid,nodev") for name, size in sizes.items()]
    return "".join(" ".join((*(_escaped(str(word)) for word in row[:2]), *row[2:], "0 0\n")) for row in table)


def _escaped(word: str) -> str:
    return re.sub(r"[\s\\#]", lambda found: "".join(f"\\{byte:03o}" for byte in os.fsencode(found[0])), word)


def _read_only(place: Path) -> str:
    """The options that show a place read-only and keep its mount's other flags, which a user namespace must not drop."""
    flags = os.statvfs(place).f_flag
    return ",".join(("rbind", "ro", *(name for name, flag in _FLAGS.items() if flags & flag)))


_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 4096}  # statvfs(3)


def _writable_mounts() -> list[Path]:
    """Where file systems are mounted that are not read-only, as far as the caller can reach them."""
    places = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if "rw" in fields[5].split(",") and os.path.exists(point):
            places.append(Path(point))
    return list(dict.fromkeys(places))


def _can_be_others() -> bool:
    """Whether programs can be run as users of their own: as root, unless in a namespace that has no other user."""
    if os.geteuid() != 0:
        return False
    users = ["--reuid", str(FIRST_UID), "--regid", str(FIRST_UID), "--clear-groups"]
    return subprocess.run(["setpriv", *users, "--", "true"], capture_output=True, env={"PATH": PATH}).returncode == 0


def _others_reach(directory: Path) -> bool:
    return all(place.stat().st_mode & stat.S_IXOTH for place in directory.parents)


def _let_others_read(directory: Path) -> None:
    """Adds what the slots' users need to read a directory; a file with a second name elsewhere is left as it is."""
    for folder in _folders(directory):
        os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | 0o055)
        for name in os.listdir(folder):
            found = os.stat(name, dir_fd=folder, follow_symlinks=False)
            mode = stat.S_IMODE(found.st_mode)
            wanted = mode | (0o055 if mode & 0o100 else 0o044)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and wanted != mode:
                os.chmod(name, wanted, dir_fd=folder)


def _folders(directory: Path) -> Iterator[int]:
    """Each folder of a tree, opened while it is looked at. A program may have made it of any depth: so there is no
    recursion, no path longer than a name, and one file open at a time."""
    place, waiting = _folder(directory, None), []
    try:
        while True:
            yield place
            waiting.append([name for name in os.listdir(place) if _is_folder(name, place)])
            while not waiting[-1]:
                waiting.pop()
                if not waiting:
                    return
                place = _folder("..", place)
            place = _folder(waiting[-1].pop(), place)
    finally:
        os.close(place)


def _is_folder(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)


def _folder(name, place: int | None) -> int:
    """Opens a folder, and closes the one that it is named from."""
    found = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    if place is not None:
        os.close(place)
    return found


@contextlib.contextmanager
def _opened(place: str) -> Iterator[int]:
    folder = _folder(place, None)
    try:
        yield folder
    finally:
        os.close(folder)


def _hold(place: Path) -> int:
    """An open folder that is this process's, for as long as it lives: `_remove_abandoned` leaves it alone."""
    held = _folder(place, None)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def _remove_abandoned() -> None:
    """Removes the folders, and the control groups, of sandboxes whose process was killed."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, SandboxError), _opened(str(place)) as folder:
            about = os.fstat(folder)
            if about.st_uid != os.geteuid() or time.time() - about.st_mtime < FRESH_SECONDS:
                continue
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it is held
            for _, groups in _group_places():
                for group in groups.glob(f"{place.name}_*"):
                    group.rmdir()
            remove_tree(place)


@contextlib.contextmanager
def temporary_folder(prefix: str, directory: Path | None = None) -> Iterator[Path]:
    """A new folder for what programs read and write, which is removed afterwards whatever they have made in it."""
    place = Path(tempfile.mkdtemp(prefix=prefix, dir=directory))
    try:
        yield place
    finally:
        remove_tree(place)


def remove_tree(place: Path | str) -> None:
    """Removes what programs left, however deep, and also where they took their own permissions away.

    Raises:
      SandboxError: something cannot be removed.
    """
    place = os.fspath(place)
    with contextlib.suppress(OSError), _opened(place) as folder:
        for name in os.listdir(folder):
            os.unlink(name, dir_fd=folder)
        os.rmdir(place)
        return  # mostly there are only files: it takes no process of its own
    if subprocess.run(["rm", "-rf", "--", place], capture_output=True, env={"PATH": PATH}).returncode:
        subprocess.run(["chmod", "-R", "u+rwX", "--", place], capture_output=True, env={"PATH": PATH})
        removed = subprocess.run(["rm", "-rf", "--", place], capture_output=True, env={"PATH": PATH})
        if removed.returncode:
            why = removed.stderr.decode(errors="replace")
            raise SandboxError(f"cannot remove what a program left: {one_line(why)}")


def _files_of(uid: int) -> set[str]:
    """What belongs to a user in the folders that all may write to."""
    found = set()
    for place in filter(os.path.isdir, ("/dev/shm", "/tmp", "/var/tmp")):
        for name in os.listdir(place):
            with contextlib.suppress(FileNotFoundError):  # somebody else's, just removed
                if os.lstat(f"{place}/{name}").st_uid == uid:
                    found.add(f"{place}/{name}")
    return found


def _remove_new(uid: int, known: set[str]) -> None:
    for place in _files_of(uid) - known:
        remove_tree(place)


def _processes_of(uid: int) -> dict[int, bool]:
    """The processes of a user, and whether they live: what has ended counts against limits until its parent has seen it."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            status = Path("/proc", name, "status").read_text()
            if f"\nUid:\t{uid}\t" in status and "\nState:\tX" not in status:
                found[int(name)] = "\nState:\tZ" not in status
    return found


def _threads(pid: int) -> int:
    try:
        return len(os.listdir(f"/proc/{pid}/task"))
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _kill_all(uid: int | None, session: int, mark: bytes) -> None:
    """Kills what a program left where there is no namespace: all of its own user, or else of its session or its mark."""
    deadline, seen = time.monotonic() + GRACE_SECONDS, set()
    looks = 1 if uid is not None else 3  # one that just becomes another program has no environment for a moment
    while True:
        left = _processes_of(os.geteuid() if uid is None else uid)
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


def _adopt_orphans() -> None:
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


def _make_groups(name: str) -> dict[str, Path]:
    """New control groups for memory and processes, tried with a process; OSError where there are none to write.

    Version 1 has a hierarchy for each controller, version 2 one for all (Linux, Documentation/admin-guide/cgroup-v1, -v2).
    """
    groups, why_not = {}, "no control groups for memory or pids are mounted"
    for controllers, place in _group_places():
        if set(controllers) <= set(groups):
            continue
        group = place / name
        try:
            if "cgroup.controllers" in os.listdir(place):
                (place / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
            group.mkdir()
        except OSError as error:
            why_not = f"{place}: {error.strerror}"
            continue
        tried = subprocess.run(["sh", "-c", 'echo $$ > "$0"', f"{group}/cgroup.procs"], capture_output=True, text=True)
        if tried.returncode == 0:
            groups |= dict.fromkeys(controllers, group)
        else:
            why_not = f"{place}: no process can be put into a group of it"
            _remove_group(group)
    if not groups:
        raise OSError(why_not)
    return groups


def _group_places() -> list[tuple[tuple[str, ...], Path]]:
    """Where groups for memory and pids might be made, each time our own group first, then the one above it."""
    own = dict(line.split(":", 2)[1:] for line in Path("/proc/self/cgroup").read_text().splitlines())
    places = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind, options, mount = fields[fields.index("-") + 1], fields[-1].split(","), Path(fields[4])
        if kind == "cgroup2":
            controllers, path = ("memory", "pids"), own.get("", "/")
            if not set(controllers) <= set((mount / "cgroup.controllers").read_text().split()):
                continue
        else:
            controllers = tuple(name for name in ("memory", "pids") if kind == "cgroup" and name in options)
            path = next((path for names, path in own.items() if set(controllers) & set(names.split(","))), "/")
        if controllers:
            group = mount / path.lstrip("/")
            places += [(controllers, place) for place in (group, group.parent, mount) if place.is_dir()]
    return places


def _set_groups(groups: Mapping[str, Path], limits: Limits) -> None:
    """The whole program: what is in its temporary directory is memory too, and the sandbox has processes of its own."""
    memory, wanted = groups.get("memory"), str(limits.memory_bytes + limits.tmp_bytes)
    if memory and (memory / "memory.max").exists():
        (memory / "memory.max").write_text(wanted)
        (memory / "memory.oom.group").write_text("1")
        if (memory / "memory.swap.max").exists():
            (memory / "memory.swap.max").write_text("0")
    elif memory:
        (memory / "memory.limit_in_bytes").write_text(wanted)
        (memory / "memory.swappiness").write_text("0")
    if "pids" in groups:
        (groups["pids"] / "pids.max").write_text(str(limits.processes + 8))


def _killed_for_memory(groups: Mapping[str, Path]) -> int:
    """How many processes of the group the kernel has killed because its memory was used up."""
    if "memory" not in groups:
        return 0
    events = groups["memory"] / "memory.events"
    text = (events if events.exists() else groups["memory"] / "memory.oom_control").read_text()
    return int(re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)[1])


def _remove_group(group: Path) -> None:
    deadline = time.monotonic() + 1
    while group.exists():
        try:
            group.rmdir()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)  # its last process is just leaving
