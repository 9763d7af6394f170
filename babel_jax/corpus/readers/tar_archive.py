"""Tar archives, packed or not: one piece each, read in one pass."""

import contextlib
import tarfile

from babel_jax.common.errors import one_line
from babel_jax.corpus.readers.archives import damaged, is_source_file, is_unsafe
from babel_jax.corpus.readers.places import BLOCK, BROKEN, LARGEST_FILE
from babel_jax.corpus.readers.reader import Reader, whole
from babel_jax.corpus.readers.unpacking import Bomb, is_packed, unpacked

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")


class _Tape:
    """What `tarfile` needs of a file: only goes forward, and returns no more at once than a header or a document."""

    def __init__(self, file, skips_by_reading):
        self._file, self._skips_by_reading, self._at, self._last = file, skips_by_reading, 0, b""

    def tell(self):
        return self._at

    def seek(self, position):
        if not self._skips_by_reading:
            self._at = self._file.seek(position)
        while self._at < position and (skipped := self._file.read(min(BLOCK, position - self._at))):
            self._at += len(skipped)

    def read(self, size):
        if size > 2 * LARGEST_FILE:  # tarfile would load a header of any size
            raise tarfile.ReadError(f"a header of {size} bytes")
        self._last = self._file.read(size)
        self._at += len(self._last)
        return self._last

    def finish(self):
        """Reads what is left, so that a checksum at the end is checked; `tarfile` takes a broken header for the end."""
        if self._last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("the archive ends without its end mark, or a header is broken")
        while self._skips_by_reading and self._file.read(BLOCK):
            pass


@contextlib.contextmanager
def _tape(place):
    with unpacked(place) as file:
        yield _Tape(file, skips_by_reading=is_packed(place))


def _check(source, place):
    """Raises what `tarfile` does if the file is not a tar archive."""
    with _tape(place) as tape:
        try:
            tarfile.open(fileobj=tape, mode="r:").close()
        except ValueError as error:  # of a header's numbers
            raise tarfile.ReadError(one_line(error)) from error


def _read(source, place):
    """The documents of all entries, in one pass."""
    name = "at its beginning"
    try:
        with _tape(place) as tape, tarfile.open(fileobj=tape, mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # tarfile remembers every entry: memory would grow with the archive
                name = entry.name
                if is_source_file(source, name) and not entry.isdir():
                    yield _tar_document(source, place, archive, entry)
            tape.finish()
    except Bomb:
        raise Bomb(place, name) from None
    except (*BROKEN, ValueError) as error:  # ValueError: of a header's numbers
        raise damaged(place, name, error) from error


def _tar_document(source, place, archive, entry):
    path = source.relative(place), entry.name.removeprefix("./")
    if is_unsafe(path[1]) or not entry.isfile():
        return source.document(path, None, -1)
    if entry.size > LARGEST_FILE:
        return source.document(path, None, entry.size)
    return source.document(path, archive.extractfile(entry).read(), entry.size)


READER = Reader("tar", "files", ENDINGS, whole("tar", _check), _read)
