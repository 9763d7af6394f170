"""Sources of a manifest -> documents: cut into pieces of work, streamed in a fixed order, in bounded memory.

`readers/` knows each kind of file, here or behind a URL of fsspec; this module lists what a source
stands for and asks its readers.
"""

import dataclasses
import hashlib
import heapq
import itertools
from collections.abc import Iterator

from babel_jax.common.errors import UserError
from babel_jax.corpus.document import Document
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.readers import places, plain_files
from babel_jax.corpus.readers.formats import FORMATS, OF_KIND, READERS
from babel_jax.corpus.source import Source

MOST_DRAWN = 20_000  # files, or pieces of tables and archives, of a language: what `drawn` looks into
AT_ONCE = (
    16_000_000  # bytes of documents of a table or archive that are in memory, and given in the order of their hashes
)


@dataclasses.dataclass(frozen=True)
class Piece:
    """A part of a language's input, for one task.

    number: its place among the language's pieces. source: the number of its source in the manifest.
    place: the folder, file or URL it lies in. part: the kind of reader, and what of the place it shall read.
    """

    language: str
    number: int
    source: int
    place: str
    part: tuple


def pieces(manifest: Manifest, language: str) -> list[Piece]:
    """A language's input cut into pieces of about PIECE_BYTES, in order; the same input gives the same pieces.

    Raises:
      UserError: a source is not there, cannot be opened, lacks a column, or has no file of the language as far as that
        is known without reading it all (an archive and a column of languages may still turn out to have none).
    """
    cut = []
    for number, source in enumerate(manifest.languages[language].sources):
        before = len(cut)
        with places.understood(source.path):
            for place, part in _parts(Source.of(manifest, language, number)):
                cut.append(Piece(language, len(cut), number, place, part))
        if len(cut) == before:
            raise _none(manifest.language(language), source)
    return cut


def read(piece: Piece, manifest: Manifest) -> Iterator[Document]:
    """The documents of a piece, in order, one at a time in memory.

    Raises:
      UserError: what is there cannot be read, is corrupt or malicious, or a column is not of its type.
    """
    kind, *part = piece.part
    source = Source.of(manifest, piece.language, piece.source)
    with places.understood(piece.place):
        yield from OF_KIND[kind].read(source, piece.place, *part)


def drawn(manifest: Manifest, language: str) -> Iterator[Document]:
    """A language's documents in the order of a hash of their paths, read only as far as they are asked for.

    Files are drawn one by one; of tables and archives pieces, whose documents stay together. All names are listed, and the
    first MOST_DRAWN are kept: neither memory nor time grows with what the files hold.

    Raises:
      UserError: as `pieces` and `read`.
    """

    def units():
        for number, given in enumerate(manifest.languages[language].sources):
            source, none = Source.of(manifest, language, number), True
            with places.understood(source.path):
                for place, part in _units(source):
                    none = False
                    yield _hash(f"{source.shown(source.relative(place))}\t{part}"), number, place, part
            if none:
                raise _none(manifest.language(language), given)

    for number, (_, of, place, part) in enumerate(heapq.nsmallest(MOST_DRAWN, units())):
        yield from _by_hash(read(Piece(language, number, of, place, part), manifest))


def _units(source) -> Iterator[tuple[str, tuple]]:
    """As `_parts`, but a part for each file of a folder."""
    for kind, place in _places(source):
        with places.understood(place):
            if kind == "folder":
                yield from ((place, ("files", name)) for name, _ in plain_files.source_files(source, place))
            elif kind == "files":
                yield from plain_files.cut_files(source, [place])
            else:
                yield from ((place, part) for part in OF_KIND[kind].cut(source, place))


def _by_hash(documents: Iterator[Document]) -> Iterator[Document]:
    """Documents in the order of the hashes of their paths, as many at once as fit AT_ONCE."""
    chunk, size = [], 0
    for document in documents:
        chunk.append(document)
        size += len(document.content or b"")
        if size > AT_ONCE:
            yield from sorted(chunk, key=lambda one: _hash(one.path))
            chunk, size = [], 0
    yield from sorted(chunk, key=lambda one: _hash(one.path))


def _hash(text):
    return hashlib.sha256(text.encode()).digest()


def fingerprint(manifest: Manifest, language: str) -> dict[str, dict]:
    """Names, sizes and times of what would be read, hashed: another hash where it is not what a build began with.

    Returns:
      {source's name: {"files": number, "sha256": 16 hex digits, "commits": of its git checkouts}}.
    """
    result = {}
    for number in range(len(manifest.languages[language].sources)):
        source = Source.of(manifest, language, number)
        digest, files, commits = hashlib.sha256(), 0, []
        with places.understood(source.path):
            for kind, place in _places(source):
                if kind == "folder" and places.is_checkout(place):
                    commits.append(places.commit(place))
                for name in _files(source, kind, place):
                    files += 1
                    digest.update(f"{source.shown(source.relative(name))}\t{places.state(name)}\n".encode())
        result[source.name] = {"files": files, "sha256": digest.hexdigest()[:16], "commits": commits}
    return result


def _files(source, kind, place):
    if kind == "folder":
        return (f"{place}/{name}" for name, _ in plain_files.source_files(source, place))
    return _below(place, ("",)) if places.is_folder(place) else [place]


def _none(language, source):
    return UserError(
        f"no {language.title} file ({', '.join(language.extensions)}) in {source.path}; name a folder, an archive or a "
        "table that has some (format: jsonl or parquet reads a folder of tables)."
    )


def _places(source) -> Iterator[tuple[str, str]]:
    """(kind of reader, place) of all that a source's path stands for, in order."""
    matches = [source.path]
    if source.path != source.root:
        matches = places.matches(source.path, source.root)
    elif not places.exists(source.path):
        raise UserError(f"there is no file or folder {source.path}; name one that is there.")
    folder, is_empty = None, True
    for place in matches:
        if folder is not None and place.startswith(folder + "/"):
            continue  # **: it is read with the folder
        folder = place if places.is_folder(place) else None
        kinds = list(_inside(source, place) if folder else _file(source, place))
        if not kinds and len(matches) == 1:
            if source.format != "auto":
                raise UserError(f"{place} holds nothing of the format {source.format}; name another one.")
            raise UserError(f"cannot recognise {place}; name its format: {', '.join(FORMATS[1:])}.")
        is_empty = is_empty and not kinds
        yield from kinds
    if is_empty:
        raise UserError(f"nothing to read matches {source.path}; name what is there.")


def _inside(source, folder):
    for reader in READERS:
        named = source.format == reader.format != "files"
        if named or source.format == "auto" and reader.recognises(folder):
            inside = reader.inside(folder) if reader.inside else _below(folder, reader.endings)
            yield from ((reader.kind, place) for place in inside)
            return
    yield "folder", folder


def _below(folder, endings):
    return (f"{folder}/{name}" for name, _ in places.files_below(folder, endings))


def _file(source, place):
    for reader in READERS:
        if source.format == reader.format != "files":
            is_taken = bool(reader.endings)
        else:
            endings = source.language.extensions if reader.endings is None else reader.endings
            is_taken = source.format in ("auto", reader.format) and place.lower().endswith(endings)
        if is_taken:
            yield reader.kind, place
            return


def _parts(source) -> Iterator[tuple[str, tuple]]:
    """(place, part) of all pieces of a source."""
    for kind, same_kind in itertools.groupby(_places(source), lambda item: item[0]):
        if kind == "files":
            yield from plain_files.cut_files(source, [place for _, place in same_kind])
            continue
        for _, place in same_kind:
            with places.understood(place):
                for part in OF_KIND[kind].cut(source, place):
                    yield place, part
