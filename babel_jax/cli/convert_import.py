"""Makes a run of a model of Hugging Face's transformers, or adds a checkpoint to a run that was made so.

python -m babel_jax convert import --huggingface=llama --run=runs/llama

python -m babel_jax convert import --huggingface=EleutherAI/pythia-70m@step1000 --run=runs/pythia --step=1000 --tokens=2e9
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common import limits


def add_arguments(parser) -> None:
    parser.add_argument(
        "--huggingface",
        type=kinds.place,
        required=True,
        metavar="PLACE",
        help="a folder with config.json, weights as safetensors or .bin, and a tokenizer's files if there is one; or a "
        "model of the hub, OWNER/NAME or OWNER/NAME@REVISION",
    )
    parser.add_argument("--run", type=kinds.place, required=True, metavar="DIR", help="a run's directory")
    parser.add_argument(
        "--step", type=kinds.integer(0, limits.LARGEST_STEP), default=0, help="after how many updates this was saved"
    )
    parser.add_argument(
        "--tokens", type=kinds.count(0, limits.MOST_TOKENS), default=0, help="how many tokens it had seen by then"
    )


def run(arguments: Arguments) -> None:
    from babel_jax.training import foreign

    foreign.import_run(arguments.huggingface, arguments.run, arguments.step, arguments.tokens)
