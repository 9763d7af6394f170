"""Turns models of Hugging Face's transformers into runs, and checkpoints of runs into such models.

python -m babel_jax convert import --huggingface=llama --run=runs/llama

python -m babel_jax convert export --run=runs/llama --step=0 --huggingface=out
"""

import argparse
import sys

from babel_jax.cli import convert_export, convert_import, kinds
from babel_jax.cli.parser import Arguments, first_line
from babel_jax.common import limits
from babel_jax.common.errors import UserError

COMMANDS = {"import": convert_import, "export": convert_export}


def add_arguments(parser) -> None:
    commands = parser.add_subparsers(dest="command")
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=first_line(module), description=module.__doc__))
    # As it was called before there were commands: with --step an export, without an import.
    parser.add_argument("--huggingface", type=kinds.place, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=kinds.place, help=argparse.SUPPRESS)
    parser.add_argument("--step", type=kinds.integer(0, limits.LARGEST_STEP), help=argparse.SUPPRESS)


def run(arguments: Arguments) -> None:
    if arguments.command:
        COMMANDS[arguments.command].run(arguments)
        return
    if not (arguments.huggingface and arguments.run):
        raise UserError("convert does `import` or `export`; `convert --help` explains.")
    command = "import" if arguments.step is None else "export"
    vars(arguments).update(
        {"import": dict(step=0, tokens=0), "export": dict(layout="huggingface", corpus=None, no_tokenizer=False)}[
            command
        ]
        | {name: value for name, value in vars(arguments).items() if value is not None}
    )
    COMMANDS[command].run(arguments)
    print(f"hint: this is now written `convert {command}`", file=sys.stderr)
