"""Kinds of command-line arguments: what `type=` of a parser's argument is. Each says in its error what it would take."""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

from babel_jax.common import files, machine
from babel_jax.common.errors import UserError, shortened, written
from babel_jax.common.limits import LARGEST_STEP

JOBS_A_CORE = 16  # more would only wait for each other, and each holds memory


def integer(low: int, high: int = 2**31 - 1) -> Callable[[str], int]:
    """A whole number from `low` to `high`."""
    return _number(low, high, True, _digits)


def count(low: int, high: int) -> Callable[[str], int]:
    """A whole number from `low` to `high` that may be written like 2e9."""
    return _number(low, high, True, float)


def number(low: float, high: float, above: bool = False) -> Callable[[str], float]:
    """A number from `low` to `high`; `above`: and not `low` itself."""
    return _number(low, high, False, float, above)


def jobs() -> Callable[[str], int]:
    """How many processes go side by side."""
    return integer(1, JOBS_A_CORE * machine.cores())


def _digits(text):
    return int(text) if len(text) < 100 else math.inf  # Python refuses to read some thousands of digits


def _number(low, high, whole, read, above=False):
    wanted = f"a {'whole ' if whole else ''}number {'above' if above else 'of at least'} {written(low)}"

    def convert(text: str):
        try:
            value = read(text)
        except ValueError:
            value = None
        wrong = value is None or math.isnan(value) or value < low or (above and value == low)
        if wrong or (whole and math.isfinite(value) and value != int(value)):
            shown = text if value is not None else repr(text)
            raise argparse.ArgumentTypeError(f"is {shortened(shown, 40)}; give {wanted}")
        if value > high:
            raise argparse.ArgumentTypeError(f"is {shortened(text, 40)}; give at most {written(high)}")
        return int(value) if whole else value

    return convert


def integers(low: int, *words: str) -> Callable[[str], tuple[int, ...] | str]:
    """Whole numbers from `low` on with commas between them, in order, each once; or one of `words` as it is."""
    one = integer(low, LARGEST_STEP)

    def convert(text: str):
        if text in words:
            return text
        parts = text.split(",")
        if word := next((word for word in words if word in parts), None):
            raise argparse.ArgumentTypeError(f"is {shortened(text, 40)}; `{word}` stands alone")
        try:
            numbers = tuple(map(one, parts))
        except argparse.ArgumentTypeError as error:
            or_word = f", or {' or '.join(words)}" if words else ""
            raise argparse.ArgumentTypeError(f"{error}; write several with commas: 2,3{or_word}") from None
        return tuple(dict.fromkeys(numbers))

    return convert


def steps(text: str) -> tuple[int, ...]:
    """Steps of checkpoints with commas between them; -1 for `last`."""
    numbers = integers(0, "last")(text)
    return (-1,) if numbers == "last" else numbers


def names(text: str) -> tuple[str, ...]:
    """Names with commas between them, each once."""
    listed = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not listed:
        raise argparse.ArgumentTypeError("names nothing; give a name, or several with commas between them")
    return listed


def place(text: str) -> str:
    """A path on a disk or in a bucket; `~` is one's home, as in a shell."""
    if not text:
        raise argparse.ArgumentTypeError("is empty; name a file or a folder")
    if text.startswith("~"):
        try:
            text = str(Path(text).expanduser())
        except RuntimeError:
            raise argparse.ArgumentTypeError(f"is {text}, and nobody here has that name; write ./{text}") from None
    files.path(text)  # refuses what can be none
    return text


def local(text: str) -> Path:
    """A path on a disk of this machine."""
    local_place = place(text)
    if not files.is_local(files.path(local_place)):
        raise UserError(f"'{text}' is in a bucket; give a folder or a file on a disk of this machine.")
    return Path(local_place)
