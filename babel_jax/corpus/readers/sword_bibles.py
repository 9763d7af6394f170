"""Bibles as modules of the SWORD project (zText, packed by zip, a block a book): a document a chapter, a verse a paragraph.

A module has three files of each testament (ot, nt): .bzs says where each block lies in .bzz and how large it is, .bzv where
each verse lies in a block. The order in .bzv is that of a versification which the module names and does not hold; here the
text's own marks say where a chapter begins, and verses are counted from there. https://wiki.crosswire.org/File_Formats
"""

import html
import re
import struct
import zlib
from collections.abc import Iterator

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import places
from babel_jax.corpus.readers.places import LARGEST_FILE
from babel_jax.corpus.readers.prose_files import names, prose_document
from babel_jax.corpus.readers.reader import Reader

TESTAMENTS = ("ot", "nt")
LARGEST_BLOCK = 16 * LARGEST_FILE  # bytes of a book with its marks
MOST_VERSES = 100_000  # of a testament
_CHAPTER = re.compile(r'<chapter\b(?=[^<>]*\bsID=)[^<>]*\bosisID="([^"<>]+)"')
_MARK = re.compile(r"<(/?)(\w*)[^<>]*?(/?)>")
_LEFT_OUT = names("note title reference rdg")


def verses(place: str, testament: str) -> Iterator[tuple[str, int, str]]:
    """(chapter as OSIS calls it, verse, text) of a module in order. Raises a ValueError where it is broken."""
    blocks = _index(f"{place}/{testament}.bzs", "<3I", MOST_VERSES)
    chapter, verse, block, held = "", 0, b"", -1
    with places.opened(f"{place}/{testament}.bzz") as packed:
        for number, start, size in _index(f"{place}/{testament}.bzv", "<2IH", MOST_VERSES):
            if size and number != held:
                if number >= len(blocks):
                    raise ValueError(f"a verse lies in block {number} of {len(blocks)}")
                block, held = _block(packed, *blocks[number]), number
            if size and start + size > len(block):
                raise ValueError(f"a verse lies behind the end of block {number}")
            marked = block[start : start + size].decode() if size else ""
            if begins := _CHAPTER.search(marked):
                chapter, verse = begins[1], 0
                continue
            verse += 1
            if chapter and (text := plain(marked)):
                yield chapter, verse, text


def _index(place, layout, most) -> list[tuple]:
    width = struct.calcsize(layout)
    with places.opened(place) as file:
        content = file.read(width * most + 1)
    if len(content) % width or len(content) > width * most:
        raise ValueError(f"{place} holds no whole number of entries, or too many")
    return list(struct.iter_unpack(layout, content))


def _block(packed, start, size, unpacked_size) -> bytes:
    if unpacked_size > LARGEST_BLOCK or size > LARGEST_BLOCK:
        raise ValueError(f"a block of {max(size, unpacked_size)} bytes")
    packed.seek(start)
    content = zlib.decompressobj().decompress(packed.read(size), LARGEST_BLOCK)
    if len(content) != unpacked_size:
        raise ValueError(f"a block has {len(content)} bytes instead of {unpacked_size}")
    return content


def plain(marked: str) -> str:
    """The text of a verse without its marks, notes and titles."""
    parts, depth, end = [], 0, 0
    for mark in _MARK.finditer(marked):
        if not depth:
            parts.append(marked[end : mark.start()])
        end = mark.end()
        if mark[2] in _LEFT_OUT and not mark[3]:
            depth = max(0, depth - 1) if mark[1] else depth + 1
        elif mark[2] in ("l", "lb", "p", "div", "milestone"):
            parts.append(" ")
    if not depth:
        parts.append(marked[end:])
    return " ".join(html.unescape("".join(parts)).split())


def _cut(source, place):
    for testament in TESTAMENTS:
        if places.exists(f"{place}/{testament}.bzv"):
            yield "sword", testament


def _read(source, place, testament):
    chapter, keyed = "", {}
    try:
        for name, verse, text in verses(place, testament):
            if name != chapter and keyed:
                yield _document(source, place, chapter, keyed)
                keyed = {}
            chapter = name
            keyed[str(verse)] = text
    except (ValueError, zlib.error) as error:
        raise UserError(
            f"the module {place} is damaged ({error}); get it again, or take it out of the manifest."
        ) from error
    if keyed:
        yield _document(source, place, chapter, keyed)


def _document(source, place, chapter, keyed):
    return prose_document(source, (source.relative(place), chapter), f"{source.name}/{chapter}", keyed)


READER = Reader("sword", "sword", (), _cut, _read, inside=lambda folder: [folder])
