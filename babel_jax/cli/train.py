"""Trains one run of a study on all devices of this machine or of several hosts, and measures its checkpoints.

python -m babel_jax train --config=configs/organism.py:tiny --workdir=runs/tiny --run=primary_only
"""

from babel_jax.cli import environment, kinds, options
from babel_jax.cli.parser import Arguments


def add_arguments(parser) -> None:
    options.add_config(parser)
    options.add_workdir(parser)
    options.add_run(parser)
    options.add_seed(parser, "the run's seed (default: %(default)s)")
    parser.add_argument(
        "--profile",
        type=kinds.place,
        metavar="DIR",
        help="write a profiler's trace of a few steps (TensorBoard, XProf)",
    )
    parser.add_argument("--probe", action="store_true", help="measure each checkpoint as soon as it is saved")
    options.add_several_hosts(parser)


def run(arguments: Arguments) -> None:
    environment.configure_jax()
    study, job = options.open_run(arguments)
    from babel_jax.study import jobs
    from babel_jax.training import preemption

    preemption.install()
    jobs.train_one(study, job, arguments.profile, arguments.probe)
