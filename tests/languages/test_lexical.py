"""Marks of languages beyond the five, each in a text that is scanned whole and in pieces of every length."""

import pytest

from babel_jax.languages import registry
from babel_jax.languages.lexical import MOST_SKIPPED, Scanner, code_only, not_code, without_comments

NESTED = {"block_comments": [["/*", "*/"]], "comments_nest": True}


def language(**data):
    return registry.record("x", {"title": "X", "extensions": [".x"], **data}, "x.yaml")


@pytest.mark.parametrize(
    ("data", "text", "want"),
    [
        ({}, "a 'b' \"c\" // d # größe", []),
        (NESTED, "a /* b /* c */ d */ e /* f /* g */", ["/* b /* c */ d */", "/* f /* g */"]),
        ({"block_comments": [["/*", "*/"]]}, "a /* b /* c */ d */ e", ["/* b /* c */"]),
        ({"block_comments": [["{", "}"]], "comments_nest": True}, "a { b {{ c } d } } e", ["{ b {{ c } d } }"]),
        (NESTED | {"strings": ['"']}, 'a "/*" /* "*/ b "*/" c', ['"/*"', '/* "*/', '"*/"']),
        ({"line_comments": ["--"], "block_comments": [["{-", "-}"]]}, "a {- b\n -} c -- d\ne", ["{- b\n -}", "-- d"]),
        ({"line_comments": ["REM"]}, "REMOVE REM x\nREMx aREM REM\ny", ["REM x", "REM"]),
        ({"strings": [{"open": "'", "escape": "'"}]}, "a 'it''s' b", ["'it''s'"]),
        ({"strings": [{"open": "«", "close": "»"}]}, "größe «ä\\»» ß", ["«ä\\»»"]),
        (
            {"strings": ['"', {"open": "'", "character": True}]},
            "f<'a>(x: &'a str) 'x' + '\\'' + '\\u{1F}' + '\"'",
            ["'x'", "'\\''", "'\\u{1F}'", "'\"'"],
        ),
    ],
)
def test_what_is_not_code_is_found_by_the_marks_of_the_language(data, text, want):
    record = language(**data)

    def texts(spans):
        return [text[span.start : span.end] for span in spans]

    assert texts(not_code(text, record)) == want
    for size in range(1, len(text)):
        scanner, spans = Scanner(record), []
        for begin in range(0, len(text), size):
            scanner.text += text[begin : begin + size]
            spans += scanner.scan(final=False)
        assert texts([*spans, *scanner.scan(final=True)]) == want, size


def test_a_text_in_a_language_without_marks_is_all_code():
    text = "Ein Satz, \"wörtlich\" // und '#' noch einer.\n" * 100
    assert code_only(text, language(kind="natural")) == without_comments(text, language()) == text


@pytest.mark.parametrize(
    ("name", "text", "bare"),
    [
        ("python", 'a = "#"  # b\nc = """ # d\n"""  # e', 'a = "#"  \nc = """ # d\n"""  '),
        ("python", r"a = '\'#' # b", r"a = '\'#' "),
        ("python", "it = 'open # still\nnext # gone", "it = 'open # still\nnext "),
        ("php", "<?php // a\n#[Keep] # b\n/* c */ '//' ?>it's //<?php # d", "<?php \n#[Keep] \n '//' ?>it's //<?php "),
        ("csharp", 'a = @"\\"; // b\nc = @"""// d";', 'a = @"\\"; \nc = @"""// d";'),
        ("go", "a := `\\` // b\n", "a := `\\` \n"),
    ],
)
def test_without_comments(name, text, bare):
    assert without_comments(text, registry.language(name)) == bare


def test_code_only_keeps_the_length_and_blanks_all_else():
    text = "<b>it's</b><?php echo 'len(' . strlen($a); /* count( */ ?> count( <?= count($b)"
    code = code_only(text, registry.language("php"))
    assert len(code) == len(text)
    assert code.replace("\0", "") == "<?php echo  . strlen($a);  <?= count($b)"


@pytest.mark.parametrize(
    ("name", "open", "part", "close"),
    [
        ("cpp", "/*", "*a", "*/"),
        ("cpp", 'R"(', ")a", ')"'),
        ("python", '"""', '"a', '"""'),
        ("python", "'", "\\'", "'"),
        ("php", "<?php\n$a = <<<A", "\nAB", "\nA"),
        ("csharp", '@"', '""', '"'),
        ("csharp", '$"', "{{", '"'),
        ("go", "`", "\\\n", "`"),
    ],
)
def test_a_literal_may_be_of_any_length(name, open, part, close):
    """What is skipped at once is bounded; the literal is not."""
    before = "x = 1  " if name != "php" else ""
    for count in (MOST_SKIPPED - 1, MOST_SKIPPED, 3 * MOST_SKIPPED + 1):
        text = before + open + part * count + close + ";x(1'000)"
        spans = [span for span in not_code(text, registry.language(name)) if span.end > len(before) + 6]
        assert spans[0].end == len(before + open + part * count + close), (count, spans)
