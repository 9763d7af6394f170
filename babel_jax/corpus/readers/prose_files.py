"""Files of running text as documents of paragraphs with keys: what the readers of natural languages share.

A document is called as its file is below the folder that the source names, without its packing and its language (man3/printf.3
of man3/printf.3.gz, ch01.html of ch01.zh-cn.html), so that translations have one name. A paragraph's key is its id where the
format has one; else its place among all paragraphs of the file, 12/57: pages of which one has more paragraphs share no such key.
"""

import re
from collections.abc import Callable, Iterable

from babel_jax.common.errors import UserError
from babel_jax.corpus.document import PARAGRAPH, Document, ordinals
from babel_jax.corpus.readers import places
from babel_jax.corpus.readers.places import LARGEST_FILE
from babel_jax.corpus.readers.reader import Reader, groups
from babel_jax.corpus.readers.unpacking import unpacked

LARGEST_PAGE = 8 * LARGEST_FILE  # bytes with its marks, unpacked; a larger file is never loaded
_PACKED = re.compile(r"\.(gz|bz2|xz|zst)$")
Paragraphs = Iterable[tuple[str, str]]  # (id or "", text)


def names(text: str) -> frozenset[str]:
    """The words of a text: names of marks."""
    return frozenset(text.split())


def prose_reader(kind: str, endings: tuple[str, ...], paragraphs_of: Callable[[str], Paragraphs]) -> Reader:
    """The reader of a format of which each file is a document.

    `paragraphs_of`: what a file holds -> its paragraphs in order; raises a ValueError where it is broken.
    """

    def read(source, place, first="", end=None):
        if not places.is_folder(place):
            yield _document(source, place.rpartition("/")[0], place.rpartition("/")[2], paragraphs_of)
            return
        for name, _ in places.files_below(place, endings, first, end):
            parts = name.split("/")
            if first.split("/") <= parts and (
                end is None or parts < end.split("/")
            ):  # all come of a folder behind a URL
                yield _document(source, place, name, paragraphs_of)

    return Reader(kind, kind, endings, lambda _, place: _cut(kind, place, endings), read, inside=_itself)


def _itself(folder):
    return (folder,)


def _cut(kind, place, endings):
    if not places.is_folder(place):
        yield (kind,)
        return
    starts = [names[0] for names in groups(places.files_below(place, endings))]
    for first, end in zip(starts, [*starts[1:], None], strict=True):
        yield kind, first, end


def _document(source, folder, name, paragraphs_of) -> Document:
    """The document of a file; without content where it is too large or cannot be read, without keys where it is not UTF-8."""
    place = f"{folder}/{name}"
    path = source.relative(folder), name
    try:
        with unpacked(place) as file, places.understood(place):
            raw = file.read(LARGEST_PAGE + 1)
    except (PermissionError, FileNotFoundError):
        return source.document(path, None, 0)
    if len(raw) > LARGEST_PAGE:
        return source.document(path, None, len(raw))
    text = decoded(raw)
    if text is None:
        return source.document(path, raw, len(raw))
    try:
        keyed = keyed_paragraphs(paragraphs_of(text))
    except ValueError as error:
        raise UserError(f"{place} is damaged ({error}); get it again, or take it out of the manifest.") from error
    return prose_document(source, path, f"{source.name}/{document_name(source.language.name, name)}", keyed)


def prose_document(source, path: tuple[str, ...], project: str, keyed: dict[str, str]) -> Document:
    """The document of these paragraphs (key -> text)."""
    content = PARAGRAPH.join(keyed.values()).encode("utf-8", "replace")
    document = source.document(path, content, len(content), project=project)
    return document._replace(keys=tuple(keyed)) if document.content is not None else document


def decoded(raw: bytes) -> str | None:
    """A file's text: UTF-8, or what its first lines call its encoding (HTML, XML, Emacs's mark); None if neither fits."""
    said = re.search(rb"(?:charset|encoding|coding)\s*[=:]\s*[\"']?([A-Za-z0-9_.-]{3,20})", raw[:2048])
    for encoding in ("utf-8-sig", *([said[1].decode()] if said else [])):
        try:
            return raw.decode(encoding)
        except (UnicodeDecodeError, LookupError):
            continue
    return None


def keyed_paragraphs(paragraphs: Paragraphs) -> dict[str, str]:
    """Key -> paragraph, one line each; paragraphs without text count for nothing."""
    found = [(name, text) for name, text in ((name, " ".join(text.split())) for name, text in paragraphs) if text]
    keyed = {}
    for ordinal, (name, text) in zip(ordinals(len(found)), found, strict=True):
        keyed[name if name and name not in keyed else ordinal] = text
    return keyed


def document_name(language: str, name: str) -> str:
    """A file's name without its packing and without a part that is its language: ch01.zh-cn.html -> ch01.html."""
    name = _PACKED.sub("", name)
    return re.sub(rf"\.{re.escape(language)}([-_]\w+)?(?=\.[^./]+$)", "", name, flags=re.IGNORECASE)
