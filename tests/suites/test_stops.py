import functools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from babel_jax.suites.stops import Stopper, cut

HEADS = {
    "python": "def f(a):\n",
    "php": "<?php\nfunction f($a) {\n",
    "csharp": "class A {\n    static int F(int a) {\n",
    "go": "package main\n\nfunc f(a int) int {\n",
    "cpp": "#include <map>\nint f(int a) {\n",
}


@pytest.mark.parametrize(
    ("language", "completion", "kept"),
    [
        ("python", "    return a\n\n\ndef g():\n    pass\n", "    return a\n\n\n"),
        ("python", "    return a\nprint(f(1))\n", "    return a\n"),
        ("python", "    return a\n# the end\n", "    return a\n"),
        ("python", '    s = """\nnot the end\n"""\n    return s\nx', '    s = """\nnot the end\n"""\n    return s\n'),
        ("python", "    return [\n1,\n2]\nx", "    return [\n1,\n2]\n"),
        ("python", "    return 1 + \\\n2\nx", "    return 1 + \\\n2\n"),
        ("python", "    return 1  # \\\nx", "    return 1  # \\\n"),
        ("python", "    s = f'{a[\"(\"]}(' # ))\n    return s\nx", "    s = f'{a[\"(\"]}(' # ))\n    return s\n"),
        ("python", "    return 1\n\n  \n\t\n", None),
        ("python", "    return 1\r\n\r\nx", "    return 1\r\n\r\n"),
        ("python", "return 1\n", ""),
        ("php", "return \"}\" . '}'; // }\n}\nf(1);", "return \"}\" . '}'; // }\n}"),
        ("php", "return <<<A\n}\n  A . '';\n} x", "return <<<A\n}\n  A . '';\n}"),
        ("php", "return <<<'A'\n{$a AB\nA;\n} x", "return <<<'A'\n{$a AB\nA;\n}"),
        ("php", 'return "{$a["}"]} ${a}"; /* } */ # }\n} x', 'return "{$a["}"]} ${a}"; /* } */ # }\n}'),
        ("php", "// ?> } it's <?php } x", "// ?> } it's <?php }"),
        ("php", "#[A(1)]\n$g = function () { return 1; };\n} x", "#[A(1)]\n$g = function () { return 1; };\n}"),
        ("csharp", '        return "}"[0] == \'}\' ? @"\\" : @"""}";\n    } x', None),
        (
            "csharp",
            'return $"{{{(a > 0 ? "}" : "{")}}}{a:0.0}";\n} x',
            'return $"{{{(a > 0 ? "}" : "{")}}}{a:0.0}";\n}',
        ),
        ("csharp", 'return $@"\\{a}""}" + @$"{a}\n";\n} x', 'return $@"\\{a}""}" + @$"{a}\n";\n}'),
        ("csharp", 'return $"{{"; } x} // }', 'return $"{{"; }'),
        ("csharp", "return $\"{a:'}\"; } x'} // }", 'return $"{a:\'}"; }'),
        ("php", 'return "{$a[\n"}"]}"; } x "}', 'return "{$a[\n"}"]}"; }'),
        ("go", "s := `}\\` + \"}\" + string('}') // }\nif a > 0 { return 1 }\n} x", None),
        ("cpp", "auto s = R\"a()\")}\" )a\"; char c = '}'; int n = 1'000'000;\n} x", None),
        ("cpp", "auto s = u8R\"({)\" L\"}\"; c = u8'{'; d = '\\'';\n/* } */ } x", None),
        ("cpp", "vector<int> v{1, 2};\nif (a) { return 1; }\nreturn 2;\n}\n\nint main() {}", None),
    ],
)
def test_a_function_ends_where_its_language_says(language, completion, kept):
    if kept is None:  # up to the last closing brace before what follows
        kept = completion if language == "python" else completion.rpartition("}")[0] + "}"
        kept = kept.partition("\n\nint main")[0]
    assert cut(language, HEADS[language], completion, (), True)[0] == kept


@pytest.mark.parametrize(
    ("language", "prompt", "completion", "stops", "block", "expected"),
    [
        ("go", "", "func f() int {\n\treturn 1\n}\nfunc g", (), True, ("func f() int {\n\treturn 1\n}", "block")),
        ("cpp", HEADS["cpp"], "return 1;\n}\nint main", ("\n}",), False, ("return 1;", "stop")),
        ("cpp", HEADS["cpp"], "return 1;\n}\nint main", ("\n}",), True, ("return 1;", "stop")),
        ("cpp", HEADS["cpp"], "return 1;\n}\nint main", ("\nint",), True, ("return 1;\n}", "block")),
        ("cpp", HEADS["cpp"], "return 1;\n", ("\n}",), True, ("return 1;\n", "")),
        ("python", HEADS["python"], "    a # b\ndef g", ("\ndef",), False, ("    a # b", "stop")),
        (
            "python",
            HEADS["python"],
            "    '''\ndef\n'''\n    # \\ndef",
            ("\ndef",),
            False,
            ("    '''\ndef\n'''\n    # \\ndef", ""),
        ),
        ("python", HEADS["python"], "    x = 'a#b'\n    #b", ("#",), False, ("    x = 'a#b'\n    ", "stop")),
        ("python", HEADS["python"], "  a\n#b", ("b", "\n#"), False, ("  a", "stop")),
        ("php", HEADS["php"], "return '\n?>';\n}\n?>", ("\n?>",), False, ("return '\n?>';\n}", "stop")),
        ("csharp", HEADS["csharp"], "        return 1;\n    }\n", ("\n    }\n",), False, ("        return 1;", "stop")),
        ("php", "function f() {\n", "return '}';\n}\nf();", (), True, ("return '}';\n}", "block")),
        ("php", "it's { <?php {", "} ?>it's } <?php } x", (), True, ("}", "block")),
        ("php", "it's { <?php {", "?>it's } <?php } x", (), True, ("?>it's } <?php }", "block")),
        # What the prompt has begun goes on in the completion.
        (
            "python",
            'def f():\n    """',
            ' x\ndef g """\n    pass\ndef',
            ("\ndef",),
            False,
            (' x\ndef g """\n    pass', "stop"),
        ),
        ("cpp", "int f() { // it", "'s }\n} //", (), True, ("'s }\n}", "block")),
        ("cpp", "int f() { /", "/ }\n} //", (), True, ("/ }\n}", "block")),
    ],
)
def test_the_first_end_counts(language, prompt, completion, stops, block, expected):
    assert cut(language, prompt, completion, stops, block) == expected


def test_the_end_is_reported_as_soon_as_it_is_certain():
    brace = Stopper("go", HEADS["go"], (), block=True)
    assert [brace.feed(piece) for piece in ("return 1", "\n", "}")] == [False, False, True]
    line = Stopper("python", HEADS["python"], (), block=True)
    assert [line.feed(piece) for piece in ("  a\n", "\n", "  b\n", "#")] == [False, False, False, True]
    # The brace ends it, unless the stop comes first.
    longer = Stopper("go", HEADS["go"], ("\n}\nfunc",), block=True)
    assert [longer.feed(piece) for piece in ("return 1\n}", "\nfun", "k")] == [False, False, True]
    assert longer.cut() == ("return 1\n}", "block")
    assert Stopper("go", HEADS["go"], ("//",), block=False).feed("return 1 //")
    late = Stopper("python", HEADS["python"], ("\ndef",), block=False)
    assert not late.feed("  '''\ndef")
    assert not late.feed("'''")
    assert late.cut() == ("  '''\ndef'''", "")
    assert late.feed("\ndef") and late.feed("more") and late.cut() == ("  '''\ndef'''", "stop")


def test_an_empty_stop_is_refused():
    with pytest.raises(ValueError, match="empty stop"):
        cut("go", "", "x", ("",), False)


# The slow reference: it reads the text by hand, character by character, and from its beginning for every character.


class Reader:
    """Where a literal that begins at a place ends; `lines`: it is inside of a literal that must not go beyond its line."""

    def __init__(self, language, text, in_code):
        self.language, self.text, self.in_code = language, text, in_code

    def starts(self, mark, place):
        return self.text.startswith(mark, place)

    def word(self, place):
        return 0 <= place < len(self.text) and (self.text[place].isalnum() or self.text[place] == "_")

    def behind(self, place, prefixes):
        return any(
            place >= len(prefix)
            and self.text[place - len(prefix) : place] == prefix
            and not (prefix[0].isalnum() and self.word(place - len(prefix) - 1))
            for prefix in prefixes
        )

    def comment(self, place):
        """The end of the comment that begins here, or None."""
        line = {"python": ["#"], "php": ["//", "#"]}.get(self.language, ["//"])
        if self.language != "python" and self.starts("/*", place):
            end = self.text.find("*/", place + 2)
            return len(self.text) if end < 0 else end + 2
        if any(self.starts(mark, place) for mark in line):
            while place < len(self.text) and not self.starts("\n", place):
                if self.language == "php" and self.starts("?>", place):
                    break
                place += 1
            return place
        return None

    def outside(self, place):
        end = self.text.find("<?", place)
        return len(self.text) if end < 0 else end

    def string(self, place, lines=False):
        """(the end of the string that begins here, whether the line's end ended a string around it, too), or None."""
        text, language = self.text, self.language
        if language == "python" and text[place] in "'\"":
            quote = text[place] * 3 if self.starts(text[place] * 3, place) else text[place]
            prefixes = [a + b for a in ("", "r", "R") for b in "fF"] + [b + a for a in "rR" for b in "fF"]
            formatted = self.behind(place, prefixes)
            return self.inside(place + len(quote), quote, "\\", "{" if formatted else "", len(quote) == 1, lines)
        if language == "php" and text[place] in "'\"`":
            return self.inside(place + 1, text[place], "\\", "{$" if text[place] == '"' else "", False, lines)
        if language == "php" and self.starts("<<<", place):
            return self.heredoc(place + 3)
        if language == "csharp" and text[place] == '"':
            verbatim = self.behind(place, ["@", "$@", "@$"])
            hole = "{" if self.behind(place, ["$", "$@", "@$"]) else ""
            if self.behind(place, ["@$"]):
                verbatim = True
            if self.behind(place, ["$"]) and not self.behind(place, ["@$"]):
                verbatim = False
            return self.inside(place + 1, '"', '"' if verbatim else "\\", hole, not verbatim, lines)
        if language == "go" and text[place] == "`":
            end = text.find("`", place + 1)
            return (len(text) if end < 0 else end + 1), False
        if language == "cpp" and text[place] == '"' and self.behind(place, ["R", "LR", "uR", "UR", "u8R"]):
            open = place + 1
            while open < len(text) and not text[open].isspace() and text[open] not in '()\\"':
                open += 1
            if self.starts("(", open) and open - place - 1 <= 16:
                end = text.find(")" + text[place + 1 : open] + '"', open + 1)
                return (len(text) if end < 0 else end + open - place + 1), False
        if language in ("csharp", "go", "cpp") and text[place] in "'\"":
            return self.inside(place + 1, text[place], "\\", "", True, lines)
        return None

    def heredoc(self, place):
        text = self.text
        while place < len(text) and text[place] in " \t":
            place += 1
        quote = text[place] if place < len(text) and text[place] in "'\"" else ""
        place += len(quote)
        begin = place
        while self.word(place):
            place += 1
        name = text[begin:place]
        if not name or name[0].isdigit() or not self.starts(quote, place):
            return None
        place += len(quote)
        if not (self.starts("\n", place) or self.starts("\r\n", place)):
            return None
        while (place := text.find("\n", place)) >= 0:
            end = place + 1
            while end < len(text) and text[end] in " \t":
                end += 1
            if self.starts(name, end) and not self.word(end + len(name)):
                return end + len(name), False
            place += 1
        return len(text), False

    def inside(self, place, close, escape, hole, one_line, lines):
        text = self.text
        while place < len(text):
            escaped = escape == "\\" and text[place] == "\\" and place + 1 < len(text)
            doubled = escape == close and self.starts(close * 2, place) or hole == "{" and self.starts("{{", place)
            if escaped or doubled:
                place += 2
            elif self.starts(close, place):
                return place + len(close), False
            elif hole and (self.starts(hole, place) or (hole == "{$" and self.starts("${", place))):
                place, ended = self.hole(place + len(hole), one_line or lines)
                if ended:
                    return place, lines
            elif one_line and text[place] == "\n":
                return place, lines
            else:
                place += 1
        return place, False

    def hole(self, place, lines):
        """(behind the hole that begins here, whether the line's end ended it and a string around it)."""
        text, depth = self.text, 0
        while place < len(text):
            string = self.string(place, lines)
            if string:
                place, ended = string
                if ended:
                    return place, True
            elif text[place] == "\n" and lines:
                return place, True
            elif text[place] == ":" and not depth:
                return self.inside(place + 1, "}", "", "{", True, lines)
            elif text[place] == "}" and not depth:
                return place + 1, False
            else:
                depth += (text[place] in "([{") - (text[place] in ")]}" and depth > 0)
                place += 1
        return place, False

    def kind(self, wanted):
        """ "code", "mark" (where something begins that is no code) or "inside", of one character."""
        place, end = 0, 0
        if self.language == "php" and not self.in_code:
            end = self.outside(0)
            if wanted < end:
                return "inside" if wanted else "mark"
        place = end
        while place <= wanted:
            number = self.language == "cpp" and self.text[place].isdigit() and not self.word(place - 1)
            if self.language == "php" and self.starts("?>", place):
                end = self.outside(place + 2)
            elif self.language == "php" and self.starts("#[", place):
                place += 2
                continue
            elif number:
                while self.word(place) or self.starts(".", place) or self.separates(place):
                    place += 1
                continue
            else:
                end = self.comment(place)
                if end is None:
                    string = self.string(place)
                    end = string and string[0]
            if end is None:
                place += 1
            elif wanted < end:
                return "mark" if wanted == place else "inside"
            else:
                place = end
        return "code"

    def separates(self, place):
        return self.starts("'", place) and (self.word(place + 1) or self.starts(".", place + 1))


@functools.cache
def kinds(language, text, in_code):
    return [Reader(language, text, in_code).kind(place) for place in range(len(text))]


def slow_cut(language, prompt, completion, stops, block):
    text, begin, in_code = prompt + completion, len(prompt), "<?" not in prompt
    depth = closes = 0
    for place in range(len(text)):
        if place == begin:
            closes = max(depth - 1, 0)
        kind = kinds(language, text, in_code)[place]
        if place >= begin and kind != "inside" and any(text.startswith(stop, place) for stop in stops):
            return text[begin:place], "stop"
        if not block or kind != "code":
            continue
        if text[place] in ("([{" if language == "python" else "{"):
            depth += 1
        elif text[place] in (")]}" if language == "python" else "}"):
            depth = max(depth - 1, 0)
            if language != "python" and place >= begin and depth <= closes:
                return text[begin : place + 1], "block"
        elif language == "python" and text[place] == "\n" and begin <= place + 1 < len(text) and not depth:
            codes = [at for at in (place - 1, place - 2) if at >= 0 and kinds(language, text, in_code)[at] == "code"]
            joined = place - 1 in codes and text[place - 1] == "\\"
            joined |= place - 1 in codes and place - 2 in codes and text[place - 2 : place] == "\\\r"
            if not joined and text[place + 1] not in " \t\r\n\f":
                return text[begin : place + 1], "block"
    return completion, ""


PIECES = {
    "python": '"""|\'\'\'|"|\'|f"|rf\'|f"""|#|\\|{|}|{{|:|(|)|[|]| |x|1|\ndef|\\\n|\r\n|f|!r|f"{|f\'{a|\n    ',
    "php": "\"|'|`|//|#|#[|/*|*/|?>|<?php |<?|<<<A\n|<<<'A'\n|<<<|\nA|\n  A;|A|{$|${|}|{|$a|:|[|]|\\| |x|\r|/|*|<|?",
    "csharp": '"|\'|@"|$"|$@"|$"{|$@"{a|@$"|""|{|}|{{|(|)|:|\\|//|/*|*/|/|*|$|@| |x|?',
    "go": "\"|'|`|//|/*|*/|{|}|\\|/|*| |x|func",
    "cpp": '"|\'|R"(|)"|R"a(|)a"|u8R"|LR"|R|a|1\'0|1|0x|.|\'|//|/*|*/|{|}|\\|/|*| |x|(|)|u8\'',
}
EXAMPLES = 150
STOPS = ("\n", "\n}", "}", "\ndef", "#", "//", '"', "x x", "\n//", "x\n", "*/", ")", "'''")


@st.composite
def cases(draw, language):
    pieces = st.lists(st.sampled_from([*PIECES[language].split("|"), "\n"]), max_size=12).map("".join)
    prompt = draw(st.sampled_from(["", HEADS[language]])) + draw(st.one_of(st.just(""), pieces))
    stops = tuple(draw(st.lists(st.sampled_from(STOPS), max_size=3)))
    return prompt, draw(pieces), draw(pieces), stops, draw(st.booleans())


@pytest.mark.parametrize("language", HEADS)
def test_cut_and_stopper_do_as_the_slow_reference(language):
    @settings(max_examples=EXAMPLES, deadline=None)
    @given(cases(language), st.data())
    def agree(case, data):
        prompt, completion, other, stops, block = case
        expected = slow_cut(language, prompt, completion, stops, block)
        assert cut(language, prompt, completion, stops, block) == expected
        stopper, place, looked = Stopper(language, prompt, stops, block), 0, data.draw(st.integers(0, len(completion)))
        while place < len(completion):
            piece = completion[place : place + data.draw(st.integers(1, 6))]
            certain, place = stopper.feed(piece), place + len(piece)
            if certain:  # whatever follows
                assert slow_cut(language, prompt, completion[:place] + other, stops, block) == expected
                break
            if place >= looked:
                assert stopper.cut() == slow_cut(language, prompt, completion[:place], stops, block)
                looked = len(completion)
        assert stopper.cut() == expected

    agree()
