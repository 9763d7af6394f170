"""Programs that take too much, or would stay: processor, memory, output and processes are bounded, and nothing outlives them."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from helpers.remote import QUICK
from helpers.sandboxes import NAMESPACES, alive, attack, gone, need, needs_python, printed

from babel_jax.suites.sandbox import (
    Limits,
    Sandbox,
    control_groups,
)

pytestmark = [pytest.mark.processes, needs_python]


def test_output_status_and_time_of_a_program_are_returned(opened):
    finished = attack(opened, "import os, sys; os.write(1, b'\\xff\\0x'); os.write(2, b'e'); sys.exit(7)")
    assert (finished.status, finished.ended_by, finished.stdout, finished.stderr) == (7, "itself", b"\xff\0x", b"e")
    finished = attack(opened, "import time\nwhile time.process_time() < .3: pass")
    assert 0.25 < finished.cpu_seconds < 0.8 and finished.cpu_seconds <= finished.wall_seconds + 0.1


def test_processor_time_is_bounded(opened):
    spin = (
        "import os, signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN); os.close(1); os.close(2)\nwhile True: pass"
    )
    finished = attack(opened, spin, limits=Limits(cpu_seconds=1, wall_seconds=20))
    # the limit counts ticks of a clock, on a busy machine more than the program ran
    assert (finished.status, finished.ended_by) == (-signal.SIGKILL, "cpu") and 0.5 < finished.cpu_seconds < 1.5


def test_a_program_that_sleeps_ends_with_its_wall_time(opened):
    finished = attack(
        opened, "import time; print('here', flush=True); time.sleep(1000)", limits=Limits(wall_seconds=0.5)
    )
    assert (finished.status, finished.ended_by, finished.stdout) == (-signal.SIGKILL, "wall", b"here\n")


def test_many_that_spin_end_by_the_wall(opened):
    source = "import os; os.fork(); os.fork()\nwhile True: pass"
    finished = attack(opened, source, f"spin.everywhere.{os.getpid()}", limits=Limits(cpu_seconds=3, wall_seconds=0.5))
    assert finished.ended_by == "wall" and gone(f"spin.everywhere.{os.getpid()}", 0)


def test_memory_of_a_process_is_bounded(opened):
    finished = attack(opened, "x = bytearray(4 << 30)", limits=Limits(memory_bytes=1 << 30))
    assert finished.status != 0 and (finished.ended_by == "memory" or b"MemoryError" in finished.stderr)


def test_memory_of_all_processes_together_is_bounded(opened):
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
    assert printed(attack(opened, source)) == ""


def test_too_much_output_ends_a_program(opened):
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


def test_the_size_of_a_file_is_bounded(opened):
    source = "f = open('large', 'wb')\nfor _ in range(1024): f.write(bytes(1 << 20))"
    finished = attack(opened, source, limits=Limits(file_bytes=4 << 20))
    assert finished.status != 0 and b"File too large" in finished.stderr


def test_deep_recursion_ends_by_a_signal(opened):
    source = "import sys, _thread; sys.setrecursionlimit(10**9)\nclass A:\n  def __repr__(s): return repr(s)\nrepr(A())"
    assert attack(opened, source).status == -signal.SIGSEGV


def test_the_number_of_processes_is_bounded(opened):
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
    finished = attack(opened, source, f"fork.bomb.{os.getpid()}", limits=Limits(processes=20, wall_seconds=20))
    # where the user's own processes count, some of them may have ended since
    assert 5 < int(printed(finished)) <= 30 and gone(f"fork.bomb.{os.getpid()}", 0)


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


def test_a_daemon_does_not_outlive_the_program(opened):
    finished = attack(opened, DAEMON % "os.environ", f"stays.behind.{os.getpid()}")
    assert finished.status == 0 and gone(f"stays.behind.{os.getpid()}", 0)


def test_a_daemon_without_our_mark_does_not_outlive_the_program(opened):
    if opened.level == "rlimits" and opened.user == "unprivileged":
        pytest.skip("rlimits without root: not promised")
    assert attack(opened, DAEMON % "{}", f"stays.unmarked.{os.getpid()}").status == 0 and gone(
        f"stays.unmarked.{os.getpid()}", 0
    )


@pytest.mark.parametrize("level", NAMESPACES)
def test_the_first_process_is_bounded_too(level):
    """Who gets hold of it (it had no limits, and could be traced) has no more memory and no more processes."""
    need(level)
    limits = Limits(memory_bytes=300 << 20, processes=17, file_bytes=3 << 20)
    with Sandbox(level, 1) as opened:
        source = "print(*open('/proc/1/limits'), '|', *open('/proc/self/limits'))"
        first, _, own = printed(attack(opened, source, limits=limits)).partition("|")
    assert [line.split() for line in first.strip().splitlines()] == [line.split() for line in own.strip().splitlines()]
    assert (
        str(300 << 20) in first
        and " 17 " in first
        and "unlimited" not in first.split("Max processes")[1].split("\n")[0]
    )


def test_killing_all_processes_harms_nothing_outside(opened):
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
    assert printed(finished) == "done" and printed(attack(opened, "print('next')")) == "next"


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


def test_orphans_of_one_program_do_not_hinder_the_next(here):
    """They count against the user's limit until somebody has waited for them."""
    for _ in range(6):
        finished = here.run(["sh", "-c", "for i in 1 2 3 4 5; do setsid sleep 9 & done"], limits=Limits(processes=20))
        assert finished.status == 0, finished


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
