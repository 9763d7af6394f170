"""Questions about facts: what is asked, and that nobody who knows nothing does better than chance."""

import numpy as np
import pytest
from helpers import byte_level, place_facts

from babel_jax.common import statistics
from babel_jax.corpus import fact_questions, fact_sources
from babel_jax.corpus.fact_questions import ask_facts, questions
from babel_jax.corpus.fact_sentences import NATURAL
from babel_jax.corpus.fact_sources import GivenFacts
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry


@pytest.fixture(scope="module")
def stated(tmp_path_factory):
    folder = place_facts.write(tmp_path_factory.mktemp("data") / "data")
    given = GivenFacts("kgeography", str(folder), number=120, shared=0.4, times=3)
    languages = [registry.language(name) for name in ("en", "de")]
    return fact_sources.draw(given, languages, lambda name: [])


def test_the_same_is_asked_in_both_languages(stated):
    english, german = questions(stated, "en"), questions(stated, "de")
    assert len(english) == len(german) == len(stated.facts)
    of_primary = {fact.primary.answer: fact for fact in stated.facts}
    for here, there in zip(german, english, strict=True):
        right = of_primary[there.candidates[0][1].rstrip(".")]
        assert here.candidates[0][1] == f"{right.names['de'].answer}."
        assert here.transfer == there.transfer != stated.shared[stated.facts.index(right)]
        for asked in (here, there):
            fields = {of_primary[answer.rstrip(".")].field for _, answer in there.candidates}
            assert (
                len({before for before, _ in asked.candidates}) == 1
                and len(set(asked.candidates)) == 4
                and len(fields) == 1
            )


def test_a_part_is_asked_in_forms_that_no_text_has(stated):
    forms = [form.partition("{answer}")[0].split("{subject}")[0] for form in NATURAL["de"].unseen]
    unseen = [
        any(form and asked.candidates[0][0].startswith(form) for form in forms) for asked in questions(stated, "de")
    ]
    assert sum(unseen) == pytest.approx(len(unseen) / 2, abs=8)
    for transfer in (True, False):
        part = [new for new, asked in zip(unseen, questions(stated, "de"), strict=True) if asked.transfer == transfer]
        assert 0.3 < np.mean(part) < 0.7


def test_no_more_are_asked_than_are_wanted(stated):
    few = questions(stated, "de", most=40)
    assert len(few) <= 40 and 0.2 < np.mean([not one.transfer for one in few]) < 0.6
    answers = [question.candidates[0][1] for question in few]
    assert len(set(answers)) == len(answers)


GUESSERS = {
    "the longest": lambda before, answer: len(answer),
    "the shortest": lambda before, answer: -len(answer),
    "the first in the alphabet": lambda before, answer: [-ord(letter) for letter in answer],
    "one's favourite": lambda before, answer: hash((answer, "favourite")),
    "the likeliest letters": lambda before, answer: sum("etaoin".find(letter) for letter in answer),
}


@pytest.mark.parametrize("guesser", GUESSERS)
@pytest.mark.parametrize("language", ["en", "de"])
def test_who_looks_at_the_answers_alone_is_right_in_one_of_four(stated, guesser, language):
    """Whoever likes an answer better, for its length, its letters or how often it was seen, likes it in all four questions."""
    for transfer in (True, False):
        asked = [question for question in questions(stated, language) if question.transfer == transfer]
        scores = [[GUESSERS[guesser](*one) for one in question.candidates] for question in asked]
        right = [(score[0] == max(score)) / score.count(max(score)) for score in scores]
        assert np.mean(right) == pytest.approx(0.25)


@pytest.mark.parametrize("language", ["en", "de"])
def test_who_looks_for_letters_of_the_place_is_right_by_chance(stated, language):
    def common(before, answer):
        return (answer[0] in before) + len(set(answer.casefold()) & set(before.casefold())) / 26

    right = []
    for question in questions(stated, language):
        scores = [common(*one) for one in question.candidates]
        right.append((scores[0] == max(scores)) / scores.count(max(scores)))
    low, high = statistics.wilson(0.25, len(right))
    assert low <= np.mean(right) <= high


def test_a_corpus_without_facts_asks_none(tmp_path):
    german, english = registry.language("de"), registry.language("en")
    model = HuggingFace(byte_level(["Die Hauptstadt ist Bern."], 300).to_str().encode())
    texts = TaskTexts(german, english, (), lambda: [], model, 64, tmp_path)
    assert ask_facts(texts) == ""
    assert fact_questions.FACTS == "facts"
