"""Options of several verbs: declared once, and what they name is opened here."""

from babel_jax.cli import kinds, settings
from babel_jax.cli.parser import Arguments, Explain
from babel_jax.common import limits


def add_config(parser, whose: str = "a file of configs/", required: bool = True) -> None:
    parser.add_argument("--config", required=required, help=f"{whose}; --config.KEY=VALUE changes one of its keys")
    parser.add_argument(
        "--help_config", action=Explain, text=settings.explained_keys, help="list all keys of a config, and exit"
    )


def add_workdir(parser, required: bool = True) -> None:
    parser.add_argument(
        "--workdir", type=kinds.place, required=required, help="where runs, measurements and the report are kept"
    )


def add_run(parser, required: bool = True) -> None:
    parser.add_argument("--run", required=required, help="its name in the study, such as continual or mix_0.5000")
    parser.add_argument(
        "--mixture",
        type=kinds.place,
        metavar="FILE",
        help="a mixture file of `corpus mix` or `optimize`, for this run or for --run=mix",
    )


def add_seed(parser, whose: str, default: int | None = 0) -> None:
    parser.add_argument("--seed", type=kinds.integer(0, limits.LARGEST_SEED), default=default, help=whose)


def add_checkpoints(parser, required: bool = False) -> None:
    parser.add_argument(
        "--checkpoints",
        nargs="+",
        required=required,
        help="run directories or globs of them, such as 'W/seed*/continual'",
    )


def add_steps(parser) -> None:
    parser.add_argument(
        "--steps",
        type=kinds.steps,
        default=(),
        help="which checkpoints: last, or a list: 0,640 (default: all)",
    )


def add_max_epochs(parser) -> None:
    parser.add_argument(
        "--max_epochs",
        type=kinds.number(0, 1e9),
        default=0.0,
        help="how often a language's tokens may be seen (0: no limit)",
    )


def add_several_hosts(parser) -> None:
    several = parser.add_argument_group(
        "several hosts", "found automatically on a TPU pod and under srun; elsewhere give all three"
    )
    several.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 runs, and a free port there")
    several.add_argument(
        "--processes", type=kinds.integer(1, 10**6), metavar="N", help="how many there are; all run the same command"
    )
    several.add_argument("--process", type=kinds.integer(0, 10**6), metavar="I", help="which this one is, from 0")


def join_hosts(arguments: Arguments) -> None:
    """Connects this process with those of the other hosts, if there are any."""
    from babel_jax.training import hosts

    hosts.initialize(arguments.coordinator, arguments.processes, arguments.process)


def open_study(arguments: Arguments):
    """The study of --config and --workdir, on all hosts."""
    config = settings.load_config(arguments.config, arguments.settings)
    from babel_jax.study.plan import Study

    join_hosts(arguments)
    return Study(config, arguments.workdir)


def open_run(arguments: Arguments):
    """(the study, the job) of one run: --run with --seed, on --mixture where it is given."""
    study = open_study(arguments)
    from babel_jax.study.jobs import Job

    name = study.name(arguments.run)
    if arguments.mixture:
        study = study.with_mixture(name, arguments.mixture)
    return study, Job(arguments.seed, name)
