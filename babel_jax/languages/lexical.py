"""Finds the code of a text: all that is not a comment, a string or text around the code.

A scanner that knows the marks of a language, not a parser: a preprocessor line, or a slash that only a parser knows to
begin a regular expression, can mislead it. It reads a text whole or in pieces, each character once.

Its patterns have neither possessive repeats nor atomic groups, which Python 3.11.0 to 3.11.4 gets wrong (gh-100061,
gh-106052). They need none: there is one way only to match what a pattern skips, and all that follows is optional, so that
it never backtracks.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from babel_jax.languages.language import Language, StringLiteral

NEVER = r"(?!)"
# The most parts that one call of a pattern skips, as Python keeps each of them in memory until the call ends.
MOST_SKIPPED = 1000
LONGEST_WORD = 40  # as much of the code before a mark as `StringLiteral.not_behind` is shown


class Span(NamedTuple):
    """A stretch of a text that is not code: text[start:end]. `kind`: "comment", "string" or "outside"."""

    kind: str
    start: int
    end: int


def not_code(text: str, language: Language) -> Iterator[Span]:
    """The comments and strings of a text, and what stands outside of its code marks, in order."""
    scanner = Scanner(language)
    scanner.text = text
    return scanner.scan(final=True)


def without_comments(text: str, language: Language) -> str:
    """The text without its comments; strings stay."""
    return _mapped(text, not_code(text, language), lambda span, inside: "" if span.kind == "comment" else inside)


def code_only(text: str, language: Language) -> str:
    """The text with every character of comments, strings and surrounding text replaced by NUL; same length."""
    return _mapped(text, not_code(text, language), lambda span, inside: "\0" * len(inside))


def blanked(text: str, language: Language, kinds: tuple[str, ...]) -> str:
    """The text with spans of these kinds as spaces, of the same length; line breaks stay."""
    return _mapped(
        text, not_code(text, language), lambda span, inside: _spaces(inside) if span.kind in kinds else inside
    )


def substituted(text: str, language: Language, pattern: str, new: str) -> str:
    """A text that begins in code, with `new` in place of what `pattern` matches outside of comments and strings."""
    scanner = Scanner(language, in_code=True)
    scanner.text = text
    return _mapped(text, scanner.scan(final=True), lambda span, inside: inside, lambda code: re.sub(pattern, new, code))


def code_and_end(text: str, language: Language, in_code: bool = True) -> tuple[str, str]:
    """(a text as its compiler reads it, with comments, strings and surroundings as spaces; the kind of the span that is open
    at its end, or "").

    Its length stays, but for each backslash that joins a line to the next one. `in_code`: see `Scanner`.
    """
    if language.line_ends:
        text = re.sub(language.line_ends, lambda end: "\n".rjust(len(end[0])), text)
    if language.joins_lines:
        text = re.sub(r"\\[ \t\f\v]*\n", "", text)
    scanner = Scanner(language, in_code)
    scanner.text = text
    spans = [*scanner.scan(final=False), *scanner.scan(final=True)]
    open_at_end = spans[-1].kind if spans and spans[-1].end == len(text) else ""
    return _mapped(text, spans, lambda span, inside: _spaces(inside)), open_at_end


def identifiers(text: str, language: Language) -> set[str]:
    """The identifiers in code."""
    return set(re.findall(r"[^\W\d]\w*", code_and_end(text, language)[0]))


def _mapped(text: str, spans: Iterable[Span], inside: Callable[[Span, str], str], code=lambda code: code) -> str:
    """The text with `inside(span, its text)` in place of each span, and `code(…)` of what lies between."""
    parts, end = [], 0
    for span in spans:
        parts += [code(text[end : span.start]), inside(span, text[span.start : span.end])]
        end = span.end
    return "".join(parts) + code(text[end:])


def _spaces(text: str) -> str:
    return re.sub(r"[^\n]", " ", text)


class Scanner:
    """Separates code from all else, in a text to whose end pieces are added.

    text: what has come so far.
    at: `scan` has separated the text up to here, whatever may follow.
    start: where the span begins that is still open; None in code.
    """

    def __init__(self, language: Language, in_code: bool = False):
        """`in_code`: the text begins in code, even where the language has marks around it."""
        self.text, self.at, self.start = "", 0, None
        self._marks = _marks(language)
        # The open literals, the outermost first: [literal, depth of brackets in its hole or -1 outside of one, number of
        # the outermost of them that ends with its line, where it begins].
        self._open = []
        self._comments = (0, 0)  # (start, end) of the last comments that only whitespace separates
        if language.code_marks and not in_code:
            self._enter(self._marks.outside, 0)

    def copy(self) -> "Scanner":
        """A scanner that goes on by itself from here."""
        other = object.__new__(Scanner)
        other.__dict__ |= self.__dict__ | {"_open": [list(frame) for frame in self._open]}
        return other

    def scan(self, final: bool) -> Iterator[Span]:
        """The further spans that end in the text; exhaust the iterator. `final`: nothing follows, an open span ends here."""
        text, marks, open, code = self.text, self._marks, self._open, self._marks.code[final]
        while True:
            if not open:
                match = code.match(text, self.at)
            elif open[-1][1] < 0:
                match = open[-1][0].inside[final].match(text, self.at)
            else:
                match = marks.hole[final].match(text, self.at)
            self.at, event = match.end(), match.lastgroup
            if event is None:
                if self.at == len(text):
                    break
            elif event == "wait":
                break
            elif event in marks.literals:
                if event not in marks.not_behind or self._opens(marks.not_behind[event], match.start(event)):
                    self._enter(marks.literals[event](match), match.start(event))
            elif event != "plain" and (event != "close" or open[-1][0].closed_by(match)):
                self._within(event, text)
                if not open:
                    yield Span(self._kind, self.start, self.at)
                    self.start = None
        if final and open:
            yield Span(self._kind, self.start, len(text))
            open.clear()
            self.at, self.start = len(text), None

    def _enter(self, literal, start):
        if not self._open:
            self.start, self._kind = start, literal.kind
        self._push(literal, start)

    def _push(self, literal, start):
        ends = self._open[-1][2] if self._open else None
        self._open.append([literal, -1, len(self._open) if ends is None and not literal.multiline else ends, start])

    def _opens(self, not_behind, start) -> bool:
        """Whether the code before a mark lets it open its literal."""
        at = self._before_whitespace(start)
        if at == self._comments[1]:
            at = self._before_whitespace(self._comments[0])
        return not_behind.search(self.text, max(0, at - LONGEST_WORD), at) is None

    def _before_whitespace(self, at):
        while at and self.text[at - 1].isspace():
            at -= 1
        return at

    def _within(self, event, text):
        """What a mark inside of a literal does; `self.at` is behind it."""
        open, (literal, depth, ends, start) = self._open, self._open[-1]
        if event == "close":
            open.pop()
            if literal.kind == "comment" and self._marks.not_behind:
                first, last = self._comments
                self._comments = (first if last == start or text[last:start].isspace() else start, self.at)
        elif event == "inner" and literal.kind == "comment":
            self._push(literal, self.at)
        elif event == "inner":
            open[-1][1] = 0
        elif event == "stretch":
            self._push(literal.stretch, self.at)
        elif event == "bracket":
            open[-1][1] += 1
        elif event == "closing" and (depth > 0 or text[self.at - 1] == "}"):
            open[-1][1] -= 1
        elif event == "format" and depth == 0 and literal.formats:
            open[-1][1] = -1
            self._push(_FORMAT, self.at)
        elif event == "newline":
            # The end of a line ends every literal that must not go beyond it, with all that is open in it.
            if ends is None:
                self.at += 1
            else:
                del open[ends:]


class _Literal(NamedTuple):
    """`inside`: (with more text to come, at the text's end) -> the pattern from a place in it to the next mark that matters.

    `delimiter`: what the group of this name must be where the pattern finds the close; None: nothing in particular.
    `formats`: a colon in its holes begins a format. `stretch`: see `language.StringLiteral`.
    """

    kind: str
    multiline: bool
    inside: tuple[re.Pattern, re.Pattern]
    delimiter: str | None = None
    formats: bool = False
    stretch: "_Literal | None" = None

    def closed_by(self, match: re.Match) -> bool:
        return self.delimiter is None or match["delimiter"] == self.delimiter


class _Marks(NamedTuple):
    """A language's patterns; `literals`: group of `code` and `hole` -> the literal that it opens, from the match.

    `not_behind`: group -> the code behind which it opens nothing.
    """

    code: tuple[re.Pattern, re.Pattern]
    hole: tuple[re.Pattern, re.Pattern]
    literals: dict[str, Callable[[re.Match], _Literal]]
    not_behind: dict[str, re.Pattern]
    outside: _Literal | None


def begun(mark: str) -> str:
    """A pattern of the text's end where a mark (literal text) has begun and is not complete."""
    pattern = ""
    for character in reversed(mark[:-1]):
        pattern = re.escape(character) + (f"(?:{pattern})?" if pattern else "")
    return rf"{pattern}\Z" if pattern else NEVER


def either(patterns: Iterable[str]) -> str:
    """A pattern that matches what any of the patterns matches, tried in order; without any, nothing."""
    return "|".join(patterns) or NEVER


def _both(pattern: Callable[[str], str], waits: Iterable[str]) -> tuple[re.Pattern, re.Pattern]:
    """`pattern` for a text that may go on, whose end may become something else where one of `waits` matches, and for one that
    ends."""
    return re.compile(pattern(either(waits)), re.S), re.compile(pattern(NEVER), re.S)


def _unless(units: list[str], wait: str) -> str:
    """A pattern of a place where no unit stands: behind MOST_SKIPPED others, one could be mistaken for what it begins with."""
    return f"(?!(?!{wait})(?:{either(units)}))" if units else ""


class _Close(NamedTuple):
    """What ends a literal. pattern: {} in it is where `delimiter` fits. first: what it begins with, as in a character class.
    begun: see `begun`."""

    pattern: str
    first: str
    begun: str
    delimiter: str = ""


def _closed_by(mark: str) -> _Close:
    return _Close(re.escape(mark), re.escape(mark[0]), begun(mark))


def _literal(kind: str, close: _Close, escape="", inner=(), multiline=True, stretch=()) -> _Literal:
    """`escape`, `multiline`, `stretch`: see `language.StringLiteral`; `inner`: marks that open something inside of it, in a
    string a hole, in a comment a further comment."""
    units, doubles, waits, special = [], [], [close.begun], close.first
    if escape:
        doubled = escape == close.first
        (doubles if doubled else units).append(re.escape(escape) + (re.escape(escape) if doubled else "."))
        waits.append(rf"{re.escape(escape)}\Z")
        special += re.escape(escape)
    opening = []
    for mark in inner:
        opening.append(re.escape(mark))
        special += re.escape(mark[0])
        doubled = kind == "string" and len(mark) == 1
        waits.append(begun(mark + mark[0] * doubled))
        if doubled:
            doubles.append(re.escape(mark + mark))
    stretches = re.escape(stretch[0]) if stretch else NEVER
    special += re.escape(stretch[0]) if stretch else ""
    newline = NEVER if multiline else r"(?=\n)"
    special += "" if multiline else r"\n"

    def pattern(wait):
        units_here = either([f"(?!{wait})(?:{unit})" for unit in units + doubles])
        closes = close.pattern.replace("{}", f"(?P<delimiter>{close.delimiter})")
        ends = f"(?P<close>{closes})|(?P<inner>{either(opening)})|(?P<stretch>{stretches})|(?P<newline>{newline})"
        ends = f"(?P<wait>(?={wait}))|{ends}"
        stay = f"(?!{wait}|{close.pattern.replace('{}', close.delimiter)}|{either([*opening, stretches])}|{newline})[{special}]"
        return f"(?:[^{special}]+|{units_here}|{stay}){{0,{MOST_SKIPPED}}}(?:{_unless(doubles, wait)}(?:{ends}))?"

    return _Literal(
        kind,
        multiline,
        _both(pattern, waits),
        formats=any(len(mark) == 1 for mark in inner),
        stretch=_literal(kind, _closed_by(stretch[1]), escape, multiline=multiline) if stretch else None,
    )


_FORMAT = _literal("string", _closed_by("}"), inner=("{",), multiline=False)


def _behind(prefixes, pattern):
    """The pattern right behind one of the prefixes, which are whole words or marks."""
    if not prefixes:
        return pattern
    before = ((r"\b" if prefix[0].isalnum() else "") + re.escape(prefix) for prefix in prefixes)
    return f"(?:{'|'.join(f'(?<={mark})' for mark in before)}){pattern}"


class _Opening(NamedTuple):
    """Where a literal opens. begun: see `begun`; first: the character that it begins with; literal: which one, by the match;
    not_behind: see `language.StringLiteral`."""

    pattern: str
    begun: str
    first: str
    literal: Callable[[re.Match], _Literal]
    not_behind: str = ""


@functools.cache
def _marks(language: Language) -> _Marks:
    outside = _outside(language)
    comments, strings = _comments(language, outside), _strings(language)
    named = {f"literal{number}": opening for number, opening in enumerate([*comments, *strings])}
    in_hole = {name: opening for name, opening in named.items() if language.comments_in_holes or opening in strings}
    events = r"|(?P<bracket>[(\[{])|(?P<closing>[)\]}])|(?P<format>:)|(?P<newline>(?=\n))"
    return _Marks(
        code=_between_literals(language, named),
        hole=_between_literals(language, in_hole, "([{}]):\n", events),
        literals={name: opening.literal for name, opening in named.items()},
        not_behind={name: re.compile(opening.not_behind) for name, opening in named.items() if opening.not_behind},
        outside=outside,
    )


def _outside(language: Language) -> _Literal | None:
    """What stands around code, where a language has marks for that."""
    if not language.code_marks:
        return None
    open, _ = language.code_marks
    return _literal("outside", _Close(f"(?={re.escape(open)})", re.escape(open[0]), begun(open)))


def _comments(language: Language, outside: _Literal | None) -> list[_Opening]:
    openings, line_end = [], _Close(r"(?=\n)", r"\n", NEVER)
    if outside:
        _, close = language.code_marks
        openings.append(_opening(close, outside))
        # It ends a line comment, too.
        line_end = _Close(rf"(?=\n|{re.escape(close)})", r"\n" + re.escape(close[0]), begun(close))
    for open, close in language.block_comments:
        inner = (open,) if language.comments_nest else ()
        openings.append(_opening(open, _literal("comment", _closed_by(close), inner=inner)))
    return openings + [_opening(open, _literal("comment", line_end)) for open in language.line_comments]


def _opening(mark: str, literal: _Literal, prefixes: tuple[str, ...] = ()) -> _Opening:
    ends_word = _is_word(mark[-1])
    pattern = (r"\b" * _is_word(mark[0])) + re.escape(mark) + (r"\b" * ends_word)
    return _Opening(_behind(prefixes, pattern), begun(mark + " " * ends_word), mark[0], lambda _: literal)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _one_character(string: StringLiteral, literal: _Literal) -> _Opening:
    """Where a literal opens that holds one character: by its mark alone it could be something else."""
    mark, close, escape = map(re.escape, (string.open, string.close, string.escape))
    opens = f"{mark}(?=.{close}{f'|{escape}' if escape else ''})"
    return _Opening(_behind(string.prefixes, opens), rf"{mark}.?\Z", string.open, lambda _: literal)


def _strings(language: Language) -> list[_Opening]:
    openings = []
    if record := language.delimited:
        close = _Close(record.close, record.close[:2], rf"{record.close_begun}\Z", record.delimiter)
        literal = _literal("string", close)
        openings.append(
            _Opening(
                _behind(record.prefixes, record.open.replace("{}", f"(?P<delimiter>{record.delimiter})")),
                _behind(record.prefixes, rf"{record.open_begun}\Z"),
                record.open.removeprefix("\\")[0],
                lambda match: literal._replace(delimiter=match["delimiter"]),
            )
        )
    for string in language.strings:
        close, (escape, holes) = _closed_by(string.close), (string.escape, string.holes)
        inside = _literal("string", close, escape, holes, string.multiline, stretch=string.stretch or ())
        opening = _one_character(string, inside) if string.character else _opening(string.open, inside, string.prefixes)
        openings.append(opening._replace(not_behind=string.not_behind))
    return openings


def _between_literals(language: Language, openings: dict[str, _Opening], more: str = "", events: str = ""):
    """The patterns from a place outside of literals to the next mark that matters.

    `openings`: group -> what opens there; `more`: further characters that matter, for the groups of `events`.
    """
    mark = re.escape(language.digit_separator)
    # In a number, a mark that would open a literal elsewhere separates digits.
    number = rf"\b\d[\w.]{{0,100}}(?:{mark}[\w.]{{1,100}}){{0,100}}" if mark else NEVER
    units = [re.escape(text) for text in language.not_comments] + ([number] if mark else [])
    waits = [opening.begun for opening in openings.values()] + [begun(text) for text in language.not_comments]
    waits.append(rf"{number}(?:{mark})?\Z" if mark else NEVER)
    digits = r"\d" if mark else ""
    special = re.escape("".join(sorted({opening.first for opening in openings.values()} | set(more)))) + digits
    plain, other = (f"[{special}]", f"[^{special}]") if special else (NEVER, ".")  # a language may have no marks at all
    opening = either(f"(?P<{name}>{one.pattern})" for name, one in openings.items())

    def pattern(wait):
        units_here = either(f"(?!{wait})(?:{unit})" for unit in units)
        number_part = rf"|(?!{wait})\d" if digits else ""
        ends = f"(?P<wait>(?={wait}))|{opening}{events}|(?P<plain>{plain})"
        return f"(?:{other}+|{units_here}{number_part}){{0,{MOST_SKIPPED}}}(?:{_unless(units, wait)}(?:{ends}))?"

    return _both(pattern, waits)
