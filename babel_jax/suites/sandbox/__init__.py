"""Runs programs that nobody has read: no network, no files but their own, bounded in everything, gone afterwards.

Three levels; `open_sandbox` takes the strongest that works here, and refuses one below the level asked for.

bubblewrap: no network; own processes only; of the files /usr, what dynamic linking needs and the named directories, all
  read-only but /tmp (in memory, its size bounded) and `Writable` ones; no namespaces inside. Nothing outlives the program.
unshare: the same, made with the commands of util-linux where there is no bubblewrap.
rlimits: bounds a program that is wrong, not one that is hostile. Its processes are killed afterwards and its working
  directory is removed, but it may do to files and (if not root starts it) processes what the user may. Bounded are time,
  output, memory and size of files; not how many files there are.

At all levels a program has a session keyring of its own and, where there is libseccomp, only harmless system calls
(`syscalls`): without it rlimits has the network, and other things are not held back. `promises` lists all of it.

Whoever is root gives each slot a user of its own, who owns nothing; else programs run as the user. At all levels, where
control groups can be written, memory and processes of the whole program are bounded by one; else memory by process.

Only compilers should get `Writable` directories: what is in them afterwards is as untrusted as the program, and bounded by
file only.
"""

import contextlib
import dataclasses
import math
import os
import platform
import re
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from babel_jax.common.errors import UserError, one_line, unknown_name
from babel_jax.suites.sandbox import control_groups, levels, mounts, other_users, supervision, syscalls, untrusted_files
from babel_jax.suites.sandbox.bounds import DEFAULT_LIMITS, PATH, Finished, Isolation, Limits, SandboxError, Writable
from babel_jax.suites.sandbox.levels import LEVELS
from babel_jax.suites.sandbox.untrusted_files import PREFIX, remove_tree, temporary_folder


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
    missing = [tool for tool in levels.tools(level) if levels.find_tool(tool) is None]
    if missing:
        return f"{', '.join(missing)} not found"
    try:
        with Sandbox(level, workers=1) as sandbox:
            finished = sandbox.run(["sh", "-c", "echo works"], limits=Limits(cpu_seconds=5, wall_seconds=20))
    except (SandboxError, UserError, OSError) as error:  # OSError: a kernel that lacks a call, a full disk
        return one_line(error)
    return "" if finished.stdout == b"works\n" else f"a program that prints one line ended so: {finished}"


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
        untrusted_files.remove_abandoned()
        self._directory = Path(tempfile.mkdtemp(prefix=PREFIX))
        self._directory.chmod(0o711)
        self._held = untrusted_files.hold(self._directory)
        try:
            self._filter = self._build_filter()
            if level == "rlimits":
                supervision.adopt_orphans()
            elif level == "unshare":
                mounts.make_root(self._directory / "root")
            own_users = other_users.can_be_others()
            if own_users and level != "unshare" and not other_users.others_reach(self._directory):
                raise UserError(
                    f"{self._directory.parent} is closed to other users; set TMPDIR to a folder that is not."
                )
            for index in range(workers):
                uid = None
                if own_users:
                    uid, claim = other_users.claim_user()
                    self._claims.append(claim)
                self._slots.append(_Slot(index, uid, self._make_groups(index), self._filter_file()))
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def describe(self) -> Isolation:
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
                control_groups.remove(group)
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
        limits: Limits = DEFAULT_LIMITS,
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
            control_groups.bound(slot.groups, limits)
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
        if self.level != "rlimits" or self._slots[0].uid is None or other_users.others_reach(directory):
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
        shown = {}
        for name, directory in directories.items():
            writable = isinstance(directory, Writable)
            place = Path(directory.place if writable else directory).resolve()
            if not place.is_dir():
                raise UserError(f"{place} is not there, and a program was to be run with it; make it again.")
            if slot.uid is not None and writable:
                os.chown(place, slot.uid, slot.uid)
            elif slot.uid is not None:
                other_users.let_others_read(place)
            shown[name] = (place, writable)
        return shown

    def _places(self, slot, directories, after) -> tuple[dict[str, str], str]:
        """Where the program finds its directories and the temporary one, which `after` removes where it is a real one."""
        if self.level == "rlimits":
            tmp = tempfile.mkdtemp(dir=self._directory)
            after.callback(remove_tree, tmp)
            if slot.uid is not None:
                os.chown(tmp, slot.uid, slot.uid)
                after.callback(untrusted_files.remove_new, slot.uid, untrusted_files.files_of(slot.uid))
            places = {name: str(directory) for name, (directory, _) in directories.items()}
        else:
            tmp, places = "/tmp", {name: f"/{name}" for name in directories}
        return places | {"tmp": tmp}, tmp

    def _prelude(self, slot, directories) -> tuple[list[str], dict]:
        """Words before the others, run as the caller, that enter the control groups; and where the directories are then.

        One below a directory that is closed to others (/root) gets a second place, seen only in the run's mount namespace.
        """
        lines = [f"echo $$ > {shlex.quote(str(group))}/cgroup.procs" for group in sorted(set(slot.groups.values()))]
        outside = () if slot.uid is None else directories.items()
        hidden = [name for name, (place, _) in outside if not other_users.others_reach(place)]
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
        bounded = levels.prlimit(limits, self._processes(slot, limits))
        # The shell stays, as the first process of the namespace: it waits, so that the time of all is counted. It has a
        # capability more than the program, a useless one: so the program cannot get at its memory.
        first = 'cd /tmp; echo >&0 || exit; exec </dev/null 3>&2 2>/dev/null; (exec "$@" 2>&3 3>&-); exit $?'
        shell = [*bounded, "sh", "-c", first, "sh"]
        if self.level == "bubblewrap":
            become = ["setpriv", *other, "--inh-caps=-all", "--"] if other else []
            powerless = ["setpriv", "--inh-caps=-all", "--ambient-caps=-all", "--"]
            return [*become, *levels.bubblewrap(directories, limits, slot.filter), *shell, *powerless]
        if self.level == "unshare":
            powerless = ["setpriv", *other, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs", "--"]
            user = [] if slot.uid is not None else ["unshare", "--user", "--map-root-user", "--"]
            root, table = self._directory / "root", self._directory / f"{slot.index}.fstab"
            table.write_bytes(os.fsencode(mounts.table(root, directories, limits)))
            script = 'mount --all --fstab "$0" && exec setsid chroot "$@"'
            return [*user, *levels.unshare(), "sh", "-c", script, str(table), str(root), *shell, *powerless]
        go = f'cd {shlex.quote(tmp)} && echo >&0 && exec "$@" </dev/null'
        return ["sh", "-c", go, "sh", "setpriv", *other, "--pdeathsig", "KILL", "--no-new-privs", "--", *bounded]

    def _can_start(self, program, environment, places, directories) -> bool:
        """Whether a program is there to be started, asked after one that ended as if it were not."""
        for name, (directory, _) in directories.items():
            if program.startswith(f"{places[name]}/"):
                return os.access(directory / program[len(places[name]) + 1 :], os.X_OK)
        path = shutil.which(program, path=environment["PATH"])
        seen = "/" if self.level == "rlimits" else ("/usr/", "/bin/", "/sbin/", "/lib")
        return path is not None and path.startswith(seen)

    def _processes(self, slot, limits) -> int:
        """The value for RLIMIT_NPROC, which counts the user's, in a user namespace since Linux 5.14 only those in it."""
        version = tuple(int(number) for number in re.findall(r"\d+", platform.release())[:2])
        if slot.uid is not None or (self.level != "rlimits" and version >= (5, 14)):
            return limits.processes
        return limits.processes + sum(supervision.threads(pid) for pid in supervision.processes_of(os.geteuid()))

    def _execute(self, slot, command, environment, limits, tmp, watch_for) -> Finished:
        before = control_groups.killed_for_memory(slot.groups)
        mark = f"BABEL_JAX_PROGRAM={os.path.basename(tmp)}"
        if self.level == "rlimits":
            environment = environment | dict([mark.split("=")])
        start = time.monotonic()
        with contextlib.ExitStack() as pipes:
            started, ready = (
                pipes.enter_context(open(end, mode, buffering=0))
                for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)
            )
            # A keyring and a filter are a thread's, and are inherited. The thread lives as long as the sandbox needs its
            # parent: to the kernel that is the thread, and it kills the sandbox with it.
            thread = pipes.enter_context(ThreadPoolExecutor(1))
            try:
                process = thread.submit(self._start, slot, command, environment, ready).result()
            except OSError as error:
                raise SandboxError(f"the sandbox ({self.level}) cannot start {command[0]}: {error.strerror}") from error
            ready.close()
            pipes.enter_context(process.stdout), pipes.enter_context(process.stderr)
            out, error = (supervision.Stream(file, limits.output_bytes) for file in (process.stdout, process.stderr))
            namespace = self.level != "rlimits"
            try:
                ended_by = supervision.watch(process.pid, out, error, limits, start, namespace)
                status, usage = supervision.reap(process)
            except BaseException:
                started.close()  # what has not begun never will
                if process.returncode is None:
                    os.kill(process.pid, signal.SIGSTOP)  # it makes no further process
                    supervision.kill(process.pid, namespace)
                    os.kill(process.pid, signal.SIGKILL)
                    supervision.reap(process)
                raise
            finally:
                if self.level == "rlimits":
                    supervision.kill_all(slot.uid, process.pid, mark.encode())
            out.drain(), error.drain()
            if not started.read():
                why = error.kept().decode(errors="replace").strip() or f"not started in {limits.wall_seconds} seconds"
                raise SandboxError(f"the sandbox ({self.level}) failed: {why}")
        seconds = usage.ru_utime + usage.ru_stime
        if ended_by != "itself":
            status = -signal.SIGKILL
        elif self.level != "rlimits" and 128 < status <= 128 + signal.SIGRTMAX:
            status = 128 - status
        if ended_by == "itself" and status and control_groups.killed_for_memory(slot.groups) > before:
            ended_by = "memory"
        # the limit is counted in the ticks of a clock that found the program running: on a busy machine more than it ran
        elif ended_by == "itself" and status == -signal.SIGKILL and seconds >= 0.5 * math.ceil(limits.cpu_seconds):
            ended_by = "cpu"
        streams = out.kept(watch_for), error.kept(watch_for)
        return Finished(status, ended_by, *streams, time.monotonic() - start, seconds)

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

    def _make_groups(self, index: int) -> dict[str, Path]:
        try:
            return control_groups.make(f"{self._directory.name}_{index}")
        except OSError as error:
            self._without_groups = str(error)
            return {}


def _placed(word: str, places: Mapping[str, str]) -> str:
    return re.sub(r"\{(\w+)\}", lambda name: places.get(name[1], name[0]), word)
