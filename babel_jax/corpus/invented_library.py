"""Libraries that nobody has written: modules with a function each, of names that no file of a corpus holds."""

import random
import re
from collections.abc import Iterable, Iterator

from babel_jax.corpus.fact_sentences import Names
from babel_jax.corpus.stated_facts import Fact

ONSETS, VOWELS = "bdfgjklmnprstvwz", "aeiou"
LENGTH = 6  # letters of a name
MODULES = 40  # of a library
_LETTERS = re.compile(rf"[A-Za-z]{{{LENGTH},}}")


def names(number: int) -> list[str]:
    """So many names of LENGTH letters, the same on every machine; about half a million are possible."""
    chosen, found = random.Random("invented libraries"), {}
    while len(found) < number:
        found["".join(map(chosen.choice, (ONSETS, VOWELS) * (LENGTH // 2)))] = True
    return list(found)


def facts(unused: list[str], languages: tuple[str, ...]) -> Iterator[Fact]:
    """As many facts as names that no file holds allow: a library's, then two for each of its modules, again and again."""
    given = iter(unused)
    while True:
        library = next(given, None)
        for _ in range(MODULES):
            subject, answer = next(given, None), next(given, None)
            if answer is None:
                return
            yield Fact(library, dict.fromkeys(languages, Names(subject, answer, library)))


def used(names: list[str], texts: Iterable[str]) -> set[str]:
    """The names that stand in a text as a word, or as a part of one, in whatever case."""
    wanted, found = set(names), set()
    for text in texts:
        for word in set(_LETTERS.findall(text)):
            word = word.casefold()
            found |= {word[at : at + LENGTH] for at in range(len(word) - LENGTH + 1)} & wanted
    return found
