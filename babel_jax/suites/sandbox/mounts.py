"""What programs see of the file system, and the mounts that make it at the level unshare."""

import os
import re
from pathlib import Path

from babel_jax.suites.sandbox.bounds import Limits

_OF_THE_ROOT = tuple(Path("/", name) for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"))
KEYS = "/proc/keys"  # lists also keys of the caller
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_STREAMS = tuple((f"/dev/{name}", f"/proc/self/fd/{n}") for n, name in enumerate(("stdin", "stdout", "stderr")))
_FLAGS = {"nosuid": 2, "nodev": 4, "noexec": 8, "noatime": 1024, "nodiratime": 2048, "relatime": 4096}  # statvfs(3)


def links() -> list[tuple[str, str]]:
    """Symbolic links of the root directory, and where they point."""
    return [(str(place), str(place.readlink())) for place in _OF_THE_ROOT if place.is_symlink()]


def system_places() -> list[str]:
    """What compilers, interpreters and dynamic linking need of the system, read-only."""
    places = [str(place) for place in _OF_THE_ROOT if place.is_dir() and not place.is_symlink()]
    known = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/mono", "/etc/php")
    return ["/usr", *places, *filter(os.path.exists, known)]


def make_root(root: Path) -> None:
    """The root directory of programs of the level unshare: links, and what `table` mounts on."""
    for place in ("dev/shm", "proc", "tmp"):
        (root / place).mkdir(parents=True)
    for place, target in (*links(), ("/dev/fd", "/proc/self/fd"), *_STREAMS):
        root.joinpath(place[1:]).symlink_to(target)
    for place in (*system_places(), *_DEVICES):
        point = root / place[1:]
        point.parent.mkdir(exist_ok=True)
        point.mkdir() if os.path.isdir(place) else point.touch()


def table(root: Path, directories, limits: Limits) -> str:
    """The mounts that make `root` what bubblewrap shows, as in fstab(5): so one command makes them all."""
    for name in directories:
        root.joinpath(name).mkdir(exist_ok=True)
    mounted = _writable_mounts()
    rows = [(root, root, "none", _read_only(root))]
    shown = {place[1:]: (Path(place), False) for place in system_places()} | directories
    for name, (place, writable) in shown.items():
        rows.append((place, root / name, "none", "rbind" if writable else _read_only(place)))
        for below in mounted:
            if not writable and place in below.parents:  # what is mounted in it keeps its own flags
                rows.append((below, root / name / below.relative_to(place), "none", _read_only(below)))
    rows += [(place, root / place[1:], "none", "bind") for place in _DEVICES]
    rows.append(("proc", root / "proc", "proc", "nosuid,nodev,noexec"))
    if os.path.exists(KEYS):
        rows.append(("/dev/null", root / KEYS[1:], "none", "bind"))
    sizes = {"tmp": f"size={limits.tmp_bytes},nr_inodes={limits.tmp_bytes >> 12}", "dev/shm": "size=1m,nr_inodes=256"}
    rows += [("tmpfs", root / name, "tmpfs", f"{size},mode=1777,nosuid,nodev") for name, size in sizes.items()]
    return "".join(" ".join((*(_escaped(str(word)) for word in row[:2]), *row[2:], "0 0\n")) for row in rows)


def _escaped(word: str) -> str:
    return re.sub(r"[\s\\#]", lambda character: "".join(f"\\{byte:03o}" for byte in os.fsencode(character[0])), word)


def _read_only(place: Path) -> str:
    """The options that show a place read-only and keep its mount's other flags, which a user namespace must not drop."""
    flags = os.statvfs(place).f_flag
    return ",".join(("rbind", "ro", *(name for name, flag in _FLAGS.items() if flags & flag)))


def _writable_mounts() -> list[Path]:
    """Where file systems are mounted that are not read-only, as far as the caller can reach them."""
    places = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        point = re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        if "rw" in fields[5].split(",") and os.path.exists(point):
            places.append(Path(point))
    return list(dict.fromkeys(places))
