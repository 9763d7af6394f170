"""Paragraphs of manual pages."""

import pytest

from babel_jax.corpus.readers import man_pages


def texts(page):
    return [text for _, text in man_pages.paragraphs(page) if text]


# In the manner of Linux's manual pages, made for this test.
PAGE = r""".\" A comment
.TH LEAVE 1 2026 "made for a test"
.SH NAME
leave \- say when to go
.SH "SEE ALSO"
.PP
The function
.BR leave ()
prints \fBone\fP line\(emto
.IR stdout ,
that is.\" a comment
.PP
.nf
int leave(int time);
.fi
Another one,\
 in two lines.
.TP
.BI \-t " time"
The time to go.
.IP \(bu
A point.
.TS
a b
.TE
.if n \{\
not shown
.\}
.EX
$ leave
.EE
.UR http://example.org
a page
.UE .
"""


def test_paragraphs_of_a_page():
    assert texts(PAGE) == [
        "NAME",
        "leave - say when to go",
        "SEE ALSO",
        "The function leave() prints one line—to stdout, that is.",
        "Another one, in two lines.",
        "-t time",
        "The time to go.",
        "A point.",
        "http://example.org a page.",
    ]


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (r"a\ b\~c\0d", "a b c d"),
        (r"\f[B]x\f[]y\f(CWz\fR", "xyz"),
        (r"\(aqq\(aq \[lq]w\[rq] \*(lqv\*(rq", "'q' “w” “v”"),
        (r"\[u00E9]\[u0065_0301]\('e\['e]\[:u]", "ée\u0301ééü"),
        (r"back\eslash \\n", r"back\slash \n"),
        (r"\s-1small\s0 \s+2\w'width'x", "small x"),
        (r"\&.\|dot\^ \,c\/ \%d\:e", ".dot c de"),
        (r"wi\h'2m'de \m[red]red\m[]", "wide red"),
        (r"e\(unknown\[unknown]nd\\", "eknownnd\\"),
    ],
)
def test_escapes(line, text):
    assert man_pages.plain(line) == text


def test_fonts_that_take_turns_join_their_words():
    assert texts('.BR "a b" c "d ""e"" f"\n.B g h\n.I i') == ['a bcd "e" f g h i']


def test_what_a_page_defines_is_left_out():
    assert texts(".de XX\n.PP\ntext\n..\n.ig\nno\n..\nyes") == ["yes"]


def test_a_page_of_mdoc_counts_as_empty():
    assert texts(".Dd May 1\n.Sh NAME\n.Nm ls\nlists\n") == []


@pytest.mark.parametrize(
    "page",
    [
        "",
        ".",
        "'",
        "\\",
        ".\\",
        ".B",
        '.B "',
        ".IP",
        ".nf\nx",
        ".if \\{",
        "\\[",
        "\\(",
        "\\[u110000x]",
        "\\*",
        ".BR \\",
    ],
)
def test_broken_pages_have_what_text_they_have(page):
    assert all(isinstance(text, str) for text in texts(page))
