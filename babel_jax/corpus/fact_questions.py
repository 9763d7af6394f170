"""The task `facts`: which of four answers of one field belongs to a subject."""

from babel_jax.common.material import Choices
from babel_jax.corpus import fact_rows, fact_sentences, stated_facts
from babel_jax.corpus.fact_sources import forms_of
from babel_jax.corpus.questions import CHOICES, MOST_QUESTIONS, NOT_OF_THIS_KIND, Question, TaskTexts, choices
from babel_jax.corpus.stated_facts import Stated

FACTS = "facts"  # the name of the task


def ask_facts(texts: TaskTexts) -> Choices | str:
    """Which answer belongs to the subject? Half of the questions have a form that no training text has.

    To be transferred is what the text of the first language alone states. In every language of a corpus the same is asked, in
    the same order.
    """
    if texts.directory is None or not (texts.directory / stated_facts.FILE).exists():
        return NOT_OF_THIS_KIND
    stated = fact_rows.read(texts.directory)
    asked = questions(stated, texts.language.name)
    together = [asked[at : at + CHOICES] for at in range(0, len(asked), CHOICES)]
    return choices(together, texts.tokenizer, texts.longest, most=MOST_QUESTIONS)


def questions(stated: Stated, language: str, most: int = MOST_QUESTIONS) -> list[Question]:
    """At most so many, of whole groups; of the shared ones and of the others as large a part."""
    forms, asked = forms_of(stated.kind, language), []
    groups = range(0, len(stated.facts), CHOICES)
    for shared in (True, False):
        of_kind = [first for first in groups if stated.shared[first] == shared]
        for number, first in enumerate(of_kind[: len(of_kind) * most // max(most, len(stated.facts))]):
            group = stated.facts[first : first + CHOICES]
            for fact in group:
                right = fact.names[language]
                answers = [right.answer, *(one.names[language].answer for one in group if one is not fact)]
                candidates = tuple(
                    fact_sentences.question(forms, fact_sentences.Names(right.subject, answer, right.field), number)
                    for answer in answers
                )
                asked.append(Question(candidates, transfer=not shared))
    return asked
