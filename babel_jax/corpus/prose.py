"""The cleaning of running text, a paragraph at a time: what is too short, hardly letters, or in another language.

It holds for natural languages whose record says their `script`; the rules for code hold for no paragraph. Text that was never
translated is common in translations, and the stop words of a language, or its script, tell it.
"""

import functools
import hashlib
import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping

from babel_jax.corpus.document import Document, ordinals
from babel_jax.languages.language import Language
from babel_jax.languages.registry import LANGUAGES

SHORTEST, SHORTEST_UNSPACED = 30, 12  # characters
FEWEST_WORDS = 5  # where words are spaced
LETTERS_SHARE = 0.82  # of the characters that are letters or spaces, at least
STOP_WORD_SHARE = 0.08  # of the words, at least
# Script -> (its letters, their share of all letters at least, letters of which there must be one).
LETTERS_OF = {
    "cyrillic": ("\u0400-\u052f", 0.6, ""),
    "chinese": ("\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", 0.45, ""),
    "japanese": ("\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff", 0.45, "\u3040-\u30ff"),
}
REASONS = ("short", "few_letters", "other_script", "other_language", "copy")  # to drop a paragraph, in this order
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]")  # soft hyphens, zero width, directions
_NO_LETTERS = re.compile(r"[\W\d_]+")


def is_prose(language: Language) -> bool:
    """Whether its documents are cleaned by the paragraph."""
    return bool(language.script)


def clean(document: Document, language: Language) -> tuple[Document, dict[str, list[int]]]:
    """The document with the paragraphs that are kept, written alike, and what was dropped: reason -> sizes in bytes.

    A document whose paragraphs have no keys gets ordinals.
    """
    paragraphs, kept, dropped = document.paragraphs, {}, {}
    for key, paragraph in zip(document.keys or ordinals(len(paragraphs)), paragraphs, strict=True):
        text = normal(paragraph)
        if why := reason(text, language):
            dropped.setdefault(why, []).append(len(paragraph.encode()))
        else:
            kept[key] = text
    return document.holding(kept), dropped


class Unique:
    """Tells copies of paragraphs that it has seen before, in whichever document."""

    def __init__(self):
        self._seen: set[bytes] = set()

    def of(self, keys: Iterable[str], paragraphs: Iterable[str]) -> dict[str, str]:
        """Key -> paragraph of those that are no copies."""
        unique = {}
        for key, text in zip(keys, paragraphs, strict=True):
            mark = fingerprint(text)
            if mark not in self._seen:
                self._seen.add(mark)
                unique[key] = text
        return unique


def normal(text: str) -> str:
    """NFC, without characters that nobody sees, one space between words."""
    return " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", text)).split())


def reason(text: str, language: Language) -> str | None:
    """Why a paragraph is dropped, which `normal` has written; copies aside, which `fingerprint` tells."""
    words = text.split(" ")
    if len(text) < (SHORTEST if language.is_spaced else SHORTEST_UNSPACED):
        return "short"
    if language.is_spaced and len(words) < FEWEST_WORDS:
        return "short"
    letters = _NO_LETTERS.sub("", text)
    if len(letters) + len(words) - 1 < LETTERS_SHARE * len(text):
        return "few_letters"
    if language.script in LETTERS_OF:
        return None if _is_in_script(letters, language.script) else "other_script"
    return None if _is_in_language(text, language) else "other_language"


def _is_in_script(letters, script) -> bool:
    ours, share, required = LETTERS_OF[script]
    is_there = not required or re.search(f"[{required}]", letters)
    return bool(is_there) and len(re.findall(f"[{ours}]", letters)) >= share * len(letters)


def _is_in_language(text, language) -> bool:
    """Whether enough of the words are its stop words, and no other language of its script has more."""
    words = _NO_LETTERS.split(text.lower())
    ours, others = _set(language.stop_words), _languages_of_stop_words(language.script)
    own = sum(word in ours for word in words)
    if own < STOP_WORD_SHARE * len(words):
        return False
    counts = Counter(itertools.chain.from_iterable(others[word] for word in words if word in others))
    del counts[language.name]
    return max(counts.values(), default=0) <= own


@functools.cache
def _set(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(words)


@functools.cache
def _languages_of_stop_words(script: str) -> Mapping[str, tuple[str, ...]]:
    """Stop word -> the package's languages of this script that have it."""
    names: dict[str, tuple[str, ...]] = {}
    for language in LANGUAGES.values():
        if language.script == script:
            for word in language.stop_words:
                names[word] = (*names.get(word, ()), language.name)
    return names


def fingerprint(text: str) -> bytes:
    """The same for paragraphs that differ in case, punctuation and digits only."""
    return hashlib.blake2b(_NO_LETTERS.sub("", text.casefold()).encode(), digest_size=8).digest()
