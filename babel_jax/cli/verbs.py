"""The verbs of `python -m babel_jax VERB …`.

Each is a module of its name in this room. Its docstring is what `VERB --help` begins with, the docstring's first line what
`--help` says of it; `add_arguments(parser)` declares its options, and `run(arguments)` does it. All modules are imported for
`--help`, so they import heavy rooms inside these functions.
"""

import importlib
from types import ModuleType

from babel_jax.cli.parser import Parser, first_line
from babel_jax.common.errors import unknown_name

VERBS = (
    "study",
    "corpus",
    "train",
    "probe",
    "evaluate",
    "optimize",
    "regret",
    "compile",
    "convert",
    "report",
    "doctor",
)


def module_of(verb: str) -> ModuleType:
    """The verb's module. UserError: there is no such verb."""
    if verb not in VERBS:
        raise unknown_name("verb", verb, VERBS)
    return importlib.import_module(f"babel_jax.cli.{verb}")


def parser_of(verb: str) -> Parser:
    """What reads the verb's arguments."""
    module = module_of(verb)
    parser = Parser(prog=f"python -m babel_jax {verb}", description=module.__doc__)
    module.add_arguments(parser)
    return parser


def run(verb: str, words: list[str]) -> None:
    """Does what a verb and the words behind it ask for."""
    module_of(verb).run(parser_of(verb).parse(words))


def overview() -> str:
    """What `--help` without a verb prints."""
    lines = [f"  {verb:9s} {first_line(module_of(verb))}" for verb in VERBS]
    end = "VERB --help explains a verb's options; --version says which version this is."
    return "\n".join(["usage: python -m babel_jax VERB …", "", *lines, "", end])
