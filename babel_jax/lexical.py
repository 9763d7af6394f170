"""Where the code of a text is: outside of comments, strings and surrounding text.

A scanner by the marks of a language's record, not a parser: a regular-expression literal or a preprocessor line can
mislead it. It reads a text whole or in pieces, each character once.

Its patterns have neither possessive repeats nor atomic groups: those of Python 3.11.0 to 3.11.4 match too much (gh-100061)
or leave groups behind (gh-106052). None is needed: what a pattern skips, it can skip in one way only, and what it then looks
for may be missing, so that it never goes back.
"""

import functools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from babel_jax.languages import Language

NEVER = r"(?!)"
# Parts that one call of a pattern skips, which Python remembers until the call ends. Behind so many may stand one more.
MOST_SKIPPED = 1000


class Span(NamedTuple):
    """A stretch of a text that is no code: text[start:end]. `kind`: "comment", "string" or "outside"."""

    kind: str
    start: int
    end: int


def not_code(text: str, language: Language) -> Iterator[Span]:
    """The comments and strings of a source file, and what stands outside of its code marks, in order."""
    scanner = Scanner(language)
    scanner.text = text
    return scanner.scan(final=True)


def without_comments(text: str, language: Language) -> str:
    """The text without its comments; strings stay."""
    parts, end = [], 0
    for span in not_code(text, language):
        if span.kind == "comment":
            parts.append(text[end : span.start])
            end = span.end
    return "".join(parts) + text[end:]


def code_only(text: str, language: Language) -> str:
    """The text with every character of comments, strings and surrounding text replaced by NUL; same length."""
    parts, end = [], 0
    for span in not_code(text, language):
        parts += [text[end : span.start], "\0" * (span.end - span.start)]
        end = span.end
    return "".join(parts) + text[end:]


class Scanner:
    """Tells code from what is none, in a text to whose end pieces are added.

    text: what is there so far.
    at: up to here `scan` has told what is code, whatever may follow.
    start: where the span began that is still open; None in code.
    """

    def __init__(self, language: Language, in_code: bool = False):
        """`in_code`: the text begins in code, even where the language has marks around it."""
        self.text, self.at, self.start = "", 0, None
        self._marks = _marks(language)
        # The open literals, the outermost first: [literal, depth of brackets in its hole or -1 outside of one, number of
        # the outermost of them that ends with its line].
        self._open = []
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
        self._push(literal)

    def _push(self, literal):
        ends = self._open[-1][2] if self._open else None
        self._open.append([literal, -1, len(self._open) if ends is None and not literal.multiline else ends])

    def _within(self, event, text):
        """What a mark inside of a literal does; `self.at` is behind it."""
        open, (_, depth, ends) = self._open, self._open[-1]
        if event == "close":
            open.pop()
        elif event == "hole":
            open[-1][1] = 0
        elif event == "bracket":
            open[-1][1] += 1
        elif event == "closing" and (depth > 0 or text[self.at - 1] == "}"):
            open[-1][1] -= 1
        elif event == "format" and depth == 0:
            open[-1][1] = -1
            self._push(_FORMAT)
        elif event == "newline":
            # The end of a line ends every literal that must not go beyond it, with all that is open in it.
            if ends is None:
                self.at += 1
            else:
                del open[ends:]


class _Literal(NamedTuple):
    """`inside`: (with more text to come, at the text's end) -> the pattern from a place in it to the next mark that matters.

    `delimiter`: what the group of this name must be where the pattern finds the close; None: nothing in particular.
    """

    kind: str
    multiline: bool
    inside: tuple[re.Pattern, re.Pattern]
    delimiter: str | None = None

    def closed_by(self, match: re.Match) -> bool:
        return self.delimiter is None or match["delimiter"] == self.delimiter


class _Marks(NamedTuple):
    """A language's patterns; `literals`: group of `code` and `hole` -> the literal that it opens, from the match."""

    code: tuple[re.Pattern, re.Pattern]
    hole: tuple[re.Pattern, re.Pattern]
    literals: dict[str, Callable[[re.Match], _Literal]]
    outside: _Literal | None


def begun(mark: str) -> str:
    """A pattern of the text's end where a mark (no pattern) has begun and is not complete."""
    pattern = ""
    for character in reversed(mark[:-1]):
        pattern = re.escape(character) + (f"(?:{pattern})?" if pattern else "")
    return rf"{pattern}\Z" if pattern else NEVER


def either(patterns: Iterable[str]) -> str:
    """A pattern that any of the patterns fits, the first first; of none: one that nothing fits."""
    return "|".join(patterns) or NEVER


def _both(pattern: Callable[[str], str], waits: Iterable[str]) -> tuple[re.Pattern, re.Pattern]:
    """`pattern` for a text that may go on, where `waits` tell that its end may become something else, and for one that ends."""
    return re.compile(pattern(either(waits)), re.S), re.compile(pattern(NEVER), re.S)


def _unless(units: list[str], wait: str) -> str:
    """A pattern of where no unit stands: behind MOST_SKIPPED others, one could be taken for what it begins like."""
    return f"(?!(?!{wait})(?:{either(units)}))" if units else ""


def _literal(kind, close, first, close_begun, escape="", holes=(), multiline=True, delimiter="") -> _Literal:
    """`close`: a pattern, in which {} is where `delimiter` fits; `first`: what it begins with, as in a character class;
    `close_begun`: see `begun`."""
    units, doubles, waits, special = [], [], [close_begun], first
    if escape:
        doubled = escape == first
        (doubles if doubled else units).append(re.escape(escape) + (re.escape(escape) if doubled else "."))
        waits.append(rf"{re.escape(escape)}\Z")
        special += re.escape(escape)
    opening = []
    for mark in holes:
        opening.append(re.escape(mark))
        waits.append(begun(mark + mark[0]))
        special += re.escape(mark[0])
        if len(mark) == 1:
            doubles.append(re.escape(mark + mark))
    newline = NEVER if multiline else r"(?=\n)"
    special += "" if multiline else r"\n"

    def pattern(wait):
        units_here = either([f"(?!{wait})(?:{unit})" for unit in units + doubles])
        closes = close.replace("{}", f"(?P<delimiter>{delimiter})")
        ends = f"(?P<wait>(?={wait}))|(?P<close>{closes})|(?P<hole>{either(opening)})|(?P<newline>{newline})"
        stay = f"(?!{wait}|{close.replace('{}', delimiter)}|{either(opening)}|{newline})[{special}]"
        return f"(?:[^{special}]+|{units_here}|{stay}){{0,{MOST_SKIPPED}}}(?:{_unless(doubles, wait)}(?:{ends}))?"

    return _Literal(kind, multiline, _both(pattern, waits))


_FORMAT = _literal("string", r"\}", r"\}", NEVER, holes=("{",), multiline=False)


def _behind(prefixes, pattern):
    """The pattern right behind one of the prefixes, which are whole words or marks."""
    if not prefixes:
        return pattern
    before = ((r"\b" if prefix[0].isalnum() else "") + re.escape(prefix) for prefix in prefixes)
    return f"(?:{'|'.join(f'(?<={mark})' for mark in before)}){pattern}"


@functools.cache
def _marks(language: Language) -> _Marks:
    outside, comments, strings, literals = None, [], [], {}

    def add(group, pattern, waits, first, literal):
        name = f"literal{len(literals)}"
        literals[name] = literal
        group.append((f"(?P<{name}>{pattern})", waits, first))

    ends = [r"\n"]
    if language.code_marks:
        open, close = language.code_marks
        outside = _literal("outside", f"(?={re.escape(open)})", re.escape(open[0]), begun(open))
        add(comments, re.escape(close), begun(close), close[0], lambda _: outside)
        ends.append(re.escape(close))  # it ends a line comment, too
    for open, close in language.block_comments:
        literal = _literal("comment", re.escape(close), re.escape(close[0]), begun(close))
        add(comments, re.escape(open), begun(open), open[0], lambda _, literal=literal: literal)
    for open in language.line_comments:
        first = r"\n" + (re.escape(language.code_marks[1][0]) if language.code_marks else "")
        waits = begun(language.code_marks[1]) if language.code_marks else NEVER
        literal = _literal("comment", f"(?={'|'.join(ends)})", first, waits)
        add(comments, re.escape(open), begun(open), open[0], lambda _, literal=literal: literal)
    if language.delimited:
        record = language.delimited
        waits = _behind(record.prefixes, rf"{record.open_begun}\Z")
        pattern = _behind(record.prefixes, record.open.replace("{}", f"(?P<delimiter>{record.delimiter})"))
        literal = _literal(
            "string", record.close, record.close[:2], rf"{record.close_begun}\Z", delimiter=record.delimiter
        )
        add(
            strings,
            pattern,
            waits,
            record.open[0],
            lambda match, literal=literal: literal._replace(delimiter=match["delimiter"]),
        )
    for string in language.strings:
        close = re.escape(string.close)
        literal = _literal(
            "string",
            close,
            close[0] if close[0] != "\\" else close[:2],
            begun(string.close),
            string.escape,
            string.holes,
            string.multiline,
        )
        opening = _behind(string.prefixes, re.escape(string.open))
        add(strings, opening, begun(string.open), string.open[0], lambda _, literal=literal: literal)

    # In a number, a mark that would open a literal elsewhere separates digits.
    mark = re.escape(language.digit_separator)
    number = rf"\b\d[\w.]{{0,100}}(?:{mark}[\w.]{{1,100}}){{0,100}}" if mark else NEVER
    units = [re.escape(text) for text in language.not_comments] + ([number] if mark else [])
    unit_waits = [begun(text) for text in language.not_comments] + [rf"{number}(?:{mark})?\Z" if mark else NEVER]
    digits = r"\d" if mark else ""

    def both(group, more, events):
        special = re.escape("".join(sorted({first for _, _, first in group} | set(more)))) + digits
        opening = either(pattern for pattern, _, _ in group)
        waits = [wait for _, wait, _ in group] + unit_waits

        def pattern(wait):
            units_here = either(f"(?!{wait})(?:{unit})" for unit in units)
            number_part = rf"|(?!{wait})\d" if digits else ""
            ends = f"(?P<wait>(?={wait}))|{opening}{events}|(?P<plain>[{special}])"
            return (
                f"(?:[^{special}]+|{units_here}{number_part}){{0,{MOST_SKIPPED}}}(?:{_unless(units, wait)}(?:{ends}))?"
            )

        return _both(pattern, waits)

    events = r"|(?P<bracket>[(\[{])|(?P<closing>[)\]}])|(?P<format>:)|(?P<newline>(?=\n))"
    return _Marks(both(comments + strings, "", ""), both(strings, "([{}]):\n", events), literals, outside)
