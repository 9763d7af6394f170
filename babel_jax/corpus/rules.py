"""The steps of the cleaning, a line each in `RULES`: what a manifest may say of one, and why it drops a document."""

import dataclasses
from collections.abc import Callable

from babel_jax.common.schema import Choice, Either, Flag, Key, Many, Number, Section, Text
from babel_jax.corpus import clean
from babel_jax.corpus.document import Document
from babel_jax.languages.language import Language

LICENCE = Text("the name of a licence", filled=True)
LICENCES = Many(LICENCE, least=1)
NEAR_DUPLICATES = Section(
    {
        "threshold": Key(Number(above=0, high=1), 0.7, "the share of common shingles from which two files are alike"),
        "by": Key(Choice("method", ("rensa", "datatrove")), "rensa", "the method: in memory, or on disk"),
    },
    none_is_absent=True,
)


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    threshold: float
    by: str


@dataclasses.dataclass(frozen=True)
class Rule:
    """A step of the cleaning.

    Attributes:
      step: its key in a manifest's `clean`.
      key: what a manifest may say there.
      reasons: to drop a document, as the statistics call them.
      judge: (document, language, setting of the step) -> a reason, or None. The steps without one are done by the phases `clean`
        (redaction) and `select` (duplicates, benchmarks), which look at more than the document.
      always: `judge` is asked even where the step is switched off.
      setting: the type of the step's setting in a complete manifest.
    """

    step: str
    key: Key
    reasons: tuple[str, ...] = ()
    judge: Callable[[Document, Language, object], str | None] | None = None
    always: bool = False
    setting: type = bool


# In the order of the funnel. Rules before `exact_duplicates` judge a document as its source has it; those behind `redact` judge
# what redaction left, of the documents that all other steps keep.
RULES = (
    Rule(
        "licence",
        Key(
            Either((Flag(), LICENCES)),
            False,
            "the licences that are kept; true: the permissive ones (without it: those, if any source says its licence)",
        ),
        ("no_licence", "licence"),
        clean.licence,
        setting=tuple[str, ...] | bool,
    ),
    Rule("size", Key(Flag(), True, "drops files that are too small or too large"), ("size",), clean.size, always=True),
    Rule(
        "encoding",
        Key(Flag(), True, "drops what is not text, or hardly ASCII"),
        ("unsafe_path", "unreadable", "nul_byte", "not_utf8", "whitespace_mark", "not_ascii"),
        clean.encoding,
        always=True,
    ),
    Rule("generated", Key(Flag(), True, "drops generated files"), ("generated",), clean.generated),
    Rule(
        "vendored",
        Key(Flag(), True, "drops other people's code, translations and test data"),
        ("vendored", "locale", "test_data"),
        clean.vendored,
    ),
    Rule(
        "exact_duplicates",
        Key(Flag(), True, "keeps one of equal files, also but for comments and whitespace"),
        ("duplicate", "duplicate_without_comments"),
    ),
    Rule(
        "near_duplicates",
        Key(Either((Flag(), NEAR_DUPLICATES)), True, "keeps one of files that are alike"),
        ("near_duplicate",),
        setting=NearDuplicates | bool,
    ),
    Rule(
        "decontaminate",
        Key(
            Either((Flag((False,)), Many(Text("a suite, such as mxeval:FOLDER", filled=True)))),
            (),
            "the problem suites whose problems are kept out",
        ),
        ("contaminated",),
        setting=tuple[str, ...],
    ),
    Rule("redact", Key(Flag(), True, "hides addresses and keys")),
    Rule(
        "quality",
        Key(Flag(), True, "drops files of long lines or few letters"),
        ("long_line", "long_lines", "few_letters"),
        clean.quality,
    ),
)
STEPS = (*(rule.step for rule in RULES), "cap")  # `cap`: a language's max_megabytes
REASONS = {rule.step: rule.reasons for rule in RULES} | {"cap": ("cap",)}
OUTCOMES = ("found", *(reason for reasons in REASONS.values() for reason in reasons), "kept", "redacted")
# What a complete manifest says of the steps: a field each.
Cleaning = dataclasses.make_dataclass("Cleaning", [(rule.step, rule.setting) for rule in RULES], frozen=True)
_FIRST_LATER = STEPS.index("exact_duplicates")
LATER = STEPS[_FIRST_LATER:]  # the steps that the phase `select` decides


def unfit(document: Document, language: Language, cleaning: Cleaning) -> str | None:
    """Why the steps before the search for duplicates drop a document as its source has it, or None."""
    return "unsafe_path" if document.size < 0 else _first_reason(RULES[:_FIRST_LATER], document, language, cleaning)


def poor(document: Document, language: Language, cleaning: Cleaning) -> str | None:
    """Why the later rules drop what redaction left of a document, or None."""
    return _first_reason(RULES[_FIRST_LATER:], document, language, cleaning)


def _first_reason(rules, document, language, cleaning):
    for rule in rules:
        setting = getattr(cleaning, rule.step)
        if rule.judge and (setting or rule.always) and (reason := rule.judge(document, language, setting)):
            return reason
    return None
