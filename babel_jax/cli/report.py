"""Makes the report of a study, or of a probe, again from its measurements.

python -m babel_jax report --workdir=runs/tiny
"""

from babel_jax.cli import kinds
from babel_jax.cli.parser import Arguments
from babel_jax.common.errors import printable


def add_arguments(parser) -> None:
    parser.add_argument(
        "--workdir", type=kinds.place, required=True, help="a study's directory, or what `probe --out` wrote"
    )


def run(arguments: Arguments) -> None:
    from babel_jax import report

    print(f"report: {printable(report.build(arguments.workdir).page)}")
