"""What a config, a manifest or a mixture file may hold: declared once, and checked in one place.

A declaration is a tree of kinds (`Number`, `Text`, `Section`, …). A section gives each of its keys a kind, a default and a
meaning, so what refuses a wrong value, what fills in the others and what explains or tries out a key all read the same
lines (`walk`). `check` names the key and what it must be, in one line.

Why not a library: configs are ml_collections' ConfigDicts, whose sections hold only what they change. ConfigDict itself
knows types alone, takes None for any of them, and has no ranges; pydantic and msgspec know ranges but want a class for every
section, beside the ConfigDict; JSON Schema takes NaN for a number and true for 1.0.
"""

import dataclasses
import numbers
import re
import shutil
import textwrap
import warnings
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from ml_collections import ConfigDict

from babel_jax.common.errors import UserError, one_line, shown, unknown_name, written
from babel_jax.common.limits import LARGEST_SEED

REQUIRED = object()  # in place of a default: the key must be given
MOST_WHOLE = 2**31 - 1  # what a device counts with
MOST = 1e300
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Kind(Protocol):
    """What a value must be. `wants` completes "it must be …"."""

    @property
    def wants(self) -> str: ...

    def takes(self, value) -> bool:
        """Whether the value has this kind's shape, whatever it holds."""

    def check(self, value, at: "Place"):
        """The value as plain data (dict, tuple, int, float, str, bool).

        Raises:
          UserError: it is something else, or out of range; names the key below `at`.
        """


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a value stands, for errors: `common.optimizer.b1`, or `file: languages.python.sources.0`."""

    where: str = ""
    path: tuple[str, ...] = ()

    def __truediv__(self, key) -> "Place":
        return Place(self.where, (*self.path, _name(key)))

    def __str__(self):
        return ": ".join(part for part in (self.where, ".".join(self.path)) if part) or "the config"

    def error(self, message: str) -> UserError:
        return UserError(f"{self}{' ' if message.startswith(('is ', 'has ', 'must ', 'says ')) else ': '}{message}")

    def wrong(self, value, wants: str) -> UserError:
        return self.error(f"must be {wants}, not {shown(value)}.")

    def unknown_key(self, key, known: Iterable[str]) -> UserError:
        if self.where:
            return self.error(str(unknown_name("key", _name(key), known)))
        prefix = "".join(f"{part}." for part in self.path)
        return unknown_name("config key", f"{prefix}{_name(key)}", [f"{prefix}{name}" for name in known])


TOP = Place()  # of a config


@dataclasses.dataclass(frozen=True)
class Number:
    """A number within bounds, never NaN or infinite.

    Attributes:
      low, high: the least and the most; above, below: what it must not reach.
      whole: an integer, unless `exponents`, which takes 2e9 for one.
      also: values beyond the bounds with a meaning of their own, such as 0 for "never".
    """

    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    whole: bool = False
    exponents: bool = False
    also: tuple[float, ...] = ()

    @property
    def wants(self) -> str:
        other = "".join(f"{written(value)} or " for value in self.also)
        noun = f"{other}a whole number" if self.whole else f"{other}a number"
        if self.low is not None and self.high is not None:
            return f"{noun} from {written(self.low)} to {written(self.high)}"
        named = (("of at least", self.low), ("above", self.above), ("below", self.below), ("of at most", self.high))
        bounds = " and ".join(f"{words} {written(bound)}" for words, bound in named if bound is not None)
        return f"{noun} {bounds}" if bounds else noun

    def takes(self, value) -> bool:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)

    def check(self, value, at: Place) -> int | float:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        integer = isinstance(value, numbers.Integral)
        most = self.high if self.high is not None else MOST_WHOLE if self.whole and not self.exponents else MOST
        fits = (
            value <= most  # NaN is not
            and (self.low is None or value >= self.low)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and (not self.whole or integer or (self.exponents and float(value).is_integer()))
        )
        if not fits and not (value in self.also and (integer or not self.whole)):
            beyond = self.high is None and value > most
            raise at.wrong(value, f"{self.wants} and at most {written(most)}" if beyond else self.wants)
        return int(value) if integer and abs(value) < 2**63 else float(value)  # longer ones are not numbers in JSON


SEED = Number(low=0, high=LARGEST_SEED, whole=True)


@dataclasses.dataclass(frozen=True)
class Flag:
    """True or false, or only one of them."""

    values: tuple[bool, ...] = (True, False)

    @property
    def wants(self) -> str:
        return " or ".join(str(value).lower() for value in self.values)

    def takes(self, value) -> bool:
        return isinstance(value, bool) and value in self.values

    def check(self, value, at: Place) -> bool:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        return value


@dataclasses.dataclass(frozen=True)
class Anything:
    """What is kept and not read."""

    wants = "anything"

    def takes(self, value) -> bool:
        return True

    def check(self, value, at: Place):
        return value


@dataclasses.dataclass(frozen=True)
class Text:
    """Text of one line; `filled`: not empty; `lines`: of any number of lines, with whatever is in them."""

    wants: str = "text"
    filled: bool = False
    lines: bool = False

    def takes(self, value) -> bool:
        return isinstance(value, str)

    def check(self, value, at: Place) -> str:
        if not self.takes(value) or (self.filled and not value.strip()):
            raise at.wrong(value, self.wants)
        if not self.lines and _UNPRINTABLE.search(value):
            raise at.wrong(value, f"{self.wants} without control characters")
        return str(value)


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few names."""

    noun: str
    names: Iterable[str]

    @property
    def wants(self) -> str:
        return f"one of {', '.join(self.names)}"

    def takes(self, value) -> bool:
        return isinstance(value, str)

    def check(self, value, at: Place) -> str:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        if value not in self.names:
            raise at.error(str(unknown_name(self.noun, _name(value), self.names)))
        return str(value)


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A regular expression of Python."""

    wants = "a regular expression"

    def takes(self, value) -> bool:
        return isinstance(value, str)

    def check(self, value, at: Place) -> str:
        text = Text(self.wants).check(value, at)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # "[[": it will mean something else one day
                re.compile(text)
        except (re.error, RecursionError, OverflowError, Warning) as error:
            raise at.error(f"must be {self.wants}, and {shown(text)} is not one: {one_line(error)}.") from error
        return text


@dataclasses.dataclass(frozen=True)
class Many:
    """A list or tuple; `once`: nothing stands in it twice."""

    of: Kind
    least: int = 0
    once: bool = False

    @property
    def wants(self) -> str:
        return f"a list{f' of at least {self.least}' if self.least else ''}, each {self.of.wants}"

    def takes(self, value) -> bool:
        return isinstance(value, list | tuple)

    def check(self, value, at: Place) -> tuple:
        if not self.takes(value) or len(value) < self.least:
            raise at.wrong(value, self.wants)
        items = tuple(self.of.check(item, at / number) for number, item in enumerate(value))
        if self.once and len(set(items)) < len(items):
            twice = next(item for number, item in enumerate(items) if item in items[:number])
            raise at.error(f"has {shown(twice)} twice; give each once.")
        return items


@dataclasses.dataclass(frozen=True)
class Table:
    """Values of one kind by names that the user gives."""

    of: Kind
    name: Kind = Text("a name", filled=True)
    least: int = 0

    @property
    def wants(self) -> str:
        return f"a table{f' of at least {self.least}' if self.least else ''}, each {self.of.wants}"

    def takes(self, value) -> bool:
        return isinstance(value, dict | ConfigDict)

    def check(self, value, at: Place) -> dict:
        if not self.takes(value) or len(value) < self.least:
            raise at.wrong(value, self.wants)
        checked = {}
        for key, item in _plain(value).items():
            key = self.name.check(key, at / key)
            if "." in key:  # a ConfigDict cannot hold it
                raise at.error(rf"has the name {shown(key)}; names have no dots (in a regular expression, write \S).")
            checked[key] = self.of.check(item, at / key)
        return checked


@dataclasses.dataclass(frozen=True)
class Either:
    """What the first of the kinds takes that takes the value's shape."""

    kinds: tuple[Kind, ...]

    @property
    def wants(self) -> str:
        return " or ".join(kind.wants for kind in self.kinds)

    def takes(self, value) -> bool:
        return any(kind.takes(value) for kind in self.kinds)

    def check(self, value, at: Place):
        for kind in self.kinds:
            if kind.takes(value):
                return kind.check(value, at)
        raise at.wrong(value, self.wants)


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a section. `default`: `REQUIRED` where it must be given; of a section, that of its own keys."""

    kind: Kind
    default: Any
    meaning: str


@dataclasses.dataclass(frozen=True)
class Section:
    """Keys with a kind each, any of which may be left out but those that are `REQUIRED`.

    `none_is_absent`: a key that is None counts as left out.
    """

    keys: dict[str, Key]
    none_is_absent: bool = False

    @property
    def wants(self) -> str:
        names = list(self.keys)
        return f"a table of {', '.join(names if len(names) <= 7 else [*names[:5], '…'])}"

    def takes(self, value) -> bool:
        return isinstance(value, dict | ConfigDict)

    def check(self, value, at: Place = TOP) -> dict:
        if not self.takes(value):
            raise at.wrong(value, self.wants)
        checked = {}
        for key, item in _plain(value).items():
            if not isinstance(key, str) or key not in self.keys:
                raise at.unknown_key(key, self.keys)
            if item is not None or not self.none_is_absent:
                checked[key] = self.keys[key].kind.check(item, at / key)
        for key, about in self.keys.items():
            if about.default is REQUIRED and key not in checked:
                raise at.error(f"must have the key '{key}': {about.meaning}.")
        return checked

    def complete(self, checked: dict) -> dict:
        """What `check` has returned with the defaults of all other keys; 1 is 1.0 where the default is a float."""
        completed = {}
        for key, about in self.keys.items():
            if isinstance(about.kind, Section):
                completed[key] = about.kind.complete(checked.get(key, {}))
            else:
                value = checked.get(key, about.default)
                completed[key] = float(value) if isinstance(about.default, float) else value
        return completed


def walk(kind: Kind, path: str = "") -> Iterator[tuple[str, Key]]:
    """(dotted name, `Key`) of every key, those of a section behind its own.

    NAME stands where whoever writes the table gives the names, N in place of a list's numbers: `runs.NAME.stages.N.tokens`.
    """
    if isinstance(kind, Section):
        for name, about in kind.keys.items():
            yield f"{path}{name}", about
            yield from walk(about.kind, f"{path}{name}.")
    elif isinstance(kind, Table):
        yield from walk(kind.of, f"{path}NAME.")
    elif isinstance(kind, Many):
        yield from walk(kind.of, f"{path}N.")
    elif isinstance(kind, Either):
        for one in kind.kinds:
            yield from walk(one, path)


def explained(section: Section) -> str:
    """Every key, as wide as the terminal: its name (see `walk`) and default, what it means and what it must be.

    The keys of a section that stands at several places are explained at the first alone.
    """
    width = max(shutil.get_terminal_size().columns - 2, 40)
    lines, first, repeated = [], {}, ()
    for name, about in walk(section):
        if name.startswith(repeated):
            continue
        inner, sentences = about.kind, [about.meaning, about.kind.wants]
        if isinstance(inner, Table) and isinstance(inner.of, Section):
            inner, sentences[1] = inner.of, f"NAME is {inner.name.wants}"
        elif isinstance(inner, Section):
            sentences.pop()  # its keys follow
        if isinstance(inner, Section) and (other := first.setdefault(id(inner), name)) != name:
            sentences.append(f"the keys are those of {other}")
            repeated = (*repeated, f"{name}.")
        lines.append(f"{name}{_default(about)}")
        text = " ".join(f"{part[:1].upper()}{part[1:]}." for part in sentences)
        lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False)
    return "\n".join(lines)


def _default(about: Key) -> str:
    if about.default is REQUIRED:
        return " (required)"
    return "" if about.default is None or isinstance(about.kind, Section) else f" = {about.default!r}"


def merged(base: dict, more: dict) -> dict:
    """`base` with the values of `more`; tables within both are merged, all else is replaced."""
    result = dict(base)
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merged(result[key], value) if both else value
    return result


def _name(key) -> str:
    return key if isinstance(key, str) and key.isprintable() and len(key) <= 60 else shown(key)


def _plain(table) -> dict:
    return table.to_dict() if isinstance(table, ConfigDict) else table
