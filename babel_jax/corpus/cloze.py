"""Where running text can be cut so that a given word must come: cloze prompts of natural languages.

The cut is just before the exact word form, behind one space, in a paragraph with enough words before it to say what it is
about, and nowhere before it stands the word itself or the other language's, which a model would only have to copy.
"""

import bisect
import functools
import re
from collections.abc import Iterator

FEWEST_CHARACTERS, FEWEST_WORDS = 50, 8  # of context, in the same paragraph
_BLANK_LINES = re.compile(r"\n[^\S\n]*(?:\n\s*)+|\n")
_WORD = re.compile(r"\w+(?:[-'\u2019]\w+)*")  # no part of co-author or don't is cut off
_PART = re.compile(r"\w+")


def paragraphs(text: str) -> Iterator[tuple[int, str]]:
    """(where it begins, in characters; its text) of what stands between blank lines; in a text without any, of each line.

    Lines of a paragraph are joined by a space each, as a reader joins them; so its length stays.
    """
    text = text.replace("\r\n", "\n")
    breaks = list(_BLANK_LINES.finditer(text.rstrip()))
    blank = [mark for mark in breaks if mark[0].count("\n") > 1]
    begins = 0
    for end, following in [(mark.start(), mark.end()) for mark in blank or breaks] + [(len(text), len(text))]:
        if paragraph := text[begins:end].replace("\n", " ").rstrip():
            yield begins, paragraph
        begins = following


def words(text: str) -> set[str]:
    """The words of a text as they stand there."""
    return set(_WORD.findall(text))


class Words:
    """The words of a paragraph. sites: a word -> where it stands first, in characters."""

    def __init__(self, paragraph: str):
        self._paragraph = paragraph
        self._begins = []
        self.sites: dict[str, int] = {}
        for word in _WORD.finditer(paragraph):
            self._begins.append(word.start())
            self.sites.setdefault(word[0], word.start())

    @functools.cached_property
    def _first(self) -> dict[str, int]:
        """A word in any case -> where it stands first, be it as a part of another."""
        first: dict[str, int] = {}
        for word in _PART.finditer(self._paragraph):
            first.setdefault(word[0].casefold(), word.start())
        return first

    def blank(self, word: str, other: str) -> int | None:
        """Where the paragraph can be cut before `word`, which stands in it; None: nowhere. Nor may `other` stand before."""
        site = self.sites[word]
        if site < FEWEST_CHARACTERS or self._paragraph[site - 1] != " ":
            return None
        if bisect.bisect_left(self._begins, site) < FEWEST_WORDS:
            return None
        if any(self._first.get(each.casefold(), site) < site for each in (word, other)):
            return None
        return site
