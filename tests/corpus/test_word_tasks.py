"""Tasks of natural languages: words translated, and words that are missing."""

import collections

import numpy as np
import pytest
from helpers import spoken

from babel_jax.common.material import Choices
from babel_jax.corpus import word_tasks
from babel_jax.corpus.questions import ENOUGH_QUESTIONS, TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry

OLD, YOUNG = spoken.languages()


@pytest.fixture(scope="module")
def model():
    return HuggingFace(spoken.vocabulary().to_str().encode())


def texts(model, documents=(), **changes) -> TaskTexts:
    given = dict(language=YOUNG, other=OLD, pairs=YOUNG.pairs["old"], documents=lambda: documents, tokenizer=model)
    return TaskTexts(**given | dict(translations=None, longest=128) | changes)


def candidates(made: Choices, model) -> list[list[tuple[str, str]]]:
    """(what is read, what is scored) of each candidate, as text."""
    found = []
    for rows, scored in zip(made.tokens_QxCxT1, made.scored_QxCxT, strict=True):
        ends = [np.flatnonzero(one) + 1 for one in scored]
        found.append(
            [
                (model.decode(row[: end[0]]), model.decode(row[end[0] : end[-1] + 1]))
                for row, end in zip(rows, ends, strict=True)
            ]
        )
    return found


# --- translation ----------------------------------------------------------------------------------------------------------


def test_a_word_is_translated_behind_pairs_that_are_not_asked(model):
    made = word_tasks.ask_word(texts(model))
    assert made.aside == "copied" and len(made.transfer_Q) == 56 and made.tokens_QxCxT1.shape[1] == 5
    translated = dict(zip(spoken.THERE, spoken.HERE, strict=True))
    contexts = set()
    for question in candidates(made, model):
        (before,) = {before for before, _ in question}
        context, _, source = before.removesuffix(" =").rpartition(", ")
        contexts.add(context)
        words = [scored.strip(" ,") for _, scored in question]
        assert words[0] == translated[source] and words[-1] == source
        assert len(set(words)) == 5 and set(words[:4]) <= set(spoken.HERE)
        assert not any(word in context.replace(",", "").split() for word in words)
    (context,) = contexts
    assert context.count(" = ") == word_tasks.SHOWN


def test_each_word_is_as_often_right_as_a_third_of_how_often_it_is_wrong(model):
    for made in (word_tasks.ask_word(texts(model)), word_tasks.ask_cloze(texts(model, spoken.documents()))):
        answers = [[scored for _, scored in question[:4]] for question in candidates(made, model)]
        right = collections.Counter(words[0] for words in answers)
        wrong = collections.Counter(word for words in answers for word in words[1:])
        assert wrong == {word: 3 * count for word, count in right.items()}, "else a taste for words scores"


def test_words_of_several_meanings_and_cognates_that_are_equal_are_not_asked(model):
    identifier = registry.record(
        "x",
        {"title": "X", "kind": "natural", "extensions": [".x"], "pairs": {"old": [["word same", "word same"]]}},
        "x",
    ).pairs["old"]
    (again, _), (_, other) = YOUNG.pairs["old"][:2]
    pairs = (*YOUNG.pairs["old"], (again, other), *identifier)
    asked = {
        word for question in candidates(word_tasks.ask_word(texts(model, pairs=pairs)), model) for _, word in question
    }
    assert not asked & {f" {word}," for word in ("same", *spoken.HERE[:2])}


def test_code_has_no_words_and_few_words_are_no_task(model):
    python, php = (registry.LANGUAGES[name] for name in ("python", "php"))
    code = texts(model, language=php, other=python, pairs=php.pairs["python"])
    for ask in (word_tasks.ask_word, word_tasks.ask_cloze):
        assert ask(code) == "" and "no words of it and another" in ask(texts(model, other=None))
    assert "there are 4 questions" in word_tasks.ask_word(texts(model, pairs=YOUNG.pairs["old"][:10]))


# --- cloze ----------------------------------------------------------------------------------------------------------------


def test_a_word_is_missing_from_held_out_text_and_stands_nowhere_before(model):
    made = word_tasks.ask_cloze(texts(model, spoken.documents()))
    assert made.tokens_QxCxT1.shape[1] == 4 and ENOUGH_QUESTIONS - 3 <= len(made.transfer_Q) <= ENOUGH_QUESTIONS
    assert made.aside == ""
    text = "\n".join(document.text for document in spoken.documents())
    seen = set()
    for question in candidates(made, model):
        (before,) = {before for before, _ in question}
        right, *wrong = (scored for _, scored in question)
        assert before.endswith(" the") and before + right + " stood" in text
        assert {other.strip() for other in wrong} <= set(spoken.HERE)
        seen.add(before + right)
    assert len(seen) == len(made.transfer_Q), "each place is asked about once"
    bits = {len(scored.encode()) for question in candidates(made, model) for _, scored in question[:1]}
    assert set(made.bytes_Q) == bits


def test_a_place_behind_another_answer_is_not_asked_about(model):
    lines = [
        f"{spoken.CONTEXT} {first} and {second} met, and all the {third} stood."
        for first, second, third in zip(spoken.HERE, spoken.HERE[1:], spoken.HERE[2:], strict=False)
    ]
    documents = [spoken.document(number, "\n\n".join(lines)) for number in range(2)]
    made = word_tasks.ask_cloze(texts(model, documents))
    for question in candidates(made, model):
        stands = set(question[0][0].split())
        assert not stands & {scored.strip() for _, scored in question}


def test_the_same_texts_give_the_same_questions_in_any_order(model):
    documents = spoken.documents()
    first, second = (word_tasks.ask_cloze(texts(model, given)) for given in (documents, documents[::-1]))
    assert np.array_equal(first.tokens_QxCxT1, second.tokens_QxCxT1)
