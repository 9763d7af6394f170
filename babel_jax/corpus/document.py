"""A source file as every step of a build sees it."""

from typing import NamedTuple


class Document(NamedTuple):
    """`path` begins with the name of its source; `size` is in bytes, -1 for what must not be read.

    content: None if it is larger than `places.LARGEST_FILE` (it is never loaded), unreadable, or an unsafe entry of an archive.
    project: the one that a table names; "" elsewhere (then `projects.Projects` derives it from the path).
    """

    path: str
    content: bytes | None
    size: int
    licences: tuple[str, ...] = ()
    project: str = ""

    @property
    def text(self) -> str:
        return self.content.decode()
