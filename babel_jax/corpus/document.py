"""A source file as every step of a build sees it."""

from typing import NamedTuple

PARAGRAPH = "\n\n"  # between two paragraphs


def ordinals(count: int) -> tuple[str, ...]:
    """Keys of the paragraphs of a document that has no names for them: 1/3, 2/3, 3/3.

    A translation has the same keys if it has as many paragraphs, and none in common if not: which belong together is unknown.
    To be given before any paragraph is dropped.
    """
    return tuple(f"{number}/{count}" for number in range(1, count + 1))


class Document(NamedTuple):
    """`path` begins with the name of its source; `size` is in bytes, -1 for what must not be read.

    content: None if it is larger than `places.LARGEST_FILE` (it is never loaded), unreadable, or an unsafe entry of an archive.
    project: the one that a table names; "" elsewhere (then `projects.Projects` derives it from the path). Of a natural
      language it is SOURCE/DOCUMENT, the same for a text and its translations.
    keys: of a natural language, what each paragraph is called, one for each of `paragraphs`: the same in all translations, and
      no other's in the document. () where paragraphs have no names.
    """

    path: str
    content: bytes | None
    size: int
    licences: tuple[str, ...] = ()
    project: str = ""
    keys: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        return self.content.decode()

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """What stands between its blank lines; a reader of a natural language puts PARAGRAPH between paragraphs."""
        return tuple(self.text.split(PARAGRAPH)) if self.content else ()

    def holding(self, paragraphs: dict[str, str]) -> "Document":
        """The same document with these paragraphs, by their keys and in this order. `size` stays: what was read."""
        return self._replace(content=PARAGRAPH.join(paragraphs.values()).encode(), keys=tuple(paragraphs))
