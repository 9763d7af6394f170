"""Command lines whose mistakes are a `UserError` in one line."""

import argparse
import re
import sys
from collections.abc import Callable
from types import ModuleType

from babel_jax.common.errors import UserError


class Arguments(argparse.Namespace):
    """The arguments of a command as attributes.

    Attributes:
      given: the names of those that stood on the command line.
      settings: its --config.KEY=VALUE.
    """

    def __init__(self):
        super().__init__()
        self.given: set[str] = set()
        self.settings: list[str] = []

    def only_with(self, condition: object, what: str, *names: str) -> None:
        """Refuses options of these names where nothing would read them: without `condition`, which an error calls `what`."""
        for name in names:
            if not condition and name in self.given:
                raise UserError(f"--{name} goes with {what}; leave it out.")


class Parser(argparse.ArgumentParser):
    """A parser that also refuses an option that is empty, or given twice: one value would be lost."""

    def __init__(self, **settings):
        super().__init__(formatter_class=_Paragraphs, allow_abbrev=False, **settings)
        for name in (None, "store"):
            self.register("action", name, _Once)
        self.register("action", "store_true", _Flag)

    def parse(self, words: list[str]) -> Arguments:
        """The arguments of a whole command line; --config.KEY=VALUE goes with --config."""
        arguments, rest = self.parse_known_args(words)
        for word in rest:
            if not (word.startswith("--config.") and getattr(arguments, "config", None)):
                self.error(f"cannot read the argument '{word}'")
        arguments.settings = rest
        return arguments

    def parse_known_args(self, args=None, namespace=None):
        for argument in args or ():  # argparse takes this for the end of all options, and then lacks a value
            if argument.startswith("-") and argument.endswith("=--"):
                self.error(f"{argument[:-3]} is '--'; give it a value")
        return super().parse_known_args(args, namespace or Arguments())

    def error(self, message):
        message = re.sub(r"^argument (\S+): (?=is |names )", r"\1 ", message)  # a sentence, where it goes on as one
        raise UserError(f"{message}; `{self.prog} --help` explains.")

    def exit(self, status=0, message=None):
        sys.stdout.flush()  # --help has printed
        super().exit(status, message)


class _Once(argparse.Action):
    """Stores a value, as argparse does by itself, but never over another one."""

    def __init__(self, option_strings, dest, const=None, **settings):
        super().__init__(option_strings, dest, const=const, **settings)

    def __call__(self, parser, namespace, values, option_string=None):
        if self.option_strings and self.dest in namespace.given:
            raise argparse.ArgumentError(self, "is given twice; leave one out")
        if values == "" and self.const != "":
            raise argparse.ArgumentError(self, "is empty; give a value, or leave it out")
        if values != self.default or option_string:  # argparse hands a missing argument its default
            namespace.given.add(self.dest)
        setattr(namespace, self.dest, values)


class _Flag(argparse.Action):
    """Stores true."""

    def __init__(self, option_strings, dest, **settings):
        super().__init__(option_strings, dest, nargs=0, default=False, **settings)

    def __call__(self, parser, namespace, values, option_string=None):
        namespace.given.add(self.dest)
        setattr(namespace, self.dest, True)


class Explain(argparse.Action):
    """An option that prints what `text()` returns and ends the command, as --help does."""

    def __init__(self, option_strings, dest, text: Callable[[], str], help: str):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)
        self.text = text

    def __call__(self, parser, *_):
        print(self.text())
        parser.exit()


class _Paragraphs(argparse.HelpFormatter):
    """Wraps each paragraph of a description by itself, but for commands, which stay in one line each."""

    def _fill_text(self, text, width, indent):
        fill = super()._fill_text
        paragraphs = [part.strip() for part in text.strip().split("\n\n")]
        filled = (f"  {part}" if part.startswith("python ") else fill(part, width, indent) for part in paragraphs)
        return "\n\n".join(filled)


def first_line(module: ModuleType) -> str:
    """The first line of a module's docstring."""
    return (module.__doc__ or "").partition("\n")[0]
