"""Which documents are fit to train on: filters and exact deduplication, with a count for every reason to drop one."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

from babel_jax.corpus.sources import LARGEST_FILE, Document
from babel_jax.languages import Language
from babel_jax.lexical import without_comments

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
