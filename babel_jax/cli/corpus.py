"""Turns source files into token rows; says what is in them; plans mixtures of them.

python -m babel_jax corpus build --source=python=PY --source=php=PHP --out=corpora/mine
"""

from babel_jax.cli import corpus_build, corpus_mix, corpus_stats, corpus_verify
from babel_jax.cli.parser import Arguments, first_line

COMMANDS = {"build": corpus_build, "stats": corpus_stats, "mix": corpus_mix, "verify": corpus_verify}


def add_arguments(parser) -> None:
    commands = parser.add_subparsers(dest="command", required=True)
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=first_line(module), description=module.__doc__))


def run(arguments: Arguments) -> None:
    COMMANDS[arguments.command].run(arguments)
