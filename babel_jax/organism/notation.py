"""How each language writes the embedded world's programs: a file LANGUAGE_notation.yaml each beside this one.

The token stream has the same length in all languages and is aligned; what a language writes for each token makes source code
of it that the language's own tool runs. Identifiers are the words by which a reader of the language would know the function.
"""

import dataclasses
import functools
import json
from collections.abc import Iterable
from pathlib import Path

from babel_jax.common import strict_yaml
from babel_jax.common.errors import unknown_name
from babel_jax.common.schema import REQUIRED, Choice, Flag, Key, Place, Section, Text
from babel_jax.organism.frame import SHARED_TOKENS
from babel_jax.organism.primitives import PRIMITIVES

FOLDER = Path(__file__).parent
NOTATIONS = tuple(sorted(path.name.removesuffix("_notation.yaml") for path in FOLDER.glob("*_notation.yaml")))
QUOTES = {
    "double": json.dumps,
    "single": lambda text: "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'",
    "python": repr,
}


_TOKEN, _CODE = Text("a token", filled=True), Text("source code", lines=True)
FILE = Section(
    {
        "identifiers": Key(
            Section({primitive: Key(_TOKEN, REQUIRED, "the language's name for it") for primitive in PRIMITIVES}),
            REQUIRED,
            "its name for each primitive",
        ),
        "define": Key(_TOKEN, REQUIRED, "the token that opens a function, unlike that of any other language"),
        "end": Key(_TOKEN, REQUIRED, "the token that ends a function"),
        "written": Key(
            Section({token: Key(_CODE, None, "its text") for token in (*SHARED_TOKENS, "define", "end")}),
            REQUIRED,
            # The comment ends with a full stop, so that the token that ends it is no mere white space elsewhere: a program
            # is right where its tokens are.
            "the text of each token whose text is not the token itself",
        ),
        "prelude": Key(_CODE, REQUIRED, "what stands before the function: the primitives under their names"),
        "check": Key(_CODE, REQUIRED, "an assertion that f gives {expected} for {given}"),
        "tests": Key(_CODE, REQUIRED, "what stands behind the function in a file that makes the assertions {checks}"),
        "quotes": Key(Choice("kind of quotes", QUOTES), "double", "how a string literal is written"),
        "ignores_case": Key(Flag(), False, "the language knows a function whatever the case of its letters"),
    }
)


@dataclasses.dataclass(frozen=True)
class Notation:
    """A language's file, see `FILE`: `identifiers` in the order of `PRIMITIVES`, `written` by token."""

    identifiers: tuple[str, ...]
    define: str
    end: str
    written: dict[str, str]
    prelude: str
    check: str
    tests: str
    quotes: str
    ignores_case: bool

    def assertion(self, given: str, expected: str) -> str:
        quote = QUOTES[self.quotes]
        return self.check.replace("{given}", quote(given)).replace("{expected}", quote(expected))

    def test_file(self, assertions: Iterable[str]) -> str:
        """What stands behind a function in a file that makes these assertions."""
        return self.tests.replace("{checks}", "".join(assertions))


@functools.cache
def notation_of(language: str) -> Notation:
    """The notation of a language by name; a `UserError` names the nearest known one."""
    if language not in NOTATIONS:
        raise unknown_name("language of the embedded world", language, NOTATIONS)
    file = FOLDER / f"{language}_notation.yaml"
    fields = FILE.complete(FILE.check(strict_yaml.parse(file.read_text()), Place(file.name)))
    own = {"define": fields["define"], "end": fields["end"]}
    written = {own.get(token, token): text for token, text in fields["written"].items() if text is not None}
    return Notation(**fields | {"identifiers": tuple(fields["identifiers"].values()), "written": written})
