"""Which level is taken where tools, namespaces, control groups or calls of the kernel are missing."""

import contextlib
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from helpers.remote import PYTHON, SERVER, SOMEBODY, Remote
from helpers.sandboxes import gone, need, needs_python

from babel_jax.common.errors import UserError
from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import (
    Limits,
    Sandbox,
    control_groups,
    levels,
)

pytestmark = [pytest.mark.processes, needs_python]


def test_without_bubblewrap_the_next_level_is_taken_where_it_may_be(monkeypatch):
    need("unshare")
    assert set(sandbox.available().values()) <= {"", "bwrap not found"}
    find_tool = levels.find_tool
    monkeypatch.setattr(levels, "find_tool", lambda name: None if name == "bwrap" else find_tool(name))
    with pytest.raises(UserError, match=r"bubblewrap: bwrap not found.*apt-get install bubblewrap.*unshare, rlimits"):
        sandbox.open_sandbox()
    with sandbox.open_sandbox("unshare") as opened:
        assert opened.level == "unshare" and opened.describe().level == "unshare"
    with sandbox.open_sandbox("rlimits") as opened:
        assert opened.level == "unshare"  # the strongest there is, not the weakest allowed
    with pytest.raises(UserError, match="unknown sandbox level 'bubblewarp'; did you mean 'bubblewrap'"):
        sandbox.open_sandbox("bubblewarp")


def test_without_user_namespaces_only_rlimits_works(open_directory):
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


def test_a_kernel_without_some_calls_is_reported(monkeypatch):
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


def test_without_control_groups_programs_still_run(monkeypatch):
    monkeypatch.setattr(control_groups, "group_places", lambda: [(("memory", "pids"), Path("/proc/self"))])
    with sandbox.open_sandbox("rlimits") as opened:
        assert opened.describe().without_groups.startswith("/proc/self")
        assert opened.run(["true"]).status == 0
