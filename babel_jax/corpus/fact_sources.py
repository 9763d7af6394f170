"""Where facts come from, a line each in `KINDS`, and which of them a corpus states in which languages."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence

from babel_jax.common.errors import UserError
from babel_jax.common.schema import REQUIRED, Choice, Key, Number, Place, Section, Text
from babel_jax.corpus import invented_library, kgeography
from babel_jax.corpus.fact_sentences import CODE, NATURAL, Forms
from babel_jax.corpus.mentions import Mentions
from babel_jax.corpus.questions import CHOICES, FEWEST_QUESTIONS
from babel_jax.corpus.stated_facts import Fact, Stated, divided, fit, grouped
from babel_jax.languages.language import Language

Texts = Callable[[str], Iterable[str]]  # what a language's documents say, held-out ones, too


@dataclasses.dataclass(frozen=True)
class GivenFacts:
    """What a manifest says of facts; see `manifest.FACTS`."""

    kind: str
    path: str | None
    number: int
    shared: float
    times: int


@dataclasses.dataclass(frozen=True)
class FactKind:
    """A kind of facts.

    Attributes:
      forms: by language how they are stated and asked.
      read: (what the manifest says, the languages' names, their texts) -> facts, more than are wanted.
      known: whether texts may state them already.
      fingerprint: of the files at a path that they are read from; None: they need none.
    """

    forms: dict[str, Forms]
    read: Callable[[GivenFacts, tuple[str, ...], Texts], Iterator[Fact]]
    known: bool
    fingerprint: Callable[[str], str] | None = None


def _of_maps(given: GivenFacts, languages: tuple[str, ...], texts: Texts) -> Iterator[Fact]:
    return kgeography.read(given.path, languages)


def _of_libraries(given: GivenFacts, languages: tuple[str, ...], texts: Texts) -> Iterator[Fact]:
    drawn = invented_library.names(4 * given.number)
    used = invented_library.used(drawn, itertools.chain.from_iterable(map(texts, languages)))
    return invented_library.facts([name for name in drawn if name not in used], languages)


KINDS = {
    "kgeography": FactKind(NATURAL, _of_maps, known=True, fingerprint=kgeography.fingerprint),
    "library": FactKind(CODE, _of_libraries, known=False),
}


SECTION = Section(
    {
        "kind": Key(Choice("kind of facts", KINDS), REQUIRED, "capitals of places, or functions of invented libraries"),
        "path": Key(Text("a folder", filled=True), None, "for capitals: the folder of KGeography's data"),
        "number": Key(Number(low=40, high=10_000, whole=True), 200, "how many facts at most"),
        "shared": Key(
            Number(above=0, below=1),
            0.4,
            "the share that is stated in all languages; the others are in the first one alone",
        ),
        "times": Key(
            Number(low=1, high=10_000, whole=True), 40, "how often each is stated in a language's training text"
        ),
    },
    none_is_absent=True,
)


def checked(given: dict, languages: tuple[str, ...], at: Place) -> GivenFacts:
    """What a manifest's section, which SECTION has checked, says of facts in these languages, the primary first.

    Raises:
      UserError: it takes a path or must have none, there is one language only, or one that facts are not written in.
    """
    facts = GivenFacts(**SECTION.complete(given))
    kind = KINDS[facts.kind]
    if (kind.fingerprint is None) != (facts.path is None):
        raise at.error(f"has the kind '{facts.kind}', which {'has no' if facts.path else 'must have a'} `path`.")
    if unwritten := [name for name in languages if name not in kind.forms]:
        raise at.error(
            f"of the kind '{facts.kind}' are written in {', '.join(kind.forms)}, not in {', '.join(unwritten)}."
        )
    if len(languages) < 2:
        raise at.error(
            "are asked in another language than they are stated in; the corpus must have two languages or more."
        )
    return facts


def forms_of(kind: str, language: str) -> Forms:
    """How facts are stated in a language; a `KeyError` where nobody has said so."""
    return KINDS[kind].forms[language]


def draw(given: GivenFacts, languages: Sequence[Language], texts: Texts) -> Stated:
    """The facts of a corpus.

    Args:
      languages: the primary first.
      texts: called with a language's name.

    Raises:
      UserError: there are too few, or the files that they are read from cannot be read.
    """
    names = tuple(language.name for language in languages)
    read = list(KINDS[given.kind].read(given, names, texts))
    fitting = fit(read)
    found = grouped(fitting, given.number)
    facts = tuple(fact for group in found for fact in group)
    leaked = {language.name: set() for language in languages[1:]}
    if KINDS[given.kind].known:
        leaked = {language.name: _already_stated(facts, language, texts) for language in languages[1:]}
    shared = [one for one in divided(found, given.shared, set().union(*leaked.values())) for _ in range(CHOICES)]
    _check_enough(given, shared)
    counts = {name: len(there) for name, there in leaked.items()}
    return Stated(given.kind, given.times, facts, tuple(shared), len(read) - len(fitting), counts)


def _already_stated(facts: tuple[Fact, ...], language: Language, texts: Texts) -> set[int]:
    """The numbers of the facts whose both names stand in a paragraph of a language's text."""
    pairs = [(fact.names[language.name].subject, fact.names[language.name].answer) for fact in facts]
    return Mentions(pairs, language.script).found(texts(language.name))


def _check_enough(given: GivenFacts, shared: list[bool]) -> None:
    parts = {"in all languages": sum(shared), "in the first language alone": len(shared) - sum(shared)}
    for where, number in parts.items():
        if number < FEWEST_QUESTIONS:
            raise UserError(
                f"of the facts ({given.kind}) {number} can be stated {where}, and {FEWEST_QUESTIONS} are the least; give "
                "another facts.number or facts.shared, or fewer languages."
            )
