"""What a reader of one kind of file is, and how input is cut into pieces."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from babel_jax.corpus.readers import places

PIECE_BYTES = 16_000_000  # of input; about half a minute of work


class Reader(NamedTuple):
    """How places of one kind (a file, or a folder that is one dataset) are recognised, cut and read.

    A `source` is a `source.Source`, a place the path or URL of a file or folder. Nothing is ever unpacked to disk, and whatever a
    corrupt or malicious file holds must end in a `UserError`: what the libraries raise is turned into one by the caller.

    Attributes:
      kind: its name in the pieces of a build.
      format: what a manifest's `format` calls it.
      endings: how the names of its files end (None: as those of the language); none for a kind that is a folder.
      cut: (source, place) -> the place's parts, each (kind, …); none if it holds no row or entry of the language.
      read: (source, place, … of a part) -> its documents, one at a time in memory, made by `source.document`.
      recognises: folder -> whether `format: auto` takes it for one of this kind.
      inside: folder -> the places of this kind in it; without it, all files with the endings.
    """

    kind: str
    format: str
    endings: tuple[str, ...] | None
    cut: Callable[..., Iterator[tuple]]
    read: Callable[..., Iterator]
    recognises: Callable[[str], bool] = lambda folder: False
    inside: Callable[[str], Iterable[str]] | None = None


def whole(kind: str, check: Callable) -> Callable[..., Iterator[tuple]]:
    """A `cut` that makes one piece of a file, after `check(source, place)` has looked at it."""

    def cut(source, place):
        check(source, place)
        yield (kind,)

    return cut


def to_read(size: int) -> int:
    """The bytes that are read of a file of this size: none if it is too large."""
    return size if size <= places.LARGEST_FILE else 0


def groups(items: Iterable[tuple]) -> Iterator[list]:
    """Items that come with their sizes, in groups of about PIECE_BYTES."""
    group, total = [], 0
    for item, size in items:
        if group and total + size > PIECE_BYTES:
            yield group
            group, total = [], 0
        group.append(item)
        total += size
    if group:
        yield group
