"""Writing files so that nothing is ever half there, on disks and in buckets."""

import contextlib
import hashlib
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from babel_jax.errors import UserError

_UMASK = os.umask(0)
os.umask(_UMASK)


def path(place: str | os.PathLike):
    """`place` as a path that can be joined and read: an absolute `pathlib.Path`, or an `epath.Path` of gs:// or s3://.

    `pathlib.Path("gs://bucket")` alone would lose a slash, so everything that may be in a bucket comes through here.
    Common to both kinds are `/`, name, parent, exists, is_dir, iterdir, glob (without `**`), mkdir, unlink, read_text,
    read_bytes; writing is `write_atomic`.
    """
    scheme = re.match(r"(\w+):/", os.fspath(place))
    if scheme is None:
        return Path(place).absolute()
    from babel_jax import buckets  # not for every command: it loads TensorStore

    return buckets.path(os.fspath(place))


def is_local(place) -> bool:
    """True on a file system of this machine, false in a bucket; of a path that `path` made."""
    return isinstance(place, Path)


def remove_tree(place) -> None:
    """Removes a folder and all in it; one that is not there is fine."""
    if is_local(place):
        shutil.rmtree(place, ignore_errors=not place.exists())
    else:
        place.rmtree(missing_ok=True)


def write_atomic(target: str | os.PathLike, content: bytes | str) -> None:
    """Writes the whole of `content` to `target`: a reader sees the old file or the new one, never a part.

    Raises:
      UserError: the file cannot be written (disk full, permission lost, bucket unreachable); what stood there before is
        intact.
    """
    target = path(target)
    if isinstance(content, str):
        content = content.encode()
    try:
        if is_local(target):
            _replace(target, content)
        else:
            target.write_bytes(content)  # an object appears whole, or not at all
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror or error}. Nothing was lost; free space, or mend the permissions or the "
            "connection, and run again."
        ) from error


@contextlib.contextmanager
def whole(target: Path) -> Iterator[Path]:
    """The name to write a large file under, on a disk; it becomes `target` when it is whole and nothing was raised."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")  # several hosts may write the same file
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _replace(target: Path, content: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # as any other new file, not for this user alone
            os.replace(file.name, target)
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise


def write_json(target: str | os.PathLike, value) -> None:
    """Writes `value` as readable JSON, atomically. NaN is refused: JSON has none; say null."""
    write_atomic(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(place: str | os.PathLike):
    """Reads a JSON file; a missing or broken one is a `UserError` that names it."""
    try:
        return json.loads(path(place).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {place} as JSON ({error}); check the path, or delete the file if it is broken."
        ) from error


def differences(old, new, where: str = "") -> Iterator[tuple[str, object, object]]:
    """(key, old, new) of all that differs in two JSON values, keys in order; "a.b" is a key of a table within a table."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield where, old, new


def sha256(place: Path) -> str:
    """The SHA-256 of a file on a disk, 64 hex digits."""
    with place.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_hash(value) -> str:
    """The first 16 hex digits of the SHA-256 of `value` (bytes, or anything that JSON can hold)."""
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(value).hexdigest()[:16]
