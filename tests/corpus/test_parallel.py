import dataclasses

import pyarrow.parquet as pq
import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import parallel
from babel_jax.corpus.corpus_files import Corpus
from babel_jax.corpus.parallel import Translation, translations
from babel_jax.corpus.records import Contents, Vocabulary
from babel_jax.languages.registry import language

EN, DE, RU, ZH, JA = map(language, ("en", "de", "ru", "zh", "ja"))


@pytest.mark.parametrize(
    ("paragraph", "sentences"),
    [
        ("One of them. Two? (Three!) «Quatre.» ¿Cinco?", ["One of them.", "Two?", "(Three!)", "«Quatre.»", "¿Cinco?"]),
        ("Das ist z. B. so, bzw. nicht. Ende", ["Das ist z. B. so, bzw. nicht.", "Ende"]),
        ("Version 3.5 of file.txt is new.", ["Version 3.5 of file.txt is new."]),
        ('He said: "Stop." Then he left.', ['He said: "Stop."', "Then he left."]),
        ("Первое. Второе!", ["Первое.", "Второе!"]),
        ("一つ。二つ！「三つ。」四つ", ["一つ。", "二つ！", "「三つ。」", "四つ"]),
        ("An item. One more.\nA second item. Another.", ["An item. One more.\nA second item. Another."]),
    ],
)
def test_a_paragraph_is_cut_into_its_sentences_and_a_list_is_not(paragraph, sentences):
    assert parallel.sentences(paragraph) == sentences


def found(first, second, languages=(EN, DE)):
    return [one.texts for one in translations("a/b", {"k": first}, {"k": second}, languages)]


def test_sentences_are_paired_where_both_paragraphs_have_as_many():
    en, de = (
        "The file is opened first. It is read later on.",
        "Zuerst wird die Datei geöffnet. Später wird sie gelesen.",
    )
    assert found(en, de) == [
        ("The file is opened first.", "Zuerst wird die Datei geöffnet."),
        ("It is read later on.", "Später wird sie gelesen."),
    ]
    joined = "Zuerst wird die Datei geöffnet und später gelesen."
    assert found(en, joined) == [(en, joined)]
    # Two and two sentences, of which the first has no like: they are not each other's.
    shifted = "Die Datei. Sie wird zuerst geöffnet, und später wird sie auch gelesen."
    assert found(en, shifted) == [(en, shifted)]


def test_paragraphs_out_of_step_are_no_translations():
    en = "The 3 files of 2024 are opened in this order."
    assert found(en, "Die 3 Dateien von 2024 werden in dieser Reihenfolge geöffnet.")
    assert not found(en, "Die 4 Dateien von 2024 werden in dieser Reihenfolge geöffnet.")
    assert not found(en, "Die 3 von 2024.")
    assert not found(en, en.upper())
    assert not found("A heading", "Eine Überschrift")
    assert [
        one.key for one in translations("p", {"a": en, "b": en}, {"b": en.replace("files", "Dateien")}, (EN, DE))
    ] == ["b"]


def test_lengths_are_compared_by_what_the_scripts_hold():
    en = "The settings of a page are found in the menu of the window, at its very end."
    assert found(en, "页面的设置在窗口菜单的最后一项中可以找到。", (EN, ZH))
    assert not found(en, "页面的设置在窗口菜单的最后一项中可以找到。", (EN, RU))


def corpus_with(folder, rows):
    (folder / "parallel").mkdir()
    pq.write_table(parallel.table(rows, "en", "de"), folder / "parallel" / "en-de.validation.parquet")
    contents = Contents({}, ("en", "de"), Vocabulary("", 1), {"parallel/en-de.validation.parquet": ""}, "")
    return Corpus(folder, contents, None, {}, {})


def test_a_corpus_returns_the_translations_in_either_order(tmp_path):
    rows = [Translation("help/a.html", "p1", number, (f"One {number}", f"Eins {number}")) for number in range(3)]
    corpus = corpus_with(tmp_path, rows)
    assert corpus.translations("en", "de") == rows
    assert corpus.translations("de", "en")[2] == Translation("help/a.html", "p1", 2, ("Eins 2", "One 2"))
    with pytest.raises(UserError, match="has no texts that stand in both en and fr; build it of two natural languages"):
        corpus.translations("en", "fr")
    with pytest.raises(UserError, match="no texts"):
        dataclasses.replace(corpus, manifest=dataclasses.replace(corpus.manifest, files={})).translations("en", "de")
    assert parallel.table([], "en", "de").num_rows == 0
