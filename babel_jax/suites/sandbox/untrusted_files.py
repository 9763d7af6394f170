"""Folders that programs write to: walked, held and removed whatever the programs have made in them."""

import contextlib
import fcntl
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from babel_jax.common.errors import one_line
from babel_jax.suites.sandbox import control_groups
from babel_jax.suites.sandbox.bounds import PATH, SandboxError

PREFIX = "babel_jax_sandbox_"  # of a sandbox's folder
FRESH_SECONDS = 60  # so long after it was made a folder may not be held yet


def folders(directory: Path) -> Iterator[int]:
    """Each folder of a tree, opened while it is looked at. A program may have made it of any depth: so there is no
    recursion, no path longer than a name, and one file open at a time."""
    place, waiting = open_folder(directory, None), []
    try:
        while True:
            yield place
            waiting.append([name for name in os.listdir(place) if _is_folder(name, place)])
            while not waiting[-1]:
                waiting.pop()
                if not waiting:
                    return
                place = open_folder("..", place)
            place = open_folder(waiting[-1].pop(), place)
    finally:
        os.close(place)


def _is_folder(name: str, place: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=place, follow_symlinks=False).st_mode)


def open_folder(name, place: int | None) -> int:
    """Opens a folder, and closes the one that it is named from."""
    folder = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=place)
    if place is not None:
        os.close(place)
    return folder


@contextlib.contextmanager
def _opened(place: str) -> Iterator[int]:
    folder = open_folder(place, None)
    try:
        yield folder
    finally:
        os.close(folder)


def hold(place: Path) -> int:
    """An open folder that is this process's, for as long as it lives: `remove_abandoned` leaves it alone."""
    held = open_folder(place, None)
    fcntl.flock(held, fcntl.LOCK_EX)
    return held


def remove_abandoned() -> None:
    """Removes the folders, and the control groups, of sandboxes whose process was killed."""
    for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError, SandboxError), _opened(str(place)) as folder:
            about = os.fstat(folder)
            if about.st_uid != os.geteuid() or time.time() - about.st_mtime < FRESH_SECONDS:
                continue
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: it is held
            for _, groups in control_groups.group_places():
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


def files_of(uid: int) -> set[str]:
    """What belongs to a user in the folders that all may write to."""
    paths = set()
    for place in filter(os.path.isdir, ("/dev/shm", "/tmp", "/var/tmp")):
        for name in os.listdir(place):
            with contextlib.suppress(FileNotFoundError):  # somebody else's, just removed
                if os.lstat(f"{place}/{name}").st_uid == uid:
                    paths.add(f"{place}/{name}")
    return paths


def remove_new(uid: int, known: set[str]) -> None:
    """Removes what a user has made in these folders since `known` was all that it had there."""
    for place in files_of(uid) - known:
        remove_tree(place)
