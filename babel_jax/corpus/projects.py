"""Projects: what is held out whole, so that no project stands in both splits."""

import hashlib
from collections import Counter
from collections.abc import Iterable


class Projects:
    """Which project a file belongs to.

    A project is the shallowest folder (or file) below the source folders that holds at most `share` of the language's
    bytes. With many projects side by side that is the first folder of the path; where one project is most of the
    corpus (a standard library) it is divided into its own folders, for else there would be nothing to hold out.
    """

    def __init__(self, files: Iterable[tuple[str, int]], share: float):
        """Reads (path, size) of all files once. Holds one number a folder."""
        bytes_of_folder = Counter()
        total = 0
        for path, size in files:
            total += size
            bytes_of_folder.update(dict.fromkeys(_folders(path), size))
        self._bytes_of_folder = bytes_of_folder
        self._largest = share * total

    def project(self, path: str) -> str:
        """The project of one of the files."""
        return next((f for f in _folders(path) if self._bytes_of_folder[f] <= self._largest), path)


def _folders(path):
    """The folders above a file, from the outermost inwards: a/b/c.x -> a, a/b."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def order(project: str) -> bytes:
    """A key that puts projects in an order of their own, the same on every machine."""
    return hashlib.sha256(project.encode("utf-8", "replace")).digest()


def held_out(bytes_of_project: dict[str, int], share: float) -> set[str]:
    """Projects for validation: in the order of their hashes, each that still fits, until `share` of the bytes is met.

    A project that would overshoot the share by half is passed over; where all would, the smallest is taken. At least
    one is held out and one stays, if there are two; an empty set if there are not.
    """
    if len(bytes_of_project) < 2:
        return set()
    target = share * sum(bytes_of_project.values())
    chosen, total = set(), 0
    for project in sorted(bytes_of_project, key=order):
        if total >= target or len(chosen) + 1 == len(bytes_of_project):
            break
        if total + bytes_of_project[project] <= 1.5 * target:
            chosen.add(project)
            total += bytes_of_project[project]
    return chosen or {min(bytes_of_project, key=lambda name: (bytes_of_project[name], name))}
