"""What programs have made is removed, however it was made, and nothing else is."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from helpers.remote import PYTHON, QUICK
from helpers.sandboxes import attack, needs_python, printed

from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import (
    Limits,
    Sandbox,
    Writable,
    other_users,
    untrusted_files,
)
from babel_jax.suites.toolchains import toolchain

pytestmark = [pytest.mark.processes, needs_python]


def test_nothing_is_left_for_the_next(opened):
    leave = "import os\nfor p in ('/tmp', '/dev/shm', '{tmp}'):\n  try: open(p + '/left', 'w').write('x')\n  except OSError: pass"
    look = (
        "import os; print([p for p in ('/tmp', '/dev/shm', os.getcwd()) if os.path.exists(p + '/left')], os.listdir())"
    )
    if opened.level == "rlimits":  # promised of its own directory only
        leave, look = leave.replace("'/tmp', '/dev/shm', ", ""), look.replace("'/tmp', '/dev/shm', ", "")
    assert attack(opened, leave).status == 0
    assert printed(attack(opened, look)) == "[] []"


def test_what_is_left_is_removed_however_it_was_made(opened):
    source = """
import os
for _ in range(1200): os.mkdir("d"); os.chdir("d")
os.mkdir("closed"), open("closed/file", "w"), os.chmod("closed", 0)
"""
    before = os.listdir(opened._directory)
    assert attack(opened, source, limits=Limits()).status == 0
    assert printed(attack(opened, "import os; print(os.listdir())")) == "[]" and os.listdir(opened._directory) == before


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
    folder = Path(tempfile.mkdtemp(prefix="test_sandbox_given_", dir="/tmp"))
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
            assert attack(opened, source, word, directories={"out": Writable(folder)}).status == 0
            assert opened.run(["true"]).status == 0
        assert os.listdir(folder) == ["kept"] and Path("/etc/passwd").exists()
        assert not [place for folder in ("/tmp", "/var/tmp", "/dev/shm") for place in Path(folder).glob(f"{word}*")]
    finally:
        sandbox.remove_tree(folder)


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
        source = "import os\nos.chdir('{build}')\nfor n in range(1100): os.mkdir('d' * 99); os.chdir('d' * 99)\nos.chmod('.', 0)"
        return toolchain.Recipe({}, (PYTHON, "-I", "-S", "-c", source), ("sh", "-c", "echo {build}"))


def test_nested_folders_of_a_program_do_not_end_the_evaluation(here, in_memory, tmp_path):
    with here.reachable(tmp_path / "cache") as cache:
        digging = Digging()
        digging.prepare(cache)
        conditions = toolchain.Conditions(None, QUICK, QUICK)
        execution = digging.execute(here, toolchain.Code("python", "", ""), conditions)
    assert execution.compiled.status == execution.ran.status == 0, execution
    assert not Path(execution.ran.stdout.decode().strip()).exists()


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
