"""Capitals of places, as the maps of KDE's KGeography name them, with their names in other languages.

It is GPL-2+ (Debian: kgeography-data); a corpus keeps names of it, and which belong together.
"""

import gettext
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from babel_jax.common.errors import UserError, one_line
from babel_jax.common.files import content_hash, sha256
from babel_jax.corpus.fact_sentences import Names
from babel_jax.corpus.stated_facts import Fact

PRIMARY = "en"  # the language of the maps
MAPS, TRANSLATION = "kgeography/*.kgm", "locale/{}/LC_MESSAGES/kgeography.mo"
# A name that reads the same wherever it stands: words, no brackets, no alternatives.
_PLAIN = re.compile(r"[^\W\d_]+(?:[ '’.-]{1,2}[^\W\d_]+){0,3}")


def folder_of(path: str) -> Path:
    """The folder below a path that holds `kgeography/` and `locale/`: usr/share of an unpacked package, or the path itself.

    Raises:
      UserError: there is none.
    """
    for folder in (Path(path), Path(path, "usr", "share")):
        if any(folder.glob(MAPS)):
            return folder
    raise UserError(
        f"there are no maps of KGeography in {path}; unpack the package kgeography-data, which launch/fetch_natural_corpus.sh "
        "fetches, and name its folder."
    )


def fingerprint(path: str) -> str:
    """Of all that facts are read from."""
    folder = folder_of(path)
    files = [*folder.glob(MAPS), *folder.glob(TRANSLATION.format("*"))]
    return content_hash(sorted([file.relative_to(folder).as_posix(), sha256(file)] for file in files))


def read(path: str, languages: tuple[str, ...]) -> Iterator[Fact]:
    """The places of the maps with their capitals, in an order of their own; `languages`: the primary first.

    A fact with a name that is not plain in one of them is passed over.

    Raises:
      UserError: there are no maps, one cannot be read, or they have no names in a language.
    """
    folder = folder_of(path)
    catalogues = {name: None if name == PRIMARY else _catalogue(folder, name) for name in languages}
    for file in sorted(folder.glob(MAPS)):
        for subject, answer in _divisions(file):
            names = {
                name: Names(*(_translated(catalogue, file.name, text) for text in (subject, answer)))
                for name, catalogue in catalogues.items()
            }
            if all(_PLAIN.fullmatch(part) for each in names.values() for part in (each.subject, each.answer)):
                yield Fact(file.stem, names)


def _divisions(file: Path) -> Iterator[tuple[str, str]]:
    """The places of a map that have a capital."""
    try:
        root = ElementTree.parse(file).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise UserError(f"cannot read the map {file} ({one_line(error)}); put back a copy of it.") from error
    for division in root.iter("division"):
        name, capital = ((division.findtext(tag) or "").strip() for tag in ("name", "capital"))
        if name and capital and division.findtext("ignore") != "yes":
            yield name, capital


def _catalogue(folder: Path, language: str) -> gettext.GNUTranslations:
    file = folder / TRANSLATION.format(language)
    try:
        with file.open("rb") as opened:
            return gettext.GNUTranslations(opened)
    except FileNotFoundError as error:
        raise UserError(f"there is no {file}: KGeography has no names in '{language}'; leave it out.") from error
    except (OSError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise UserError(f"cannot read {file} ({one_line(error)}); put back a copy of it.") from error


def _translated(catalogue: gettext.GNUTranslations | None, context: str, name: str) -> str:
    return name if catalogue is None else catalogue.pgettext(context, name).strip()
