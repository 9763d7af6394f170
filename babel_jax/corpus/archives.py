"""Documents of zip and tar archives, which are read where they lie; what is packed unpacks in bounded memory.

Hidden folders are left out. An entry with an absolute name, "..", or that is a link or device, becomes a document of size
-1. An archive that is cut off, lies about its sizes or unpacks to too much is a `UserError` that names the entry. Archives
inside of archives stay closed.
"""

import bz2
import contextlib
import gzip
import io
import lzma
import re
import stat
import tarfile
import zipfile

import pyarrow as pa

from babel_jax.common.errors import UserError, one_line
from babel_jax.corpus.places import BLOCK, BROKEN, LARGEST_FILE, is_hidden, opened, size

TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
ZIP = (".zip", ".whl")
UNPACKERS = {
    (".gz", ".tgz"): lambda file: gzip.GzipFile(fileobj=file),
    (".bz2", ".tbz2"): bz2.BZ2File,
    (".xz", ".txz"): lzma.LZMAFile,
    (".zst",): lambda file: pa.CompressedInputStream(file, "zstd"),
}
# Source code is packed to a third or a tenth. What unpacks to more than 100 times its size, and to much, is an attack.
LARGEST_RATIO, RATIO_FROM = 100, 10_000_000


class Bomb(UserError):
    """What is unpacked grows as no source code does."""

    def __init__(self, place: str, name: str = ""):
        what = f"the entry {name} of {place}" if name else place
        super().__init__(
            f"{what} unpacks to more than {LARGEST_RATIO} times its size, as no source code does; take it out of the manifest."
        )


def _damaged(place, name, error):
    return UserError(
        f"the entry {name} of {place} is damaged, or not as large as it says ({one_line(error)}); get the archive again."
    )


def _is_unsafe(name):
    parts = name.replace("\\", "/").split("/")
    return ".." in parts or not parts[0] or bool(re.match("[A-Za-z]:", name)) or "\0" in name


@contextlib.contextmanager
def _zip(place):
    with opened(place) as file, zipfile.ZipFile(file) as archive:
        yield archive


def _is_wanted(source, name):
    return name.lower().endswith(source.language.extensions) and not is_hidden(name)


def zip_sizes(source, place: str) -> list[tuple[int, int]]:
    """(number, size) of the language's entries."""
    with _zip(place) as archive:
        entries = [item for item in enumerate(archive.infolist()) if _is_wanted(source, item[1].filename)]
    _refuse_bomb(place, [entry for _, entry in entries])
    return [(number, entry.file_size) for number, entry in entries]


def _refuse_bomb(place, entries):
    # By the sizes that are written down: `_content` unpacks no more. Entries may share packed bytes, so their sum counts.
    whole, total = size(place), sum(entry.file_size for entry in entries)
    for entry in sorted(entries, key=lambda entry: entry.file_size, reverse=True):
        if total > max(RATIO_FROM, LARGEST_RATIO * whole) or entry.file_size > max(
            RATIO_FROM, LARGEST_RATIO * min(entry.compress_size, whole)
        ):
            raise Bomb(place, entry.filename)


def zip_documents(source, place: str, first: int, end: int):
    """The documents of the entries `first`, …, `end` - 1."""
    with _zip(place) as archive:
        for entry in archive.infolist()[first:end]:
            if not _is_wanted(source, entry.filename):
                continue
            path = source.relative(place), entry.filename.removeprefix("./")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if _is_unsafe(path[1]) or kind not in (0, stat.S_IFREG):
                yield source.document(path, None, -1)
            elif entry.file_size > LARGEST_FILE:
                yield source.document(path, None, entry.file_size)
            else:
                yield source.document(path, _content(place, archive, entry), entry.file_size)


def _content(place, archive, entry):
    # zipfile unpacks what other methods packed without a bound.
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or entry.flag_bits & 1:
        raise UserError(f"the entry {entry.filename} of {place} is encrypted or packed by a rare method; pack it anew.")
    try:
        with archive.open(entry) as file:
            content = file.read(LARGEST_FILE + 1)
    except BROKEN as error:
        raise _damaged(place, entry.filename, error) from error
    if len(content) != entry.file_size:
        raise _damaged(place, entry.filename, f"{len(content)} bytes instead of {entry.file_size}")
    return content


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
    unpacker = next((made for endings, made in UNPACKERS.items() if place.lower().endswith(endings)), None)
    with opened(place) as file:
        yield io.BufferedReader(_Unpacked(file, place, unpacker), BLOCK) if unpacker else file


class _Tape:
    """What `tarfile` needs of a file: goes forward alone, and gives out no more at once than a header or a document."""

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


def check_tar(place: str) -> None:
    """Raises what `tarfile` does if the file is not a tar archive."""
    with _tape(place) as tape:
        try:
            tarfile.open(fileobj=tape, mode="r:").close()
        except ValueError as error:  # of a header's numbers
            raise tarfile.ReadError(one_line(error)) from error


def tar_documents(source, place: str):
    """The documents of all entries, in one pass."""
    name = "at its beginning"
    try:
        with _tape(place) as tape, tarfile.open(fileobj=tape, mode="r:") as archive:
            while (entry := archive.next()) is not None:
                archive.members = []  # tarfile remembers every entry: memory would grow with the archive
                name = entry.name
                if _is_wanted(source, name) and not entry.isdir():
                    yield _tar_document(source, place, archive, entry)
            tape.finish()
    except Bomb:
        raise Bomb(place, name) from None
    except (*BROKEN, ValueError) as error:  # ValueError: of a header's numbers
        raise _damaged(place, name, error) from error


def _tar_document(source, place, archive, entry):
    path = source.relative(place), entry.name.removeprefix("./")
    if _is_unsafe(path[1]) or not entry.isfile():
        return source.document(path, None, -1)
    if entry.size > LARGEST_FILE:
        return source.document(path, None, entry.size)
    return source.document(path, archive.extractfile(entry).read(), entry.size)
