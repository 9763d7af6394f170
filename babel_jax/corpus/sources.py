"""Sources of a manifest -> documents: cut into pieces of work, streamed in a fixed order, in bounded memory.

Folders, git checkouts, archives, JSON Lines, Parquet, saved Hugging Face datasets and TFDS directories, here or behind a
URL of fsspec. Nothing is ever unpacked to disk. What a corrupt or malicious file can do is end in a `UserError`.
"""

import dataclasses
import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from babel_jax.common.errors import UserError
from babel_jax.corpus import archives, places, tabular
from babel_jax.corpus.manifest import FORMATS, Manifest
from babel_jax.corpus.places import LARGEST_FILE
from babel_jax.languages import registry
from babel_jax.languages.language import Language

PIECE_BYTES = 16_000_000  # of input; about half a minute of work


class Document(NamedTuple):
    """A source file. `path` begins with the name of its source; `size` is in bytes, -1 for what must not be read.

    project: what a table says it belongs to; "" where nothing does (then `Projects` tells it from the path).
    """

    path: str
    content: bytes | None  # None: larger than LARGEST_FILE and never loaded, unreadable, or (size -1) an unsafe entry
    size: int
    licences: tuple[str, ...] = ()
    project: str = ""


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

    Divided are folders and source files (between files), plain JSON Lines (between lines), Parquet (between row groups),
    zip (between entries), TFDS (between examples) and saved Hugging Face datasets (between their files). A tar archive or
    packed JSON Lines are one piece a file.

    Raises:
      UserError: a source is not there, cannot be opened, lacks a column, or has no file of the language as far as that
        is known without reading it all (an archive and a column of languages may still turn out to have none).
    """
    found = []
    for number, source in enumerate(manifest.languages[language].sources):
        before = len(found)
        with places.understood(source.path):
            for place, part in _parts(Source.of(manifest, language, number)):
                found.append(Piece(language, len(found), number, place, part))
        if len(found) == before:
            raise _none(registry.language(language), source)
    return found


def read(piece: Piece, manifest: Manifest) -> Iterator[Document]:
    """The documents of a piece, in order, one at a time in memory.

    Raises:
      UserError: what is there cannot be read, is corrupt or malicious, or a column is not of its type.
    """
    kind, *part = piece.part
    source = Source.of(manifest, piece.language, piece.source)
    with places.understood(piece.place):
        yield from READERS[kind](source, piece.place, *part)


def fingerprint(manifest: Manifest, language: str) -> dict[str, dict]:
    """Names, sizes and times of what would be read, hashed: tells whether it is still what a build began with.

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
    if kind not in ("folder", "tfds"):
        return [place]
    inside = _source_files(source, place) if kind == "folder" else places.files_below(place, ("",))
    return (f"{place}/{name}" for name, _ in inside)


class Projects:
    """Which project a file belongs to: what is not divided between training and validation.

    A project is the shallowest folder (or file) below the given folders that holds at most `share` of the language's
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


@dataclasses.dataclass(frozen=True)
class Source:
    """A source as its readers see it. `root`: what stands before a place's own name; `wanted`: the language's names."""

    language: Language
    name: str
    path: str
    root: str
    format: str
    licences: tuple[str, ...]
    columns: dict[str, str]  # what a column holds -> its name, of those that are named
    wanted: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest, name: str, number: int) -> "Source":
        language, given = registry.language(name), manifest.languages[name].sources[number]
        path = places.absolute(given.path) if places.is_url(given.path) else given.path.rstrip("/")
        root = path
        if _WILDCARD.search(path) and (places.is_url(path) or not places.exists(path)):
            root = path[: _WILDCARD.search(path).start()].rpartition("/")[0]
        return cls(
            language=language,
            name=given.name,
            path=path,
            root=root,
            format=given.format,
            licences=tuple(given.licence or ()),
            columns={role: column for role, column in given.columns.items() if column},
            wanted=frozenset(
                called.casefold() for called in ([given.language] if given.language else [name, language.title])
            ),
        )

    def relative(self, place: str) -> str:
        """What tells a place of this source from its others: "" where there is only one."""
        return place[len(self.root) :].strip("/")

    def document(self, path: tuple[str, ...], content, size, licences=(), project="") -> Document:
        """The document of these parts of a path, without its content if that is too large."""
        content = content if size <= LARGEST_FILE else None
        return Document(self.shown(*path), content, size, tuple(map(_utf8, licences or self.licences)), _utf8(project))

    def shown(self, *parts: str) -> str:
        """A path of documents: the source's name, then the parts that are not empty."""
        return _utf8("/".join((self.name, *(part.strip("/") for part in parts if part.strip("/")))))


_WILDCARD = re.compile(r"[*?\[]")


def _utf8(text):
    """A text as UTF-8 can hold it: names of files need not be."""
    return text.encode("utf-8", "replace").decode()


def _none(language, source):
    return UserError(
        f"no {language.title} file ({', '.join(language.extensions)}) in {source.path}; name a folder, an archive or a "
        "table that has some (format: jsonl or parquet reads a folder of tables)."
    )


# Which files and folders a source stands for.


def _places(source) -> Iterator[tuple[str, str]]:
    """(kind of reader, place) of all that a source's path stands for, in order."""
    matches = [source.path]
    if source.path != source.root:
        matches = places.matches(source.path, source.root)
    elif not places.exists(source.path):
        raise UserError(f"there is no file or folder {source.path}; name one that is there.")
    folder, found = None, False
    for place in matches:
        if folder is not None and place.startswith(folder + "/"):
            continue  # **: it is read with the folder
        folder = place if places.is_folder(place) else None
        kinds = list(_inside(source, place) if folder else _file(source, place))
        if not kinds and len(matches) == 1:
            if source.format != "auto":
                raise UserError(f"{place} holds nothing of the format {source.format}; say another one.")
            raise UserError(f"cannot tell what {place} is; say its format: {', '.join(FORMATS[1:])}.")
        found = found or bool(kinds)
        yield from kinds
    if not found:
        raise UserError(f"nothing to read matches {source.path}; name what is there.")


def _inside(source, folder):
    form = source.format
    if form in ("auto", "huggingface"):
        if places.exists(f"{folder}/dataset_dict.json"):
            for split in _names(f"{folder}/dataset_dict.json", lambda about: about["splits"]):
                yield from _saved(f"{folder}/{split}")
            return
        if form == "huggingface" or _has(folder, "state.json", "dataset_info.json"):
            yield from _saved(folder)
            return
    if form == "tfds" or form == "auto" and _has(folder, "features.json", "dataset_info.json"):
        yield "tfds", folder
    elif form in ("jsonl", "parquet"):
        for name, _ in places.files_below(folder, tabular.JSON_LINES if form == "jsonl" else (".parquet",)):
            yield form, f"{folder}/{name}"
    else:
        yield "folder", folder


def _file(source, place):
    name = place.lower()
    if source.format in ("auto", "files"):
        for kind, endings in (("zip", archives.ZIP), ("tar", archives.TAR), ("file", source.language.extensions)):
            if name.endswith(endings):
                yield kind, place
                return
    by_ending = {"jsonl": tabular.JSON_LINES, "parquet": (".parquet",), "huggingface": (".arrow",)}
    for form, endings in by_ending.items():
        if source.format == form or source.format == "auto" and name.endswith(endings):
            yield {"huggingface": "arrow"}.get(form, form), place


def _has(folder, *names):
    return all(places.exists(f"{folder}/{name}") for name in names)


def _saved(folder):
    """The files of a dataset that Hugging Face's `save_to_disk` left in a folder."""
    if not _has(folder, "state.json"):
        raise UserError(f"{folder} holds no dataset that `save_to_disk` saved; name the folder that has state.json.")
    for name in _names(f"{folder}/state.json", lambda about: [file["filename"] for file in about["_data_files"]]):
        yield "arrow", f"{folder}/{name}"


def _names(place, of):
    """The names that `of` finds in a JSON file, without the folders before them."""
    with places.understood(place), places.opened(place) as file:
        try:
            return [Path(name).name for name in of(json.loads(file.read(places.BLOCK)))]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise OSError(f"not the JSON that `save_to_disk` writes: {error!r}") from error


# How they are cut into pieces, and read.


def _parts(source) -> Iterator[tuple[str, tuple]]:
    """(place, part) of all pieces of a source."""
    for kind, found in itertools.groupby(_places(source), lambda item: item[0]):
        if kind == "file":
            root = source.root if source.root != source.path else source.path.rpartition("/")[0]
            files = ((place[len(root) + 1 :], _to_read(places.size(place))) for _, place in found)
            yield from ((root, ("files", *names)) for names in _groups(files))
            continue
        for _, place in found:
            with places.understood(place):
                for part in CUTTERS[kind](source, place):
                    yield place, part


def _groups(items: Iterable[tuple]) -> Iterator[list]:
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


def _to_read(size):
    return size if size <= LARGEST_FILE else 0


def _cut_folder(source, place):
    groups = _groups((name, _to_read(size)) for name, size in _source_files(source, place))
    if places.is_url(place):  # to list it again for each piece would take too long
        yield from (("files", *names) for names in groups)
    elif starts := [names[0] for names in groups]:
        yield from (("folder", *ends) for ends in itertools.pairwise(["", *starts[1:], None]))


def _cut_zip(source, place):
    for numbers in _groups((number, _to_read(size)) for number, size in archives.zip_sizes(source, place)):
        yield "zip", numbers[0], numbers[-1] + 1


def _cut_tar(source, place):
    archives.check_tar(place)
    yield ("tar",)


def _cut_jsonl(source, place):
    if not tabular.jsonl_has_rows(source, place):
        return
    if archives.is_packed(place):
        yield "jsonl", 0, None
    else:
        size = places.size(place)
        yield from (("jsonl", start, min(start + PIECE_BYTES, size)) for start in range(0, size, PIECE_BYTES))


def _cut_parquet(source, place):
    for numbers in _groups(tabular.parquet_sizes(source, place)):
        yield "parquet", numbers[0], numbers[-1] + 1


def _cut_arrow(source, place):
    tabular.check_arrow(source, place)
    yield ("arrow",)


def _cut_tfds(source, place):
    for split, examples, size in tabular.tfds_splits(source, place):
        step = max(1, PIECE_BYTES * examples // max(1, size))
        yield from (("tfds", split, first, min(first + step, examples)) for first in range(0, examples, step))


def _folder_documents(source, place, first, end):
    return _read_files(source, place, (name for name, _ in _source_files(source, place, first, end)))


def _files_documents(source, place, *names):
    return _read_files(source, place, names)


def _read_files(source, root, names):
    for name in names:
        place, content = f"{root}/{name}", None
        try:
            size = places.size(place)
            if size <= LARGEST_FILE:
                with places.opened(place) as file:
                    content = file.read(LARGEST_FILE + 1)
                size = len(content)
        except (PermissionError, FileNotFoundError):
            content, size = None, 0
        yield source.document((source.relative(root), name), content, size)


def _source_files(source, folder, first="", end=None) -> Iterator[tuple[str, int]]:
    """(name in the folder, size) of the language's files: of a git checkout, those that git knows."""
    files = places.files_below(folder, source.language.extensions, first, end)
    if not places.is_checkout(folder):
        return files
    tracked = places.tracked(folder)
    return (file for file in files if file[0] in tracked)


CUTTERS = {
    "folder": _cut_folder,
    "zip": _cut_zip,
    "tar": _cut_tar,
    "jsonl": _cut_jsonl,
    "parquet": _cut_parquet,
    "arrow": _cut_arrow,
    "tfds": _cut_tfds,
}
READERS = {
    "folder": _folder_documents,
    "files": _files_documents,
    "zip": archives.zip_documents,
    "tar": archives.tar_documents,
    "jsonl": tabular.jsonl_documents,
    "parquet": tabular.parquet_documents,
    "arrow": tabular.arrow_documents,
    "tfds": tabular.tfds_documents,
}
