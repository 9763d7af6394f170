"""Texts that somebody chose: whatever a model, a program or a corpus writes takes time with its length, not with its square."""

import functools

import pytest
from helpers import growth
from helpers.openers import EVERYWHERE, MARKS, SECRETS

from babel_jax.corpus import decontaminate, licences, manifest, rules
from babel_jax.corpus.document import Document
from babel_jax.corpus.redact import redact
from babel_jax.languages.lexical import not_code
from babel_jax.languages.registry import LANGUAGES
from babel_jax.suites import problems
from babel_jax.suites.outcomes import classify
from babel_jax.suites.sandbox import Finished
from babel_jax.suites.stops import Stopper
from babel_jax.suites.toolchains import cpp, go
from babel_jax.suites.toolchains.toolchain import Code, Execution

pytestmark = pytest.mark.long

LENGTH = 32_000  # characters; a pattern that takes time with their square takes 1 to 80 seconds, a linear one up to 0.2

SAID = {
    "python": ["Traceback (most", "SyntaxError", "a.", "Error", "AssertionError\n", "Exception: "],
    "php": ["Fatal error: ", "Parse error: ", "Uncaught a", ": ", " in ", "eval()'d code"],
    "csharp": ["Fail:", "Fail: \n", "[ERROR] FATAL UNHANDLED EXCEPTION: ", "DefaultTraceListener.Fail ", ":"],
    "go": ["panic: ", " [recovered]", "fatal error: ", "out of memory", "--- FAIL: ", "\n   "],
    "cpp": [
        "terminate called ",
        "Assertion `",
        "' failed.",
        "\n  what():  ",
        "bad_alloc",
        "program.a:",
        "a: fatal error: ",
    ],
}


def hostile_text(opener, piece, length):
    """A piece over and over, alone or behind as much of an opener."""
    head = opener * (length // 2 // len(opener)) if opener else ""
    return head + piece * ((length - len(head)) // len(piece))


def fed(language, text):
    stopper = Stopper(language, "<?php " if language == "php" else "", ("\n\n", "aaaab"), block=False)
    for start in range(0, len(text), 8):
        stopper.feed(text[start : start + 8])
    stopper.cut()


def judged(language, text):
    output = Finished(1, "itself", text.encode(), text.encode(), 0, 0)
    for compiled, ran in ((output, None), (None, output)):
        classify(Code(language, "", ""), Execution(compiled, ran, False))


def cleaned(text):
    raw = {"clean": {"licence": ["MIT"]}, "languages": {"python": {"sources": [{"path": "."}]}}}
    everything = manifest.check(raw | {"vocab_size": 512, "max_length": 8}, "test").clean
    document = Document(text, text.encode() + b"generated", len(text), (text,))
    rules.unfit(document, LANGUAGES["python"], everything)
    licences.permitted(text, ("MIT",))
    rules.poor(document, LANGUAGES["python"], everything)
    decontaminate.Index([("a", text)]).find(text)


GO = problems.Problem("mbxp", "go", "go/0", 0, "", "", "f", None, (), block=False, prefix="package main\n")
READERS = (
    [(f"marks of {name}", marks, lambda text, name=name: list(not_code(text, LANGUAGES[name]))) for name, marks in MARKS.items()]
    + [(f"pieces of {name}", marks, lambda text, name=name: fed(name, text)) for name, marks in MARKS.items()]
    + [(f"said of {name}", SAID[name], lambda text, name=name: judged(name, text)) for name in SAID]
    + [
        ("imports", [*MARKS["go"], "(", ")"], lambda text: go.repaired_imports("package main\nimport (" + text + ")")),
        ("imports left open", MARKS["go"], lambda text: go.repaired_imports("package main\n" + text)),
        ("merged imports", [*MARKS["go"], ")"], lambda text: problems.code(GO, text * 4)),
        ("headers", MARKS["cpp"], cpp.includes_all_headers_first),
        ("secrets", SECRETS, redact),
        ("documents", [" or ", "(", ".pb.", ".g.", "/", "auto generated ", "# generated", "locale/"], cleaned),
    ]
)  # fmt: skip


def measure(pieces, openers, read):
    for opener in ("", *openers):
        for piece in (*pieces, *EVERYWHERE):
            made = functools.partial(hostile_text, opener, piece)
            assert not growth.grows_faster(read, made, LENGTH), (opener, piece)


@pytest.mark.parametrize(("power", "noticed"), [(2, True), (1, False)])
def test_a_square_is_noticed(monkeypatch, power, noticed):
    monkeypatch.setattr(growth, "seconds", lambda read, text: read(text))
    enough = 1.1 * growth.ENOUGH
    assert growth.grows_faster(lambda text: enough * (len(text) / LENGTH) ** power, "a".__mul__, LENGTH) is noticed


each_reader = pytest.mark.parametrize(
    ("pieces", "read"), [reader[1:] for reader in READERS], ids=[reader[0] for reader in READERS]
)


@each_reader
def test_time_grows_with_the_text_and_no_faster(pieces, read):
    measure(pieces, pieces[:1], read)


@pytest.mark.slow
@each_reader
def test_time_grows_no_faster_behind_whatever_stands_before(pieces, read):
    measure(pieces, [*pieces, *EVERYWHERE], read)
