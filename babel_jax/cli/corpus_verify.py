"""Checks that a corpus is what was built, or that a finished run was trained on what its stages say.

python -m babel_jax corpus verify corpora/mine

python -m babel_jax corpus verify --run=runs/tiny/seed0/continual
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common.errors import UserError, printable


def add_arguments(parser) -> None:
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("corpus", type=kinds.local, nargs="?", help="a folder that `corpus build` made")
    what.add_argument(
        "--run", type=kinds.place, help="instead: a finished run, whose counts are compared with its mixture"
    )


def run(arguments: Arguments) -> None:
    if arguments.run:
        _verify_run(arguments.run)
    else:
        _verify_corpus(arguments.corpus)


def _verify_run(run_dir) -> None:
    from babel_jax.training import drawn

    table, faults = drawn.compare(run_dir)
    print(table)
    _print_faults(faults)
    if faults:
        raise UserError(f"{run_dir} was not trained on what its stages say; do not use it as if it were.")


def _verify_corpus(directory) -> None:
    from babel_jax.corpus import verify

    faults = verify.faults(directory)
    _print_faults(faults)
    if faults:
        raise UserError(f"{directory} is not as it was built ({len(faults)} faults); build it again.")
    print(
        f"{printable(directory)}: every file is as it was built, and the held-out rows decode to the held-out documents."
    )


def _print_faults(faults: list[str]) -> None:
    for fault in faults:
        print(printable(fault))
