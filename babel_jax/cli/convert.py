"""Converts a Hugging Face GPT-2 into a run, or a checkpoint of a run into a Hugging Face GPT-2.

python -m babel_jax convert --huggingface=gpt2 --run=runs/gpt2
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common import limits


def add_arguments(parser) -> None:
    parser.add_argument(
        "--huggingface",
        type=kinds.place,
        required=True,
        metavar="DIR",
        help="folder with config.json and model.safetensors",
    )
    parser.add_argument("--run", type=kinds.place, required=True, metavar="DIR", help="a run's directory")
    parser.add_argument(
        "--step",
        type=kinds.integer(0, limits.LARGEST_STEP),
        help="write this checkpoint of the run to --huggingface; without it: read",
    )


def run(arguments: Arguments) -> None:
    from babel_jax.training import foreign

    if arguments.step is None:
        foreign.import_run(arguments.huggingface, arguments.run)
    else:
        foreign.export_run(arguments.run, arguments.step, arguments.huggingface)
