"""Questions with answers to choose from, as rows of tokens."""

import numpy as np
import pytest
from helpers import spoken

from babel_jax.corpus import questions
from babel_jax.corpus.questions import Question, choices, groups, right_first
from babel_jax.corpus.tokenizer import HuggingFace


@pytest.fixture(scope="module")
def model():
    return HuggingFace(spoken.vocabulary().to_str().encode())


def asked(*candidates, times=questions.FEWEST_QUESTIONS):
    return [[Question(candidates)]] * times


def scored_text(made, model, q, c):
    row, scored = made.tokens_QxCxT1[q, c], made.scored_QxCxT[q, c]
    return model.decode(row[1:][scored])


def test_what_is_scored_is_the_second_part_and_the_rest_is_read(model):
    made = choices(asked(("The old house", " of bricks"), ("The new", " x")), model, 64)
    for c, (before, scored) in enumerate([("The old house", " of bricks"), ("The new", " x")]):
        assert scored_text(made, model, 0, c) == scored
        whole = model.encode(before + scored)
        assert np.array_equal(made.tokens_QxCxT1[0, c, : len(whole)], whole)
        assert (made.tokens_QxCxT1[0, c, len(whole) :] == model.padding).all()
    assert made.bytes_Q.tolist() == [len(" of bricks")] * 20 and not made.transfer_Q.any()
    assert (made.tokens_QxCxT1.shape[2] - 1) % questions.WIDTHS == 0


def test_a_token_that_crosses_over_is_scored(model):
    ids = model.encode("the morning")
    assert len(ids) < len("the morning"), "this test needs a token of several bytes"
    split = len(model.decode(ids[:1])) - 1  # within the first token
    made = choices(asked(("x, " + "the morning"[:split], "the morning"[split:])), model, 64)
    assert scored_text(made, model, 0, 0).endswith("the morning")


def test_what_is_too_long_is_left_out_or_cut_by_as_much_from_all(model):
    long = "word " * 40
    candidates = (long + "end", " a"), (long + "end", " abcdefgh klm")
    assert choices(asked(*candidates), model, 16).startswith("there are 0 questions")
    made = choices(asked(*candidates), model, 16, cut=True)
    texts = [model.decode(made.tokens_QxCxT1[0, c][: np.flatnonzero(made.scored_QxCxT[0, c])[-1] + 2]) for c in (0, 1)]
    read = [text.removesuffix(scored) for text, (_, scored) in zip(texts, candidates, strict=True)]
    assert read[0] == read[1] and read[0].endswith("word end") and made.tokens_QxCxT1.shape[2] == 17


def test_a_candidate_of_which_nothing_is_read_is_no_question(model):
    assert choices(asked(("", "all of it")), model, 64).startswith("there are 0 questions")


def test_where_a_text_begins_with_a_mark_the_rows_do(model):
    marked = HuggingFace(model.content)
    marked.begin = marked.document_end
    made = choices(asked(("The", " end"), ("A", " x")), marked, 64)
    assert (made.tokens_QxCxT1[:, :, 0] == marked.begin).all() and scored_text(made, marked, 0, 0) == " end"
    alone = choices(asked(("", "all of it")), marked, 64)
    assert scored_text(alone, marked, 0, 0) == "all of it", "the mark is what is read"


def test_too_few_questions_are_none(model):
    assert "there are 19 questions in the held-out text, and 20 are" in choices(asked(("a", " b"), times=19), model, 9)


def test_a_set_of_questions_is_kept_whole_or_left_out(model):
    fits, too_long = Question((("a", " b"), ("a", " c"))), Question((("a", " b" * 70), ("a", " c")))
    made = choices([[fits, too_long], *[[fits, fits]] * 10], model, 64)
    assert len(made.transfer_Q) == 20
    many = choices([[fits] * 3] * 100, model, 64)
    assert len(many.transfer_Q) == questions.ENOUGH_QUESTIONS
    odd = choices([[fits] * 3] * 100, model, 64, most=100)
    assert len(odd.transfer_Q) == 99, "no set is broken by the limit"


def test_groups_are_of_words_of_one_length_and_leave_few_over():
    words = [f"{'x' * (2 + n % 7)}{n:02d}" for n in range(43)]
    made = groups(words)
    assert len(made) == 10 and len({word for group in made for word in group}) == 40
    assert made == groups(reversed(words)), "whatever order they come in"
    spread = [max(map(len, group)) - min(map(len, group)) for group in made]
    assert max(spread) <= 1
    assert right_first("c", ["a", "b", "c"]) == ["c", "a", "b"]
