"""Which documents are fit to train on: filters and exact deduplication, with a count for every reason to drop one."""

import functools
import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from babel_jax.corpus.sources import LARGEST_FILE, Document
from babel_jax.languages import Language

SMALLEST_FILE = 64  # bytes
ASCII_SHARE = 0.95  # of the characters; below it a file is mostly translations or data
MEAN_LINE = 120  # characters
WHITESPACE_MARK = "\u2581"  # SentencePiece writes a space as this character and cannot give it back
GENERATED = re.compile(r"Code generated|DO NOT EDIT|auto-?generated|@generated", re.IGNORECASE)
GENERATED_WITHIN = 1500  # characters from the beginning of the file
# Folders that hold translations, test data or other people's code, and generated file names.
BAD_PATH = re.compile(
    r"(^|/)(i18n|l10n|locales?|translations?|intl/resources/data|testdata|test-data|test_data|third_party|thirdparty"
    r"|node_modules|binary-reference-assemblies|api-snapshots?|mcs/tests)/|\.pb\.[^/]+$|_pb2(_grpc)?\.[^/]+$",
    re.IGNORECASE,
)
REASONS = (
    "kept",
    "size",
    "unreadable",
    "not_utf8",
    "nul_byte",
    "whitespace_mark",
    "not_ascii",
    "long_lines",
    "generated",
    "path",
    "duplicate",
    "duplicate_without_comments",
)


class Counts:
    """Files and bytes by what became of them, one of REASONS."""

    def __init__(self):
        self.files, self.bytes = Counter(), Counter()

    def add(self, reason: str, size: int) -> None:
        self.files[reason] += 1
        self.bytes[reason] += size

    def table(self) -> dict:
        """{reason: {"files", "bytes"}} with every reason, in a fixed order."""
        return {reason: {"files": self.files[reason], "bytes": self.bytes[reason]} for reason in REASONS}


def clean(documents: Iterator[Document], language: Language, counts: Counts) -> Iterator[Document]:
    """The documents worth keeping, each once; `counts` says what became of all.

    A document is dropped that is a copy of an earlier one byte by byte, or that differs from it in comments and
    whitespace alone. Two hashes of 16 bytes a document are held, no contents.
    """
    seen = set()
    for document in documents:
        reason = unfit(document) or _duplicate(document, language, seen) or "kept"
        counts.add(reason, document.size)
        if reason == "kept":
            yield document


def unfit(document: Document) -> str | None:
    """The reason why a document is not fit to train on, or None (environment.md 1.2)."""
    path, content, size = document
    if not SMALLEST_FILE <= size <= LARGEST_FILE:
        return "size"
    if content is None:
        return "unreadable"
    if b"\0" in content:
        return "nul_byte"
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return "not_utf8"
    if WHITESPACE_MARK in text:
        return "whitespace_mark"
    if not text.isascii() and len(text.encode("ascii", "ignore")) < ASCII_SHARE * len(text):
        return "not_ascii"
    if len(text) > MEAN_LINE * (text.count("\n") + 1):
        return "long_lines"
    if GENERATED.search(text[:GENERATED_WITHIN]):
        return "generated"
    if BAD_PATH.search(path.partition("/")[2]):  # what the user calls his own folder says nothing
        return "path"
    return None


def _duplicate(document, language, seen):
    bare = "".join(without_comments(document.content.decode(), language).split())
    for reason, content in (("duplicate", document.content), ("duplicate_without_comments", b"\0" + bare.encode())):
        digest = hashlib.sha256(content).digest()[:16]
        if digest in seen:
            return reason
        seen.add(digest)
    return None


class Span(NamedTuple):
    """A stretch of a text that is no code: text[start:end]. `kind`: "comment", "string" or "outside"."""

    kind: str
    start: int
    end: int


def not_code(text: str, language: Language) -> Iterator[Span]:
    """The comments and strings of a source file, and what stands outside of its code marks.

    A scanner by marks, not a parser: a heredoc, a raw string or a regular-expression literal can mislead it.
    """
    for match in _marks(language).finditer(text):
        if match.lastgroup is not None:  # a mark that only looks like a comment has no group
            yield Span(match.lastgroup, *match.span())


@functools.cache
def _marks(language):
    def literal(string):
        close = re.escape(string.close)
        inside = rf"(?!{close})." if string.multiline else rf"(?!{close})[^\n]"
        if string.escape:
            inside = rf"{re.escape(string.escape)}{close if string.escape == string.close else '.'}|{inside}"
        return rf"{re.escape(string.open)}(?:{inside})*+(?:{close})?"

    comments = [rf"{re.escape(open)}.*?(?:{re.escape(close)}|\Z)" for open, close in language.block_comments]
    comments += [rf"{re.escape(mark)}[^\n]*" for mark in language.line_comments]
    # The longer opening mark first: a triple quote is no empty string.
    strings = [literal(string) for string in sorted(language.strings, key=lambda string: -len(string.open))]
    parts = [re.escape(mark) for mark in language.not_comments]
    if language.code_marks:
        open, close = map(re.escape, language.code_marks)
        parts.append(rf"(?P<outside>(?:\A|{close})(?:(?!{open}).)*+)")
    return re.compile(
        "|".join([*parts, f"(?P<comment>{'|'.join(comments)})", f"(?P<string>{'|'.join(strings)})"]), re.S
    )


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
