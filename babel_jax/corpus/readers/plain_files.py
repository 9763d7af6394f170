"""Source files in folders and git checkouts, and single ones."""

import itertools
from collections.abc import Iterator

from babel_jax.corpus.readers import places
from babel_jax.corpus.readers.reader import Reader, groups, to_read


def source_files(source, folder: str, first: str = "", end: str | None = None) -> Iterator[tuple[str, int]]:
    """(name in the folder, size) of the language's files: of a git checkout, those that git knows."""
    files = places.files_below(folder, source.language.extensions, first, end)
    if not places.is_checkout(folder):
        return files
    tracked = places.tracked(folder)
    return (file for file in files if file[0] in tracked)


def _cut_folder(source, place):
    files = groups((name, to_read(size)) for name, size in source_files(source, place))
    if places.is_url(place):  # to list it again for each piece would take too long
        yield from (("files", *names) for names in files)
    elif starts := [names[0] for names in files]:
        yield from (("folder", *ends) for ends in itertools.pairwise(["", *starts[1:], None]))


def cut_files(source, files: list[str]) -> Iterator[tuple[str, tuple]]:
    """(folder, part) of single files that stand one after another in a source."""
    root = source.root if source.root != source.path else source.path.rpartition("/")[0]
    for names in groups((place[len(root) + 1 :], to_read(places.size(place))) for place in files):
        yield root, ("files", *names)


def _folder_documents(source, place, first, end):
    return _read(source, place, *(name for name, _ in source_files(source, place, first, end)))


def _read(source, root, *names):
    for name in names:
        place, content = f"{root}/{name}", None
        try:
            size = places.size(place)
            if size <= places.LARGEST_FILE:
                with places.opened(place) as file:
                    content = file.read(places.LARGEST_FILE + 1)
                size = len(content)
        except (PermissionError, FileNotFoundError):
            content, size = None, 0
        yield source.document((source.relative(root), name), content, size)


FOLDER = Reader("folder", "files", (), _cut_folder, _folder_documents)
FILES = Reader("files", "files", None, cut_files, _read)
