"""Languages are data: a file each beside this one, read into the records of `language.py` when first asked for."""

import functools
import os
import re
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path

from babel_jax.common import files, strict_yaml
from babel_jax.common.errors import UserError, one_line, unknown_name
from babel_jax.common.schema import (
    REQUIRED,
    Choice,
    Either,
    Flag,
    Key,
    Kind,
    Many,
    Pattern,
    Place,
    Section,
    Table,
    Text,
)
from babel_jax.languages.language import SCRIPTS, DelimitedLiteral, Language, Pairs, StringLiteral, identifier


class _Identifier:
    wants = "an identifier and its use, such as 'method join not of path'"

    def takes(self, value) -> bool:
        return isinstance(value, str)

    def check(self, value, at: Place) -> str:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        try:
            identifier(value)
        except ValueError as error:
            raise at.error(f"says '{value}': {error}.") from error
        return value


class _Two:
    """A list of two texts: an opening and a closing mark, or a pair of identifiers."""

    def __init__(self, of: Kind):
        self.of, self.wants = of, f"a list of two, each {of.wants}"

    def takes(self, value) -> bool:
        return isinstance(value, list | tuple) and len(value) == 2

    def check(self, value, at: Place) -> tuple:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        return tuple(self.of.check(item, at / number) for number, item in enumerate(value))


MARK = Text("a mark", filled=True)
_WORD = Text("a word", filled=True)
_PREFIXES = Key(Many(_WORD, once=True), (), "it is this literal only right behind one of these")
STRING = Section(
    {
        "open": Key(MARK, REQUIRED, "the mark that opens it"),
        "close": Key(MARK, None, "the mark that closes it (without it: the same)"),
        "escape": Key(Text(), "\\", "what shields the closing mark; empty: nothing does"),
        "multiline": Key(Flag(), False, "it may go beyond the end of a line"),
        "prefixes": _PREFIXES,
        "holes": Key(
            Many(MARK), (), "marks in it behind which an expression stands, up to its closing brace; doubled it is none"
        ),
        "character": Key(
            Flag(),
            False,
            "it is this literal only if it holds one character or an escape: 'a' of Rust, not its lifetime 'a",
        ),
        "stretch": Key(
            _Two(Text("a character", filled=True)),
            None,
            "[open, close] of what stands in it as plain text: [/] in /[/]/",
        ),
        "not_behind": Key(
            Pattern(),
            "",
            "code at whose end, whitespace and comments left aside, the mark opens nothing; ends with \\Z",
        ),
    }
)
DELIMITED = Section(
    {
        "open": Key(
            Pattern(), REQUIRED, "what opens it, with {} for its delimiter; begins with a character, plain or escaped"
        ),
        "open_begun": Key(
            Pattern(), REQUIRED, "what may still become `open` when more text follows; of bounded length"
        ),
        "close": Key(
            Pattern(), REQUIRED, "what closes it, with {} for its delimiter; begins with an escaped character"
        ),
        "close_begun": Key(Pattern(), REQUIRED, "what may still become `close` when more text follows"),
        "delimiter": Key(Pattern(), REQUIRED, "a delimiter, of bounded length"),
        "prefixes": _PREFIXES,
    }
)
FILE = Section(
    {
        "title": Key(Text("a name", filled=True), REQUIRED, "how the language is written in text"),
        "kind": Key(Choice("kind", ("code", "natural")), "code", "a programming language, or one that people speak"),
        "prompts": Key(
            Choice("kind of prompts", ("call_sites", "cloze")),
            "call_sites",
            "where a prompt ends: where a built-in is used; or, in running text, before a word as it stands in a pair",
        ),
        "script": Key(
            Choice("script", ("", *SCRIPTS)),
            "",
            "what a natural language is written in; empty: not known, so that the cleaning does not look at it",
        ),
        "stop_words": Key(
            Many(_WORD, once=True),
            (),
            "the words that are in nearly every sentence of a natural language, in lower case, letters alone (l of l'eau): "
            "the cleaning tells by them what is written in another language",
        ),
        "extensions": Key(
            Many(Text("an extension", filled=True), least=1, once=True), REQUIRED, "how the names of its files end"
        ),
        "line_comments": Key(Many(MARK), (), "marks of comments that end with their line"),
        "not_comments": Key(Many(MARK), (), "marks that begin like a line comment and are none"),
        "block_comments": Key(Many(_Two(MARK)), (), "[open, close] of comments that may go over several lines"),
        "comments_nest": Key(Flag(), False, "a block comment may stand inside of another one"),
        "comments_in_holes": Key(Flag(), False, "comments may stand in the holes of strings"),
        "strings": Key(
            Many(Either((MARK, STRING))),
            (),
            "its string literals, in the order in which they are tried; see `strings.N`",
        ),
        "delimited": Key(DELIMITED, None, "a string literal that chooses its own closing mark"),
        "code_marks": Key(_Two(MARK), None, "[open, close] where code stands inside other text"),
        "members": Key(Many(MARK), (".",), "marks between an object, class or package and its member"),
        "declares": Key(Many(_WORD), (), "words after which a name is declared or imported, not used"),
        "digit_separator": Key(Text(), "", "a mark inside of numbers that opens a literal elsewhere"),
        "global_mark": Key(Text(), "", "may stand before the name of a built-in without changing what it means"),
        "line_ends": Key(Pattern(), "", "what else than a line break ends a line for its compiler"),
        "joins_lines": Key(Flag(), False, "a backslash at the end of a line joins it to the next one"),
        "toolchain": Key(Text(), "", "what compiles and runs its programs, of suites/toolchains; empty: nothing"),
        "pairs": Key(
            Table(Many(_Two(_Identifier()))),
            {},
            "another language -> [its identifier, this language's one] of the same meaning; a pair's place is its number in "
            "the prompts of corpora, so further pairs go to the end",
        ),
    }
)
FOLDER = Path(__file__).parent
FIRST = ("python", "php", "csharp", "go", "cpp")  # in the order of what corpora say; all others follow by name


def record(name: str, data: object, where: str | Place) -> Language:
    """The language that a file's data describes. `where`: what errors call the file.

    Raises:
      UserError: a key or value that cannot be, in one line that names its place.
    """
    at = where if isinstance(where, Place) else Place(where)
    given = FILE.check(data, at)
    known = FILE.complete(given)
    for number, extension in enumerate(known["extensions"]):
        if not extension.startswith(".") or extension != extension.lower():
            raise (at / "extensions" / number).error(
                f"is '{extension}'; write it with its dot and in lower case, which stands for either."
            )
    _check_natural(known, at)
    known["delimited"] = _delimited(given["delimited"], at / "delimited") if "delimited" in given else None
    known["strings"] = tuple(_string(one, at / "strings" / number) for number, one in enumerate(known["strings"]))
    known["pairs"] = {other: _pairs(pairs, at / "pairs" / other) for other, pairs in known["pairs"].items()}
    if name in known["pairs"]:
        raise (at / "pairs" / name).error("has pairs with the language itself; name another one.")
    return Language(name=name, **known)


def _check_natural(known: dict, at: Place) -> None:
    """Refuses what is said of a natural language where there is none, or could find no word."""
    for key in ("script", "stop_words"):
        if known[key] and known["kind"] != "natural":
            raise (at / key).error("goes with `kind: natural`; a programming language has none.")
    if known["stop_words"] and not SCRIPTS.get(known["script"], True):
        raise (at / "stop_words").error(
            f"cannot be found in {known['script']} script, which has no spaces; take them out."
        )
    for number, word in enumerate(known["stop_words"]):
        if not word.isalpha() or word != unicodedata.normalize("NFC", word.lower()):
            raise (at / "stop_words" / number).error(
                f"is '{word}'; write letters alone, in lower case (Unicode's NFC)."
            )


def _delimited(given: dict, at: Place) -> DelimitedLiteral:
    """The scanner looks for the first characters of both marks, so these must be characters and not patterns."""
    literal = DelimitedLiteral(**DELIMITED.complete(given))
    if not re.match(r"\\[^\w\s]|[^\\\[\](){}.*+?^$|]", literal.open):
        raise (at / "open").error(rf"is '{literal.open}'; begin it with a character, such as a or \[.")
    if not literal.close.startswith("\\"):
        raise (at / "close").error(rf"is '{literal.close}'; begin it with an escaped character, such as \].")
    return literal


def _string(given: str | dict, at: Place) -> StringLiteral:
    known = STRING.complete({"open": given} if isinstance(given, str) else given)
    known["close"] = known["close"] or known["open"]
    if known["character"] and len(known["open"] + known["close"]) != 2:
        raise at.error("holds one character, and can have marks of one character only.")
    return StringLiteral(**known)


def _pairs(given: tuple[tuple[str, str], ...], at: Place) -> Pairs:
    pairs = tuple((identifier(there), identifier(here)) for there, here in given)
    first = {}
    for number, pair in enumerate(pairs):
        texts = tuple(one.text for one in pair)
        if first.setdefault(texts, number) != number:
            raise (at / number).error(f"is {' and '.join(texts)}, as pair {first[texts]} is; give each once.")
    return pairs


def data_of(file: str | os.PathLike):
    """What a language's file holds, as yet unchecked. Raises a `UserError` where it cannot be read."""
    hint = f"{FOLDER / 'php.yaml'} is an example."
    text = files.read_text(file, hint)
    try:
        return strict_yaml.parse(text)
    except strict_yaml.ERRORS as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); correct it and run again.") from error


class Definition:
    """A language of the user's own: its file, or what such a file holds, which is what corpora and studies keep of it."""

    wants = "the file of a language (babel_jax/languages/README.md), or what such a file holds"

    def takes(self, value) -> bool:
        return isinstance(value, str) or FILE.takes(value)

    def check(self, value, at: Place) -> str | dict:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        return Text(self.wants, filled=True).check(value, at) if isinstance(value, str) else FILE.check(value, at)


def definition(name: str, given: str | dict, at: Place) -> dict:
    """What a `Definition` holds, read from its file where it names one.

    Raises:
      UserError: it cannot be read or is not that of a language, or its name is that of another language of the package.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):  # files and tasks are called by it
        raise at.error(f"is called '{name}'; a language's name has lower-case letters, digits and underscores only.")
    data, where = (data_of(given), Place(given)) if isinstance(given, str) else (given, at)
    own = record(name, data, where)
    if name in LANGUAGES and own != LANGUAGES[name]:
        raise at.error(f"is another language than the package's {LANGUAGES[name].title}; call yours otherwise.")
    return FILE.check(data, where)


@functools.cache
def _shipped(name: str) -> Language:
    file = FOLDER / f"{name}.yaml"
    return record(name, data_of(file), str(file))


class _Languages(Mapping):
    """Name -> language, of the files of this folder; each is read when it is first asked for."""

    @functools.cached_property
    def _names(self) -> tuple[str, ...]:
        names = {path.stem for path in FOLDER.glob("*.yaml")}
        return (*FIRST, *sorted(names.difference(FIRST)))

    def __getitem__(self, name: str) -> Language:
        if name not in self._names:
            raise KeyError(name)
        return _shipped(name)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


LANGUAGES = _Languages()


def language(name: str) -> Language:
    """The record of a language; an unknown name is a `UserError` that says the nearest known one."""
    if name not in LANGUAGES:
        raise unknown_name("language", name, LANGUAGES)
    return LANGUAGES[name]


_own: dict[str, Language] = {}  # languages of the user's own


def remember(own: Language) -> None:
    """Makes a language of the user's own known to `title` and `is_natural`; nothing else looks one up here."""
    _own[own.name] = own


def title(name: str) -> str:
    """How a language is written in text; what is no known language is called by its name."""
    known = LANGUAGES[name] if name in LANGUAGES else _own.get(name)
    return known.title if known else name


def is_natural(name: str) -> bool:
    """Whether it is a known language that people speak."""
    known = LANGUAGES[name] if name in LANGUAGES else _own.get(name)
    return known is not None and known.kind == "natural"


def identifier_pairs(primary: Language, new: Language) -> Pairs:
    """The (primary's, new language's) identifiers of the same meaning; `UserError` where none are written down."""
    if primary.name in new.pairs:
        return new.pairs[primary.name]
    if new.name in primary.pairs:
        return tuple((here, there) for there, here in primary.pairs[new.name])
    raise UserError(
        f"no built-ins of {primary.title} and {new.title} are known to mean the same; write them under `pairs` in the file of "
        f"one of them."
    )
