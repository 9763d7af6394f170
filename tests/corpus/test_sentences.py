"""Parallel sentences of a corpus and of a user's files as rows."""

import numpy as np
import pytest
from helpers import spoken

from babel_jax.common.errors import UserError
from babel_jax.corpus import sentences
from babel_jax.corpus.questions import TaskTexts
from babel_jax.corpus.tokenizer import HuggingFace
from babel_jax.languages import registry

OLD, YOUNG = spoken.languages()
WORDS = zip(spoken.THERE, spoken.HERE, strict=True)
PAIRS = [(f"The old {one} stood number {n}", f"This young {two} sat number {n}") for n, (one, two) in enumerate(WORDS)]


@pytest.fixture(scope="module")
def model():
    return HuggingFace(spoken.vocabulary().to_str().encode())


def texts(model, pairs, longest=64, **changes):
    given = dict(language=YOUNG, other=OLD, pairs=(), documents=lambda: [], translations=lambda: pairs)
    return TaskTexts(**given | dict(tokenizer=model, longest=longest) | changes)


def read(made, model, language):
    return [
        model.decode(row[:length])
        for row, length in zip(made.tokens_NxT[language], made.length_N[language], strict=True)
    ]


def test_sentences_stand_beside_their_translations(model):
    made = sentences.ask_retrieval(texts(model, PAIRS))
    assert (made.language, made.other) == ("young", "old")
    assert set(zip(read(made, model, "old"), read(made, model, "young"), strict=True)) == set(PAIRS)
    again = sentences.ask_retrieval(texts(model, PAIRS[::-1]))
    assert np.array_equal(made.tokens_NxT["old"], again.tokens_NxT["old"]), "in an order of their own"


def test_what_is_said_twice_or_says_little_is_not_looked_for(model):
    twice = [
        ("The old thing stood number one", "One of two ways of saying it"),
        ("the OLD thing stood, number one!", "Another way of saying this here"),
    ]
    short = [("Click on this", "Press here to go on now"), ("Press the button to go on", "So")]
    long = [("word " * 70, "one two three four five"), ("one two three four six", "a list\nof items\nand more of them")]
    made = sentences.ask_retrieval(texts(model, [*PAIRS, *twice, *short, *long]))
    assert set(read(made, model, "old")) == {first for first, _ in PAIRS}
    chinese, digits = registry.LANGUAGES["zh"], "一二三四五六七八九十"
    unspaced = [
        (f"The old thing stood number {n}", "这是一个很长的没有空格的句子" + digits[n // 10] + digits[n % 10])
        for n in range(30)
    ]
    assert len(sentences.ask_retrieval(texts(model, unspaced, language=chinese)).length_N["zh"]) == 30


def test_too_few_sentences_or_none_known(model):
    assert "there are 19 sentences with a translation" in sentences.ask_retrieval(texts(model, PAIRS[:19]))
    assert sentences.ask_retrieval(texts(model, PAIRS, translations=None)) == ""
    assert sentences.ask_retrieval(texts(model, PAIRS, other=None)) == ""


def test_a_sentence_longer_than_the_model_reads_loses_its_end(model):
    made = sentences.ask_retrieval(texts(model, PAIRS, longest=5))
    assert made.tokens_NxT["old"].shape == (60, 5) and made.length_N["old"].max() == 5
    marked = HuggingFace(model.content)
    marked.begin = marked.document_end
    assert (sentences.ask_retrieval(texts(marked, PAIRS)).tokens_NxT["old"][:, 0] == marked.begin).all()


# --- files ----------------------------------------------------------------------------------------------------------------


def write(tmp_path, **lines):
    for name, text in lines.items():
        (tmp_path / name).write_text(text)
    return ",".join(f"{name}={tmp_path / name}" for name in lines)


def test_lines_of_files_stand_beside_each_other(tmp_path):
    one, other = ([f"{what} {n}" for n in range(25)] for what in ("line", "Zeile"))
    given = write(tmp_path, en="\n".join(one) + "\n", de="\n".join([*other[:3], "", *other[4:]]) + "\n")
    found = sentences.read_lines(given)
    assert list(found) == ["en", "de"] and len(found["en"]) == len(found["de"]) == 24
    assert found["en"][3] == "line 4" and found["de"][3] == "Zeile 4", "a line that is empty in one is left out of both"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: "en", "write NAME=FILE,NAME=FILE"),
        (lambda given: given.replace("de=", "en="), "each language once"),
        (lambda given: given.partition(",")[0], "at least one other language"),
        (lambda given: given.replace("/de", "/fr"), "cannot read"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, change, message):
    given = write(tmp_path, en="a\n" * 30, de="b\n" * 30)
    with pytest.raises(UserError, match=message):
        sentences.read_lines(change(given))


def test_files_of_different_length_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"different numbers of lines \(en 30, de 29\)"):
        sentences.read_lines(write(tmp_path, en="a\n" * 30, de="b\n" * 29))
    with pytest.raises(UserError, match="3 lines have a sentence in every language; give at least 20"):
        sentences.read_lines(write(tmp_path, en="a\n" * 3, de="b\n" * 3))
