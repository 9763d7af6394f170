"""A line of a suite's file, and a format: what makes a problem of one."""

import dataclasses
import re
from collections.abc import Callable, Mapping

from babel_jax.common import files
from babel_jax.common.errors import UserError, quoted
from babel_jax.suites.problems import NEEDS, Problem

JSON_TYPES = {str: "string", int: "number", bool: "true or false", list: "list"}


class Line:
    """A line's object; a field that is missing or of another type is the user's error. `where`: its file and number."""

    def __init__(self, fields: dict, where: str):
        self.fields, self.where = fields, where

    def get(self, name: str, kind: type, default=...):
        value = self.fields.get(name)
        if value is None and default is not ...:
            return default
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise UserError(
                f"{self.where}: '{name}' must be a {JSON_TYPES[kind]}, not {quoted(value)}; is it of this format?"
            )
        if kind is list:
            if not all(isinstance(item, str) for item in value):
                raise UserError(f"{self.where}: '{name}' must be a list of strings.")
            value = tuple(value)
        return value

    def text(self, name: str) -> str:
        return self.get(name, str)

    def number(self, pattern: str, text: str) -> int:
        """The task's number, the group of `pattern` in its id."""
        match = re.fullmatch(pattern, text)
        if match is None or len(match[1]) > files.MOST_DIGITS:
            raise UserError(f"{self.where}: no task number in the id '{text}'; is it a file of this format?")
        return int(match[1])

    def stops(self, name: str, default=...) -> tuple[str, ...]:
        """Stop sequences, of which none may be empty."""
        stops = self.get(name, list, default)
        if "" in stops:
            raise UserError(f"{self.where}: '{name}' holds an empty string, which would stop everything; remove it.")
        return stops


@dataclasses.dataclass(frozen=True)
class Format:
    """How a suite is distributed.

    Attributes:
      problem: makes a problem of a line; `Problem.source` and what known_bad.json says are added to it.
      licence: of the data, as their distribution states it.
      licences: suite -> its licence, where that is another one.
    """

    problem: Callable[[Line], Problem]
    licence: str = "not stated"
    licences: Mapping[str, str] = dataclasses.field(default_factory=dict)


def needs(text: str) -> tuple[str, ...]:
    """What a text uses beyond the standard library, of NEEDS."""
    return tuple(name for name, mark in NEEDS.items() if mark in text)
