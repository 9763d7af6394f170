"""The manifest of a corpus: languages, their sources and the cleaning, from YAML, JSON, a config file or --source.

`check` turns what a user wrote, plain data, into a `Manifest`: every key is there, None or false where the user left it out.
"""

import dataclasses
import re
from collections import Counter
from pathlib import Path

from ml_collections import ConfigDict

from babel_jax.common import files, python_files, strict_yaml
from babel_jax.common.errors import UserError, one_line, unknown_name
from babel_jax.common.schema import REQUIRED, Choice, Either, Key, Many, Number, Place, Section, Table, Text
from babel_jax.corpus import fact_sources
from babel_jax.corpus.fact_sources import GivenFacts
from babel_jax.corpus.licences import PERMISSIVE
from babel_jax.corpus.readers.formats import FORMATS
from babel_jax.corpus.rules import LICENCE, LICENCES, NEAR_DUPLICATES, RULES, Cleaning, NearDuplicates
from babel_jax.languages import registry
from babel_jax.languages.language import Language

DATA_SUFFIXES = (".yaml", ".yml", ".json")  # of a manifest that is no Python
COLUMNS = {  # what a column of a table holds
    "content": "a file's text",
    "path": "its path",
    "project": "its project, such as the name of a repository",
    "licence": "its licence, or a list of them",
    "language": "its language",
    "key": "of a paragraph in a natural language, its key: the same in all translations",
}
_NAME = Text("a name", filled=True)
_LANGUAGE_NAME = Text(f"one of {', '.join(registry.LANGUAGES)} or a language of your own", filled=True)
SOURCE = Section(
    {
        "path": Key(Text("a folder, an archive or a data file", filled=True), REQUIRED, "where the files are"),
        "format": Key(Choice("format", FORMATS), "auto", "the format of the files"),
        "name": Key(_NAME, None, "what leads the paths of its documents (without it: the last part of its path)"),
        "licence": Key(Either((LICENCE, LICENCES)), None, "the licence of all that it holds"),
        "columns": Key(
            Section(
                {
                    name: Key(_NAME, "content" if name == "content" else None, f"the column that holds {what}")
                    for name, what in COLUMNS.items()
                },
                none_is_absent=True,
            ),
            {},
            "what the columns of a table are called",
        ),
        "language": Key(_NAME, None, "the rows of a table that count, as its column `columns.language` says it"),
    },
    none_is_absent=True,
)
LANGUAGE = Section(
    {
        "definition": Key(
            registry.Definition(), None, "for a language that the package does not have: the file that describes it"
        ),
        "nouns": Key(
            Text("a file", filled=True),
            None,
            "a natural language's nouns, one a line, or WordNet's index.noun: for dictionaries that do not mark theirs",
        ),
        "max_megabytes": Key(Number(above=0), None, "how much is kept at most, drawn evenly"),
        "sources": Key(
            Many(Either((Text("a path", filled=True), SOURCE)), least=1), REQUIRED, "where its files come from"
        ),
    },
    none_is_absent=True,
)
DICTIONARY = Section(
    {
        "path": Key(Text("a file", filled=True), REQUIRED, "Ding's text, or the .index of a DICT server's dictionary"),
        "headwords": Key(_NAME, REQUIRED, "the language that it translates from"),
        "translations": Key(_NAME, REQUIRED, "the language that it translates into"),
    }
)
ARMS = ("parallel", "disjoint")
CLEAN = Section({rule.step: rule.key for rule in RULES}, none_is_absent=True)  # the steps in their order
MANIFEST = Section(
    {
        "vocab_size": Key(Number(low=1, whole=True), 16384, "tokens of the vocabulary that is learned"),
        "tokenizer": Key(Text("a file", filled=True), None, "a given tokenizer instead, which has its own size"),
        "max_length": Key(Number(low=1, whole=True), 1024, "tokens that a model sees at once; a row holds one more"),
        "languages": Key(Table(LANGUAGE, _LANGUAGE_NAME, least=1), REQUIRED, "the languages, the primary one first"),
        "clean": Key(CLEAN, {}, "the steps of the cleaning"),
        "arm": Key(
            Choice("arm", ARMS),
            "parallel",
            "of natural languages, whether all are trained on a document that stands in several, or (disjoint) one of them; "
            "what is held out is held out in all",
        ),
        "dictionaries": Key(
            Many(DICTIONARY),
            (),
            "of two natural languages each, for pairs of words that the corpus confirms; also by way of a third language",
        ),
        "facts": Key(
            fact_sources.SECTION,
            None,
            "facts that are written into the training text and asked of a model (without it: none)",
        ),
        "prompts_per_pair": Key(
            Number(low=0, whole=True), 50, "the most call sites of a pair of identifiers that become prompts"
        ),
    },
    none_is_absent=True,
)
_TABLE_SUFFIX = re.compile(
    r"(\.tar)?(\.(tar|tgz|tbz2|txz|zip|whl|jsonl|ndjson|json|parquet|arrow))?(\.(gz|bz2|xz|zst))?$", re.IGNORECASE
)
_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class GivenSource:
    """A source as a manifest names it; see SOURCE. columns: what a column holds -> its name, None where it is not named."""

    path: str
    format: str
    name: str
    licence: tuple[str, ...] | None
    columns: dict[str, str | None]
    language: str | None


@dataclasses.dataclass(frozen=True)
class GivenDictionary:
    """A dictionary as a manifest names it; see DICTIONARY. The languages need not be the manifest's."""

    path: str
    headwords: str
    translations: str


@dataclasses.dataclass(frozen=True)
class GivenLanguage:
    """definition: what the file of the user's own language holds; None for a language of the package. nouns: a file."""

    max_megabytes: float | None
    sources: tuple[GivenSource, ...]
    definition: dict | None = None
    nouns: str | None = None


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What to build of what, complete: see MANIFEST. One of vocab_size and tokenizer is None."""

    vocab_size: int | None
    tokenizer: str | None
    max_length: int
    languages: dict[str, GivenLanguage]
    clean: Cleaning
    prompts_per_pair: int
    arm: str = "parallel"
    dictionaries: tuple[GivenDictionary, ...] = ()
    facts: GivenFacts | None = None

    def record(self) -> dict:
        """As plain data, which `check` takes."""
        record = dataclasses.asdict(self)
        if self.arm == ARMS[0]:
            del record["arm"]
        for key in ("dictionaries", "facts"):  # nor does one without them
            if not getattr(self, key):
                del record[key]
        for given in record["languages"].values():
            for key in ("definition", "nouns"):  # a corpus of the package's programming languages says nothing of them
                if given[key] is None:
                    del given[key]
        return record

    @property
    def natural(self) -> list[str]:
        """Those of its languages that people speak."""
        return [name for name in self.languages if self.language(name).kind == "natural"]

    def language(self, name: str) -> Language:
        """What is known of one of its languages."""
        return language_of(name, self.languages[name].definition, "the manifest")


def load(file: str | Path, **sizes: int) -> Manifest:
    """Reads a manifest: .yaml, .json, or a .py whose `get_config()` returns one as a dict, also as FILE.py:ARGUMENT.

    Args:
      sizes: vocab_size and max_length, which count before what the file says of them.

    Raises:
      UserError: no such file, not of these kinds, or `check` finds something in it.
    """
    if python_files.split_argument(file)[0].endswith(".py"):
        raw = python_files.read(file, "manifest", "configs/corpora/")
        if isinstance(raw, ConfigDict):  # it would put the primary language anywhere
            raise UserError(
                f"get_config() of {file} returns a ConfigDict, which sorts the languages; return a plain dict."
            )
    elif Path(file).suffix in DATA_SUFFIXES:
        raw = _parse(file)
    else:
        raise UserError(f"{file} is not a manifest; a manifest is a .yaml, a .json or a .py file.")
    manifest = check(raw, str(file))
    return check(manifest.record() | sizes, str(file)) if sizes else manifest


def of_sources(paths: dict[str, list[str | Path]], *, vocab_size: int, max_length: int) -> Manifest:
    """The manifest of `--source NAME=DIR[,DIR…]`: language -> folders, files, URLs (as text); all else as by default."""
    languages = {language: {"sources": [{"path": str(path)} for path in places]} for language, places in paths.items()}
    return check({"vocab_size": vocab_size, "max_length": max_length, "languages": languages}, "--source")


def check(raw: dict, where: str) -> Manifest:
    """The complete manifest that `raw` stands for; `check` of the record of a complete one is itself.

    Local paths become absolute (they are seen from the current folder, file:// is local), sources get their names.
    clean.licence: by default the permissive licences if any source names its own. A column that is not named is
    None, but for content ("content").

    Args:
      where: what errors call the manifest.

    Raises:
      UserError: unknown key, language, step or format, a wrong type, no language, no source; one line that names the key.
    """
    at = Place(where)
    given = MANIFEST.check(raw, at)
    if "tokenizer" in given and "vocab_size" in given:
        raise at.error("has both vocab_size and tokenizer; a given tokenizer has its size, so take one of them out.")
    languages = {name: _language(name, value, at / "languages" / name) for name, value in given["languages"].items()}
    sources = [source for language in languages.values() for source in language.sources]
    steps = _clean(given.get("clean", {}), any(map(_names_licence, sources)))
    dictionaries = tuple(
        _dictionary(one, at / "dictionaries" / number) for number, one in enumerate(given.get("dictionaries", ()))
    )
    facts = given.get("facts") and fact_sources.checked(given["facts"], tuple(languages), at / "facts")
    known = {"languages": languages, "clean": steps, "dictionaries": dictionaries, "facts": facts}
    manifest = Manifest(**MANIFEST.complete(given) | known)
    if facts and facts.path:
        manifest = dataclasses.replace(
            manifest, facts=dataclasses.replace(facts, path=_absolute(facts.path, at / "facts" / "path"))
        )
    if not manifest.tokenizer:
        return manifest
    return dataclasses.replace(manifest, vocab_size=None, tokenizer=_absolute(manifest.tokenizer, at / "tokenizer"))


def language_of(name: str, definition: dict | None, where: str) -> Language:
    """A language by what a manifest or a corpus says of it. `where`: what errors call either."""
    if definition is None:
        return registry.language(name)
    return registry.record(name, definition, Place(where) / "languages" / name / "definition")


def _language(name, given, at) -> GivenLanguage:
    sources = [_source(source, at / "sources" / number) for number, source in enumerate(given["sources"])]
    definition = given.get("definition")
    if definition is not None:
        definition = registry.definition(name, definition, at / "definition")
    elif name not in registry.LANGUAGES:
        unknown = unknown_name("language", name, registry.LANGUAGES)
        raise at.error(f"{unknown} A language of your own has a `definition`, the file that describes it.")
    known = LANGUAGE.complete(given)
    nouns = known["nouns"] and _absolute(known["nouns"], at / "nouns")
    return GivenLanguage(known["max_megabytes"], tuple(_named(sources, at / "sources")), definition, nouns)


def _dictionary(given, at) -> GivenDictionary:
    dictionary = GivenDictionary(**given)
    if dictionary.headwords == dictionary.translations:
        raise at.error(f"translates {dictionary.headwords} into itself; name two languages.")
    return dataclasses.replace(dictionary, path=_absolute(dictionary.path, at / "path"))


def _source(given, at) -> GivenSource:
    """The source, still without a name if it has none of its own."""
    source = GivenSource(**SOURCE.complete({"path": given} if isinstance(given, str) else given))
    if source.columns["key"] is None:  # of paragraphs, which tables of code do not have
        del source.columns["key"]
    if "/" in (source.name or ""):
        raise (at / "name").error(f"is '{source.name}'; a source's name leads the paths of its documents: no '/'.")
    if source.language is not None and source.columns["language"] is None:
        raise (at / "language").error("says which rows count, but columns.language does not say which column holds it.")
    licence = (source.licence,) if isinstance(source.licence, str) else source.licence and tuple(source.licence)
    return dataclasses.replace(source, path=_absolute(source.path, at / "path"), licence=licence)


def _named(sources: list[GivenSource], at):
    """Each source with a name; the one it lacks is the last part of its path, with a number where that is taken."""
    taken = Counter(source.name for source in sources if source.name)
    if twice := [name for name, count in taken.items() if count > 1]:
        raise at.error(f"has two sources named '{twice[0]}'; a name leads the paths of one source alone.")
    for source in sources:
        if source.name:
            yield source
            continue
        base = name = _last_part(source.path)
        if not base:
            raise at.error(f"has the path {source.path}, which names nothing; give the source a name.")
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken[name] += 1
        yield dataclasses.replace(source, name=name)


def _last_part(path):
    """a/code.tar.gz -> code; a/data/*.parquet -> data."""
    parts = [part for part in path.partition("://")[-1 if "://" in path else 0].split("/") if part]
    fixed = next((i for i, part in enumerate(parts) if _WILDCARD.search(part)), len(parts))
    return (_TABLE_SUFFIX.sub("", parts[fixed - 1]) or parts[fixed - 1]) if fixed else ""


def _absolute(path, at):
    path = path.removeprefix("file://")
    try:
        return path if "://" in path else str(Path(path).expanduser().absolute())
    except RuntimeError as error:
        raise at.error(f"is {path}, whose ~ stands for no user's folder; write the folder's name.") from error


def _names_licence(source: GivenSource) -> bool:
    return bool(source.licence or source.columns["licence"])


def _clean(given, names_licences: bool) -> Cleaning:
    steps = Cleaning(**CLEAN.complete(given))
    licence, near = steps.licence, steps.near_duplicates
    if licence is True or (names_licences and "licence" not in given):
        licence = PERMISSIVE
    if near is not False:
        near = NearDuplicates(**NEAR_DUPLICATES.complete({} if near is True else near))
    return dataclasses.replace(
        steps,
        licence=licence and tuple(licence),
        near_duplicates=near,
        decontaminate=tuple(steps.decontaminate or ()),
    )


def _parse(file):
    hint = "configs/corpora/ holds those of this project."
    if not (path := files.path(file)).exists():
        raise UserError(f"there is no manifest {file}; {hint}")
    text = files.read_text(file, hint)
    try:
        return files.parse_json(text) if path.suffix == ".json" else strict_yaml.parse(text)
    except strict_yaml.ERRORS as error:
        raise UserError(f"cannot read the manifest {file} ({one_line(error)}); correct it and run again.") from error
