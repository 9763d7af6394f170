"""The cleaning of running text by the paragraph."""

import pytest

from babel_jax.corpus import prose
from babel_jax.corpus.document import Document
from babel_jax.languages import registry
from babel_jax.languages.language import Language

GERMAN = "Öffnet oder schließt die Druckvorschau, und zwar für alle Seiten des Dokuments."
ENGLISH = "Opens or closes the print preview, and that for all of the pages of the document."
RUSSIAN = "Открывает или закрывает предварительный просмотр всех страниц документа."
CHINESE = "打开或关闭文档所有页面的打印预览，并且立即显示。"
JAPANESE = "文書のすべてのページの印刷プレビューを開くか閉じます。"
TEXTS = {"de": GERMAN, "en": ENGLISH, "ru": RUSSIAN, "zh": CHINESE, "ja": JAPANESE}


def reason(text, language):
    return prose.reason(prose.normal(text), registry.language(language))


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("of", TEXTS)
def test_a_language_keeps_its_own_text_alone(language, of):
    if language == of:
        assert reason(TEXTS[of], language) is None
    elif (language, of) == ("ja", "zh"):
        assert reason(TEXTS[of], language) == "other_script"  # without a kana
    elif (language, of) != ("zh", "ja"):
        assert reason(TEXTS[of], language) in ("other_language", "other_script", "short")


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("Das ist zu kurz für uns hier.", "de", "short"),  # 29 characters
        ("Das ist so lang wie es sein muss", "de", None),
        ("Druckvorschauumschaltfläche der Dokumente", "de", "short"),  # words
        ("打开打印预览打开打印预", "zh", "short"),  # 11 characters
        ("打开打印预览打开打印预览", "zh", None),
        ("the --flag=1 of a [2] {3} is (4) and 5 + 6 == 7", "en", "few_letters"),
        (
            "Systemverwaltung Netzwerkkonfiguration Paketverwaltung Druckerwarteschlange Benutzer",
            "de",
            "other_language",
        ),
        ("Он открывает print preview of the whole document", "ru", "other_script"),
        ("Команда apt открывает список пакетов системы", "ru", None),
    ],
)
def test_limits(text, language, expected):
    assert reason(text, language) == expected


def test_as_many_stop_words_as_another_language_are_enough():
    """Words that two languages share must not drop a text of either."""
    shared = "la la la la la montaña azul roja verde negra"
    assert reason(shared, "es") is None and reason(shared, "fr") is None
    assert reason(shared + " et", "es") == "other_language"


def test_a_language_of_ones_own_is_told_by_its_own_words():
    own = Language("nl", "Dutch", (".txt",), kind="natural", script="latin", stop_words=("het", "een", "niet"))
    assert prose.reason("het boek is een boek en niet een lamp", own) is None
    assert prose.reason(GERMAN, own) == "other_language"


def test_text_is_written_alike():
    assert prose.normal("a\u0308 soft\u00adware\u200b \n\t  is\u00a0fine\ufeff ") == "ä software is fine"


def test_copies_differ_in_case_punctuation_and_digits_at_most():
    same = {prose.fingerprint(text) for text in ("See chapter 12: Öl!", "see Chapter 3 – öl", "SEECHAPTERÖL")}
    assert len(same) == 1 and prose.fingerprint("See chapters 12: Öl!") not in same


def test_a_document_keeps_the_keys_of_what_is_kept():
    content = f"{ENGLISH}\n\nShort.\n\n{GERMAN}\n\n{ENGLISH} Again.".encode()
    english = registry.language("en")
    kept, dropped = prose.clean(Document("d", content, len(content)), english)
    assert kept.keys == ("1/4", "4/4") and kept.paragraphs == (ENGLISH, f"{ENGLISH} Again.")
    assert dropped == {"short": [6], "other_language": [len(GERMAN.encode())]}
    named, _ = prose.clean(Document("d", content, len(content), keys=("a", "b", "c", "d")), english)
    assert named.keys == ("a", "d")
    empty, _ = prose.clean(Document("d", b"Short.", 6), english)
    assert empty.content == b"" and empty.keys == ()


def test_only_natural_languages_of_a_known_script_are_prose():
    assert prose.is_prose(registry.language("de"))
    assert not prose.is_prose(registry.language("python"))
    assert not prose.is_prose(Language("nl", "Dutch", (".txt",), kind="natural"))
