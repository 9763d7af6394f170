"""Every attack of `attacks.py` at every level, by root's programs and a user's, ends as `suites/sandbox/promises.py` says."""

import contextlib
import json
import os
import pty
import signal
import socket
import subprocess
import tempfile
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers import ROOT
from helpers.remote import PYTHON, SOMEBODY, Remote
from helpers.sandboxes import alive, gone, need

from babel_jax.common.errors import UserError
from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import LEVELS, Limits, promises, syscalls
from babel_jax.suites.sandbox.promises import HELD, LIMIT, PROMISES

pytestmark = pytest.mark.processes

HELPERS = ROOT / "tests" / "helpers"
as_two_users = pytest.mark.skipif(
    os.geteuid() != 0 or not Path(PYTHON).exists(),
    reason=f"Python: the tests do not run as root, or there is no {PYTHON}",
)
LIMITS = Limits(cpu_seconds=5, wall_seconds=60, tmp_bytes=2 << 20, file_bytes=16 << 20)
ALONE = {  # attack -> its limits and what ends the program where it is held; all others are run by one program
    "stop_group": (Limits(wall_seconds=0.5), "wall"),
    "spin": (Limits(cpu_seconds=1, wall_seconds=60), "cpu"),
    "spin_on": (Limits(cpu_seconds=1, wall_seconds=1.5), "wall"),
    "sleep": (Limits(wall_seconds=0.5), "wall"),
    "flood": (Limits(wall_seconds=60), "output"),
    "memory_together": (Limits(memory_bytes=256 << 20, tmp_bytes=1 << 20, wall_seconds=20), "memory"),
    "fork_bomb": (Limits(processes=20, wall_seconds=20), ""),
    "threads": (Limits(wall_seconds=20), ""),
}
LEAVE = ("lure_caller", "deep_folders", "closed_folders", "odd_names")  # in a folder, see remote.SERVER


def number(name: str) -> int:
    return syscalls._library().seccomp_syscall_resolve_name(name.encode())


def calls(level: str) -> dict:
    """Of what an attack is told, the numbers of system calls."""
    setting_up = syscalls.SETTING_UP.split()
    names = [*" ".join(syscalls.REFUSED.values()).split(), *setting_up]
    refused = [name for name in names if level != "unshare" or name not in setting_up]
    return {
        "calls": {name: number(name) for name in (*names, "socket", "clone", "ioctl", "capset")},
        "refused": [number(name) for name in refused if number(name) >= 0],
        "newest": syscalls._newest(syscalls._library()),
    }


class Outside:
    """What there is to attack outside, all of it the caller's."""

    def __init__(self, place: Path, user: int | None, stack: contextlib.ExitStack):
        (place / "closed").mkdir(mode=0o700)
        (place / "open").mkdir()
        (place / "given").mkdir()
        (place / "open").chmod(0o777)
        self.secret, self.word = place / "closed" / "secret", f"left_by_a_test_{uuid.uuid4().hex}"
        self.secret.write_text("secret")
        self.secret.chmod(0o600)
        (place / "public").write_text("public")
        os.mkfifo(place / "fifo")
        (place / "fifo").chmod(0o666)
        stack.callback(os.close, os.open(place / "fifo", os.O_RDWR | os.O_NONBLOCK))
        for end in (ends := pty.openpty()):
            stack.callback(os.close, end)
        terminal = os.ttyname(ends[1])
        port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        for name in (f"\0{self.word}", str(place / "socket")):
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(name)
            listener.listen()
        (place / "socket").chmod(0o777)
        if user:
            for owned in (place / "closed", self.secret, place / "given", place / "fifo", Path(terminal)):
                os.chown(owned, user, user)
        self.about = {
            "secret": str(self.secret), "public": str(place / "public"), "open": str(place / "open"), "given": "{given}",
            "out": "{out}", "fifo": str(place / "fifo"), "socket": str(place / "socket"), "terminal": terminal,
            "port": port.getsockname()[1], "abstract": self.word, "word": self.word,
        }  # fmt: skip
        self.given = place / "given"


def carried_out(level: str, user: int | None) -> tuple[dict, dict]:
    """What became of each attack, and what should: name -> one of MEANING."""
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="test_promises_", dir="/var/tmp")))
        place.chmod(0o755)
        (place / "outside").mkdir()
        outside = Outside(place / "outside", user, stack)
        opened = Remote(level, place, user, outside.secret)
        stack.callback(opened.close)
        about = outside.about | {"pid": opened.pid} | calls(level)

        def run(*names, limits=LIMITS, **words):
            argv = [PYTHON, "-I", "-S", "{attacks}/attacks.py", json.dumps(about), *names]
            directories = {"attacks": place / "attacks", "given": outside.given}
            return opened.run(argv, limits=limits, directories=directories, **words)

        (place / "attacks").mkdir()
        (place / "attacks" / "attacks.py").write_bytes((HELPERS / "attacks.py").read_bytes())
        together = [row.name for row in PROMISES if row.name not in (*ALONE, *LEAVE)]
        finished = run(*together)
        assert finished.status == 0, finished
        ended = json.loads(finished.stdout)
        for name in LEAVE:
            finished = run(name, leaves=True)
            assert json.loads(finished.stdout) == {name: None}, finished
            closed = outside.secret.stat().st_mode & 0o777 == 0o600
            ended[name] = HELD if closed and outside.secret.parent.stat().st_mode & 0o777 == 0o700 else LIMIT
        for name, (limits, end) in ALONE.items():
            finished = run(name, limits=limits)
            ended[name] = HELD if finished.ended_by == end else json.loads(finished.stdout or "{}").get(name, finished)
        for name in ("daemon", "bare_daemon"):
            word = f"{outside.word}.{name}"
            ended[name] = HELD if gone(word, 0) else LIMIT
            for pid in alive(word):
                os.kill(pid, signal.SIGKILL)
        for name, folder in (("leave_shm", "/dev/shm"), ("leave_tmp", "/tmp")):
            left = Path(folder, f"{outside.word}.{name}")
            ended[name] = LIMIT if left.exists() else HELD
            sandbox.remove_tree(left)
        assert json.loads(run("read_environment").stdout) == {"read_environment": HELD}  # it goes on
        described = opened.describe()
        there = {"filter": bool(described.filter), "groups": bool(described.groups)}
    return ended, {row.name: row.at(level, root=user is None, **there) for row in PROMISES}


COMBINATIONS = [(user, level) for user in (None, SOMEBODY) for level in LEVELS]


@pytest.fixture(scope="module")
def results():
    """All of them at the same time: most of it is waiting."""
    with ThreadPoolExecutor(len(COMBINATIONS)) as pool:
        yield {(user, level): pool.submit(carried_out, level, user) for user, level in COMBINATIONS}


@as_two_users
@pytest.mark.parametrize(
    ("user", "level"), COMBINATIONS, ids=lambda value: {None: "root", SOMEBODY: "user"}.get(value, value)
)
def test_each_attack_ends_as_promised(results, user, level):
    need(level)
    ended, promised = results[user, level].result()
    assert {name: (ended[name], promised[name]) for name in promised if ended[name] != promised[name]} == {}


SUCCEED_OUTSIDE = (  # where no container forbids it
    "tcp_caller", "abstract_socket", "unix_socket", "netlink", "wide_family", "read_secret", "read_open",
    "read_passwd", "read_by_link", "read_by_process", "read_environments", "write_open", "write_given", "fifo",
    "handle", "terminal", "keyboard", "console", "kill_caller", "slow_caller", "trace_parent", "caller_memory",
    "read_memory", "write_memory", "descriptor", "memory_together", "memory_file", "shared_memory", "fill_tmp",
    "fill_shm", "large_file", "queue", "semaphore", "posix_queue", "io_uring", "unknown_calls", "refused_calls",
    "set_user_id",
)  # fmt: skip


@as_two_users
def test_the_attacks_are_real():
    """Outside of a sandbox, as an unprivileged user, they have their effect."""
    if "Seccomp:\t0\n" not in Path("/proc/self/status").read_text():
        pytest.skip("these tests are themselves under a filter")
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="test_promises_", dir="/var/tmp")))
        os.chown(place, SOMEBODY, SOMEBODY)
        outside = Outside(place, SOMEBODY, stack)
        become = ["setpriv", "--reuid", str(SOMEBODY), "--regid", str(SOMEBODY), "--clear-groups", "--"]
        caller = stack.enter_context(
            subprocess.Popen([*become, "cat"], stdin=subprocess.PIPE, env={"SECRET": "in the environment"}, cwd="/")
        )
        about = outside.about | {"given": str(outside.given), "pid": caller.pid} | calls("bubblewrap")
        words = [
            *become,
            PYTHON,
            "-I",
            "-S",
            "-c",
            (HELPERS / "attacks.py").read_text(),
            json.dumps(about),
            *SUCCEED_OUTSIDE,
        ]
        done = subprocess.run(words, capture_output=True, text=True, cwd=place)
        caller.stdin.close()
    assert json.loads(done.stdout) == dict.fromkeys(SUCCEED_OUTSIDE, LIMIT)


def test_the_table_is_the_readme_s():
    """To mend it: python -c 'from babel_jax.suites.sandbox import promises; print(promises.table())'."""
    readme = Path(promises.__file__).with_name("README.md").read_text()
    assert promises.table() in readme and f"against {len(PROMISES)} attacks" in readme
    for result, meaning in promises.MEANING.items():
        assert f"* **{result}**: {meaning}" in readme


def test_the_table_has_what_it_must():
    assert len(PROMISES) >= 60 and len({row.name for row in PROMISES}) == len(PROMISES)
    words = {"root": True, "filter": True, "groups": True}
    assert promises.limits("bubblewrap", **words) == ["makes empty files in /tmp without end"]
    assert promises.limits("unshare", **words) == []
    weaker = promises.limits("rlimits", **words | {"root": False, "filter": False})
    assert {"connects to a server of this machine", "sends the caller a signal"} <= set(weaker)
    with pytest.raises(UserError, match="unknown sandbox level"):
        promises.limits("bubblewarp", **words)
