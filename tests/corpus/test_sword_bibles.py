"""Bible modules of SWORD."""

import struct
import zlib

import pytest
from helpers.prose_sources import bible, paragraphs
from helpers.source_files import of, read

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import sword_bibles

INTRODUCTION = '<div canonical="true" osisID="Gen" type="book"/> <title>Genesis</title> Introduction'
CHAPTER = '<div sID="gen4" type="x-p"/><chapter n="{0}" osisID="Gen.{0}" sID="Gen.{0}"/>'
# Genesis 1:1-2 and 2:1 of the World English Bible (public domain), with marks as its module has them.
GENESIS = [
    INTRODUCTION,
    CHAPTER.format(1),
    '<w lemma="strong:H0430">In</w> <w>the</w> beginning, God<note placement="foot"><reference>1:1 </reference>Elohim</note> '
    "created the heavens and the earth. ",
    "The earth was formless &amp; empty.<l level='1'/>Darkness was on the surface.",
    "",
    CHAPTER.format(2),
    "<title>Rest</title>The heavens, the earth, and all their vast array were finished.<chapter eID='Gen.2'/>",
]


def test_a_document_a_chapter_and_a_paragraph_a_verse(tmp_path):
    bible(tmp_path / "module", [GENESIS])
    bible(tmp_path / "module", [["x", CHAPTER.format(3), "A verse of the other testament."]], "nt")
    assert paragraphs(tmp_path / "module", "sword", name="bible") == {
        "bible/Gen.1": {
            "1": "In the beginning, God created the heavens and the earth.",
            "2": "The earth was formless & empty. Darkness was on the surface.",
        },
        "bible/Gen.2": {"1": "The heavens, the earth, and all their vast array were finished."},
        "bible/Gen.3": {"1": "A verse of the other testament."},
    }


def test_an_empty_place_is_a_verse_that_this_translation_lacks(tmp_path):
    bible(tmp_path, [[CHAPTER.format(1), "One.", "", "Three."], [CHAPTER.format(4), "Next book."]])
    assert list(paragraphs(tmp_path, "sword", name="b")["b/Gen.1"]) == ["1", "3"]


def damage(folder, file, content):
    (folder / file).write_bytes(content)


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: damage(folder, "ot.bzs", b"\0" * 13),
        lambda folder: damage(folder, "ot.bzs", struct.pack("<3I", 0, 10, 2**32 - 1)),
        lambda folder: damage(folder, "ot.bzs", struct.pack("<3I", 10**9, 10, 10)),
        lambda folder: damage(folder, "ot.bzv", struct.pack("<2IH", 7, 0, 5)),
        lambda folder: damage(folder, "ot.bzv", struct.pack("<2IH", 0, 10**9, 5)),
        lambda folder: damage(folder, "ot.bzz", (folder / "ot.bzz").read_bytes()[:-30]),
        lambda folder: damage(folder, "ot.bzz", zlib.compress(bytes(10_000_000))),
        lambda folder: damage(folder, "ot.bzz", b"no zip" * 100),
    ],
)
def test_broken_modules_are_named_in_one_line(tmp_path, harm):
    harm(bible(tmp_path, [GENESIS]))
    with pytest.raises(UserError, match=r"the module .* is damaged \(.*\); get it again") as error:
        read(of(tmp_path, "en", format="sword"))
    assert "\n" not in str(error.value)


def test_a_block_that_is_too_large_is_not_read(tmp_path, monkeypatch):
    bible(tmp_path, [GENESIS])
    monkeypatch.setattr(sword_bibles, "LARGEST_BLOCK", 100)
    with pytest.raises(UserError, match=r"a block of \d+ bytes"):
        read(of(tmp_path, "en", format="sword"))


def test_marks_that_do_not_end_cost_no_more_than_a_pass():
    assert sword_bibles.plain("<w" * 30_000 + "<note>" * 1000 + "x") is not None


def test_a_folder_without_a_module_holds_nothing_of_the_format(tmp_path):
    (tmp_path / "x.txt").write_text("x")
    with pytest.raises(UserError, match="no English file"):
        read(of(tmp_path, "en", format="sword"))
