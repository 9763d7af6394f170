"""Catalogues of messages."""

import gettext
import io

import pytest
from helpers.prose_sources import catalogue, paragraphs
from helpers.source_files import of, read

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import mo_catalogues

MESSAGES = [
    ("A knight of the realm.", "Ein Ritter des Reiches."),
    ("A\n  castle.", "Eine\n Burg.\n"),
    ("menu\4Open", "Öffnen"),
    ("One ship\0Ships", "Ein Schiff\0Schiffe"),
    ("Not translated", " "),
]


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_sides_have_the_same_documents_and_keys(tmp_path, order):
    (tmp_path / "game.mo").write_bytes(catalogue(MESSAGES, order))
    german = paragraphs(tmp_path, "mo", "de", name="game")
    english = paragraphs(tmp_path, "mo_english", "en", name="game")
    assert sorted(text for keyed in german.values() for text in keyed.values()) == [
        "Ein Ritter des Reiches.",
        "Ein Schiff",
        "Eine Burg.",
        "Öffnen",
    ]
    texts = {(project, key): text for project, keyed in english.items() for key, text in keyed.items()}
    pairs = {texts[project, key]: text for project, keyed in german.items() for key, text in keyed.items()}
    assert pairs == {
        "A knight of the realm.": "Ein Ritter des Reiches.",
        "A castle.": "Eine Burg.",
        "Open": "Öffnen",
        "One ship": "Ein Schiff",
    }
    assert all(project == f"game/game/{key[0]}" for project, key in texts) and "Not translated" in texts.values()


def test_the_same_texts_as_by_the_standard_library():
    content = catalogue(MESSAGES[:2])
    reference = gettext.GNUTranslations(io.BytesIO(content))
    assert [text for _, _, text in mo_catalogues.messages(content)] == [
        reference.gettext(one) for one, _ in MESSAGES[:2]
    ]


def test_a_catalogue_says_its_charset():
    [(_, english, chinese)] = mo_catalogues.messages(catalogue([("Name", "名称")], charset="GB2312"))
    assert (english, chinese) == ("Name", "名称")


GOOD = catalogue(MESSAGES)
BROKEN = {
    "empty": b"",
    "other": b"\0" * 100,
    "short": GOOD[:15],
    "cut": GOOD[:-30],
    "count": GOOD[:8] + b"\xff\xff\xff\x7f" + GOOD[12:],
    "behind": GOOD[:28] + b"\xff\xff\xff\xff" * 2 + GOOD[36:],
    "charset": GOOD.replace(b"UTF-8", b"XYZ-8"),
    "bytes": GOOD.replace("Ö".encode(), b"\xff\xff"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_catalogues_are_named_in_one_line(tmp_path, name):
    (tmp_path / "game.mo").write_bytes(BROKEN[name])
    with pytest.raises(UserError, match=r"game.mo is damaged \(.*\); get it again") as error:
        read(of(tmp_path, "de", format="mo"))
    assert "\n" not in str(error.value)


def test_a_catalogue_that_is_too_large_is_not_loaded(tmp_path, monkeypatch):
    monkeypatch.setattr(mo_catalogues, "LARGEST_CATALOGUE", len(GOOD) - 1)
    (tmp_path / "game.mo").write_bytes(GOOD)
    with pytest.raises(UserError, match="larger than"):
        read(of(tmp_path, "de", format="mo"))
