"""Files and folders of sources, here or behind a URL of fsspec; git checkouts; and what their errors mean."""

import contextlib
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa

from babel_jax.common.errors import UserError, one_line

LARGEST_FILE = 1_000_000  # bytes; of a larger file only the size is needed (clean.py drops it)
BLOCK = 1 << 20
# What the libraries raise when a file is not what it should be.
BROKEN = (
    *(OSError, EOFError, UnicodeError, zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile),
    *(NotImplementedError, pa.ArrowException),
)
REFUSED = (PermissionError, ConnectionError, TimeoutError)
_CLOUD = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google", "s3fs")  # packages with exceptions of their own
_HIDDEN = re.compile(r"(^|/)\.(?!\.?/)[^/]*/")
_CHANGED = ("ETag", "etag", "md5Hash", "mtime", "LastModified", "created")  # what file systems call it


def is_url(place: str) -> bool:
    return "://" in place


def _filesystem(place):
    try:
        return fsspec.core.url_to_fs(place)
    except ImportError as error:  # it names the package
        raise UserError(f"cannot open {place} ({one_line(error)}); install that package and run again.") from error
    except Exception as error:  # each file system has its own way of refusing an address
        raise UserError(
            f"cannot open {place} ({one_line(error)}); name a folder or a URL that fsspec knows."
        ) from error


def _ask(url: str, method: str, *arguments):
    """What a URL's file system answers."""
    system, path = _filesystem(url)
    with understood(url):
        return getattr(system, method)(path, *arguments)


def absolute(url: str) -> str:
    """A URL as its file system writes it, so that one place has one name."""
    system, path = _filesystem(url)
    return system.unstrip_protocol(path)


def opened(place: str):
    """The file as a binary one that can be read and seeked; the caller closes it."""
    return _ask(place, "open", "rb") if is_url(place) else open(place, "rb")


def exists(place: str) -> bool:
    if is_url(place):
        return _ask(place, "exists")
    return os.path.isfile(place) or os.path.isdir(place)  # a pipe would never end


def is_folder(place: str) -> bool:
    return _ask(place, "isdir") if is_url(place) else os.path.isdir(place)


def matches(pattern: str, root: str) -> list[str]:
    """The places that a pattern with *, ?, [ ] and ** fits, in the order of their parts.

    `root`: the folder before the pattern's first sign. Below it, hidden names are left out; with **, links too.
    """
    if is_url(pattern):
        system, path = _filesystem(pattern)
        with understood(pattern):
            names = [system.unstrip_protocol(name) for name in system.glob(path)]
    else:
        try:
            names = {str(place) for place in Path(root or "/").glob(pattern[len(root) + 1 :]) if exists(str(place))}
        except ValueError as error:
            raise UserError(f"cannot look for {pattern} ({one_line(error)}); ** stands for whole folders.") from error
        names = [place for place in names if "**" not in pattern or not _is_behind_link(place, root)]
    names = [place for place in names if "/." not in place[len(root) :]]
    return sorted(names, key=lambda place: place.split("/"))


def _is_behind_link(place, root):
    parts = place[len(root) + 1 :].split("/")
    return any(os.path.islink("/".join((root, *parts[: i + 1]))) for i in range(len(parts)))


def is_hidden(name: str) -> bool:
    """Whether the name of a file leads through a folder that begins with a dot."""
    return _HIDDEN.search(name) is not None


def size(place: str) -> int:
    return _ask(place, "size") if is_url(place) else os.stat(place).st_size


def state(place: str) -> str:
    """What changes when the file does: its size, and its time or tag."""
    if is_url(place):
        about = _ask(place, "info")
        return f"{about['size']} {next((about[key] for key in _CHANGED if about.get(key)), '')}"
    about = os.stat(place)
    return f"{about.st_size} {about.st_mtime_ns}"


def files_below(folder: str, endings: tuple[str, ...], first: str = "", end: str | None = None):
    """(name in the folder, size) of all files below it that end so, in the order of the names' parts.

    From `first` up to `end`, which is left out; the walk skips what lies outside of them. Links are not followed, and
    they and hidden folders are left out.
    """
    if is_url(folder):
        yield from _files_below_url(folder, endings)
        return
    first, end = first.split("/") if first else [], end.split("/") if end is not None else None
    waiting = [("", True)]  # names and whether they are folders, the next one last
    while waiting:
        name, goes_deeper = waiting.pop()
        parts = name.split("/") if name else []
        if end is not None and parts >= end:
            return
        if goes_deeper and parts >= first[: len(parts)]:
            waiting += sorted(_entries(folder, name, endings), key=lambda entry: entry[0], reverse=True)
        elif not goes_deeper and parts >= first:
            yield name, os.lstat(f"{folder}/{name}").st_size


def _entries(root, folder, endings):
    with os.scandir(f"{root}/{folder}") as entries:
        for entry in entries:
            name = f"{folder}/{entry.name}" if folder else entry.name
            if entry.is_dir(follow_symlinks=False):
                if not entry.name.startswith("."):
                    yield name, True
            elif entry.name.lower().endswith(endings) and entry.is_file(follow_symlinks=False):
                yield name, False


def _files_below_url(folder, endings):
    system, path = _filesystem(folder)
    with understood(folder):
        about_of = {name[len(path) :].strip("/"): about for name, about in system.find(path, detail=True).items()}
    for name in sorted(about_of, key=lambda name: name.split("/")):
        if name.lower().endswith(endings) and not is_hidden(name):
            yield name, about_of[name].get("size") or 0


def is_checkout(folder: str) -> bool:
    """Whether git can list the files of a folder that it tracks; without git, a checkout is a folder like others."""
    return not is_url(folder) and os.path.exists(f"{folder}/.git") and shutil.which("git") is not None


def tracked(folder: str) -> set[str]:
    """The names of the files that git knows in a checkout."""
    return {os.fsdecode(name) for name in _git(folder, "ls-files", "-z").split(b"\0")}


def commit(folder: str) -> str:
    """The commit of a checkout."""
    return _git(folder, "rev-parse", "--verify", "HEAD").decode().strip()


def _git(folder, *arguments) -> bytes:
    # A checkout's own settings can name programs to run (to watch the files, to fetch what is missing of a sparse
    # index), and without a folder named git would look further up.
    command = ["git", f"--git-dir={folder}/.git", f"--work-tree={folder}", "-c", "core.fsmonitor=false", *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_ALLOW_PROTOCOL"] = ""
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True)
    if done.returncode:
        reason = one_line(done.stderr.decode("utf-8", "replace"))
        raise UserError(f"git cannot read the checkout {folder} ({reason}); mend it, or remove its .git.")
    return done.stdout


@contextlib.contextmanager
def understood(place: str) -> Iterator[None]:
    """Turns what libraries raise over a broken file, or a place that they cannot reach, into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if isinstance(error, REFUSED) or type(error).__module__.split(".")[0] in _CLOUD:
            hint = "check its address, and that this machine may read there."
        elif isinstance(error, BROKEN):
            hint = "it is damaged, or not what its name says: get it again, or take it out of the manifest."
        elif is_url(place):  # other file systems raise what their own clients do
            hint = "check its address, and that this machine can reach it."
        else:
            raise
        raise UserError(f"cannot read {place} ({one_line(error)}); {hint}") from error
