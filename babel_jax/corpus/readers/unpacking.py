"""Packed files, unpacked while they are read, in bounded memory."""

import bz2
import contextlib
import gzip
import io
import lzma

import pyarrow as pa

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers.places import BLOCK, opened

UNPACKERS = {
    (".gz", ".tgz"): lambda file: gzip.GzipFile(fileobj=file),
    (".bz2", ".tbz2"): bz2.BZ2File,
    (".xz", ".txz"): lzma.LZMAFile,
    (".zst",): lambda file: pa.CompressedInputStream(file, "zstd"),
}
# Source code is packed to a third or a tenth. What unpacks to more than 100 times its size, and to much, is an attack.
LARGEST_RATIO, RATIO_FROM = 100, 10_000_000


class Bomb(UserError):
    """A packed file that grows as no source code does."""

    def __init__(self, place: str, name: str = ""):
        what = f"the entry {name} of {place}" if name else place
        super().__init__(
            f"{what} unpacks to more than {LARGEST_RATIO} times its size, as no source code does; take it out of the manifest."
        )


class _Unpacked(io.RawIOBase):
    """A packed file, unpacked while it is read."""

    def __init__(self, file, place, unpacker):
        self._file, self._place, self._size, self._stream = file, place, 0, unpacker(file)

    def readable(self):
        return True

    def readinto(self, buffer):
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        self._size += len(data)
        if self._size > max(RATIO_FROM, LARGEST_RATIO * self._file.tell()):
            raise Bomb(self._place)
        return len(data)


def is_packed(place: str) -> bool:
    return place.lower().endswith(tuple(ending for endings in UNPACKERS for ending in endings))


@contextlib.contextmanager
def unpacked(place: str):
    """A file to be read from its beginning, unpacked if its name says that it is packed."""
    unpacker = next((unpack for endings, unpack in UNPACKERS.items() if place.lower().endswith(endings)), None)
    with opened(place) as file:
        yield io.BufferedReader(_Unpacked(file, place, unpacker), BLOCK) if unpacker else file
