"""Root's programs run as users of their own, who reach no more than they should."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from subprocess import PIPE

import pytest
from helpers.sandboxes import needs_python

from babel_jax.common.errors import UserError
from babel_jax.suites import sandbox
from babel_jax.suites.sandbox import (
    Sandbox,
    Writable,
    control_groups,
    other_users,
)

pytestmark = [pytest.mark.processes, needs_python]


def test_each_slot_has_a_user_of_its_own(opened, outside):
    owners = []
    for slot in (0, 1):
        finished = opened.run(
            ["sh", "-c", f"echo > {{out}}/{slot}"], directories={"out": Writable(str(outside.open))}, slot=slot
        )
        assert finished.status == 0, finished
        owners.append((outside.open / str(slot)).stat().st_uid)
    if opened.user == "root":
        assert len(set(owners)) == 2 and min(owners) >= other_users.FIRST_UID
    else:
        assert set(owners) == {outside.closed.stat().st_uid}


# A child that has ended and that its parent does not wait for, until it is told to end itself.
LEFT = """
import pathlib, subprocess, sys, time
child = subprocess.Popen(["setpriv", "--reuid", sys.argv[1], "--regid", sys.argv[1], "--clear-groups", "true"])
while "State:\\tZ" not in pathlib.Path(f"/proc/{child.pid}/status").read_text():
    time.sleep(0.01)
print("left", flush=True)
sys.stdin.read()
"""


def test_a_user_of_whom_a_process_is_left_is_not_given_out():
    if not other_users.can_be_others():
        pytest.skip("the tests cannot run programs as other users")
    uid, claim = other_users.claim_user()
    claim.close()
    with subprocess.Popen([sys.executable, "-c", LEFT, str(uid)], stdin=PIPE, stdout=PIPE, text=True) as parent:
        assert parent.stdout.readline() == "left\n"
        other, claim = other_users.claim_user()
        claim.close()
        assert other != uid
        parent.stdin.close()


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
