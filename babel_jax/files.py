"""Writing files so that nothing is ever half there, on disks and in buckets."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from babel_jax.errors import UserError, one_line

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


def read_json(place: str | os.PathLike, shape=object, mend: str = "check the path, or delete the file if it is broken"):
    """Reads a JSON file of a shape, see `fault`.

    Raises:
      UserError: it is missing, broken or of another shape; the error names it and says what is to be done, `mend`.
    """
    try:
        found = json.loads(path(place).read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"cannot read {place} as JSON ({one_line(error)}); {mend}.") from error
    if wrong := fault(found, shape):
        raise UserError(f"{place} is damaged, or not what should stand there: {wrong}; {mend}.")
    return found


def remove(place) -> None:
    """Removes a file; one that is not there is fine.

    Raises:
      UserError: it cannot be removed, or is a folder.
    """
    try:
        place.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot remove {place} ({error.strerror or error}); remove it by hand.") from error


def fault(value, shape, where: str = "it") -> str | None:
    """What about a JSON value is not of a shape, in a few words; None: nothing.

    A shape is a type (of JSON's; `float` is any finite number, `object` anything), a tuple of shapes one of which fits, a
    list [shape of each], a table {name: shape} ("name?": it may be absent; others are free) or a table {str: shape of each}.
    """
    if isinstance(shape, tuple):
        return None if any(fault(value, one) is None for one in shape) else f"{where} is {short(value)}"
    kind = shape if isinstance(shape, type) else type(shape)
    numbers = {int: int, float: int | float}
    right = isinstance(value, numbers.get(kind, kind)) and (kind not in numbers or not isinstance(value, bool))
    if not right or kind is float and not math.isfinite(value):
        return f"{where} is {short(value)}"
    if isinstance(shape, list):
        return next(filter(None, (fault(one, shape[0], f"{where}[{i}]") for i, one in enumerate(value))), None)
    if isinstance(shape, dict):
        each = {f"{name}?": shape[str] for name in value} if str in shape else shape
        for name, one in each.items():
            optional, name = name.endswith("?"), name.removesuffix("?")
            if name not in value:
                if not optional:
                    return f"{where} has no '{name}'"
            elif wrong := fault(value[name], one, f"{where}.{name}" if where != "it" else name):
                return wrong
    return None


def short(value) -> str:
    """A JSON value as an error shows it."""
    text = json.dumps(value)
    return text if len(text) < 100 else f"{text[:80]}…"


def shape_of(record: type) -> dict:
    """The shape (see `fault`) of a dataclass of JSON's types as a table; fields with a default may be absent."""
    return {
        field.name + ("" if field.default is dataclasses.MISSING else "?"): field.type
        for field in dataclasses.fields(record)
    }


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
