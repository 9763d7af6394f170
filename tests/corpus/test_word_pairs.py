import json
import re

import pytest
from helpers import ROOT

from babel_jax.corpus import word_pairs
from babel_jax.corpus.dictionaries import Entry
from babel_jax.languages.language import identifier
from babel_jax.languages.registry import language

EN, DE = language("en"), language("de")
NONE = (frozenset(), frozenset())


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("house", "Haus", False),
        ("paper", "Papier", True),
        ("element", "élément", True),
        ("Gift", "gif", True),
        ("a", "Apfel", True),
        ("size", "Größe", False),
        ("file", "файл", False),
    ],
)
def test_words_that_begin_alike(first, second, alike):
    assert word_pairs.begins_alike(first, second) == word_pairs.begins_alike(second, first) == alike


def sentences(*counted):
    """`times` sentences each of the words in English and German."""
    return [(f"the {en} x", f"das {de} x") for en, de, times in counted for _ in range(times)]


def found(entries, texts, nouns=NONE):
    return word_pairs.find([Entry(*one) for one in entries], (EN, DE), nouns, texts)


def test_a_pair_counts_where_its_words_stand_together_often():
    entries = [("house", "Haus", True), ("tree", "Baum", True)]
    texts = sentences(("house", "Haus", 5), ("tree", "Baum", 4))
    one = found(entries, texts)
    assert one.pairs == (("house", "Haus"),)
    assert one.fell == dict.fromkeys(word_pairs.REASONS, 0) | {"not_together": 1}


def test_words_that_mostly_stand_without_the_other_are_no_pair():
    texts = sentences(("way", "Weg", 5), ("way", "Art", 20), ("road", "Weg", 20))  # 2 * 5 / (25 + 25) = 0.2
    assert found([("way", "Weg", True)], texts).pairs == (("way", "Weg"),)
    assert found([("way", "Weg", True)], texts + sentences(("way", "x", 1))).fell["low_dice"] == 1


def test_of_several_translations_the_best_on_both_sides_counts():
    entries = [("row", "Zeile", True), ("line", "Zeile", True), ("row", "Reihe", True), ("row", "Rudern", True)]
    texts = sentences(("row", "Zeile", 9), ("line", "Zeile", 6), ("row", "Reihe", 6))
    one = found(entries, texts)
    assert one.pairs == (("row", "Zeile"),) and one.fell["another_fits_better"] == 2 and one.fell["not_together"] == 1


def test_a_word_that_both_languages_have_keeps_others_from_its_place():
    texts = sentences(("system", "System", 9), ("system", "Anlage", 5))
    assert found([("system", "System", True), ("system", "Anlage", True)], texts).fell == dict.fromkeys(
        word_pairs.REASONS, 0
    ) | {"another_fits_better": 1, "begins_alike": 1}


def test_only_nouns_count_and_no_stop_words():
    texts = sentences(("green", "Baum", 9), ("all", "Haus", 9), ("open", "Dach", 9))
    entries = [("green", "Baum", False), ("all", "Haus", True), ("open", "Dach", None)]
    one = found(entries, texts)
    assert one.pairs == (("open", "Dach"),) and one.fell["other_part_of_speech"] == one.fell["stop_word"] == 1
    listed = (frozenset({"tree"}), frozenset())
    assert found(entries, texts, listed).pairs == ()
    assert found(entries, texts, (frozenset({"open"}), frozenset())).pairs == (("open", "Dach"),)
    marked = [*entries, ("open", "Dach", True)]  # what one dictionary marks, no list is asked for
    assert found(marked, texts, listed).pairs == (("open", "Dach"),)
    otherwise = [*entries, ("open", "Dach", False)]
    assert found(otherwise, texts, (frozenset({"open"}), frozenset())).pairs == ()


def test_dictionaries_are_bridged_by_the_words_that_both_have():
    first = [Entry("house", "Haus", True), Entry("house", "beherbergen", None), Entry("go", "gehen", False)]
    second = [Entry("Haus", "дом", True), Entry("beherbergen", "вмещать", False), Entry("gehen", "идти", None)]
    assert list(word_pairs.bridged(first, second)) == [
        Entry("house", "дом", True),
        Entry("house", "вмещать", False),
        Entry("go", "идти", False),
    ]


def test_words_stand_behind_the_pairs_that_a_language_has():
    pairs = ((identifier("word and"), identifier("word und")),)
    both = word_pairs.with_words(pairs, [["and", "und"], ["tree", "Baum"]])
    assert both == (*pairs, (identifier("word tree"), identifier("word Baum")))


# Confirmed by reading the sample: what the German help of LibreOffice calls these things.
CHECKED = """document Dokument, cell Zelle, value Wert, file Datei, button Schaltfläche, string Zeichenfolge, cells Zellen,
    characters Zeichen, column Spalte, paragraph Absatz, row Zeile, number Anzahl, page Seite, values Werte, area Bereich,
    columns Spalten, example Beispiel, properties Eigenschaften, toolbar Symbolleiste, field Feld, service Dienst,
    user Benutzer, arrow Pfeil, rows Zeilen, strings Zeichenfolgen"""
OTHERS = """document Urkunde, cell Gefängnis, value Nutzen, file Feile, button Knopf, row Reihe, row Streit, line Zeile,
    number Nummer, page Blatt, page Page, area Gebiet, function Funktion, text Text, menu Menü, format Format, dialog Dialog,
    user Anwender, sheet Blatt"""


def pairs_in(text):
    return [tuple(pair.split()) for pair in text.split(",")]


def test_twenty_pairs_of_real_texts_follow_from_the_rules():
    """Each counted anew by plain means: sentences with both words, with either, and with each other translation."""
    rows = [json.loads(line) for line in (ROOT / "tests/samples/natural/en-de.jsonl").read_text().splitlines()]
    known = pairs_in(CHECKED) + pairs_in(OTHERS)
    made = found([(*pair, True) for pair in known], [(row["en"], row["de"]) for row in rows])
    assert set(made.pairs) == set(pairs_in(CHECKED)) and len(made.pairs) >= 20

    def having(language, word):
        return {number for number, row in enumerate(rows) if word in re.findall(r"[\w'’-]+", row[language])}

    def dice(first, second):
        en, de = having("en", first), having("de", second)
        return len(en & de) and 2 * len(en & de) / (len(en) + len(de))

    for first, second in made.pairs:
        assert len(having("en", first) & having("de", second)) >= 5 and dice(first, second) >= 0.2
        assert all(dice(first, second) >= dice(*other) for other in known if first in other or second in other)
        assert first[:3].lower() != second[:3].lower() and not second.lower().startswith(first.lower())
    assert {first for first, _ in pairs_in(OTHERS)} - {first for first, _ in made.pairs} == {
        *("line", "function", "text", "menu", "format", "dialog", "sheet")
    }
