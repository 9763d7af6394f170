"""Zip archives, cut between entries."""

import contextlib
import stat
import zipfile

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers.archives import damaged, is_source_file, is_unsafe
from babel_jax.corpus.readers.places import BROKEN, LARGEST_FILE, opened, size
from babel_jax.corpus.readers.reader import Reader, groups, to_read
from babel_jax.corpus.readers.unpacking import LARGEST_RATIO, RATIO_FROM, Bomb


@contextlib.contextmanager
def _zip(place):
    with opened(place) as file, zipfile.ZipFile(file) as archive:
        yield archive


def _cut(source, place):
    with _zip(place) as archive:
        entries = [item for item in enumerate(archive.infolist()) if is_source_file(source, item[1].filename)]
    _refuse_bomb(place, [entry for _, entry in entries])
    for numbers in groups((number, to_read(entry.file_size)) for number, entry in entries):
        yield "zip", numbers[0], numbers[-1] + 1


def _refuse_bomb(place, entries):
    # By the sizes that are written down: `_content` unpacks no more. Entries may share packed bytes, so their sum counts.
    whole, total = size(place), sum(entry.file_size for entry in entries)
    for entry in sorted(entries, key=lambda entry: entry.file_size, reverse=True):
        if total > max(RATIO_FROM, LARGEST_RATIO * whole) or entry.file_size > max(
            RATIO_FROM, LARGEST_RATIO * min(entry.compress_size, whole)
        ):
            raise Bomb(place, entry.filename)


def _read(source, place, first, end):
    """The documents of the entries `first`, …, `end` - 1."""
    with _zip(place) as archive:
        for entry in archive.infolist()[first:end]:
            if not is_source_file(source, entry.filename):
                continue
            path = source.relative(place), entry.filename.removeprefix("./")
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if is_unsafe(path[1]) or kind not in (0, stat.S_IFREG):
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
        raise damaged(place, entry.filename, error) from error
    if len(content) != entry.file_size:
        raise damaged(place, entry.filename, f"{len(content)} bytes instead of {entry.file_size}")
    return content


READER = Reader("zip", "files", (".zip", ".whl"), _cut, _read)
