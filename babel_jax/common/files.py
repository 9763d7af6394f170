"""Writing files so that nothing is ever half there, on disks and in buckets; reading what users give, and refusing the rest.

What a user's file holds is taken for nothing until it is read here: a name is not yet a path (`safe_name`), bytes are not
yet text (`read_text`), and text is not yet JSON of the shape that is wanted (`parse_json`, `json_lines`).
"""

import contextlib
import dataclasses
import gzip
import hashlib
import io
import json
import math
import os
import re
import shutil
import stat
import tempfile
import types
import typing
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path

from babel_jax.common.errors import UserError, one_line, printable, quoted, shortened

LONGEST_FILE_NAME, LONGEST_PATH = 255, 4096  # bytes, of Linux and of object stores or less
LONGEST_SAFE_NAME = 120  # bytes; leaves room for what is put before and behind it
LARGEST_UNPACKED = 4 << 30  # bytes of a .gz that are read into memory
MOST_DIGITS = 20  # of a whole number in JSON: a uint64 has as many
_MARKS = {b"\xff\xfe\0\0": "UTF-32", b"\0\0\xfe\xff": "UTF-32", b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
_UMASK = os.umask(0)
os.umask(_UMASK)


def path(place: str | os.PathLike):
    """`place` as a path that can be joined and read: an absolute `pathlib.Path`, or an `epath.Path` of gs:// or s3://.

    `pathlib.Path("gs://bucket")` alone would lose a slash, so everything that may be in a bucket comes through here.
    Common to both kinds are `/`, name, parent, exists, is_dir, iterdir, glob (without `**`), mkdir, unlink, read_text,
    read_bytes; writing is `write_atomic`.

    Raises:
      UserError: it is empty, too long, or has a character that no name of a file can have; or it is of another scheme.
    """
    text = os.fspath(place)
    _check_path(text)
    if re.match(r"(\w+):/", text) is None:
        return Path(place).absolute()
    from babel_jax.common import buckets  # not for every command: it loads TensorStore

    return buckets.path(text)


def _check_path(text: str) -> None:
    if not text:
        raise UserError("a path is empty; name a file or a folder.")
    try:
        parts = text.encode().split(b"/")
    except UnicodeEncodeError:
        raise UserError(f"the path {text} is not UTF-8; rename that file or folder.") from None
    if "\0" in text:
        raise UserError(f"the path {text} holds a NUL character, which no file's name can; correct it.")
    if max(map(len, parts)) > LONGEST_FILE_NAME or len(text.encode()) > LONGEST_PATH:
        raise UserError(
            f"the path {shortened(text, 200)} is too long: a name has at most {LONGEST_FILE_NAME} bytes, and all of them "
            f"{LONGEST_PATH}; give a shorter one."
        )


def safe_name(name: object, what: str) -> str:
    """`name` (from a file or an argument), if it may be a part of a path and of a table on a terminal.

    Args:
      what: what it is the name of, for the error.

    Raises:
      UserError: it is not text, is empty, leads elsewhere ("..", "/"), is too long, or cannot be shown.
    """
    fits = isinstance(name, str) and name.strip() and name.strip(".") and name.isprintable() and "/" not in name
    if not fits or len(name.encode()) > LONGEST_SAFE_NAME:
        raise UserError(
            f"{what} is {quoted(name)}; as the name of a file it must be of 1 to {LONGEST_SAFE_NAME} bytes of printable "
            "text without '/', and not only points."
        )
    return name


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
            # A device would be replaced by a file, for everyone.
            if target.exists() and (kind := _no_plain_file(target)):
                raise UserError(f"cannot write {target}: it is {kind}; name a file.")
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


def read_bytes(place: str | os.PathLike, hint: str = "check the path.") -> bytes:
    """The content of a file that a user has named.

    Raises:
      UserError: it is not there, is a folder, a pipe or a device (which might never end), or may not be read; with `hint`.
    """
    with opened(place, hint) as file:
        return file.read()


@contextlib.contextmanager
def opened(place: str | os.PathLike, hint: str = "check the path."):
    """A file that a user has named, open to be read as bytes; raises as `read_bytes`, also for what fails while it is read."""
    file = path(place)
    try:
        if is_local(file) and (kind := _no_plain_file(file)):
            raise UserError(f"cannot read {place}: it is {kind}; {hint}")
        with file.open("rb") as content:
            yield content
    except OSError as error:
        raise UserError(f"cannot read {place} ({error.strerror or error}); {hint}") from error


def _no_plain_file(place: Path) -> str:
    """What stands at a path on a disk, if not a file; "" for a file."""
    mode = place.stat().st_mode
    if stat.S_ISDIR(mode):
        return "a folder"
    return "" if stat.S_ISREG(mode) else "not a plain file, but a pipe, a socket or a device"


def read_text(place: str | os.PathLike, hint: str = "check the path.") -> str:
    """The text of a file in UTF-8, without a byte order mark; else as `read_bytes`."""
    return decoded(read_bytes(place, hint), place, hint)


def decoded(content: bytes, place, hint: str) -> str:
    """Bytes of a file as text, without a byte order mark. `UserError`: they are not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = next((name for mark, name in _MARKS.items() if content.startswith(mark)), None)
        reason = f"it is {mark}; save it as UTF-8" if mark else f"its byte {error.start + 1} is not UTF-8"
        raise UserError(f"cannot read {place} as text ({reason}); {hint}") from None


def parse_json(text: str | bytes, shape=object):
    """The value of a JSON text, of a shape (see `fault`).

    Raises:
      ValueError: it is not JSON, or none that a program can rely on: NaN, a number that is too large for any use, a key
        given twice, a thousand brackets in each other; or it has another shape. Its message is short.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=once,
            parse_constant=_no_number,
            parse_int=_whole_number,
            parse_float=_finite_number,
        )
    except RecursionError:
        raise ValueError("too many brackets stand in each other") from None
    if wrong := fault(value, shape):
        raise ValueError(wrong)
    return value


def _refuse_half_characters(line: str, value) -> None:
    """ValueError for a text that UTF-8 cannot hold: half of a surrogate pair, written as an escape."""
    if "\\ud" in line.lower():
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"it holds half a character, {printable(error.object[error.start])}") from None


def once(pairs: list[tuple]) -> dict:
    """The table of these pairs. ValueError: a key is there twice, and one of its values would be lost."""
    table = dict(pairs)
    if len(table) < len(pairs):
        seen = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise ValueError(f"the key {quoted(twice)} is there twice")
    return table


def _no_number(text: str):
    raise ValueError(f"{text} is not a number in JSON; say null")


def _whole_number(text: str) -> int:
    if len(text) > MOST_DIGITS + 1:
        raise ValueError(f"it has a whole number of {len(text)} digits")
    return int(text)


def _finite_number(text: str) -> float:
    if math.isinf(value := float(text)):
        raise ValueError(f"{shortened(text, 40)} is too large for a number")
    return value


def read_json(place: str | os.PathLike, shape=object, mend: str = "check the path, or delete the file if it is broken"):
    """Reads a JSON file of a shape, see `fault`.

    Raises:
      UserError: it is missing, broken or of another shape; the error names it and says what is to be done, `mend`.
    """
    text = read_text(place, f"{mend}.")
    try:
        value = parse_json(text)
    except ValueError as error:
        raise UserError(f"cannot read {place} as JSON ({error}); {mend}.") from error
    if wrong := fault(value, shape):
        raise UserError(f"{place} is damaged, or not what should stand there: {wrong}; {mend}.")
    return value


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
    list [shape of each], a table {name: shape} ("name?": it may be absent; others are free), a table {str: shape of each}, a
    range of whole numbers or a frozenset of texts.
    """
    if isinstance(shape, frozenset):
        return None if isinstance(value, str) and value in shape else f"{where} is {quoted(value)}"
    if isinstance(shape, range):
        return None if type(value) is int and value in shape else f"{where} is {quoted(value)}"
    if isinstance(shape, tuple):
        return None if any(fault(value, one) is None for one in shape) else f"{where} is {quoted(value)}"
    kind = shape if isinstance(shape, type) else type(shape)
    numbers = {int: int, float: int | float}
    right = isinstance(value, numbers.get(kind, kind)) and (kind not in numbers or not isinstance(value, bool))
    if not right or kind is float and not math.isfinite(value):
        return f"{where} is {quoted(value)}"
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


def shape_of(kind):
    """The shape (see `fault`) of a type as JSON holds it: of a dataclass a table, whose fields with a default may be absent.

    Types are those of JSON, and of them `T | None`, `dict[str, T]`, `tuple[T, ...]`, `list[T]`, `Literal` and dataclasses.
    """
    if dataclasses.is_dataclass(kind):
        return {field.name + "?" * _has_default(field): shape_of(field.type) for field in dataclasses.fields(kind)}
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return frozenset(of)
    if origin in (types.UnionType, typing.Union):
        return tuple(map(shape_of, of))
    if origin is dict:
        return {str: shape_of(of[1])}
    if origin in (list, tuple):
        return [shape_of(of[0])]
    return list if kind is tuple else kind


def _has_default(field: dataclasses.Field) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def typed(kind, value):
    """A JSON value, which has the shape of the type, as that type; what a dataclass has no field for is left out."""
    if dataclasses.is_dataclass(kind):
        there = [field for field in dataclasses.fields(kind) if field.name in value]
        return kind(**{field.name: typed(field.type, value[field.name]) for field in there})
    origin, of = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        return typed(next(one for one in of if fault(value, shape_of(one)) is None), value)
    if origin is dict:
        return {name: typed(of[1], one) for name, one in value.items()}
    if origin in (list, tuple):
        return origin(typed(of[0], one) for one in value)
    return tuple(value) if kind is tuple else value


def read_record(place: str | os.PathLike, kind: type, mend: str = "check the path, or delete the file if it is broken"):
    """A JSON file as a dataclass, see `shape_of`. Raises `UserError` as `read_json`."""
    return typed(kind, read_json(place, shape_of(kind), mend))


def json_lines(content: bytes, place, hint: str) -> Iterator[tuple[int, dict]]:
    """(its number, the object) of every line of a JSON Lines file that is not blank; packed with gzip or not.

    Args:
      content: of the file.
      place: its path, for errors.
      hint: what to do if it cannot be read.

    Raises:
      UserError: it is damaged or not text; a line that is not a JSON object, as `FILE, line N: …`.
    """
    text = decoded(_unpacked(content, place, hint), place, hint)
    for number, line in enumerate(text.split("\n"), 1):  # a value may hold other marks of lines
        line = line.strip("\ufeff \t\r")  # a mark stands where files were joined
        if not line:
            continue
        try:
            value = parse_json(line)
            _refuse_half_characters(line, value)
        except ValueError as error:
            ends = isinstance(error, json.JSONDecodeError) and text.endswith(line)
            cut = " (the file ends here: was it cut off?)" if ends else ""
            raise UserError(f"{place}, line {number}: not JSON ({error}){cut}; {hint}") from error
        if not isinstance(value, dict):
            raise UserError(f"{place}, line {number}: {quoted(value)} is not a JSON object; {hint}")
        yield number, value


def whole_lines(content: bytes) -> bytes:
    """What stands before a last line that a crash has torn."""
    return content[: content.rfind(b"\n") + 1]


def records(content: bytes, place, kind: type, mend: str) -> list:
    """The dataclasses in JSON Lines that this program wrote itself.

    Args:
      content: whole lines.
      place: the file, for errors.

    Raises:
      UserError: a line is damaged, as `FILE, line N, is damaged: …; mend.`
    """
    lines, shape = [], shape_of(kind)
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            lines.append(typed(kind, parse_json(line, shape)))
        except ValueError as error:
            raise UserError(f"{place}, line {number}, is damaged: {one_line(error)}; {mend}.") from error
    return lines


def _unpacked(content: bytes, place, hint: str) -> bytes:
    if not os.fspath(place).endswith(".gz") and not content.startswith(b"\x1f\x8b"):
        return content
    try:
        with gzip.open(io.BytesIO(content)) as file:
            unpacked = file.read(LARGEST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"cannot read {place} ({error}); {hint}") from error
    if len(unpacked) > LARGEST_UNPACKED:
        raise UserError(f"{place} is more than {LARGEST_UNPACKED >> 30} GiB when it is unpacked; divide it.")
    return unpacked


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
