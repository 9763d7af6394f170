"""Facts that are written into a corpus: in the primary's text alone, to be asked in another language, or in all languages' text.

They go in groups of four of one field (a map, a library). Each answer of a group is the right one of one question and a wrong one
of the three others, so whoever knows no fact, and only likes some answers better than others, is right in one of four. A group is
stated as one: its facts are all `shared`, or are all to be transferred.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence

from babel_jax.corpus.fact_sentences import Names
from babel_jax.corpus.questions import CHOICES, groups, order

ALIKE = 4  # letters in a row that a subject and its answer may not have in common: such an answer could be guessed
ALIKE_FIRST = 3  # the same of their first letters
FILE = "facts/facts.json"  # in a corpus


@dataclasses.dataclass(frozen=True)
class Fact:
    """An answer that belongs to a subject.

    Attributes:
      field: what both stand in.
      names: what they are called, by language; the primary is the first.
    """

    field: str
    names: dict[str, Names]

    @property
    def primary(self) -> Names:
        return next(iter(self.names.values()))

    @property
    def spelt_alike(self) -> bool:
        """Whether both names are the same in all languages."""
        return all(here == self.primary for here in self.names.values())


@dataclasses.dataclass(frozen=True)
class Stated:
    """The facts of a corpus, in groups one after another.

    Attributes:
      kind: what they are about.
      times: how often each is stated in a language's text.
      facts, shared: each fact, and whether every language's text states it.
      unfit: how many facts were left out, because they have no unmistakable names or could be guessed.
      leaked: by language, how many of the facts stand in its own text already; their groups are shared.
    """

    kind: str
    times: int
    facts: tuple[Fact, ...]
    shared: tuple[bool, ...]
    unfit: int
    leaked: dict[str, int]

    @property
    def languages(self) -> tuple[str, ...]:
        """The primary, then the new ones."""
        return tuple(self.facts[0].names)

    def of(self, language: str, control: bool = False) -> list[Fact]:
        """Those that the text of a language states; `control`: that of its control, which lacks none."""
        whole = control or language == self.languages[0]
        return [fact for fact, shared in zip(self.facts, self.shared, strict=True) if whole or shared]


def fit(facts: Iterable[Fact]) -> list[Fact]:
    """Facts that can be asked: the subject has one answer and the answer one subject, and neither is like the other.

    That holds of their names in every language.
    """
    unique = list({(fact.primary.subject, fact.primary.answer): fact for fact in facts}.values())
    for language in unique[0].names if unique else ():
        for part in ("subject", "answer"):
            named = [getattr(fact.names[language], part).casefold() for fact in unique]
            counts = Counter(named)
            unique = [fact for fact, name in zip(unique, named, strict=True) if counts[name] == 1]
    return [fact for fact in unique if not any(_alike(names.subject, names.answer) for names in fact.names.values())]


def _alike(subject: str, answer: str) -> bool:
    subject, answer = subject.casefold(), answer.casefold()
    parts = {subject[at : at + ALIKE] for at in range(len(subject) - ALIKE + 1)}
    return subject[:ALIKE_FIRST] == answer[:ALIKE_FIRST] or any(part in answer for part in parts)


def grouped(facts: Sequence[Fact], number: int) -> list[tuple[Fact, ...]]:
    """At most so many facts in groups of one field; before others those whose names are the same in all languages.

    The answers of a group are of about the same length.
    """
    by_field: dict[tuple, dict[str, Fact]] = {}
    for fact in facts:
        by_field.setdefault((not fact.spelt_alike, fact.field), {})[fact.primary.answer] = fact
    found = [
        (place[0], tuple(of_answer[answer] for answer in group))
        for place, of_answer in by_field.items()
        for group in groups(of_answer)
    ]
    found.sort(key=lambda one: (one[0], order(*(fact.primary.subject for fact in one[1]))))
    return [group for _, group in found[: number // CHOICES]]


def divided(found: Sequence[tuple[Fact, ...]], share: float, leaked: set[int]) -> list[bool]:
    """Whether each group is shared: about that share of them, those with a leaked fact in any case; a hash chooses the others.

    leaked: numbers of facts, counted through all groups.
    """
    leaky = [not leaked.isdisjoint(range(CHOICES * g, CHOICES * (g + 1))) for g in range(len(found))]
    others = [g for g in range(len(found)) if not leaky[g]]
    others.sort(key=lambda g: order("shared", found[g][0].primary.subject))
    chosen = set(others[: max(0, round(share * len(found)) - sum(leaky))])
    return [leaky[g] or g in chosen for g in range(len(found))]
