"""Paragraphs of Mallard's and DocBook's pages."""

import pytest
from helpers.prose_sources import paragraphs
from helpers.source_files import of, read

from babel_jax.common.errors import UserError
from babel_jax.corpus.readers import mallard_pages

# In the manner of GNOME's help pages (gnome-user-docs), made for this test.
PAGE = """<?xml version="1.0" encoding="utf-8"?>
<page xmlns="http://projectmallard.org/1.0/" type="topic" id="power">
  <info>
    <link type="guide" xref="power"/>
    <credit type="author"><name>Someone</name><email>a@b.example</email></credit>
    <include xmlns="http://www.w3.org/2001/XInclude" href="legal.xml"/>
    <desc>How to use less <em>power</em>.</desc>
  </info>
  <title>Power</title>
  <p>Press <gui>Off</gui>, or write
  <code>off</code> in <link xref="shell">the shell</link>.</p>
  <code>off --now</code>
  <media type="image" src="x.png"><p>A picture</p></media>
  <steps><item><p>First.</p></item><item><p>Then <key>Esc</key>.</p></item></steps>
  <section id="more"><title>More</title><screen>$ off</screen><note><p>Careful!</p></note></section>
</page>
"""


def texts(page):
    return [" ".join(text.split()) for _, text in mallard_pages.paragraphs(page) if text.strip()]


def test_blocks_are_paragraphs():
    assert texts(PAGE) == [
        "How to use less power.",
        "Power",
        "Press Off, or write off in the shell.",
        "First.",
        "Then Esc.",
        "More",
        "Careful!",
    ]


def test_docbook_without_its_program_listings():
    page = (
        "<article xmlns='http://docbook.org/ns/docbook'><info><author>Me</author><title>Games</title></info>"
        "<para xml:id='p1'>Use <command>play</command><footnote><para>Not here.</para></footnote> now.</para>"
        "<programlisting>play</programlisting></article>"
    )
    assert [(name, text) for name, text in mallard_pages.paragraphs(page) if text.strip()] == [
        ("", "Games"),
        ("p1", "Use play now."),
    ]


def test_entities_stay_closed(tmp_path):
    """Neither a file nor an expanding text comes in by a page."""
    (tmp_path / "secret").write_text("secret")
    head = f"<!DOCTYPE page [<!ENTITY file SYSTEM 'file://{tmp_path}/secret'>]>"
    assert texts(f"{head}<page><p>A &amp; B &file;</p></page>") == ["A & B"]
    bomb = "".join(f"<!ENTITY e{n + 1} '{f'&e{n};' * 10}'>" for n in range(9))
    with pytest.raises(ValueError, match="entity"):
        texts(f"<!DOCTYPE page [<!ENTITY e0 'ten letters'>{bomb}]><page><p>&e9;</p></page>")


@pytest.mark.parametrize("page", ["", "no mark", "<page><p>cut off", "<page>&what;</page>", "<a>" * 100_000])
def test_what_is_no_xml_is_named(tmp_path, page):
    (tmp_path / "broken.page").write_text(page)
    with pytest.raises(UserError, match=r"broken.page is damaged \(it is no XML: .*\); get it again") as error:
        read(of(tmp_path, "en", format="mallard"))
    assert "\n" not in str(error.value)


def test_a_folder_of_pages(tmp_path):
    (tmp_path / "help").mkdir()
    (tmp_path / "help" / "power.page").write_text(PAGE)
    [(project, keyed)] = paragraphs(tmp_path, "mallard", name="help").items()
    assert project == "help/help/power.page" and list(keyed) == [f"{n}/7" for n in range(1, 8)]
