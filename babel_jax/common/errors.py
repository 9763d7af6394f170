"""The one error a user is meant to see: one line of printable text, always."""

import difflib
import errno
import os
import reprlib
from collections.abc import Iterable

# What the system says of the machine and not of a file: disks and tables that are full.
_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)
LONGEST_MESSAGE = 1000  # characters; of a longer one the middle is left out
LONGEST_NAME = 100  # of a name or value that a message quotes among other things
LONGEST_REASON = 300  # of what a library says, likewise

# What pyproject.toml asks for only as an extra: the name that is imported -> the extra.
EXTRAS = {
    "ahocorasick_rs": "corpus",
    "array_record": "corpus",
    "datatrove": "corpus",
    "detect_secrets": "corpus",
    "lxml": "corpus",
    "regex": "corpus",
    "rensa": "corpus",
    "tensorflow_datasets": "corpus",
    "matplotlib": "report",
}


class UserError(Exception):
    """A mistake or a circumstance that the user can mend. Its message is one line that says what to do.

    `python -m babel_jax` prints it as `error: …` and exits with 2; any other exception is a bug of ours. What a message
    quotes (a name, a path, what a library said) may hold line breaks, a terminal's escape sequences or half a character:
    here they become what Python's source would write for them.
    """

    def __init__(self, message: object):
        super().__init__(shortened(printable(message), LONGEST_MESSAGE))

    def __reduce__(self):  # another process gets the message as it is, whatever a subclass is made of
        return UserError, self.args


def refusal(error: BaseException) -> UserError | None:
    """The `UserError` that an exception amounts to: itself, or one for a file that cannot be used, memory that is short or a
    package that is not installed, where no nearer place knew what to do about it. None: it is a bug of ours."""
    if isinstance(error, UserError):
        return error
    if isinstance(error, OSError) and (error.filename or error.errno in _MACHINE):
        named = isinstance(error.filename, str | bytes | os.PathLike)
        place = f"{os.fsdecode(error.filename)}: " if named else ""
        return UserError(f"{place}{error.strerror}; mend the path, its permissions or the disk, and run again.")
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in EXTRAS:
        extra = EXTRAS[package]
        return UserError(
            f"{package} is not installed; run: pip install 'babel_jax[{extra}]', from a clone: '.[{extra}]'."
        )
    if isinstance(error, MemoryError):
        return UserError(f"there is too little memory ({one_line(error)}); ask for less at once, and run again.")
    return None


def printable(text: object) -> str:
    """`text` in one line that a terminal shows as it is: control, formatting and unpaired characters as escapes."""
    text = str(text)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def shortened(text: str, longest: int) -> str:
    """`text`, or if it has more than so many characters its beginning and its end."""
    if len(text) <= longest:
        return text
    end = longest // 3
    return f"{text[: longest - end - 3]} … {text[-end:]}"


def quoted(value: object) -> str:
    """A value of a JSON file as a message quotes it: a list or an object only by its kind."""
    kinds = {dict: "an object", list: "a list", tuple: "a list", bool: str(value).lower(), type(None): "null"}
    return kinds.get(type(value)) or shown(value)


def shown(value: object) -> str:
    """A value of Python as a message quotes it: its repr in one line, cut to what one wants to read."""
    cut = reprlib.Repr()
    cut.maxstring = cut.maxother = cut.maxlong = LONGEST_NAME
    try:
        text = " ".join(cut.repr(value).split())  # a ConfigDict's has lines
    except Exception:  # a repr may do anything, and numbers of more than 4300 digits have none
        text = f"a {type(value).__name__}"
    return shortened(text, LONGEST_NAME)


def written(number: float) -> str:
    """A number as a message gives a bound: 1000, 0.5, 1e+18."""
    return str(int(number)) if abs(number) < 1e15 and number == int(number) else f"{number:g}"


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist: it names the nearest one that does."""
    known, name = sorted(known), shortened(str(name), LONGEST_NAME)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return UserError(f"unknown {kind} '{name}'; {hint}")


def one_line(error: BaseException | str) -> str:
    """What an error of a library says, or what a program printed: the beginning of it, in one line."""
    return printable(" ".join(str(error).split()))[:LONGEST_REASON] or type(error).__name__
