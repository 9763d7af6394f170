"""Where names stand in running text: which of some facts a text states already, in whatever words.

A name is found in any inflection that only adds to it, and of a Cyrillic one the ending may be another; so one that is found may
be another word, and none that stands there is missed for its ending.
"""

import re
from collections.abc import Iterable, Sequence

from babel_jax.corpus.document import PARAGRAPH
from babel_jax.languages.language import SCRIPTS

_WORD = re.compile(r"\w+")
KEY = 3  # characters by which a word is looked up
ENDING = 3  # characters that an inflection may add
CYRILLIC_ENDING = 2  # characters that an inflection may put others in place of
LONG = 5  # characters of a word that has an ending


class Mentions:
    """Looks for pairs of names that stand in one paragraph.

    pairs: the names. script: of the language, as `languages.language.SCRIPTS` has it; "": words as in a Latin one.
    """

    def __init__(self, pairs: Sequence[tuple[str, str]], script: str = ""):
        self._spaced = SCRIPTS.get(script, True)
        self._script = script
        self._names = {name: self._stems(name) for pair in pairs for name in pair}
        self._pairs: dict[str, list[int]] = {}
        self._of = list(pairs)
        self._by_key: dict[str, list[str]] = {}
        for name, stems in self._names.items():
            if stems:
                self._by_key.setdefault(stems[0][:KEY], []).append(name)

    def _stems(self, name: str) -> tuple[str, ...]:
        words = [word.casefold() for word in _WORD.findall(name)]
        if self._script != "cyrillic":
            return tuple(words)
        return tuple(word[:-CYRILLIC_ENDING] if len(word) >= LONG else word for word in words)

    def found(self, texts: Iterable[str]) -> set[int]:
        """The numbers of the pairs of which both names stand in a paragraph of one of the texts."""
        numbers: set[int] = set()
        for text in texts:
            for paragraph in text.split(PARAGRAPH):
                there = self.names(paragraph)
                if len(there) > 1:
                    numbers.update(n for n, pair in enumerate(self._of) if there.issuperset(pair))
        return numbers

    def names(self, paragraph: str) -> set[str]:
        """The names that stand in a paragraph."""
        if not self._spaced:
            return {name for name in self._names if name in paragraph}
        words = [word.casefold() for word in _WORD.findall(paragraph)]
        return {
            name
            for at, word in enumerate(words)
            for name in self._by_key.get(word[:KEY], ())
            if self._stands(self._names[name], words, at)
        }

    def _stands(self, stems: tuple[str, ...], words: list[str], at: int) -> bool:
        here = words[at : at + len(stems)]
        return len(here) == len(stems) and all(map(self._is, here, stems))

    def _is(self, word: str, stem: str) -> bool:
        longest = len(stem) + ENDING + (CYRILLIC_ENDING if self._script == "cyrillic" else 0)
        return word.startswith(stem) and len(word) <= longest
