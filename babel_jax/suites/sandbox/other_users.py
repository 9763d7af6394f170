"""Users that own nothing, whom root has programs run as; and what they can reach of the caller's files."""

import os
import socket
import stat
import subprocess
from pathlib import Path

from babel_jax.common.errors import UserError
from babel_jax.suites.sandbox import supervision
from babel_jax.suites.sandbox.bounds import PATH
from babel_jax.suites.sandbox.untrusted_files import folders

FIRST_UID, LAST_UID = 60600, 61183  # given out by no distribution: systemd, "Users, Groups, UIDs and GIDs"


def claim_user() -> tuple[int, socket.socket]:
    """(a user that no other sandbox of this machine uses, what claims it as long as it is open).

    A user of whom a process is left is in use, too, be it one that has ended and that its parent, the former owner, has not
    waited for: who claims the user now could not do away with it.

    Raises:
      UserError: all of them are taken.
    """
    for uid in range(FIRST_UID, LAST_UID + 1):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0babel_jax_uid_{uid}")  # an abstract name: gone with this process, however it ends
        except OSError:
            claim.close()
            continue
        if not supervision.processes_of(uid):
            return uid, claim
        claim.close()
    raise UserError(f"all users from {FIRST_UID} to {LAST_UID} are taken by programs that run; use fewer workers.")


def can_be_others() -> bool:
    """Whether programs can be run as users of their own: as root, unless in a namespace that has no other user."""
    if os.geteuid() != 0:
        return False
    users = ["--reuid", str(FIRST_UID), "--regid", str(FIRST_UID), "--clear-groups"]
    return subprocess.run(["setpriv", *users, "--", "true"], capture_output=True, env={"PATH": PATH}).returncode == 0


def others_reach(directory: Path) -> bool:
    """Whether other users may pass through all that lies above a directory."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in directory.parents)


def let_others_read(directory: Path) -> None:
    """Adds what the slots' users need to read a directory; a file with a second name elsewhere is left as it is."""
    for folder in folders(directory):
        os.fchmod(folder, stat.S_IMODE(os.fstat(folder).st_mode) | 0o055)
        for name in os.listdir(folder):
            about = os.stat(name, dir_fd=folder, follow_symlinks=False)
            mode = stat.S_IMODE(about.st_mode)
            wanted = mode | (0o055 if mode & 0o100 else 0o044)
            if stat.S_ISREG(about.st_mode) and about.st_nlink == 1 and wanted != mode:
                os.chmod(name, wanted, dir_fd=folder)
