"""Dictionaries of two languages, read for pairs of single words: Ding's text and the files of a DICT server.

A text is a line an entry, HEADWORDS :: TRANSLATIONS, with ; between alternatives, | between parts that belong together in
order, and marks such as {f} and {adj} (https://dict.tu-chemnitz.de). A DICT server's dictionary is two files (dictd(8)):
NAME.index with a line a headword that says where its article stands in NAME.dict or NAME.dict.dz. The first line of an
article, or each numbered one, holds the translations.
"""

import itertools
import re
import string
import unicodedata
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from babel_jax.common import files
from babel_jax.common.errors import UserError, one_line

MOST_BYTES = 300_000_000  # of a dictionary, unpacked; the largest of Debian has 30 MB
HINT = "a dictionary is a text of lines `headword :: translation`, or a NAME.index with NAME.dict.dz beside it"
NOUNS = frozenset(("n", "m", "f", "pl", "masc", "fem", "neut"))  # marks of nouns; any other is of something else
_MARKS = re.compile(r"[{<]([^{}<>]*)[}>]")
_ASIDES = re.compile(r"\([^()]*\)|\[[^\[\]]*\]|/[^/]*/")
_NUMBERED = re.compile(r"\s*\d+\.\s+(.+)")
_BASE64 = {
    letter: value for value, letter in enumerate(string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/")
}
_STRESS = "\u0301"  # what NFC leaves of it marks the stress of a Russian word


class Entry(NamedTuple):
    """A word and a translation of it. noun: whether a mark says that it is a noun; None: there is no mark."""

    headword: str
    translation: str
    noun: bool | None


def read(path: str | Path) -> list[Entry]:
    """The entries that are one word on either side, as often as they stand there.

    Where most have a mark, what has none is no noun.

    Raises:
      UserError: it cannot be read, or is no dictionary.
    """
    path = Path(path)
    entries = list(_dict_server(path) if path.suffix == ".index" else _ding(path))
    if not entries:
        raise UserError(f"{path} has no entry of one word on either side; {HINT}.")
    unmarked = sum(entry.noun is None for entry in entries)
    if unmarked < len(entries) / 2:
        entries = [entry if entry.noun is not None else entry._replace(noun=False) for entry in entries]
    return entries


def files_of(path: str | Path) -> list[Path]:
    """The files that a dictionary consists of.

    Raises:
      UserError: one of them is not there.
    """
    path = Path(path)
    parts = [path]
    if path.suffix == ".index":
        articles = [path.with_suffix(ending) for ending in (".dict.dz", ".dict")]
        parts.append(next((file for file in articles if file.is_file()), articles[0]))
    for file in parts:
        if not file.is_file():
            raise UserError(f"there is no dictionary {file}; {HINT}.")
    return parts


def nouns(path: str | Path) -> frozenset[str]:
    """The words of a list of nouns: the first of each line, as WordNet's index.noun and a plain list have it.

    Raises:
      UserError: it cannot be read, or holds no word.
    """
    words = (
        line.split(maxsplit=1)[0]
        for line in files.read_text(path, "write a noun a line, in UTF-8.").splitlines()
        if line[:1].strip()
    )
    found = frozenset(word for word in map(_normal, words) if word.isalpha())
    if not found:
        raise UserError(f"{path} holds no noun; write one a line.")
    return found


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text).replace(_STRESS, "")


def both_nouns(one: bool | None, other: bool | None) -> bool | None:
    """What the marks of two words say of their pair: a noun unless a mark says otherwise; None: neither has a mark."""
    marks = [mark for mark in (one, other) if mark is not None]
    return all(marks) if marks else None


def _noun(marks: list[str]) -> bool | None:
    words = [word for mark in marks for word in re.split(r"[\s,;.]+", mark) if word]
    return None if not words else any(word in NOUNS for word in words)


def _words(text: str) -> Iterator[tuple[str, bool | None]]:
    """(word, whether it is marked as a noun) of the alternatives that are one word."""
    for alternative in re.split("[;,]", _ASIDES.sub(" ", text)):
        word = _MARKS.sub(" ", alternative).strip()
        if word.isalpha():
            yield word, _noun(_MARKS.findall(alternative))


def _ding(path: Path) -> Iterator[Entry]:
    for line in _normal(files.read_text(path, HINT)).splitlines():
        if line.startswith("#"):
            continue
        heads, mark, translations = line.partition("::")
        # A comma in a mark divides nothing: {m,f}.
        parts = [
            re.sub(r"\{[^{}]*\}", lambda mark: mark[0].replace(",", " "), side).split("|")
            for side in (heads, translations)
        ]
        if mark and len(parts[0]) == len(parts[1]):
            for head, translation in zip(*parts, strict=True):
                yield from _entries(_words(head), _words(translation))


def _entries(heads, translations) -> Iterator[Entry]:
    for (head, here), (translation, there) in itertools.product(list(heads), list(translations)):
        yield Entry(head, translation, both_nouns(here, there))


def _dict_server(path: Path) -> Iterator[Entry]:
    _, articles = files_of(path)
    try:
        content = files.read_bytes(articles, HINT)
        content = _unpacked(content) if articles.suffix == ".dz" else content
        for line in files.read_text(path, HINT).splitlines():
            word, offset, size = line.split("\t")[:3]
            if not word.startswith("00"):  # what the dictionary says of itself
                begin = _number(offset)
                yield from _article(_normal(content[begin : begin + _number(size)].decode()))
    except (zlib.error, ValueError, KeyError) as error:
        raise UserError(f"cannot read the dictionary {articles} ({one_line(error)}); {HINT}.") from error


def _unpacked(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    text = unpacker.decompress(content, MOST_BYTES)
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise ValueError(f"it is cut off, or unpacks to more than {MOST_BYTES} bytes")
    return text


def _number(digits: str) -> int:
    value = 0
    for letter in digits:
        value = value * 64 + _BASE64[letter]
    return value


def _article(text: str) -> Iterator[Entry]:
    head, *lines = text.splitlines() or [""]
    numbered = [match[1] for match in map(_NUMBERED.fullmatch, lines) if match]
    # Of what has no number, the first line translates and the others explain.
    for line in numbered or lines[:1]:
        yield from _entries(_words(re.sub(r"<[^<>]*>", lambda mark: mark[0].replace(",", " "), head)), _words(line))
