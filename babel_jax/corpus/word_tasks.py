"""Tasks of natural languages: the translation of a word, and the word that is missing in a text.

Words are those of the languages' `pairs`. Both tasks choose among four words of the same language and about the same length.
"""

import heapq

from babel_jax.common.material import Choices
from babel_jax.corpus import cloze
from babel_jax.corpus.questions import (
    ENOUGH_QUESTIONS,
    NOT_OF_THIS_KIND,
    Question,
    TaskTexts,
    choices,
    groups,
    order,
    right_first,
)

SHOWN = 3  # pairs that the context of every question about a translation shows
MOST_SITES = 10  # places in text of one word
CLOZE_TOKENS = 48  # of a question: what is further to the left says little of the word
COPIED = "copied"  # what the other language's word is called where it is repeated
_NO_WORDS = "no words of it and another natural language are known to mean the same"


def ask_word(texts: TaskTexts) -> Choices | str:
    """What is this word of the other language in this one? Behind a few other pairs, the same ones in every question.

    Repeating the other language's word is counted apart.
    """
    if texts.language.prompts != "cloze":
        return NOT_OF_THIS_KIND
    if not _has_words(texts):
        return _NO_WORDS
    pairs = sorted(_of_one_meaning(texts).items(), key=lambda pair: order(*pair))
    shown, translated = pairs[:SHOWN], dict(pairs[SHOWN : SHOWN + ENOUGH_QUESTIONS])
    context = "".join(f"{there} = {here}, " for here, there in shown)
    asked = []
    for group in groups(translated):
        answers = {right: [*right_first(right, group), translated[right]] for right in group}
        asked.append(
            [
                Question(tuple((f"{context}{translated[right]} =", f" {word},") for word in words))
                for right, words in answers.items()
            ]
        )
    return choices(asked, texts.tokenizer, texts.longest, aside=COPIED)


def ask_cloze(texts: TaskTexts) -> Choices | str:
    """Which word comes next in a paragraph of held-out text, in which neither it nor its translation stands before?"""
    if texts.language.prompts != "cloze":
        return NOT_OF_THIS_KIND
    if not _has_words(texts):
        return _NO_WORDS
    places = _places(texts, _of_one_meaning(texts))
    grouped = groups(word for word, sites in places.items() if sites)
    grouped.sort(key=lambda group: order(*group))
    each = min(MOST_SITES, -(-ENOUGH_QUESTIONS // max(1, sum(map(len, grouped)))))
    asked = []
    for group in grouped:
        usable = {right: [before for before in places[right] if not _any_of(group, before)] for right in group}
        for number in range(min(each, *map(len, usable.values()))):
            asked.append(
                [
                    Question(tuple((usable[right][number], f" {word}") for word in right_first(right, group)))
                    for right in group
                ]
            )
    return choices(asked, texts.tokenizer, min(CLOZE_TOKENS, texts.longest), cut=True)


def _has_words(texts: TaskTexts) -> bool:
    return bool(texts.pairs) and texts.other is not None and texts.other.prompts == "cloze"


def _of_one_meaning(texts: TaskTexts) -> dict[str, str]:
    """This language's word -> the other's, without words that stand in several pairs."""
    there = [first.text for first, _ in texts.pairs]
    here = [second.text for _, second in texts.pairs]
    return {
        second: first
        for first, second in zip(there, here, strict=True)
        if there.count(first) == here.count(second) == 1 and first != second
    }


def _places(texts: TaskTexts, translated: dict[str, str]) -> dict[str, list[str]]:
    """Word -> what stands before it, in at most MOST_SITES places that a hash chooses, one a document."""
    best: dict[str, list] = {word: [] for word in translated}
    for document in texts.documents():
        taken = set()
        for begins, paragraph in cloze.paragraphs(document.text):
            words = cloze.Words(paragraph)
            for word in words.sites.keys() & translated.keys() - taken:
                site = words.blank(word, translated[word])
                if site is None:
                    continue
                taken.add(word)
                key = -int.from_bytes(order(document.path, begins + site)[:8])
                heap = best[word]
                put = heapq.heappush if len(heap) < MOST_SITES else heapq.heappushpop
                put(heap, (key, paragraph[: site - 1]))
    return {word: [before for _, before in sorted(heap, reverse=True)] for word, heap in best.items()}


def _any_of(words: list[str], text: str) -> bool:
    return not cloze.Words(text).sites.keys().isdisjoint(words)
