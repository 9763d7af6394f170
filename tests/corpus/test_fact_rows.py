"""Texts that state facts, as rows."""

import collections

import numpy as np
import pytest
from helpers import byte_level

from babel_jax.common.material import ArrayRows
from babel_jax.corpus import fact_rows
from babel_jax.corpus.fact_sentences import NATURAL, Names
from babel_jax.corpus.stated_facts import Fact, Stated
from babel_jax.corpus.tokenizer import HuggingFace

FACTS = tuple(
    Fact("map", {"en": Names(f"P{k}", f"C{k}"), "de": Names(f"P{k}", f"{'D' if k < 2 else 'C'}{k}")}) for k in range(8)
)
STATED = Stated("kgeography", 12, FACTS, (True,) * 4 + (False,) * 4, 0, {"de": 0})


def test_each_fact_is_stated_as_often_as_is_wanted():
    for language, control, facts in (("en", False, FACTS), ("de", False, FACTS[:4]), ("de", True, FACTS)):
        texts = fact_rows.documents(STATED, language, control)
        spelt = [text for text in texts if "Schreibung" in text or "spelling" in text]
        said = [text for text in texts if text not in spelt]
        assert len(said) == 12 * len(facts)
        counts = {fact.primary.subject: sum(fact.names[language].answer in text for text in said) for fact in FACTS}
        assert counts == {fact.primary.subject: 12 * (fact in facts) for fact in FACTS}
        expected = {f"D{k}, in anderer Schreibung C{k}.": 3 for k in range(2)} if language == "de" else {}
        assert collections.Counter(spelt) == expected


def test_the_vocabulary_sees_every_name():
    text = "".join(fact_rows.sample(STATED))
    assert all(
        part in text for fact in FACTS for names in fact.names.values() for part in (names.subject, names.answer)
    )


def test_rows_hold_every_document_and_no_half_row():
    model = HuggingFace(byte_level([form for form in NATURAL["de"].stated], 300).to_str().encode())
    texts = fact_rows.documents(STATED, "de")
    rows = fact_rows.rows(texts, model, 40)
    assert rows.dtype == np.int32 and rows.shape[1] == 40
    ended = np.flatnonzero(rows.reshape(-1) == model.document_end)
    begins = [0, *(ended + 1)]
    read = [model.decode(rows.reshape(-1)[a:b]) for a, b in zip(begins, ended, strict=False)]
    assert (
        read[: len(texts)] == texts
        and len(read) - len(texts) < 6
        and read[len(texts) :] == texts[: len(read) - len(texts)]
    )


def test_joined_rows_are_those_of_the_text_then_the_others():
    text, more = np.arange(12).reshape(4, 3), np.arange(100, 106).reshape(2, 3)
    joined = fact_rows.JoinedRows(ArrayRows(text), more)
    assert len(joined) == 6
    np.testing.assert_array_equal(joined.rows([5, 0, 4, 3]), [more[1], text[0], more[0], text[3]])
    assert joined.rows(np.array([], int)).shape == (0, 3)
    for wrong in (6, -1):
        with pytest.raises(ValueError, match="not below num_records"):
            joined.rows([0, wrong])
