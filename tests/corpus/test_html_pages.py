"""Paragraphs of HTML pages."""

import pytest

from babel_jax.corpus.readers import html_pages


def texts(page):
    return [" ".join(text.split()) for _, text in html_pages.paragraphs(page) if text.strip()]


def test_blocks_are_paragraphs_and_what_stands_in_a_line_is_not():
    page = (
        "<h1>A <em>title</em></h1><div>Loose<p>One<br>line with <code>code</code> in it.</p>tail</div>"
        "<ul><li>item<ul><li>inner</ul></ul>"
    )
    assert texts(page) == ["A title", "Loose", "One line with code in it.", "tail", "item", "inner"]


def test_cells_and_terms_are_paragraphs():
    page = "<table><tr><th>Key<td>A value<td><p>Another</p></table><dl><dt>Term<dd>What it means</dl>"
    assert texts(page) == ["Key", "A value", "Another", "Term", "What it means"]


@pytest.mark.parametrize(
    "out",
    [
        "<pre>x = 1</pre>",
        "<nav><p>Home</p></nav>",
        "<script>f('<p>x</p>')</script>",
        "<style>p {}</style>",
        '<div class="navheader"><p>Next</p></div>',
        '<div class="wide toc"><p>1. First</p></div>',
        "<header><p>Site</p></header><aside>Side</aside><footer>Foot</footer>",
        "<!-- <p>comment</p> -->",
        "<table class='navigation'><tr><td>Up</table>",
    ],
)
def test_code_and_navigation_are_left_out(out):
    assert texts(f"<title>Title</title><body><p>Before</p>{out}<p>Behind</p>") == ["Before", "Behind"]
    assert texts(f"<p>Before</p>{out}tail<p>Behind</p>") == ["Before", "tail", "Behind"]


def test_code_ends_a_paragraph():
    assert texts("<div>As in<pre>x = 1</pre>this.</div>") == ["As in", "this."]


def test_a_block_that_is_called_like_navigation_only_in_part_stays():
    assert texts("<p class='tocque'>Hat</p><div class='naval'>Ship</div>") == ["Hat", "Ship"]


def test_what_does_not_end_a_paragraph_is_left_out_of_it():
    assert texts("<p>One <button>press</button><svg><text>drawn</text></svg>line") == ["One line"]


def test_of_the_words_for_several_systems_the_usual_ones_are_read():
    """As LibreOffice's help writes them; blocks that are hidden are shown one by one and are texts of their own."""
    key = '<span hidden="true" id="MACx_1" class="MAC">Command</span><span hidden="true" id="defaultx_1">Ctrl</span>'
    assert texts(f"<p>Press <span>{key}</span>+V.</p><div hidden='true' id='CALCx'>In sheets.</div>") == [
        "Press Ctrl+V.",
        "In sheets.",
    ]


def test_ids_are_those_of_the_text_and_not_those_that_a_program_counted():
    page = (
        "<div id=outer><p id=par_id123>A</p>B</div><h2 id=idm189>C</h2><p id='id-1.9.18'>D</p><p id=par_idN11366>E</p>"
        "<li id=item>F<p>G</p>H</li>"
    )
    named = [(name, text) for name, text in html_pages.paragraphs(page) if text]
    assert named == [
        ("par_id123", "A"),
        ("", "B"),
        ("", "C"),
        ("", "D"),
        ("par_idN11366", "E"),
        ("item", "F"),
        ("", "G"),
        ("", "H"),
    ]


@pytest.mark.parametrize(
    "page", ["", "   ", "\0", "<", "<p", "<p>&#0;&#xd800;", "</p></div>" * 1000, "<b>" * 100_000, "<p>" * 100_000]
)
def test_broken_pages_have_what_text_they_have(page):
    assert all(isinstance(text, str) for text in texts(page))
