import base64
import gzip

import pytest

from babel_jax.common.errors import UserError
from babel_jax.corpus import dictionaries
from babel_jax.corpus.dictionaries import Entry

DING = """\
# Version :: devel
Haus {n}; Gebäude {n} (groß; alt) [arch.] | Häuser {pl} :: house; building | houses
Amtszeit {f}; Zeit {f} im Amt :: term of office; term
Gast {m,f} :: guest
grün {adj} :: green
ein Wort ohne Marke :: a phrase
ohne :: without
A | B {n} :: one part
"""


def test_dings_text_is_read_by_its_parts_and_alternatives(tmp_path):
    (tmp_path / "de-en").write_text(DING)
    assert dictionaries.read(tmp_path / "de-en") == [
        Entry("Haus", "house", True),
        Entry("Haus", "building", True),
        Entry("Gebäude", "house", True),
        Entry("Gebäude", "building", True),
        Entry("Häuser", "houses", True),
        Entry("Amtszeit", "term", True),
        Entry("Gast", "guest", True),
        Entry("grün", "green", False),
        Entry("ohne", "without", False),  # where the others are marked, what has no mark is no noun
    ]


ARTICLES = {
    "00databaseinfo": "A dictionary, of words\n",
    "île": "île /il/ <n, fem>\nisland\na piece of land, in the sea\n",
    "ôter": "ôter /ote/ <v>\n1. do away with, remove\n a note\n2. put away, store\n",
    "астма": "астма <n, masc>\nа́сфма, asthma\n",
    "bare": "bare\nnu\n",
}


def write_dict_server(folder, name="freedict-fra-eng", packed=True):
    content, lines = b"", []
    for word, article in ARTICLES.items():
        encoded = article.encode()
        lines.append(f"{word}\t{number(len(content))}\t{number(len(encoded))}\n")
        content += encoded
    (folder / f"{name}.index").write_text("".join(lines))
    (folder / f"{name}.dict{'.dz' if packed else ''}").write_bytes(gzip.compress(content) if packed else content)
    return folder / f"{name}.index"


def number(value):
    """As dictfmt writes it: digits of base 64."""
    digits = base64.b64encode(value.to_bytes(6, "big")).decode()  # 48 bits are 8 digits
    return digits.lstrip("A") or "A"


@pytest.mark.parametrize("packed", [True, False])
def test_a_dict_servers_articles_are_found_by_the_index(tmp_path, packed):
    file = write_dict_server(tmp_path, packed=packed)
    assert dictionaries.read(file) == [
        Entry("île", "island", True),
        Entry("ôter", "remove", False),
        Entry("ôter", "store", False),
        Entry("астма", "асфма", True),  # without the mark of its stress
        Entry("астма", "asthma", True),
        Entry("bare", "nu", False),
    ]
    assert [part.suffix for part in dictionaries.files_of(file)] == [".index", ".dz" if packed else ".dict"]


def test_unmarked_words_stay_unmarked_where_most_are(tmp_path):
    (tmp_path / "a").write_text("house :: Haus\ngreen :: grün\ntree :: Baum {m}\n")
    assert [entry.noun for entry in dictionaries.read(tmp_path / "a")] == [None, None, True]


def test_nouns_are_the_first_words_of_lines(tmp_path):
    (tmp_path / "index.noun").write_text("  1 This software\nantler n 1 2 @ #p\nant_bear n 1\nfile n 4 5\n")
    assert dictionaries.nouns(tmp_path / "index.noun") == {"antler", "file"}
    (tmp_path / "none").write_text("1\n\n")
    with pytest.raises(UserError, match="none holds no noun; write one a line"):
        dictionaries.nouns(tmp_path / "none")


def test_what_is_no_dictionary_is_one_line(tmp_path):
    (tmp_path / "a.txt").write_text("no entries here\n")
    (tmp_path / "b.index").write_text("word\tA\n")
    (tmp_path / "b.dict").write_bytes(b"word\nmot\n")
    cut = write_dict_server(tmp_path, "cut")
    (tmp_path / "cut.dict.dz").write_bytes((tmp_path / "cut.dict.dz").read_bytes()[:40])
    (tmp_path / "c.index").write_text("word\t!\tB\n")
    (tmp_path / "c.dict").write_bytes(b"word\nmot\n")
    (tmp_path / "latin").write_bytes("größe :: size\n".encode("latin-1"))
    (tmp_path / "alone.index").write_text("")
    for name, message in (
        ("a.txt", "has no entry of one word on either side"),
        ("b.index", "cannot read the dictionary .*b.dict "),
        (cut.name, "it is cut off"),
        ("c.index", "cannot read the dictionary .*c.dict "),
        ("latin", "cannot read .*latin as text"),
        ("alone.index", "there is no dictionary .*alone.dict.dz"),
        ("missing", "cannot read .*missing"),
    ):
        with pytest.raises(UserError, match=message) as error:
            dictionaries.read(tmp_path / name)
        assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="there is no dictionary"):
        dictionaries.files_of(tmp_path / "missing")


def test_a_packed_dictionary_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    file = write_dict_server(tmp_path)
    monkeypatch.setattr(dictionaries, "MOST_BYTES", 20)
    with pytest.raises(UserError, match="unpacks to more than 20 bytes"):
        dictionaries.read(file)
