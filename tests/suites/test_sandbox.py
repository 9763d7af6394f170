"""What `suites/sandbox` promises at each level, shown by programs that try the opposite.

Each attack runs as root and as an unprivileged user. Those that a level does not promise to stop run there too where they
harm nothing, and must succeed: so it is the sandbox that stops them elsewhere, not a mistake in the attack.
"""

import contextlib
import ctypes
import json
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from helpers.remote import IN_MEMORY, PYTHON, QUICK, SERVER, SOMEBODY, Remote, without_libseccomp

from babel_jax.common.errors import UserError
from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import (
    LEVELS,
    Finished,
    Limits,
    Sandbox,
    SandboxError,
    Writable,
    control_groups,
    levels,
    other_users,
    syscalls,
    untrusted_files,
)
from babel_jax.suites.toolchains import toolchain

NAMESPACES = ("bubblewrap", "unshare")

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"Python: there is no {PYTHON} to run attacks with")


def need(level: str) -> None:
    """Skips where this machine lacks what a level is made of; a level that fails all the same is a failure of ours."""
    missing = [tool for tool in levels.tools(level) if levels.find_tool(tool) is None]
    if missing:
        pytest.skip(f"{level}: {', '.join(missing)} not installed")
    if level != "rlimits" and subprocess.run(["unshare", "--user", "true"], capture_output=True).returncode:
        pytest.skip(f"{level}: user namespaces are switched off")


@pytest.fixture(scope="module")
def open_directory():
    """A directory that every user can reach, as pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="test_sandbox_") as place:
        os.chmod(place, 0o755)
        yield Path(place)


@pytest.fixture(
    scope="module", params=[(user, level) for user in ("root", "unprivileged") for level in LEVELS], ids="-".join
)
def opened(request, open_directory):
    """A sandbox at one level: of this process, or of an unprivileged user's."""
    user, level = request.param
    if (os.geteuid() == 0) != (user == "root") and os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    need(level)
    with contextlib.ExitStack() as stack:
        if user == "unprivileged" and os.geteuid() == 0:
            found = stack.enter_context(contextlib.closing(Remote(level, open_directory)))
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tempfile, "tempdir", IN_MEMORY["TMPDIR"])
                found = stack.enter_context(Sandbox(level, 2))
            found.pid = os.getpid()
        found.user = user
        yield found


def attack(opened, source: str, *arguments, limits=QUICK, **words) -> Finished:
    return opened.run([PYTHON, "-I", "-S", "-c", source, *map(str, arguments)], limits=limits, **words)


def said(finished: Finished) -> str:
    assert finished.status == 0, finished
    return finished.stdout.decode().strip()


def alive(word: str) -> list[int]:
    """Processes of this machine with this word among their arguments."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if word.encode() in Path("/proc", name, "cmdline").read_bytes().split(b"\0"):
                found.append(int(name))
    return found


def gone(word: str, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while any(alive(word) or time.sleep(0.02) for _ in range(5)):  # one look misses what forks meanwhile
        if time.monotonic() >= deadline:
            return False
    return True


# Processor, memory, output, files


def test_a_program_s_words_status_and_time(opened):
    finished = attack(opened, "import os, sys; os.write(1, b'\\xff\\0x'); os.write(2, b'e'); sys.exit(7)")
    assert (finished.status, finished.ended_by, finished.stdout, finished.stderr) == (7, "itself", b"\xff\0x", b"e")
    finished = attack(opened, "import time\nwhile time.process_time() < .3: pass")
    assert 0.25 < finished.cpu_seconds < 0.8 and finished.cpu_seconds <= finished.wall_seconds + 0.1


def test_processor_time(opened):
    spin = (
        "import os, signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN); os.close(1); os.close(2)\nwhile True: pass"
    )
    finished = attack(opened, spin, limits=Limits(cpu_seconds=1, wall_seconds=20))
    # the limit counts ticks of a clock, on a busy machine more than the program ran
    assert (finished.status, finished.ended_by) == (-signal.SIGKILL, "cpu") and 0.5 < finished.cpu_seconds < 1.5


def test_sleeping(opened):
    finished = attack(
        opened, "import time; print('here', flush=True); time.sleep(1000)", limits=Limits(wall_seconds=0.5)
    )
    assert (finished.status, finished.ended_by, finished.stdout) == (-signal.SIGKILL, "wall", b"here\n")


def test_many_that_spin_end_by_the_wall(opened):
    source = "import os; os.fork(); os.fork()\nwhile True: pass"
    finished = attack(opened, source, "spin.everywhere", limits=Limits(cpu_seconds=3, wall_seconds=0.5))
    assert finished.ended_by == "wall" and gone("spin.everywhere", 0)


def test_nothing_to_read(opened):
    assert said(attack(opened, "import sys; print(repr(sys.stdin.read()))")) == "''"


def test_memory(opened):
    finished = attack(opened, "x = bytearray(4 << 30)", limits=Limits(memory_bytes=1 << 30))
    assert finished.status != 0 and (finished.ended_by == "memory" or b"MemoryError" in finished.stderr)


def test_memory_of_many_processes(opened):
    if "memory" not in opened.describe().groups:
        pytest.skip(f"control groups: {opened.describe()}")
    source = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        x = b"1" * (150 << 20); time.sleep(5); os._exit(0)
while True:
    if os.wait()[1]: raise SystemExit("one was killed")
"""
    finished = attack(opened, source, limits=Limits(memory_bytes=256 << 20, tmp_bytes=1 << 20, wall_seconds=10))
    assert finished.ended_by == "memory"


def test_limits_cannot_be_raised(opened):
    source = """
import resource
for name in ("AS", "CPU", "NPROC", "FSIZE"):
    try:
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (resource.RLIM_INFINITY,) * 2); print(name)
    except (ValueError, OSError): pass
"""
    assert said(attack(opened, source)) == ""


def test_output(opened):
    source = """
import os
os.write(1, b"first"), os.write(2, b"FIRST")
while True:
    os.write(1, b"x" * (1 << 16)), os.write(2, b"y" * (1 << 16))
"""
    finished = attack(opened, source, limits=Limits(output_bytes=1000, output_kill_bytes=1 << 20))
    assert finished.ended_by == "output"
    assert finished.stdout.startswith(b"first") and len(finished.stdout) < 1100
    assert finished.stderr.startswith(b"FIRST") and len(finished.stderr) < 1200


def test_output_is_kept_at_both_ends(opened):
    source = "import os; os.write(1, b'a' * 300000); os.write(1, b'b' * 300000)"
    finished = attack(opened, source, limits=Limits(output_bytes=10))
    assert finished.stdout == b"aaaaa\n[... 599990 bytes left out ...]\nbbbbb" and finished.ended_by == "itself"
    assert attack(opened, "print('x' * 9)", limits=Limits(output_bytes=10)).stdout == b"x" * 9 + b"\n"


def test_what_is_watched_for_is_kept_wherever_it_stands(opened):
    """Also where it came in two pieces, at the edges of what is kept, and beside the other stream."""
    source = """
import os, time
for part in (b"x" * 100000 + b"\\nse", b"ntinel\\n" + b"y" * 100000):
    os.write(2, part), os.write(1, b"z" * 100000), time.sleep(0.05)
"""
    limits = Limits(output_bytes=2000)
    seen = attack(opened, source, limits=limits, watch_for=["^sentinel"]).stderr
    assert seen.startswith(b"x" * 1000 + b"\n[... 99001 bytes left out ...]\nsentinel\nyyy") and seen.endswith(
        b"y" * 1000
    )
    assert b"sentinel" not in attack(opened, source, limits=limits).stderr
    for before in range(990, 1003):
        source = f"import os; os.write(1, b'x' * {before} + b'sentinel' + b'y' * 3000)"
        assert attack(opened, source, limits=limits, watch_for=["sentinel"]).stdout.count(b"sentinel") == 1
    many = attack(opened, "print('sentinel' * 100000)", limits=limits, watch_for=["sentinel"]).stdout
    assert len(many) < 2000 + 20 * 600


def test_a_large_file(opened):
    source = "f = open('large', 'wb')\nfor _ in range(1024): f.write(bytes(1 << 20))"
    finished = attack(opened, source, limits=Limits(file_bytes=4 << 20))
    assert finished.status != 0 and b"File too large" in finished.stderr


FILL = """
import os, sys
n, size = 0, int(sys.argv[2])
try:
    for n in range(100000):
        with open(f"{sys.argv[1]}/{n}", "wb") as f: f.write(bytes(size))
except OSError as error: print(n, error.strerror)
"""


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_many_files(opened, place):
    if opened.level == "rlimits":
        pytest.skip("rlimits: not promised")
    count, _, why = said(attack(opened, FILL, place, 1000, limits=Limits(tmp_bytes=4 << 20))).partition(" ")
    assert why in ("No space left on device", "Permission denied") and int(count) <= 1024


def test_deep_recursion(opened):
    source = "import sys, _thread; sys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(s): return repr(s)\nrepr(A())"
    assert attack(opened, source).status == -signal.SIGSEGV


# Processes


def test_fork_bomb(opened):
    source = """
import os, time
count = 0
try:
    while count < 200:
        if os.fork() == 0: time.sleep(20); os._exit(0)
        count += 1
except OSError: pass
print(count)
"""
    finished = attack(opened, source, "fork.bomb", limits=Limits(processes=20, wall_seconds=20))
    # where the user's own processes count, some of them may have ended since
    assert 5 < int(said(finished)) <= 30 and gone("fork.bomb", 0)


DAEMON = """
import os, sys
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        for file in (0, 1, 2): os.close(file)
        for number in range(1, 64):
            import signal
            try: signal.signal(number, signal.SIG_IGN)
            except OSError: pass
        os.execve(sys.executable, [sys.executable, "-c", "import time; time.sleep(30)", sys.argv[1]], %s)
else: os.wait()
"""


def test_daemon(opened):
    finished = attack(opened, DAEMON % "os.environ", "stays.behind")
    assert finished.status == 0 and gone("stays.behind", 0)


def test_daemon_without_our_mark(opened):
    if opened.level == "rlimits" and opened.user == "unprivileged":
        pytest.skip("rlimits without root: not promised")
    assert attack(opened, DAEMON % "{}", "stays.unmarked").status == 0 and gone("stays.unmarked", 0)


def test_other_processes_cannot_be_seen_or_killed(opened):
    source = """
import os, signal, sys
pid = int(sys.argv[1])
try: os.kill(pid, 0); print("killable")
except OSError: pass
try: open(f"/proc/{pid}/environ").read(); print("environment read")
except OSError: pass
import ctypes
PTRACE_SEIZE = 0x4206  # unlike PTRACE_ATTACH it does not stop the process, were it to succeed
if ctypes.CDLL(None).ptrace(PTRACE_SEIZE, pid, 0, 0) == 0: print("traced")
"""
    found = said(attack(opened, source, opened.pid))
    if opened.level == "rlimits" and opened.user == "unprivileged":
        assert "killable" in found and "environment read" in found
    else:
        assert found == ""


@pytest.mark.parametrize("level", NAMESPACES)
def test_the_first_process_is_bounded_too(level):
    """Who gets hold of it (it had no limits, and could be traced) has no more memory and no more processes."""
    need(level)
    limits = Limits(memory_bytes=300 << 20, processes=17, file_bytes=3 << 20)
    with Sandbox(level, 1) as opened:
        source = "print(*open('/proc/1/limits'), '|', *open('/proc/self/limits'))"
        first, _, own = said(attack(opened, source, limits=limits)).partition("|")
    assert [line.split() for line in first.strip().splitlines()] == [line.split() for line in own.strip().splitlines()]
    assert (
        str(300 << 20) in first
        and " 17 " in first
        and "unlimited" not in first.split("Max processes")[1].split("\n")[0]
    )


def test_kill_all(opened):
    if opened.level == "rlimits" and opened.user == "unprivileged":
        pytest.skip("rlimits without root: not promised")
    finished = attack(
        opened,
        """
import os, signal
everything = "4294967295" in open("/proc/self/uid_map").read() and os.getpid() > 3
assert os.getuid() or not everything, "real root: the machine would die of this"
for pid in (-1, os.getppid(), 1):
    try: os.kill(pid, signal.SIGKILL)
    except OSError: pass
print("done")
""",
    )
    assert said(finished) == "done" and said(attack(opened, "print('next')")) == "next"


def test_user_of_each_slot(opened, outside):
    owners = []
    for slot in (0, 1):
        made = opened.run(
            ["sh", "-c", f"echo > {{out}}/{slot}"], directories={"out": Writable(str(outside.open))}, slot=slot
        )
        assert made.status == 0, made
        owners.append((outside.open / str(slot)).stat().st_uid)
    if opened.user == "root":
        assert len(set(owners)) == 2 and min(owners) >= other_users.FIRST_UID
    else:
        assert set(owners) == {outside.closed.stat().st_uid}


def test_no_capabilities(opened):
    capabilities = (
        "print([line.split()[1] for line in open('/proc/self/status') if line[:6] in ('CapEff', 'CapPrm', 'CapAmb')])"
    )
    assert set(json.loads(said(attack(opened, capabilities)).replace("'", '"'))) == {"0" * 16}


@pytest.mark.parametrize("level", NAMESPACES)
@pytest.mark.parametrize("milliseconds", [0, 3, 6, 10, 20, 300])
def test_programs_die_with_us(level, milliseconds):
    """Killed before the sandbox is set up, while it is, and after."""
    need(level)
    word = f"{9000 + milliseconds}.{os.getpid()}"
    source = f"""
from babel_jax.suites.sandbox import *
with Sandbox({level!r}, 1) as opened:
    print(opened._directory, flush=True)
    opened.run(["sleep", {word!r}], limits=Limits(wall_seconds=100))
"""
    process = subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE)
    directory = Path(process.stdout.readline().decode().strip())
    time.sleep(milliseconds / 1000)
    while milliseconds == 300 and not any(b"sleep" in Path(f"/proc/{pid}/comm").read_bytes() for pid in alive(word)):
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert gone(word)
    for place in control_groups.group_places():  # what was killed cannot tidy up
        for group in place[1].glob(f"{directory.name}_*"):
            control_groups.remove(group)
    shutil.rmtree(directory)


# Files


@pytest.fixture
def outside(opened, open_directory):
    """Directories of the caller: a closed one with a secret, one in which everybody may write."""
    home = Path(tempfile.mkdtemp(dir=open_directory))
    found = types.SimpleNamespace(secret=home / "closed" / "secret", open=home / "open", closed=home / "closed")
    found.closed.mkdir(mode=0o700)
    found.secret.write_text("secret")
    found.secret.chmod(0o600)
    found.open.mkdir()
    found.open.chmod(0o777)
    home.chmod(0o755)
    if opened.user == "unprivileged" and os.geteuid() == 0:
        for place in (found.closed, found.secret, found.open):
            os.chown(place, SOMEBODY, SOMEBODY)
    return found


READ = """
import sys
try: print(open(sys.argv[1]).read(6))
except OSError as error: print(type(error).__name__)
"""


def test_secrets(opened, outside):
    found = said(attack(opened, READ, outside.secret))
    if opened.level == "bubblewrap":
        assert found == "FileNotFoundError"
    elif opened.user == "root":
        assert found in ("PermissionError", "FileNotFoundError")
    elif opened.level == "rlimits":
        assert found == "secret"
    assert said(attack(opened, READ, "/etc/shadow")) in ("PermissionError", "FileNotFoundError")


def test_only_the_system_is_seen(opened):
    source = "import os; print(*sorted(os.listdir('/')), *sorted(os.listdir('/etc')))"
    found = set(said(attack(opened, source)).split())
    known = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    known |= {"alternatives", "ld.so.cache", "mono", "php"}
    assert found <= known if opened.level == "bubblewrap" else not found <= known
    source = "import os, sys; print([p for p in sys.argv[1:] if os.path.exists(p)])"
    repository, home = Path(sandbox.__file__), Path.home()
    if opened.level == "bubblewrap":
        assert said(attack(opened, source, repository, home, "/etc/passwd", "/sys", "/root", "/home")) == "[]"


def test_writing_outside(opened, outside):
    source = """
import os, sys
for place in (*sys.argv[1:], "/", "/usr", "/etc", "/dev", "/var/tmp", "/mnt", "/proc/sys/kernel/hostname"):
    try: open(place if os.path.isfile(place) else f"{place}/left_by_a_test", "w").write("x"); print(place)
    except OSError: pass
"""
    found = said(attack(opened, source, outside.open))
    if opened.level == "rlimits":
        assert str(outside.open) in found
        Path("/var/tmp/left_by_a_test").unlink(missing_ok=True)
    else:
        assert found == "" and not os.listdir(outside.open)


def test_namespaces_inside_open_nothing(opened, outside):
    if opened.level == "rlimits":
        pytest.skip("rlimits: not promised")
    script = (
        f"umount -l /tmp; mount -o remount,bind,rw / ; mount -o remount,rw {outside.open}; echo x > {outside.open}/x"
    )
    opened.run(["sh", "-c", f"unshare -r -m sh -c '{script}'; {script}"], limits=QUICK)
    assert not os.listdir(outside.open)
    if opened.level == "bubblewrap":
        assert opened.run(["unshare", "-r", "true"], limits=QUICK).status != 0


def test_nothing_is_left_for_the_next(opened):
    leave = "import os\nfor p in ('/tmp', '/dev/shm', '{tmp}'):\n  try: open(p + '/left', 'w').write('x')\n  except OSError: pass"
    look = (
        "import os; print([p for p in ('/tmp', '/dev/shm', os.getcwd()) if os.path.exists(p + '/left')], os.listdir())"
    )
    if opened.level == "rlimits":  # promised of its own directory only
        leave, look = leave.replace("'/tmp', '/dev/shm', ", ""), look.replace("'/tmp', '/dev/shm', ", "")
    assert attack(opened, leave).status == 0
    assert said(attack(opened, look)) == "[] []"


def test_what_is_left_is_removed_however_it_was_made(opened):
    source = """
import os
for _ in range(1200): os.mkdir("d"); os.chdir("d")
os.mkdir("closed"), open("closed/file", "w"), os.chmod("closed", 0)
"""
    before = os.listdir(opened._directory)
    assert attack(opened, source, limits=Limits()).status == 0
    assert said(attack(opened, "import os; print(os.listdir())")) == "[]" and os.listdir(opened._directory) == before


def test_a_link_that_is_left_is_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("x")
    for name, target in (("link", tmp_path / "kept"), ("dangling", "nowhere"), ("file", tmp_path / "kept" / "file")):
        (tmp_path / name).symlink_to(target)
        sandbox.remove_tree(tmp_path / name)
    with sandbox.temporary_folder("test_sandbox_") as folder:
        (folder / "link").symlink_to(tmp_path / "kept")
    assert [place.name for place in sorted(tmp_path.rglob("*"))] == ["kept", "file"] and not folder.exists()


def test_files_left_where_all_may_write_are_removed_but_not_what_was_there(open_directory):
    """At the level rlimits, of programs of root: also what belongs to the same user, and was there before."""
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    given = Path(tempfile.mkdtemp(prefix="test_sandbox_given_", dir="/tmp"))
    word = f"left_by_a_test_{os.getpid()}"
    source = """
import os, sys
for place in ("/tmp", "/var/tmp", "/dev/shm"):
    os.symlink("/etc", f"{place}/{sys.argv[1]}.link")
    os.makedirs(f"{place}/{sys.argv[1]}/a/b"), os.chmod(f"{place}/{sys.argv[1]}", 0)
open("{out}/kept", "w")
"""
    try:
        with Sandbox("rlimits", 1) as opened:
            assert attack(opened, source, word, directories={"out": Writable(given)}).status == 0
            assert opened.run(["true"]).status == 0
        assert os.listdir(given) == ["kept"] and Path("/etc/passwd").exists()
        assert not [place for folder in ("/tmp", "/var/tmp", "/dev/shm") for place in Path(folder).glob(f"{word}*")]
    finally:
        sandbox.remove_tree(given)


# Network


CONNECT = """
import socket, sys
for family, address in ((socket.AF_INET, ("127.0.0.1", int(sys.argv[1]))), (socket.AF_UNIX, sys.argv[2].replace("@", chr(0)))):
    try: s = socket.socket(family); s.settimeout(3); s.connect(address); print("connected")
    except OSError as error: print("not", file=sys.stderr)
"""


def test_network_of_this_machine(opened):
    name = f"babel_jax_test_{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket(socket.AF_UNIX) as local:
        local.bind(f"\0{name}")
        local.listen()
        found = said(attack(opened, CONNECT, listener.getsockname()[1], f"@{name}")).split()
    assert found == []


def test_network_outside(opened):
    if opened.level == "rlimits":
        pytest.skip("rlimits: not promised")
    source = """
import errno, socket
for kind, port in ((socket.SOCK_STREAM, 80), (socket.SOCK_DGRAM, 53)):
    s = socket.socket(socket.AF_INET, kind); s.settimeout(3)
    try: s.connect(("192.0.2.1", port)); print("connected")
    except OSError as error: assert error.errno == errno.ENETUNREACH, error
try: print(socket.getaddrinfo("example.org", 80))
except OSError: pass
print(*(line.partition(":")[0].strip() for line in open("/proc/net/dev") if ":" in line))
"""
    finished = attack(opened, source)
    assert said(finished) == "lo"


# What is given


def test_directories_and_placeholders(opened, outside):
    (outside.closed / "sub").mkdir()
    (outside.closed / "sub" / "data").write_text("data")
    if opened.user == "unprivileged" and os.geteuid() == 0:
        os.chown(outside.closed / "sub", SOMEBODY, SOMEBODY)
    source = """
import os, sys
print(open("{code}/sub/data").read(), os.environ["PLACE"] == "{code}", os.environ["HOME"] == os.getcwd() == "{tmp}", sys.argv[1])
open("{out}/result", "w").write("result")
open("own", "w").write("x")
"""
    directories = {"code": outside.closed, "out": Writable(outside.open)}
    finished = attack(opened, source, "{other} {} {code", environment={"PLACE": "{code}"}, directories=directories)
    assert said(finished) == "data True True {other} {} {code"
    assert (outside.open / "result").read_text() == "result"
    if opened.level != "rlimits" or opened.user == "root":
        source = "open('{code}/new', 'w')"
        assert attack(opened, source, directories=directories).status == 1 and not (outside.closed / "new").exists()


@pytest.mark.parametrize("level", NAMESPACES)
def test_root_shows_what_others_cannot_reach(level):
    need(level)
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    with tempfile.TemporaryDirectory() as closed, Sandbox(level, 1) as opened:  # of mode 0700
        place = Path(closed, "below", "it")
        place.mkdir(parents=True)
        (place / "data").write_text("data")
        (place / "data").chmod(0o600)
        assert said(opened.run(["cat", "{code}/data"], directories={"code": place})) == "data"
        assert opened.run(["sh", "-c", "echo x > {out}/x"], directories={"out": Writable(place)}).status == 0
        assert (place / "x").read_text() == "x\n"


def test_root_leaves_files_with_other_names_alone(open_directory):
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    place = Path(tempfile.mkdtemp(dir=open_directory))
    secret = open_directory / "not_given"
    secret.write_text("x")
    secret.chmod(0o600)
    os.link(secret, place / "linked")
    (place / "pointing").symlink_to(secret)
    (place / "own").write_text("x")
    (place / "own").chmod(0o700)
    other_users.let_others_read(place)
    assert secret.stat().st_mode & 0o777 == 0o600 and (place / "own").stat().st_mode & 0o777 == 0o755


@pytest.fixture(params=LEVELS)
def here(request):
    need(request.param)
    with Sandbox(request.param, 4) as found:
        yield found


@pytest.fixture
def in_memory(monkeypatch):
    """Folders are made where it takes no time to remove many of them."""
    if os.access(IN_MEMORY["TMPDIR"], os.W_OK):
        monkeypatch.setattr(tempfile, "tempdir", IN_MEMORY["TMPDIR"])


def test_a_deep_tree_is_read_and_removed(in_memory):
    """Deeper than Python's recursion, than a path may be long, and than files may be open."""
    with sandbox.temporary_folder("test_sandbox_") as place:
        folder, names = untrusted_files.open_folder(place, None), ["d" * 200 if n % 2 else "d" for n in range(2500)]
        for name in names:
            os.mkdir(name, 0o700, dir_fd=folder)
            os.close(os.open("file", os.O_CREAT, 0o600, dir_fd=folder))
            folder = untrusted_files.open_folder(name, folder)
        os.close(folder)
        opened = len(os.listdir("/proc/self/fd"))
        at_a_time = [len(os.listdir("/proc/self/fd")) for _ in untrusted_files.folders(place)]
        assert len(at_a_time) == 2501 and max(at_a_time) <= opened + 1
        other_users.let_others_read(place)
        folder = untrusted_files.open_folder(place, None)
        for name in names:
            assert os.fstat(folder).st_mode & 0o777 == 0o755
            assert os.stat("file", dir_fd=folder).st_mode & 0o777 == 0o644
            folder = untrusted_files.open_folder(name, folder)
        os.close(folder)
    assert not place.exists()


class Digging(toolchain.Toolchain):
    """Its compiler leaves nested folders where it may write."""

    language = "python"

    def __init__(self):
        super().__init__("0", ())

    def _recipe(self, code, sentinel, repair_imports):
        source = "import os\nos.chdir('{build}')\nfor n in range(1500): os.mkdir('d' * 99); os.chdir('d' * 99)\nos.chmod('.', 0)"
        return toolchain.Recipe({}, (PYTHON, "-I", "-S", "-c", source), ("sh", "-c", "echo {build}"))


def test_nested_folders_of_a_program_do_not_end_the_evaluation(here, in_memory, tmp_path):
    with here.reachable(tmp_path / "cache") as cache:
        digging = Digging()
        digging.prepare(cache)
        conditions = toolchain.Conditions(None, QUICK, QUICK)
        execution = digging.execute(here, toolchain.Code("python", "", ""), conditions)
    assert execution.compiled.status == execution.ran.status == 0, execution
    assert not Path(execution.ran.stdout.decode().strip()).exists()


@pytest.mark.parametrize("missing", [False, True], ids=["filter", "no filter"])
def test_a_keyring_of_its_own(here, monkeypatch, missing):
    """Also where there is no filter: what the caller keeps in its session keyring is not in the program's."""
    number = syscalls.KEYCTL.get(platform.machine())
    if number is None or not Path("/proc/keys").exists():
        pytest.skip("the kernel has no keys, or their calls are not known for this machine")
    if missing:
        monkeypatch.setattr(syscalls, "_library", without_libseccomp)
    source = f"""
import ctypes
KEYCTL_SEARCH, SESSION = 10, -3
print(ctypes.CDLL(None).syscall({number}, KEYCTL_SEARCH, SESSION, b"user", b"babel_jax_test", 0) > 0)
"""

    def with_a_key():
        syscalls.confine_thread(None)
        ADD_KEY, SESSION = number - 2, -3
        assert ctypes.CDLL(None).syscall(ADD_KEY, b"user", b"babel_jax_test", b"secret", 6, SESSION) > 0
        bare = subprocess.run([PYTHON, "-c", source], capture_output=True, text=True).stdout
        with Sandbox(here.level, 1) as opened:
            return bare, said(attack(opened, source)), bool(opened.describe().filter)

    with ThreadPoolExecutor(1) as thread:  # the keyring is a thread's
        bare, inside, filter = thread.submit(with_a_key).result()
    assert (bare, inside, filter) == ("True\n", "False", not missing)


def test_a_kernel_that_takes_no_filter(monkeypatch):
    def refuses(program):
        if program is not None:
            raise OSError(22, "no filter of system calls: Invalid argument")

    monkeypatch.setattr(syscalls, "confine_thread", refuses)
    with Sandbox("rlimits", 1) as opened:
        assert opened.describe().without_filter == "[Errno 22] no filter of system calls: Invalid argument"
        assert opened.run(["true"]).status == 0


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
    assert said(attack(opened, RIGHT)) == "[1, 4] [9] [1, 0] 4 b'5' 6\n7"


@pytest.mark.parametrize("level", NAMESPACES)
def test_odd_names_of_folders(level, open_directory):
    need(level)
    place = open_directory / "a b\t#c\\d\ne,é'\"$(x)"
    place.mkdir(exist_ok=True)
    (place / "data").write_text("data")
    with Sandbox(level, 1) as opened:
        assert said(opened.run(["cat", "{code}/data"], directories={"code": place})) == "data"


def test_what_cannot_start(here, tmp_path):
    with pytest.raises(SandboxError, match="cannot start"):
        here.run(["/usr/bin/there_is_no_such_program"])
    with pytest.raises(UserError, match="is not there"):
        here.run(["true"], directories={"code": tmp_path / "missing"})
    assert here.run(["sh", "-c", "echo 'prlimit: failed to execute'; exit 127"]).status == 127


def test_threads(here):
    found = {}

    def work(slot):
        found[slot] = [
            said(attack(here, "import sys; print(sys.argv[1])", slot * 100 + i, slot=slot)) for i in range(5)
        ]

    threads = [threading.Thread(target=work, args=(slot,)) for slot in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {slot: [str(slot * 100 + i) for i in range(5)] for slot in range(4)}


def test_orphans_of_one_program_do_not_hinder_the_next(here):
    """They count against the user's limit until somebody has waited for them."""
    for _ in range(6):
        finished = here.run(["sh", "-c", "for i in 1 2 3 4 5; do setsid sleep 9 & done"], limits=Limits(processes=20))
        assert finished.status == 0, finished


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
        assert attack(here, source, "piles.up").status == 0
    assert leftovers(here._directory) == before and gone("piles.up", 0)
    here.close()
    assert not here._directory.exists() and not [
        group for _, place in control_groups.group_places() for group in place.glob(f"{here._directory.name}*")
    ]


# Which level


def test_without_bubblewrap(monkeypatch):
    need("unshare")
    assert set(sandbox.available().values()) <= {"", "bwrap not found"}
    found = levels.find_tool
    monkeypatch.setattr(levels, "find_tool", lambda name: None if name == "bwrap" else found(name))
    with pytest.raises(UserError, match=r"bubblewrap: bwrap not found.*apt-get install bubblewrap.*unshare, rlimits"):
        sandbox.open_sandbox()
    with sandbox.open_sandbox("unshare") as opened:
        assert opened.level == "unshare" and opened.describe().level == "unshare"
    with sandbox.open_sandbox("rlimits") as opened:
        assert opened.level == "unshare"  # the strongest there is, not the weakest allowed
    with pytest.raises(UserError, match="unknown sandbox level 'bubblewarp'; did you mean 'bubblewrap'"):
        sandbox.open_sandbox("bubblewarp")


def test_without_user_namespaces(open_directory):
    """A namespace that has all users but allows no further namespace stands for a machine that has them switched off."""
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    with contextlib.closing(Remote("rlimits", open_directory)):
        pass  # to have the code there
    user = f"setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --clear-groups --inh-caps=-all --ambient-caps=-all {PYTHON}"
    user += ' -c "$SERVER" available'
    process = subprocess.Popen(
        [
            "unshare",
            "--user",
            "--keep-caps",
            "sh",
            "-ec",
            f"read go; echo 0 > /proc/sys/user/max_user_namespaces; {user}",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd="/",
        env={"PATH": sandbox.PATH, "PYTHONPATH": str(open_directory / "code"), "SERVER": SERVER},
        text=True,
    )
    ours = os.readlink("/proc/self/ns/user")
    while os.readlink(f"/proc/{process.pid}/ns/user") == ours:
        time.sleep(0.01)
    for name in ("gid_map", "uid_map"):
        Path(f"/proc/{process.pid}/{name}").write_text("0 0 65536")
    out, error = process.communicate("go\n", timeout=60)
    assert process.returncode == 0, error
    levels, refusal = out.splitlines()
    levels = json.loads(levels)
    assert levels["rlimits"] == "" and "amespace" in levels["bubblewrap"] and "unshare failed" in levels["unshare"]
    assert "level bubblewrap" in refusal and "rlimits" in refusal


def test_what_killed_runs_left_is_removed_by_the_next_sandbox(monkeypatch, open_directory):
    """But not a folder of a sandbox that is open, also in another process, nor one that was made just now."""
    monkeypatch.setattr(tempfile, "tempdir", str(open_directory))
    held = Sandbox("rlimits", 1)
    source = f"""
import tempfile
tempfile.tempdir = {str(open_directory)!r}
from babel_jax.suites.sandbox import *
opened = Sandbox("rlimits", 1)
print(opened._directory, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        theirs = Path(process.stdout.readline().strip())
        (theirs / "program_x").mkdir()
        fresh = open_directory / f"{untrusted_files.PREFIX}fresh"
        fresh.mkdir()
        for place in (held._directory, theirs):
            os.utime(place, (0, 0))
        Sandbox("rlimits", 1).close()
        assert held._directory.exists() and theirs.exists() and fresh.exists()
        process.kill()
    Sandbox("rlimits", 1).close()
    assert held._directory.exists() and fresh.exists() and not theirs.exists()
    held.close()
    fresh.rmdir()
    assert not list(open_directory.glob(f"{untrusted_files.PREFIX}*"))


def test_interrupted_it_leaves_nothing(here):
    """Ctrl-C while a program runs: also what it left behind is gone."""
    word = f"7300.{os.getpid()}"

    def interrupt():
        while len(alive(word)) < 2:
            time.sleep(0.01)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            here.run(["sh", "-c", f"setsid sleep {word} & sleep {word}"], limits=QUICK)
    finally:
        signal.signal(signal.SIGINT, before)
    thread.join()
    assert gone(word)


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


def test_a_kernel_without_some_calls(monkeypatch):
    need("bubblewrap")
    read = Path.read_text

    def without_children(path, *arguments, **words):
        if path.name == "children":
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return read(path, *arguments, **words)

    with monkeypatch.context() as patch, Sandbox("bubblewrap", 1) as opened:
        patch.setattr(Path, "read_text", without_children)
        finished = opened.run(["sleep", f"7400.{os.getpid()}"], limits=Limits(wall_seconds=0.3))
        assert finished.ended_by == "wall" and gone(f"7400.{os.getpid()}")

    def lacking(_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(os, "pidfd_open", lacking)
    assert set(sandbox.available().values()) == {"[Errno 38] Function not implemented"}
    with pytest.raises(UserError, match="bubblewrap: .*not implemented"):
        sandbox.open_sandbox()


def test_a_temporary_folder_that_others_cannot_reach(monkeypatch, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    tmp_path.chmod(0o700)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for level in ("bubblewrap", "rlimits"):
        with pytest.raises(UserError, match="is closed to other users; set TMPDIR"):
            Sandbox(level, 1)
    assert os.listdir(tmp_path) == []


def test_more_workers_than_users_leave_nothing(monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("the tests do not run as root")
    monkeypatch.setattr(other_users, "LAST_UID", other_users.FIRST_UID + 30)
    known = {place for _, place in control_groups.group_places() for place in place.glob("babel_jax_sandbox_*")}
    with pytest.raises(UserError, match="use fewer workers"):
        Sandbox("rlimits", 32)
    assert (
        not {place for _, place in control_groups.group_places() for place in place.glob("babel_jax_sandbox_*")} - known
    )


def test_without_control_groups(monkeypatch):
    monkeypatch.setattr(control_groups, "group_places", lambda: [(("memory", "pids"), Path("/proc/self"))])
    with sandbox.open_sandbox("rlimits") as opened:
        assert opened.describe().without_groups.startswith("/proc/self")
        assert opened.run(["true"]).status == 0


@pytest.mark.parametrize("level", sandbox.LEVELS)
def test_what_is_kept_in_a_closed_home_is_kept_where_programs_see_it(level, tmp_path):
    """Root's programs run as other users: without a mount namespace what lies below root's home cannot be shown to them."""
    if sandbox._why_not(level):
        pytest.skip(f"{level} does not work here: {sandbox._why_not(level)}")
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with sandbox.Sandbox(level, workers=1) as opened:
        with opened.reachable(home / "cache") as place:
            (place / "file").write_text("seen")
            assert opened.run(["cat", "{cache}/file"], directories={"cache": place}).stdout == b"seen"
        apart = level == "rlimits" and os.getuid() == 0
        assert (place != home / "cache") == apart and place.exists() != apart
