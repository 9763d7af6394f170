"""The one error a user is meant to see."""

import argparse
import difflib
from collections.abc import Iterable


class UserError(Exception):
    """A mistake or a circumstance that the user can mend. Its message is one line that says what to do.

    `python -m babel_jax` prints it as `error: …` and exits with 2; any other exception is a bug of ours.
    """


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UserError:
    """The error for a name that does not exist: it names the nearest one that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}."
    return UserError(f"unknown {kind} '{name}'; {hint}")


def one_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return " ".join(str(error).split()) or type(error).__name__


class Parser(argparse.ArgumentParser):
    """Command lines whose mistakes are a `UserError`."""

    def error(self, message):
        raise UserError(f"{message}; `{self.prog} --help` explains.")
