"""Catalogues of translated messages (GNU gettext's .mo): each message a paragraph, whose key is a hash of the English one.

`mo` reads the translations, `mo_english` the messages that were translated, which are in English. A catalogue is divided by the
keys into DOCUMENTS documents, so that some of it can be held out; they hold the same messages in all languages.
"""

import hashlib
import re
import struct
from collections import defaultdict
from collections.abc import Iterator

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import places
from babel_jax.corpus.readers.places import LARGEST_FILE
from babel_jax.corpus.readers.prose_files import prose_document
from babel_jax.corpus.readers.reader import Reader, whole

DOCUMENTS = 16  # of a catalogue, by the first digit of the keys
LARGEST_CATALOGUE = 32 * LARGEST_FILE  # bytes
_CHARSET = re.compile(rb"charset=([A-Za-z0-9_.:-]+)")
_MAGIC = {b"\xde\x12\x04\x95": "<", b"\x95\x04\x12\xde": ">"}


def messages(content: bytes) -> Iterator[tuple[str, str, str]]:
    """(key, English, translation) of each message in the file's order; of plurals the singular. Raises a ValueError."""
    order = _MAGIC.get(content[:4])
    if order is None:
        raise ValueError("it does not begin as a catalogue does")
    if len(content) < 20:
        raise ValueError("it is cut off")
    count, originals, translations = struct.unpack_from(f"{order}3I", content, 8)
    if max(originals, translations) + 8 * count > len(content):
        raise ValueError(f"it is cut off, or does not hold {count} messages")
    charset = "utf-8"
    for number in range(count):
        both = []
        for table in (originals, translations):
            size, start = struct.unpack_from(f"{order}2I", content, table + 8 * number)
            if start + size > len(content):
                raise ValueError(f"message {number} lies behind its end")
            both.append(content[start : start + size])
        if both[0]:
            yield _key(both[0]), *(_singular(text, charset) for text in both)
        elif said := _CHARSET.search(both[1]):  # the first one describes the catalogue
            charset = said[1].decode()


def _key(original: bytes) -> str:
    return hashlib.sha256(original).hexdigest()[:16]


def _singular(text: bytes, charset: str) -> str:
    text = text.rpartition(b"\x04")[2].partition(b"\0")[0]  # context \4 singular \0 plural
    try:
        return text.decode(charset)
    except LookupError:
        raise ValueError(f"its charset is {charset}, which Python does not know") from None


def _content(place) -> bytes:
    with places.opened(place) as file:
        content = file.read(LARGEST_CATALOGUE + 1)
    if len(content) > LARGEST_CATALOGUE:
        raise UserError(
            f"{place} is larger than {LARGEST_CATALOGUE} bytes, as no catalogue is; take it out of the manifest."
        )
    return content


def _read_side(side: int):
    def read(source, place):
        folder, _, name = place.rpartition("/")
        name = name.removesuffix(".mo")
        held: dict[str, dict[str, str]] = defaultdict(dict)
        try:
            for key, *texts in messages(_content(place)):
                if text := " ".join(texts[side].split()):
                    held[key[0]][key] = text
        except (ValueError, struct.error) as error:
            raise UserError(f"{place} is damaged ({error}); get it again, or take it out of the manifest.") from error
        for part, keyed in sorted(held.items()):
            path = source.relative(folder), name, part
            yield prose_document(source, path, f"{source.name}/{name}/{part}", keyed)

    return read


def _check(source, place):
    """Whether it can be opened; what is in it is seen when it is read."""
    places.size(place)


MO = Reader("mo", "mo", (".mo",), whole("mo", _check), _read_side(1))
ENGLISH = Reader("mo_english", "mo_english", (".mo",), whole("mo_english", _check), _read_side(0))
