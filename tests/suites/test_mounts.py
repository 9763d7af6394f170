"""What a program sees of the file system, and what of it it can change."""

import os
import tempfile
from pathlib import Path

import pytest
from helpers.remote import QUICK, SOMEBODY
from helpers.sandboxes import NAMESPACES, attack, need, needs_python, printed

from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import (
    Limits,
    Sandbox,
    Writable,
)

pytestmark = [pytest.mark.processes, needs_python]


FILL = """
import os, sys
n, size = 0, int(sys.argv[2])
try:
    for n in range(100000):
        with open(f"{sys.argv[1]}/{n}", "wb") as f: f.write(bytes(size))
except OSError as error: print(n, error.strerror)
"""


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_files_in_memory_are_bounded(opened, place):
    if opened.level == "rlimits":
        pytest.skip("rlimits: not promised")
    count, _, why = printed(attack(opened, FILL, place, 1000, limits=Limits(tmp_bytes=4 << 20))).partition(" ")
    assert why in ("No space left on device", "Permission denied") and int(count) <= 1024


READ = """
import sys
try: print(open(sys.argv[1]).read(6))
except OSError as error: print(type(error).__name__)
"""


def test_secrets_of_the_caller_cannot_be_read(opened, outside):
    result = printed(attack(opened, READ, outside.secret))
    if opened.level == "bubblewrap":
        assert result == "FileNotFoundError"
    elif opened.user == "root":
        assert result in ("PermissionError", "FileNotFoundError")
    elif opened.level == "rlimits":
        assert result == "secret"
    assert printed(attack(opened, READ, "/etc/shadow")) in ("PermissionError", "FileNotFoundError")


def test_only_the_system_is_seen(opened):
    source = "import os; print(*sorted(os.listdir('/')), *sorted(os.listdir('/etc')))"
    result = set(printed(attack(opened, source)).split())
    known = {"bin", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    known |= {"alternatives", "ld.so.cache", "mono", "php"}
    earlier = {"code", "out"}  # at unshare, where directories of earlier programs were mounted
    assert (result <= known | earlier) == (opened.level != "rlimits")
    source = "import os, sys; print([p for p in sys.argv[1:] if os.path.exists(p)])"
    repository, home = Path(sandbox.__file__), Path.home()
    if opened.level != "rlimits":
        assert printed(attack(opened, source, repository, home, "/etc/passwd", "/sys", "/root", "/home")) == "[]"


def test_nothing_outside_can_be_written(opened, outside):
    source = """
import os, sys
for place in (*sys.argv[1:], "/", "/usr", "/etc", "/dev", "/var/tmp", "/mnt", "/proc/sys/kernel/hostname"):
    try: open(place if os.path.isfile(place) else f"{place}/left_by_a_test", "w").write("x"); print(place)
    except OSError: pass
"""
    result = printed(attack(opened, source, outside.open))
    if opened.level == "rlimits":
        assert str(outside.open) in result
        Path("/var/tmp/left_by_a_test").unlink(missing_ok=True)
    else:
        assert result == "" and not os.listdir(outside.open)


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


def test_directories_stand_where_placeholders_say(opened, outside):
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
    assert printed(finished) == "data True True {other} {} {code"
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
        assert printed(opened.run(["cat", "{code}/data"], directories={"code": place})) == "data"
        assert opened.run(["sh", "-c", "echo x > {out}/x"], directories={"out": Writable(place)}).status == 0
        assert (place / "x").read_text() == "x\n"


@pytest.mark.parametrize("level", NAMESPACES)
def test_folders_may_have_odd_names(level, open_directory):
    need(level)
    place = open_directory / "a b\t#c\\d\ne,é'\"$(x)"
    place.mkdir(exist_ok=True)
    (place / "data").write_text("data")
    with Sandbox(level, 1) as opened:
        assert printed(opened.run(["cat", "{code}/data"], directories={"code": place})) == "data"
