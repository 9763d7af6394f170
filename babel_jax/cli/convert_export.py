"""Writes a checkpoint of a run as a folder that transformers' AutoModelForCausalLM and AutoTokenizer read.

python -m babel_jax convert export --run=runs/organism/seed0/continual --step=2000 --huggingface=out

With --layout=maxtext: its parameters alone, as MaxText reads them by `load_parameters_path`.
"""

import sys

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common import limits
from babel_jax.common.errors import printable


def add_arguments(parser) -> None:
    parser.add_argument("--run", type=kinds.place, required=True, metavar="DIR", help="a run's directory")
    parser.add_argument(
        "--step", type=kinds.integer(0, limits.LARGEST_STEP), required=True, help="which of its checkpoints"
    )
    parser.add_argument("--huggingface", type=kinds.place, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--layout", choices=("huggingface", "maxtext"), default="huggingface", help="for whom")
    parser.add_argument(
        "--corpus",
        type=kinds.local,
        help="write the tokenizer of this corpus; by default that of the run's study, or the one that an imported model had",
    )
    parser.add_argument("--no_tokenizer", action="store_true", help="write the model alone")


def run(arguments: Arguments) -> None:
    from babel_jax.training import foreign

    if arguments.layout == "maxtext":
        arguments.only_with(False, "--layout=huggingface", "corpus", "no_tokenizer")
        foreign.export_maxtext(arguments.run, arguments.step, arguments.huggingface)
        return
    arguments.only_with(not arguments.no_tokenizer, "a tokenizer that is to be written", "corpus")
    tokenizer = foreign.NO_TOKENIZER if arguments.no_tokenizer else _tokenizer(arguments)
    foreign.export_run(arguments.run, arguments.step, arguments.huggingface, tokenizer)


def _tokenizer(arguments: Arguments):
    from babel_jax.study import run_tokenizer
    from babel_jax.training import foreign

    found = run_tokenizer.files_of(arguments.run, arguments.corpus)
    if found is None:
        print(
            f"{printable(arguments.run)} lies in no study: no tokenizer is written; --corpus=DIR gives one",
            file=sys.stderr,
        )
    return found or foreign.NO_TOKENIZER
