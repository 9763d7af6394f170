"""Source files in folders and archives -> documents, streamed in a fixed order; and which project a file belongs to."""

import contextlib
import os
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from lzma import LZMAError
from pathlib import Path
from typing import NamedTuple

from babel_jax.errors import UserError
from babel_jax.languages import Language

LARGEST_FILE = 1_000_000  # bytes; of a larger file only the size is needed (clean.py drops it)


class Document(NamedTuple):
    """A source file. `path` begins with the name of the folder or archive it was found in; `size` is in bytes."""

    path: str
    content: bytes | None  # None: it could not be read, or it is larger than LARGEST_FILE
    size: int


def documents(paths: list[Path], language: Language) -> Iterator[Document]:
    """Every file of a language below folders and inside .tar, .tar.gz, .tar.xz, .tar.bz2 and .zip archives.

    Folders are walked in sorted order, archives in their own; links and hidden folders are left out. One file at a
    time is in memory.

    Raises:
      UserError: a path does not exist or is no readable archive, or there is no file of the language at all.
    """
    return _opened(paths, language, with_content=True)


def listing(paths: list[Path], language: Language) -> Iterator[Document]:
    """The same files without their contents."""
    return _opened(paths, language, with_content=False)


def _opened(paths, language, with_content):
    found = False
    for path in map(Path, paths):
        if path.is_dir():
            files = _folder(path, language.extensions, with_content)
        elif path.is_file():
            files = _archive(path, language.extensions, with_content)
        else:
            raise UserError(f"there is no file or folder {path}; give folders or archives of {language.title} files.")
        for document in files:
            found = True
            yield document
    if not found:
        where = ", ".join(map(str, paths)) or "an empty list of folders"
        raise UserError(
            f"no {language.title} file ({', '.join(language.extensions)}) in {where}; give a folder that has some."
        )


def _folder(root, extensions, with_content):
    name = root.resolve().name
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(entry for entry in folders if not entry.startswith("."))
        for file in sorted(files):
            path = Path(folder, file)
            if not file.lower().endswith(extensions) or path.is_symlink() or not path.is_file():
                continue
            content, size = None, path.stat().st_size
            if with_content and size <= LARGEST_FILE:
                with contextlib.suppress(PermissionError):
                    content = path.read_bytes()
            # A file name need not be UTF-8; what cannot be shown is replaced.
            shown = os.fsencode(f"{name}/{path.relative_to(root).as_posix()}").decode("utf-8", "replace")
            yield Document(shown, content, size)


def _archive(path, extensions, with_content):
    name = path.name.removesuffix(path.suffix).removesuffix(".tar")
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    if entry.filename.lower().endswith(extensions):
                        wanted = with_content and entry.file_size <= LARGEST_FILE
                        content = archive.read(entry) if wanted else None
                        yield Document(f"{name}/{entry.filename}", content, entry.file_size)
            return
        with tarfile.open(path, "r|*") as archive:
            for entry in archive:
                archive.members = []  # tarfile remembers every entry: memory would grow with the archive
                if entry.isfile() and entry.name.lower().endswith(extensions):
                    wanted = with_content and entry.size <= LARGEST_FILE
                    content = archive.extractfile(entry).read() if wanted else None
                    yield Document(f"{name}/{entry.name.removeprefix('./')}", content, entry.size)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, LZMAError, EOFError, RuntimeError) as error:
        raise UserError(
            f"cannot read {path} as an archive ({error}); give a folder, a .tar, .tar.gz, .tar.xz or a .zip."
        ) from error


class Projects:
    """Which project a file belongs to: what is not divided between training and validation.

    A project is the shallowest folder (or file) below the given folders that holds at most `share` of the language's
    bytes. With many projects side by side that is the first folder of the path; where one project is most of the
    corpus (a standard library) it is divided into its own folders, for else there would be nothing to hold out.
    """

    def __init__(self, files: Iterator[Document], share: float):
        """Reads a listing once. Holds one number a folder."""
        bytes_of_folder = Counter()
        self.files = self.bytes = 0
        for path, _, size in files:
            self.files += 1
            self.bytes += size
            bytes_of_folder.update(dict.fromkeys(_folders(path), size))
        self._bytes_of_folder = bytes_of_folder
        self._largest = share * self.bytes

    def project(self, path: str) -> str:
        """The project of a file of the listing."""
        return next((f for f in _folders(path) if self._bytes_of_folder[f] <= self._largest), path)


def _folders(path):
    """The folders above a file, from the outermost inwards: a/b/c.x -> a, a/b."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]
