"""A source of a manifest as the readers see it: its own names, columns and licences."""

import dataclasses
import re

from babel_jax.corpus.document import Document
from babel_jax.corpus.manifest import Manifest
from babel_jax.corpus.readers import places
from babel_jax.languages.language import Language

_WILDCARD = re.compile(r"[*?\[]")


@dataclasses.dataclass(frozen=True)
class Source:
    """`root`: what stands before a place's own name; `wanted`: how rows of the language call it.

    columns: what a column holds -> its name, of those that are named.
    """

    language: Language
    name: str
    path: str
    root: str
    format: str
    licences: tuple[str, ...]
    columns: dict[str, str]
    wanted: frozenset[str]

    @classmethod
    def of(cls, manifest: Manifest, name: str, number: int) -> "Source":
        language, given = manifest.language(name), manifest.languages[name].sources[number]
        path = places.absolute(given.path) if places.is_url(given.path) else given.path.rstrip("/")
        root = path
        if _WILDCARD.search(path) and (places.is_url(path) or not places.exists(path)):
            root = path[: _WILDCARD.search(path).start()].rpartition("/")[0]
        return cls(
            language=language,
            name=given.name,
            path=path,
            root=root,
            format=given.format,
            licences=tuple(given.licence or ()),
            columns={role: column for role, column in given.columns.items() if column},
            wanted=frozenset(
                called.casefold() for called in ([given.language] if given.language else [name, language.title])
            ),
        )

    def relative(self, place: str) -> str:
        """What distinguishes a place of this source from its others: "" where there is only one."""
        return place[len(self.root) :].strip("/")

    def document(self, path: tuple[str, ...], content, size, licences=(), project="") -> Document:
        """The document of these parts of a path, without its content if that is too large."""
        content = content if size <= places.LARGEST_FILE else None
        return Document(self.shown(*path), content, size, tuple(map(_utf8, licences or self.licences)), _utf8(project))

    def shown(self, *parts: str) -> str:
        """A path of documents: the source's name, then the parts that are not empty."""
        return _utf8("/".join((self.name, *(part.strip("/") for part in parts if part.strip("/")))))


def _utf8(text):
    """A text as UTF-8 can hold it: names of files need not be."""
    return text.encode("utf-8", "replace").decode()
