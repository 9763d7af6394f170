"""Pairs of words that mean the same in two natural languages: what dictionaries say, confirmed in texts that stand in both.

A dictionary knows more than a corpus means: a pair counts where its words stand in the same sentences, each as the other's best
translation. A model is asked for the first token of a word, so words that begin alike are refused.
"""

import dataclasses
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from babel_jax.corpus import cloze
from babel_jax.corpus.dictionaries import Entry, both_nouns
from babel_jax.languages.language import Identifier, Language, Pairs

FEWEST_TOGETHER = 5  # sentences that have both words
LEAST_DICE = 0.2  # 2 * together / (sentences with the one + sentences with the other)
SAME_LETTERS = 3  # at the beginning, from which two words count as one that both languages have
# Why a pair of the dictionaries is none of the corpus, in the order in which that is asked.
REASONS = ("other_part_of_speech", "stop_word", "not_together", "low_dice", "another_fits_better", "begins_alike")


@dataclasses.dataclass(frozen=True)
class WordPairs:
    """pairs: (word of the first language, of the second), the most frequent first. fell: REASONS -> pairs of the dictionaries."""

    pairs: tuple[tuple[str, str], ...]
    fell: dict[str, int]


def begins_alike(first: str, second: str) -> bool:
    """Whether two words begin with the same letters, be they written with other accents, or one begins with the other."""
    first, second = _bare(first), _bare(second)
    return first[:SAME_LETTERS] == second[:SAME_LETTERS] or first.startswith(second) or second.startswith(first)


def _bare(word: str) -> str:
    return "".join(
        letter for letter in unicodedata.normalize("NFD", word.casefold()) if not unicodedata.combining(letter)
    )


def bridged(first: Iterable[Entry], second: Iterable[Entry]) -> Iterable[Entry]:
    """Entries from the headwords of the first dictionary to the translations of the second, by way of words that both have.

    `first` translates into the language of `second`'s headwords.
    """
    beyond = defaultdict(list)
    for entry in second:
        beyond[entry.headword].append(entry)
    for entry in first:
        for other in beyond.get(entry.translation, ()):
            yield Entry(entry.headword, other.translation, both_nouns(entry.noun, other.noun))


def find(
    entries: Iterable[Entry],
    languages: tuple[Language, Language],
    nouns: tuple[frozenset[str], frozenset[str]],
    sentences: Iterable[tuple[str, str]],
) -> WordPairs:
    """The pairs that the sentences confirm.

    Args:
      entries: from the first language to the second.
      nouns: of either language; empty: not known. What no dictionary marks must be among them, where they are known.
      sentences: the same in both languages.
    """
    known, fell = _known(entries, languages, nouns)
    alone, together = _counts(known, sentences)
    best: tuple[dict, dict] = ({}, {})
    strength = {}
    for pair, count in sorted(together.items()):
        dice = 2 * count / (alone[0][pair[0]] + alone[1][pair[1]])
        strength[pair] = (dice, count)
        for side in (0, 1):
            best[side].setdefault(pair[side], pair)
            best[side][pair[side]] = max(best[side][pair[side]], pair, key=lambda one: strength[one])
    confirmed = []
    for pair in sorted((first, second) for first in known for second in known[first]):
        dice, count = strength.get(pair, (0.0, 0))
        if reason := _reason(pair, dice, count, best):
            fell[reason] += 1
        else:
            confirmed.append(pair)
    confirmed.sort(key=lambda pair: -together[pair])
    return WordPairs(tuple(confirmed), {reason: fell[reason] for reason in REASONS})


def _reason(pair, dice: float, count: int, best) -> str | None:
    if count < FEWEST_TOGETHER:
        return "not_together"
    if dice < LEAST_DICE:
        return "low_dice"
    if any(best[side][pair[side]] != pair for side in (0, 1)):
        return "another_fits_better"
    # Asked at last: a word that both languages have may be the best translation, and then no other one is.
    return "begins_alike" if begins_alike(*pair) else None


def _known(entries, languages, nouns) -> tuple[Mapping[str, set[str]], Counter]:
    """(first word -> its translations, of those that may become pairs; why the others may not)."""
    marks: dict[tuple[str, str], set] = defaultdict(set)
    for entry in entries:
        marks[entry.headword, entry.translation].add(entry.noun)
    known, fell = defaultdict(set), Counter()
    stop_words = [frozenset(language.stop_words) for language in languages]
    for words, of_words in marks.items():
        listed = all(word in of for word, of in zip(words, nouns, strict=True) if of)
        # One sense may be a noun where another is not; what no dictionary marks is looked up.
        if not (True in of_words or (listed and False not in of_words)):
            fell["other_part_of_speech"] += 1
        elif any(word.casefold() in of for word, of in zip(words, stop_words, strict=True)):
            fell["stop_word"] += 1
        else:
            known[words[0]].add(words[1])
    return known, fell


def _counts(known, sentences) -> tuple[tuple[Counter, Counter], Counter]:
    """(sentences with each word, by language; sentences with both words of a pair)."""
    alone, together = (Counter(), Counter()), Counter()
    seconds = {second for of in known.values() for second in of}
    for texts in sentences:
        words = [cloze.words(text) for text in texts]
        here = [words[0] & known.keys(), words[1] & seconds]
        for counter, found in zip(alone, here, strict=True):
            counter.update(found)
        together.update((first, second) for first in here[0] for second in known[first] & here[1])
    return alone, together


def with_words(pairs: Pairs, words: Iterable[Sequence[str]]) -> Pairs:
    """Pairs, and behind them words that are not among them."""
    known = {tuple(one.text for one in pair) for pair in pairs}
    return (*pairs, *(tuple(Identifier(word, "word") for word in two) for two in words if tuple(two) not in known))
