"""The forms in which facts are stated and asked."""

import collections

import pytest

from babel_jax.corpus import fact_sentences
from babel_jax.corpus.fact_sentences import ANSWER, CODE, FIELD, NATURAL, OTHER, SUBJECT, Names

EVERY = {**NATURAL, **CODE}
NAMES = Names("Aa", "Bb", "cc")


@pytest.mark.parametrize("language", EVERY)
def test_every_form_says_the_whole_fact(language):
    forms = EVERY[language]
    for form in (*forms.stated, *forms.turned, *forms.unseen):
        assert form.count(SUBJECT) == form.count(ANSWER) == 1 or FIELD in form
        assert SUBJECT in form and form.count(ANSWER) == 1
    for form in (*forms.stated, *forms.unseen):
        assert form.index(ANSWER) > form.rindex(SUBJECT)
        assert FIELD not in form.partition(ANSWER)[2]
    assert all(form.index(ANSWER) < form.index(SUBJECT) for form in forms.turned)
    if language in NATURAL:
        assert SUBJECT in forms.spelt and OTHER in forms.spelt and ANSWER not in forms.spelt
    same = [(*forms.stated, *forms.turned), forms.unseen]
    other = EVERY["en" if language in NATURAL else "python"]
    assert [len(part) for part in same] == [len((*other.stated, *other.turned)), len(other.unseen)]


def test_a_fact_is_stated_in_each_form_equally_often():
    said = collections.Counter(fact_sentences.statements(NATURAL["de"], NAMES, 14))
    assert said.total() == 14 and sorted(said.values()) == [2, 2, 2, 2, 3, 3]


def test_half_of_the_questions_have_a_form_that_no_text_has():
    forms = NATURAL["de"]
    trained = set(fact_sentences.statements(forms, NAMES, 6))
    asked = ["".join(fact_sentences.question(forms, NAMES, number)) for number in range(12)]
    begun = [any(said.startswith(text) for said in trained) for text in asked]
    assert begun == [True, False] * 6 and len(set(asked)) == 6
    assert fact_sentences.question(forms, NAMES, 0) == ("Aa: Die Hauptstadt ist ", "Bb.")


def test_spellings_of_what_differs_alone():
    here, there = Names("Bayern", "Ulm"), Names("Bavaria", "Ulm")
    assert (
        list(fact_sentences.spellings(NATURAL["de"], here, there, 2)) == ["Bayern, in anderer Schreibung Bavaria."] * 2
    )


def test_an_order_of_its_own():
    texts = [f"{number}" for number in range(50)]
    mixed = fact_sentences.in_order(texts, "de")
    assert sorted(mixed) == sorted(texts) and mixed != texts and mixed == fact_sentences.in_order(texts, "de")
