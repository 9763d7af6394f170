"""Runs a whole study: trains and measures its models, proposes corpora, trains on them, and reports what was found.

It can be stopped at any time; the same command goes on where it stopped, and ends with the same numbers.

python -m babel_jax study --config=configs/organism.py:tiny --workdir=runs/tiny
"""

import importlib.util
import itertools
import os
import sys

from babel_jax.cli import environment, kinds, options
from babel_jax.cli.parser import Arguments
from babel_jax.common import machine
from babel_jax.common.errors import UserError, printable

WHAT_NEXT = """\
runs, checkpoints and measurements: WORKDIR/seed*/; tables: WORKDIR/report/results.md
next (`source .venv/bin/activate` puts this python first):
  python -m babel_jax optimize --workdir=WORKDIR
  python -m babel_jax probe --checkpoints 'WORKDIR/seed*/continual*' --out=WORKDIR_probes
  python -m babel_jax report --workdir=WORKDIR
"""


def add_arguments(parser) -> None:
    options.add_config(parser)
    options.add_workdir(parser)
    parser.add_argument(
        "--jobs", type=kinds.jobs(), default=_default_jobs(), help="runs side by side (default: %(default)s)"
    )
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="print the runs in their order, tokens, work, time and disk, and train nothing",
    )
    options.add_several_hosts(parser)


def _default_jobs() -> int:
    """One run per core; one at a time where an accelerator belongs to this process alone."""
    accelerated = any(importlib.util.find_spec(name) for name in ("jax_cuda12_plugin", "jax_cuda13_plugin", "libtpu"))
    if accelerated and os.environ.get("JAX_PLATFORMS") != "cpu":
        return 1
    return machine.cores()


def run(arguments: Arguments) -> None:
    environment.configure_jax(threads=1)
    study = options.open_study(arguments)
    from babel_jax import report
    from babel_jax.study import jobs, prospects, timetable
    from babel_jax.training import hosts, preemption

    if arguments.dry_run:
        for line in itertools.chain(prospects.lines(study), timetable.lines(study)):
            print(printable(line))
        return
    if arguments.jobs > 1 and hosts.several():
        raise UserError(f"--jobs is {arguments.jobs}; several hosts train one run at a time: add --jobs=1.")
    preemption.install()
    if hosts.is_first():
        for line in prospects.lines(study):
            print(printable(line), file=sys.stderr)
    jobs.run(study, arguments.jobs)
    built = report.build(arguments.workdir)
    print(built.table)
    print(f"\nreport: {printable(built.page)}")
    print(WHAT_NEXT.replace("WORKDIR", printable(arguments.workdir)))
