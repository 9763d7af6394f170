"""Writing files so that nothing is ever half there, and the one error a user is meant to see."""

import difflib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

_UMASK = os.umask(0)
os.umask(_UMASK)


class UserError(Exception):
    """A mistake or a circumstance that the user can mend. Its message is one line that says what to do.

    `python -m babel_jax` prints it as `error: …` and exits with 2; any other exception is a bug of ours.
    """


def write_atomic(path: str | os.PathLike, content: bytes | str) -> None:
    """Writes the whole of `content` to `path`: a reader sees the old file or the new one, never a part.

    Raises:
      UserError: the file cannot be written (disk full, permission lost); what stood there before is intact.
    """
    path = Path(path)
    if isinstance(content, str):
        content = content.encode()
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o666 & ~_UMASK)  # as any other new file, not for this user alone
        os.replace(temporary, path)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror}. Nothing was lost; free space or mend the permissions and run again."
        ) from error


def write_json(path: str | os.PathLike, value) -> None:
    """Writes `value` as readable JSON, atomically. NaN is refused: JSON has none; say null."""
    write_atomic(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: str | os.PathLike):
    """Reads a JSON file; a missing or broken one is a `UserError` that names it."""
    try:
        return json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"cannot read {path} as JSON ({error}); check the path, or delete the file if it is broken."
        ) from error


def content_hash(value) -> str:
    """The first 16 hex digits of the SHA-256 of `value` (bytes, or anything that JSON can hold)."""
    if not isinstance(value, bytes):
        value = json.dumps(value, sort_keys=True).encode()
    return hashlib.sha256(value).hexdigest()[:16]


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist: it names the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return UserError(f"unknown {kind} '{name}'; {hint}")
