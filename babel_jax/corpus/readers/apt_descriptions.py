"""What Debian's packages are, in a language: apt's lists Translation-XX, of which a package is a document.

A list has, of each package, `Package`, the hash of its English description and the description: a title, and behind it
paragraphs that lines with a dot divide. Lines that are indented further are lists and pictures, and are left out.
"""

from collections.abc import Iterator

from babel_jax.common.errors import UserError
from babel_jax.corpus.document import ordinals
from babel_jax.corpus.readers import places
from babel_jax.corpus.readers.places import LARGEST_FILE
from babel_jax.corpus.readers.prose_files import prose_document
from babel_jax.corpus.readers.reader import Reader
from babel_jax.corpus.readers.unpacking import unpacked

NAME = "translation-"


def _cut(source, place):
    for name, _ in places.files_below(place, ("",)):
        if name.rpartition("/")[2].lower().startswith(NAME):
            yield "apt_descriptions", name


def _stanzas(file) -> Iterator[list[str]]:
    """The lines of each package. Raises a ValueError where one is too long, or no text."""
    lines, size = [], 0
    while raw := file.readline(LARGEST_FILE + 1):
        size += len(raw)
        if size > LARGEST_FILE:
            raise ValueError(f"a package of more than {LARGEST_FILE} bytes")
        if raw.strip():
            lines.append(raw.decode().rstrip("\n"))
        else:
            yield lines
            lines, size = [], 0
    yield lines


def paragraphs(lines: list[str]) -> tuple[str, list[str]]:
    """(name, title and paragraphs) of a package's lines; none of what is no package."""
    name, found, parts, is_text = "", [], [], False
    for line in lines:
        if line.startswith("Package:"):
            name = line.partition(":")[2].strip()
        elif line.startswith("Description-") and not line.startswith("Description-md5:"):
            found.append(line.partition(":")[2].strip())
            is_text = True
        elif not is_text or not line.startswith(" "):
            is_text = False
        elif line.strip() == "." or line.startswith("  "):
            found.append(" ".join(parts))
            parts = []
        else:
            parts.append(line.strip())
    found.append(" ".join(parts))
    return name, [text for text in found if text]


def _read(source, place, name):
    file = f"{place}/{name}"
    try:
        with unpacked(file) as opened:
            for lines in _stanzas(opened):
                package, texts = paragraphs(lines)
                if package and texts:
                    keyed = dict(zip(ordinals(len(texts)), texts, strict=True))
                    path = source.relative(place), package
                    yield prose_document(source, path, f"{source.name}/{package}", keyed)
    except ValueError as error:
        raise UserError(f"{file} is damaged ({error}); get it again, or take it out of the manifest.") from error


READER = Reader("apt_descriptions", "apt_descriptions", (), _cut, _read, inside=lambda folder: [folder])
