"""What the project knows of a language, as records; `registry.py` reads them from files such as `python.yaml`."""

import dataclasses
import re


@dataclasses.dataclass(frozen=True)
class StringLiteral:
    """How a string literal opens and closes. The first of a language's literals that fits is the one that opens.

    `escape`: what shields the closing mark ("" if nothing does). `prefixes`: it is this literal only right behind one of
    these. `holes`: marks in it behind which an expression stands, up to its closing brace; one character doubled is none.
    `character`: it is this literal only if it holds one character or begins with `escape`. `stretch`: (open, close) of what
    stands in it as plain text, a closing mark of the literal too; one character each. `not_behind`: a regular expression of
    the code at whose end, whitespace and comments left aside, the mark opens nothing.
    """

    open: str
    close: str
    escape: str = "\\"
    multiline: bool = False
    prefixes: tuple[str, ...] = ()
    holes: tuple[str, ...] = ()
    character: bool = False
    stretch: tuple[str, str] | None = None
    not_behind: str = ""


@dataclasses.dataclass(frozen=True)
class DelimitedLiteral:
    """A string literal that chooses its own closing mark; all but `prefixes` are regular expressions.

    {} in `open` and `close` is where `delimiter` fits, the same text in both, as much of it as fits. `open` begins with a
    plain character, `close` with an escaped one. `open_begun`, `close_begun`: what may still become them when more text
    follows; of bounded length, for it is read again with each piece of text that comes.
    """

    open: str
    open_begun: str
    close: str
    close_begun: str
    delimiter: str
    prefixes: tuple[str, ...] = ()


USES = ("function", "method", "property", "word")


@dataclasses.dataclass(frozen=True)
class Identifier:
    """A built-in of a language, and how its uses are recognised in source code.

    `use`: "function" (`name(`, not a member), "method" (a member that is called), "property" (a member that is not
    called), "word" (neither a member nor a call: a statement or a constant). `not_of`: receivers whose member of this
    name is another function (`path.join`); a receiver that ends in one of them counts.
    """

    text: str
    use: str
    not_of: tuple[str, ...] = ()


def identifier(text: str) -> Identifier:
    """An identifier as a language's file writes it: "function len", "method join not of path", "word None".

    Raises:
      ValueError: it is not written so.
    """
    use, name, *rest = text.split() if len(text.split()) > 1 else ("", "")
    if use not in USES or not re.fullmatch(r"\w+", name) or (rest and (rest[:2] != ["not", "of"] or not rest[2:])):
        raise ValueError(f"write its use ({', '.join(USES)}) and its name, such as 'method join not of path'")
    if rest and use not in ("method", "property"):
        raise ValueError(f"'not of' goes with a member (a method or a property), not with a {use}")
    return Identifier(name, use, tuple(rest[2:]))


# What natural languages are written in -> whether spaces stand between the words.
SCRIPTS = {"latin": True, "cyrillic": True, "chinese": False, "japanese": False}
Pairs = tuple[tuple[Identifier, Identifier], ...]


@dataclasses.dataclass(frozen=True)
class Language:
    """What the project knows of a language; each field is a key of its file, see `registry.FILE`."""

    name: str
    title: str
    extensions: tuple[str, ...]
    line_comments: tuple[str, ...] = ()
    block_comments: tuple[tuple[str, str], ...] = ()
    strings: tuple[StringLiteral, ...] = ()
    not_comments: tuple[str, ...] = ()
    code_marks: tuple[str, str] | None = None
    members: tuple[str, ...] = (".",)
    declares: tuple[str, ...] = ()
    delimited: DelimitedLiteral | None = None
    digit_separator: str = ""
    global_mark: str = ""
    line_ends: str = ""
    joins_lines: bool = False
    comments_nest: bool = False
    comments_in_holes: bool = False
    kind: str = "code"
    prompts: str = "call_sites"
    # Of natural languages; not in the repr, by which toolchains know what they judged with.
    script: str = dataclasses.field(default="", repr=False)
    stop_words: tuple[str, ...] = dataclasses.field(default=(), repr=False)
    toolchain: str = ""
    # Another language -> pairs of (its identifier, the one of this language).
    pairs: dict[str, Pairs] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def is_spaced(self) -> bool:
        """Whether spaces stand between its words."""
        return SCRIPTS.get(self.script, True)
