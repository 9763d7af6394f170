"""The manifest of a corpus: languages, their sources and the cleaning, from YAML, JSON, a config file or --source.

It is plain data. `check` turns what a user wrote into the complete form that everything else reads: every key is there,
None or false where nothing was said.
"""

import json
import re
import runpy
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import yaml

from babel_jax.errors import UserError, one_line, unknown_name
from babel_jax.languages import LANGUAGES

FORMATS = ("auto", "files", "jsonl", "parquet", "huggingface", "tfds")
COLUMNS = ("content", "path", "project", "licence", "language")
NEAR_DUPLICATES = {"threshold": 0.7, "by": "rensa"}
NEAR_DUPLICATES_BY = ("rensa", "datatrove")
# The steps of the cleaning in their order, and what they are unless told otherwise (licence: see `check`).
DEFAULT_CLEANING = {
    "licence": False,
    "size": True,
    "encoding": True,
    "generated": True,
    "vendored": True,
    "exact_duplicates": True,
    "near_duplicates": NEAR_DUPLICATES,
    "decontaminate": [],
    "redact": True,
    "quality": True,
}
CLEANING = tuple(DEFAULT_CLEANING)
DEFAULT_VOCAB_SIZE, DEFAULT_MAX_LENGTH, DEFAULT_PROMPTS_PER_PAIR = 16384, 1024, 50
# SPDX identifiers of licences that ask for little more than their notice to be kept, and of two dedications to the public.
PERMISSIVE = (
    *("0BSD", "AFL-2.1", "AFL-3.0", "Apache-1.1", "Apache-2.0", "Artistic-2.0", "BlueOak-1.0.0", "BSD-1-Clause"),
    *(
        "BSD-2-Clause",
        "BSD-2-Clause-Patent",
        "BSD-3-Clause",
        "BSD-3-Clause-Clear",
        "BSD-4-Clause",
        "BSL-1.0",
        "CC0-1.0",
    ),
    *("ECL-2.0", "FSFAP", "FTL", "HPND", "ICU", "ISC", "JasPer-2.0", "Libpng", "libpng-2.0", "MIT", "MIT-0", "MIT-CMU"),
    *("MIT-Modern-Variant", "MulanPSL-2.0", "MS-PL", "NCSA", "NTP", "OLDAP-2.8", "OpenSSL", "PHP-3.01", "PostgreSQL"),
    *("PSF-2.0", "Python-2.0", "Ruby", "Unicode-3.0", "Unicode-DFS-2016", "Unlicense", "UPL-1.0", "W3C", "X11", "Zlib"),
    *("zlib-acknowledgement", "ZPL-2.1"),
)
_TABLE_SUFFIX = re.compile(
    r"(\.tar)?(\.(tar|tgz|tbz2|txz|zip|whl|jsonl|ndjson|json|parquet|arrow))?(\.(gz|bz2|xz|zst))?$", re.IGNORECASE
)
_WILDCARD = re.compile(r"[*?\[]")


def load(file: str | Path) -> dict:
    """Reads a manifest: .yaml, .json, or a .py whose `get_config()` returns one as a dict (FILE.py:ARGUMENT hands it that).

    Raises:
      UserError: no such file, not of these kinds, or `check` finds something in it.
    """
    name, *argument = str(file).split(":", 1) if ".py:" in str(file) else [str(file)]
    path = Path(name)
    if not path.is_file():
        raise UserError(f"there is no manifest {path}; configs/corpora/ holds those of this project.")
    if path.suffix == ".py":
        config = runpy.run_path(str(path)).get("get_config")
        if config is None:
            raise UserError(f"{path} has no get_config(); write one that returns the manifest.")
        raw = config(*argument)
        if hasattr(raw, "to_dict"):  # it would put the primary language anywhere
            raise UserError(
                f"get_config() of {path} returns a ConfigDict, which sorts the languages; return a plain dict."
            )
    elif path.suffix in (".yaml", ".yml", ".json"):
        raw = _parse(path)
    else:
        raise UserError(f"cannot tell what {path} is; a manifest is a .yaml, a .json or a .py file.")
    return check(raw, str(path))


def of_sources(paths: dict[str, list[str | Path]], *, vocab_size: int, max_length: int) -> dict:
    """The manifest of `--source NAME=DIR[,DIR…]`: language -> folders, files, URLs (as text); all else as by default."""
    languages = {language: {"sources": [{"path": str(path)} for path in places]} for language, places in paths.items()}
    return check({"vocab_size": vocab_size, "max_length": max_length, "languages": languages}, "--source")


def check(raw: dict, where: str) -> dict:
    """The complete manifest that `raw` stands for; `check` of a complete one is itself.

    Local paths become absolute (they are seen from the current folder, file:// is local), sources get their names. One
    of "vocab_size" and "tokenizer" is None. clean.licence is false or a list: unless it is said, the permissive licences
    where any source tells its own. clean.near_duplicates is false or a table, clean.decontaminate a list. A column that is
    not named is None, but for content ("content").

    Args:
      where: what errors call the manifest.

    Raises:
      UserError: unknown key, language, step or format, a wrong type, no language, no source; one line that names the key.
    """
    at = _Place(where)
    keys = ("vocab_size", "tokenizer", "max_length", "languages", "clean", "prompts_per_pair")
    raw = at.table(raw, keys)
    if raw.get("tokenizer") is not None and raw.get("vocab_size") is not None:
        raise at.error("has both vocab_size and tokenizer; a given tokenizer has its size, so take one of them out.")
    tokenizer = at.get(raw, "tokenizer", str)
    given = at.get(raw, "languages", dict, required=True)
    languages = {name: _language(name, value, at / "languages" / name) for name, value in given.items()}
    if not languages:
        raise (at / "languages").error("is empty; name at least one language and its sources.")
    sources = [source for language in languages.values() for source in language["sources"]]
    return {
        "vocab_size": None if tokenizer else at.integer(raw, "vocab_size", DEFAULT_VOCAB_SIZE, 1),
        "tokenizer": _absolute(tokenizer, at / "tokenizer") if tokenizer else None,
        "max_length": at.integer(raw, "max_length", DEFAULT_MAX_LENGTH, 1),
        "languages": languages,
        "clean": _clean(at.get(raw, "clean", dict, {}), at / "clean", any(map(_tells_licence, sources))),
        "prompts_per_pair": at.integer(raw, "prompts_per_pair", DEFAULT_PROMPTS_PER_PAIR, 0),
    }


def _language(name, raw, at):
    if name not in LANGUAGES:
        raise at.error(str(unknown_name("language", str(name), LANGUAGES)))
    raw = at.table(raw, ("max_megabytes", "sources"))
    given = at.get(raw, "sources", list, required=True)
    if not given:
        raise (at / "sources").error("is empty; name a folder, an archive or a data file, or take the language out.")
    sources = [_source(source, at / "sources" / number) for number, source in enumerate(given)]
    _name(sources, at)
    return {"max_megabytes": at.positive(raw, "max_megabytes"), "sources": sources}


def _source(raw, at):
    raw = at.table({"path": raw} if isinstance(raw, str) else raw, _SOURCE_KEYS)
    path = at.get(raw, "path", str, required=True)
    if not path.strip():
        raise (at / "path").error("is empty; name a folder, an archive or a data file.")
    form = at.get(raw, "format", str, "auto")
    if form not in FORMATS:
        raise (at / "format").error(str(unknown_name("format", form, FORMATS)))
    licence = raw.get("licence")
    if licence is not None:
        licence = _strings([licence] if isinstance(licence, str) else licence)
        if not licence:
            raise (at / "licence").error("must be the name of a licence, or a list of names.")
    name = at.get(raw, "name", str)
    if name is not None and (not name.strip() or "/" in name):
        raise (at / "name").error(f"is '{name}'; a source's name leads the paths of its documents: no '/', not empty.")
    columns = at.get(raw, "columns", dict, {})
    (at / "columns").table(columns, COLUMNS)
    columns = {key: (at / "columns").get(columns, key, str) for key in COLUMNS}
    language = at.get(raw, "language", str)
    if language is not None and columns["language"] is None:
        raise (at / "language").error("says which rows count, but columns.language does not say which column tells.")
    return {
        "path": _absolute(path, at / "path"),
        "format": form,
        "name": name,
        "licence": licence,
        "columns": columns | {"content": columns["content"] or "content"},
        "language": language,
    }


_SOURCE_KEYS = ("path", "format", "name", "licence", "columns", "language")


def _name(sources, at):
    """Gives each source the name it lacks: the last part of its path, with a number where that is taken."""
    taken = Counter(source["name"] for source in sources if source["name"])
    if twice := [name for name, count in taken.items() if count > 1]:
        raise (at / "sources").error(f"has two sources named '{twice[0]}'; a name leads the paths of one source alone.")
    for source in sources:
        if source["name"]:
            continue
        base = name = _last_part(source["path"])
        if not base:
            raise (at / "sources").error(f"has the path {source['path']}, which names nothing; give the source a name.")
        number = 1
        while name in taken:
            number += 1
            name = f"{base}-{number}"
        taken[name] += 1
        source["name"] = name


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


def _tells_licence(source):
    return bool(source["licence"] or source["columns"]["licence"])


def _clean(raw, at, licences_told):
    at.table(raw, CLEANING, "cleaning step")
    steps = {step: default if raw.get(step) is None else raw[step] for step, default in DEFAULT_CLEANING.items()}
    if licences_told and raw.get("licence") is None:
        steps["licence"] = True
    if steps["licence"] is not False:
        steps["licence"] = _strings(PERMISSIVE if steps["licence"] is True else steps["licence"])
        if not steps["licence"]:
            raise (at / "licence").error("must be true, false or a list of licences (SPDX identifiers).")
    steps["near_duplicates"] = _near_duplicates(steps["near_duplicates"], at / "near_duplicates")
    steps["decontaminate"] = _strings([] if steps["decontaminate"] is False else steps["decontaminate"])
    if steps["decontaminate"] is None:
        raise (at / "decontaminate").error("must be false or a list of suites, such as mxeval:FOLDER.")
    for step, value in steps.items():
        if DEFAULT_CLEANING[step] is True and not isinstance(value, bool):
            raise (at / step).error(f"must be true or false, not {value!r}.")
    return steps


def _near_duplicates(value, at):
    if isinstance(value, bool):
        return dict(NEAR_DUPLICATES) if value else False
    value = at.table(value, tuple(NEAR_DUPLICATES))
    threshold, by = at.positive(value, "threshold", NEAR_DUPLICATES["threshold"]), at.get(value, "by", str, "rensa")
    if threshold > 1:
        raise (at / "threshold").error(f"is {threshold}; the share of common shingles is at most 1.")
    if by not in NEAR_DUPLICATES_BY:
        raise (at / "by").error(str(unknown_name("method", by, NEAR_DUPLICATES_BY)))
    return {"threshold": threshold, "by": by}


def _strings(value) -> list[str] | None:
    """The list of texts that `value` is; None if it is none."""
    fits = isinstance(value, list | tuple) and all(isinstance(item, str) and item.strip() for item in value)
    return list(value) if fits else None


class _Place:
    """A place in a manifest, for errors: `file: languages.python.sources.0`."""

    def __init__(self, where: str, path: tuple = ()):
        self.where, self.path = where, path

    def __truediv__(self, key):
        return _Place(self.where, (*self.path, str(key)))

    def __str__(self):
        return f"{self.where}: {'.'.join(self.path)}" if self.path else self.where

    def error(self, message: str) -> UserError:
        return UserError(f"{self}{' ' if message.startswith(('is ', 'has ', 'must ', 'says ')) else ': '}{message}")

    def table(self, value, keys: Iterable[str], kind: str = "key") -> dict:
        if not isinstance(value, dict):
            raise self.error(f"must be a table of {', '.join(keys)}, not {_shown(value)}.")
        for key in value:
            if key not in keys:
                raise self.error(str(unknown_name(kind, str(key), keys)))
        return value

    def get(self, table: dict, key: str, kind: type, default=None, required: bool = False):
        value = table.get(key)
        if value is None:
            if required:
                raise self.error(f"must have the key '{key}'.")
            return default
        if kind is list and isinstance(value, tuple):  # a config file may write either
            value = list(value)
        if not isinstance(value, kind):
            names = {str: "text", dict: "a table", list: "a list"}
            raise (self / key).error(f"must be {names[kind]}, not {_shown(value)}.")
        return value

    def integer(self, table: dict, key: str, default: int, least: int) -> int:
        value = default if table.get(key) is None else table[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise (self / key).error(f"must be a whole number of at least {least}, not {_shown(value)}.")
        return value

    def positive(self, table: dict, key: str, default: float | None = None) -> float | None:
        value = default if table.get(key) is None else table[key]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if value is not None and not (number and 0 < value <= sys.float_info.max):
            raise (self / key).error(f"must be a number above 0, not {_shown(value)}.")
        return value


def _shown(value) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


class _Loader(yaml.SafeLoader):
    """YAML that refuses a key given twice, of which the first would be lost; one that `<<` brings may be given anew."""

    def construct_mapping(self, node, deep=False):
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        _once((self.construct_object(key, True), None) for key in own)
        return super().construct_mapping(node, deep=True)


def _once(pairs):
    table = {}
    for key, value in pairs:
        if key in table:
            raise ValueError(f"the key '{key}' is there twice")
        table[key] = value
    return table


def _parse(path):
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return json.loads(text, object_pairs_hook=_once)
        return yaml.load(text, _Loader)
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"cannot read the manifest {path} ({one_line(error)}); correct it and run again.") from error
