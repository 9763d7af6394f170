"""Files of running text: their names, keys and encodings, and files that cannot be read."""

import gzip

import pytest
from helpers.prose_sources import paragraphs
from helpers.source_files import of, read, write

from babel_jax.common.errors import UserError
from babel_jax.corpus import sources
from babel_jax.corpus.readers import places, prose_files, reader

PAGE = b"<p id='first'>One of them.<p>Two of\nthem.<p>  <p id=first>Three."


def test_a_paragraph_is_called_by_its_id_and_else_by_its_place(tmp_path):
    write(tmp_path / "work", {"a/page.html": PAGE})
    keyed = {"first": "One of them.", "2/3": "Two of them.", "3/3": "Three."}
    assert paragraphs(tmp_path / "work", "html", name="manual") == {"manual/a/page.html": keyed}


@pytest.mark.parametrize(
    ("language", "name", "document"),
    [
        ("de", "man1/ls.1.gz", "man1/ls.1"),
        ("zh", "ch01.zh-cn.html", "ch01.html"),
        ("de", "web/de.html", "web/de.html"),
        ("es", "a.es/b.es.page.xz", "a.es/b.page"),
        ("fr", "ch01.en.html", "ch01.en.html"),
    ],
)
def test_translations_of_a_file_have_one_name(language, name, document):
    assert prose_files.document_name(language, name) == document


def test_a_single_file_and_files_of_several_folders_are_read(tmp_path):
    write(tmp_path, {"de/one/x.html": b"<p>Eins", "de/two/x.html": b"<p>Zwei", "de/two/note.txt": b"<p>Nein"})
    assert paragraphs(tmp_path / "de/one/x.html", "html", "de", name="w") == {"w/x.html": {"1/1": "Eins"}}
    many = of(tmp_path / "de/*", "de", format="html", name="w")
    assert [(document.path, document.project) for document in read(many)] == [
        ("w/one/x.html", "w/x.html"),
        ("w/two/x.html", "w/x.html"),
    ]


def test_pieces_of_a_folder_hold_each_file_once(tmp_path, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 100)
    names = [f"{folder}/{number}.html" for folder in ("a", "b-c", "b") for number in range(5)]
    write(tmp_path, {name: b"<p>" + name.encode() * 6 for name in names})
    wanted = of(tmp_path, "en", format="html")
    assert len(sources.pieces(wanted, "en")) > 4
    assert sorted(document.project.partition("/")[2] for document in read(wanted)) == sorted(names)


def test_pieces_of_a_folder_behind_a_url_hold_each_file_once(memory, monkeypatch):
    monkeypatch.setattr(reader, "PIECE_BYTES", 30)
    for number in range(6):
        memory.pipe(f"/prose/{number}.html", b"<p>A page of it")
    wanted = of("memory://prose", "en", format="html", name="w")
    assert len(sources.pieces(wanted, "en")) == 3
    assert [document.project for document in read(wanted)] == [f"w/{number}.html" for number in range(6)]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("\ufeff<p>Größe".encode(), "Größe"),
        ("<meta charset=iso-8859-1><p>Größe".encode("latin-1"), "Größe"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=GB2312"><p>大小'.encode("gb2312"), "大小"),
    ],
)
def test_a_page_says_its_encoding(tmp_path, content, text):
    (tmp_path / "x.html").write_bytes(content)
    [keyed] = paragraphs(tmp_path, "html").values()
    assert keyed == {"1/1": text}


def test_what_cannot_be_read_is_left_to_the_cleaning(tmp_path, monkeypatch):
    """No encoding fits, or it is too large, packed as it is."""
    monkeypatch.setattr(prose_files, "LARGEST_PAGE", 1000)
    write(tmp_path, {"a.html": b"<p>\xff\xfe\xfa", "b.1.gz": gzip.compress(bytes(1001)), "c.html": bytes(1001)})
    assert [(d.content, d.size, d.keys) for d in read(of(tmp_path, "en", format="html"))] == [
        (b"<p>\xff\xfe\xfa", 6, ()),
        (None, 1001, ()),
    ]
    [packed] = read(of(tmp_path, "en", format="man"))
    assert (packed.content, packed.size) == (None, 1001)


def test_text_that_is_too_large_has_no_keys(tmp_path):
    (tmp_path / "a.html").write_text("<p>" + "word " * (places.LARGEST_FILE // 4))
    [document] = read(of(tmp_path, "en", format="html"))
    assert document.content is None and document.keys == () and document.size > places.LARGEST_FILE


def test_a_packed_file_that_is_damaged_is_named(tmp_path):
    (tmp_path / "ls.1.gz").write_bytes(gzip.compress(b".SH NAME\nls\n" * 100)[:-20])
    with pytest.raises(UserError, match=r"cannot read .*ls.1.gz .*it is damaged"):
        read(of(tmp_path, "en", format="man"))
